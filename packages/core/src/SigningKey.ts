/**
 * A private key that signs: DPoP proofs (RFC 9449) and client assertions (RFC 7523).
 *
 * It is checked once, when it is made: its members, its strength, that its algorithm fits, and that its private and public
 * parts belong together. After that its public JWK and its thumbprint are at hand, and its private part is `Redacted`.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Hash from "effect/Hash"
import * as Redacted from "effect/Redacted"
import * as jose from "jose"
import * as PrivateJwk from "./internal/privateJwk.ts"
import { SigningKeyInvalid } from "./OAuthError.ts"
import { SigningAlgorithm } from "./OAuthValues.ts"

/**
 * The signature algorithms (RFC 7518 section 3.1, RFC 9864). `EdDSA` is the older name of `Ed25519`; a key is announced to
 * the server by the name that it was given.
 *
 * @since 0.1.0
 * @category models
 */
export type Algorithm = SigningAlgorithm

/**
 * @since 0.1.0
 * @category constants
 */
export const algorithms: ReadonlyArray<Algorithm> = SigningAlgorithm.literals

/**
 * - `publicJwk`: the members that make the public key and no others (RFC 7638 section 3.2).
 * - `thumbprint`: of that, SHA-256, base64url (RFC 7638).
 * - `keyId`: its `kid`, by which a server finds the public key of an assertion.
 *
 * Two keys are equal if thumbprint, algorithm and `kid` are.
 *
 * @since 0.1.0
 * @category models
 */
export class SigningKey extends Data.TaggedClass("SigningKey")<{
  readonly algorithm: Algorithm
  readonly keyId: string | undefined
  readonly publicJwk: Readonly<jose.JWK>
  readonly thumbprint: string
  readonly privateKey: Redacted.Redacted<jose.CryptoKey>
}> {
  [Equal.symbol](that: Equal.Equal): boolean {
    return that instanceof SigningKey && that.thumbprint === this.thumbprint && that.algorithm === this.algorithm &&
      that.keyId === this.keyId
  }
  [Hash.symbol](): number {
    return Hash.string(this.thumbprint)
  }
}

/**
 * - `extractable`: whether `exportJwk` may write it out again. Default false.
 * - `keyId`: a `kid`, where the key does not say one.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly extractable?: boolean | undefined
  readonly keyId?: string | undefined
}

/** What libraries say of a bad key may quote it, so none of it is passed on. */
const attempt = <A>(problem: string, work: () => Promise<A>): Effect.Effect<A, SigningKeyInvalid> =>
  Effect.tryPromise({ try: work, catch: () => new SigningKeyInvalid({ problem }) })

const probe = new Uint8Array(1)

/** A signature that its own public key accepts: members of two keys, or points off the curve, do not give one. */
const fits = async (algorithm: Algorithm, privateKey: jose.CryptoKey, publicKey: jose.CryptoKey): Promise<void> => {
  const signed = await new jose.CompactSign(probe).setProtectedHeader({ alg: algorithm }).sign(privateKey)
  await jose.compactVerify(signed, publicKey)
}

const from = (
  algorithm: Algorithm,
  privateKey: jose.CryptoKey,
  publicJwk: jose.JWK,
  keyId: string | undefined
): Effect.Effect<SigningKey, SigningKeyInvalid> =>
  attempt("its private and public members do not belong together", async () => {
    const publicKey = await jose.importJWK(publicJwk, algorithm) as jose.CryptoKey
    await fits(algorithm, privateKey, publicKey)
    return new SigningKey({
      algorithm,
      keyId,
      publicJwk: Object.freeze(publicJwk),
      thumbprint: await jose.calculateJwkThumbprint(publicJwk),
      privateKey: Redacted.make(privateKey)
    })
  })

/**
 * A key from a private JWK (RFC 7517), as an object or as JSON text, `Redacted` or not: EC on P-256, P-384 or P-521, RSA
 * of 2048 bits or more, Ed25519. `alg` may be left out for EC and Ed25519, for RSA it is needed.
 *
 * Its error says what was wrong, and shows nothing of the key.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (jwk: unknown, options: Options = {}): Effect.Effect<SigningKey, SigningKeyInvalid> =>
  Effect.suspend(() => {
    const parsed = PrivateJwk.parse(Redacted.isRedacted(jwk) ? Redacted.value(jwk) : jwk)
    if (Either.isLeft(parsed)) return Effect.fail(new SigningKeyInvalid({ problem: parsed.left }))
    const { algorithm, keyId, members, publicMembers } = parsed.right
    return Effect.flatMap(
      attempt(
        "its members are not those of a key of its kind",
        () => jose.importJWK(members, algorithm, { extractable: options.extractable ?? false })
      ),
      (privateKey) => from(algorithm, privateKey as jose.CryptoKey, publicMembers, keyId ?? options.keyId)
    )
  })

/**
 * A new key. Default `ES256`, not extractable.
 *
 * @since 0.1.0
 * @category constructors
 */
export const generate = (
  algorithm: Algorithm = "ES256",
  options: Options = {}
): Effect.Effect<SigningKey, SigningKeyInvalid> =>
  Effect.flatMap(
    attempt(`this runtime cannot generate a key for ${algorithm}`, () =>
      jose.generateKeyPair(algorithm, { extractable: options.extractable ?? false, modulusLength: 2048 })),
    (pair) =>
      fromKeyPair(pair, algorithm, options)
  )

/**
 * A key of which there is only a handle: WebCrypto's pair, whose private half need not be extractable.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromKeyPair = (
  pair: { readonly privateKey: jose.CryptoKey; readonly publicKey: jose.CryptoKey },
  algorithm: Algorithm,
  options: Pick<Options, "keyId"> = {}
): Effect.Effect<SigningKey, SigningKeyInvalid> =>
  Effect.flatMap(
    attempt("its public half cannot be exported", () => jose.exportJWK(pair.publicKey)),
    (publicJwk) => from(algorithm, pair.privateKey, publicJwk, options.keyId)
  )

/**
 * The private JWK of a key that was made extractable.
 *
 * @since 0.1.0
 * @category conversions
 */
export const exportJwk = (key: SigningKey): Effect.Effect<Redacted.Redacted<jose.JWK>, SigningKeyInvalid> =>
  Effect.map(
    attempt("it was not made extractable", () => jose.exportJWK(Redacted.value(key.privateKey))),
    (jwk) => Redacted.make({ ...jwk, alg: key.algorithm, ...(key.keyId === undefined ? {} : { kid: key.keyId }) })
  )

/**
 * The public keys as the JWK Set that a client publishes at its `jwks_uri` (RFC 7517 section 5).
 *
 * @since 0.1.0
 * @category conversions
 */
export const publicJwks = (...keys: ReadonlyArray<SigningKey>): { readonly keys: ReadonlyArray<jose.JWK> } => ({
  keys: keys.map(({ algorithm, keyId, publicJwk, thumbprint }) => ({
    ...publicJwk,
    alg: algorithm,
    kid: keyId ?? thumbprint,
    use: "sig"
  }))
})
