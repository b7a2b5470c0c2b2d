/**
 * Signing users in: OpenID Connect's authorization code flow, with PKCE always (OpenID Connect Core 1.0 section 3.1, RFC
 * 7636, RFC 9700).
 *
 * @since 0.1.0
 */
import type { AuthorizationDetail } from "@effect-oauth/core/AuthorizationDetails"
import { AuthorizationServer } from "@effect-oauth/core/AuthorizationServer"
import { backchannel } from "@effect-oauth/core/Backchannel"
import { JwtVerifier } from "@effect-oauth/core/JwtVerifier"
import type { CredentialUnavailable, SigningError, TokenRequestInvalid } from "@effect-oauth/core/OAuthError"
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as OptionalServices from "@effect-oauth/core/OptionalServices"
import { Signer } from "@effect-oauth/core/Signer"
import type { SigningKey } from "@effect-oauth/core/SigningKey"
import { type ExchangeError, TokenEndpoint } from "@effect-oauth/core/TokenEndpoint"
import * as TokenGrant from "@effect-oauth/core/TokenGrant"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { CurrentUser } from "./CurrentUser.ts"
import { IdTokenVerifier } from "./IdToken.ts"
import { isAddressOf } from "./internal/browser/callbackPath.ts"
import { localPath } from "./internal/browser/localPath.ts"
import { issuerProblem, parseAnswer, refusalOf } from "./internal/login/answer.ts"
import * as AuthorizationRequest from "./internal/login/authorizationRequest.ts"
import * as SharedCallbacks from "./internal/login/sharedCallbacks.ts"
import * as SignedAnswer from "./internal/login/signedAnswer.ts"
import * as UserInfo from "./internal/login/userInfo.ts"
import { lockOf } from "./internal/refresh/refresh.ts"
import * as SessionKeys from "./internal/refresh/sessionKeys.ts"
import { guarded } from "./internal/session/guardedTokens.ts"
import * as Program from "./internal/session/program.ts"
import * as SignIns from "./internal/session/signIns.ts"
import { LoginState, LoginStateStore } from "./LoginStateStore.ts"
import type { OidcClient } from "./OidcClient.ts"
import { type LookupError, OidcClients } from "./OidcClients.ts"
import {
  IdTokenInvalid,
  LoginAnswerInvalid,
  type LoginRefused,
  type SessionStoreError,
  type SessionTooLarge,
  type StepUpRequired,
  type UserInfoInvalid
} from "./OidcError.ts"
import { OidcHooks } from "./OidcHooks.ts"
import type { Principal } from "./Principal.ts"
import { type Session, SessionContent, SignIn } from "./Session.ts"
import { Sessions } from "./Sessions.ts"
import { TokenConcurrency } from "./TokenConcurrency.ts"
import { UserTokens } from "./UserTokens.ts"
import { inSession, UserTokenStore } from "./UserTokenStore.ts"

/**
 * What one login may ask for beyond its registration.
 *
 * - `client`: the name of `OidcClients`; else the default one.
 * - `returnTo`: where the user goes afterwards: a path of this program, `/` if it is anything else.
 * - `maxAge`, `acrValues`: the sign-in is refused if it was not that recent, or not in one of these ways.
 *
 * @since 0.1.0
 * @category models
 */
export interface LoginOptions {
  readonly client?: string | undefined
  readonly returnTo?: string | undefined
  readonly prompt?: string | undefined
  readonly loginHint?: string | undefined
  readonly scope?: string | undefined
  readonly resource?: string | ReadonlyArray<string> | undefined
  /** Those that belong to the protocol are passed over. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  readonly maxAge?: Duration.DurationInput | undefined
  readonly acrValues?: string | undefined
  /** What exactly the user is to allow (RFC 9396). */
  readonly authorizationDetails?: ReadonlyArray<AuthorizationDetail> | undefined
}

/**
 * @since 0.1.0
 * @category errors
 */
