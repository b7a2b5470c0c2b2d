import { SingleFlight } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Scope, TestClock } from "effect"

const options = { background: false, limit: "10 seconds", ended: () => {}, interrupted: () => "interrupted" } as const

/** What a caller gets in place of a flight that was abandoned. */
const otherwise = Effect.succeed("another")

describe("SingleFlight", () => {
  it.scoped("has one result for all who wait, and for those who come later", () =>
    Effect.gen(function*() {
      const flights = yield* SingleFlight.make()
      const result = yield* Deferred.make<string>()
      const flight = flights.run({ ...options, work: Deferred.await(result) })
      const waiting = yield* Effect.fork(
        Effect.all(Array.from({ length: 1000 }, () => flight.join(otherwise)), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("1 second")
      yield* Deferred.succeed(result, "one")
      assert.deepStrictEqual(new Set(yield* Fiber.join(waiting)), new Set(["one"]))
      assert.strictEqual(yield* flight.join(otherwise), "one")
      assert.isFalse(flight.isUnderWay())
    }))

  it.scoped("is interrupted when nothing waits for it, and not before", () =>
    Effect.gen(function*() {
      const flights = yield* SingleFlight.make()
      let interrupted = 0
      const work = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const flight = flights.run({ ...options, work })
      const one = yield* Effect.fork(flight.join(otherwise))
      yield* TestClock.adjust("1 second")
      const two = yield* Effect.fork(flight.join(otherwise))
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(one)
      yield* Effect.yieldNow()
      assert.strictEqual(interrupted, 0)
      yield* Fiber.interrupt(two)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(interrupted, 1)
      assert.isFalse(flight.isUnderWay())
    }))

  it.scoped("goes on in the background when nothing waits for it", () =>
    Effect.gen(function*() {
      const flights = yield* SingleFlight.make()
      const flight = flights.run({ ...options, background: true, work: Effect.delay(otherwise, "5 seconds") })
      yield* Fiber.interrupt(yield* Effect.fork(flight.join(otherwise)))
      assert.isTrue(flight.isUnderWay())
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(flight.isUnderWay())
    }))

  it.scoped("is abandoned when it has not ended within its limit, also one that cannot be interrupted", () =>
    Effect.gen(function*() {
      const flights = yield* SingleFlight.make()
      const flight = flights.run({ ...options, work: Effect.uninterruptible(Effect.never) })
      const early = yield* Effect.fork(flight.join(otherwise))
      yield* TestClock.adjust("5 seconds")
      const late = yield* Effect.fork(flight.join(otherwise))
      yield* TestClock.adjust("7 seconds")
      assert.strictEqual(yield* Fiber.join(early), "another")
      assert.strictEqual(yield* Fiber.join(late), "another")
      assert.isFalse(flight.isUnderWay())
    }))

  it.scoped("is abandoned where nothing waits for it, by whoever looks at it after its limit", () =>
    Effect.gen(function*() {
      const flights = yield* SingleFlight.make()
      let ended = 0
      const ending = { ended: () => void ended++ }
      const flight = flights.run({
        ...options,
        ...ending,
        background: true,
        work: Effect.uninterruptible(Effect.never)
      })
      yield* TestClock.adjust("13 seconds")
      assert.strictEqual(ended, 0)
      assert.isFalse(flight.isUnderWay())
      assert.strictEqual(ended, 1)
      assert.strictEqual(yield* flight.join(otherwise), "another")
    }))

  it.effect("fails with a typed error when its owner closes, or is waited for", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const flights = yield* Scope.extend(SingleFlight.make(), scope)
      const waiting = yield* Effect.fork(flights.run({ ...options, work: Effect.never }).join(Effect.never))
      yield* TestClock.adjust("1 second")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Fiber.await(waiting), Exit.fail("interrupted"))
      assert.isTrue(flights.isClosed())

      const draining = yield* Scope.make()
      const drained = yield* Scope.extend(SingleFlight.make({ drainTimeout: "1 minute" }), draining)
      const done = yield* Effect.fork(
        drained.run({ ...options, work: Effect.delay(Effect.succeed("done"), "5 seconds") }).join(Effect.never)
      )
      yield* TestClock.adjust("1 second")
      const closing = yield* Effect.fork(Scope.close(draining, Exit.void))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(done), "done")
      yield* Fiber.join(closing)
    }))
})
