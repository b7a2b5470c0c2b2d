/**
 * The middleware: an `HttpClient` that puts an access token on every request, and heals a 401 once.
 *
 * @since 0.1.0
 */
import type * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { type AccessToken, expiryMillis, isSame } from "./AccessToken.ts"
import type { ClientCredentialsTokenManager } from "./ClientCredentialsTokenManager.ts"
import { authorize } from "./internal/attaching.ts"
import { bare, bareFailure, type Call, withResponse } from "./internal/call.ts"
import { currentTimeMillis } from "./internal/clock.ts"
import { policy } from "./internal/destination.ts"
import { withoutFetchRedirects } from "./internal/fetchRedirects.ts"
import * as Journeys from "./internal/journeys.ts"
import { isKnown } from "./internal/known.ts"
import { parts } from "./internal/perAttempt.ts"
import { drained, isReplayable, markReplayable } from "./internal/replay.ts"
import {
  type AccessTokenError,
  isAccessTokenError,
  type OriginNotAllowed,
  type TokenClientNotFound,
  toRequestError
} from "./OAuthError.ts"
import * as OAuthMetrics from "./OAuthMetrics.ts"
import type { TokenRequestParameters } from "./TokenRequestParameters.ts"
import * as TokenRetriever from "./TokenRetriever.ts"
import * as WwwAuthenticate from "./WwwAuthenticate.ts"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse

/**
 * From client to client, for a `pipe`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Middleware<out E2 = AccessTokenError, out R2 = never> {
  <E, R>(self: HttpClient.HttpClient.With<E, R>): HttpClient.HttpClient.With<E | E2, R | R2>
}

/**
 * - `allowedOrigins`: the only origins that a request may go to, such as `https://api.example.com`; a redirect to another
 *   one is refused. Without it, a redirect to another origin goes on, but without the token.
 * - `allowInsecure`: send tokens over `http:` beyond loopback. Default false.
 * - `onTokenFailure`: `fail` (default): without a token nothing is sent. `sendWithout`: the request goes out bare.
 * - `retryUnauthorized`: which answers are healed by another token, `false` for none. Default `retryUnauthorized`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  readonly allowInsecure?: boolean | undefined
  readonly onTokenFailure?: "fail" | "sendWithout" | undefined
  readonly retryUnauthorized?: ((response: HttpClientResponse.HttpClientResponse) => boolean) | false | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientCredentialsOptions<E = never, R = never> extends Options {
  /** Wins over the `TokenRequestCustomizer` that is provided for all. */
  readonly customize?: TokenRetriever.Customize<E, R> | undefined
}

/**
 * Settings of single calls, see `withRequestOptions`.
 *
 * @since 0.1.0
 * @category models
 */
export interface RequestOptions {
  readonly forceRenewal?: boolean | undefined
  readonly parameters?: TokenRequestParameters | undefined
}

class CurrentRequestOptions
  extends Context.Reference<CurrentRequestOptions>()("@effect-oauth/core/AccessTokenHttpClient/RequestOptions", {
    defaultValue: (): RequestOptions => ({})
  })
{}

/**
 * The answers that another token may heal: a 401, unless it asks for a stronger sign-in of the user (RFC 9470), which no
 * renewal gives.
 *
 * @since 0.1.0
 * @category predicates
 */
export const retryUnauthorized = (response: HttpClientResponse.HttpClientResponse): boolean =>
  response.status === 401 && WwwAuthenticate.withError(response, "insufficient_user_authentication") === undefined

const contextOf = (
  request: Request,
  options: RequestOptions | undefined,
  rejected: AccessToken | undefined
): TokenRetriever.RequestContext => ({
  method: request.method,
  url: request.urlParams.length === 0 ? request.url : `${request.url}?${UrlParams.toString(request.urlParams)}`,
  headers: request.headers,
  forceRenewal: rejected !== undefined || options?.forceRenewal === true,
  parameters: options?.parameters,
  rejected
})

/**
 * The middleware over any retriever.
 *
 * Each attempt asks the retriever and carries what it gives, also those of a `retry` that was put on the client before or
 * after. Put `followRedirects` after this, not before: a redirect that is followed inside replays the token.
 *
 * A 401 is healed once for each call: the answer is drained, another token is asked for, and the request is sent again. If
 * there is no other token, the 401 is returned. A request whose body can be read only once is not sent again.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E2, R2>(
  retriever: TokenRetriever.TokenRetriever<E2, R2>,
  options: Options = {}
): Middleware<E2 | OriginNotAllowed, R2> => {
  const refusalOf = policy(options)
  const journeys = Journeys.make()
  const isHealable = options.retryUnauthorized ?? retryUnauthorized
  const sendWithout = options.onTokenFailure === "sendWithout"

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
    const refused = refusalOf(request.url)
    if (refused !== undefined) return Effect.fail(refused)
    if (journeys.isAway(request)) return Effect.succeed(request)
    if (call.renewed !== undefined) return Effect.succeed(authorized(request, call.renewed, call, fiber))
    const token = Effect.map(
      retriever(contextOf(request, call.options, undefined)),
      (token) => authorized(request, token, call, fiber)
    )
    return sendWithout ? Effect.catchAll(token, () => Effect.succeed(request)) : token
  }

  /** Every answer passes here, also that to a second sending: a redirect of either must not lead the token away. */
  const received = (signed: Response, call: Call): Response => {
    const response = bare(signed, call)
    if (call.request !== undefined) journeys.note(call.request, response)
    return response
  }

  /** The answer to the request with another token, or `otherwise` where there is none. */
  const heal = <E, R>(
    response: Response,
    call: Call,
    sendAgain: () => Effect.Effect<Response, E, R>,
    otherwise: (response: Response) => Effect.Effect<Response, E, R>
  ): Effect.Effect<Response, E, R | R2> => {
    const { request, token } = call
    if (isHealable === false || token === undefined || request === undefined) return otherwise(response)
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
        const attempt = options.allowedOrigins === undefined ? sent : withoutFetchRedirects(sent)
        const again = () =>
          Effect.mapBoth(attempt, {
            onSuccess: (signed) => received(signed, call),
            onFailure: (signed) => bareFailure(signed, call)
          })
        return Effect.matchEffect(attempt, {
          onSuccess: (signed) => {
            const response = received(signed, call)
            return response.status < 300 ? Effect.succeed(response) : heal(response, call, again, Effect.succeed)
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
      return isKnown(prepared)
        ? Effect.succeed(Journeys.withOwnHeaders(prepared.value))
        : Effect.map(prepared, Journeys.withOwnHeaders)
    })
  }
}

