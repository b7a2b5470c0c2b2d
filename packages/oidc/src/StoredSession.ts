/**
 * Sessions without a browser: of a command-line program whose user signed in on another device, or of a machine that was
 * given a refresh token once. They are kept under a name of the program's own, and their tokens live as those of any user:
 * each refresh token is exchanged once, and the next one is kept.
 *
 * @since 0.1.0
 */
import type { DiscoveryError, TokenRequestInvalid } from "@effect-oauth/core/OAuthError"
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import { type ExchangeError, TokenEndpoint, type TokenResponse } from "@effect-oauth/core/TokenEndpoint"
import * as TokenGrant from "@effect-oauth/core/TokenGrant"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { IdTokenVerifier } from "./IdToken.ts"
import { lockOf } from "./internal/refresh/refresh.ts"
import * as SessionKeys from "./internal/refresh/sessionKeys.ts"
import * as SignIns from "./internal/session/signIns.ts"
import { unverifiedClaims } from "./internal/token/unverifiedClaims.ts"
import type { OidcClient } from "./OidcClient.ts"
import { type LookupError, OidcClients } from "./OidcClients.ts"
import { IdTokenInvalid, type SessionsInvalid, type SessionStoreError } from "./OidcError.ts"
import { OidcHooks } from "./OidcHooks.ts"
import { type Session, SessionContent, SignIn } from "./Session.ts"
import { Sessions } from "./Sessions.ts"
import { TokenConcurrency } from "./TokenConcurrency.ts"
import { UserTokens } from "./UserTokens.ts"
import { inSession, UserTokenStore } from "./UserTokenStore.ts"

/**
 * - `client`: the name of `OidcClients`; else the default one.
 * - `key`: the private JWK, as JSON text, that the tokens are bound to, where the client has `dpop: true`.
 * - `sub`: who it is. Needed where the server gives no ID token; with one, it has to say the same.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeepOptions {
  readonly client?: string | undefined
  readonly key?: Redacted.Redacted<string> | undefined
  readonly sub?: string | undefined
}

/**
 * @since 0.1.0
 * @category errors
 */
export type KeepError = LookupError | IdTokenInvalid | DiscoveryError | SessionStoreError | SessionsInvalid

/**
 * @since 0.1.0
 * @category models
 */
export type Requirements = Sessions | OidcClients | IdTokenVerifier | UserTokenStore | TokenConcurrency

/**
 * The session that is kept under this name. `None` if there is none, or it has ended.
 *
 * @since 0.1.0
 * @category accessors
 */
export const open = (
  name: string
): Effect.Effect<Option.Option<Session>, SessionStoreError | SessionsInvalid, Sessions> =>
  Effect.flatMap(Sessions, (sessions) => sessions.named(name))

/** What the ID token of a login has to say, and of a refresh whose login was elsewhere: whose it is cannot be known before. */
const expected = {
  login: () => ({ nonce: null }),
  refresh: (idToken: Redacted.Redacted<string>) => ({ previous: { sub: unverifiedClaims(idToken)?.sub } })
}

/** Who the server says it is. */
const userOf = (
  client: OidcClient,
  { accessToken, idToken }: TokenResponse,
  sub: string | undefined,
  by: keyof typeof expected
) =>
  Effect.gen(function*() {
    const { issuer, name: clientName } = client
    if (idToken === undefined) {
      if (sub !== undefined) return { issuer, sub, claims: {} }
      return yield* new IdTokenInvalid({
        clientName,
        reason: "form",
        problem: "the server gave none: is openid among the scopes that it allows? If it never gives one, say sub here"
      })
    }
    const verifier = yield* IdTokenVerifier
    const user = yield* verifier.verify(client, idToken, { accessToken: accessToken.value, ...expected[by](idToken) })
    if (sub === undefined || sub === user.sub) return user
    return yield* new IdTokenInvalid({ clientName, reason: "sub", problem: "it is of another user" })
  })

