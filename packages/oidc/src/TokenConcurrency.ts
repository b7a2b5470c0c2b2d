/**
 * One at a time: refreshes of one refresh token, which a server takes once only.
 *
 * @since 0.1.0
 */
import * as TokenStore from "@effect-oauth/core/TokenStore"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { SessionStoreError } from "./OidcError.ts"

/**
 * Optional: without it, refreshes are serialised within this process, and across processes where they share a `TokenStore`.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenConcurrency extends Context.Tag("@effect-oauth/oidc/TokenConcurrency")<TokenConcurrency, {
  /** Runs the effect while no other one with this key runs. Fails if its turn does not come. */
  readonly serialised: <A, E, R>(
    key: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | SessionStoreError, R>
}>() {}

/**
 * Within this process.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeLocal: Effect.Effect<TokenConcurrency["Type"]> = Effect.sync(() => {
  const turns = new Map<string, { readonly semaphore: Effect.Semaphore; waiting: number }>()
  return {
    serialised: (key, effect) =>
      Effect.suspend(() => {
        const turn = turns.get(key) ?? { semaphore: Effect.unsafeMakeSemaphore(1), waiting: 0 }
        turns.set(key, turn)
        turn.waiting++
        return Effect.ensuring(
          turn.semaphore.withPermits(1)(effect),
          Effect.sync(() => {
            turn.waiting--
            if (turn.waiting === 0) turns.delete(key)
          })
        )
      })
  }
})

/**
 * - `lease`: how long a turn outlives a process that has vanished in it. Default 15 seconds.
 * - `wait`: how long a turn is waited for. Default 30 seconds.
 * - `whenStoreFails`: `fail`, the default, or `proceed` with the turns of this process alone.
 *
 * @since 0.1.0
 * @category models
 */
export interface SharedOptions {
  readonly lease?: Duration.DurationInput | undefined
  readonly wait?: Duration.DurationInput | undefined
  readonly whenStoreFails?: "fail" | "proceed" | undefined
}

/**
 * Across the processes that share a store, by its locks.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeShared = (
  { lease = "15 seconds", wait = "30 seconds", whenStoreFails = "fail" }: SharedOptions = {}
): Effect.Effect<TokenConcurrency["Type"], never, TokenStore.TokenStore> =>
  Effect.zipWith(makeLocal, TokenStore.TokenStore, (local, store) => ({
    serialised: <A, E, R>(key: string, effect: Effect.Effect<A, E, R>) => {
      const locked = store.withLock(`refresh:${key}`, { lease, wait }, () =>
        // What the effect fails with is not taken for a failure of the lock.
        Effect.exit(effect))
      const late = () =>
        new SessionStoreError({
          operation: "lock",
          problem: `the turn did not come within ${Duration.format(Duration.decode(wait))}`
        })
      const turn = Effect.matchEffect(locked, {
        onFailure: (error): Effect.Effect<A, E | SessionStoreError, R> =>
          whenStoreFails === "proceed"
            ? effect
            : Effect.fail(
              new SessionStoreError({
                operation: "lock",
                problem: `${error.store}, ${error.operation}: ${error.problem}`
              })
            ),
        onSuccess: (exit): Effect.Effect<A, E | SessionStoreError, R> =>
          Option.getOrElse(exit, () => Effect.fail(late()))
      })
      return local.serialised(key, turn)
    }
  }))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerLocal: Layer.Layer<TokenConcurrency> = Layer.effect(TokenConcurrency, makeLocal)

/**
 * @since 0.1.0
 * @category layers
 */
export const layerShared = (
  options?: SharedOptions
): Layer.Layer<TokenConcurrency, never, TokenStore.TokenStore> => Layer.effect(TokenConcurrency, makeShared(options))
