/**
 * The shared store as the cache uses it. It is a help and never a hindrance: whatever fails or is slow counts as nothing
 * found, a store that fails is left alone for a while, and both changes of its state are logged once.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { AccessToken } from "../AccessToken.ts"
import { TokenStoreError } from "../OAuthError.ts"
import type { Log } from "../OAuthLogging.ts"
import * as OAuthMetrics from "../OAuthMetrics.ts"
import type { TokenEncryption } from "../TokenEncryption.ts"
import type { Lock, TokenStore, TokenStoreEvent } from "../TokenStore.ts"

/** @internal What the store has: its version, and the token unless it cannot be read. */
export interface Found {
  readonly version: string | null
  readonly token: AccessToken | undefined
}

/** @internal */
export interface Write {
  readonly token: AccessToken
  readonly timeToLive: Duration.Duration
  readonly clientName: string
  /** The version that may be replaced; `undefined`: any. */
  readonly over: string | null | undefined
  readonly fence: number | undefined
}

/** @internal */
export interface SharedTier {
  readonly read: (key: string) => Effect.Effect<Found>
  /** The version that was written; `None` if somebody else was faster, or if the store failed. */
  readonly write: (key: string, write: Write) => Effect.Effect<Option.Option<string>>
  readonly remove: (key: string) => Effect.Effect<void>
  readonly removeAll: (clientName: string | undefined) => Effect.Effect<void>
  /** `None` if another process has the lock. A store that fails lets everybody in, without a lock. */
  readonly exclusively: <A, E>(
    key: string,
    use: (lock: Lock | undefined) => Effect.Effect<A, E>
  ) => Effect.Effect<Option.Option<A>, E>
  readonly events: Stream.Stream<TokenStoreEvent>
}

/** @internal */
export interface Options {
  readonly timeout: Duration.Duration
  readonly lease: Duration.Duration
}

const Text = Schema.parseJson(AccessToken)
const encode = Schema.encode(Text)
const decode = Schema.decodeUnknownEither(Text)

const nothing: Found = { version: null, token: undefined }

const everything = "all"
const tagOf = (clientName: string): string => `client:${clientName}`

/** @internal Whose entries have this tag; `undefined` for everybody's, `null` for nobody's. */
export const clientOf = (tag: string): string | undefined | null =>
  tag === everything ? undefined : tag.startsWith("client:") ? tag.slice("client:".length) : null

const longestPause = 30_000

/** Whether the store may be asked; two changes of state, each told once. */
const makeBreaker = (log: Log) => {
  let failures = 0
  let closedUntil = 0
  return {
    isOpen: (now: number) => now < closedUntil,
    failed: (now: number, error: TokenStoreError) => {
      const isNews = failures === 0
      closedUntil = now + Math.min(1000 * 2 ** failures, longestPause)
      failures = Math.min(failures + 1, 10)
      return isNews
        ? log.warning(undefined, `${error.message}: tokens are shared with no other process until it is back`)
        : Effect.void
    },
    succeeded: Effect.suspend(() => {
      if (failures === 0) return Effect.void
      failures = 0
      closedUntil = 0
      return log.warning(undefined, "the token store is back: tokens are shared again")
    })
  }
}

/** @internal */
export const make = (
  store: TokenStore["Type"],
  encryption: TokenEncryption["Type"] | undefined,
  log: Log,
  { lease, timeout }: Options
): SharedTier => {
  const breaker = makeBreaker(log)

  const tooSlow = (operation: string) =>
    new TokenStoreError({ store: "shared", operation, problem: `it took longer than ${Duration.format(timeout)}` })

  const broken = (operation: string) =>
    new TokenStoreError({ store: "shared", operation, problem: "it broke off with a defect" })

  /** What the store says, or `otherwise` where it is left alone or fails. */
  const guarded = <A, E>(
    effect: Effect.Effect<A, E | TokenStoreError>,
    otherwise: Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (breaker.isOpen(now)) return otherwise
      return effect.pipe(
        Effect.zipLeft(breaker.succeeded),
        Effect.catchAll((error) =>
          error instanceof TokenStoreError
            ? Clock.currentTimeMillis.pipe(
              Effect.flatMap((later) => breaker.failed(later, error)),
              Effect.zipRight(otherwise)
            )
            : Effect.fail(error)
        )
      )
    })

  const quick = <A>(operation: string, effect: Effect.Effect<A, TokenStoreError>, otherwise: A): Effect.Effect<A> =>
    guarded<A, never>(
      Effect.suspend(() => effect).pipe(
        Effect.catchAllDefect(() => Effect.fail(broken(operation))),
        Effect.timeoutFail({ duration: timeout, onTimeout: () => tooSlow(operation) })
      ),
      Effect.succeed(otherwise)
    )

  const opened = (key: string, value: string): Effect.Effect<AccessToken | undefined> => {
    const text = encryption === undefined ? Effect.succeedSome(value) : encryption.open(key, value)
    return Effect.map(text, (text) => {
      const token = Option.isSome(text) ? decode(text.value) : undefined
      return token !== undefined && Either.isRight(token) ? token.right : undefined
    })
  }

  const sealed = (key: string, token: AccessToken): Effect.Effect<string> =>
    Effect.flatMap(
      Effect.orDie(encode(token)),
      (text) => encryption === undefined ? Effect.succeed(text) : encryption.seal(key, text)
    )

  return {
    read: (key) =>
      Effect.flatMap(quick("get", store.get(key), Option.none()), (stored) => {
        if (Option.isNone(stored)) {
          OAuthMetrics.count(OAuthMetrics.sharedMiss)
          return Effect.succeed(nothing)
        }
        const { value, version } = stored.value
        return Effect.map(opened(key, value), (token) => {
          OAuthMetrics.count(token === undefined ? OAuthMetrics.sharedMiss : OAuthMetrics.sharedHit)
          return { version, token }
        })
      }),

    write: (key, { clientName, fence, over, timeToLive, token }) =>
      Effect.flatMap(sealed(key, token), (value) =>
        quick(
          "set",
          store.set(key, value, { timeToLive, fence, ifVersion: over, tags: [everything, tagOf(clientName)] }),
          Option.none()
        )),

    remove: (key) => Effect.asVoid(quick("remove", store.remove(key), false)),

    removeAll: (clientName) =>
      quick("removeByTag", store.removeByTag(clientName === undefined ? everything : tagOf(clientName)), undefined),

    exclusively: <A, E>(key: string, use: (lock: Lock | undefined) => Effect.Effect<A, E>) =>
      Effect.flatMap(Deferred.make<void>(), (entered) => {
        let inside = false
        const locked = store.withLock(key, { lease, wait: 0 }, (lock) => {
          inside = true
          return Effect.zipRight(Deferred.succeed(entered, undefined), use(lock))
        })
        // The time-out is for the store, not for what is done under its lock.
        const late = Effect.zipRight(
          Effect.sleep(timeout),
          Effect.suspend(() => inside ? Effect.never : Effect.fail(tooSlow("lock")))
        )
        return guarded<Option.Option<A>, E>(
          Effect.raceFirst(locked, late),
          Effect.suspend(() => Effect.asSome(use(undefined)))
        )
      }),

    events: store.events
  }
}
