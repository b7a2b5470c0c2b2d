/**
 * The heap of a process that gets tokens for very many keys through a small cache.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as RedisServer from "../support/redis.ts"
import * as Workers from "./support/workers.ts"

interface Heap {
  readonly before: number
  readonly after: number
}

/** By how many bytes it has grown for each key of the second half; what the first half has filled stays full. */
const growth = (keys: number, ...args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const child = yield* Workers.launch("manyKeys.ts", ["--expose-gc"], [`${keys}`, ...args])
    const { after, before } = yield* Effect.async<Heap>((resume) => {
      child.once("message", (heap) => resume(Effect.succeed(heap as Heap)))
      child.once("exit", (code) => resume(Effect.dieMessage(`the process has ended with ${code}`)))
    })
    return (after - before) / (keys / 2)
  })

/** Anything that stays of a key, be it its name alone in a map, takes more. */
const limit = 150

describe("the heap stays as it is, with a cache of 1,000 entries", () => {
  it.scopedLive(
    "over 12,000 keys, and a store that forgets at once",
    () => Effect.map(growth(12_000), (bytes) => assert.isBelow(bytes, limit)),
    60_000
  )

  it.scopedLive.skipIf(!RedisServer.available)(
    "over 3,000 keys, and a Redis (skipped where there is no redis-server)",
    () =>
      Effect.gen(function*() {
        const { url } = yield* RedisServer.start()
        assert.isBelow(yield* growth(3000, url), 4 * limit)
      }),
    60_000
  )
})
