/**
 * One refresh: from the refresh token that the store holds now to the new tokens in the store. It runs alone for its session
 * and client, and to its end.
 */
import type * as AccessToken from "@effect-oauth/core/AccessToken"
import { type AccessTokenError, TokenCacheClosed } from "@effect-oauth/core/OAuthError"
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as OAuthMetrics from "@effect-oauth/core/OAuthMetrics"
import type { SigningKey } from "@effect-oauth/core/SigningKey"
import * as SteadyClock from "@effect-oauth/core/SteadyClock"
import type { TokenEndpoint, TokenResponse } from "@effect-oauth/core/TokenEndpoint"
import * as TokenGrant from "@effect-oauth/core/TokenGrant"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { IdTokenVerifier } from "../../IdToken.ts"
import type { OidcClient } from "../../OidcClient.ts"
import {
  type IdTokenInvalid,
  RefreshTokenMissing,
  ResponseStarted,
  SessionEnded,
  SessionStoreError,
  SignInRequired
} from "../../OidcError.ts"
import type { Session } from "../../Session.ts"
import type { Presentation, TokenConcurrency } from "../../TokenConcurrency.ts"
import * as UserTokens from "../../UserTokens.ts"
import { attempts, type KeptTokens, refusedTooOften, update, type UserTokenStore } from "../../UserTokenStore.ts"
import * as Schedules from "../schedules.ts"
import type { SignIns } from "../session/signIns.ts"
import { type RequestError, type Verdict, verdictOf } from "./answers.ts"
import { isAlive, type Wanted, willDo } from "./freshness.ts"
import * as RefreshedIdToken from "./refreshedIdToken.ts"
import * as Refusals from "./refusals.ts"
import type { SessionKeys } from "./sessionKeys.ts"
import * as Unwritten from "./unwritten.ts"

/** @internal */
export type RefreshError =
  | AccessTokenError
  | IdTokenInvalid
  | RefreshTokenMissing
  | ResponseStarted
  | SessionEnded
  | SessionStoreError
  | SignInRequired

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
  readonly run: (
    place: Place,
    wanted: Wanted,
    parameters: TokenRequestParameters
  ) => Effect.Effect<UserTokens.UserTokens, RefreshError>
  /** Writes what the store has not taken yet. */
  readonly flush: (session: Session, client: OidcClient) => Effect.Effect<void, SessionEnded | SessionStoreError>
  /** What can be told without asking: what the store has not taken yet, else what the session knows. */
  readonly known: (place: Place) => UserTokens.UserTokens | undefined
}

/** Another process presents the refresh token, or has not written what came of it. */
class InProgress {
  readonly _tag = "InProgress"
}

/** Between reading the tokens and presenting one, in milliseconds: shorter than other processes respect an announcement. */
const longestPause = 20_000

/** For so long a request waits for the result of another process. */
const waitForOther = Schedule.spaced("250 millis").pipe(Schedules.within("5 seconds"))

const isSameSecret = (one: Redacted.Redacted<string> | undefined, other: Redacted.Redacted<string> | undefined) =>
  one !== undefined && other !== undefined && Redacted.value(one) === Redacted.value(other)

const find = (tokens: UserTokens.UserTokens | undefined, { address }: Place): AccessToken.AccessToken | undefined =>
  tokens?.accessTokens[UserTokens.addressOf(address)]

const lock = ({ client, session }: Place): string => lockOf(session, client)

const subjectOf = (place: Place, refreshToken: Redacted.Redacted<string>): Refusals.Subject => ({
  lock: lock(place),
  address: UserTokens.addressOf(place.address),
  refreshToken: Redacted.value(refreshToken)
})

