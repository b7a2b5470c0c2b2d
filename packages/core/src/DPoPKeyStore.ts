/**
 * The keys of clients whose `dpop` is `true`. Tokens name their key by its thumbprint.
 *
 * A fleet of processes shares tokens only with a key that all of them have: a configured one, or one from a file.
 *
 * @since 0.1.0
 */
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { foreign } from "./internal/foreign.ts"
import { nameOf } from "./internal/problem.ts"
import { CredentialUnavailable, type SigningKeyInvalid } from "./OAuthError.ts"
import * as SigningKey from "./SigningKey.ts"
import * as SteadyClock from "./SteadyClock.ts"

/**
 * @since 0.1.0
 * @category tags
 */
export class DPoPKeyStore extends Context.Tag("@effect-oauth/core/DPoPKeyStore")<DPoPKeyStore, {
  /** The key that the next token of a client is to be bound to. */
  readonly get: (clientName: string) => Effect.Effect<SigningKey.SigningKey, CredentialUnavailable>
  /** The key that a token was bound to, be it an earlier one. */
  readonly byThumbprint: (
    thumbprint: string
  ) => Effect.Effect<Option.Option<SigningKey.SigningKey>, CredentialUnavailable>
  /** Optional: a token was bound to this key and may need it until it expires, for ever without `until`. */
  readonly retain?: (thumbprint: string, until: DateTime.Utc | undefined) => Effect.Effect<void>
}>() {}

/** @internal A store that fails with a type, whoever wrote it. */
export const guarded = (store: DPoPKeyStore["Type"]): DPoPKeyStore["Type"] => {
  const unavailable = (clientName: string) => (defect: unknown) =>
    new CredentialUnavailable({ clientName, credential: "key", problem: nameOf(defect) })
  return {
    get: (clientName) => foreign(() => store.get(clientName), unavailable(clientName)),
    byThumbprint: (thumbprint) => foreign(() => store.byThumbprint(thumbprint), unavailable("")),
    retain: (thumbprint, until) => foreign(() => store.retain?.(thumbprint, until) ?? Effect.void, () => Effect.void)
  }
}

/** @internal */
export const single = (key: SigningKey.SigningKey): DPoPKeyStore["Type"] => ({
  get: () => Effect.succeed(key),
  byThumbprint: (thumbprint) => Effect.succeed(thumbprint === key.thumbprint ? Option.some(key) : Option.none())
})

/**
 * One key for all clients.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (key: SigningKey.SigningKey): Layer.Layer<DPoPKeyStore> => Layer.succeed(DPoPKeyStore, single(key))

/**
 * One key for all clients: the JSON text of a private JWK, from configuration. Fails if the key cannot be used.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  key: Config.Config<Redacted.Redacted<string>>
): Layer.Layer<DPoPKeyStore, ConfigError.ConfigError | SigningKeyInvalid> =>
  Layer.effect(DPoPKeyStore, Effect.map(Effect.flatMap(key, SigningKey.make), single))

/**
 * @since 0.1.0
 * @category models
 */
export interface GeneratedOptions {
  /** Default `ES256`. */
  readonly algorithm?: SigningKey.Algorithm | undefined
  /** How long new tokens are bound to the same key. Default 24 hours. */
  readonly rotateAfter?: Duration.DurationInput | undefined
}

interface Kept {
  readonly key: SigningKey.SigningKey
  readonly since: number
  /** When the last token that is bound to it expires. */
  until: number
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const makeGenerated = (options: GeneratedOptions = {}): Effect.Effect<DPoPKeyStore["Type"]> =>
  Effect.map(Effect.makeSemaphore(1), (lock) => {
    const rotateAfter = Duration.toMillis(options.rotateAfter ?? "24 hours")
    const keys = new Map<string, Kept>()
    let current: Kept | undefined

    const rotate = (now: number) =>
      Effect.map(SigningKey.generate(options.algorithm), (key) => {
        // The one before stays in any case: a request that it was shown with may still be under way.
        for (const kept of keys.values()) if (kept !== current && kept.until <= now) keys.delete(kept.key.thumbprint)
        current = { key, since: now, until: 0 }
        keys.set(key.thumbprint, current)
        return key
      })

    const newest = Effect.flatMap(
      SteadyClock.currentTimeMillis,
      (now) => current !== undefined && now - current.since < rotateAfter ? Effect.succeed(current.key) : rotate(now)
    )

    return {
      get: (clientName) =>
        Effect.mapError(
          lock.withPermits(1)(newest),
          ({ problem }) => new CredentialUnavailable({ clientName, credential: "key", problem })
        ),
      byThumbprint: (thumbprint) => Effect.sync(() => Option.fromNullable(keys.get(thumbprint)?.key)),
      retain: (thumbprint, until) =>
        Effect.sync(() => {
          const kept = keys.get(thumbprint)
          const end = until === undefined ? Number.POSITIVE_INFINITY : DateTime.toEpochMillis(until)
          if (kept !== undefined) kept.until = Math.max(kept.until, end)
        })
    }
  })

/**
 * A key that is generated when it is first needed, cannot be exported, and gives way to a new one every `rotateAfter`. An
 * earlier key is kept until the last token bound to it has expired.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerGenerated = (options?: GeneratedOptions): Layer.Layer<DPoPKeyStore> =>
  Layer.effect(DPoPKeyStore, makeGenerated(options))
