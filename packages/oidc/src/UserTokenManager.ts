/**
 * Tokens on behalf of the user who is signed in: used while they are good, renewed when they are not, revoked at the end.
 *
 * @since 0.1.0
 */
import type * as AccessToken from "@effect-oauth/core/AccessToken"
import { DPoPProofs } from "@effect-oauth/core/DPoPProofs"
import type { AccessTokenError, TokenRequestInvalid } from "@effect-oauth/core/OAuthError"
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as OptionalServices from "@effect-oauth/core/OptionalServices"
import { TokenEndpoint } from "@effect-oauth/core/TokenEndpoint"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import { type Customize, TokenRequestCustomizer } from "@effect-oauth/core/TokenRetriever"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { CurrentUser } from "./CurrentUser.ts"
import { IdTokenVerifier } from "./IdToken.ts"
import { customized } from "./internal/incoming.ts"
import { type Wanted, willDo } from "./internal/refresh/freshness.ts"
import * as Refresh from "./internal/refresh/refresh.ts"
import * as SessionKeys from "./internal/refresh/sessionKeys.ts"
import * as Voyages from "./internal/refresh/voyages.ts"
import { guarded } from "./internal/session/guardedTokens.ts"
import { isOf } from "./internal/session/registered.ts"
import * as SignIns from "./internal/session/signIns.ts"
import * as UserParameters from "./internal/userParameters.ts"
import type { OidcClient } from "./OidcClient.ts"
import { type LookupError, OidcClients } from "./OidcClients.ts"
import {
  type IdTokenInvalid,
  NoActiveUser,
  type RefreshTokenMissing,
  type ResponseStarted,
  type SessionEnded,
  type SessionStoreError,
  type SignInRequired
} from "./OidcError.ts"
import { OidcHooks } from "./OidcHooks.ts"
import type { Session } from "./Session.ts"
import { TokenConcurrency } from "./TokenConcurrency.ts"
import * as UserTokens from "./UserTokens.ts"
import * as UserTokenStore from "./UserTokenStore.ts"

/**
 * What one request for a user's token may ask for.
 *
 * - `client`: the name of `OidcClients` that the user signed in with; else the default one.
 * - `session`: whose tokens; else those of `CurrentUser`.
 *
 * A token is kept under `scope`, `resource`, `parameters` and `partition`, see `UserTokens.Address`. What it cannot be kept under
 * fails with `TokenRequestInvalid`, also where a `TokenRequestCustomizer` asks for it: a grant, authorization details (RFC
 * 9396; all that the user has allowed is in every token) and secrets among `parameters`.
 *
 * @since 0.1.0
 * @category models
 */
export interface UserTokenRequestParameters
  extends Omit<TokenRequestParameters, "grant" | "authorizationDetails" | "parameters">
{
  readonly parameters?: UserTokens.Parameters | undefined
  readonly grant?: undefined
  readonly authorizationDetails?: undefined
  readonly client?: string | undefined
  readonly session?: Session | undefined
}

/**
 * What is revoked: by default the refresh token, with which servers end the access tokens too (RFC 7009 section 2.1).
 *
 * @since 0.1.0
 * @category models
 */
export interface RevokeParameters extends UserTokenRequestParameters {
  readonly token?: "refresh" | "access" | "both" | undefined
}

/**
 * Everything that getting a user's token can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type UserTokenError =
  | AccessTokenError
  | LookupError
  | NoActiveUser
  | RefreshTokenMissing
  | ResponseStarted
  | SessionEnded
  | SessionStoreError
  | SignInRequired
  | IdTokenInvalid

/**
 * `CurrentUser`, unless the parameters name a session.
 *
 * @since 0.1.0
 * @category models
 */
export type UserOf<P> = P extends { readonly session: Session } ? never : CurrentUser

/**
 * A refresh token is exchanged once: refreshes of a session and client run one after the other, here and in all processes
 * that share a `TokenStore`, and each looks first whether the one before has brought what it wants. A refresh that has begun
 * goes on to its end, whoever waits for it.
 *
 * `TokenRequestCustomizer` is not asked by these methods; it is by the functions of this module and by
 * `UserAccessTokenHttpClient`.
 *
 * @since 0.1.0
 * @category tags
 */
