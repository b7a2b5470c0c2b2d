/**
 * A store in memory: every method is one step of one fiber, so all of them are atomic.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as SteadyClock from "../../SteadyClock.ts"
import type { Driver, SetOptions } from "../../TokenStore.ts"
import * as TokenStoreEvents from "../../TokenStoreEvents.ts"

interface Entry {
  readonly value: string
  readonly version: string
  readonly fence: number
  readonly tags: ReadonlyArray<string>
  readonly until: number
}

interface Held {
  readonly holder: string
  readonly until: number
}

const allows = (
  entry: Entry | undefined,
  { fence, ifVersion }: Pick<SetOptions, "fence" | "ifVersion">
): boolean =>
  (ifVersion === undefined || ifVersion === (entry?.version ?? null)) &&
  (fence === undefined || fence >= (entry?.fence ?? 0))

/** How many writes there are between two sweeps of what has expired. */
const sweepEvery = 1000

/** @internal */
export interface MemoryDriver extends Driver {
  readonly keysOf: (tag: string) => Effect.Effect<ReadonlyArray<string>>
}

/** @internal */
export const make: Effect.Effect<MemoryDriver> = Effect.sync((): MemoryDriver => {
  const { events, publish } = TokenStoreEvents.make()
  const entries = new Map<string, Entry>()
  const locks = new Map<string, Held>()
  let fences = 0
  let versions = 0
  let writes = 0

  const entryAt = (key: string, now: number): Entry | undefined => {
    const entry = entries.get(key)
    return entry !== undefined && entry.until > now ? entry : undefined
  }

  const sweep = (now: number): void => {
    if (++writes % sweepEvery !== 0) return
    for (const [key, { until }] of entries) if (until <= now) entries.delete(key)
  }

  /** One step at one time. */
  const step = <A>(work: (now: number) => A): Effect.Effect<A> => Effect.map(SteadyClock.currentTimeMillis, work)

  return {
    get: (key) => step((now) => Option.fromNullable(entryAt(key, now))),

    set: (key, value, options) =>
      step((now) => {
        const entry = entryAt(key, now)
        if (!allows(entry, options)) return Option.none()
        const version = `${++versions}`
        sweep(now)
        entries.set(key, {
          value,
          version,
          fence: options.fence ?? entry?.fence ?? 0,
          tags: options.tags ?? [],
          until: now + Duration.toMillis(options.timeToLive)
        })
        publish({ _tag: "Written", key, version })
        return Option.some(version)
      }),

    remove: (key, options) =>
      step((now) => {
        const entry = entryAt(key, now)
        if (options?.ifVersion !== undefined && options.ifVersion !== entry?.version) return false
        entries.delete(key)
        publish({ _tag: "Removed", key })
        return entry !== undefined
      }),

    removeByTag: (tag) =>
      step(() => {
        for (const [key, { tags }] of entries) if (tags.includes(tag)) entries.delete(key)
        publish({ _tag: "TagRemoved", tag })
      }),

    lock: (key, holder, lease) =>
      step((now) => {
        const held = locks.get(key)
        if (held !== undefined && held.until > now) return Option.none()
        locks.set(key, { holder, until: now + Duration.toMillis(lease) })
        return Option.some(++fences)
      }),

    extend: (key, holder, lease) =>
      step((now) => {
        const held = locks.get(key)
        if (held === undefined || held.holder !== holder || held.until <= now) return false
        locks.set(key, { holder, until: now + Duration.toMillis(lease) })
        return true
      }),

    unlock: (key, holder) =>
      step(() => {
        if (locks.get(key)?.holder === holder) locks.delete(key)
      }),

    events,

    keysOf: (tag) => Effect.sync(() => [...entries].flatMap(([key, { tags }]) => tags.includes(tag) ? [key] : []))
  }
})
