/**
 * A token store that all processes of a run share. Every method is a call to it, and so a yield point; its time is its own.
 * It notices an older token that is written over a newer one.
 */
import { OAuthError, type TokenStore } from "@effect-oauth/core"
import { Chunk, Duration, Effect, Option, Queue, Stream } from "effect"
import { numbersIn, textIn } from "./tokens.ts"
import type { Host, World } from "./world.ts"

interface Entry {
  readonly value: string
  readonly version: string
  readonly fence: number
  readonly tags: ReadonlyArray<string>
  readonly until: number
}

interface Held {
  readonly holder: string
  readonly host: Host
  readonly until: number
}

interface Subscriber {
  readonly queue: Queue.Queue<TokenStore.TokenStoreEvent>
  missed: boolean
}

const eventLatency = 2

export class ScriptedStore {
  readonly entries = new Map<string, Entry>()
  readonly locks = new Map<string, Held>()
  /** Older tokens that were written over newer ones. */
  readonly regressions: Array<string> = []
  #fences = 0
  #versions = 0
  #subscribers = new Set<Subscriber>()

  constructor(readonly world: World) {}

  /** The texts of all entries that have not expired. */
  texts(): ReadonlyArray<{ readonly key: string; readonly text: string }> {
    return [...this.entries].filter(([, { until }]) => until > this.world.now)
      .map(([key, { value }]) => ({ key, text: textIn(value) }))
  }

  heldLocks(): ReadonlyArray<string> {
    return [...this.locks].filter(([, { host, until }]) => until > this.world.now && !host.isKilled).map(([key]) => key)
  }

  /** The store as one process sees it. */
  for(host: Host): TokenStore.Driver {
    const step = <A>(operation: string, key: string, work: (now: number) => A) =>
      this.world.call<A, OAuthError.TokenStoreError>({
        host,
        service: "store",
        label: `${operation} ${key.replace("\n", " ")}`,
        work: () => work(this.world.now),
        failed: (failure) =>
          Effect.fail(new OAuthError.TokenStoreError({ store: "scripted", operation, problem: failure }))
      })
    return {
      get: (key) => step("get", key, (now) => Option.fromNullable(this.#at(key, now))),
      set: (key, value, options) => step("set", key, (now) => this.#set(key, value, options, now)),
      remove: (key, options) =>
        step("remove", key, (now) => {
          const entry = this.#at(key, now)
          if (options?.ifVersion !== undefined && options.ifVersion !== entry?.version) return false
          this.entries.delete(key)
          this.#publish({ _tag: "Removed", key })
          return entry !== undefined
        }),
      removeByTag: (tag) =>
        step("removeByTag", tag, () => {
          for (const [key, { tags }] of this.entries) if (tags.includes(tag)) this.entries.delete(key)
          this.#publish({ _tag: "TagRemoved", tag })
        }),
      lock: (key, holder, lease) =>
        step("lock", key, (now) => {
          const held = this.locks.get(key)
          if (held !== undefined && held.until > now) return Option.none()
          this.locks.set(key, { holder, host, until: now + Duration.toMillis(lease) })
          return Option.some(++this.#fences)
        }),
      extend: (key, holder, lease) =>
        step("extend", key, (now) => {
          const held = this.locks.get(key)
          if (held === undefined || held.holder !== holder || held.until <= now) return false
          this.locks.set(key, { ...held, until: now + Duration.toMillis(lease) })
          return true
        }),
      unlock: (key, holder) =>
        step("unlock", key, () => {
          if (this.locks.get(key)?.holder === holder) this.locks.delete(key)
        }),
      events: this.#events
    }
  }

  #at(key: string, now: number): Entry | undefined {
    const entry = this.entries.get(key)
    return entry !== undefined && entry.until > now ? entry : undefined
  }

  #set(
    key: string,
    value: string,
    { fence, ifVersion, tags = [], timeToLive }: Parameters<TokenStore.Driver["set"]>[2],
    now: number
  ): Option.Option<string> {
    const entry = this.#at(key, now)
    if (ifVersion !== undefined && ifVersion !== (entry?.version ?? null)) return Option.none()
    if (fence !== undefined && fence < (entry?.fence ?? 0)) return Option.none()
    const version = String(++this.#versions)
    this.#compare(key, entry?.value, value)
    this.entries.set(key, {
      value,
      version,
      fence: fence ?? entry?.fence ?? 0,
      tags,
      until: now + Duration.toMillis(timeToLive)
    })
    this.#publish({ _tag: "Written", key, version })
    return Option.some(version)
  }

  #compare(key: string, before: string | undefined, after: string): void {
    if (before === undefined) return
    const [older, newer] = [numbersIn(textIn(before)), numbersIn(textIn(after))]
    for (const [name, number] of newer) {
      const last = older.get(name)
      if (last !== undefined && last > number) this.regressions.push(`${key}: ${name}-${number} over ${name}-${last}`)
    }
  }

  #publish(event: TokenStore.TokenStoreEvent): void {
    for (const subscriber of this.#subscribers) {
      if (this.world.isOut("store")) {
        if (!subscriber.missed) {
          this.world.whenStoreIsBack(() => {
            subscriber.missed = false
            this.#deliver(subscriber, { _tag: "Gap" })
          })
        }
        subscriber.missed = true
      } else {
        this.#deliver(subscriber, event)
      }
    }
  }

  #deliver(subscriber: Subscriber, event: TokenStore.TokenStoreEvent): void {
    this.world.timeline.after(eventLatency, () => {
      if (this.#subscribers.has(subscriber)) subscriber.queue.unsafeOffer(event)
    })
  }

  get #events(): Stream.Stream<TokenStore.TokenStoreEvent> {
    const subscribe = Effect.acquireRelease(
      Effect.map(Queue.unbounded<TokenStore.TokenStoreEvent>(), (queue): Subscriber => {
        const subscriber = { queue, missed: false }
        this.#subscribers.add(subscriber)
        return subscriber
      }),
      (subscriber) => Effect.sync(() => this.#subscribers.delete(subscriber))
    )
    return Stream.unwrapScoped(
      Effect.map(
        subscribe,
        ({ queue }) =>
          Stream.repeatEffect(Effect.map(Queue.takeBetween(queue, 1, 1000), Chunk.toReadonlyArray)).pipe(
            Stream.mapConcat((events) => events)
          )
      )
    )
  }
}
