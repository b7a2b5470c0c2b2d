/**
 * A `TokenStore` of one's own. A driver says what one atomic step of the store is; waiting for locks and keeping their leases
 * comes from the library. This one is a `Map`, where everything is one step by itself; over a database each method would be
 * one statement.
 */
import { TokenStore } from "@effect-oauth/core"
import { Clock, Duration, Effect, Layer, Option, PubSub, type Scope, Stream } from "effect"
import { randomUUID } from "node:crypto"

interface Entry {
  readonly value: string
  readonly version: string
  readonly fence: number
  readonly tags: ReadonlyArray<string>
  readonly until: number
}

export const make: Effect.Effect<TokenStore.TokenStore["Type"], never, Scope.Scope> = Effect.gen(function*() {
  const entries = new Map<string, Entry>()
  const locks = new Map<string, { readonly holder: string; readonly until: number }>()
  const events = yield* PubSub.sliding<TokenStore.TokenStoreEvent>(1000)
  let fences = 0

  /** One step, which sees what has not expired. */
  const step = <A>(work: (entry: (key: string) => Entry | undefined, now: number) => A): Effect.Effect<A> =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const entry = (key: string) => {
        const found = entries.get(key)
        return found !== undefined && found.until > now ? found : undefined
      }
      return work(entry, now)
    })

  return yield* TokenStore.make({
    get: (key) => step((entry) => Option.fromNullable(entry(key))),

    set: (key, value, { fence, ifVersion, tags = [], timeToLive }) =>
      step((entry, now) => {
        const before = entry(key)
        if (ifVersion !== undefined && ifVersion !== (before?.version ?? null)) return Option.none()
        if (fence !== undefined && fence < (before?.fence ?? 0)) return Option.none()
        const version = randomUUID()
        const until = now + Duration.toMillis(timeToLive)
        entries.set(key, { value, version, fence: fence ?? before?.fence ?? 0, tags, until })
        return Option.some(version)
      }).pipe(Effect.tap(Option.match({
        onNone: () => Effect.void,
        onSome: (version) => PubSub.publish(events, { _tag: "Written", key, version })
      }))),

    remove: (key, options) =>
      step((entry) => {
        const before = entry(key)
        const isMeant = before !== undefined && (options?.ifVersion ?? before.version) === before.version
        return isMeant && entries.delete(key)
      }).pipe(Effect.tap((removed) =>
        removed || options?.ifVersion === undefined
          ? PubSub.publish(events, { _tag: "Removed", key })
          : Effect.void
      )),

    removeByTag: (tag) =>
      step(() => {
        for (const [key, { tags }] of entries) if (tags.includes(tag)) entries.delete(key)
      }).pipe(Effect.zipRight(PubSub.publish(events, { _tag: "TagRemoved", tag }))),

    lock: (key, holder, lease) =>
      step((_, now) => {
        if ((locks.get(key)?.until ?? 0) > now) return Option.none()
        locks.set(key, { holder, until: now + Duration.toMillis(lease) })
        return Option.some(++fences)
      }),

    extend: (key, holder, lease) =>
      step((_, now) => {
        const lock = locks.get(key)
        if (lock?.holder !== holder || lock.until <= now) return false
        locks.set(key, { holder, until: now + Duration.toMillis(lease) })
        return true
      }),

    unlock: (key, holder) =>
      step(() => {
        if (locks.get(key)?.holder === holder) locks.delete(key)
      }),

    events: Stream.fromPubSub(events)
  })
})

export const layer: Layer.Layer<TokenStore.TokenStore> = Layer.scoped(TokenStore.TokenStore, make)
