/**
 * Sealing what leaves the process: entries of the shared `TokenStore` as compact JWE (RFC 7516), `dir` with `A256GCM`.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { base64url } from "jose"
import { foreign } from "./internal/foreign.ts"
import { found } from "./internal/problem.ts"
import { EncryptionKeysInvalid } from "./OAuthError.ts"
import * as OptionalServices from "./OptionalServices.ts"
import { type Sealing, Signer, webCrypto } from "./Signer.ts"
import * as StrictJson from "./StrictJson.ts"

/**
 * Optional: without it, entries are written in clear.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenEncryption extends Context.Tag("@effect-oauth/core/TokenEncryption")<TokenEncryption, {
  /** The text as it may be stored, bound to the key that it is stored under. */
  readonly seal: (key: string, text: string) => Effect.Effect<string>
  /** `None` if it was sealed with a key that is not here, under another entry's key, or was tampered with. */
  readonly open: (key: string, sealed: string) => Effect.Effect<Option.Option<string>>
  /**
   * Optional: from now on by this `Signer`, unless there was one already. What is sealed stays the same. For a
   * `TokenEncryption` that is built before the `Signer` of the Layer that uses it.
   */
  readonly useSigner?: (signer: Signer["Type"]) => Effect.Effect<void>
}>() {}

/**
 * One key of the ring: 32 random bytes as base64url, and a name by which entries say what they were sealed with.
 *
 * @since 0.1.0
 * @category models
 */
export interface EncryptionKey {
  readonly id: string
  readonly key: Redacted.Redacted<string>
}

const expected = "expected 32 bytes as base64url, such as the output of `openssl rand 32 | basenc --base64url`"

const bytesOf = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  if (!/^[A-Za-z0-9_-]{43}=?$/.test(text)) return undefined
  return new Uint8Array(base64url.decode(text))
}

interface RingKey {
  readonly id: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** The ring as one `Signer` uses it. */
interface Ring {
  readonly signer: Signer["Type"]
  readonly newest: string
  readonly sealings: ReadonlyMap<string, Sealing>
}

const ringOf = (
  keys: ReadonlyArray<EncryptionKey>
): Either.Either<readonly [RingKey, ...Array<RingKey>], EncryptionKeysInvalid> => {
  const problems: Array<string> = []
  const ring = keys.flatMap(({ id, key }, index): ReadonlyArray<RingKey> => {
    const text: unknown = Redacted.isRedacted(key) ? Redacted.value(key) : undefined
    const bytes = typeof text === "string" ? bytesOf(text) : undefined
    if (typeof id !== "string" || id === "") problems.push(`key ${index + 1}: expected an id, found an empty one`)
    if (bytes === undefined) problems.push(`key ${index + 1}: ${found(expected, key)}`)
    return bytes === undefined ? [] : [{ id, bytes }]
  })
  if (new Set(keys.map(({ id }) => id)).size < keys.length) problems.push("two keys have the same id")
  const [newest, ...older] = ring
  if (newest === undefined || problems.length > 0) {
    return Either.left(new EncryptionKeysInvalid({ problems: keys.length === 0 ? ["there is no key"] : problems }))
  }
  return Either.right([newest, ...older])
}

/**
 * Seals with the first key and opens with any: to rotate, put a new one in front, and take the old one out when what it has
 * sealed is gone. By the `Signer` that is there when it is made, else by that of the first Layer that uses it (`OAuth.layer`,
 * `NodeOAuth.layer`, `Oidc.layer`), else by WebCrypto.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  keys: ReadonlyArray<EncryptionKey>
): Effect.Effect<TokenEncryption["Type"], EncryptionKeysInvalid> =>
  Effect.gen(function*() {
    const provided = Option.getOrUndefined(yield* Effect.serviceOption(Signer))
    const parsed = yield* ringOf(keys)
    const ringBy = (signer: Signer["Type"]): Ring => ({
      signer,
      newest: parsed[0].id,
      sealings: new Map(parsed.map(({ bytes, id }) => [id, signer.sealing(bytes)]))
    })
    let isSettled = provided !== undefined
    let ring = ringBy(provided ?? webCrypto)

    // The entry's key is hashed: it may tell of a tenant or a user, and what is stored shows nothing but itself.
    return {
      useSigner: (signer) =>
        Effect.sync(() => {
          if (isSettled) return
          isSettled = true
          ring = ringBy(signer)
        }),
      seal: (key, text) =>
        Effect.suspend(() => {
          const { newest, sealings, signer } = ring
          return Effect.flatMap(signer.sha256(key), (entry) => sealings.get(newest)!.seal({ kid: newest, entry }, text))
        }),
      open: (key, sealed) =>
        Effect.suspend(() => {
          const { sealings, signer } = ring
          return Effect.flatMap(signer.sha256(key), (entry) => {
            const header = headerOf(sealed)
            const used = header === undefined ? undefined : sealings.get(header.kid)
            return header === undefined || used === undefined || header.entry !== entry
              ? Effect.succeedNone
              : used.open(sealed)
          })
        })
    }
  })

/**
 * The `TokenEncryption` that is provided seals by the `Signer` that is provided, if it was built without one. For packages that
 * build on this one.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSigner: Layer.Layer<never, never, Signer> = Layer.fresh(Layer.effectDiscard(
  Effect.flatMap(Signer, (signer) =>
    Effect.flatMap(
      OptionalServices.get(TokenEncryption),
      (encryption) =>
        foreign(() => Option.getOrUndefined(encryption)?.useSigner?.(signer) ?? Effect.void, () => Effect.void)
    ))
))

const headerOf = (sealed: string): { readonly kid: string; readonly entry: string } | undefined => {
  try {
    const header = StrictJson.parseObject(base64url.decode(sealed.split(".")[0] ?? ""))
    if (Either.isLeft(header)) return undefined
    const { alg, enc, entry, kid } = header.right
    const isOurs = alg === "dir" && enc === "A256GCM" && typeof kid === "string" && typeof entry === "string"
    return isOurs ? { kid, entry } : undefined
  } catch {
    return undefined
  }
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  keys: ReadonlyArray<EncryptionKey>
): Layer.Layer<TokenEncryption, EncryptionKeysInvalid> => Layer.effect(TokenEncryption, make(keys))

const keysOf = (text: Redacted.Redacted<string>): ReadonlyArray<EncryptionKey> =>
  Redacted.value(text).split(/[\s,]+/).filter((part) => part !== "").map((part) => {
    const colon = part.indexOf(":")
    return { id: part.slice(0, Math.max(0, colon)), key: Redacted.make(part.slice(colon + 1)) }
  })

/**
 * The ring from configuration, default `TOKEN_ENCRYPTION_KEYS`: `id:key` pairs, separated by commas or spaces, the newest
 * first.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config<Redacted.Redacted<string>> = Config.redacted("TOKEN_ENCRYPTION_KEYS")
): Layer.Layer<TokenEncryption, EncryptionKeysInvalid | ConfigError.ConfigError> =>
  Layer.effect(TokenEncryption, Effect.flatMap(config, (text) => make(keysOf(text))))