/** While nobody refreshes what is there, so that its tokens do not come after those that take their place. */
const inTurn = <A, E, R>(session: Option.Option<Session>, client: OidcClient, effect: Effect.Effect<A, E, R>) =>
  Option.match(session, {
    onNone: () => effect,
    onSome: (session) =>
      Effect.flatMap(TokenConcurrency, ({ serialised }) => serialised(lockOf(session, client), effect))
  })

/**
 * Keeps what a login gave, under this name and in place of what was there: the answer of `DeviceFlow.start`, for instance.
 * The ID token is checked.
 *
 * @example
 * ```ts
 * import { DeviceFlow } from "@effect-oauth/core"
 * import { OidcClients, StoredSession } from "@effect-oauth/oidc"
 * import { Console, Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const clients = yield* OidcClients.OidcClients
 *   const { login: client, scope } = yield* clients.get()
 *   const { tokens, userCode, verificationUri } = yield* DeviceFlow.start(client, { scope })
 *   yield* Console.log(`Open ${verificationUri} and enter ${userCode}`)
 *   return yield* StoredSession.keep("me", yield* tokens)
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const keep = (
  name: string,
  response: TokenResponse,
  options: KeepOptions = {}
): Effect.Effect<Session, KeepError, Requirements> => kept(name, response, options, "login")

const kept = (
  name: string,
  response: TokenResponse,
  options: KeepOptions,
  by: keyof typeof expected
): Effect.Effect<Session, KeepError, Requirements> =>
  Effect.gen(function*() {
    const sessions = yield* Sessions
    const store = yield* UserTokenStore
    const hooks = yield* Effect.serviceOption(OidcHooks)
    const client = yield* Effect.flatMap(OidcClients, (clients) => clients.get(options.client))
    const { claims, ...user } = yield* userOf(client, response, options.sub, by)
    const principal = yield* SignIns.make(store, hooks, yield* OAuthLogging.make).principal(client, user, claims)
    const tokens = new UserTokens({
      accessTokens: { "": response.accessToken },
      refreshToken: response.refreshToken,
      idToken: response.idToken,
      key: options.key
    })
    const before = yield* sessions.named(name)
    const session = yield* inTurn(
      before,
      client,
      Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        const isInSession = store === inSession
        const session = yield* sessions.keep(
          name,
          new SessionContent({
            signIns: { [client.name]: new SignIn({ principal, tokens: isInSession ? tokens : undefined }) },
            primary: client.name,
            startedAt: now,
            seenAt: now
          })
        )
        if (!isInSession) yield* store.set(session, client.name, tokens, null)
        return session
      })
    )
    const onSignedIn = Option.getOrUndefined(hooks)?.onSignedIn
    if (onSignedIn !== undefined) yield* onSignedIn(principal, session)
    return session
  })

/**
 * Keeps a session that begins with a refresh token from elsewhere. It is exchanged here and now, so it is of no use to
 * anybody else afterwards where the server rotates them: do this once, when `open` finds nothing.
 *
 * @since 0.1.0
 * @category constructors
 */
export const adopt = (
  name: string,
  refreshToken: Redacted.Redacted<string>,
  options: KeepOptions = {}
): Effect.Effect<Session, KeepError | ExchangeError | TokenRequestInvalid, Requirements | TokenEndpoint> =>
  Effect.gen(function*() {
    const client = yield* Effect.flatMap(OidcClients, (clients) => clients.get(options.client))
    const endpoint = yield* TokenEndpoint
    const dpop = yield* SessionKeys.make(1).of(client, new UserTokens({ accessTokens: {}, key: options.key }))
    const response = yield* endpoint.request(client.login, TokenGrant.refreshToken(refreshToken), {}, { dpop })
    const tokens = { ...response, refreshToken: response.refreshToken ?? refreshToken }
    return yield* kept(name, tokens, options, "refresh")
  })
