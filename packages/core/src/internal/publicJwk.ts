/**
 * Public JWKs that strangers send, or a server publishes. Problems say what is wrong with it, for a sentence that begins with
 * its name, and quote nothing of the key.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as jose from "jose"
import type { SigningAlgorithm } from "../OAuthValues.ts"
import { byteLength, coordinateBytes, isBase64Url } from "./base64url.ts"
import { weakness } from "./weakKeys.ts"

/** @internal */
export interface PublicJwk {
  /** The members that make the key, and no others. */
  readonly members: Readonly<jose.JWK>
  /** The same as the text whose hash is the thumbprint (RFC 7638 section 3). */
  readonly canonical: string
}

type Sizes = Readonly<Record<string, readonly [least: number, most: number]>>

/** What a key of a kind consists of, in the order of RFC 7638, and how long its numbers are, in bytes. */
interface Kind {
  readonly fixed: Readonly<Record<string, string>>
  readonly sizes: Sizes
}

const curve = (crv: keyof typeof coordinateBytes): Kind => {
  const bytes = coordinateBytes[crv]
  return { fixed: { crv, kty: "EC" }, sizes: { x: [bytes, bytes], y: [bytes, bytes] } }
}

const edwards: Kind = { fixed: { crv: "Ed25519", kty: "OKP" }, sizes: { x: [32, 32] } }

// Longer exponents or moduli than anybody uses would make one signature cost as much as thousands.
const rsa: Kind = { fixed: { kty: "RSA" }, sizes: { e: [1, 4], n: [256, 1024] } }

const kindOf = (algorithm: SigningAlgorithm): Kind => {
  switch (algorithm) {
    case "ES256":
      return curve("P-256")
    case "ES384":
      return curve("P-384")
    case "ES512":
      return curve("P-521")
    case "Ed25519":
    case "EdDSA":
      return edwards
    default:
      return rsa
  }
}

const privateMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] as const

const isNumberOf = (value: unknown, [least, most]: readonly [number, number]): value is string => {
  if (!isBase64Url(value)) return false
  const bytes = byteLength(value)
  return bytes >= least && bytes <= most
}

const sorted = (members: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.keys(members).sort().map((name) => [name, members[name]!]))

/** @internal Keys that are nobody's business are told by this, before anything else is looked at. */
export const isPublic = (jwk: Readonly<Record<string, unknown>>): boolean =>
  jwk.kty !== "oct" && !privateMembers.some((name) => Object.hasOwn(jwk, name))

/** @internal A public key for signatures of `algorithm`, as far as it can be judged without any cryptography. */
export const parse = (jwk: unknown, algorithm: SigningAlgorithm): Either.Either<PublicJwk, string> => {
  if (!Predicate.isReadonlyRecord(jwk)) return Either.left("is not an object")
  if (!isPublic(jwk)) return Either.left(jwk.kty === "oct" ? "is a symmetric key" : "is a private key")
  const { fixed, sizes } = kindOf(algorithm)
  const members: Record<string, string> = { ...fixed }
  for (const [name, value] of Object.entries(fixed)) {
    if (jwk[name] !== value) return Either.left("is of another kind than its alg needs")
  }
  for (const [name, size] of Object.entries(sizes)) {
    const value = jwk[name]
    if (!isNumberOf(value, size)) {
      return Either.left(`has a member ${name} that is not a number of the right length`)
    }
    members[name] = value
  }
  const weak = weakness(members)
  if (weak !== undefined) return Either.left(`is ${weak}`)
  const inOrder = sorted(members)
  return Either.right({ members: Object.freeze(inOrder), canonical: JSON.stringify(inOrder) })
}

/** @internal Ready to verify signatures of `algorithm`. */
export const importKey = ({ members }: PublicJwk, algorithm: SigningAlgorithm): Effect.Effect<jose.CryptoKey, string> =>
  Effect.tryPromise({
    try: () => jose.importJWK(members, algorithm) as Promise<jose.CryptoKey>,
    catch: () => "is not a key of its kind"
  })
