/**
 * Which refresh tokens are being presented, and which are used up, told to all processes by the store that they share. A
 * refresh token is announced before it is presented, so a process that does not see the result of another one yet, because
 * the store was away or the browser shows an older cookie, does not present the same token again.
 */
import type { Signer } from "@effect-oauth/core/Signer"
import * as SteadyClock from "@effect-oauth/core/SteadyClock"
import type { TokenStore } from "@effect-oauth/core/TokenStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { SessionStoreError } from "../../OidcError.ts"
import type { Presentation } from "../../TokenConcurrency.ts"
import * as Schedules from "../schedules.ts"
import * as GuardedStore from "../session/guardedStore.ts"

/** Long enough for every process to see that a refresh token is used up, where its browser brings it once more. */
const usedFor = Duration.hours(1)

/**
 * So long, from when this process first sees it, an announcement of another one is respected: a process that lives has
 * written its result by then, also one that had to wait for the store. One that does not live has left the outcome unknown.
 */
const patience = 30_000

/**
 * Long enough for a process that lives to write its result, also after the store was away; nobody waits for one that died long
 * ago.
 */
const announcedFor = Duration.minutes(10)

/** Longer than an exchange, in milliseconds. */
const longest = 120_000

const persistently = Schedules.persistently("1 minutes")

/** For as long as other processes are patient. */
const withdrawing = Schedule.spaced("2 seconds").pipe(Schedules.within(patience))

const used = "used"

const capacity = 10_000

/** Adds an entry, in place of the oldest one where there are too many. */
const put = <A>(entries: Map<string, A>, key: string, entry: A): void => {
  entries.delete(key)
  const [oldest] = entries.keys()
  if (entries.size >= capacity && oldest !== undefined) entries.delete(oldest)
  entries.set(key, entry)
}

/** When this process has seen which announcement first. */
const makeSeen = () => {
  const seen = new Map<string, { readonly version: string; readonly since: number }>()
  return {
    since: (key: string, version: string, now: number): number => {
      const known = seen.get(key)
      if (known?.version === version) return known.since
      put(seen, key, { version, since: now })
      return now
    },
    /** As if it had been seen long ago. */
    set: (key: string, version: string): void => put(seen, key, { version, since: Number.NEGATIVE_INFINITY })
  }
}

/** What this process presents now, and until when that takes at most: a runtime may end it with its request. */
const makeLive = () => {
  const live = new Map<string, number>()
  return {
    has: (key: string, now: number): boolean => (live.get(key) ?? Number.NEGATIVE_INFINITY) > now,
    add: (key: string, now: number): void => put(live, key, now + longest),
    remove: (key: string): void => {
      live.delete(key)
    }
  }
}

/** @internal */
export interface Present {
  (refreshToken: Redacted.Redacted<string>): Effect.Effect<Presentation, SessionStoreError>
}

/** @internal Within one process. */
export const makeLocal = (): Present => {
  const live = makeLive()
  return (refreshToken) =>
    Effect.map(SteadyClock.monotonicMillis, (now): Presentation => {
      const key = Redacted.value(refreshToken)
      if (live.has(key, now)) return { _tag: "Pending" }
      live.add(key, now)
      return { _tag: "Granted", settle: () => Effect.sync(() => live.remove(key)) }
    })
}

/** @internal Across the processes that share the store. */
export const make = (
  tokenStore: TokenStore["Type"],
  signer: Signer["Type"]
): Effect.Effect<Present, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const store = GuardedStore.make(tokenStore, "announce")
    const own = signer.random(16)
    const seen = makeSeen()
    const live = makeLive()

    const keyOf = (refreshToken: Redacted.Redacted<string>) =>
      Effect.map(signer.sha256(Redacted.value(refreshToken)), (hash) => `refresh-token:${hash}`)

    const announce = (key: string, ifVersion: string | null) =>
      store.set(key, own, { ifVersion, timeToLive: announcedFor })

    const markUsed = (key: string, version: string) =>
      Effect.map(store.set(key, used, { ifVersion: version, timeToLive: usedFor }), (next) => {
        if (Option.isSome(next)) seen.set(key, next.value)
      })

    const granted = (key: string, version: string, now: number): Presentation => {
      live.add(key, now)
      return {
        _tag: "Granted",
        settle: (outcome) =>
          Effect.suspend(() => {
            live.remove(key)
            const step = outcome === "used" ? markUsed(key, version) : store.remove(key, { ifVersion: version })
            // In the background: where it cannot be told, other processes wait for as long as their patience is.
            return Effect.asVoid(Effect.forkIn(Effect.ignore(Effect.retry(step, persistently)), scope))
          })
      }
    }

    /** A store that was given up can still carry out an announcement, later: it is taken back when it appears. */
    const withdraw = (key: string) =>
      Effect.flatMap(store.get(key), (stored) =>
        Effect.flatMap(SteadyClock.monotonicMillis, (now) =>
          Option.isNone(stored) || stored.value.value !== own || live.has(key, now)
            ? Effect.void
            : store.remove(key, { ifVersion: stored.value.version }))).pipe(
          Effect.ignore,
          Effect.repeat(withdrawing)
        )

    const begin = (key: string, left: number): Effect.Effect<Presentation, SessionStoreError> =>
      Effect.gen(function*() {
        const version = yield* Effect.tapError(
          announce(key, null),
          () =>
            Effect.forkIn(Effect.interruptible(withdraw(key)), scope)
        )
        const now = yield* SteadyClock.monotonicMillis
        if (Option.isSome(version)) {
          return granted(key, version.value, now)
        }
        const stored = yield* store.get(key)
        if (Option.isNone(stored)) {
          return left > 0 ? yield* begin(key, left - 1) : { _tag: "Pending" }
        }
        const { value, version: current } = stored.value
        const isOver = now - seen.since(key, current, now) >= patience
        if (value === used) {
          return { _tag: isOver ? "Used" : "Pending" }
        }
        if (live.has(key, now)) {
          return { _tag: "Pending" }
        }
        // An announcement of this process that is not live: the store took it and its answer was lost.
        if (value !== own && !isOver) {
          return { _tag: "Pending" }
        }
        const taken = yield* announce(key, current)
        return Option.isSome(taken) ? granted(key, taken.value, now) : { _tag: "Pending" }
      })

    return (refreshToken) =>
      Effect.flatMap(keyOf(refreshToken), (key) => begin(key, 3))
  })
