/**
 * A token on a request.
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { AccessToken } from "../AccessToken.ts"
import { OriginNotAllowed } from "../OAuthError.ts"
import { insecure } from "./url.ts"

/** The header of a token, put together once: a token is used many times. */
const headers = new WeakMap<AccessToken, string>()

const authorizationOf = (token: AccessToken): string => {
  const known = headers.get(token)
  if (known !== undefined) return known
  const header = `${token.type} ${Redacted.value(token.value)}`
  headers.set(token, header)
  return header
}

/** @internal */
export const authorize = (
  request: HttpClientRequest.HttpClientRequest,
  token: AccessToken
): HttpClientRequest.HttpClientRequest => HttpClientRequest.setHeader(request, "authorization", authorizationOf(token))

/** @internal Why no token may be sent to this URL. One that is relative is its client's own affair. */
export const refusalOf = (
  url: string,
  allowInsecure: boolean
): OriginNotAllowed | undefined => {
  if (url.startsWith("https://") || !URL.canParse(url)) return undefined
  const target = new URL(url)
  const problem = insecure(target, allowInsecure)
  return problem === undefined ? undefined : new OriginNotAllowed({ origin: originOf(target), problem })
}

/** @internal `URL.origin` is "null" for schemes that the web does not know. */
export const originOf = (url: URL): string => `${url.protocol}//${url.host}`

/** @internal */
export const attach = (token: AccessToken, options?: { readonly allowInsecure?: boolean | undefined }) =>
(
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientRequest.HttpClientRequest, OriginNotAllowed> =>
  Effect.suspend(() => {
    const refusal = refusalOf(request.url, options?.allowInsecure === true)
    return refusal === undefined ? Effect.succeed(authorize(request, token)) : Effect.fail(refusal)
  })
