/**
 * The shared store as the cache uses it. It is a help and never a hindrance: whatever fails or is slow counts as nothing
 * found, a store that fails is left alone for a while, and both changes of its state are logged once.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { AccessToken } from "../../AccessToken.ts"
import { type TokenStoreError } from "../../OAuthError.ts"
import type { Log } from "../../OAuthLogging.ts"
import * as OAuthMetrics from "../../OAuthMetrics.ts"
import * as StrictJson from "../../StrictJson.ts"
import type { TokenEncryption } from "../../TokenEncryption.ts"
import type { Lock, Stored, TokenStore, TokenStoreEvent } from "../../TokenStore.ts"
import * as StoreGuard from "../store/storeGuard.ts"
import * as Removals from "./removals.ts"

/** @internal What the store has: its version, and the token unless it cannot be read. */
export interface Found {
  /** Whether the store has said so: if not, it is not known what it has. */
  readonly isKnown: boolean
  readonly version: string | null
  readonly token: AccessToken | undefined
  /** As it is in the store. */
  readonly value: string | undefined
}

/** @internal */
export interface Write {
  readonly timeToLive: Duration.Duration
  readonly clientName: string
  /** The version that is replaced. */
  readonly over: string | null
  readonly fence: number | undefined
}

/** @internal `Refused`: the version to be replaced is not there any more. `Failed`: it is not known what became of it. */
export type Written =
  | { readonly _tag: "Written"; readonly version: string }
  | { readonly _tag: "Refused" }
  | { readonly _tag: "Failed" }

