/**
 * Locks within one process.
 *
 * A runtime that ends I/O with its request (Cloudflare Workers) can leave a holder that never comes back. So a lock has a limit,
 * after which the next caller takes it, and callers wait on promises and timers of their own request.
 */
import * as SteadyClock from "@effect-oauth/core/SteadyClock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

interface Lock {
  readonly until: number
  readonly waiters: Set<() => void>
}

/** @internal */
export interface LocalLocks {
  readonly withLock: <A, E, R>(key: string, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Longer than any refresh, in milliseconds. */
const limit = 150_000

const released = ({ waiters }: Lock): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    let wake = (): void => {}
    void new Promise<void>((resolve) => {
      wake = resolve
    }).then(() => resume(Effect.void))
    waiters.add(wake)
    return Effect.sync(() => waiters.delete(wake))
  })

/** @internal */
export const make: Effect.Effect<LocalLocks> = Effect.sync(() => {
  const locks = new Map<string, Lock>()

  const release = (key: string, lock: Lock): void => {
    if (locks.get(key) !== lock) return
    locks.delete(key)
    const waiters = [...lock.waiters]
    lock.waiters.clear()
    for (const wake of waiters) wake()
  }

  return {
    withLock: (key, effect) =>
      Effect.uninterruptibleMask((restore) => {
        const acquire: Effect.Effect<Lock> = Effect.clockWith((clock) => {
          const now = SteadyClock.unsafeMonotonicMillis(clock)
          const held = locks.get(key)
          if (held === undefined || now >= held.until) {
            const lock = { until: now + limit, waiters: held?.waiters ?? new Set() }
            locks.set(key, lock)
            return Effect.succeed(lock)
          }
          const wait = Effect.timeoutOption(released(held), Duration.millis(Math.ceil(held.until - now)))
          return Effect.zipRight(restore(wait), acquire)
        })
        return Effect.flatMap(
          acquire,
          (lock) => Effect.ensuring(restore(effect), Effect.sync(() => release(key, lock)))
        )
      })
  }
})
