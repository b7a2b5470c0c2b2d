/**
 * An access token that an API has been called with, after it was checked, see `AccessTokenVerifier`.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as DateTime from "effect/DateTime"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/**
 * An access token that is good, and what is said of it. It holds no token and prints safely.
 *
 * - `issuer`: who gave it; absent only where introspection does not say and its client has no issuer.
 * - `sub`: whom it stands for; a user, or for a client's own token often the client. Unique for its issuer only.
 * - `scope`: what it allows, one by one.
 * - `acr`, `authTime`: how and when its user has signed in (RFC 9068 section 2.2.1).
 * - `keyThumbprint`, `certificateThumbprint`: of what it is bound to (RFC 9449 section 6.1, RFC 8705 section 3.1). A token
 *   that has one is no good without the other end of that: `ResourceServer` checks it.
 * - `claims`: all that is said of it, redacted as a whole, since nobody knows what else is among it.
 *
 * @since 0.1.0
 * @category models
 */
export class VerifiedToken extends Data.Class<{
  readonly issuer: string | undefined
  readonly sub: string | undefined
  readonly clientId: string | undefined
  readonly scope: ReadonlyArray<string>
  readonly audience: ReadonlyArray<string>
  readonly expiresAt: DateTime.Utc | undefined
  readonly acr: string | undefined
  readonly authTime: DateTime.Utc | undefined
  readonly keyThumbprint: string | undefined
  readonly certificateThumbprint: string | undefined
  readonly claims: Redacted.Redacted<Readonly<Record<string, unknown>>>
}> {}

/**
 * Why a token was refused.
 *
 * - `foreign`: not of any server that is asked here: another issuer, or no JWT where only those are known.
 * - `inactive`: the server says so (RFC 7662 section 2.2).
 * - `form`, `algorithm`, `type`, `key`, `signature`: see `OAuthError.JwtInvalid`. A JWT of another `typ` than `at+jwt`, an ID
 *   token for instance, is a `type`.
 * - `claims`, `issuer`, `audience`, `expired`, `notYet`: a claim is missing or of another type, or not as it has to be.
 * - `binding`: bound to something that cannot be checked here.
 *
 * @since 0.1.0
 * @category models
 */
export const Reason = Schema.Literal(
  "foreign",
  "inactive",
  "form",
  "algorithm",
  "type",
  "key",
  "signature",
  "claims",
  "issuer",
  "audience",
  "expired",
  "notYet",
  "binding"
)

/**
 * @since 0.1.0
 * @category models
 */
export type Reason = typeof Reason.Type

/**
 * The token is not good. `problem` is a sentence that quotes nothing of it.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenRefused extends Schema.TaggedError<TokenRefused>("@effect-oauth/core/TokenRefused")("TokenRefused", {
  reason: Reason,
  problem: Schema.String
}) {
  override get message(): string {
    return `this access token is refused: ${this.problem}`
  }
}

/**
 * Nobody can say whether the token is good: the server that knows, or its keys, could not be had. `cause` is the tag of the
 * error, whose text is in the log.
 *
 * @since 0.1.0
 * @category errors
 */
export class VerificationUnavailable
  extends Schema.TaggedError<VerificationUnavailable>("@effect-oauth/core/VerificationUnavailable")(
    "VerificationUnavailable",
    { cause: Schema.String, retryAfter: Schema.optional(Schema.DurationFromMillis) }
  )
{
  override get message(): string {
    return `whether this access token is good is not known at the moment: ${this.cause}`
  }
}
