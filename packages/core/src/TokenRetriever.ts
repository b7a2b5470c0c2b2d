/**
 * Which token for this request?
 *
 * @since 0.1.0
 */
import type * as Headers from "@effect/platform/Headers"
import type { HttpMethod } from "@effect/platform/HttpMethod"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { type AccessToken, isSame } from "./AccessToken.ts"
import { ClientCredentialsTokenManager } from "./ClientCredentialsTokenManager.ts"
import { TokenRequestCustomizer } from "./internal/customizer.ts"
import * as Guarded from "./internal/guarded.ts"
import { isToken, unsendable } from "./internal/middleware/attaching.ts"
import { beyond, confining, originOf, parseOrigin } from "./internal/middleware/destination.ts"
import { found } from "./internal/problem.ts"
import {
  type AccessTokenError,
  type CredentialUnavailable,
  type OriginNotAllowed,
  type TokenClientNotFound,
  TokenEndpointError,
  TokenRequestInvalid
} from "./OAuthError.ts"
import * as OptionalServices from "./OptionalServices.ts"
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

export {
  /**
   * Optional: customizes all token requests. A customizer that is an option of one middleware wins over it. One that is provided
   * where a middleware or retriever is made wins over the one that `OAuth.layer` or `Oidc.layer` was built with.
   *
   * @since 0.1.0
   * @category tags
   */
  TokenRequestCustomizer
}

const noParameters: TokenRequestParameters = {}

/** What `parameters` say, with the renewal that the request demands. */
const demanding = (request: RequestContext, parameters: TokenRequestParameters): TokenRequestParameters =>
  request.forceRenewal && request.rejected === undefined && parameters.forceRenewal !== true
    ? { ...parameters, forceRenewal: true }
    : parameters

/**
 * The customizer that counts, for retrievers of your own: `own`, else the `TokenRequestCustomizer` that is provided where this
 * is run, else the one that the `manager` of the tokens was built with (by default `ClientCredentialsTokenManager`, if it is
 * there). One that dies or takes longer than a minute fails with `CredentialUnavailable`, one that gives no object with
 * `TokenRequestInvalid`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const customizer = <E = never, R = never>(
  name?: string,
  own?: Customize<E, R>,
  manager?: { readonly customizer?: Customize<AccessTokenError> | undefined }
): Effect.Effect<Customize<AccessTokenError | E, R> | undefined> =>
  Effect.gen(function*() {
    const provided = Option.getOrUndefined(yield* Effect.serviceOption(TokenRequestCustomizer))
    const common = manager ?? Option.getOrUndefined(yield* Effect.serviceOption(ClientCredentialsTokenManager))
    const customize: Customize<AccessTokenError | E, R> | undefined = own ?? provided ?? common?.customizer
    if (customize === undefined) return undefined
    return (request, parameters) =>
      Effect.flatMap(
        Guarded.guarded("customizer", () => customize(request, parameters)),
        (wanted): Effect.Effect<TokenRequestParameters, TokenRequestInvalid> =>
          Predicate.isReadonlyRecord(wanted)
            ? Effect.succeed(wanted)
            : notGiven(name, "parameters", "expected an object from the TokenRequestCustomizer", wanted)
      )
  })

const sendable = (token: AccessToken): Effect.Effect<AccessToken, CredentialUnavailable> => {
  const problem = isToken(token) ? unsendable(token) : undefined
  return problem === undefined ? Effect.succeed(token) : Effect.fail(problem)
}

/**
 * The same retriever, every end of which is an error with a type: one that dies or takes longer than a minute fails with
 * `CredentialUnavailable`, as does one whose token no header can carry. Clients that ask a retriever do so by this.
 *
 * @since 0.1.0
 * @category combinators
 */
export const guarded = <E, R>(self: TokenRetriever<E, R>): TokenRetriever<E | CredentialUnavailable, R> =>
  Guarded.isTrusted(self) ?
    self :
    (request) => Effect.flatMap(Guarded.guarded("retriever", () => self(request)), sendable)

