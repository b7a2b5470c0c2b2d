/**
 * A token on a request, and the proof that a bound token needs.
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { type AccessToken, authorizationOf, expectedValue } from "../../AccessToken.ts"
import { CredentialUnavailable, KeyBindingMismatch } from "../../OAuthError.ts"
import { possessionOf } from "../dpop/possession.ts"
import type { Healing } from "../dpop/proving.ts"
import { thumbprint } from "../wire/fields.ts"

/** @internal Whether what a retriever gave, which may be anybody's, is a token. */
export const isToken = (value: unknown): value is AccessToken =>
  Predicate.isObject(value) && "value" in value && Redacted.isRedacted(value.value) && "type" in value &&
  typeof value.type === "string"

/** @internal Why a token of somebody else's cannot be sent. */
export const unsendable = (token: AccessToken): CredentialUnavailable | undefined =>
  authorizationOf(token) === undefined
    ? new CredentialUnavailable({
      clientName: "",
      credential: "token",
      problem: `the retriever gave a token that no header can carry, expected ${expectedValue}`
    })
    : undefined

/** @internal Whether a token is sent with proofs of possession (RFC 9449 section 7.1). */
export const isBound = (token: AccessToken): boolean => token.type === "DPoP"

/** @internal A token that is sent as it is. It is known to be sendable. */
export const authorize = (
  request: HttpClientRequest.HttpClientRequest,
  token: AccessToken
): HttpClientRequest.HttpClientRequest => HttpClientRequest.setHeader(request, "authorization", authorizationOf(token)!)

/** @internal A bound token, with a proof for this request. */
export const prove = (
  request: HttpClientRequest.HttpClientRequest,
  token: AccessToken,
  healing: Healing,
  claims: Readonly<Record<string, unknown>> | undefined
): Effect.Effect<HttpClientRequest.HttpClientRequest, KeyBindingMismatch | CredentialUnavailable> => {
  const possession = possessionOf(token)
  if (possession === undefined) {
    const { clientName, keyThumbprint } = token
    return Effect.fail(new KeyBindingMismatch({ clientName, binding: "key", found: thumbprint(keyThumbprint) }))
  }
  const { key, proving } = possession
  const { clientName, value: accessToken } = token
  const subject = { clientName, key, method: request.method, url: request.url, accessToken, claims }
  return Effect.map(
    proving.prove(subject, healing),
    (proof) => HttpClientRequest.setHeaders(request, { authorization: authorizationOf(token)!, dpop: proof })
  )
}
