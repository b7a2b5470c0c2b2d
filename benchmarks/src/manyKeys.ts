/**
 * A million tokens through a memory of ten thousand.
 */
import * as Effect from "effect/Effect"
import * as Ours from "./ours.ts"
import type { Row } from "./table.ts"

const keys = 1_000_000
const warm = 100_000

const heap = (): number => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1024 / 1024
}

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const manager = yield* Ours.Manager
  const get = (from: number, to: number) =>
    Effect.iterate(from, {
      while: (index) => index < to,
      body: (index) => Effect.as(manager.get("client.0", { partition: `tenant ${index}` }), index + 1)
    })
  yield* get(0, warm)
  const before = heap()
  yield* get(warm, keys)
  const after = heap()
  return [{
    path: "1,000,000 distinct keys through a memory of 10,000: heap",
    ours: `${after.toFixed(1)} MiB`,
    floor: `${before.toFixed(1)} MiB after the first 100,000`,
    ratio: `${(after / before).toFixed(2)}x`,
    goal: "flat",
    met: after < before * 1.1,
    peers: ""
  }]
}).pipe(Effect.provide(Ours.layer(Ours.tokenServer().client, ["client.0"])), Effect.orDie)
