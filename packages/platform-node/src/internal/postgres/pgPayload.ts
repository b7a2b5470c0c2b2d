/**
 * Events as the payload of a notification.
 */
import * as StrictJson from "@effect-oauth/core/StrictJson"
import type { TokenStoreEvent } from "@effect-oauth/core/TokenStore"
import { gap } from "@effect-oauth/core/TokenStoreEvents"
import * as Either from "effect/Either"

/** @internal Says nothing but that notifications arrive. */
export const probe = JSON.stringify(["p"])

/** Postgres takes less than 8000 bytes. */
const longest = 7999

const fieldsOf = (event: TokenStoreEvent): ReadonlyArray<string> => {
  switch (event._tag) {
    case "Written":
      return ["w", event.key, event.version]
    case "Removed":
      return ["r", event.key]
    case "TagRemoved":
      return ["t", event.tag]
    case "Gap":
      return ["g"]
  }
}

/** @internal Of a key that is too long to be told, others hear that something has happened. */
export const encode = (event: TokenStoreEvent): string => {
  const payload = JSON.stringify(fieldsOf(event))
  return Buffer.byteLength(payload) <= longest ? payload : JSON.stringify(fieldsOf(gap))
}

const fields = (payload: string): ReadonlyArray<unknown> => {
  const read = Either.getOrUndefined(StrictJson.parse(payload))
  return Array.isArray(read) ? read : []
}

/** @internal `undefined` for what is no event. What cannot be read may have been anything. */
export const decode = (payload: string): TokenStoreEvent | undefined => {
  if (payload === probe) return undefined
  const [what, name, version] = fields(payload)
  if (typeof name !== "string") return gap
  if (what === "w" && typeof version === "string") return { _tag: "Written", key: name, version }
  if (what === "r") return { _tag: "Removed", key: name }
  return what === "t" ? { _tag: "TagRemoved", tag: name } : gap
}
