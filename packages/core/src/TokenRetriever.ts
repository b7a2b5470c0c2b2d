/**
 * Which token for this request?
 *
 * @since 0.1.0
 */
import type * as Headers from "@effect/platform/Headers"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { AccessToken } from "./AccessToken.ts"
import { ClientCredentialsTokenManager } from "./ClientCredentialsTokenManager.ts"
import type { AccessTokenError, TokenClientNotFound } from "./OAuthError.ts"
import type { TokenRequestParameters } from "./TokenRequestParameters.ts"

/**
 * The request that a token is wanted for, as it stands just before it is sent.
 *
 * - `forceRenewal`: a new token is asked for, by the caller or because `rejected` was refused.
 * - `rejected`: the token that the API has just answered with 401. Another one is wanted, not necessarily a new one.
 *
 * @since 0.1.0
 * @category models
 */
export interface RequestContext {
  readonly method: HttpMethod
  readonly url: string
  readonly headers: Headers.Headers
  readonly forceRenewal: boolean
  readonly parameters: TokenRequestParameters | undefined
  readonly rejected: AccessToken | undefined
}

/**
 * Gives the token for a request. Any function of this shape will do.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenRetriever<out E = AccessTokenError, out R = never> {
  (request: RequestContext): Effect.Effect<AccessToken, E, R>
}

/**
 * Looks at a request and the parameters it would be made with, and says which parameters to use: scope or resource by URL,
 * a tenant by header. Runs before the cache key is computed. What it leaves out of its answer is left out, but for
 * `forceRenewal`, which it can add and not lose.
 *
 * @since 0.1.0
 * @category models
 */
export interface Customize<out E = never, out R = never> {
  (request: RequestContext, parameters: TokenRequestParameters): Effect.Effect<TokenRequestParameters, E, R>
}

/**
 * Optional: customizes all token requests. A customizer that is an option of one middleware wins over it.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenRequestCustomizer extends Context.Tag("@effect-oauth/core/TokenRequestCustomizer")<
  TokenRequestCustomizer,
  Customize<AccessTokenError>
>() {}

const noParameters: TokenRequestParameters = {}

/** What `parameters` say, with the renewal that the request demands. */
const demanding = (request: RequestContext, parameters: TokenRequestParameters): TokenRequestParameters =>
  request.forceRenewal && request.rejected === undefined && parameters.forceRenewal !== true
    ? { ...parameters, forceRenewal: true }
    : parameters

/**
 * Tokens of the program's own authority, for the named client.
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientCredentials = <E = never, R = never>(
  name?: string,
  parameters?: TokenRequestParameters,
  customize?: Customize<E, R>
): Effect.Effect<TokenRetriever<AccessTokenError | E, R>, TokenClientNotFound, ClientCredentialsTokenManager> =>
  Effect.gen(function*() {
    const manager = yield* ClientCredentialsTokenManager
    yield* manager.check(name)
    const common = yield* Effect.serviceOption(TokenRequestCustomizer)
    const customizer: Customize<AccessTokenError | E, R> | undefined = customize ??
      (common._tag === "Some" ? common.value : undefined)

    const retrieve = (request: RequestContext, wanted: TokenRequestParameters | undefined) =>
      request.rejected !== undefined
        ? manager.renew(name, request.rejected, wanted)
        : request.forceRenewal
        ? manager.get(name, demanding(request, wanted ?? noParameters))
        : manager.get(name, wanted)

    return (request) => {
      const base = request.parameters === undefined ? parameters : { ...parameters, ...request.parameters }
      return customizer === undefined
        ? retrieve(request, base)
        : Effect.flatMap(customizer(request, base ?? noParameters), (wanted) => retrieve(request, wanted))
    }
  })
