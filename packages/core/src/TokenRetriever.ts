/**
 * Which token for this request?
 *
 * @since 0.1.0
 */
import type * as Headers from "@effect/platform/Headers"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { type AccessToken, isSame } from "./AccessToken.ts"
import { ClientCredentialsTokenManager } from "./ClientCredentialsTokenManager.ts"
import { type AccessTokenError, OriginNotAllowed, type TokenClientNotFound } from "./OAuthError.ts"
import * as TokenGrant from "./TokenGrant.ts"
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

/** Nobody is signed in: the error of `@effect-oauth/oidc` that lets another authority take over. */
const isNoUser = (error: unknown): boolean => Predicate.isTagged(error, "NoActiveUser")

/**
 * The token of the first retriever, or of the second where the first fails for lack of a user: as the user where there is one,
 * else as the program. `when` decides otherwise. Any other failure, such as that of a server, is no reason to act as somebody
 * else, and stays a failure.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orElse = <E2, R2, E = unknown>(
  that: TokenRetriever<E2, R2>,
  when: (error: E) => boolean = isNoUser
) =>
<E1 extends E, R>(self: TokenRetriever<E1, R>): TokenRetriever<E1 | E2, R | R2> =>
(request) =>
  Effect.catchAll(
    self(request),
    (error): Effect.Effect<AccessToken, E1 | E2, R2> => when(error) ? that(request) : Effect.fail(error)
  )

type ErrorOf<T> = T extends TokenRetriever<infer E, infer _> ? E : never

type ContextOf<T> = T extends TokenRetriever<infer _, infer R> ? R : never

/**
 * A retriever for each origin that requests may go to, such as `https://api.example.com`. A request to any other one fails
 * with `OriginNotAllowed`, so no token goes where nobody thought of.
 *
 * @since 0.1.0
 * @category combinators
 */
export const byOrigin = <T extends Readonly<Record<string, TokenRetriever<unknown, unknown>>>>(
  retrievers: T
): TokenRetriever<ErrorOf<T[keyof T]> | OriginNotAllowed, ContextOf<T[keyof T]>> => {
  const known = new Map(Object.entries(retrievers).map(([origin, retriever]) => [new URL(origin).origin, retriever]))
  return (request) => {
    const origin = URL.canParse(request.url) ? new URL(request.url).origin : ""
    const retriever = known.get(origin) as
      | TokenRetriever<ErrorOf<T[keyof T]>, ContextOf<T[keyof T]>>
      | undefined
    return retriever === undefined
      ? new OriginNotAllowed({ origin, problem: `tokens are known for ${[...known.keys()].join(", ")} only` })
      : retriever(request)
  }
}

const fixed = (token: AccessToken): TokenRetriever<never> => {
  const found = Effect.succeed(token)
  return () => found
}

export {
  /**
   * Always this token, for tests: there is no other to renew it with.
   *
   * @since 0.1.0
   * @category constructors
   */
  fixed as static
}

/**
 * What `tokenExchange` asks for.
 *
 * - `actor`: whose token says who acts for the subject; without it the new token is as good as the subject's own.
 * - `parameters`: scope and resource of the new token, for instance.
 *
 * @since 0.1.0
 * @category models
 */
export interface ExchangeOptions<E = never, R = never>
  extends Omit<TokenGrant.Exchange, "subjectToken" | "actorToken">
{
  readonly actor?: TokenRetriever<E, R> | undefined
  readonly parameters?: TokenRequestParameters | undefined
}

/** A subject's token that was given a minute ago is not what the server objects to; another one would be refused as well. */
const youth = 60_000

/**
 * Tokens for the next API on behalf of somebody: what `subject` gives is exchanged by the named client (RFC 8693). Exchanged
 * tokens are kept like any others, apart for each subject, and renewed when an API rejects them; if it is the subject's token
 * that the server does not accept any more, the subject is asked for another one, once.
 *
 * @since 0.1.0
 * @category constructors
 */
export const tokenExchange = <E, R, E2 = never, R2 = never>(
  subject: TokenRetriever<E, R>,
  name?: string,
  options: ExchangeOptions<E2, R2> = {}
): Effect.Effect<
  TokenRetriever<E | E2 | AccessTokenError, R | R2>,
  TokenClientNotFound,
  ClientCredentialsTokenManager
> =>
  Effect.gen(function*() {
    const manager = yield* ClientCredentialsTokenManager
    yield* manager.check(name)
    const { actor, parameters: own, ...exchange } = options
    // Of tokens that are used again, what is asked for stays the same object, which is found again at once.
    const remembered = new WeakMap<AccessToken, TokenRequestParameters>()

    const parametersOf = (
      subjectToken: AccessToken,
      actorToken: AccessToken | undefined,
      more: TokenRequestParameters | undefined
    ): TokenRequestParameters => {
      const known = actorToken === undefined && more === undefined ? remembered.get(subjectToken) : undefined
      if (known !== undefined) return known
      const grant = TokenGrant.tokenExchange({
        ...exchange,
        subjectToken: subjectToken.value,
        actorToken: actorToken?.value
      })
      const made = { ...own, ...more, grant }
      if (actorToken === undefined && more === undefined) remembered.set(subjectToken, made)
      return made
    }

    /** A server says in different ways that it does not accept a subject's token (RFC 8693 section 2.2.2). */
    const isAboutSubject = (error: AccessTokenError): boolean =>
      error._tag === "TokenEndpointError" && (error.error === "invalid_grant" || error.error === "invalid_request")

    return (request) => {
      const inner = { ...request, parameters: undefined, rejected: undefined, forceRenewal: false }
      const by = (subjectToken: AccessToken, actorToken: AccessToken | undefined) => {
        const wanted = parametersOf(subjectToken, actorToken, request.parameters)
        return request.rejected === undefined
          ? manager.get(name, demanding(request, wanted))
          : manager.renew(name, request.rejected, wanted)
      }
      return Effect.gen(function*() {
        const subjectToken = yield* subject(inner)
        const actorToken = actor === undefined ? undefined : yield* actor(inner)
        const now = yield* Clock.currentTimeMillis
        const isNew = now - DateTime.toEpochMillis(subjectToken.obtainedAt) < youth
        return yield* Effect.catchIf(by(subjectToken, actorToken), (error) =>
          !isNew && isAboutSubject(error), (error) =>
          Effect.flatMap(subject({ ...inner, rejected: subjectToken }), (other) =>
            isSame(other, subjectToken) ? Effect.fail(error) : by(other, actorToken)))
      })
    }
  })
