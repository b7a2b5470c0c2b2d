/**
 * An access token as a program holds it. It prints safely everywhere: its secret is `Redacted`.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { TokenType } from "./OAuthValues.ts"

/**
 * An access token (RFC 6749 section 1.4).
 *
 * - `obtainedAt`: when its request was sent; its lifetime counts from here.
 * - `expiresAt`: absent for a token that never expires.
 * - `scope`: what the server granted, where it said so.
 * - `allowedOrigins`: where it may be sent, for a token of `TokenRetriever.byOrigin`. Absent for one that is bound to no origin.
 * - `keyThumbprint`: of the key that a DPoP token is bound to (RFC 9449 section 6.1), SHA-256, base64url.
 *
 * @since 0.1.0
 * @category models
 */
export class AccessToken extends Schema.Class<AccessToken>("@effect-oauth/core/AccessToken")({
  value: Schema.Redacted(Schema.String),
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
