/**
 * The core's `Signer` on `node:crypto`. A signature by ES256 or Ed25519 takes a third to a half of the time that WebCrypto
 * needs, because it stays on its thread; RSA, P-384 and P-521, which would hold that thread up, go to Node's thread pool.
 *
 * @since 0.1.0
 */
import { SigningError } from "@effect-oauth/core/OAuthError"
import { type Header, type Sealing, type Sign, Signer } from "@effect-oauth/core/Signer"
import type { Algorithm, SigningKey } from "@effect-oauth/core/SigningKey"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Crypto from "node:crypto"
import * as RandomPool from "./internal/randomPool.ts"

/** How `crypto.sign` is called for an algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1). */
interface Scheme {
  /** Null where the algorithm brings its own. */
  readonly digest: string | null
  readonly options: Crypto.SigningOptions
  /** A thread hop costs about 16 µs: as much as a signature by P-256 or Ed25519, a tenth of any other. */
  readonly onThread: boolean
}

const schemeOf = (algorithm: Algorithm): Scheme => {
  const digest = `sha${algorithm.slice(2)}`
  switch (algorithm) {
    case "Ed25519":
    case "EdDSA":
      return { digest: null, options: {}, onThread: true }
    case "ES256":
    case "ES384":
    case "ES512":
      // JWS wants r and s side by side, not the DER that is Node's default.
      return { digest, options: { dsaEncoding: "ieee-p1363" }, onThread: algorithm === "ES256" }
    case "PS256":
    case "PS384":
    case "PS512": {
      const { RSA_PKCS1_PSS_PADDING: padding, RSA_PSS_SALTLEN_DIGEST: saltLength } = Crypto.constants
      return { digest, options: { padding, saltLength }, onThread: false }
    }
    case "RS256":
    case "RS384":
    case "RS512":
      return { digest, options: {}, onThread: false }
  }
}

const encodeText = (text: string): string => Buffer.from(text, "utf8").toString("base64url")

/** Without what the library says: it may name what is in a key. */
const refused = (key: SigningKey): SigningError =>
  new SigningError({ algorithm: key.algorithm, problem: "node:crypto refused to sign with this key" })

const keyInput = (
  key: SigningKey,
  options: Crypto.SigningOptions
): Either.Either<Crypto.SignKeyObjectInput, SigningError> =>
  Either.try({
    try: () => ({
      ...options,
      key: Crypto.KeyObject.from(Redacted.value(key.privateKey) as Crypto.webcrypto.CryptoKey)
    }),
    catch: () => refused(key)
  })

const signing = (key: SigningKey, header: Header): Sign => {
  const start = `${encodeText(JSON.stringify({ ...header, alg: key.algorithm }))}.`
  const { digest, onThread, options } = schemeOf(key.algorithm)
  const prepared = keyInput(key, options)
  if (Either.isLeft(prepared)) return () => prepared.left
  const input = prepared.right
  return onThread
    ? (claims) =>
      Effect.try({
        try: () => {
          const signed = start + encodeText(claims)
          return `${signed}.${Crypto.sign(digest, Buffer.from(signed, "latin1"), input).toString("base64url")}`
        },
        catch: () => refused(key)
      })
    : (claims) =>
      Effect.async((resume) => {
        const signed = start + encodeText(claims)
        const done = (error: Error | null, signature: Buffer) =>
          resume(error === null ? Effect.succeed(`${signed}.${signature.toString("base64url")}`) : refused(key))
        try {
          Crypto.sign(digest, Buffer.from(signed, "latin1"), input, done)
        } catch {
          resume(refused(key))
        }
      })
}

/** The same form as the core's, so that either opens what the other has sealed. */
const sealing = (key: Uint8Array<ArrayBuffer>): Sealing => {
  const secret = Crypto.createSecretKey(key)
  return {
    seal: (header, text) =>
      Effect.sync(() => {
        const start = encodeText(JSON.stringify({ ...header, alg: "dir", enc: "A256GCM" }))
        const iv = Crypto.randomBytes(12)
        const cipher = Crypto.createCipheriv("aes-256-gcm", secret, iv).setAAD(Buffer.from(start, "latin1"))
        const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()])
        const parts = [iv, body, cipher.getAuthTag()].map((part) => part.toString("base64url"))
        return `${start}..${parts.join(".")}`
      }),
    open: (sealed) =>
      Effect.option(Effect.try(() => {
        const [start = "", key, ...parts] = sealed.split(".")
        const [iv, body, tag] = parts.map((part) => Buffer.from(part, "base64url"))
        if (key !== "" || parts.length !== 3 || tag?.length !== 16) throw new Error("not a compact JWE of a direct key")
        const decipher = Crypto.createDecipheriv("aes-256-gcm", secret, iv!).setAAD(Buffer.from(start, "latin1"))
        decipher.setAuthTag(tag)
        return decipher.update(body!, undefined, "utf8") + decipher.final("utf8")
      }))
  }
}

/** `crypto.hash` came with Node 20.12. */
const sha256 = (text: string): string =>
  Crypto.hash === undefined
    ? Crypto.createHash("sha256").update(text, "utf8").digest("base64url")
    : Crypto.hash("sha256", text, "base64url")

/**
 * A signer with random bytes of its own. Its signatures fail with `SigningError` where `node:crypto` cannot use a key.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<Signer["Type"]> = Effect.sync(() => {
  const random = RandomPool.make()
  return {
    signing,
    sealing,
    sha256: (text) => Effect.sync(() => sha256(text)),
    random: (bytes) => random(bytes).toString("base64url")
  }
})

/**
 * Signatures, hashes and random texts by `node:crypto` (RFC 7515, RFC 7518).
 *
 * @example
 * ```ts
 * import { Signer, SigningKey } from "@effect-oauth/core"
 * import { NodeSigner } from "@effect-oauth/platform-node"
 * import { Effect } from "effect"
 *
 * export const jws = Effect.gen(function*() {
 *   const signer = yield* Signer.Signer
 *   const sign = signer.signing(yield* SigningKey.generate(), { typ: "example+jwt" })
 *   return yield* sign(JSON.stringify({ jti: signer.random(16) }))
 * }).pipe(Effect.provide(NodeSigner.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Signer> = Layer.effect(Signer, make)
