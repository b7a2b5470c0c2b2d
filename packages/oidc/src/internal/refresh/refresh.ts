/**
 * One refresh: from the refresh token that the store holds now to the new tokens in the store. It runs alone for its session
 * and client, and to its end.
 */
import type * as AccessToken from "@effect-oauth/core/AccessToken"
import { type AccessTokenError, TokenCacheClosed, type TokenRequestInvalid } from "@effect-oauth/core/OAuthError"
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as OAuthMetrics from "@effect-oauth/core/OAuthMetrics"
import type { SigningKey } from "@effect-oauth/core/SigningKey"
import type { ExchangeError, TokenEndpoint, TokenResponse } from "@effect-oauth/core/TokenEndpoint"
import * as TokenGrant from "@effect-oauth/core/TokenGrant"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type { IdTokenVerifier } from "../../IdToken.ts"
import type { OidcClient } from "../../OidcClient.ts"
import {
  type IdTokenInvalid,
  RefreshTokenMissing,
  ResponseStarted,
  SessionEnded,
  type SessionStoreError
} from "../../OidcError.ts"
import type { Session } from "../../Session.ts"
import type { TokenConcurrency } from "../../TokenConcurrency.ts"
import * as UserTokens from "../../UserTokens.ts"
import { attempts, type KeptTokens, refusedTooOften, type UserTokenStore } from "../../UserTokenStore.ts"
import type { SignIns } from "../session/signIns.ts"
import * as Backoffs from "./backoffs.ts"
import { isAlive, type Wanted, willDo } from "./freshness.ts"
import type { SessionKeys } from "./sessionKeys.ts"

/** @internal */
export type RefreshError =
  | AccessTokenError
  | IdTokenInvalid
  | RefreshTokenMissing
  | ResponseStarted
  | SessionEnded
  | SessionStoreError

/** @internal Whose token, and which. */
export interface Place {
  readonly session: Session
  readonly client: OidcClient
  readonly address: UserTokens.Address
}

/** @internal */
export interface Services {
  readonly endpoint: TokenEndpoint["Type"]
  readonly idTokens: IdTokenVerifier["Type"]
  readonly store: UserTokenStore["Type"]
  readonly concurrency: TokenConcurrency["Type"]
  readonly keys: SessionKeys
  readonly signIns: SignIns
  readonly log: OAuthLogging.Log
}

/** @internal */
export const lockOf = (session: Session, client: OidcClient): string => `${session.key ?? ""}\n${client.name}`

/** @internal */
export interface Refresh {
  (
    place: Place,
    wanted: Wanted,
    parameters: TokenRequestParameters
  ): Effect.Effect<UserTokens.UserTokens, RefreshError>
}

const isSameSecret = (one: Redacted.Redacted<string> | undefined, other: Redacted.Redacted<string> | undefined) =>
  one !== undefined && other !== undefined && Redacted.value(one) === Redacted.value(other)

/** What a clock that is off by more than the tolerance would explain: nothing that says it is another user. */
const ofTime: ReadonlySet<IdTokenInvalid["reason"]> = new Set(["exp", "iat", "nbf"])

/** A rotated token that is not written down is lost: a store that fails is tried again for a while. */
const persistently = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("2 seconds")),
  Schedule.upTo("8 seconds")
)

