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

/** What the cache knows of one key takes about twice as much; some of this is compiled code. */
const limit = 450

describe("the heap stays as it is, with a cache of 1,000 entries", () => {
  it.scopedLive(
    "over 20,000 keys, and a store that forgets at once",
    () => Effect.map(growth(20_000), (bytes) => assert.isBelow(bytes, limit)),
    60_000
  )

  it.scopedLive.skipIf(!RedisServer.available)(
    "over 4,000 keys, and a Redis (skipped where there is no redis-server)",
    () =>
      Effect.gen(function*() {
        const { url } = yield* RedisServer.start()
        assert.isBelow(yield* growth(4000, url), limit)
      }),
    60_000
  )
})
