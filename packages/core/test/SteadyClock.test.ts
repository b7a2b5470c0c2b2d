import { SteadyClock } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, TestClock } from "effect"
import * as MovableClock from "./support/movableClock.ts"

const hour = 3_600_000

/** How much steady time has passed, in milliseconds. */
const timing = (clock: MovableClock.MovableClock) => {
  const start = SteadyClock.unsafeCurrentTimeMillis(clock.clock)
  return () => SteadyClock.unsafeCurrentTimeMillis(clock.clock) - start
}

describe("SteadyClock", () => {
  it.effect("goes as both clocks go", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_000_000)
      const clock = yield* MovableClock.make
      assert.strictEqual(SteadyClock.unsafeCurrentTimeMillis(clock.clock), 1_000_000)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(SteadyClock.unsafeCurrentTimeMillis(clock.clock), 1_000_000 + hour)
      assert.strictEqual(yield* Effect.withClock(SteadyClock.currentTimeMillis, clock.clock), 1_000_000 + hour)
    }))

  it.effect("goes on by the monotonic clock when the wall clock is set back, and by the wall clock in a suspension", () =>
    Effect.gen(function*() {
      const clock = yield* MovableClock.make
      const passed = timing(clock)
      clock.moveWall("1 hour", -1)
      assert.strictEqual(passed(), 0)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(passed(), 10_000)
      clock.moveWall("2 hours")
      assert.strictEqual(passed(), 10_000 + 2 * hour)
      clock.moveWall("1 hour", -1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(passed(), 11_000 + 2 * hour)
    }))

  it.effect("a moment that was written down ahead of this clock lies no further ahead than its lifetime", () =>
    Effect.gen(function*() {
      const { clock, moveWall } = yield* MovableClock.make
      const at = clock.unsafeCurrentTimeMillis() + hour
      const now = SteadyClock.unsafeCurrentTimeMillis(clock)
      assert.strictEqual(SteadyClock.unsafeDeadline(clock, at, hour), now + hour)
      moveWall("10 hours", -1)
      assert.strictEqual(SteadyClock.unsafeDeadline(clock, at, hour), now + hour)
    }))

  it.effect("whatever jumps there are: at least as much passes as by either clock, and none of it is undone", () =>
    Effect.gen(function*() {
      const base = yield* Effect.clock
      fc.assert(fc.property(
        fc.array(
          fc.record({ wall: fc.integer({ min: -hour, max: hour }), monotonic: fc.integer({ min: 0, max: hour }) }),
          { maxLength: 50 }
        ),
        (steps) => {
          const clock = Effect.runSync(Effect.withClock(MovableClock.make, base))
          let last = SteadyClock.unsafeCurrentTimeMillis(clock.clock)
          for (const { monotonic, wall } of steps) {
            clock.moveMonotonic(monotonic)
            clock.moveWall(Math.abs(wall), wall < 0 ? -1 : 1)
            const now = SteadyClock.unsafeCurrentTimeMillis(clock.clock)
            // Where the wall clock has not changed the monotonic one is not read.
            if (wall !== 0) assert.isAtLeast(now - last, Math.max(monotonic, wall) - 200)
            assert.isAtLeast(now, last)
            last = now
          }
        }
      ))
    }))
})
