/**
 * The middleware's inside: a token on every attempt of a call, never for another origin, and one healing of a 401.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import type * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { type AccessToken, expiryMillis, isSame } from "../AccessToken.ts"
import type { Middleware, Options, RequestOptions } from "../AccessTokenHttpClient.ts"
import { OriginNotAllowed } from "../OAuthError.ts"
import * as OAuthMetrics from "../OAuthMetrics.ts"
import type { RequestContext, TokenRetriever } from "../TokenRetriever.ts"
import * as WwwAuthenticate from "../WwwAuthenticate.ts"
import { authorize, originOf, refusalOf } from "./attaching.ts"
import { bareError, bareResponse } from "./bareResponse.ts"
import { currentTimeMillis } from "./clock.ts"
import { isKnown } from "./known.ts"
import { parts } from "./perAttempt.ts"
import { drained, isReplayable } from "./replay.ts"
import { isOrigin } from "./url.ts"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse

/** @internal */
export class CurrentRequestOptions
  extends Context.Reference<CurrentRequestOptions>()("@effect-oauth/core/AccessTokenHttpClient/RequestOptions", {
    defaultValue: (): RequestOptions => ({})
  })
{}

/** @internal */
export const retryUnauthorized = (response: Response): boolean =>
  response.status === 401 && WwwAuthenticate.withError(response, "insufficient_user_authentication") === undefined

const originsOf = (allowed: ReadonlyArray<string>): ReadonlySet<string> =>
  new Set(allowed.map((origin, index) => {
    if (isOrigin(origin)) return new URL(origin).origin
    throw new TypeError(`allowedOrigins[${index}]: expected an origin such as https://api.example.com, without path`)
  }))

/** The error of an inner `filterStatusOk`, with the answer in the form in which it can still be read. */
const withResponse = <E>(error: E & HttpClientError.ResponseError, response: Response): E =>
  new HttpClientError.ResponseError({ ...error, response }) as E & HttpClientError.ResponseError

const withoutFetchRedirects = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  fiber: Fiber.RuntimeFiber<unknown, unknown>
): Effect.Effect<A, E, R> => {
  const init: globalThis.RequestInit | undefined = fiber.currentContext.unsafeMap.get(FetchHttpClient.RequestInit.key)
  return Effect.provideService(effect, FetchHttpClient.RequestInit, { ...init, redirect: "manual" })
}

/** What is known of one execution, which has a headers object of its own that a redirect's next hop keeps. */
interface Journey {
  readonly home: string
  away: boolean
}

/** One call: what its attempts sent. */
interface Call {
  readonly options: RequestOptions | undefined
  /** The request of the last attempt, as it was before the token. */
  request: Request | undefined
  token: AccessToken | undefined
  /** The token that a renewal gave for the second sending. */
  renewed: AccessToken | undefined
}

/** What leaves the middleware has forgotten the token. */
const bare = (response: Response, { request }: Call): Response =>
  request === undefined ? response : bareResponse(response, request)

const bareFailure = <E>(error: E, { request }: Call): E => request === undefined ? error : bareError(error, request)

/** The request with a headers object of its own: many requests share one, that of no headers above all. */
const withOwnHeaders = (request: Request): Request => {
  const own = HttpClientRequest.setMethod(request, request.method) as { headers: Headers.Headers } & Request
  own.headers = Object.assign(Object.create(Object.getPrototypeOf(request.headers)), request.headers)
  return own
}

const contextOf = (
  request: Request,
  options: RequestOptions | undefined,
  rejected: AccessToken | undefined
): RequestContext => ({
  method: request.method,
  url: request.urlParams.length === 0 ? request.url : `${request.url}?${UrlParams.toString(request.urlParams)}`,
  headers: request.headers,
  forceRenewal: rejected !== undefined || options?.forceRenewal === true,
  parameters: options?.parameters,
  rejected
})

