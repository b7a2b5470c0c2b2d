/**
 * What an API repeats of the token that it was sent, as far as it is printed: an answer, the error that comes of it, the span
 * of its request.
 */
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { AccessToken } from "../../AccessToken.ts"
import * as UntrustedText from "../../UntrustedText.ts"

/** @internal The text without the token. */
export const redact = (text: string, token: AccessToken | undefined): string =>
  token === undefined ? text : UntrustedText.redact(text, [Redacted.value(token.value)])

/** @internal The same of all texts in a value that is about to be printed. */
export const redactAll = (value: unknown, token: AccessToken | undefined, depth = 0): unknown => {
  if (typeof value === "string") return redact(value, token)
  if (depth > 20) return undefined
  if (Array.isArray(value)) return value.map((one: unknown) => redactAll(one, token, depth + 1))
  return Predicate.isRecord(value) && !Redacted.isRedacted(value)
    ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, redactAll(one, token, depth + 1)]))
    : value
}

/** @internal What a body could not be read for: `JSON.parse` quotes it. */
export const withoutToken = (cause: unknown, token: AccessToken | undefined): unknown => {
  if (!(cause instanceof Error)) return cause
  const message = redact(cause.message, token)
  if (message === cause.message) return cause
  const error = new Error(message)
  error.name = cause.name
  return error
}