const notGiven = (name: string | undefined, field: string, expected: string, value: unknown): TokenRequestInvalid =>
  new TokenRequestInvalid({ clientName: name ?? "", field, problem: found(expected, value) })

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
    const manager = yield* OptionalServices.only(ClientCredentialsTokenManager)
    yield* manager.check(name)
    const customized = yield* customizer(name, customize, manager)

    const retrieve = (request: RequestContext, wanted: TokenRequestParameters | undefined) =>
      request.rejected !== undefined
        ? manager.renew(name, request.rejected, wanted)
        : request.forceRenewal
        ? manager.get(name, demanding(request, wanted ?? noParameters))
        : manager.get(name, wanted)

    return Guarded.trusted((request: RequestContext) => {
      const base = request.parameters === undefined ? parameters : { ...parameters, ...request.parameters }
      return customized === undefined
        ? retrieve(request, base)
        : Effect.flatMap(customized(request, base ?? noParameters), (wanted) => retrieve(request, wanted))
    })
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
 * with `OriginNotAllowed`, and so does a redirect, unless `allowedOrigins` of the middleware say otherwise. Its tokens say where
 * they may go (`allowedOrigins`), so this holds for any retriever that asks this one and gives its token. Throws a `TypeError` for a
 * name that is no origin.
 *
 * @since 0.1.0
 * @category combinators
 */
export const byOrigin = <T extends Readonly<Record<string, TokenRetriever<unknown, unknown>>>>(
  retrievers: T
): TokenRetriever<ErrorOf<T[keyof T]> | OriginNotAllowed, ContextOf<T[keyof T]>> => {
  const known = new Map(
    Object.entries(retrievers).map(([origin, retriever]) => [parseOrigin(origin, "byOrigin"), retriever])
  )
  const origins = [...known.keys()]
  const { confine, original } = confining(origins)
  return (request) => {
    const refused = beyond(origins, request.url)
    if (refused !== undefined) return Effect.fail(refused)
    const retriever = known.get(originOf(request.url)) as TokenRetriever<ErrorOf<T[keyof T]>, ContextOf<T[keyof T]>>
    const { rejected } = request
    const token = retriever(rejected === undefined ? request : { ...request, rejected: original(rejected) })
    return Effect.map(token, (token) => isToken(token) ? confine(token) : token)
  }
}

