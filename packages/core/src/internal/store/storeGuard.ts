/**
 * A shared store that may fail and may be slow: every step has a time-out, keys that fail are not asked for again for a while,
 * nor is the store as a whole where many keys fail, and both changes of its state are logged once.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { TokenStoreError } from "../../OAuthError.ts"
import type { Log } from "../../OAuthLogging.ts"
import * as SteadyClock from "../../SteadyClock.ts"

/** @internal What the log says of both changes. */
export interface Sayings {
  readonly down: string
  readonly up: string
}

const longestPause = 30_000

/** So many keys fail, and none succeeds meanwhile, before the store is left alone as a whole. */
const manyKeys = 3

/** So many keys that fail are remembered. */
const longestList = 1000

/** A store that is full, or a replica by now, can be read and not be written to. */
type Kind = "read" | "write"

interface Pause {
  readonly failures: number
  readonly failedAt: number
  readonly until: number
}

const running: Pause = { failures: 0, failedAt: 0, until: 0 }

const paused = (before: Pause, began: number, now: number): Pause =>
  // Those that were under way when another one failed say nothing that is not known.
  before.failures > 0 && began <= before.failedAt ? before : {
    failures: Math.min(before.failures + 1, 10),
    failedAt: now,
    until: now + Math.min(1000 * 2 ** before.failures, longestPause)
  }

/** The keys that fail: where a store has several nodes, those of one that is gone. */
const makeStates = () => {
  const keys = new Map<string, Pause>()
  /** Keys that have failed since the last success. */
  const suspects = new Set<string>()
  let whole = running
  let successes = 0

  /** A key that is asked for no more must not keep the store from being well. The oldest failures are the first. */
  const forget = (now: number): void => {
    for (const [key, { until }] of keys) {
      if (keys.size <= longestList && now < until + longestPause) return
      keys.delete(key)
    }
  }

  return {
    successes: () => successes,
    isFailing: (key?: string) => whole.failures > 0 || (key === undefined ? keys.size > 0 : keys.has(key)),
    isSuspect: () => suspects.size > 0,
    isPaused: (key: string, now: number) => now < whole.until || now < (keys.get(key)?.until ?? 0),
    failed: (key: string, began: Attempt, now: number) => {
      const pause = paused(keys.get(key) ?? running, began.at, now)
      keys.delete(key)
      keys.set(key, pause)
      forget(now)
      // The store has answered others meanwhile.
      if (began.successes !== successes) return
      suspects.add(key)
      if (suspects.size >= manyKeys) whole = paused(whole, began.at, now)
    },
    succeeded: (key: string, now: number) => {
      successes++
      suspects.clear()
      // What failed as a whole is back as a whole.
      if (whole.failures > 0) keys.clear()
      whole = running
      keys.delete(key)
      forget(now)
    }
  }
}

interface Attempt {
  readonly at: number
  readonly successes: number
}

/** Whether the store may be asked; two changes of state, each logged once. */
const makeBreaker = (log: Log, { down, up }: Sayings) => {
  const states = { read: makeStates(), write: makeStates() }
  const isFailing = (key?: string) => states.read.isFailing(key) || states.write.isFailing(key)
  return {
    isFailing,
    isSuspect: (kind: Kind) => states[kind].isSuspect(),
    // What cannot be read is not written to either.
    isOpen: (kind: Kind, key: string, now: number) =>
      states.read.isPaused(key, now) || (kind === "write" && states.write.isPaused(key, now)),
    begin: (kind: Kind, now: number): Attempt => ({ at: now, successes: states[kind].successes() }),
    failed: (kind: Kind, key: string, began: Attempt, now: number, error: TokenStoreError) => {
      const isNews = !isFailing()
      states[kind].failed(key, began, now)
      return isNews ? log.warning(undefined, `${error.message}: ${down}`) : Effect.void
    },
    succeeded: (kind: Kind, key: string) =>
      Effect.flatMap(SteadyClock.currentTimeMillis, (now) => {
        const before = isFailing()
        states[kind].succeeded(key, now)
        return before && !isFailing() ? log.warning(undefined, `the token store is back: ${up}`) : Effect.void
      })
  }
}

/** @internal */
export const make = (log: Log, timeout: Duration.Duration, sayings: Sayings) => {
  const breaker = makeBreaker(log, sayings)

  const tooSlow = (operation: string, limit = timeout) =>
    new TokenStoreError({ store: "shared", operation, problem: `it took longer than ${Duration.format(limit)}` })

  const broken = (operation: string) =>
    new TokenStoreError({ store: "shared", operation, problem: "it broke off with a defect" })

  /** What the store says, or `otherwise` where it is left alone or fails. Callers report success through `succeeded`. */
  const guarded = <A, E>(
    kind: Kind,
    key: string,
    effect: Effect.Effect<A, E | TokenStoreError>,
    otherwise: Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    Effect.flatMap(SteadyClock.currentTimeMillis, (at) => {
      if (breaker.isOpen(kind, key, at)) return otherwise
      const began = breaker.begin(kind, at)
      return Effect.catchAll(effect, (error) =>
        error instanceof TokenStoreError
          ? SteadyClock.currentTimeMillis.pipe(
            Effect.flatMap((now) => breaker.failed(kind, key, began, now, error)),
            Effect.zipRight(otherwise)
          )
          : Effect.fail(error))
    })

  /** `key`: what the step is about, so that others go on where it fails. */
  const quick = <A>(
    kind: Kind,
    operation: string,
    key: string,
    effect: Effect.Effect<A, TokenStoreError>,
    otherwise: A
  ): Effect.Effect<A> => {
    const within = (limit: Duration.Duration) =>
      Effect.suspend(() => effect).pipe(
        Effect.catchAllDefect(() => Effect.fail(broken(operation))),
        Effect.timeoutFail({ duration: limit, onTimeout: () => tooSlow(operation, limit) }),
        Effect.zipLeft(breaker.succeeded(kind, key))
      )
    // After one that failed, the next ones find out soon whether all of them do.
    const soon = Effect.suspend(() => within(breaker.isSuspect(kind) ? Duration.times(timeout, 0.1) : timeout))
    return guarded<A, never>(kind, key, soon, Effect.succeed(otherwise))
  }

  return { broken, guarded, isFailing: breaker.isFailing, quick, succeeded: breaker.succeeded, tooSlow }
}