export class UserTokenManager extends Context.Tag("@effect-oauth/oidc/UserTokenManager")<UserTokenManager, {
  /** A token that is good now. */
  readonly get: <P extends UserTokenRequestParameters = {}>(
    parameters?: P
  ) => Effect.Effect<UserTokens.UserToken, UserTokenError, UserOf<P>>
  /** Another token than the one that an API has rejected. */
  readonly renew: <P extends UserTokenRequestParameters = {}>(
    rejected: AccessToken.AccessToken,
    parameters?: P
  ) => Effect.Effect<UserTokens.UserToken, UserTokenError, UserOf<P>>
  /** Revokes at the server, and forgets, also when that fails. A server that cannot revoke is not an error. */
  readonly revoke: <P extends RevokeParameters = {}>(
    parameters?: P
  ) => Effect.Effect<void, UserTokenError, UserOf<P>>
  /** Forgets the tokens of a sign-in, refresh token and key included. */
  readonly clear: <P extends UserTokenRequestParameters = {}>(
    parameters?: P
  ) => Effect.Effect<void, UserTokenError, UserOf<P>>
  /** The `TokenRequestCustomizer` that it was built with, if any. */
  readonly customizer?: Customize<AccessTokenError> | undefined
}>() {}

interface Place extends Refresh.Place {
  /** As it was when the token was asked for. */
  readonly request: UserParameters.UserParameters
}

const none: UserTokenRequestParameters = {}

const good: Wanted = { _tag: "Good" }

/** What tells two refreshes apart that must not share one answer. */
const nameOf = (place: Place, wanted: Wanted): string => {
  const own = wanted._tag === "Other" ? Redacted.value(wanted.than.value) : ""
  return JSON.stringify([
    Refresh.lockOf(place.session, place.client),
    UserTokens.addressOf(place.address),
    wanted._tag,
    own
  ])
}

/**
 * @since 0.1.0
 * @category models
 */
