/**
 * Sessions without a browser: of a command-line program whose user signed in on another device, or of a machine that was
 * given a refresh token once. They are kept under a name of the program's own, and their tokens live as those of any user:
 * each refresh token is exchanged once, and the next one is kept.
 *
 * @since 0.1.0
 */
import * as Jwt from "@effect-oauth/core/Jwt"
import type { DiscoveryError, TokenRequestInvalid } from "@effect-oauth/core/OAuthError"
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import { type ExchangeError, TokenEndpoint, type TokenResponse } from "@effect-oauth/core/TokenEndpoint"
import * as TokenGrant from "@effect-oauth/core/TokenGrant"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { IdTokenVerifier } from "./IdToken.ts"
import { verdictOf } from "./internal/refresh/answers.ts"
import { lockOf } from "./internal/refresh/refresh.ts"
import * as SessionKeys from "./internal/refresh/sessionKeys.ts"
import * as Schedules from "./internal/schedules.ts"
import * as SignIns from "./internal/session/signIns.ts"
import type { OidcClient } from "./OidcClient.ts"
import { type LookupError, OidcClients } from "./OidcClients.ts"
import { IdTokenInvalid, type SessionsInvalid, SessionStoreError, SignInRequired } from "./OidcError.ts"
import { OidcHooks } from "./OidcHooks.ts"
import type { Principal } from "./Principal.ts"
import { type Session, SessionContent, SignIn } from "./Session.ts"
import { Sessions } from "./Sessions.ts"
import { type Presentation, TokenConcurrency } from "./TokenConcurrency.ts"
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
 * @category errors
 */
export type AdoptError = KeepError | ExchangeError | TokenRequestInvalid | SignInRequired

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
  refresh: (idToken: Redacted.Redacted<string>) => ({
    previous: { sub: Option.getOrUndefined(Jwt.unverifiedClaims(Redacted.value(idToken)))?.sub }
  })
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
): Effect.Effect<Session, KeepError, Requirements> => toItsEnd(persisted(name, response, options, "login"))

/**
 * What it has in its hands exists once: an interrupted caller waits for the end. In a fiber of its own, since a time-out cannot
 * end what is not interruptible.
 */
const toItsEnd = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptible(Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), Fiber.join))

/** Longer than a failover of a store, or of the keys of a server, takes. */
const persistently = Schedules.persistently("1 minutes")

/** `replaced`: what its tokens took the place of, in a store of their own. */
interface Login {
  readonly id: string
  replaced: { readonly version: string | undefined } | undefined
}

/** An answer that is kept again, by a caller that was interrupted for instance, is still of one login. */
const logins = new WeakMap<TokenResponse, Login>()

const loginOf = (response: TokenResponse): Login => {
  const login = logins.get(response) ?? { id: crypto.randomUUID(), replaced: undefined }
  logins.set(response, login)
  return login
}

/** Retries while the store fails. A write whose answer was lost may be there, and its tokens renewed since: then it stays. */
const persisted = (
  name: string,
  response: TokenResponse,
  options: KeepOptions,
  by: keyof typeof expected
): Effect.Effect<Session, KeepError, Requirements> =>
  Effect.suspend(() => {
    const login = loginOf(response)

    const sessionKept = (client: OidcClient, principal: Principal, tokens: UserTokens | undefined) =>
      Effect.gen(function*() {
        const sessions = yield* Sessions
        const there = yield* sessions.named(name)
        if (Option.isSome(there) && there.value.known?.loginId === login.id) return there.value
        login.replaced = undefined
        const now = yield* Clock.currentTimeMillis
        const signIn = new SignIn({ principal, clientId: client.login.clientId, tokens })
        return yield* sessions.keep(
          name,
          new SessionContent({
            signIns: { [client.name]: signIn },
            primary: client.name,
            startedAt: now,
            seenAt: now,
            loginId: login.id
          })
        )
      })

    const tokensKept = (store: UserTokenStore["Type"], session: Session, clientName: string, tokens: UserTokens) =>
      Effect.gen(function*() {
        const version = Option.getOrUndefined(yield* store.get(session, clientName))?.version
        login.replaced ??= { version }
        if (version === login.replaced.version) yield* store.set(session, clientName, tokens, null)
      })

    const once = Effect.gen(function*() {
      const sessions = yield* Sessions
      const store = yield* UserTokenStore
      const hooks = Option.orElse(yield* Effect.serviceOption(OidcHooks), () => Option.fromNullable(sessions.hooks))
      const client = yield* Effect.flatMap(OidcClients, (clients) => clients.get(options.client))
      const { claims, ...user } = yield* userOf(client, response, options.sub, by)
      const principal = yield* SignIns.make(store, hooks, yield* OAuthLogging.make).principal(client, user, claims)
      const tokens = new UserTokens({
        accessTokens: { "": response.accessToken },
        refreshToken: response.refreshToken,
        idToken: response.idToken,
        key: options.key
      })
      const session = yield* inTurn(
        yield* sessions.named(name),
        client,
        store === inSession
          ? sessionKept(client, principal, tokens)
          : Effect.tap(
            sessionKept(client, principal, undefined),
            (session) => tokensKept(store, session, client.name, tokens)
          )
      )
      const onSignedIn = Option.getOrUndefined(hooks)?.onSignedIn
      if (onSignedIn !== undefined) yield* onSignedIn(principal, session)
      return session
    })

    return Effect.retry(once, { schedule: persistently, while: (error) => "retryable" in error && error.retryable })
  })