/**
 * The middleware with tokens of the program's own authority, for the named client; without a name, for the only one.
 *
 * @example
 * ```ts
 * import { AccessTokenHttpClient } from "@effect-oauth/core"
 * import { HttpClient } from "@effect/platform"
 * import { Effect } from "effect"
 *
 * export const invoices = Effect.gen(function*() {
 *   return (yield* HttpClient.HttpClient).pipe(
 *     yield* AccessTokenHttpClient.clientCredentials("invoice.client"),
 *     HttpClient.filterStatusOk
 *   )
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientCredentials = <E = never, R = never>(
  name?: string,
  parameters?: TokenRequestParameters,
  options?: ClientCredentialsOptions<E, R>
): Effect.Effect<Middleware<AccessTokenError | E, R>, TokenClientNotFound, ClientCredentialsTokenManager> =>
  Effect.map(
    TokenRetriever.clientCredentials(name, parameters, options?.customize),
    (retriever) => make(retriever, options)
  )

/**
 * The client as one that fits the `HttpClient` Tag: token errors become `RequestError`s with the typed error as their
 * cause. `HttpClient.retryTransient` repeats them only if they are `retryable`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const asHttpClient = <E, R>(
  self: HttpClient.HttpClient.With<E, R>
): HttpClient.HttpClient.With<Exclude<E, AccessTokenError> | HttpClientError.HttpClientError, R> => {
  const { postprocess, preprocess } = parts(self)
  return HttpClient.makeWith(
    (request: Effect.Effect<HttpClientRequest.HttpClientRequest, E, R>) =>
      Effect.suspend(() => {
        let last = HttpClientRequest.get("")
        const observed = Effect.map(request, (each) => last = each)
        return Effect.mapError(postprocess(observed), (error) =>
          isAccessTokenError(error)
            ? toRequestError(error, last)
            : error as Exclude<E, AccessTokenError>)
      }),
    preprocess
  )
}

/**
 * The middleware in the form that `HttpApiClient` and `@effect/rpc` take as `transformClient`: it leaves the error type as
 * it is, token errors being `RequestError`s of the `HttpClientError` that such clients have.
 *
 * @since 0.1.0
 * @category constructors
 */
export const transformClient = (
  name?: string,
  parameters?: TokenRequestParameters,
  options?: ClientCredentialsOptions
): Effect.Effect<
  <E, R>(self: HttpClient.HttpClient.With<E, R>) => HttpClient.HttpClient.With<E, R>,
  TokenClientNotFound,
  ClientCredentialsTokenManager
> =>
  Effect.map(
    clientCredentials(name, parameters, options),
    (middleware) => <E, R>(self: HttpClient.HttpClient.With<E, R>) =>
      asHttpClient(middleware(self)) as HttpClient.HttpClient.With<E, R>
  )

/**
 * The `HttpClient` of a program with tokens on it, for code that knows only the Tag.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  name?: string,
  parameters?: TokenRequestParameters,
  options?: ClientCredentialsOptions
): Layer.Layer<
  HttpClient.HttpClient,
  TokenClientNotFound,
  HttpClient.HttpClient | ClientCredentialsTokenManager
> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.zipWith(HttpClient.HttpClient, transformClient(name, parameters, options), (client, transform) =>
      transform(client))
  )

/**
 * Settings for the calls inside an effect: a forced renewal, other parameters.
 *
 * @example
 * ```ts
 * import { AccessTokenHttpClient } from "@effect-oauth/core"
 * import { HttpClient } from "@effect/platform"
 *
 * export const fresh = HttpClient.get("https://api.example.com/invoices").pipe(
 *   AccessTokenHttpClient.withRequestOptions({ forceRenewal: true })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const withRequestOptions =
  (options: RequestOptions) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, CurrentRequestOptions, options)

/**
 * Puts a token that was got by hand on one request.
 *
 * @since 0.1.0
 * @category combinators
 */
export const attach = (token: AccessToken, options: Pick<Options, "allowInsecure"> = {}) =>
(
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientRequest.HttpClientRequest, OriginNotAllowed> =>
  Effect.suspend(() => {
    const refused = policy(options)(request.url)
    return refused === undefined ? Effect.succeed(authorize(request, token)) : Effect.fail(refused)
  })

/**
 * Says of a streamed body that it may be read again, so that its request can be sent again after a 401. True of a `Stream`
 * that describes its source, false of one over an iterator or a socket.
 *
 * @since 0.1.0
 * @category combinators
 */
export const replayable: (body: HttpBody.Stream) => HttpBody.Stream = markReplayable
