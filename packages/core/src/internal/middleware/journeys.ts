/**
 * Executions that were redirected. `followRedirects` keeps the headers object of a request from hop to hop, so that object,
 * made anew for each execution, is what an execution is known by.
 */
import type * as Headers from "@effect/platform/Headers"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type { AccessToken } from "../../AccessToken.ts"
import type { OriginNotAllowed } from "../../OAuthError.ts"
import { beyond, originOf } from "./destination.ts"

type Request = HttpClientRequest.HttpClientRequest

interface Journey {
  readonly home: string
  /** Where the token that was sent may go, if it says so. */
  readonly allowedOrigins: ReadonlyArray<string> | undefined
  away: boolean
}

/** @internal The request with a headers object of its own: many requests share one, that of no headers above all. */
export const withOwnHeaders = (request: Request): Request => {
  const own = HttpClientRequest.setMethod(request, request.method) as { headers: Headers.Headers } & Request
  own.headers = Object.assign(Object.create(Object.getPrototypeOf(request.headers)), request.headers)
  return own
}

/** @internal */
export interface Journeys {
  /** Whether a redirect has led this execution away from the origin it began at. There is no way back from there. */
  readonly isAway: (request: Request) => boolean
  /** Why an execution that was led away must not go on, not even without a token. */
  readonly refusalOf: (request: Request) => OriginNotAllowed | undefined
  readonly note: (
    request: Request,
    response: HttpClientResponse.HttpClientResponse,
    token: AccessToken | undefined
  ) => void
}

/** @internal */
export const make = (): Journeys => {
  const journeys = new WeakMap<Headers.Headers, Journey>()
  // The hot path looks nothing up as long as there was no redirect.
  let redirected = false
  return {
    isAway: (request) => {
      const journey = redirected ? journeys.get(request.headers) : undefined
      if (journey === undefined) return false
      journey.away ||= originOf(request.url) !== journey.home
      return journey.away
    },
    refusalOf: (request) => beyond(journeys.get(request.headers)?.allowedOrigins, request.url),
    note: (request, response, token) => {
      if (response.status < 300 || response.status >= 400 || journeys.has(request.headers)) return
      redirected = true
      journeys.set(request.headers, { home: originOf(request.url), allowedOrigins: token?.allowedOrigins, away: false })
    }
  }
}
