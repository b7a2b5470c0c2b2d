/**
 * The time by which things end in one process.
 *
 * A wall clock can be set back, and a monotonic clock can stop while a machine is suspended. Steady time advances by whichever
 * of the two advanced more, and never goes back: what ends after a duration has ended as soon as either clock says so, and
 * no change of the wall clock makes it last longer. For whoever implements a `TokenCache` or a store.
 *
 * It is for durations within one process. Times that are shared or shown (`exp`, `iat`, what is written to a store) are of the
 * wall clock.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

interface State {
  readonly clock: Clock.Clock
  /** Both clocks and the steady time at the last moment at which they agreed, or at which a jump was seen. */
  base: { readonly wall: number; readonly monotonic: number; readonly steady: number }
  /** The last reading. */
  wall: number
  steady: number
}

/** Two clocks that differ by less are read at different moments or drift; by more, one has jumped. In milliseconds. */
const tolerance = 100

const states = new WeakMap<Clock.Clock, State>()

/**
 * The monotonic time of a clock in milliseconds, without an effect around it: for what has to be remembered at least for a
 * time, such as proofs that must not be accepted twice. A jump of the wall clock does not end it early.
 *
 * @since 0.1.0
 * @category accessors
 */
export const unsafeMonotonicMillis = (clock: Clock.Clock): number => Number(clock.unsafeCurrentTimeNanos()) / 1_000_000

/**
 * The monotonic time in milliseconds.
 *
 * @since 0.1.0
 * @category accessors
 */
export const monotonicMillis: Effect.Effect<number> = Effect.clockWith((clock) =>
  Effect.succeed(unsafeMonotonicMillis(clock))
)

const stateOf = (clock: Clock.Clock): State => {
  const known = states.get(clock)
  if (known !== undefined) return known
  const wall = clock.unsafeCurrentTimeMillis()
  const state: State = {
    clock,
    base: { wall, monotonic: unsafeMonotonicMillis(clock), steady: wall },
    wall,
    steady: wall
  }
  states.set(clock, state)
  return state
}

const advance = (state: State, clock: Clock.Clock, wall: number): number => {
  const { base } = state
  const monotonic = unsafeMonotonicMillis(clock)
  const byWall = wall - base.wall
  const byMonotonic = monotonic - base.monotonic
  state.wall = wall
  state.steady = Math.max(state.steady, base.steady + Math.max(byWall, byMonotonic))
  if (Math.abs(byWall - byMonotonic) > tolerance) state.base = { wall, monotonic, steady: state.steady }
  return state.steady
}

/** Most programs have one clock, and a comparison costs less than a lookup. */
let latest: State | undefined

/**
 * The steady time of a clock in milliseconds, without an effect around it. It starts at the clock's wall time. The
 * monotonic clock is read at most once per millisecond of wall time.
 *
 * @since 0.1.0
 * @category accessors
 */
export const unsafeCurrentTimeMillis = (clock: Clock.Clock): number => {
  const state = latest?.clock === clock ? latest : (latest = stateOf(clock))
  const wall = clock.unsafeCurrentTimeMillis()
  return wall === state.wall ? state.steady : advance(state, clock, wall)
}

/**
 * The steady time in milliseconds.
 *
 * @since 0.1.0
 * @category accessors
 */
export const currentTimeMillis: Effect.Effect<number> = Effect.clockWith((clock) =>
  Effect.succeed(unsafeCurrentTimeMillis(clock))
)

/**
 * The steady time at which the wall clock reaches `at` (in milliseconds since 1970), at most `within` milliseconds from now:
 * a moment that was written down while a clock was wrong lies no further ahead than its own lifetime.
 *
 * @since 0.1.0
 * @category constructors
 */
export const unsafeDeadline = (clock: Clock.Clock, at: number, within: number): number =>
  unsafeCurrentTimeMillis(clock) + Math.min(at - clock.unsafeCurrentTimeMillis(), within)
