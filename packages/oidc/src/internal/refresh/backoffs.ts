/**
 * Servers that have just failed to answer a refresh are left alone for a while, so that a user's requests do not wait for them
 * one after the other. Kept by session and client, since only its own failures say something of a refresh token.
 */
import * as Duration from "effect/Duration"

/** @internal */
export interface Failure {
  readonly retryable: boolean
  readonly retryAfter?: Duration.Duration | undefined
}

interface Entry<E> {
  readonly error: E
  readonly until: number
  readonly failures: number
}

/** @internal */
export interface Backoffs<E> {
  /** What the last attempt failed with, as long as the next one is not due. */
  readonly current: (key: string, now: number) => E | undefined
  readonly failed: (key: string, error: E, now: number) => void
  readonly succeeded: (key: string) => void
}

const capacity = 10_000

const longest = 30_000

/** @internal */
export const make = <E extends Failure>(): Backoffs<E> => {
  const entries = new Map<string, Entry<E>>()
  return {
    current: (key, now) => {
      const entry = entries.get(key)
      return entry === undefined || entry.until <= now ? undefined : entry.error
    },
    failed: (key, error, now) => {
      if (!error.retryable) return
      const failures = entries.get(key)?.failures ?? 0
      entries.delete(key)
      const [oldest] = entries.keys()
      if (entries.size >= capacity && oldest !== undefined) entries.delete(oldest)
      const pause = error.retryAfter === undefined
        ? 1000 * 2 ** Math.min(failures, 5)
        : Duration.toMillis(error.retryAfter)
      entries.set(key, { error, until: now + Math.min(pause, longest), failures: failures + 1 })
    },
    succeeded: (key) => {
      entries.delete(key)
    }
  }
}
