/**
 * A token store in Redis. Under `{key}` there are the entry (a hash of value, version, fence and tags), its lock and the last
 * fence; under `{tag}` a sorted set of what has this tag, by the time at which it ends, and the mark of a removal that runs.
 * Each of them has a time to live.
 */
import type { TokenStoreError } from "@effect-oauth/core/OAuthError"
import * as StrictJson from "@effect-oauth/core/StrictJson"
import type { Driver } from "@effect-oauth/core/TokenStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import * as Connection from "./redisConnection.ts"
import * as Events from "./redisEvents.ts"
import * as Scripts from "./redisScripts.ts"

/** 96 random bits: no version is there twice, whatever Redis has forgotten. */
const makeVersion = (): string => randomBytes(12).toString("base64url")
const versionLength = 16

/** How long a fence is remembered that no entry has; it is the time, so this is for clocks that are put back. */
const fenceMillis = Duration.toMillis("1 hours")

/** By this much the sets of tags outlive their entries, which are written after them. */
const indexMillis = 60_000

const longest = Duration.toMillis("36500 days")

/** Redis takes whole milliseconds only, and none that overflow. */
const wholeMillis = (duration: Duration.Duration): number =>
  Math.min(Math.max(1, Math.ceil(Duration.toMillis(duration))), longest)

/** A brace of the key's own would end its hash tag. */
const escape = (text: string): string => text.replace(/[%{}]/g, encodeURIComponent)

const keysOf = (prefix: string) => {
  const before = escape(prefix)
  // An empty hash tag is none: the keys of the empty key would be on many nodes.
  const at = (kind: string) => (key: string): string => `${before}{${escape(key) || "%"}}:${kind}`
  return { entry: at("entry"), lock: at("lock"), fence: at("fence"), tag: at("tag"), mark: at("removal") }
}

const isText = (value: unknown): value is string => typeof value === "string"

/** The tags of an entry that was replaced or removed. */
const readTags = (text: unknown): ReadonlyArray<string> => {
  if (!isText(text) || text === "") return []
  const tags = Either.getOrUndefined(StrictJson.parse(text))
  return Array.isArray(tags) ? tags.filter(isText) : []
}

interface Before {
  readonly version: string
  readonly tags: ReadonlyArray<string>
}

/** What `set` and `remove` say of the entry that was there. */
const readBefore = (reply: unknown): Option.Option<Before> =>
  Array.isArray(reply)
    ? Option.some({ version: isText(reply[0]) ? reply[0] : "", tags: readTags(reply[1]) })
    : Option.none()

