/**
 * What an error answer to a refresh means for the sign-in (RFC 6749 section 5.2, OpenID Connect Core 1.0 section 3.1.2.6,
 * RFC 8707 section 2, RFC 9449 section 5).
 */
import type { TokenRequestInvalid } from "@effect-oauth/core/OAuthError"
import type { ExchangeError } from "@effect-oauth/core/TokenEndpoint"

/** @internal */
export type RequestError = ExchangeError | TokenRequestInvalid

/**
 * @internal
 *
 * - `Dead`: the refresh token is worth nothing any more.
 * - `SignIn`: the server wants the user, or did not say what is wrong; the refresh token may still be good.
 * - `Later`: the same request may succeed later.
 * - `Misconfigured`: it will not, until a registration or a parameter is changed.
 */
export type Verdict = "Dead" | "SignIn" | "Later" | "Misconfigured"

const wantsUser: ReadonlySet<string> = new Set([
  "interaction_required",
  "login_required",
  "consent_required",
  "account_selection_required",
  "unmet_authentication_requirements",
  "insufficient_user_authentication",
  "access_denied",
  // Some servers answer with these in place of invalid_grant; a proxy or a gateway may, too, so nothing is cleared.
  "expired_token",
  "invalid_token"
])

/** @internal */
export const verdictOf = (error: RequestError): Verdict => {
  if (error._tag === "TokenEndpointError") {
    if (error.error === "invalid_grant") return "Dead"
    if (wantsUser.has(error.error)) return "SignIn"
  }
  if (error.retryable) return "Later"
  // Servers that revoke a refresh token, and proxies that have lost one, answer so without a body.
  const isBare = error._tag === "TokenResponseInvalid" && (error.status === 400 || error.status === 401)
  return isBare ? "SignIn" : "Misconfigured"
}
