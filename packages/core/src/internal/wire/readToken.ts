/**
 * A token out of the answer of a server: what it says, and whether it is bound to what we have.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import { AccessToken, expectedValue, isVisible } from "../../AccessToken.ts"
import { KeyBindingMismatch, TokenResponseInvalid, TokenTypeMismatch } from "../../OAuthError.ts"
import * as OAuthValues from "../../OAuthValues.ts"
import type { SigningKey } from "../../SigningKey.ts"
import type { TokenClient } from "../../TokenClient.ts"
import type { TokenResponse } from "../../TokenEndpoint.ts"
import { exchangeGrantType } from "../../TokenGrant.ts"
import * as UntrustedText from "../../UntrustedText.ts"
import { confirmationOf } from "./confirmation.ts"
import type { Answer } from "./exchange.ts"
import * as Fields from "./fields.ts"
import { notApplicable } from "./notApplicable.ts"
import { type From, jsonObject, lifetime, refusal } from "./tokenResponse.ts"

/** @internal What a token is expected to be bound to. */
export interface Binding {
  /** The `grant_type` that was sent. */
  readonly grantType: string
  readonly key: SigningKey | undefined
  readonly certificate: string | undefined
}

const maxScopeLength = 8192

/** A token that is bound to something else could be used by whoever has that, and not by us. */
const bindingProblem = (
  token: { readonly value: string; readonly type: string },
  { certificate, grantType, key }: Binding,
  client: TokenClient,
  from: From & { readonly status: number }
): TokenTypeMismatch | KeyBindingMismatch | undefined => {
  const { clientName, endpoint, status } = from
  // Not an access token, and used in no way that could be proven (RFC 8693 section 2.2.1).
  const isNotApplicable = token.type === notApplicable
  if (isNotApplicable && grantType === exchangeGrantType) return undefined
  const isBound = token.type === "DPoP"
  if (isNotApplicable || (isBound !== (key !== undefined) && !(key !== undefined && client.allowDowngrade))) {
    const expected = key === undefined ? "Bearer" : "DPoP"
    return new TokenTypeMismatch({ clientName, endpoint, status, expected, found: Fields.tokenType(token.type) })
  }
  if (!isBound && certificate === undefined) return undefined
  const found = confirmationOf(token.value)
  if (isBound && found.jkt !== undefined && found.jkt !== key?.thumbprint) {
    return new KeyBindingMismatch({
      clientName,
      binding: "key",
      expected: key?.thumbprint,
      found: Fields.thumbprint(found.jkt)
    })
  }
  if (certificate !== undefined && found.certificate !== undefined && found.certificate !== certificate) {
    return new KeyBindingMismatch({
      clientName,
      binding: "certificate",
      expected: certificate,
      found: Fields.thumbprint(found.certificate)
    })
  }
  return undefined
}

/** Some servers write an array of scopes in place of one text (RFC 6749 section 3.3). */
const scopeOf = (scope: unknown): string | undefined => {
  if (!Array.isArray(scope)) return typeof scope === "string" ? scope : undefined
  const text = scope.every((item) => typeof item === "string") ? scope.join(" ") : ""
  return OAuthValues.isScope(text) ? text : undefined
}

const shownScope = (value: unknown, secrets: ReadonlyArray<string>): string | undefined => {
  const scope = scopeOf(value)
  return scope === undefined ? undefined : UntrustedText.show(scope, { secrets, maxLength: maxScopeLength })
}

/** @internal */
export const readToken = (
  answer: Answer,
  client: TokenClient,
  binding: Binding,
  from: From
): TokenResponse | ReturnType<typeof refusal> | TokenTypeMismatch | KeyBindingMismatch => {
  const json = jsonObject(answer.body)
  const isResult = typeof json !== "string" && answer.status >= 200 && answer.status < 300 &&
    json.access_token !== undefined
  if (!isResult) return refusal(answer, json, from)
  const invalid = (problem: string) =>
    new TokenResponseInvalid({ clientName: from.clientName, endpoint: from.endpoint, status: answer.status, problem })
  const { access_token: value, token_type: type = "Bearer" } = json
  if (typeof value !== "string" || !isVisible(value)) {
    return invalid(`its access_token is unusable, expected ${expectedValue}`)
  }
  if (Fields.isTokenType(OAuthValues.normalizeTokenType(value))) {
    return invalid("its access_token is the name of a token type: are the two fields in each other's place?")
  }
  const tokenType = typeof type === "string" ? OAuthValues.normalizeTokenType(type) : ""
  if (!OAuthValues.isTokenType(tokenType)) return invalid("its token_type is not a scheme (RFC 6749 section 7.1)")
  const problem = bindingProblem({ value, type: tokenType }, binding, client, { ...from, status: answer.status })
  if (problem !== undefined) return problem
  const life = lifetime(json.expires_in, client.defaultLifetime)
  const secret = (field: unknown) => typeof field === "string" && field !== "" ? Redacted.make(field) : undefined
  return {
    accessToken: new AccessToken({
      value: Redacted.make(value),
      type: tokenType,
      clientName: client.name,
      scope: shownScope(json.scope, [value, ...from.secrets()]),
      obtainedAt: DateTime.unsafeMake(answer.sentAt),
      expiresAt: Duration.isFinite(life) ? DateTime.unsafeMake(answer.sentAt + Duration.toMillis(life)) : undefined,
      keyThumbprint: tokenType === "DPoP" ? binding.key?.thumbprint : undefined
    }),
    refreshToken: secret(json.refresh_token),
    idToken: secret(json.id_token),
    issuedTokenType: Fields.uri(json.issued_token_type),
    raw: Redacted.make(json)
  }
}
