/**
 * The steps of a store on its tables.
 */
import type { Driver } from "@effect-oauth/core/TokenStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RandomPool from "../randomPool.ts"
import * as Payload from "./pgPayload.ts"
import type { Run } from "./pgRun.ts"
import type { Statements } from "./pgTables.ts"
import { escape, indexed, unescape } from "./pgText.ts"

const longestMillis = Duration.toMillis(Duration.days(36_500))

/** What lasts longer than a century would not be a time of Postgres. */
const millis = (duration: Duration.Duration): number => Math.min(Duration.toMillis(duration), longestMillis)

const stored = ([value, version]: ReadonlyArray<unknown>) => {
  const text = typeof value === "string" ? unescape(value) : undefined
  return text === undefined || typeof version !== "string" ? Option.none() : Option.some({ value: text, version })
}

const returned = (rows: ReadonlyArray<unknown>): boolean => rows.length > 0

/** @internal */
export const make = (run: Run, sql: Statements, channel: string): Omit<Driver, "events"> => {
  const random = RandomPool.make()
  return {
    get: (key) =>
      Effect.map(run("get", sql.get, [indexed(key)]), ([row]) => row === undefined ? Option.none() : stored(row)),

    set: (key, value, { fence, ifVersion, tags = [], timeToLive }) =>
      Effect.suspend(() => {
        const version = random(16).toString("base64url")
        const parameters = [
          indexed(key),
          escape(value),
          version,
          fence ?? null,
          tags.map(indexed),
          millis(timeToLive),
          channel,
          Payload.encode({ _tag: "Written", key, version })
        ]
        const written = typeof ifVersion === "string"
          ? run("set", sql.setIfVersion, [...parameters, ifVersion])
          : run("set", ifVersion === null ? sql.setIfNone : sql.set, parameters)
        return Effect.map(written, (rows) => returned(rows) ? Option.some(version) : Option.none())
      }),

    remove: (key, options) =>
      Effect.map(
        run("remove", sql.remove, [
          indexed(key),
          options?.ifVersion ?? null,
          channel,
          Payload.encode({ _tag: "Removed", key })
        ]),
        ([row]) => Number(row?.[0]) > 0
      ),

    removeByTag: (tag) =>
      Effect.asVoid(
        run("removeByTag", sql.removeByTag, [indexed(tag), channel, Payload.encode({ _tag: "TagRemoved", tag })])
      ),

    lock: (key, holder, lease) =>
      Effect.map(
        run("lock", sql.lock, [indexed(key), escape(holder), millis(lease)]),
        ([row]) => row === undefined ? Option.none() : Option.some(Number(row[0]))
      ),

    extend: (key, holder, lease) =>
      Effect.map(run("extend", sql.extend, [indexed(key), escape(holder), millis(lease)]), returned),

    unlock: (key, holder) => Effect.asVoid(run("unlock", sql.unlock, [indexed(key), escape(holder)]))
  }
}
