/**
 * An access token as a program holds it. It prints safely everywhere: its secret is `Redacted`.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { isTokenType, TokenType } from "./OAuthValues.ts"

/** @internal What a header can carry, of which b64token is a part (RFC 6750 section 2.1). */
export const isVisible = (value: string): boolean => /^[\x21-\x7e]+$/.test(value)

/** @internal */
export const expectedValue = "visible ASCII characters (RFC 6750 section 2.1)"

const Value = Schema.String.pipe(Schema.filter((value) => isVisible(value))).annotations({
  message: () => ({ message: `expected ${expectedValue}`, override: true })
})

/**
 * An access token (RFC 6749 section 1.4).
 *
 * - `value`: visible ASCII characters (RFC 6750 section 2.1).
 * - `obtainedAt`: when its request was sent; its lifetime counts from here.
 * - `expiresAt`: absent for a token that never expires.
 * - `scope`: what the server granted, where it said so (RFC 6749 section 5.1). An array of scopes, as some servers write it, is
 *   read as one text; anything else that is not a text counts as absent.
 * - `allowedOrigins`: where it may be sent, for a token of `TokenRetriever.byOrigin`. Absent for one that is bound to no origin.
 * - `keyThumbprint`: of the key that a DPoP token is bound to (RFC 9449 section 6.1), SHA-256, base64url.
 *
 * @since 0.1.0
 * @category models
 */
export class AccessToken extends Schema.Class<AccessToken>("@effect-oauth/core/AccessToken")({
  value: Schema.Redacted(Value),
  type: TokenType,
  clientName: Schema.String,
  scope: Schema.optional(Schema.String),
  obtainedAt: Schema.DateTimeUtcFromNumber,
  expiresAt: Schema.optional(Schema.DateTimeUtcFromNumber),
  keyThumbprint: Schema.optional(Schema.String),
  allowedOrigins: Schema.optional(Schema.Array(Schema.String))
}) {}

/**
 * When the token ends, in milliseconds since 1970; `Infinity` for one that never does.
 *
 * @since 0.1.0
 * @category accessors
 */
export const expiryMillis = (token: AccessToken): number =>
  token.expiresAt === undefined ? Number.POSITIVE_INFINITY : DateTime.toEpochMillis(token.expiresAt)

/**
 * Whether two tokens are the same secret.
 *
 * @since 0.1.0
 * @category comparisons
 */
export const isSame = (self: AccessToken, that: AccessToken): boolean =>
  self === that || Redacted.value(self.value) === Redacted.value(that.value)

/** Put together once: a token is used many times. */
const headers = new WeakMap<AccessToken, string>()

/**
 * @internal The value of its `Authorization` header; `undefined` where no header can carry it, which a token that was not made
 * by the constructor may be.
 */
export const authorizationOf = (token: AccessToken): string | undefined => {
  const known = headers.get(token)
  if (known !== undefined) return known
  const value = Redacted.value(token.value)
  if (typeof value !== "string" || !isVisible(value) || !isTokenType(token.type)) return undefined
  const header = `${token.type} ${value}`
  headers.set(token, header)
  return header
}