/** @internal */
export const make = (services: Services): Refresh => {
  const { concurrency, endpoint, idTokens, keys, log, signIns, store } = services

  const newest = ({ client, session }: Place): Effect.Effect<KeptTokens, SessionEnded | SessionStoreError> =>
    Effect.flatMap(
      store.get(session, client.name),
      Option.match({
        onNone: () => Effect.fail(new SessionEnded({ reason: "Elsewhere" })),
        onSome: Effect.succeed
      })
    )

  const find = (tokens: UserTokens.UserTokens, { address }: Place): AccessToken.AccessToken | undefined =>
    tokens.accessTokens[UserTokens.addressOf(address)]

  const backoffs = Backoffs.make<ExchangeError | TokenRequestInvalid>()

  const exchange = (
    { client, session }: Place,
    refreshToken: Redacted.Redacted<string>,
    parameters: TokenRequestParameters,
    dpop: SigningKey | undefined
  ) =>
    endpoint.request(client.login, TokenGrant.refreshToken(refreshToken), parameters, { dpop }).pipe(
      Metric.trackDurationWith(OAuthMetrics.acquisitionMillis, Duration.toMillis),
      Effect.tapBoth({
        onSuccess: () => {
          backoffs.succeeded(lockOf(session, client))
          return Effect.zipRight(
            Metric.increment(OAuthMetrics.retrieved),
            log.debug(client.name, "a new access token of a user")
          )
        },
        onFailure: (error) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            backoffs.failed(lockOf(session, client), error, now)
            return Metric.increment(Metric.tagged(OAuthMetrics.retrievalFailed, "error", error._tag))
          })
      })
    )

  /** Nobody will use it any more: it is made worthless. */
  const discard = ({ client }: Place, { refreshToken }: TokenResponse, presented: Redacted.Redacted<string>) =>
    refreshToken === undefined || isSameSecret(refreshToken, presented)
      ? Effect.void
      : endpoint.revoke(client.login, refreshToken, "refresh_token").pipe(
        Effect.timeout("5 seconds"),
        Effect.catchAll(() => log.debug(client.name, "a refresh token that came too late could not be revoked"))
      )

  /** Writes what came over what is there by now. */
  const write = (
    place: Place,
    kept: KeptTokens,
    presented: Redacted.Redacted<string>,
    response: TokenResponse,
    idToken: Redacted.Redacted<string> | undefined,
    left = attempts
  ): Effect.Effect<UserTokens.UserTokens, SessionEnded | SessionStoreError> =>
    Effect.gen(function*() {
      const { address, client, session } = place
      const now = yield* Clock.currentTimeMillis
      const isOurs = isSameSecret(kept.tokens.refreshToken, presented)
      const withToken = UserTokens.set(kept.tokens, address, response.accessToken, now)
      const next = isOurs
        ? new UserTokens.UserTokens({
          ...withToken,
          refreshToken: response.refreshToken ?? presented,
          idToken: idToken ?? kept.tokens.idToken
        })
        : withToken
      if (yield* store.set(session, client.name, next, kept.version)) return next
      const again = yield* store.get(session, client.name)
      if (Option.isSome(again)) {
        if (left === 1) return yield* refusedTooOften("set")
        return yield* write(place, again.value, presented, response, idToken, left - 1)
      }
      yield* discard(place, response, presented)
      return yield* new SessionEnded({ reason: "Elsewhere" })
    })

  /** The ID token that came, if one did; one of somebody else ends the sign-in. */
  const checked = (place: Place, response: TokenResponse, presented: Redacted.Redacted<string>) => {
    const { client, session } = place
    const { accessToken, idToken } = response
    const previous = session.known?.signIns[client.name]?.principal
    if (idToken === undefined) return Effect.succeed(undefined)
    const unchecked = (why: string) =>
      Effect.as(log.warning(client.name, `the ID token of a refresh is not used: ${why}`), undefined)
    return idTokens.verify(client, idToken, {
      accessToken: accessToken.value,
      previous: previous === undefined ? undefined : { ...previous.claims, sub: previous.sub }
    }).pipe(
      Effect.map(({ claims }) => ({ idToken, claims })),
      // The new refresh token is in nobody's hands but ours: keys that have to be fetched are not waited for.
      Effect.timeout("2 seconds"),
      Effect.catchTags({
        DiscoveryError: ({ message }) => unchecked(message),
        TimeoutException: () => unchecked("the server's keys did not come in time"),
        IdTokenInvalid: (error) =>
          ofTime.has(error.reason) ? unchecked(error.message) : discard(place, response, presented).pipe(
            Effect.zipRight(signIns.end(session, client.name, "SubjectChanged")),
            Effect.zipRight(
              Effect.fail(error.reason === "sub" ? new SessionEnded({ reason: "SubjectChanged" }) : error)
            )
          )
      })
    )
  }

  const landed = (place: Place, kept: KeptTokens, presented: Redacted.Redacted<string>, response: TokenResponse) =>
    Effect.gen(function*() {
      const identity = yield* checked(place, response, presented)
      const tokens = yield* Effect.retry(write(place, kept, presented, response, identity?.idToken), {
        schedule: persistently,
        while: (error) => error.retryable
      })
      yield* signIns.refreshed(place.session, place.client, identity?.claims)
      return tokens
    })

  /** Refused for good, unless somebody else has exchanged it meanwhile. */
  const refused = (
    place: Place,
    presented: Redacted.Redacted<string>,
    otherwise: Effect.Effect<UserTokens.UserTokens, RefreshError>
  ): Effect.Effect<UserTokens.UserTokens, RefreshError> =>
    Effect.flatMap(newest(place), ({ tokens }) =>
      isSameSecret(tokens.refreshToken, presented)
        ? Effect.zipRight(
          signIns.end(place.session, place.client.name, "Refused"),
          Effect.fail(new SessionEnded({ reason: "Refused" }))
        )
        : otherwise)

  const withoutRefreshToken = (
    { client }: Place,
    tokens: UserTokens.UserTokens,
    usable: boolean,
    current: AccessToken.AccessToken | undefined
  ) =>
    usable || (current !== undefined && client.onMissingRefreshToken === "useExpired")
      ? Effect.succeed(tokens)
      : Effect.fail(new RefreshTokenMissing({ clientName: client.name }))

  const once = (
    place: Place,
    wanted: Wanted,
    parameters: TokenRequestParameters,
    isAgain: boolean
  ): Effect.Effect<UserTokens.UserTokens, RefreshError> =>
    Effect.gen(function*() {
      const { client, session } = place
      const kept = yield* newest(place)
      const { tokens } = kept
      const now = yield* Clock.currentTimeMillis
      const current = find(tokens, place)
      if (current !== undefined && willDo(current, wanted, client.refreshBefore, now)) return tokens
      const isUsable = wanted._tag === "Good" && current !== undefined && isAlive(current, now)
      const { refreshToken } = tokens
      if (refreshToken === undefined) return yield* withoutRefreshToken(place, tokens, isUsable, current)
      if (store.isWritable?.(session) === false) {
        return isUsable ? tokens : yield* new ResponseStarted({ clientName: client.name })
      }
      const pausing = wanted._tag === "New" ? undefined : backoffs.current(lockOf(session, client), now)
      if (pausing !== undefined) return isUsable ? tokens : yield* pausing
      const dpop = yield* keys.of(client, tokens)
      const response = yield* Effect.either(exchange(place, refreshToken, parameters, dpop))
      if (response._tag === "Right") return yield* landed(place, kept, refreshToken, response.right)
      const error = response.left
      const meanwhile = isUsable ? "; the current one goes on being used" : ""
      yield* log.warning(client.name, `no new access token of a user: ${error.message}${meanwhile}`)
      if (error._tag === "TokenEndpointError" && error.error === "invalid_grant" && !isAgain) {
        return yield* refused(place, refreshToken, Effect.suspend(() => once(place, wanted, parameters, true)))
      }
      return isUsable ? tokens : yield* error
    })

  return (place, wanted, parameters) =>
    concurrency.serialised(lockOf(place.session, place.client), once(place, wanted, parameters, false)).pipe(
      Effect.withSpan("oauth.token.acquire", {
        captureStackTrace: false,
        attributes: { "oauth.client": place.client.name, "oauth.forced": wanted._tag !== "Good" }
      })
    )
}

/** @internal */
export const closed = (clientName: string): TokenCacheClosed => new TokenCacheClosed({ clientName })

/** @internal How long running refreshes are waited for when the program ends. */
export const patience: Duration.DurationInput = "10 seconds"
