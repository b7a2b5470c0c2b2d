/**
 * Results of refreshes that the store has not taken yet. Until it does, this process is the only one that knows them: it uses
 * them, and goes on writing.
 */
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import type * as Scope from "effect/Scope"
import type { SessionEnded, SessionStoreError } from "../../OidcError.ts"
import type { UserTokens } from "../../UserTokens.ts"
import * as Schedules from "../schedules.ts"

type WriteError = SessionEnded | SessionStoreError

/** @internal */
export interface Result {
  readonly clientName: string
  readonly tokens: UserTokens
  /** Writes it over what is there by then. Fails with `SessionEnded` where there is nothing any more. */
  readonly write: Effect.Effect<UserTokens, WriteError>
}

/** @internal */
export interface Unwritten {
  readonly current: (key: string) => UserTokens | undefined
  /** Writes what there is for this key now. */
  readonly flush: (key: string) => Effect.Effect<void, WriteError>
  readonly keep: (key: string, result: Result) => Effect.Effect<void>
}

const capacity = 10_000

/** Often enough that a store which is back has it before another process gives up waiting. */
const persistently = Schedules.persistently("1 hours")

/** @internal `drainTimeout`: how long the end of the Layer waits for results to be written. */
export const make = (
  log: OAuthLogging.Log,
  drainTimeout: Duration.DurationInput
): Effect.Effect<Unwritten, never, Scope.Scope> =>
  Effect.gen(function*() {
    const results = new Map<string, Result>()
    const writers = yield* FiberMap.make<string, void, never>()
    // Interruptible, or a store that is away would hold up the end for ever.
    yield* Effect.addFinalizer(() =>
      Effect.timeoutOption(Effect.interruptible(FiberMap.awaitEmpty(writers)), drainTimeout)
    )

    const writeOf = (key: string, result: Result): Effect.Effect<void, WriteError> =>
      Effect.suspend(() => {
        if (results.get(key) !== result) return Effect.void
        const done = Effect.sync(() => {
          if (results.get(key) === result) results.delete(key)
        })
        return result.write.pipe(
          Effect.zipRight(done),
          Effect.tapErrorTag("SessionEnded", () => done)
        )
      })

    const persist = (key: string, result: Result): Effect.Effect<void> =>
      Effect.retry(writeOf(key, result), { schedule: persistently, while: (error) => error.retryable }).pipe(
        Effect.catchTags({
          SessionEnded: () =>
            log.debug(result.clientName, "the tokens of a refresh were not kept: the session has ended"),
          SessionStoreError: ({ message }) =>
            Effect.zipRight(
              Effect.sync(() => results.delete(key)),
              log.warning(result.clientName, `the tokens of a refresh are lost: ${message}`)
            )
        }),
        Effect.interruptible
      )

    return {
      current: (key) => results.get(key)?.tokens,
      flush: (key) => {
        const result = results.get(key)
        return result === undefined
          ? Effect.void
          : Effect.zipRight(writeOf(key, result), FiberMap.remove(writers, key))
      },
      keep: (key, result) =>
        Effect.gen(function*() {
          const [oldest] = results.keys()
          if (results.size >= capacity && oldest !== undefined) {
            results.delete(oldest)
            yield* log.warning(result.clientName, "more results of refreshes wait for the store than are remembered")
          }
          results.set(key, result)
          yield* log.warning(
            result.clientName,
            "the tokens of a refresh are kept in memory until the store takes them"
          )
          yield* FiberMap.run(writers, key, persist(key, result))
        })
    }
  })
