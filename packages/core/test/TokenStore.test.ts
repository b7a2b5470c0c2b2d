import { OAuthError, TokenStore } from "@effect-oauth/core"
import * as TokenStoreContract from "@effect-oauth/core/testing/TokenStoreContract"
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Option, Scope, Stream, TestClock } from "effect"
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

  it.scoped("tells a holder that the lease is over, also when the store does not answer", () =>
    Effect.gen(function*() {
      const driver = yield* MemoryDriver.make
      const store = yield* TokenStore.make({ ...driver, extend: () => Effect.never })
      const holder = yield* Effect.fork(store.withLock("a", { lease: "15 seconds" }, ({ lost }) => lost))
      yield* TestClock.adjust("14 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(holder)))
      yield* TestClock.adjust("1 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.poll(holder)))
    }))

  describe("gives back a lock in the background when", () => {
    const failed = new OAuthError.TokenStoreError({ store: "test", operation: "any", problem: "no answer in time" })

    /** A driver that does what it is asked, and then its answer is lost in one of three ways. */
    const answers = {
      fails: Effect.fail(failed),
      dies: Effect.die("a defect"),
      hangs: Effect.never
    }

    /** Counts the attempts to unlock; `broken` decides what becomes of lock and unlock after the driver has been asked. */
    const scripted = Effect.gen(function*() {
      const driver = yield* MemoryDriver.make
      let unlocks = 0
      const broken: { lock: Effect.Effect<void, OAuthError.TokenStoreError>; unlock: typeof broken.lock } = {
        lock: Effect.void,
        unlock: Effect.void
      }
      const store = yield* TokenStore.make({
        ...driver,
        lock: (...args) => Effect.zipLeft(driver.lock(...args), Effect.suspend(() => broken.lock)),
        unlock: (...args) =>
          Effect.suspend(() => {
            unlocks++
            return Effect.zipRight(broken.unlock, driver.unlock(...args))
          })
      })
      const other = yield* TokenStore.make(driver)
      const isFree = Effect.map(other.withLock("a", { wait: 0 }, () => Effect.void), Option.isSome)
      return { broken, isFree, store, unlocks: () => unlocks }
    })

    for (const [how, answer] of Object.entries(answers)) {
      it.scoped(`the answer to a lock ${how}`, () =>
        Effect.gen(function*() {
          const { broken, isFree, store } = yield* scripted
          broken.lock = answer
          broken.unlock = Effect.fail(failed)
          const call = yield* Effect.fork(Effect.timeoutOption(store.withLock("a", {}, () => Effect.void), "1 seconds"))
          yield* TestClock.adjust("1 seconds")
          yield* Fiber.await(call)
          yield* TestClock.adjust("3 seconds")
          assert.isFalse(yield* isFree, "the store has not taken the unlock yet")
          broken.unlock = Effect.void
          yield* TestClock.adjust("2 seconds")
          assert.isTrue(yield* isFree)
        }))

      it.scoped(`the answer to an unlock ${how}`, () =>
        Effect.gen(function*() {
          const { broken, isFree, store } = yield* scripted
          broken.unlock = answer
          const call = yield* Effect.fork(store.withLock("a", {}, () => Effect.succeed("done")))
          yield* TestClock.adjust("1 seconds")
          assert.deepStrictEqual(yield* Fiber.join(call), Option.some("done"))
          yield* TestClock.adjust("3 seconds")
          assert.isFalse(yield* isFree, "the store has not taken the unlock yet")
          broken.unlock = Effect.void
          yield* TestClock.adjust("3 seconds")
          assert.isTrue(yield* isFree)
        }))
    }

    it.scoped("its caller did not wait for the answer", () =>
      Effect.gen(function*() {
        const { broken, isFree, store } = yield* scripted
        broken.lock = Effect.never
        const call = yield* Effect.fork(store.withLock("a", {}, () => Effect.void))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(call)
        yield* TestClock.adjust("1 millis")
        assert.isTrue(yield* isFree)
      }))

    it.scoped("its caller is interrupted while the store is asked to", () =>
      Effect.gen(function*() {
        const { broken, isFree, store } = yield* scripted
        broken.unlock = Effect.sleep("300 millis")
        const call = yield* Effect.fork(store.withLock("a", {}, () => Effect.void))
        yield* Effect.yieldNow()
        const interrupting = yield* Effect.fork(Fiber.interrupt(call))
        yield* TestClock.adjust("300 millis")
        yield* Fiber.join(interrupting)
        assert.isTrue(yield* isFree)
      }))

    it.scoped("the store stays away: no longer than the lease, with pauses", () =>
      Effect.gen(function*() {
        const { broken, store, unlocks } = yield* scripted
        broken.unlock = Effect.fail(failed)
        yield* store.withLock("a", { lease: "15 seconds" }, () => Effect.void)
        yield* TestClock.adjust("16 seconds")
        const attempts = unlocks()
        assert.isTrue(attempts >= 10 && attempts <= 30, `${attempts} attempts`)
        yield* TestClock.adjust("1 minutes")
        assert.strictEqual(unlocks(), attempts)
      }))

    it.effect("the scope ends: a pause ends with it, and no attempt follows", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { broken, store, unlocks } = yield* Scope.extend(scripted, scope)
        broken.unlock = Effect.fail(failed)
        yield* store.withLock("a", {}, () => Effect.void)
        yield* Effect.yieldNow()
        yield* Scope.close(scope, Exit.void)
        const attempts = unlocks()
        yield* TestClock.adjust("1 minutes")
        assert.strictEqual(unlocks(), attempts)
      }))

    it.effect("the scope ends: an attempt that has begun is finished", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { broken, isFree, store } = yield* Scope.extend(scripted, scope)
        broken.lock = Effect.never
        broken.unlock = Effect.sleep("300 millis")
        const call = yield* Effect.fork(store.withLock("a", {}, () => Effect.void))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(call)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("300 millis")
        yield* Fiber.join(closing)
        assert.isTrue(yield* isFree)
      }))

    it.effect("the scope ends while nothing answers: many of them do not add up", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { broken, store } = yield* Scope.extend(scripted, scope)
        broken.lock = Effect.fail(failed)
        broken.unlock = Effect.never
        yield* Effect.forEach(
          Array.from({ length: 50 }, (_, index) => `${index}`),
          (key) => Effect.ignore(store.withLock(key, {}, () => Effect.void)),
          { discard: true }
        )
        yield* Effect.yieldNow()
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("1 seconds")
        assert.isTrue(Option.isSome(yield* Fiber.poll(closing)))
      }))
  })

  // A suite that lets a bad store pass is worth nothing: each of these stores has one fault.
  describe.concurrent("the contract finds a store that", () => {
    const yielding = Effect.yieldNow()
    type Faulty = (driver: MemoryDriver.MemoryDriver) => Partial<TokenStore.Driver>
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
      ["removes by tag only the versions that it has read", (driver) => ({
        removeByTag: (tag) =>
          Effect.gen(function*() {
            const read = yield* Effect.forEach(yield* driver.keysOf(tag), (key) =>
              Effect.map(driver.get(key), (entry) => ({ key, version: Option.getOrThrow(entry).version })))
            yield* Effect.sleep("5 millis")
            const written = yield* Effect.forEach(read, ({ key, version }) =>
              Effect.map(driver.get(key), (entry) => ({
                key,
                entry: Option.filter(entry, (now) =>
                  now.version !== version)
              })))
            yield* driver.removeByTag(tag)
            for (const { entry, key } of written) {
              if (Option.isNone(entry)) {
                continue
              }
              yield* driver.set(key, entry.value.value, { timeToLive: Duration.minutes(1), tags: [tag] })
            }
          })
      })],
      ["keeps to itself what happens", () => ({ events: Stream.never })]
    ]
    for (const [fault, make] of faults) {
      it.live(fault, () =>
        Effect.forEach(
          TokenStoreContract.cases,
          ({ run }) =>
            Effect.flatMap(MemoryDriver.make, (driver) => run(TokenStore.make({ ...driver, ...make(driver) }))),
          { concurrency: "unbounded" }
        ).pipe(
          Effect.scoped,
          Effect.flip,
          Effect.map((error) => assert.strictEqual(error._tag, "ContractViolation"))
        ))
    }
  })
})
