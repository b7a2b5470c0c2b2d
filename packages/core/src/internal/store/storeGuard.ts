/**
 * A shared store that may fail and may be slow, asked so that nobody suffers from it: every step has a time-out, a store that
 * fails is left alone for a while, and both changes of its state are logged once.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { TokenStoreError } from "../../OAuthError.ts"
import type { Log } from "../../OAuthLogging.ts"

/** @internal What the log says of both changes. */
export interface Sayings {
  readonly down: string
  readonly up: string
}

const longestPause = 30_000

/** A store that is full, or a replica by now, can be read and not be written to. */
type Kind = "read" | "write"

/** Whether the store may be asked; two changes of state, each told once. */
const makeBreaker = (log: Log, { down, up }: Sayings) => {
  const states: Record<Kind, { failures: number; failedAt: number; pausedUntil: number }> = {
    read: { failures: 0, failedAt: 0, pausedUntil: 0 },
    write: { failures: 0, failedAt: 0, pausedUntil: 0 }
  }
  const isFailing = () => states.read.failures + states.write.failures > 0
  return {
    isFailing,
    // What cannot be read is not written to either.
    isOpen: (kind: Kind, now: number) =>
      now < states.read.pausedUntil || (kind === "write" && now < states.write.pausedUntil),
    failed: (kind: Kind, began: number, now: number, error: TokenStoreError) => {
      const state = states[kind]
      const isNews = !isFailing()
      // Those that were under way when another one failed say nothing that is not known.
      if (state.failures === 0 || began > state.failedAt) {
        state.pausedUntil = now + Math.min(1000 * 2 ** state.failures, longestPause)
        state.failures = Math.min(state.failures + 1, 10)
        state.failedAt = now
      }
      return isNews
        ? log.warning(undefined, `${error.message}: ${down}`)
        : Effect.void
    },
    succeeded: (kind: Kind) =>
      Effect.suspend(() => {
        if (states[kind].failures === 0) return Effect.void
        states[kind] = { failures: 0, failedAt: 0, pausedUntil: 0 }
        return isFailing() ? Effect.void : log.warning(undefined, `the token store is back: ${up}`)
      })
  }
}

/** @internal */
export const make = (log: Log, timeout: Duration.Duration, sayings: Sayings) => {
  const breaker = makeBreaker(log, sayings)

  const tooSlow = (operation: string) =>
    new TokenStoreError({ store: "shared", operation, problem: `it took longer than ${Duration.format(timeout)}` })

  const broken = (operation: string) =>
    new TokenStoreError({ store: "shared", operation, problem: "it broke off with a defect" })

  /** What the store says, or `otherwise` where it is left alone or fails. Who succeeds says so by himself. */
  const guarded = <A, E>(
    kind: Kind,
    effect: Effect.Effect<A, E | TokenStoreError>,
    otherwise: Effect.Effect<A, E>
  ): Effect.Effect<A, E> =>
    Effect.flatMap(Clock.currentTimeMillis, (began) => {
      if (breaker.isOpen(kind, began)) return otherwise
      return Effect.catchAll(effect, (error) =>
        error instanceof TokenStoreError
          ? Clock.currentTimeMillis.pipe(
            Effect.flatMap((now) => breaker.failed(kind, began, now, error)),
            Effect.zipRight(otherwise)
          )
          : Effect.fail(error))
    })

  const quick = <A>(
    kind: Kind,
    operation: string,
    effect: Effect.Effect<A, TokenStoreError>,
    otherwise: A
  ): Effect.Effect<A> =>
    guarded<A, never>(
      kind,
      Effect.suspend(() => effect).pipe(
        Effect.catchAllDefect(() => Effect.fail(broken(operation))),
        Effect.timeoutFail({ duration: timeout, onTimeout: () => tooSlow(operation) }),
        Effect.zipLeft(breaker.succeeded(kind))
      ),
      Effect.succeed(otherwise)
    )

  return { broken, guarded, isFailing: breaker.isFailing, quick, succeeded: breaker.succeeded, tooSlow }
}
