/**
 * One at a time: refreshes of one refresh token, which a server takes once only.
 *
 * @since 0.1.0
 */
import { Signer } from "@effect-oauth/core/Signer"
import * as TokenStore from "@effect-oauth/core/TokenStore"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as LocalLocks from "./internal/refresh/localLocks.ts"
import * as Presentations from "./internal/refresh/presentations.ts"
import { SessionStoreError } from "./OidcError.ts"

/**
 * The answer to the announcement of a refresh token.
 *
 * - `Granted`: this process presents it, and calls `settle` after that: `used` once the result is written, `unused` where the
 *   server has not exchanged it, gave the same refresh token again, or has not answered.
 * - `Pending`: another process presents it, or has presented it and not written the result. Read the tokens again later.
 * - `Used`: it was exchanged or refused, and is not presented again.
 *
 * @since 0.1.0
 * @category models
 */
export type Presentation =
  | { readonly _tag: "Granted"; readonly settle: (outcome: "used" | "unused") => Effect.Effect<void> }
  | { readonly _tag: "Pending" }
  | { readonly _tag: "Used" }

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
  /**
   * Optional: announces a refresh token before it is presented, so that no other process presents it too. A lock alone does
   * not suffice: it ends while its holder is cut off from the store. Fails, and the refresh does not happen, where the
   * announcement could not be made.
   */
  readonly present?: (
    refreshToken: Redacted.Redacted<string>
  ) => Effect.Effect<Presentation, SessionStoreError>
}>() {}

/**
 * Within this process.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeLocal: Effect.Effect<TokenConcurrency["Type"]> = Effect.map(LocalLocks.make, ({ withLock }) => ({
  serialised: withLock,
  present: Presentations.makeLocal()
}))

const unlocked = (problem: string) => Either.left(new SessionStoreError({ operation: "lock", problem }))

const late = (wait: Duration.DurationInput) =>
  new SessionStoreError({
    operation: "lock",
    problem: `the turn did not come within ${Duration.format(Duration.decode(wait))}`
  })

type Turn<A, E> = Either.Either<Exit.Exit<A, E | SessionStoreError>, SessionStoreError>

/** What became of the effect under the lock; a left if the store did not let it begin. */
const underLock = <A, E, R>(
  store: TokenStore.TokenStore["Type"],
  key: string,
  { lease, wait }: { readonly lease: Duration.DurationInput; readonly wait: Duration.DurationInput },
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Turn<A, E>, never, R> =>
  Effect.gen(function*() {
    const landed = yield* Deferred.make<Exit.Exit<A, E>>()
    let hasBegun = false
    const noted = Effect.onExit(effect, (exit) => Deferred.succeed(landed, exit))
    const use = Effect.suspend(() => {
      hasBegun = true
      // What the effect fails with is not taken for a failure of the lock.
      return Effect.exit(noted)
    })
    // The effect does not run again because its lock could not be given back.
    const orLanded = (otherwise: Turn<A, E>) =>
      Effect.flatMap(Deferred.poll(landed), (known) =>
        Option.isSome(known)
          ? Effect.map(known.value, (exit): Turn<A, E> => Either.right(exit))
          : Effect.succeed(otherwise))
    const locked = Effect.suspend(() => store.withLock(`refresh:${key}`, { lease, wait }, () => use)).pipe(
      // Somebody else is at work for so long: nothing that the store has failed at.
      Effect.map((turn): Turn<A, E> => Either.right(Option.getOrElse(turn, () => Exit.fail(late(wait))))),
      Effect.catchAll((error) => orLanded(unlocked(`${error.store}, ${error.operation}: ${error.problem}`))),
      Effect.catchAllDefect(() => orLanded(unlocked("it broke off with a defect")))
    )
    const overdue = Effect.suspend(() => hasBegun ? Effect.never : Effect.succeed(unlocked("it did not answer")))
    const kept = Effect.map(Deferred.await(landed), (exit): Turn<A, E> => Either.right(exit))
    return yield* locked.pipe(
      Effect.raceFirst(Effect.delay(overdue, Duration.sum(wait, "5 seconds"))),
      Effect.raceFirst(Effect.zipLeft(kept, Effect.sleep("5 seconds")))
    )
  })

/**
 * - `lease`: how long a turn outlives a process that has vanished in it. Default 15 seconds.
 * - `wait`: how long a turn is waited for. Default 30 seconds.
 * - `whenStoreFails`: `fail`, the default: a refresh that cannot know whether it is the only one does not happen. `proceed`
 *   with the locks of this process alone is for servers that do not rotate refresh tokens; at others it loses sessions.
 *
 * @since 0.1.0
 * @category models
 */
export interface SharedOptions {
  readonly lease?: Duration.DurationInput | undefined
  readonly wait?: Duration.DurationInput | undefined
  readonly whenStoreFails?: "fail" | "proceed" | undefined
}

const granted: Presentation = { _tag: "Granted", settle: () => Effect.void }

/**
 * Across the processes that share a store: by its locks, and by announcing refresh tokens there before they are presented.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeShared = (
  { lease = "15 seconds", wait = "30 seconds", whenStoreFails = "fail" }: SharedOptions = {}
): Effect.Effect<TokenConcurrency["Type"], never, TokenStore.TokenStore | Signer | Scope.Scope> =>
  Effect.gen(function*() {
    const local = yield* makeLocal
    const store = yield* TokenStore.TokenStore
    const present = yield* Presentations.make(store, yield* Signer)
    return {
      serialised: <A, E, R>(key: string, effect: Effect.Effect<A, E, R>) => {
        const turn = Effect.flatMap(
          underLock(store, key, { lease, wait }, effect),
          (turn): Effect.Effect<A, E | SessionStoreError, R> => {
            if (Either.isRight(turn)) return turn.right
            return whenStoreFails === "proceed" ? effect : turn.left
          }
        )
        return local.serialised(key, turn)
      },
      present: whenStoreFails === "proceed"
        ? (refreshToken) => Effect.orElseSucceed(present(refreshToken), () => granted)
        : present
    }
  })

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
): Layer.Layer<TokenConcurrency, never, TokenStore.TokenStore | Signer> =>
  Layer.scoped(TokenConcurrency, makeShared(options))
