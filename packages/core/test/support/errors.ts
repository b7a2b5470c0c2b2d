import { OAuthError } from "@effect-oauth/core"
import { Duration } from "effect"

const from = { clientName: "worker", endpoint: "https://as.test/token" }

/** One error of each kind. */
export const every: ReadonlyArray<OAuthError.AccessTokenError> = [
  new OAuthError.TokenEndpointError({
    ...from,
    status: 400,
    error: "invalid_scope",
    errorDescription: "no such scope"
  }),
  new OAuthError.TokenEndpointError({ ...from, status: 503, error: "x", retryAfter: Duration.seconds(3) }),
  new OAuthError.TokenResponseInvalid({ ...from, status: 200, problem: "its body is empty" }),
  new OAuthError.TokenTransportError({ ...from, reason: "Connection", code: "ECONNREFUSED" }),
  new OAuthError.TokenTransportError({ ...from, reason: "Connection", code: "CERT_HAS_EXPIRED" }),
  new OAuthError.TokenTransportError({ ...from, reason: "BodyIncomplete" }),
  new OAuthError.DiscoveryError({ ...from, issuer: "https://as.test", problem: "it answered 404", retryable: false }),
  new OAuthError.TokenClientInvalid({ problems: [{ client: "worker", field: "scope", problem: "expected a scope" }] }),
  new OAuthError.TokenClientNotFound({ clientName: "x", known: ["a", "b"] }),
  new OAuthError.TokenClientUnavailable({ clientName: "x", cause: "DatabaseDown" }),
  new OAuthError.TokenRequestInvalid({ clientName: "worker", field: "scope", problem: "expected a scope" }),
  new OAuthError.OriginNotAllowed({ origin: "http://api.test", problem: "expected an https: URL" }),
  new OAuthError.TokenTypeMismatch({ ...from, status: 200, expected: "DPoP", found: "Bearer" }),
  new OAuthError.KeyBindingMismatch({ clientName: "worker", binding: "key", expected: "a", found: "b" }),
  new OAuthError.CredentialUnavailable({ clientName: "worker", credential: "assertion", problem: "Broken" }),
  new OAuthError.TokenCacheClosed({ clientName: "worker" })
]