export type Requirements =
  | OidcClients
  | TokenEndpoint
  | IdTokenVerifier
  | UserTokenStore.UserTokenStore
  | TokenConcurrency
  | DPoPProofs

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<UserTokenManager["Type"], never, Requirements | Scope.Scope> = Effect.gen(function*() {
  const clients = yield* OidcClients
  const endpoint = yield* TokenEndpoint
  const store = guarded(yield* UserTokenStore.UserTokenStore)
  const concurrency = yield* TokenConcurrency
  const proofs = yield* DPoPProofs
  const log = yield* OAuthLogging.make
  const hooks = yield* OptionalServices.get(OidcHooks)
  const customizer = Option.getOrUndefined(yield* OptionalServices.get(TokenRequestCustomizer))
  const keys = SessionKeys.make(1000)
  const voyages = yield* Voyages.make<UserTokens.UserTokens, Refresh.RefreshError>(Refresh.drainTimeout)
  const refresh = yield* Refresh.make({
    endpoint,
    store,
    keys,
    log,
    idTokens: yield* IdTokenVerifier,
    concurrency,
    signIns: SignIns.make(store, hooks, log)
  })

  const sessionOf = (parameters: UserTokenRequestParameters): Effect.Effect<Session | undefined> =>
    parameters.session !== undefined
      ? Effect.succeed(parameters.session)
      : Effect.map(Effect.serviceOption(CurrentUser), (user) => Option.getOrUndefined(user)?.session)

  const placeOf = (
    parameters: UserTokenRequestParameters
  ): Effect.Effect<Place, LookupError | NoActiveUser | TokenRequestInvalid> =>
    Effect.gen(function*() {
      const client = yield* clients.get(parameters.client)
      const session = yield* sessionOf(parameters)
      const signIn = session?.known?.signIns[client.name]
      // By the very registration that the tokens would be sent with.
      if (session === undefined || signIn === undefined || !isOf(signIn, client)) {
        return yield* new NoActiveUser({ clientName: client.name })
      }
      const request = yield* UserParameters.parse(client.name, parameters)
      return { session, client, address: request, request }
    })

  /** A token as it can be sent: bound to the key that it was given for. */
  const ready = (place: Place, tokens: UserTokens.UserTokens): Effect.Effect<UserTokens.UserToken, UserTokenError> => {
    const token = Option.getOrUndefined(UserTokens.get(tokens, place.address))
    if (token === undefined) return new NoActiveUser({ clientName: place.client.name })
    if (token.accessToken.keyThumbprint === undefined) return Effect.succeed(token)
    return keys.of(place.client, tokens).pipe(
      Effect.flatMap((key) => key === undefined ? Effect.void : proofs.bind(token.accessToken, key)),
      Effect.as(token)
    )
  }

  const find = (tokens: UserTokens.UserTokens | undefined, place: Place, wanted: Wanted, now: number) => {
    const token = tokens?.accessTokens[UserTokens.addressOf(place.address)]
    return token !== undefined && willDo(token, wanted, place.client.refreshBefore, now) ? tokens : undefined
  }

  const refreshed = (
    place: Place,
    wanted: Wanted
  ): Effect.Effect<UserTokens.UserTokens, Refresh.RefreshError> =>
    Effect.suspend(() => {
      const name = nameOf(place, wanted)
      const isWritable = () => store.isWritable?.(place.session) !== false
      // Whoever can still set a cookie begins; others may share what comes of it.
      if (!isWritable() && !voyages.isUnderWay(name)) return refresh.run(place, wanted, place.request)
      const shared = voyages.join(
        name,
        refresh.run(place, wanted, place.request),
        () => Refresh.closed(place.client.name)
      )
      // The one who began may have left before its turn came.
      return Effect.catchTag(shared, "ResponseStarted", (error) =>
        isWritable() ? refreshed(place, wanted) : Effect.fail(error))
    })

  const obtain = (place: Place, wanted: Wanted) =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const known = find(refresh.known(place), place, wanted, now)
      if (known !== undefined) return yield* ready(place, known)
      return yield* ready(place, yield* refreshed(place, wanted))
    })

  const revokeOne = (
    client: OidcClient,
    token: Redacted.Redacted<string>,
    hint: "access_token" | "refresh_token",
    request: Place["request"]
  ) =>
    Effect.catchTag(endpoint.revoke(client.login, token, hint, request), "TokenClientInvalid", (error) =>
      // Asked for by its field: any other problem of the client would have come up before.
      log.debug(client.name, `nothing is revoked: ${error.message}`))

  const revoke = (
    { address, client, request, session }: Place,
    which: "refresh" | "access" | "both"
  ) =>
    Effect.gen(function*() {
      yield* refresh.flush(session, client)
      const kept = yield* store.get(session, client.name)
      if (Option.isNone(kept)) return
      const { accessTokens, refreshToken } = kept.value.tokens
      const accessToken = accessTokens[UserTokens.addressOf(address)]
      // Before the server is asked: from then on no other process presents what is about to be revoked.
      const forgotten = yield* Effect.either(UserTokenStore.update(store, session, client.name, (tokens) => {
        const rest = which === "refresh" ? tokens : UserTokens.withoutAccessToken(tokens, address)
        return which === "access" ? rest : UserTokens.withoutRefreshToken(rest)
      }))
      // The one that lives longer goes first; a failure does not spare the other.
      const [refreshRevoked, accessRevoked] = yield* Effect.all([
        which === "access" || refreshToken === undefined
          ? Effect.void
          : revokeOne(client, refreshToken, "refresh_token", request),
        which === "refresh" || accessToken === undefined
          ? Effect.void
          : revokeOne(client, accessToken.value, "access_token", request)
      ], { mode: "either" })
      yield* refreshRevoked
      yield* accessRevoked
      yield* forgotten
    })

  return {
    ...(customizer === undefined ? {} : { customizer }),
    get: (parameters) => {
      const wanted = parameters ?? none
      return Effect.flatMap(placeOf(wanted), (place) =>
        wanted.forceRenewal === true
          ? Effect.flatMap(Clock.currentTimeMillis, (after) => obtain(place, { _tag: "New", after }))
          : obtain(place, good))
    },
    renew: (rejected, parameters) => {
      const wanted = parameters ?? none
      return Effect.flatMap(placeOf(wanted), (place) => obtain(place, { _tag: "Other", than: rejected }))
    },
    revoke: (parameters) => {
      const wanted: RevokeParameters = parameters ?? none
      return Effect.flatMap(placeOf(wanted), (place) =>
        // A refresh that is under way brings another refresh token.
        concurrency.serialised(Refresh.lockOf(place.session, place.client), revoke(place, wanted.token ?? "refresh")))
    },
    clear: (parameters) =>
      Effect.flatMap(placeOf(parameters ?? none), ({ client, session }) => store.clear(session, client.name))
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<UserTokenManager, never, Requirements> = Layer.scoped(UserTokenManager, make)

/**
 * A token of the user that is good now. Inside a web request, `TokenRequestCustomizer` is asked with the incoming request.
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = <P extends UserTokenRequestParameters = {}>(
  parameters?: P
): Effect.Effect<UserTokens.UserToken, UserTokenError, UserTokenManager | UserOf<P>> =>
  Effect.flatMap(
    UserTokenManager,
    (manager) => Effect.flatMap(customized(manager, parameters), (wanted) => manager.get(wanted))
  )

/**
 * Revokes at the server, and forgets. Inside a web request, `TokenRequestCustomizer` is asked with the incoming request.
 *
 * @since 0.1.0
 * @category accessors
 */
export const revoke = <P extends RevokeParameters = {}>(
  parameters?: P
): Effect.Effect<void, UserTokenError, UserTokenManager | UserOf<P>> =>
  Effect.flatMap(
    UserTokenManager,
    (manager) => Effect.flatMap(customized(manager, parameters), (wanted) => manager.revoke(wanted))
  )
