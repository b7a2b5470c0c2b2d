/**
 * A store over a `KeyValueStore`, which can only read and write: one fiber of this process at a time does what has to be one
 * step, and locks are in memory.
 */
import type * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { TokenStoreError } from "../../OAuthError.ts"
import * as StrictJson from "../../StrictJson.ts"
import type { Driver } from "../../TokenStore.ts"
import * as MemoryDriver from "./memoryDriver.ts"

const Entry = StrictJson.schema(Schema.Struct({
  value: Schema.String,
  version: Schema.String,
  fence: Schema.Number,
  tags: Schema.Array(Schema.String),
  /** In milliseconds since 1970. */
  until: Schema.Number,
  /** In milliseconds: a clock that was set back since does not prolong it. */
  timeToLive: Schema.optional(Schema.Number)
}))

const decode = Schema.decodeUnknownEither(Entry)
const encode = Schema.encodeSync(Entry)

/** @internal */
export const make = (store: KeyValueStore.KeyValueStore): Effect.Effect<Driver> =>
  Effect.gen(function*() {
    // Conditions, versions, locks and events are those of memory; the store holds what outlives it.
    const memory = yield* MemoryDriver.make
    const mutex = yield* Effect.makeSemaphore(1)

    const step = <A, E>(operation: string, work: Effect.Effect<A, E>): Effect.Effect<A, TokenStoreError> => {
      const failed = () =>
        Effect.fail(new TokenStoreError({ store: "key-value", operation, problem: "the KeyValueStore failed" }))
      return mutex.withPermits(1)(work).pipe(
        Effect.catchAll((error) => error instanceof TokenStoreError ? Effect.fail(error) : failed()),
        Effect.catchAllDefect(failed)
      )
    }

    const setInMemory = (key: string, value: string, until: number, now: number, entry?: Partial<typeof Entry.Type>) =>
      memory.set(key, value, { timeToLive: Duration.millis(until - now), fence: entry?.fence, tags: entry?.tags })

    /** Brings into memory what an earlier process left in the store. */
    const load = (key: string) =>
      Effect.gen(function*() {
        if (Option.isSome(yield* memory.get(key))) return
        const text = yield* store.get(key)
        if (Option.isNone(text)) return
        const entry = decode(text.value)
        const now = yield* Clock.currentTimeMillis
        if (Either.isLeft(entry) || entry.right.until <= now) return yield* store.remove(key)
        const { timeToLive = Number.POSITIVE_INFINITY, until, value } = entry.right
        yield* setInMemory(key, value, Math.min(until, now + timeToLive), now, entry.right)
      })

    return {
      get: (key) => step("get", Effect.zipRight(load(key), memory.get(key))),

      set: (key, value, options) =>
        step(
          "set",
          Effect.gen(function*() {
            yield* load(key)
            const version = yield* memory.set(key, value, options)
            if (Option.isSome(version)) {
              const timeToLive = Duration.toMillis(options.timeToLive)
              const until = (yield* Clock.currentTimeMillis) + timeToLive
              const { fence = 0, tags = [] } = options
              yield* store.set(key, encode({ value, version: version.value, fence, tags, until, timeToLive }))
            }
            return version
          })
        ),

      remove: (key, options) =>
        step(
          "remove",
          Effect.gen(function*() {
            yield* load(key)
            const removed = yield* memory.remove(key, options)
            if (removed) yield* store.remove(key)
            return removed
          })
        ),

      removeByTag: (tag) =>
        step(
          "removeByTag",
          Effect.flatMap(memory.keysOf(tag), (keys) =>
            Effect.zipRight(
              memory.removeByTag(tag),
              Effect.forEach(keys, (key) => store.remove(key), { discard: true })
            ))
        ),

      lock: memory.lock,
      extend: memory.extend,
      unlock: memory.unlock,
      events: memory.events
    }
  })