/** @internal */
export const make = <E2, R2>(
  retriever: TokenRetriever<E2, R2>,
  options: Options = {}
): Middleware<E2 | OriginNotAllowed, R2> => {
  const allowInsecure = options.allowInsecure === true
  const allowed = options.allowedOrigins === undefined ? undefined : originsOf(options.allowedOrigins)
  const isHealable = options.retryUnauthorized ?? retryUnauthorized
  const sendWithout = options.onTokenFailure === "sendWithout"

  /** Executions that a redirect has sent on; the hot path asks only if there was one. */
  const journeys = new WeakMap<Headers.Headers, Journey>()
  let redirected = false

  const refusal = (url: string): OriginNotAllowed | undefined => {
    if (allowed !== undefined) {
      const origin = URL.canParse(url) ? new URL(url).origin : url
      if (!allowed.has(origin)) {
        return new OriginNotAllowed({ origin, problem: `allowedOrigins are ${[...allowed].join(", ")}` })
      }
    }
    return refusalOf(url, allowInsecure)
  }

  /** Whether a redirect has led this execution away from the origin it began at. There is no way back from there. */
  const isAway = (request: Request): boolean => {
    const journey = redirected ? journeys.get(request.headers) : undefined
    if (journey === undefined) return false
    journey.away ||= !URL.canParse(request.url) || originOf(new URL(request.url)) !== journey.home
    return journey.away
  }

  const noteRedirect = (request: Request, response: Response): void => {
    if (response.status < 300 || response.status >= 400 || journeys.has(request.headers)) return
    redirected = true
    journeys.set(request.headers, {
      home: URL.canParse(request.url) ? originOf(new URL(request.url)) : "",
      away: false
    })
  }

  const authorized = (
    request: Request,
    token: AccessToken,
    call: Call,
    fiber: Fiber.RuntimeFiber<unknown, unknown>
  ) => {
    call.token = token
    OAuthMetrics.count(OAuthMetrics.used)
    if (token.expiresAt !== undefined) {
      OAuthMetrics.observe(OAuthMetrics.secondsToExpiry, (expiryMillis(token) - currentTimeMillis(fiber)) / 1000)
    }
    return authorize(request, token)
  }

  /** What every attempt passes. */
  const prepare = (
    request: Request,
    call: Call,
    fiber: Fiber.RuntimeFiber<unknown, unknown>
  ): Effect.Effect<Request, E2 | OriginNotAllowed, R2> => {
    call.request = request
    call.token = undefined
    const refused = refusal(request.url)
    if (refused !== undefined) return Effect.fail(refused)
    if (isAway(request)) return Effect.succeed(request)
    if (call.renewed !== undefined) return Effect.succeed(authorized(request, call.renewed, call, fiber))
    const token = Effect.map(
      retriever(contextOf(request, call.options, undefined)),
      (token) => authorized(request, token, call, fiber)
    )
    return sendWithout ? Effect.catchAll(token, () => Effect.succeed(request)) : token
  }

  /** The answer to the request with another token, or `otherwise` where there is none. */
  const heal = <E, R>(
    response: Response,
    call: Call,
    sendAgain: () => Effect.Effect<Response, E, R>,
    otherwise: (response: Response) => Effect.Effect<Response, E, R>
  ): Effect.Effect<Response, E, R | R2> => {
    const { renewed, request, token } = call
    if (isHealable === false || token === undefined || request === undefined || renewed !== undefined) {
      return otherwise(response)
    }
    if (!isHealable(response) || !isReplayable(request.body)) return otherwise(response)
    return Effect.flatMap(
      drained(response),
      (first) =>
        Effect.matchEffect(retriever(contextOf(request, call.options, token)), {
          onFailure: () => otherwise(first),
          onSuccess: (other) => {
            if (isSame(other, token)) return otherwise(first)
            call.renewed = other
            OAuthMetrics.count(OAuthMetrics.retried)
            return sendAgain()
          }
        })
    )
  }

  return <E, R>(
    self: HttpClient.HttpClient.With<E, R>
  ): HttpClient.HttpClient.With<E | E2 | OriginNotAllowed, R | R2> => {
    const { postprocess, preprocess } = parts(self)

    const execute = (
      request: Effect.Effect<Request, E | E2 | OriginNotAllowed, R | R2>
    ): Effect.Effect<Response, E | E2 | OriginNotAllowed, R | R2> =>
      Effect.withFiberRuntime((fiber) => {
        const call: Call = {
          options: fiber.currentContext.unsafeMap.get(CurrentRequestOptions.key),
          request: undefined,
          token: undefined,
          renewed: undefined
        }
        const sent = postprocess<E2 | OriginNotAllowed, R2>(
          Effect.flatMap(request, (each) => prepare(each, call, fiber))
        )
        // Fetch follows redirects by itself, wherever they lead.
        const attempt = allowed === undefined ? sent : withoutFetchRedirects(sent, fiber)
        const again = () =>
          Effect.mapBoth(attempt, {
            onSuccess: (response) => bare(response, call),
            onFailure: (error) => bareFailure(error, call)
          })
        return Effect.matchEffect(attempt, {
          onSuccess: (signed) => {
            const response = bare(signed, call)
            if (response.status < 300) return Effect.succeed(response)
            if (call.request !== undefined) noteRedirect(call.request, response)
            return heal(response, call, again, Effect.succeed)
          },
          onFailure: (signed) => {
            const error = bareFailure(signed, call)
            return error instanceof HttpClientError.ResponseError
              ? heal(error.response, call, again, (response) => Effect.fail(withResponse(error, response)))
              : Effect.fail(error)
          }
        })
      })

    return HttpClient.makeWith(execute, (request) => {
      const prepared = preprocess(request)
      return isKnown(prepared) ? Effect.succeed(withOwnHeaders(prepared.value)) : Effect.map(prepared, withOwnHeaders)
    })
  }
}
