/**
 * Removals from the shared store. One that the store has not done is tried again until it is, or until the entry has expired
 * there; meanwhile this process does not use what the store has.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Log } from "../../OAuthLogging.ts"
import * as SteadyClock from "../../SteadyClock.ts"

/** @internal */
export interface Removals {
  /** Ends after the first attempt. `attempt` says whether the store has done it. */
  readonly run: (target: string, attempt: Effect.Effect<boolean>) => Effect.Effect<void>
  readonly isPending: (target: string) => boolean
  readonly isEmpty: () => boolean
}

const longestPause = 30_000

/** @internal Nothing stays in the store for longer than `longestStay`. */
export const make = (log: Log, longestStay: Duration.Duration): Effect.Effect<Removals, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    /** By target, the latest removal of it. */
    const pending = new Map<string, object>()

    const retried = (target: string, removal: object, attempt: Effect.Effect<boolean>): Effect.Effect<void> =>
      Effect.gen(function*() {
        yield* log.warning(undefined, "a token could not be removed from the shared store: it is tried again")
        const end = (yield* SteadyClock.currentTimeMillis) + Duration.toMillis(longestStay)
        for (let pause = 1000;; pause = Math.min(pause * 2, longestPause)) {
          yield* Effect.sleep(Duration.millis(pause))
          // A later removal of the same has taken over, or has been done.
          if (pending.get(target) !== removal) return
          if (yield* attempt) return yield* log.warning(undefined, "the token was removed from the shared store")
          if ((yield* SteadyClock.currentTimeMillis) >= end) return
        }
      })

    return {
      isPending: (target) => pending.has(target),
      isEmpty: () => pending.size === 0,
      run: (target, attempt) =>
        Effect.flatMap(Deferred.make<void>(), (attempted) => {
          const removal = {}
          const done = Effect.sync(() => {
            if (pending.get(target) === removal) pending.delete(target)
          })
          pending.set(target, removal)
          const work = Effect.flatMap(attempt, (isDone) =>
            Effect.zipRight(
              Deferred.succeed(attempted, undefined),
              isDone ? Effect.void : retried(target, removal, attempt)
            ))
          // In the scope of the cache: a caller that is interrupted does not stop it.
          return Effect.flatMap(
            Effect.forkIn(Effect.ensuring(Effect.interruptible(work), done), scope),
            (fiber) => {
              // Not by its work: in a scope that has closed it never begins.
              fiber.addObserver(() => Deferred.unsafeDone(attempted, Effect.void))
              return Deferred.await(attempted)
            }
          )
        })
    }
  })
