import { OAuthError, TokenStore } from "@effect-oauth/core"
import { TokenConcurrency } from "@effect-oauth/oidc"
import { NodeSigner } from "@effect-oauth/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream, TestClock } from "effect"

type Concurrency = TokenConcurrency.TokenConcurrency["Type"]

/** How many of these run at once at most. */
const busiest = (runs: ReadonlyArray<readonly [Concurrency, key: string]>) =>
  Effect.gen(function*() {
    let [now, most] = [0, 0]
    const work = Effect.acquireUseRelease(
      Effect.sync(() => {
        most = Math.max(most, ++now)
      }),
      () => Effect.sleep("1 seconds"),
      () => Effect.sync(() => now--)
    )
    const all = yield* Effect.fork(
      Effect.forEach(runs, ([concurrency, key]) => concurrency.serialised(key, work), { concurrency: "unbounded" })
    )
    for (let seconds = 0; seconds < 10; seconds++) yield* TestClock.adjust("1 seconds")
    yield* Fiber.join(all)
    return most
  })

const shared = (store: TokenStore.TokenStore["Type"], whenStoreFails?: "fail" | "proceed") =>
  TokenConcurrency.makeShared({ whenStoreFails }).pipe(
    Effect.provideService(TokenStore.TokenStore, store),
    Effect.provide(NodeSigner.layer)
  )

const down = new OAuthError.TokenStoreError({ store: "test", operation: "lock", problem: "down" })

const storeOf = (withLock: TokenStore.TokenStore["Type"]["withLock"]): TokenStore.TokenStore["Type"] => ({
  get: () => Effect.fail(down),
  set: () => Effect.fail(down),
  remove: () => Effect.fail(down),
  removeByTag: () => Effect.fail(down),
  withLock,
  events: Stream.never
})

describe("turns", () => {
  it.scoped("within a process come one at a time for a key, and at once for different ones", () =>
    Effect.gen(function*() {
      const local = yield* TokenConcurrency.makeLocal
      assert.strictEqual(yield* busiest([[local, "a"], [local, "a"], [local, "a"]]), 1)
      assert.strictEqual(yield* busiest([[local, "a"], [local, "b"], [local, "c"]]), 3)
    }))

  it.scoped("across processes come one at a time by the store that they share", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const [one, two] = [yield* shared(store), yield* shared(store)]
      assert.strictEqual(yield* busiest([[one, "a"], [two, "a"], [one, "a"], [two, "a"]]), 1)
      assert.strictEqual(yield* busiest([[one, "a"], [two, "b"]]), 2)
    }))

  it.scoped("go on after a failure, a defect and an interruption, which are the effect's own", () =>
    Effect.gen(function*() {
      for (
        const concurrency of [yield* TokenConcurrency.makeLocal, yield* shared(yield* TokenStore.makeMemory, "proceed")]
      ) {
        let runs = 0
        const counted = <A, E>(effect: Effect.Effect<A, E>) => Effect.zipRight(Effect.sync(() => runs++), effect)
        assert.strictEqual(yield* Effect.flip(concurrency.serialised("a", counted(Effect.fail("own")))), "own")
        const died = yield* Effect.exit(concurrency.serialised("a", counted(Effect.die("own"))))
        assert.deepStrictEqual(died, Exit.die("own"))
        const left = yield* Effect.fork(concurrency.serialised("a", counted(Effect.never)))
        yield* TestClock.adjust("1 seconds")
        yield* Fiber.interrupt(left)
        assert.strictEqual(yield* concurrency.serialised("a", counted(Effect.succeed(1))), 1)
        assert.strictEqual(runs, 4)
      }
    }))

  it.scoped("that do not come within 30 seconds are an error", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const [one, two] = [yield* shared(store), yield* shared(store, "proceed")]
      yield* Effect.fork(one.serialised("a", Effect.never))
      yield* TestClock.adjust("1 seconds")
      const waiting = yield* Effect.fork(Effect.flip(two.serialised("a", Effect.void)))
      for (let seconds = 0; seconds < 32; seconds++) yield* TestClock.adjust("1 seconds")
      assert.include((yield* waiting).message, "30s")
    }))

  for (
    const [name, withLock] of [
      ["fails", () => Effect.fail(down)],
      ["dies", () => Effect.dieMessage("secret")],
      ["does not answer", () => Effect.never]
    ] as const
  ) {
    it.scoped(`of a store that ${name} are an error, or this process's own`, () =>
      Effect.gen(function*() {
        const store = storeOf(withLock)
        for (const [whenStoreFails, expected] of [["fail", "SessionStoreError"], ["proceed", "done"]] as const) {
          const concurrency = yield* shared(store, whenStoreFails)
          let runs = 0
          const work = Effect.sync(() => {
            runs++
            return "done"
          })
          const turn = concurrency.serialised("a", work).pipe(
            Effect.catchAll((error) => {
              assert.notInclude(error.message, "secret")
              return Effect.succeed(error._tag)
            })
          )
          for (let turns = 0; turns < 2; turns++) {
            const fiber = yield* Effect.fork(turn)
            yield* TestClock.adjust("35 seconds")
            assert.strictEqual(yield* fiber, expected)
          }
          assert.strictEqual(runs, whenStoreFails === "fail" ? 0 : 2)
        }
      }))
  }

  for (
    const [name, afterwards] of [
      ["fails", Effect.fail(down)],
      ["dies", Effect.dieMessage("down")],
      ["does not answer", Effect.never]
    ] as const
  ) {
    it.scoped(`run once although the store ${name} when the lock is given back`, () =>
      Effect.gen(function*() {
        const store = storeOf((_, __, use) => Effect.zipRight(use({ fence: 1, lost: Effect.never }), afterwards))
        const concurrency = yield* shared(store, "proceed")
        let runs = 0
        const fiber = yield* Effect.fork(concurrency.serialised("a", Effect.sync(() => ++runs)))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* fiber, 1)
        assert.strictEqual(runs, 1)
      }))
  }
})