/** @internal */
export interface SharedTier {
  /** What the store has. Without the name of its client, nothing is known of it while anything is being removed. */
  readonly read: (key: string, clientName?: string) => Effect.Effect<Found>
  readonly write: (key: string, token: AccessToken, write: Write) => Effect.Effect<Written>
  /**
   * Makes the entry exist in a version of the acquisition that announces itself by it: a removal takes it away, and so what
   * comes of the acquisition is not written any more. What is there stays in it.
   */
  readonly announce: (key: string, found: Found, write: Write) => Effect.Effect<Written>
  /** Until when an entry without a token is there if it is not removed, in milliseconds since 1970. */
  readonly lasts: (found: Found) => number
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

const Text = StrictJson.schema(AccessToken)
const encode = Schema.encode(Text)
const decode = Schema.decodeUnknownEither(Text)

const nothing: Found = { isKnown: true, version: null, token: undefined, value: undefined }
const unknown: Found = { isKnown: false, version: null, token: undefined, value: undefined }

const failed: Written = { _tag: "Failed" }
const refused: Written = { _tag: "Refused" }

/** What is in an entry without a token: until when it is there. Whoever cannot read it finds no token in it either. */
const announcement = /^pending:(\d{1,16})$/

/** @internal A token that never expires is looked for anew every day. */
export const longestStay: Duration.Duration = Duration.hours(24)

const everything = "all"
const tagOf = (clientName: string): string => `client:${clientName}`

/** @internal Whose entries have this tag; `undefined` for everybody's, `null` for nobody's. */
export const clientOf = (tag: string): string | undefined | null =>
  tag === everything ? undefined : tag.startsWith("client:") ? tag.slice("client:".length) : null

/** @internal */
export const make = (
  store: TokenStore["Type"],
  encryption: TokenEncryption["Type"] | undefined,
  log: Log,
  { lease, timeout }: Options
): Effect.Effect<SharedTier, never, Scope.Scope> =>
  Effect.map(Removals.make(log, longestStay), (removals) => {
    const { broken, guarded, isFailing, quick, succeeded, tooSlow } = StoreGuard.make(log, timeout, {
      down: "tokens that it fails for are shared with no other process until it is back",
      up: "tokens are shared again"
    })

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

    /** `otherwise` as long as the entry is being removed. */
    const unlessRemoved = <A>(
      key: string,
      clientName: string | undefined,
      otherwise: A,
      step: Effect.Effect<A>
    ): Effect.Effect<A> =>
      Effect.suspend(() => {
        const isBeingRemoved = !removals.isEmpty() && (
          clientName === undefined || removals.isPending(`key ${key}`) ||
          removals.isPending(`tag ${everything}`) || removals.isPending(`tag ${tagOf(clientName)}`)
        )
        return isBeingRemoved ? Effect.succeed(otherwise) : step
      })

    const found = (key: string) =>
      Option.match({
        onNone: () => Effect.succeed(nothing),
        onSome: ({ value, version }: Stored) =>
          Effect.map(opened(key, value), (token): Found => ({ isKnown: true, version, token, value }))
      })

    const read = (key: string): Effect.Effect<Found> =>
      Effect.map(quick("read", "get", key, Effect.flatMap(store.get(key), found(key)), unknown), (answer) => {
        OAuthMetrics.count(answer.token === undefined ? OAuthMetrics.sharedMiss : OAuthMetrics.sharedHit)
        return answer
      })

    const set = (key: string, value: Effect.Effect<string>, { clientName, fence, over, timeToLive }: Write) => {
      const options = { timeToLive, fence, ifVersion: over, tags: [everything, tagOf(clientName)] }
      const written = Effect.map(
        Effect.flatMap(value, (value) => store.set(key, value, options)),
        Option.match({ onNone: () => refused, onSome: (version): Written => ({ _tag: "Written", version }) })
      )
      return unlessRemoved(key, clientName, failed, quick("write", "set", key, written, failed))
    }

    const removeByTag = (tag: string): Effect.Effect<void> => {
      const step = Effect.as(store.removeByTag(tag), true)
      return removals.run(`tag ${tag}`, quick("write", "removeByTag", `tag:${tag}`, step, false))
    }

    return {
      read: (key, clientName) => unlessRemoved(key, clientName, unknown, read(key)),

      write: (key, token, write) => set(key, sealed(key, token), write),

      announce: (key, { token, value }, write) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          set(
            key,
            Effect.succeed(
              token === undefined || value === undefined
                ? `pending:${now + Duration.toMillis(write.timeToLive)}`
                : value
            ),
            write
          )),

      lasts: ({ value }) => Number(value?.match(announcement)?.[1] ?? 0),

      remove: (key) => {
        return removals.run(`key ${key}`, quick("write", "remove", key, Effect.as(store.remove(key), true), false))
      },

      removeAll: (clientName) => removeByTag(clientName === undefined ? everything : tagOf(clientName)),

      exclusively: <A, E>(key: string, use: (lock: Lock | undefined) => Effect.Effect<A, E>) =>
        Effect.flatMap(Deferred.make<A, E>(), (done) => {
          let inside = false
          let ended = false
          const locked = Effect.suspend(() =>
            store.withLock(key, { lease, wait: 0 }, (lock) => {
              inside = true
              return succeeded("write", key).pipe(
                Effect.zipRight(use(lock)),
                Effect.onExit((exit) => {
                  ended = true
                  return Deferred.done(done, exit)
                })
              )
            })
          ).pipe(
            Effect.tap((had) => Option.isNone(had) ? succeeded("write", key) : Effect.void),
            Effect.catchAllDefect((defect) => inside ? Effect.die(defect) : Effect.fail(broken("lock")))
          )
          // What has been done under the lock does not wait for a store that fails to take the lock back.
          const unlocked = Effect.suspend(() => isFailing(key) ? Effect.void : Effect.sleep(timeout))
          // The time-out is for the store, not for what is done under its lock.
          const late = Effect.zipRight(
            Effect.sleep(timeout),
            Effect.suspend((): Effect.Effect<Option.Option<A>, E | TokenStoreError> =>
              inside
                ? Effect.asSome(Effect.flatten(Effect.zipLeft(Effect.exit(Deferred.await(done)), unlocked)))
                : Effect.fail(tooSlow("lock"))
            )
          )
          const first = Effect.uninterruptibleMask((restore) =>
            Effect.flatMap(Effect.forkDaemon(Effect.interruptible(locked)), (fiber) =>
              Effect.onExit(
                restore(Effect.raceFirst(Fiber.join(fiber), late)),
                // Giving the lock back goes on by itself, for a second at most.
                () => ended ? Effect.void : inside ? Fiber.interrupt(fiber) : Fiber.interruptFork(fiber)
              ))
          )
          return guarded<Option.Option<A>, E>("write", key, first, Effect.suspend(() => Effect.asSome(use(undefined))))
        }),

      events: store.events
    }
  })
