/**
 * A token on a request.
 */
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Redacted from "effect/Redacted"
import type { AccessToken } from "../AccessToken.ts"

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
