/**
 * Waiting for a lock, keeping its lease while the work under it is done, and giving it back.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import type { TokenStoreError } from "../../OAuthError.ts"
import * as SteadyClock from "../../SteadyClock.ts"
import type { Driver, Lock, LockOptions, TokenStore } from "../../TokenStore.ts"

type Locks = Pick<Driver, "lock" | "extend" | "unlock">

/** Holders are told apart by this; it need not be a secret. */
const makeHolder = Effect.map(
  Effect.all([Random.nextIntBetween(0, 2 ** 48), Random.nextIntBetween(0, 2 ** 48)]),
  (parts) => parts.map((part) => part.toString(36)).join("-")
)

/** At least a millisecond: a rest that rounds to nothing would be waited for without end where time stands still. */
const pauseOf = (pause: number, left: number): Duration.Duration =>
  Duration.millis(Math.max(1, Math.ceil(Math.min(pause, left))))

/** Asks for the lock until it is there or the time is over: soon at first, then four times a second. */
const acquire = (
  locks: Locks,
  key: string,
  holder: string,
  lease: Duration.Duration,
  wait: Duration.Duration
): Effect.Effect<Option.Option<number>, TokenStoreError> =>
  Effect.gen(function*() {
    const end = (yield* SteadyClock.currentTimeMillis) + Duration.toMillis(wait)
    for (let pause = 25;; pause = Math.min(pause * 2, 250)) {
      const fence = yield* locks.lock(key, holder, lease)
      const left = end - (yield* SteadyClock.currentTimeMillis)
      if (Option.isSome(fence) || left <= 0) return fence
      const jitter = yield* Random.nextRange(0.75, 1.25)
      yield* Effect.sleep(pauseOf(pause * jitter, left))
    }
  })

/** Ends when the lease is lost: taken by somebody else, or over because the store did not answer in time. */
const keep = (locks: Locks, key: string, holder: string, lease: Duration.Duration): Effect.Effect<void> =>
  Effect.gen(function*() {
    const pause = Duration.times(lease, 1 / 3)
    let end = (yield* SteadyClock.currentTimeMillis) + Duration.toMillis(lease)
    for (;;) {
      yield* Effect.sleep(pause)
      const asked = yield* SteadyClock.currentTimeMillis
      // A store that does not answer must not keep back that the lease is over.
      const inTime = Effect.timeout(locks.extend(key, holder, lease), Duration.millis(end - asked))
      const held = yield* Effect.option(inTime)
      if (Option.isSome(held)) {
        if (!held.value) return
        end = asked + Duration.toMillis(lease)
      }
      if ((yield* SteadyClock.currentTimeMillis) >= end) return
    }
  })

/** How long one attempt to give a lock back may take. */
const unlockTimeout = Duration.seconds(1)

/** Whether the store has confirmed it. Not for interruptible callers: they would leave it behind. */
const unlock = (locks: Locks, key: string, holder: string): Effect.Effect<boolean> =>
  Effect.suspend(() => locks.unlock(key, holder)).pipe(
    Effect.as(true),
    Effect.catchAllCause(() => Effect.succeed(false)),
    Effect.interruptible,
    Effect.timeoutTo({ duration: unlockTimeout, onSuccess: (confirmed) => confirmed, onTimeout: () => false }),
    // The interruption of a fiber reaches its children also where it is uninterruptible itself.
    Effect.forkDaemon,
    Effect.flatMap(Fiber.join)
  )

/**
 * Repeats the attempt until the store confirms it or the lease has ended in any case. An interruption ends the pauses: an
 * attempt that has begun is finished, so that a program that stops still gives back what it can.
 */
const unlockInBackground = (locks: Locks, key: string, holder: string, lease: Duration.Duration): Effect.Effect<void> =>
  Effect.gen(function*() {
    const end = (yield* SteadyClock.currentTimeMillis) + Duration.toMillis(lease)
    for (let pause = 100;; pause = Math.min(pause * 2, 1000)) {
      if (yield* unlock(locks, key, holder)) return
      const left = end - (yield* SteadyClock.currentTimeMillis)
      if (left <= 0) return
      const jitter = yield* Random.nextRange(0.75, 1.25)
      yield* Effect.interruptible(Effect.sleep(pauseOf(pause * jitter, left)))
    }
  }).pipe(Effect.uninterruptible)

/** @internal The end of the scope ends what still goes on in the background. */
export const make = (locks: Locks): Effect.Effect<TokenStore["Type"]["withLock"], never, Scope.Scope> =>
  Effect.gen(function*() {
    // Each of them may be within an attempt when the scope ends.
    const background = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.parallel)
    return withLock(locks, background)
  })

const withLock = (locks: Locks, background: Scope.Scope) =>
<A, E, R>(
  key: string,
  options: LockOptions,
  use: (lock: Lock) => Effect.Effect<A, E, R>
): Effect.Effect<Option.Option<A>, E | TokenStoreError, R> =>
  Effect.gen(function*() {
    const lease = Duration.decode(options.lease ?? "15 seconds")
    const wait = Duration.decode(options.wait ?? "5 seconds")
    const holder = yield* makeHolder
    const unlockLater = Effect.forkIn(unlockInBackground(locks, key, holder, lease), background)
    // The result of the work does not wait for a store that does not answer.
    const release = Effect.flatMap(
      unlock(locks, key, holder),
      (confirmed) => confirmed ? Effect.void : unlockLater
    )
    return yield* Effect.acquireUseRelease(
      Effect.onExit(
        Effect.interruptible(acquire(locks, key, holder, lease, wait)),
        // The store may have granted a lock whose answer did not arrive here.
        (exit) => Exit.isSuccess(exit) ? Effect.void : unlockLater
      ),
      Option.match({
        onNone: () => Effect.succeedNone,
        onSome: (fence) =>
          Effect.scoped(Effect.gen(function*() {
            const lost = yield* Deferred.make<void>()
            yield* Effect.forkScoped(
              Effect.zipRight(keep(locks, key, holder, lease), Deferred.succeed(lost, undefined))
            )
            return Option.some(yield* use({ fence, lost: Deferred.await(lost) }))
          }))
      }),
      (fence) => Option.isNone(fence) ? Effect.void : release
    )
  })
