/**
 * Waiting for a lock, and keeping its lease while the work under it is done.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { TokenStoreError } from "../../OAuthError.ts"
import type { Driver, Lock, LockOptions } from "../../TokenStore.ts"

type Locks = Pick<Driver, "lock" | "extend" | "unlock">

/** Holders are told apart by this; it need not be a secret. */
const makeHolder = Effect.map(
  Effect.all([Random.nextIntBetween(0, 2 ** 48), Random.nextIntBetween(0, 2 ** 48)]),
  (parts) => parts.map((part) => part.toString(36)).join("-")
)

/** Asks for the lock until it is there or the time is over: soon at first, then four times a second. */
const acquire = (
  locks: Locks,
  key: string,
  holder: string,
  lease: Duration.Duration,
  wait: Duration.Duration
): Effect.Effect<Option.Option<number>, TokenStoreError> =>
  Effect.gen(function*() {
    const end = (yield* Clock.currentTimeMillis) + Duration.toMillis(wait)
    for (let pause = 25;; pause = Math.min(pause * 2, 250)) {
      const fence = yield* locks.lock(key, holder, lease)
      const left = end - (yield* Clock.currentTimeMillis)
      if (Option.isSome(fence) || left <= 0) return fence
      const jitter = yield* Random.nextRange(0.75, 1.25)
      yield* Effect.sleep(Duration.millis(Math.min(pause * jitter, left)))
    }
  })

/** Ends when the lease is lost: taken by somebody else, or over because the store did not answer in time. */
const keep = (locks: Locks, key: string, holder: string, lease: Duration.Duration): Effect.Effect<void> =>
  Effect.gen(function*() {
    const pause = Duration.times(lease, 1 / 3)
    let end = (yield* Clock.currentTimeMillis) + Duration.toMillis(lease)
    for (;;) {
      yield* Effect.sleep(pause)
      const asked = yield* Clock.currentTimeMillis
      // A store that does not answer must not keep back that the lease is over.
      const inTime = Effect.timeout(locks.extend(key, holder, lease), Duration.millis(end - asked))
      const held = yield* Effect.option(inTime)
      if (Option.isSome(held)) {
        if (!held.value) return
        end = asked + Duration.toMillis(lease)
      }
      if ((yield* Clock.currentTimeMillis) >= end) return
    }
  })

/** @internal */
export const withLock = (locks: Locks) =>
<A, E, R>(
  key: string,
  options: LockOptions,
  use: (lock: Lock) => Effect.Effect<A, E, R>
): Effect.Effect<Option.Option<A>, E | TokenStoreError, R> =>
  Effect.gen(function*() {
    const lease = Duration.decode(options.lease ?? "15 seconds")
    const wait = Duration.decode(options.wait ?? "5 seconds")
    const holder = yield* makeHolder
    // A store that does not answer must not hold up what has been done; the lease ends by itself.
    const release = locks.unlock(key, holder).pipe(
      Effect.ignore,
      Effect.interruptible,
      Effect.timeoutOption("1 second")
    )
    return yield* Effect.acquireUseRelease(
      // Who no longer waits for the store's answer may have been given the lock by it.
      Effect.onInterrupt(Effect.interruptible(acquire(locks, key, holder, lease, wait)), () =>
        Effect.forkDaemon(release)),
      Option.match({
        onNone: () =>
          Effect.succeedNone,
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
