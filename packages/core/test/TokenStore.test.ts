import { TokenStore } from "@effect-oauth/core"
import * as TokenStoreContract from "@effect-oauth/core/testing/TokenStoreContract"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, Stream, TestClock } from "effect"
import * as MemoryDriver from "../src/internal/store/memoryDriver.ts"

const Store = TokenStore.TokenStore

describe("TokenStore", () => {
  describe.concurrent("in memory keeps to the contract", () => {
    for (const { name, run } of TokenStoreContract.cases) {
      it.live(name, () => Effect.flatMap(TokenStore.makeMemory, (store) => run(Effect.succeed(store))))
    }
  })

  describe.concurrent("over a KeyValueStore keeps to the contract", () => {
    for (const { name, run } of TokenStoreContract.cases) {
      it.scopedLive(name, () =>
        Effect.flatMap(
          Layer.build(Layer.provide(TokenStore.layerKeyValueStore, KeyValueStore.layerMemory)),
          (context) => run(Effect.provide(Store, context))
        ))
    }

    it.effect("finds what an earlier process has left, for as long as it is good", () =>
      Effect.gen(function*() {
        const store = TokenStore.layerKeyValueStore
        yield* Effect.flatMap(Store, (earlier) =>
          Effect.zipRight(
            earlier.set("a", "1", { timeToLive: "1 minutes", tags: ["t"] }),
            earlier.set("b", "1", { timeToLive: "3 minutes", tags: ["t"] })
          )).pipe(Effect.provide(store))
        yield* TestClock.adjust("1 minutes")
        yield* Effect.gen(function*() {
          const later = yield* Store
          assert.isTrue(Option.isNone(yield* later.get("a")))
          assert.strictEqual(Option.getOrThrow(yield* later.get("b")).value, "1")
          yield* later.removeByTag("t")
          assert.isTrue(Option.isNone(yield* later.get("b")))
          assert.strictEqual(yield* Effect.flatMap(KeyValueStore.KeyValueStore, ({ size }) => size), 0)
        }).pipe(Effect.provide(store))
      }).pipe(Effect.provide(KeyValueStore.layerMemory)))

    it.effect("takes what cannot be read for nothing, and a failure for an error of its own", () =>
      Effect.gen(function*() {
        const kept = yield* KeyValueStore.KeyValueStore
        yield* kept.set("a", "garbage")
        yield* Effect.gen(function*() {
          const store = yield* Store
          assert.isTrue(Option.isNone(yield* store.get("a")))
        }).pipe(Effect.provide(TokenStore.layerKeyValueStore))
        const broken = Layer.succeed(KeyValueStore.KeyValueStore, {
          ...kept,
          get: () => Effect.die(new Error("s3cret"))
        })
        const error = yield* Effect.flip(Effect.flatMap(Store, (store) => store.get("a"))).pipe(
          Effect.provide(Layer.provide(TokenStore.layerKeyValueStore, broken))
        )
        assert.strictEqual(error._tag, "TokenStoreError")
        assert.isFalse(error.message.includes("s3cret"))
      }).pipe(Effect.provide(KeyValueStore.layerMemory)))
  })

  it.effect("tells a holder that the lease is over, also when the store does not answer", () =>
    Effect.gen(function*() {
      const driver = yield* MemoryDriver.make
      const store = TokenStore.make({ ...driver, extend: () => Effect.never })
      const holder = yield* Effect.fork(store.withLock("a", { lease: "15 seconds" }, ({ lost }) => lost))
      yield* TestClock.adjust("14 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(holder)))
      yield* TestClock.adjust("1 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.poll(holder)))
    }))

  it.effect("gives back a lock whose holder did not wait for the answer", () =>
    Effect.gen(function*() {
      const driver = yield* MemoryDriver.make
      const mute = TokenStore.make({
        ...driver,
        lock: (...args) => Effect.zipRight(driver.lock(...args), Effect.never)
      })
      const call = yield* Effect.fork(Effect.timeoutOption(mute.withLock("a", {}, () => Effect.void), "1 seconds"))
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(call)
      yield* Effect.yieldNow()
      const next = yield* TokenStore.make(driver).withLock("a", { wait: 0 }, () => Effect.succeed("free"))
      assert.deepStrictEqual(next, Option.some("free"))
    }))

  // A suite that lets a bad store pass is worth nothing: each of these stores has one fault.
  describe.concurrent("the contract finds a store that", () => {
    const yielding = Effect.yieldNow()
    type Faulty = (driver: TokenStore.Driver) => Partial<TokenStore.Driver>
    const faults: ReadonlyArray<readonly [fault: string, make: Faulty]> = [
      ["reads, waits and then writes", (driver) => ({
        set: (key, value, { ifVersion, ...options }) =>
          Effect.gen(function*() {
            const entry = Option.getOrUndefined(yield* driver.get(key))
            yield* yielding
            return ifVersion === undefined || ifVersion === (entry?.version ?? null)
              ? yield* driver.set(key, value, options)
              : Option.none()
          })
      })],
      ["forgets nothing", (driver) => ({
        set: (key, value, options) => driver.set(key, value, { ...options, timeToLive: Duration.hours(1) })
      })],
      ["gives the lock to everybody", (driver) => ({
        lock: (key, holder, lease) =>
          Effect.zipRight(driver.unlock(key, holder), driver.lock(`${key}${holder}`, holder, lease))
      })],
      ["never gives a lock back", () => ({ unlock: () => Effect.void })],
      ["does not prolong leases", () => ({ extend: () => Effect.succeed(true) })],
      ["does not look at fences", (driver) => ({
        set: (key, value, { fence: _, ...options }) => driver.set(key, value, options)
      })],
      ["does not look at versions when it removes", (driver) => ({ remove: (key) => driver.remove(key) })],
      ["removes by tag what has another", (driver) => ({
        set: (key, value, options) => driver.set(key, value, { ...options, tags: ["all", "one", "two"] })
      })],
      ["keeps to itself what happens", () => ({ events: Stream.never })]
    ]
    for (const [fault, make] of faults) {
      it.live(fault, () =>
        Effect.forEach(
          TokenStoreContract.cases,
          ({ run }) =>
            Effect.flatMap(MemoryDriver.make, (driver) =>
              run(Effect.succeed(TokenStore.make({ ...driver, ...make(driver) })))),
          { concurrency: "unbounded" }
        ).pipe(
          Effect.flip,
          Effect.map((error) =>
            assert.strictEqual(error._tag, "ContractViolation")
          )
        ))
    }
  })
})
