/**
 * A process that gets a token for each of very many keys through a cache that holds a thousand, and says by how many bytes its
 * heap has grown between the first half of them and the last. Its arguments: how many keys, and the URL of a Redis; without one, the
 * store is one that forgets everything at once.
 */
import { AccessToken, OAuthValues, TokenCache, TokenStore } from "@effect-oauth/core"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { DateTime, Duration, Effect, Layer, Option, Redacted, Stream } from "effect"

const [, , keys = "0", url] = process.argv

let written = 0
const forgetful = TokenStore.make({
  get: () => Effect.succeedNone,
  set: () => Effect.sync(() => Option.some(`${++written}`)),
  remove: () => Effect.succeed(false),
  removeByTag: () => Effect.void,
  lock: () => Effect.sync(() => Option.some(++written)),
  extend: () => Effect.succeed(true),
  unlock: () => Effect.void,
  events: Stream.never
})

const store = url === undefined
  ? Layer.scoped(TokenStore.TokenStore, forgetful)
  : RedisTokenStore.layer({ url, prefix: "many-keys:" })

const requestOf = (number: number): TokenCache.TokenCacheRequest => ({
  key: `key ${number}`,
  clientName: "worker",
  endpoint: "https://as.test/token",
  expiryBuffer: Duration.seconds(60),
  refreshAhead: true,
  acquireTimeout: Duration.seconds(20),
  acquire: () =>
    Effect.map(DateTime.now, (now) =>
      new AccessToken.AccessToken({
        value: Redacted.make(`token-${number}-`.padEnd(100, "x")),
        type: OAuthValues.TokenType.make("Bearer"),
        clientName: "worker",
        obtainedAt: now,
        expiresAt: DateTime.add(now, { hours: 1 })
      }))
})

const heapNow = Effect.sync(() => {
  global.gc?.()
  return process.memoryUsage().heapUsed
})

/** What is in use when nothing is under way: the least of some looks, as not all garbage is found with the first. */
const heap = Effect.map(
  Effect.all(Array.from({ length: 8 }, () => Effect.zipRight(Effect.sleep("100 millis"), heapNow))),
  (looks) => Math.min(...looks)
)

const program = Effect.gen(function*() {
  const cache = yield* TokenCache.TokenCache
  const total = Number(keys)
  const get = (from: number, to: number) =>
    Effect.forEach(
      Array.from({ length: to - from }, (_, index) => from + index),
      (number) => cache.get(requestOf(number)),
      { concurrency: 50, discard: true }
    )
  const some = (from: number, to: number) =>
    Effect.iterate(from, {
      while: (at) => at < to,
      body: (at) => Effect.as(get(at, Math.min(at + 1000, to)), Math.min(at + 1000, to))
    })
  yield* some(0, total / 2)
  const before = yield* heap
  yield* some(total / 2, total)
  const after = yield* heap
  yield* Effect.sync(() => process.send!({ before, after }))
})

program.pipe(
  Effect.provide(Layer.provide(TokenCache.layer({ maxEntries: 1000 }), store)),
  Effect.runPromise
).then(() => process.disconnect())
