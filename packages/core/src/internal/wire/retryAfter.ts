import * as Duration from "effect/Duration"

/** @internal `Retry-After`: seconds, or a date (RFC 9110 section 10.2.3). Anything else counts as absent. */
export const parseRetryAfter = (value: string | undefined, now: number): Duration.Duration | undefined => {
  if (value === undefined) return undefined
  const text = value.trim()
  if (/^\d{1,9}$/.test(text)) return Duration.seconds(Number(text))
  const date = /^[A-Z][a-z]{2},? /.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : Duration.millis(Math.max(0, date - now))
}
