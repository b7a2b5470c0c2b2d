/**
 * Which access tokens will do: decided here, without any effect.
 */
import * as AccessToken from "@effect-oauth/core/AccessToken"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"

/**
 * @internal What is wanted.
 *
 * - `Good`: one that is not about to end.
 * - `Other`: and not the one that an API has rejected.
 * - `New`: and obtained after this moment, in milliseconds since 1970.
 */
export type Wanted =
  | { readonly _tag: "Good" }
  | { readonly _tag: "Other"; readonly than: AccessToken.AccessToken }
  | { readonly _tag: "New"; readonly after: number }

/** @internal */
export const isAlive = (token: AccessToken.AccessToken, now: number): boolean => AccessToken.expiryMillis(token) > now

/** Obtained further ahead than this, in milliseconds, by a clock that was wrong: so is the end of the token. */
const tolerance = 300_000

/** A token of 10 seconds is not renewed a minute before its end. */
const isFresh = (token: AccessToken.AccessToken, refreshBefore: Duration.Duration, now: number): boolean => {
  const end = AccessToken.expiryMillis(token)
  if (end === Number.POSITIVE_INFINITY) return true
  const obtainedAt = DateTime.toEpochMillis(token.obtainedAt)
  if (obtainedAt > now + tolerance) return false
  const life = end - obtainedAt
  return end - now > Math.min(Duration.toMillis(refreshBefore), life / 10)
}

/** @internal */
export const willDo = (
  token: AccessToken.AccessToken,
  wanted: Wanted,
  refreshBefore: Duration.Duration,
  now: number
): boolean => {
  if (!isFresh(token, refreshBefore, now)) return false
  switch (wanted._tag) {
    case "Good":
      return true
    case "Other":
      return !AccessToken.isSame(token, wanted.than)
    case "New":
      return DateTime.toEpochMillis(token.obtainedAt) > wanted.after
  }
}