const fixed = (token: AccessToken): TokenRetriever<never> => {
  const found = Effect.succeed(token)
  const retriever = () => found
  return unsendable(token) === undefined ? Guarded.trusted(retriever) : retriever
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
 * - `customize`: wins over the `TokenRequestCustomizer` that is provided for all. Neither decides what is exchanged.
 *
 * @since 0.1.0
 * @category models
 */
export interface ExchangeOptions<E = never, R = never, E2 = never, R2 = never>
  extends Omit<TokenGrant.Exchange, "subjectToken" | "actorToken">
{
  readonly actor?: TokenRetriever<E, R> | undefined
  readonly parameters?: TokenRequestParameters | undefined
  readonly customize?: Customize<E2, R2> | undefined
}

/** A token that was given a minute ago is not what the server objects to; another one would be refused as well. */
const youth = 60_000

/** Not where the clock was set back since: such a token would be young until then. */
const isYoung = (obtainedAt: number, now: number): boolean => now >= obtainedAt && now - obtainedAt < youth

/** A server says in different ways that it does not accept one of the tokens (RFC 8693 section 2.2.2). */
const isAboutTokens = (error: unknown): boolean =>
  error instanceof TokenEndpointError && (error.error === "invalid_grant" || error.error === "invalid_request")

/** Those whose tokens are exchanged. */
interface Parties {
  readonly subject: AccessToken
  readonly actor: AccessToken | undefined
}

const areSame = (one: Parties, other: Parties): boolean =>
  isSame(one.subject, other.subject) &&
  (one.actor === other.actor ||
    (one.actor !== undefined && other.actor !== undefined && isSame(one.actor, other.actor)))

/** Of tokens that are used again, what is asked for stays the same object, which is found again at once. */
const rememberedBy = (make: (parties: Parties) => TokenRequestParameters) => {
  const nobody = {}
  const remembered = new WeakMap<AccessToken, WeakMap<object, TokenRequestParameters>>()
  return (parties: Parties): TokenRequestParameters => {
    const { actor = nobody, subject } = parties
    const ofSubject = remembered.get(subject) ?? new WeakMap<object, TokenRequestParameters>()
    remembered.set(subject, ofSubject)
    const made = ofSubject.get(actor) ?? make(parties)
    ofSubject.set(actor, made)
    return made
  }
}

/**
 * Tokens for the next API on behalf of somebody: what `subject` gives is exchanged by the named client (RFC 8693). Exchanged
 * tokens are kept like any others, apart for each subject and actor, and renewed when an API rejects them. If it is a token of
 * theirs that the server does not accept any more, they are asked for another one, once, unless it is younger than a minute.
 *
 * @since 0.1.0
 * @category constructors
 */
export const tokenExchange = <E, R, E2 = never, R2 = never, E3 = never, R3 = never>(
  subject: TokenRetriever<E, R>,
  name?: string,
  options: ExchangeOptions<E2, R2, E3, R3> = {}
): Effect.Effect<
  TokenRetriever<E | E2 | E3 | AccessTokenError, R | R2 | R3>,
  TokenClientNotFound,
  ClientCredentialsTokenManager
> =>
  Effect.gen(function*() {
    const manager = yield* OptionalServices.only(ClientCredentialsTokenManager)
    yield* manager.check(name)
    const { actor, customize, parameters: own, ...exchange } = options
    const customized = yield* customizer(name, customize, manager)

    const grantOf = ({ actor, subject }: Parties) =>
      TokenGrant.tokenExchange({ ...exchange, subjectToken: subject.value, actorToken: actor?.value })
    const usual = rememberedBy((parties) => ({ ...own, grant: grantOf(parties) }))

    const parametersOf = (request: RequestContext, parties: Parties) => {
      const { parameters: more } = request
      if (customized === undefined && more === undefined) return Effect.succeed(usual(parties))
      const base = { ...own, ...more }
      const wanted = customized === undefined ? Effect.succeed(base) : customized(request, base)
      return Effect.map(wanted, (wanted): TokenRequestParameters => ({ ...wanted, grant: grantOf(parties) }))
    }

    const ask = <E, R>(whose: "subject" | "actor", retriever: TokenRetriever<E, R>, request: RequestContext) =>
      Effect.flatMap(
        retriever(request),
        (token): Effect.Effect<AccessToken, TokenRequestInvalid> =>
          isToken(token) ? Effect.succeed(token) : notGiven(name, whose, "expected an AccessToken", token)
      )

    return (request) => {
      const inner = { ...request, parameters: undefined, rejected: undefined, forceRenewal: false }

      const another = <E, R>(whose: "subject" | "actor", retriever: TokenRetriever<E, R>, rejected: AccessToken) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) =>
          DateTime.isDateTime(rejected.obtainedAt) && isYoung(DateTime.toEpochMillis(rejected.obtainedAt), now)
            ? Effect.succeed(rejected)
            : ask(whose, retriever, { ...inner, rejected, forceRenewal: true }))

      const exchanged = (parties: Parties) =>
        Effect.flatMap(parametersOf(request, parties), (wanted) =>
          request.rejected === undefined
            ? manager.get(name, demanding(request, wanted))
            : manager.renew(name, request.rejected, wanted)).pipe(
            // A token for another one goes no further than that may.
            Effect.map((token) =>
              parties.subject.allowedOrigins === undefined
                ? token
                : confining(parties.subject.allowedOrigins).confine(token)
            )
          )

      return Effect.gen(function*() {
        const parties: Parties = {
          subject: yield* ask("subject", subject, inner),
          actor: actor === undefined ? undefined : yield* ask("actor", actor, inner)
        }
        const first = yield* Effect.either(exchanged(parties))
        if (first._tag === "Right") {
          return first.right
        }
        if (!isAboutTokens(first.left)) {
          return yield* Effect.fail(first.left)
        }
        const others: Parties = {
          subject: yield* another("subject", subject, parties.subject),
          actor: actor === undefined || parties.actor === undefined
            ? undefined
            : yield* another("actor", actor, parties.actor)
        }
        return areSame(parties, others) ? yield* Effect.fail(first.left) : yield* exchanged(others)
      })
    }
  })