/** @internal `channel`: on which events are published. */
export const make = (
  connection: Connection.Connection,
  { channel, events, prefix }: {
    readonly channel: string
    readonly events: Driver["events"]
    readonly prefix: string
  }
): Driver => {
  const keys = keysOf(prefix)

  const conditionOf = (ifVersion: string | null | undefined): readonly [kind: string, version: string] =>
    ifVersion === undefined ? ["any", ""] : ifVersion === null ? ["absent", ""] : ["same", ifVersion]

  /** A version that is gone does not come back, so that its members may leave; if this fails, they end there. */
  const forget = (tags: ReadonlyArray<string>, key: string, version: string): Effect.Effect<void> =>
    Effect.forEach(
      tags,
      (tag) => connection.post(Scripts.forget, keys.tag(tag), keys.mark(tag), version + key),
      { discard: true }
    )

  /**
   * Each member names the version too: of an entry that was written again without the tag, it is not the one. A member whose
   * version is not there stays, since it may be about to be written.
   */
  const removeMember = (tag: string) => (member: string) => {
    const key = member.slice(versionLength)
    const removed = connection.eval(
      "removeByTag",
      Scripts.removeTagged,
      keys.entry(key),
      member.slice(0, versionLength),
      tag
    )
    return Effect.map(Effect.map(removed, readBefore), Option.map(({ tags, version }) => ({ key, tags, version })))
  }

  const nextMembers = (tag: string, from: string, mark: string) =>
    Effect.map(
      connection.eval("removeByTag", Scripts.members, keys.tag(tag), keys.mark(tag), from, mark, makeVersion()),
      (reply) => reply as readonly [mark: string, next: string, members: ReadonlyArray<string>]
    )

  return {
    get: (key) =>
      connection.run("get", "hmget", keys.entry(key), "value", "version").pipe(
        Effect.catchIf(Connection.isWrongType, () => Effect.succeed([])),
        Effect.map((reply) => {
          const [value, version] = Array.isArray(reply) ? reply : []
          return isText(value) && isText(version) ? Option.some({ value, version }) : Option.none()
        })
      ),

    set: (key, value, options) =>
      Effect.gen(function*() {
        const version = makeVersion()
        const timeToLive = wholeMillis(options.timeToLive)
        const tags = [...new Set(options.tags)]
        // Before the entry, else one could be there that its tag does not know.
        yield* Effect.forEach(
          tags,
          (tag) => connection.eval("set", Scripts.index, keys.tag(tag), version + key, `${timeToLive + indexMillis}`),
          { concurrency: "unbounded", discard: true }
        )
        const before = readBefore(
          yield* connection.eval(
            "set",
            Scripts.set,
            keys.entry(key),
            ...conditionOf(options.ifVersion),
            options.fence === undefined ? "" : `${options.fence}`,
            value,
            version,
            tags.length === 0 ? "" : JSON.stringify(tags),
            `${timeToLive}`,
            channel,
            Events.encode({ _tag: "Written", key, version })
          )
        )
        if (Option.isSome(before)) {
          yield* forget(before.value.tags, key, before.value.version)
          return Option.some(version)
        }
        yield* forget(tags, key, version)
        return Option.none()
      }),

    remove: (key, options) =>
      connection.eval(
        "remove",
        Scripts.remove,
        keys.entry(key),
        ...conditionOf(options?.ifVersion),
        channel,
        Events.encode({ _tag: "Removed", key })
      ).pipe(
        Effect.map(readBefore),
        Effect.tap(Option.match({
          onNone: () => Effect.void,
          onSome: ({ tags, version }) => forget(tags, key, version)
        })),
        Effect.map(Option.isSome)
      ),

    removeByTag: (tag) =>
      Effect.gen(function*() {
        let from = "-inf"
        let mark = ""
        do {
          const step = yield* nextMembers(tag, from, mark)
          const removed = yield* Effect.forEach(step[2], removeMember(tag), { concurrency: "unbounded" })
          for (const { key, tags, version } of removed.flatMap(Option.toArray)) {
            // Whoever removes by this tag at the same time need not find what is removed already.
            yield* connection.post(Scripts.drop, keys.tag(tag), version + key)
            yield* forget(tags.filter((other) => other !== tag), key, version)
          }
          mark = step[0]
          from = step[1]
        } while (from !== "")
        yield* connection.run("removeByTag", "publish", channel, Events.encode({ _tag: "TagRemoved", tag }))
      }),

    lock: (key, holder, lease) =>
      connection.eval(
        "lock",
        Scripts.lock,
        keys.lock(key),
        keys.fence(key),
        keys.entry(key),
        holder,
        `${wholeMillis(lease)}`,
        `${Math.max(wholeMillis(lease), fenceMillis)}`
      ).pipe(Effect.map((fence) => Option.map(Option.fromNullable(fence), Number))),

    extend: (key, holder, lease) =>
      Effect.map(
        connection.eval("extend", Scripts.extend, keys.lock(key), holder, `${wholeMillis(lease)}`),
        (extended) => Number(extended) === 1
      ),

    unlock: (key, holder): Effect.Effect<void, TokenStoreError> =>
      Effect.asVoid(connection.eval("unlock", Scripts.unlock, keys.lock(key), holder)),

    events
  }
}
