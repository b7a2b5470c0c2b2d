/** A clock whose wall time and monotonic time can be moved apart. */
import type { Clock } from "effect"
import { Duration, Effect } from "effect"

export interface MovableClock {
  /**
   * For `Effect.withClock`, around Layers and around what uses them. Over a `TestClock` it is one: `TestClock.adjust` works
   * under it, and moves both times.
   */
  readonly clock: Clock.Clock
  /** As when the clock is set, backwards too (`"-1 hour"` is `moveWall("1 hour", -1)`). */
  readonly moveWall: (by: Duration.DurationInput, sign?: 1 | -1) => void
  /** Moves the monotonic time alone, which never goes back. */
  readonly moveMonotonic: (by: Duration.DurationInput) => void
}

/** Over the clock that is there. A machine that is suspended is `moveWall` alone: its monotonic clock stands still. */
export const make: Effect.Effect<MovableClock> = Effect.clockWith((base) =>
  Effect.sync(() => {
    let wall = 0
    let monotonic = 0
    const unsafeCurrentTimeMillis = () => base.unsafeCurrentTimeMillis() + wall
    const unsafeCurrentTimeNanos = () => base.unsafeCurrentTimeNanos() + BigInt(monotonic) * 1_000_000n
    const clock: Clock.Clock = Object.assign(Object.create(base), {
      unsafeCurrentTimeMillis,
      unsafeCurrentTimeNanos,
      currentTimeMillis: Effect.sync(unsafeCurrentTimeMillis),
      currentTimeNanos: Effect.sync(unsafeCurrentTimeNanos)
    })
    return {
      clock,
      moveWall: (by, sign = 1) => {
        wall += sign * Duration.toMillis(by)
      },
      moveMonotonic: (by) => {
        monotonic += Duration.toMillis(by)
      }
    }
  })
)
