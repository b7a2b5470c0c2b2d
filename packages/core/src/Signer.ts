/**
 * The cryptography that OAuth needs at run time: signatures, hashes and random texts.
 *
 * The built-in one is WebCrypto, which every runtime has. `NodeSigner` of `@effect-oauth/platform-node` is faster; one of
 * your own can sign where the key is, in a cloud's key service for instance.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { base64url } from "jose"
import { SigningError } from "./OAuthError.ts"
import type { Algorithm, SigningKey } from "./SigningKey.ts"

/**
 * Signs claims, as JSON text, and gives the compact JWS (RFC 7515 section 7.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface Sign {
  (claims: string): Effect.Effect<string, SigningError>
}

/**
 * The protected header of a JWS but for its `alg`, which is the key's (RFC 7515 section 4).
 *
 * @since 0.1.0
 * @category models
 */
export type Header = Readonly<Record<string, unknown>>

/**
 * Seals texts as compact JWE, `dir` with `A256GCM` (RFC 7516 section 7.1), under one key.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sealing {
  /** `header` is protected: it can be read, and what was sealed does not open if it was changed. */
  readonly seal: (header: Header, text: string) => Effect.Effect<string>
  /** `None` for what was not sealed with this key, or was changed. */
  readonly open: (sealed: string) => Effect.Effect<Option.Option<string>>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Signer extends Context.Tag("@effect-oauth/core/Signer")<Signer, {
  /** Prepares what stays the same for all signatures of a key under one header. */
  readonly signing: (key: SigningKey, header: Header) => Sign
  /** Prepares sealing with a key of 32 bytes. */
  readonly sealing: (key: Uint8Array<ArrayBuffer>) => Sealing
  /** SHA-256 of a text's UTF-8 bytes, base64url without padding. */
  readonly sha256: (text: string) => Effect.Effect<string>
  /** So many bytes of cryptographic randomness, base64url without padding. */
  readonly random: (bytes: number) => string
}>() {}

const hashed = (name: string, bits: string) => ({ name, hash: `SHA-${bits}` })

/** The parameters of WebCrypto for an algorithm (RFC 7518 section 3.1). */
const parametersOf = (algorithm: Algorithm): { readonly name: string } => {
  const bits = algorithm.slice(2)
  switch (algorithm) {
    case "Ed25519":
    case "EdDSA":
      return { name: "Ed25519" }
    case "PS256":
    case "PS384":
    case "PS512":
      return { name: "RSA-PSS", saltLength: Number(bits) / 8 } as { readonly name: string }
    case "RS256":
    case "RS384":
    case "RS512":
      return { name: "RSASSA-PKCS1-v1_5" }
    default:
      return hashed("ECDSA", bits)
  }
}

const encoder = new TextEncoder()

const sealingWith = (key: Uint8Array<ArrayBuffer>): Sealing => {
  const imported = crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"])
  // A key of another length is a mistake of whoever prepares it, told where it is used.
  imported.catch(() => undefined)
  const parametersOf = (header: string, iv: Uint8Array<ArrayBuffer>) => ({
    name: "AES-GCM",
    iv,
    additionalData: encoder.encode(header),
    tagLength: 128
  })
  return {
    seal: (header, text) =>
      Effect.promise(async () => {
        const start = base64url.encode(JSON.stringify({ ...header, alg: "dir", enc: "A256GCM" }))
        const iv = crypto.getRandomValues(new Uint8Array(12))
        const sealed = new Uint8Array(
          await crypto.subtle.encrypt(parametersOf(start, iv), await imported, encoder.encode(text))
        )
        const [body, tag] = [sealed.subarray(0, -16), sealed.subarray(-16)]
        return `${start}..${base64url.encode(iv)}.${base64url.encode(body)}.${base64url.encode(tag)}`
      }),
    open: (sealed) =>
      Effect.option(Effect.tryPromise(async () => {
        const [start = "", key, iv = "", body = "", tag = "", more] = sealed.split(".")
        if (key !== "" || more !== undefined) throw new Error("not a compact JWE of a direct key")
        const bytes = new Uint8Array([...base64url.decode(body), ...base64url.decode(tag)])
        const parameters = parametersOf(start, new Uint8Array(base64url.decode(iv)))
        return new TextDecoder().decode(await crypto.subtle.decrypt(parameters, await imported, bytes))
      }))
  }
}

/** @internal */
export const webCrypto: Signer["Type"] = {
  signing: (key, header) => {
    const start = `${base64url.encode(JSON.stringify({ ...header, alg: key.algorithm }))}.`
    const parameters = parametersOf(key.algorithm)
    const privateKey = Redacted.value(key.privateKey)
    return (claims) =>
      Effect.tryPromise({
        try: async () => {
          const input = `${start}${base64url.encode(claims)}`
          const signature = await crypto.subtle.sign(parameters, privateKey, encoder.encode(input))
          return `${input}.${base64url.encode(new Uint8Array(signature))}`
        },
        catch: () => new SigningError({ algorithm: key.algorithm, problem: "WebCrypto refused to sign with this key" })
      })
  },
  sealing: sealingWith,
  sha256: (text) =>
    Effect.map(
      Effect.promise(() => crypto.subtle.digest("SHA-256", encoder.encode(text))),
      (digest) => base64url.encode(new Uint8Array(digest))
    ),
  random: (bytes) => base64url.encode(crypto.getRandomValues(new Uint8Array(bytes)))
}

/**
 * WebCrypto.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Signer> = Layer.succeed(Signer, webCrypto)