export type StartError =
  | LookupError
  | ExchangeError
  | CredentialUnavailable
  | SigningError
  | SessionStoreError

/**
 * @since 0.1.0
 * @category errors
 */
export type CallbackError =
  | LookupError
  | ExchangeError
  | TokenRequestInvalid
  | LoginAnswerInvalid
  | LoginRefused
  | IdTokenInvalid
  | UserInfoInvalid
  | SessionStoreError
  | SessionTooLarge

/**
 * Where the answer to a login arrived.
 *
 * - `path`: of the route that received it, the `callbackPath` of its client: `/auth/callback`. Take it from the definition of
 *   the route, not from the request. It is resolved against the `publicUrl` of `Sessions`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Arrival {
  readonly path: string
}

/**
 * Who has signed in, and where they wanted to go: a path of this program.
 *
 * @since 0.1.0
 * @category models
 */
export interface SignedIn {
  readonly principal: Principal
  readonly returnTo: string
}

/**
 * @since 0.1.0
 * @category tags
 */
export class OidcLogin extends Context.Tag("@effect-oauth/oidc/OidcLogin")<OidcLogin, {
  /** Begins a login; the user's browser has to go to this address next. It is for this browser only, and secret. */
  readonly start: (options?: LoginOptions) => Effect.Effect<URL, StartError, CurrentUser>
  /**
   * Finishes a login by what the server sent the browser back with. Everything is checked before the user is signed in; then
   * the session has a new id. An answer that arrived at another path than the login was to come back to ends the login with
   * `LoginAnswerInvalid`, and nothing is sent to any server (RFC 9700 section 2.1).
   */
  readonly callback: (
    parameters: URLSearchParams,
    arrival: Arrival
  ) => Effect.Effect<SignedIn, CallbackError, CurrentUser>
  /** Begins a login that an API has demanded (RFC 9470), and comes back to `returnTo`. */
  readonly stepUp: (
    required: StepUpRequired,
    options?: LoginOptions
  ) => Effect.Effect<URL, StartError, CurrentUser>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export type Requirements =
  | OidcClients
  | AuthorizationServer
  | TokenEndpoint
  | IdTokenVerifier
  | JwtVerifier
  | LoginStateStore
  | Sessions
  | UserTokenStore
  | TokenConcurrency
  | Signer
  | HttpClient.HttpClient

const scopesOf = (scope: string): ReadonlyArray<string> => scope.split(" ")

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<OidcLogin["Type"], never, Requirements> = Effect.gen(function*() {
  const clients = yield* OidcClients
  const server = yield* AuthorizationServer
  const endpoint = yield* TokenEndpoint
  const idTokens = yield* IdTokenVerifier
  const logins = yield* LoginStateStore
  const sessions = yield* Sessions
  const store = guarded(yield* UserTokenStore)
  const concurrency = yield* TokenConcurrency
  const signer = yield* Signer
  const log = yield* OAuthLogging.make
  const hooks = yield* OptionalServices.get(OidcHooks)
  const signIns = SignIns.make(store, hooks, log)
  const keys = SessionKeys.make(1000)
  const verifier = yield* JwtVerifier
  const userInfo = UserInfo.make({ server, httpClient: yield* backchannel, verifier })

  /** The key that the tokens of this login will be bound to, and as it is kept until then. */
  const keyFor = (
    client: OidcClient
  ): Effect.Effect<
    { readonly key: SigningKey | undefined; readonly text: Redacted.Redacted<string> | undefined },
    CredentialUnavailable
  > =>
    client.dpop === "session"
      ? SessionKeys.generate(client.name)
      : Effect.succeed({ key: client.dpop, text: undefined })

  const start = (options: LoginOptions = {}): Effect.Effect<URL, StartError, CurrentUser> =>
    Effect.gen(function*() {
      const { session } = yield* CurrentUser
      const client = yield* clients.get(options.client)
      const metadata = yield* server.metadata(client.login)
      if (!SharedCallbacks.namesIssuer(client, metadata)) yield* SharedCallbacks.refuse(client, { clients, server })
      const { key, text } = yield* keyFor(client)
      const state = Redacted.make(signer.random(32))
      const codeVerifier = Redacted.make(signer.random(32))
      const maxAge = options.maxAge === undefined ? client.maxAge : Duration.decode(options.maxAge)
      const login = new LoginState({
        clientName: client.name,
        nonce: Redacted.make(signer.random(32)),
        codeVerifier,
        redirectUri: new URL(client.callbackPath, sessions.publicUrl).href,
        issuerInAnswer: metadata.issuerInAuthorizationResponse,
        returnTo: localPath(options.returnTo) ?? "/",
        startedAt: yield* Clock.currentTimeMillis,
        key: text,
        maxAge: maxAge === undefined ? undefined : Math.floor(Duration.toSeconds(maxAge)),
        acrValues: options.acrValues ?? client.acrValues
      })
      const challenge = yield* signer.sha256(Redacted.value(codeVerifier))
      const parameters = AuthorizationRequest.parametersOf(
        client,
        login,
        { state, challenge, thumbprint: key?.thumbprint },
        options
      )
      const request = yield* AuthorizationRequest.signed(signer, client, parameters)
      const address = yield* AuthorizationRequest.addressOf(endpoint, client, metadata, request)
      const sameSite = client.responseMode.startsWith("form_post") ? "none" : "lax"
      yield* logins.save(Program.state(state, sessions.program), login, session.cookies, sameSite)
      return address
    })

  /** The login that these parameters answer, if this browser began one. */
  const begun = (parameters: URLSearchParams, arrival: Arrival, session: Session) =>
    Effect.gen(function*() {
      const refused = (reason: LoginAnswerInvalid["reason"], problem: string) =>
        new LoginAnswerInvalid({ reason, problem })
      const signed = SignedAnswer.of(parameters)
      if (Either.isLeft(signed)) return yield* refused("form", signed.left)
      const response = signed.right
      // What a signed answer says is looked at to find out whose it should be, and believed after that.
      const answer = parseAnswer(response === undefined ? parameters : SignedAnswer.parametersIn(response))
      if (Either.isLeft(answer)) return yield* refused("form", answer.left.problem)
      const { state } = answer.right
      const login = state === undefined
        ? Option.none()
        : yield* logins.take(Program.state(state, sessions.program), session.cookies)
      if (Option.isNone(login)) {
        return yield* refused(
          "state",
          "this browser has no such login under way: it was begun in another one, is finished, or took longer than 10 minutes"
        )
      }
      // Before anything is requested from a server: it may be the wrong one.
      if (!isAddressOf(login.value.redirectUri, arrival.path, sessions.publicUrl)) {
        return yield* refused("path", "it arrived at another path than the login was to come back to")
      }
      const client = yield* clients.get(login.value.clientName)
      const unsigned = yield* SignedAnswer.problemOf(verifier, client, response)
      if (unsigned !== undefined) return yield* refused("signature", unsigned)
      const metadata = yield* server.metadata(client.login)
      // What the server said of itself when the login began cannot be taken back.
      const supported = login.value.issuerInAnswer === true || metadata.issuerInAuthorizationResponse
      const wrong = issuerProblem(answer.right.issuer, { issuer: client.issuer, supported })
      if (wrong !== undefined) return yield* refused("issuer", wrong)
      if (!supported && response === undefined) yield* SharedCallbacks.refuse(client, { clients, server })
      return { answer: answer.right, client, login: login.value }
    })

  const exchange = (client: OidcClient, login: LoginState, code: Redacted.Redacted<string>) =>
    Effect.gen(function*() {
      const { codeVerifier, key, nonce, redirectUri } = login
      const parameters: TokenRequestParameters = {}
      const dpop = yield* keys.of(client, new UserTokens({ accessTokens: {}, key }))
      const grant = TokenGrant.authorizationCode({ code, redirectUri, codeVerifier })
      const response = yield* endpoint.request(client.login, grant, parameters, { dpop })
      if (response.idToken === undefined) {
        return yield* new IdTokenInvalid({
          clientName: client.name,
          reason: "form",
          problem: "the server gave none: is openid among the scopes that it allows?"
        })
      }
      const { claims, issuer, sub } = yield* idTokens.verify(client, response.idToken, {
        nonce: Redacted.value(nonce),
        accessToken: response.accessToken.value,
        maxAge: login.maxAge,
        acrValues: login.acrValues === undefined ? undefined : scopesOf(login.acrValues)
      })
      const more = client.userInfo ? yield* userInfo(client, response.accessToken, sub) : {}
      const principal = yield* signIns.principal(client, { issuer, sub }, { ...more, ...claims })
      if (response.refreshToken === undefined && scopesOf(client.scope).includes("offline_access")) {
        yield* log.warning(
          client.name,
          "the login asked for offline_access and got no refresh token; some servers give one with prompt=consent only"
        )
      }
      const tokens = new UserTokens({
        accessTokens: { "": response.accessToken },
        refreshToken: response.refreshToken,
        idToken: response.idToken,
        key
      })
      return { principal, tokens }
    })

  /** Those who are signed in with other clients stay, with what their tokens are at that moment. */
  const keepOthers = <A, E>(session: Session, clientName: string, use: Effect.Effect<A, E>) => {
    const others = Object.keys(session.known?.signIns ?? {}).filter((name) => name !== clientName).sort()
    return others.reduceRight<Effect.Effect<A, E | SessionStoreError | LookupError>>(
      (inner, name) =>
        Effect.flatMap(clients.get(name), (other) => concurrency.serialised(lockOf(session, other), inner)),
      use
    )
  }

  const signIn = (session: Session, client: OidcClient, principal: Principal, tokens: UserTokens) => {
    const { login: { clientId }, name: clientName } = client
    return keepOthers(
      session,
      clientName,
      Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        const before = Option.getOrUndefined(yield* session.read)?.content.signIns ?? {}
        const isInSession = store === inSession
        const content = new SessionContent({
          signIns: {
            ...before,
            [clientName]: new SignIn({ principal, clientId, tokens: isInSession ? tokens : undefined })
          },
          primary: clientName,
          startedAt: now,
          seenAt: now
        })
        if (isInSession) return yield* session.start(content)
        const others = yield* Effect.forEach(
          Object.keys(before).filter((name) => name !== clientName),
          (name) => Effect.map(store.get(session, name), (kept) => ({ name, kept }))
        )
        yield* session.start(content)
        // The session has another key now, by which a store may know its tokens.
        for (const { kept, name } of others) {
          if (Option.isSome(kept)) yield* store.set(session, name, kept.value.tokens, null)
        }
        yield* store.set(session, clientName, tokens, null)
      })
    )
  }

  const callback = (
    parameters: URLSearchParams,
    arrival: Arrival
  ): Effect.Effect<SignedIn, CallbackError, CurrentUser> =>
    Effect.gen(function*() {
      const { session } = yield* CurrentUser
      const { answer, client, login } = yield* begun(parameters, arrival, session)
      const { returnTo } = login
      if (answer._tag === "Refused") {
        return yield* refusalOf(answer, { clientName: client.name, nonce: login.nonce, returnTo })
      }
      const { principal, tokens } = yield* exchange(client, login, answer.code)
      yield* signIn(session, client, principal, tokens)
      const onSignedIn = Option.getOrUndefined(hooks)?.onSignedIn
      if (onSignedIn !== undefined) yield* onSignedIn(principal, session)
      return { principal, returnTo }
    })

  return {
    start,
    callback,
    stepUp: ({ acrValues, maxAge }, options = {}) =>
      start({
        ...options,
        acrValues: acrValues ?? options.acrValues,
        maxAge: maxAge === undefined ? options.maxAge : Duration.seconds(maxAge)
      })
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<OidcLogin, never, Requirements> = Layer.effect(OidcLogin, make)