/** Another process presents the refresh token, or has not kept what came of it. */
class InProgress {
  readonly _tag = "InProgress"
}

/**
 * Keeps a session that begins with a refresh token from elsewhere. It is exchanged here and now, so where the server rotates
 * refresh tokens it is of no use afterwards: do this once, when `open` finds nothing. Callers and processes that do it at the
 * same time, over a `TokenStore` that they share, present the token once and get the same session.
 *
 * Once the token is presented, what came of it is kept also where the caller is interrupted, and for up to a minute while the
 * store is away.
 *
 * @since 0.1.0
 * @category constructors
 */
export const adopt = (
  name: string,
  refreshToken: Redacted.Redacted<string>,
  options: KeepOptions = {}
): Effect.Effect<Session, AdoptError, Requirements | TokenEndpoint> =>
  Effect.gen(function*() {
    const client = yield* Effect.flatMap(OidcClients, (clients) => clients.get(options.client))
    const sessions = yield* Sessions
    const endpoint = yield* TokenEndpoint
    const { present, serialised } = yield* TokenConcurrency
    const loginIdOf = (session: Option.Option<Session>) => Option.getOrUndefined(session)?.known?.loginId
    const before = loginIdOf(yield* sessions.named(name))

    const exchanged = (settle: (outcome: "used" | "unused") => Effect.Effect<void>) =>
      Effect.gen(function*() {
        const dpop = yield* SessionKeys.make(1).of(client, new UserTokens({ accessTokens: {}, key: options.key }))
        const response = yield* Effect.tapError(
          endpoint.request(client.login, TokenGrant.refreshToken(refreshToken), {}, { dpop }),
          (error) => settle(error._tag !== "CredentialUnavailable" && verdictOf(error) === "Dead" ? "used" : "unused")
        )
        const isRotated = response.refreshToken !== undefined &&
          Redacted.value(response.refreshToken) !== Redacted.value(refreshToken)
        const tokens = { ...response, refreshToken: response.refreshToken ?? refreshToken }
        return yield* Effect.ensuring(
          persisted(name, tokens, options, "refresh"),
          settle(isRotated ? "used" : "unused")
        )
      })

    const once: Effect.Effect<Session, AdoptError | InProgress, Requirements | TokenEndpoint> = Effect.gen(function*() {
      const there = yield* sessions.named(name)
      // Another caller has adopted it while this one waited.
      if (Option.isSome(there) && loginIdOf(there) !== before) return there.value
      const presentation: Presentation = present === undefined
        ? { _tag: "Granted", settle: () => Effect.void }
        : yield* present(refreshToken)
      if (presentation._tag === "Granted") return yield* toItsEnd(exchanged(presentation.settle))
      if (Option.isSome(there)) return there.value
      return yield* presentation._tag === "Pending" ? Effect.fail(new InProgress()) : new SignInRequired({
        clientName: client.name,
        reason: "Used",
        problem: "the refresh token was presented before, and no session came of it"
      })
    })

    return yield* serialised(JSON.stringify(["adopt", sessions.program, name]), once).pipe(
      Effect.retry({
        schedule: Schedule.spaced("250 millis").pipe(Schedules.within("5 seconds")),
        while: (error) => error._tag === "InProgress"
      }),
      Effect.catchTag("InProgress", () =>
        new SessionStoreError({
          operation: "adopt",
          problem: "another process has presented the refresh token, and has not kept the session yet"
        }))
    )
  })
