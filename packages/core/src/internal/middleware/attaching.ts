/**
 * A token on a request, and the proof that a bound token needs.
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { AccessToken } from "../../AccessToken.ts"
import { type CredentialUnavailable, KeyBindingMismatch } from "../../OAuthError.ts"
import { possessionOf } from "../dpop/possession.ts"
import type { Healing } from "../dpop/proving.ts"
import { thumbprint } from "../wire/fields.ts"

/** The header of a token, put together once: a token is used many times. */
const headers = new WeakMap<AccessToken, string>()

const authorizationOf = (token: AccessToken): string => {
  const known = headers.get(token)
  if (known !== undefined) return known
  const header = `${token.type} ${Redacted.value(token.value)}`
  headers.set(token, header)
  return header
}

/** @internal Whether what a retriever gave, which may be anybody's, is a token. */
export const isToken = (value: unknown): value is AccessToken =>
  Predicate.isObject(value) && "value" in value && Redacted.isRedacted(value.value) && "type" in value &&
  typeof value.type === "string"

/** @internal Whether a token is sent with proofs of possession (RFC 9449 section 7.1). */
export const isBound = (token: AccessToken): boolean => token.type === "DPoP"

/** @internal A token that is sent as it is. */
export const authorize = (
  request: HttpClientRequest.HttpClientRequest,
  token: AccessToken
): HttpClientRequest.HttpClientRequest => HttpClientRequest.setHeader(request, "authorization", authorizationOf(token))

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
    (proof) => HttpClientRequest.setHeaders(request, { authorization: authorizationOf(token), dpop: proof })
  )
}
