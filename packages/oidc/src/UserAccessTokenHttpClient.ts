/**
 * The middleware with tokens of the user who is signed in.
 *
 * @since 0.1.0
 */
import * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import type { ClientCredentialsTokenManager } from "@effect-oauth/core/ClientCredentialsTokenManager"
import type { AccessTokenError, TokenClientNotFound } from "@effect-oauth/core/OAuthError"
import {
  type Customize,
  customizer,
  type ExchangeOptions,
  tokenExchange,
  type TokenRetriever
} from "@effect-oauth/core/TokenRetriever"
import * as UntrustedText from "@effect-oauth/core/UntrustedText"
import * as WwwAuthenticate from "@effect-oauth/core/WwwAuthenticate"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { CurrentUser } from "./CurrentUser.ts"
import * as UserParameters from "./internal/userParameters.ts"
import { type LookupError, OidcClients } from "./OidcClients.ts"
import { StepUpRequired } from "./OidcError.ts"
import { type UserTokenError, UserTokenManager, type UserTokenRequestParameters } from "./UserTokenManager.ts"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> extends AccessTokenHttpClient.Options {
  /** Wins over the `TokenRequestCustomizer` that is provided for all. */
  readonly customize?: Customize<E, R> | undefined
}

/**
 * What a call on behalf of a user can fail with, beside what the client fails with.
 *
 * @since 0.1.0
 * @category errors
 */
export type CallError = UserTokenError | AccessTokenHttpClient.SendError | StepUpRequired

const none: UserTokenRequestParameters = {}

/**
 * The tokens of the user of each request, for `AccessTokenHttpClient.make`. A customizer may change anything but whose
 * tokens they are: client and session stay.
 *
 * @since 0.1.0
 * @category constructors
 */
export const retriever = <E = never, R = never>(
  parameters: UserTokenRequestParameters = none,
  customize?: Customize<E, R>
): Effect.Effect<TokenRetriever<UserTokenError | E, CurrentUser | R>, LookupError, UserTokenManager | OidcClients> =>
  Effect.gen(function*() {
    const manager = yield* UserTokenManager
    const { name } = yield* Effect.flatMap(OidcClients, (clients) => clients.get(parameters.client))
    const customized = yield* customizer(parameters.client, customize, manager)
    const { client, session } = parameters
    return (request) => {
      const base = request.parameters === undefined ? parameters : { ...parameters, ...request.parameters }
      const asked = customized === undefined ? Effect.succeed(base) : customized(request, base)
      return Effect.flatMap(asked, (asked) =>
        Effect.flatMap(UserParameters.parse(name, asked), (known) => {
          const wanted: UserTokenRequestParameters = { ...known, client, session }
          const token = request.rejected === undefined
            ? manager.get({ ...wanted, forceRenewal: asked.forceRenewal === true || request.forceRenewal })
            : manager.renew(request.rejected, wanted)
          return Effect.map(token, ({ accessToken }) => accessToken)
        }))
    }
  })

/**
 * Tokens for the next API on behalf of the user of each request: the user's own are exchanged by the named client of
 * `TokenClients` (RFC 8693), see `TokenRetriever.tokenExchange`. `user` says whose, and for which resource.
 *
 * @since 0.1.0
 * @category constructors
 */
export const onBehalfOfCurrentUser = <E = never, R = never, E2 = never, R2 = never>(
  name?: string,
  { user, ...options }: ExchangeOptions<E, R, E2, R2> & {
    readonly user?: UserTokenRequestParameters | undefined
  } = {}
): Effect.Effect<
  TokenRetriever<UserTokenError | AccessTokenError | E | E2, CurrentUser | R | R2>,
  LookupError | TokenClientNotFound,
  UserTokenManager | OidcClients | ClientCredentialsTokenManager
> => Effect.flatMap(retriever(user), (subject) => tokenExchange(subject, name, options))

/** What an API says of the sign-in that it wants (RFC 9470 section 3). */
const stepUpOf = (response: HttpClientResponse.HttpClientResponse): StepUpRequired | undefined =>
  Option.getOrUndefined(
    Option.map(WwwAuthenticate.insufficientUserAuthentication(response), ({ acrValues, maxAge }) =>
      new StepUpRequired({ acrValues: UntrustedText.show(acrValues.join(" ")) || undefined, maxAge }))
  )

/**
 * From client to client, for a `pipe`: calls are made on behalf of the user of the request that they are made in. A 401 is
 * healed once, see `AccessTokenHttpClient.make`. One that asks for a stronger sign-in fails with `StepUpRequired`.
 *
 * @example
 * ```ts
 * import { UserAccessTokenHttpClient } from "@effect-oauth/oidc"
 * import { HttpClient } from "@effect/platform"
 * import { Effect } from "effect"
 *
 * export const invoices = Effect.gen(function*() {
 *   return (yield* HttpClient.HttpClient).pipe(
 *     yield* UserAccessTokenHttpClient.make({ resource: "https://api.example.com" }),
 *     HttpClient.filterStatusOk
 *   )
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E = never, R = never>(
  parameters?: UserTokenRequestParameters,
  options: Options<E, R> = {}
): Effect.Effect<
  AccessTokenHttpClient.Middleware<CallError | E, CurrentUser | R>,
  LookupError,
  UserTokenManager | OidcClients
> =>
  Effect.map(retriever(parameters, options.customize), (retriever) => {
    const withToken = AccessTokenHttpClient.make(retriever, options)
    return <E1, R1>(self: HttpClient.HttpClient.With<E1, R1>) =>
      HttpClient.transformResponse(withToken(self), (response) =>
        Effect.flatMap(response, (response) => {
          const stepUp = stepUpOf(response)
          return stepUp === undefined ? Effect.succeed(response) : stepUp
        }))
  })