/** With what a refresh brought. What another refresh token brought meanwhile, and is newer, stays. */
const merged = (
  place: Place,
  tokens: UserTokens.UserTokens,
  presented: Redacted.Redacted<string>,
  { accessToken, refreshToken }: TokenResponse,
  idToken: Redacted.Redacted<string> | undefined,
  now: number
): UserTokens.UserTokens => {
  const withToken = UserTokens.set(tokens, place.address, accessToken, now)
  if (isSameSecret(tokens.refreshToken, presented)) {
    return new UserTokens.UserTokens({
      ...withToken,
      refreshToken: refreshToken ?? presented,
      idToken: idToken ?? tokens.idToken
    })
  }
  const there = find(tokens, place)
  const isOlder = there !== undefined && there.obtainedAt.epochMillis > accessToken.obtainedAt.epochMillis
  return isOlder ? tokens : withToken
}

const noPresentation: Presentation = { _tag: "Granted", settle: () => Effect.void }

/** @internal How long running refreshes are waited for when the program ends. */
export const drainTimeout: Duration.DurationInput = "10 seconds"

/** @internal */
export const closed = (clientName: string): TokenCacheClosed => new TokenCacheClosed({ clientName })

/** @internal */
export const make = (services: Services): Effect.Effect<Refresh, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { concurrency, endpoint, idTokens, keys, log, signIns, store } = services
    const unwritten = yield* Unwritten.make(log, drainTimeout)
    const refusals = Refusals.make<RequestError | SignInRequired>()
    const judge = RefreshedIdToken.make(idTokens, log)

    const newest = ({ client, session }: Place): Effect.Effect<KeptTokens, SessionEnded | SessionStoreError> =>
      Effect.flatMap(
        store.get(session, client.name),
        Option.match({
          onNone: () => Effect.fail(new SessionEnded({ reason: "Elsewhere" })),
          onSome: Effect.succeed
        })
      )

    const known = (place: Place): UserTokens.UserTokens | undefined =>
      unwritten.current(lock(place)) ?? store.known?.(place.session, place.client.name)

    const isUsable = (token: AccessToken.AccessToken | undefined, wanted: Wanted, now: number): boolean =>
      wanted._tag === "Good" && token !== undefined && isAlive(token, now)

    const exchange = (
      { client }: Place,
      refreshToken: Redacted.Redacted<string>,
      parameters: TokenRequestParameters,
      dpop: SigningKey | undefined
    ) =>
      endpoint.request(client.login, TokenGrant.refreshToken(refreshToken), parameters, { dpop }).pipe(
        Metric.trackDurationWith(OAuthMetrics.acquisitionMillis, Duration.toMillis),
        Effect.tapBoth({
          onSuccess: () =>
            Effect.zipRight(
              Metric.increment(OAuthMetrics.retrieved),
              log.debug(client.name, "a new access token of a user")
            ),
          onFailure: (error) => Metric.increment(Metric.tagged(OAuthMetrics.retrievalFailed, "error", error._tag))
        })
      )

    /** The session does not use it any more: it is made worthless. */
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
        const { client, session } = place
        const now = yield* Clock.currentTimeMillis
        const next = merged(place, kept.tokens, presented, response, idToken, now)
        if (yield* store.set(session, client.name, next, kept.version)) return next
        const again = yield* store.get(session, client.name)
        // Tokens that were cleared or revoked meanwhile stay so.
        if (Option.isSome(again) && again.value.tokens.refreshToken !== undefined) {
          if (left === 1) return yield* refusedTooOften("set")
          return yield* write(place, again.value, presented, response, idToken, left - 1)
        }
        yield* discard(place, response, presented)
        return yield* new SessionEnded({ reason: "Elsewhere" })
      })

    interface Exchanged {
      readonly place: Place
      readonly kept: KeptTokens
      readonly presented: Redacted.Redacted<string>
      readonly presentation: typeof noPresentation
      readonly response: TokenResponse
    }

    /** In the store, or in memory until the store takes it. */
    const persisted = (
      { kept, place, presentation, presented, response }: Exchanged,
      identity: RefreshedIdToken.Identity | undefined
    ): Effect.Effect<UserTokens.UserTokens, SessionEnded> => {
      const isRotated = response.refreshToken !== undefined && !isSameSecret(response.refreshToken, presented)
      const settle = presentation.settle(isRotated ? "used" : "unused")
      const writing = write(place, kept, presented, response, identity?.idToken).pipe(
        Effect.tapErrorTag("SessionEnded", () => settle),
        Effect.zipLeft(settle),
        Effect.zipLeft(signIns.refreshed(place.session, place.client, identity?.claims))
      )
      const keep = Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        const tokens = merged(place, kept.tokens, presented, response, identity?.idToken, now)
        yield* unwritten.keep(lock(place), { clientName: place.client.name, tokens, write: writing })
        return tokens
      })
      return Effect.catchTag(writing, "SessionStoreError", () => keep)
    }

    /** An ID token that names another user is no proof without its signature: nothing is kept, and nothing revoked. */
    const unverified = ({ place, presentation, presented }: Exchanged) =>
      Effect.gen(function*() {
        const { client, session } = place
        const error = new SignInRequired({
          clientName: client.name,
          reason: "Identity",
          problem: "a refresh came back with an ID token that names another user and could not be verified"
        })
        refusals.add(subjectOf(place, presented), { verdict: "Dead", error }, yield* SteadyClock.currentTimeMillis)
        yield* log.warning(client.name, error.message)
        yield* Effect.ignore(
          update(
            store,
            session,
            client.name,
            (tokens) => isSameSecret(tokens.refreshToken, presented) ? UserTokens.withoutRefreshToken(tokens) : tokens
          )
        )
        yield* presentation.settle("used")
        return yield* error
      })

    const landed = (exchanged: Exchanged) =>
      Effect.gen(function*() {
        const { place, presentation, presented, response } = exchanged
        const { client, session } = place
        const previous = session.known?.signIns[client.name]?.principal
        const judgement = yield* judge(client, response, previous)
        switch (judgement._tag) {
          case "Same":
            return yield* persisted(exchanged, judgement.identity)
          case "Unverified":
            return yield* unverified(exchanged)
          case "Other":
            yield* discard(place, response, presented)
            yield* presentation.settle("used")
            yield* signIns.end(session, client.name, "SubjectChanged")
            return yield* new SessionEnded({ reason: "SubjectChanged" })
        }
      })

    const withoutRefreshToken = (
      { client }: Place,
      tokens: UserTokens.UserTokens,
      usable: boolean,
      current: AccessToken.AccessToken | undefined
    ) =>
      usable || (current !== undefined && client.onMissingRefreshToken === "useExpired")
        ? Effect.succeed(tokens)
        : Effect.fail(new RefreshTokenMissing({ clientName: client.name }))

    const present = (refreshToken: Redacted.Redacted<string>): Effect.Effect<Presentation, SessionStoreError> =>
      concurrency.present?.(refreshToken) ?? Effect.succeed(noPresentation)

    /** Ends the sign-in, unless another refresh token is there by now. */
    const dead = (
      place: Place,
      presented: Redacted.Redacted<string>,
      otherwise: Effect.Effect<UserTokens.UserTokens, RefreshError | InProgress>
    ): Effect.Effect<UserTokens.UserTokens, RefreshError | InProgress> =>
      Effect.flatMap(newest(place), ({ tokens }) =>
        isSameSecret(tokens.refreshToken, presented)
          ? Effect.zipRight(
            signIns.end(place.session, place.client.name, "Refused"),
            Effect.fail(new SessionEnded({ reason: "Refused" }))
          )
          : otherwise)

    const refusalOf = (place: Place, error: RequestError, verdict: Verdict): RequestError | SignInRequired => {
      if (verdict !== "SignIn") return error
      const { name: clientName } = place.client
      return error._tag === "TokenEndpointError"
        ? new SignInRequired({ clientName, reason: "Interaction", problem: `the server answered ${error.error}` })
        : new SignInRequired({
          clientName,
          reason: "Refused",
          problem: "the server refused a refresh and did not say why"
        })
    }

    type Once = Effect.Effect<UserTokens.UserTokens, RefreshError | InProgress>

    const once = (place: Place, wanted: Wanted, parameters: TokenRequestParameters, left = 3): Once =>
      Effect.gen(function*() {
        const { client, session } = place
        const begun = yield* SteadyClock.currentTimeMillis
        yield* unwritten.flush(lock(place))
        const kept = yield* newest(place)
        const { tokens } = kept
        const now = yield* Clock.currentTimeMillis
        const current = find(tokens, place)
        if (current !== undefined && willDo(current, wanted, client.refreshBefore, now)) return tokens
        const usable = isUsable(current, wanted, now)
        const { refreshToken } = tokens
        if (refreshToken === undefined) return yield* withoutRefreshToken(place, tokens, usable, current)
        if (store.isWritable?.(session) === false) {
          return usable ? tokens : yield* new ResponseStarted({ clientName: client.name })
        }
        const again: Once = left === 0 ? Effect.fail(new InProgress()) : once(place, wanted, parameters, left - 1)
        const subject = subjectOf(place, refreshToken)
        const before = refusals.current(subject, yield* SteadyClock.currentTimeMillis)
        if (before?.verdict === "Dead") {
          return yield* before.error._tag === "SignInRequired" ? before.error : dead(place, refreshToken, again)
        }
        if (before !== undefined && wanted._tag !== "New") return usable ? tokens : yield* before.error
        const presentation = yield* present(refreshToken)
        if (presentation._tag === "Pending") return yield* Effect.fail(new InProgress())
        if (presentation._tag === "Used") {
          return usable ? tokens : yield* new SignInRequired({
            clientName: client.name,
            reason: "Used",
            problem: "the refresh token of this session was presented before, and what came of it is not known any more"
          })
        }
        const dpop = yield* keys.of(client, tokens)
        // A process that was paused since it announced the token may not be the one that presents it any more.
        if ((yield* SteadyClock.currentTimeMillis) - begun > longestPause) {
          yield* presentation.settle("unused")
          return yield* Effect.fail(new InProgress())
        }
        const response = yield* Effect.either(exchange(place, refreshToken, parameters, dpop))
        if (response._tag === "Right") {
          refusals.clear(subject)
          return yield* landed({ place, kept, presentation, presented: refreshToken, response: response.right })
        }
        const verdict = verdictOf(response.left)
        const error = refusalOf(place, response.left, verdict)
        refusals.add(subject, { verdict, error }, yield* SteadyClock.currentTimeMillis)
        yield* presentation.settle(verdict === "Dead" ? "used" : "unused")
        const stillUsable = verdict !== "Dead" && isUsable(current, wanted, yield* Clock.currentTimeMillis)
        const meanwhile = stillUsable ? "; the current one goes on being used" : ""
        yield* log.warning(client.name, `no new access token of a user: ${response.left.message}${meanwhile}`)
        if (verdict === "Dead") return yield* dead(place, refreshToken, again)
        return stillUsable ? tokens : yield* error
      })

    /** A store that is away is no reason not to use a token that is good. */
    const withoutStore = (place: Place, wanted: Wanted, error: SessionStoreError) =>
      Effect.gen(function*() {
        const tokens = known(place)
        const now = yield* Clock.currentTimeMillis
        if (tokens === undefined || !isUsable(find(tokens, place), wanted, now)) return yield* error
        yield* log.warning(
          place.client.name,
          `no new access token of a user: ${error.message}; the current one goes on being used`
        )
        return tokens
      })

    const inProgress = new SessionStoreError({
      operation: "refresh",
      problem: "another process is renewing the tokens of this session, and has not written them yet"
    })

    return {
      known,
      flush: (session, client) => unwritten.flush(lockOf(session, client)),
      run: (place, wanted, parameters) =>
        concurrency.serialised(lock(place), once(place, wanted, parameters)).pipe(
          Effect.retry({ schedule: waitForOther, while: (error) => error._tag === "InProgress" }),
          Effect.catchTag("InProgress", () => Effect.fail(inProgress)),
          Effect.catchTag("SessionStoreError", (error) => withoutStore(place, wanted, error)),
          Effect.withSpan("oauth.token.acquire", {
            captureStackTrace: false,
            attributes: { "oauth.client": place.client.name, "oauth.forced": wanted._tag !== "Good" }
          })
        )
    }
  })
