/**
 * A million tokens through a memory of ten thousand.
 */
import { AccessToken } from "@effect-oauth/core/AccessToken"
import { TokenType } from "@effect-oauth/core/OAuthValues"
import * as TokenCache from "@effect-oauth/core/TokenCache"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Ours from "./ours.ts"
import type { Row } from "./table.ts"

const keys = 1_000_000
const warm = 100_000

const type = Schema.decodeSync(TokenType)("Bearer")

/** Acquired at once, since it is the memory that is looked at. */
const request = (index: number, now: DateTime.Utc): TokenCache.TokenCacheRequest => ({
  key: `client.0 tenant ${index}`,
  clientName: "client.0",
  endpoint: "https://as.example.com/token",
  expiryBuffer: Duration.minutes(1),
  refreshAhead: true,
  acquireTimeout: Duration.seconds(20),
  acquire: () =>
    Effect.sync(() =>
      new AccessToken({
        value: Redacted.make(Ours.opaque(index)),
        type,
        clientName: "client.0",
        obtainedAt: now,
        expiresAt: DateTime.addDuration(now, "10 hours")
      })
    )
})

/** What is held weakly goes with the second collection. */
const heap = (): number => {
  for (let round = 0; round < 3; round++) globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1024 / 1024
}

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const cache = yield* TokenCache.make()
  const now = yield* DateTime.now
  const get = (from: number, to: number) =>
    Effect.iterate(from, {
      while: (index) => index < to,
      body: (index) => Effect.as(cache.get(request(index, now)), index + 1)
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
}).pipe(Effect.scoped, Effect.orDie)
