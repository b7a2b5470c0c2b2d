/**
 * Private JWKs, as far as they can be judged without any cryptography. Problems are sentences that quote nothing: what is
 * here is a key, or a secret in the wrong place.
 */
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type { JWK } from "jose"
import { SigningAlgorithm } from "../OAuthValues.ts"
import { byteLength, coordinateBytes, isBase64Url } from "./base64url.ts"
import { shapeOf } from "./problem.ts"
import { weakness } from "./weakKeys.ts"

const isAlgorithm = Schema.is(SigningAlgorithm)

/** @internal */
export interface PrivateJwk {
  readonly algorithm: SigningAlgorithm
  readonly keyId: string | undefined
  readonly members: JWK
  readonly publicMembers: JWK
}

const curves: Readonly<Record<string, { readonly algorithm: SigningAlgorithm; readonly bytes: number }>> = {
  "P-256": { algorithm: "ES256", bytes: coordinateBytes["P-256"] },
  "P-384": { algorithm: "ES384", bytes: coordinateBytes["P-384"] },
  "P-521": { algorithm: "ES512", bytes: coordinateBytes["P-521"] }
}

const rsaPrivate = ["d", "p", "q", "dp", "dq", "qi"] as const

type Jwk = Readonly<Record<string, unknown>>

const expected = "expected a private JWK (EC P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519)"

/** Which members there must be, each of its length; the first that is not as it should be. */
const lacking = (jwk: Jwk, lengths: Readonly<Record<string, number | undefined>>): string | undefined => {
  for (const [name, bytes] of Object.entries(lengths)) {
    const value = jwk[name]
    if (name === "d" && value === undefined) return `${expected}, found a public key: its member "d" is missing`
    if (!isBase64Url(value) || (bytes !== undefined && byteLength(value) !== bytes)) {
      return `expected its member "${name}" to be base64url${bytes === undefined ? "" : ` of ${bytes} bytes`}, found ${
        shapeOf(value)
      }`
    }
  }
  return undefined
}

const algorithmOf = (jwk: Jwk, allowed: ReadonlyArray<SigningAlgorithm>): Either.Either<SigningAlgorithm, string> => {
  const { alg } = jwk
  const [only] = allowed
  if (alg === undefined && only !== undefined && jwk.kty !== "RSA") return Either.right(only)
  const known = allowed.find((algorithm) => algorithm === alg)
  const found = alg === undefined ? "nothing" : isAlgorithm(alg) ? alg : alg === "none" ? "none" : shapeOf(alg)
  return known === undefined
    ? Either.left(`expected its alg to be one that fits the key (${allowed.join(", ")}), found ${found}`)
    : Either.right(known)
}

const pick = (jwk: Jwk, names: ReadonlyArray<string>): JWK =>
  Object.fromEntries(names.map((name) => [name, jwk[name]])) as JWK

const keyOf = (
  jwk: Jwk,
  allowed: ReadonlyArray<SigningAlgorithm>,
  publicNames: ReadonlyArray<string>,
  privateNames: ReadonlyArray<string>
): Either.Either<PrivateJwk, string> =>
  Either.map(algorithmOf(jwk, allowed), (algorithm) => ({
    algorithm,
    keyId: typeof jwk.kid === "string" && jwk.kid !== "" ? jwk.kid : undefined,
    members: pick(jwk, [...publicNames, ...privateNames]),
    publicMembers: pick(jwk, publicNames)
  }))

const ofKind = (jwk: Jwk): Either.Either<PrivateJwk, string> => {
  switch (jwk.kty) {
    case "EC": {
      const curve = typeof jwk.crv === "string" ? curves[jwk.crv] : undefined
      if (curve === undefined) return Either.left(`${expected}, found an EC key on another curve`)
      const { algorithm, bytes } = curve
      const problem = lacking(jwk, { d: bytes, x: bytes, y: bytes })
      return problem === undefined ? keyOf(jwk, [algorithm], ["kty", "crv", "x", "y"], ["d"]) : Either.left(problem)
    }
    case "OKP": {
      if (jwk.crv !== "Ed25519") return Either.left(`${expected}, found an OKP key on another curve`)
      const problem = lacking(jwk, { d: 32, x: 32 })
      // The older name is the one that more servers know, so a key that says nothing goes by it.
      return problem === undefined ? keyOf(jwk, ["EdDSA", "Ed25519"], ["kty", "crv", "x"], ["d"]) : Either.left(problem)
    }
    case "RSA": {
      const numbers = Object.fromEntries(["d", "n", "e", ...rsaPrivate].map((name) => [name, undefined]))
      const problem = lacking(jwk, numbers)
      if (problem !== undefined) return Either.left(problem)
      const weak = weakness(jwk)
      if (weak !== undefined) return Either.left(`${expected}, found ${weak}`)
      const rsa = SigningAlgorithm.literals.filter((algorithm) =>
        algorithm.startsWith("RS") || algorithm.startsWith("PS")
      )
      return keyOf(jwk, rsa, ["kty", "n", "e"], rsaPrivate)
    }
    case "oct":
      return Either.left(`${expected}, found a symmetric key`)
    default:
      return Either.left(`${expected}, found a JWK of another kty`)
  }
}

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** @internal From an object or its JSON text; the left side is a sentence about what is wrong. */
export const parse = (source: unknown): Either.Either<PrivateJwk, string> => {
  const jwk = typeof source === "string" ? jsonOf(source) : source
  if (!Predicate.isReadonlyRecord(jwk)) {
    return Either.left(`${expected} as an object or JSON text, found ${shapeOf(source)}`)
  }
  if (jwk.use !== undefined && jwk.use !== "sig") return Either.left("expected its use to be sig, found another use")
  if (Array.isArray(jwk.key_ops) && !jwk.key_ops.includes("sign")) {
    return Either.left("expected its key_ops to hold sign, found others only")
  }
  return ofKind(jwk)
}
