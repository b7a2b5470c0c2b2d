/**
 * A process of its own that uses a store. `use`: a while, then it has to end by itself. `contend`: takes the lock of `job`, says
 * so, and then does what it is told line by line: `write`, `release`.
 */
import { TokenStore } from "@effect-oauth/core/TokenStore"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { Effect, Fiber, Option, Stream } from "effect"
import { createInterface } from "node:readline"

const [mode, url, prefix] = process.argv.slice(2)

const minute = { timeToLive: "1 minutes" } as const

const use = Effect.gen(function*() {
  const store = yield* TokenStore
  const listener = yield* Effect.fork(Stream.runDrain(store.events))
  const outcome = yield* Effect.either(store.set("a", "1", { ...minute, tags: ["t"] }))
  yield* Effect.either(store.withLock("a", {}, () => store.get("a")))
  yield* Fiber.interrupt(listener)
  return outcome._tag
})

const contend = Effect.gen(function*() {
  const store = yield* TokenStore
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const held = yield* store.withLock(
    "job",
    { lease: "1 seconds", wait: "15 seconds" },
    ({ fence }) =>
      Effect.gen(function*() {
        console.log(`held ${fence}`)
        for (;;) {
          const line = yield* Effect.promise(() => lines.next())
          if (line.done === true || line.value === "release") return
          // Held up for long, it has to find its way back to the server first.
          const written = yield* Effect.retry(store.set("job", `${process.pid}`, { ...minute, fence }), { times: 20 })
          console.log(Option.isSome(written) ? "written" : "refused")
        }
      })
  )
  process.stdin.destroy()
  return Option.isSome(held) ? "had it" : "never had it"
})

const outcome = await Effect.runPromise(
  (mode === "use" ? use : contend).pipe(Effect.provide(RedisTokenStore.layer({ url: url!, prefix })))
)
console.log(`end ${outcome}`)
