/**
 * The middleware: an `HttpClient` that puts an access token on every request, and heals a 401 once.
 *
 * @since 0.1.0
 */
import type * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { AccessToken } from "./AccessToken.ts"
import type { ClientCredentialsTokenManager } from "./ClientCredentialsTokenManager.ts"
import { healing } from "./internal/dpop/proving.ts"
import { authorize, isBound, prove, unsendable } from "./internal/middleware/attaching.ts"
import { beyond, policy } from "./internal/middleware/destination.ts"
import { middleware } from "./internal/middleware/middleware.ts"
import { parts } from "./internal/middleware/perAttempt.ts"
import { markReplayable } from "./internal/middleware/replay.ts"
import {
  type AccessTokenError,
  type CredentialUnavailable,
  isAccessTokenError,
  type KeyBindingMismatch,
  type OriginNotAllowed,
  type TokenClientNotFound,
  toRequestError
} from "./OAuthError.ts"
import type { TokenRequestParameters } from "./TokenRequestParameters.ts"
import * as TokenRetriever from "./TokenRetriever.ts"
import * as WwwAuthenticate from "./WwwAuthenticate.ts"

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
  /** More claims for the proofs of DPoP tokens; those of the protocol cannot be replaced (RFC 9449 section 4.2). */
  readonly proofClaims?: Readonly<Record<string, unknown>> | undefined
}

/**
 * What sending a token can fail with: it must not go there, or it is bound to a key that is not at hand or cannot sign.
 *
 * @since 0.1.0
 * @category models
 */
export type SendError = OriginNotAllowed | KeyBindingMismatch | CredentialUnavailable

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

/**
 * The middleware over any retriever.
 *
 * Each attempt asks the retriever and carries what it gives, also those of a `retry` that was put on the client before or
 * after. Put `followRedirects` after this, not before: a redirect that is followed inside replays the token.
 *
 * A 401 is healed: the answer is drained, another token is asked for, and the request is sent again, once for each call. If
 * there is no other token, the 401 is returned. A request whose body can be read only once is not sent again.
 *
 * A DPoP token goes out with a proof for each attempt (RFC 9449 section 7). A nonce that the API demands, and a clock that
 * is not the API's, cost one more sending each, and only the first time: what an answer says is kept for the next call.
 * Over fetch, such a request follows no redirect by itself.
 *
 * A retriever of your own that dies, gives no token or takes longer than a minute fails the call with
 * `CredentialUnavailable`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E2, R2>(
  retriever: TokenRetriever.TokenRetriever<E2, R2>,
  options: Options = {}
): Middleware<E2 | SendError, R2> => {
  const { allowInsecure, allowedOrigins } = options
  return middleware(TokenRetriever.guarded(retriever), {
    refusalOf: policy({ allowedOrigins, allowInsecure }),
    isHealable: options.retryUnauthorized ?? retryUnauthorized,
    sendWithout: options.onTokenFailure === "sendWithout",
    followsNothing: allowedOrigins !== undefined,
    optionsOf: (fiber) => fiber.currentContext.unsafeMap.get(CurrentRequestOptions.key)
  })
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
 * Puts a token that was got by hand on one request, with the proof that a DPoP token needs. The proof is for this request
 * and good for one sending; over fetch, send it with `redirect: "manual"`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const attach = (token: AccessToken, options: Pick<Options, "allowInsecure"> = {}) =>
(
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientRequest.HttpClientRequest, SendError> =>
  Effect.suspend((): Effect.Effect<HttpClientRequest.HttpClientRequest, SendError> => {
    const refused = unsendable(token) ?? policy(options)(request.url) ?? beyond(token.allowedOrigins, request.url)
    if (refused !== undefined) return Effect.fail(refused)
    return isBound(token)
      ? prove(request, token, healing(), undefined)
      : Effect.succeed(authorize(request, token))
  })

/**
 * Says of a streamed body that it may be read again, so that its request can be sent again after a 401. True of a `Stream`
 * that describes its source, false of one over an iterator or a socket.
 *
 * @since 0.1.0
 * @category combinators
 */
export const replayable: (body: HttpBody.Stream) => HttpBody.Stream = markReplayable
