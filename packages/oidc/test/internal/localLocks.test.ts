import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, TestClock } from "effect"
import * as LocalLocks from "../../src/internal/refresh/localLocks.ts"

describe("localLocks", () => {
  it.effect("lets one caller in at a time for each key, in the order in which they came", () =>
    Effect.gen(function*() {
      const { withLock } = yield* LocalLocks.make
      const log: Array<string> = []
      const work = (name: string) =>
        Effect.acquireUseRelease(
          Effect.sync(() => log.push(`${name} in`)),
          () => Effect.sleep("1 second"),
          () => Effect.sync(() => log.push(`${name} out`))
        )
      const three = yield* Effect.fork(
        Effect.all(["a", "b", "c"].map((name) => withLock("key", work(name))), { concurrency: "unbounded" })
      )
      const other = yield* Effect.fork(withLock("other", Effect.sleep("1 second")))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(other)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(three)
      assert.deepStrictEqual(log, ["a in", "a out", "b in", "b out", "c in", "c out"])
    }))

  it.effect("is given back by a holder that is interrupted, and not taken by a waiter that left", () =>
    Effect.gen(function*() {
      const { withLock } = yield* LocalLocks.make
      const holder = yield* Effect.fork(withLock("key", Effect.never))
      yield* Effect.yieldNow()
      const waiter = yield* Effect.fork(withLock("key", Effect.never))
      const next = yield* Effect.fork(withLock("key", Effect.succeed("next")))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiter)
      yield* Fiber.interrupt(holder)
      assert.strictEqual(yield* Fiber.join(next), "next")
    }))

  it.effect("is taken over from a holder that does not come back", () =>
    Effect.gen(function*() {
      const { withLock } = yield* LocalLocks.make
      yield* Effect.fork(withLock("key", Effect.never))
      yield* Effect.yieldNow()
      const next = yield* Effect.fork(withLock("key", Effect.succeed("next")))
      yield* TestClock.adjust("150 seconds")
      assert.strictEqual(yield* Fiber.join(next), "next")
    }))
})
