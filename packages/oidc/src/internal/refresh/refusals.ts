/**
 * Refreshes that have failed, so that the requests of a user do not ask one after the other. Kept for each session and
 * client, and for the refresh token that was presented: a new one starts afresh.
 */
import * as Duration from "effect/Duration"
import type { Verdict } from "./answers.ts"

/** @internal */
export interface Failure {
  readonly _tag: string
  readonly retryAfter?: Duration.Duration | undefined
}

/** @internal */
export interface Refusal<E> {
  readonly verdict: Verdict
  readonly error: E
}

interface Entry<E> extends Refusal<E> {
  readonly refreshToken: string
  readonly until: number
  readonly failures: number
}

/** @internal Which refresh: `address` is that of the access token, see `UserTokens.addressOf`. */
export interface Subject {
  readonly lock: string
  readonly address: string
  readonly refreshToken: string
}

/** @internal `now` is steady time. */
export interface Refusals<E> {
  /** What the last attempt failed with, as long as the next one is not due; for ever where the refresh token is dead. */
  readonly current: (subject: Subject, now: number) => Refusal<E> | undefined
  readonly add: (subject: Subject, refusal: Refusal<E>, now: number) => void
  readonly clear: (subject: Subject) => void
}

const capacity = 10_000

const longest = 30_000

/** How long the next attempt waits, in milliseconds. */
const pauseAfter = ({ retryAfter }: Failure, verdict: Verdict, failures: number): number => {
  switch (verdict) {
    case "Dead":
      return Number.POSITIVE_INFINITY
    case "SignIn":
      return longest
    case "Misconfigured":
      return 10_000
    case "Later":
      return Math.min(
        retryAfter === undefined ? 1000 * 2 ** Math.min(failures, 5) : Duration.toMillis(retryAfter),
        longest
      )
  }
}

/** A server that is down is down for all resources; what else it says may be about one of them. */
const keyOf = ({ address, lock }: Subject, verdict: Verdict): string =>
  verdict === "Dead" || verdict === "Later" ? lock : `${lock}\n${address}`

/** @internal */
export const make = <E extends Failure>(): Refusals<E> => {
  const entries = new Map<string, Entry<E>>()

  const find = (key: string, { refreshToken }: Subject): Entry<E> | undefined => {
    const entry = entries.get(key)
    return entry?.refreshToken === refreshToken ? entry : undefined
  }

  return {
    current: (subject, now) =>
      [find(keyOf(subject, "Dead"), subject), find(keyOf(subject, "SignIn"), subject)]
        .find((entry) => entry !== undefined && now < entry.until),
    add: (subject, { error, verdict }, now) => {
      const key = keyOf(subject, verdict)
      const failures = find(key, subject)?.failures ?? 0
      entries.delete(key)
      const [oldest] = entries.keys()
      if (entries.size >= capacity && oldest !== undefined) entries.delete(oldest)
      const { refreshToken } = subject
      const until = now + pauseAfter(error, verdict, failures)
      entries.set(key, { error, verdict, refreshToken, until, failures: failures + 1 })
    },
    clear: (subject) => {
      entries.delete(keyOf(subject, "Dead"))
      entries.delete(keyOf(subject, "SignIn"))
    }
  }
}
