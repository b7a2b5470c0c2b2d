import { TokenStore, TokenStoreEvents } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Either, Fiber, Stream } from "effect"

const removed = (key: string) => ({ _tag: "Removed", key }) as const

const shown = (events: Iterable<TokenStore.TokenStoreEvent>): ReadonlyArray<string> =>
  [...events].map((event) => event._tag === "Removed" ? event.key : event._tag)

describe("events", () => {
  it.scoped("that a subscriber is too slow for are a gap", () =>
    Effect.gen(function*() {
      const { end, events, publish } = TokenStoreEvents.make({ capacity: 3 })
      const pull = yield* Stream.toPull(events)
      const fiber = yield* Effect.fork(pull)
      yield* Effect.yieldNow()
      publish(removed("0"))
      assert.deepStrictEqual(shown(yield* Fiber.join(fiber)), ["0"])
      for (const key of ["1", "2", "3", "4", "5"]) publish(removed(key))
      assert.deepStrictEqual(shown(yield* pull), ["Gap", "5"])
      end()
      assert.isTrue(Either.isLeft(yield* Effect.either(pull)))
    }))

  it.scoped("of a store in memory are not lost without a gap", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const pull = yield* Stream.toPull(store.events)
      const fiber = yield* Effect.fork(pull)
      yield* Effect.yieldNow()
      yield* store.remove("0")
      yield* Fiber.join(fiber)
      for (let index = 1; index <= 10_000; index++) yield* store.remove(`${index}`)
      const heard = shown(Chunk.toReadonlyArray(yield* pull))
      assert.isBelow(heard.length, 10_000)
      assert.strictEqual(heard[0], "Gap")
      assert.strictEqual(heard.at(-1), "10000")
    }))
})
