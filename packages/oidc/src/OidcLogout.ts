/**
 * Signing users out: here and at the provider (OpenID Connect RP-Initiated Logout 1.0), and when the provider says so
 * (Back-Channel Logout 1.0, Front-Channel Logout 1.0).
 *
 * @since 0.1.0
 */
import { AuthorizationServer } from "@effect-oauth/core/AuthorizationServer"
import * as Jwt from "@effect-oauth/core/Jwt"
import { JwtVerifier } from "@effect-oauth/core/JwtVerifier"
import type { DiscoveryError } from "@effect-oauth/core/OAuthError"
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as OptionalServices from "@effect-oauth/core/OptionalServices"
import { Signer } from "@effect-oauth/core/Signer"
import { TokenStore } from "@effect-oauth/core/TokenStore"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { CurrentUser } from "./CurrentUser.ts"
import { frontchannelProblem, logoutProblem, readLogout } from "./internal/logout/logoutClaims.ts"
import * as Replays from "./internal/logout/replays.ts"
import { guarded } from "./internal/session/guardedTokens.ts"
import * as Program from "./internal/session/program.ts"
import * as SignIns from "./internal/session/signIns.ts"
import type { OidcClient } from "./OidcClient.ts"
import { OidcClients } from "./OidcClients.ts"
import { LogoutTokenInvalid, type SessionsInvalid, type SessionStoreError } from "./OidcError.ts"
import { OidcHooks } from "./OidcHooks.ts"
import type { Session } from "./Session.ts"
import { Sessions } from "./Sessions.ts"
import { UserTokenManager } from "./UserTokenManager.ts"
import { UserTokenStore } from "./UserTokenStore.ts"

/**
 * @since 0.1.0
 * @category tags
 */
export class OidcLogout extends Context.Tag("@effect-oauth/oidc/OidcLogout")<OidcLogout, {
  /**
   * Signs the user out: of one client, else of all. Refresh tokens are revoked as the client's `revokeOnSignOut` says, for 5
   * seconds at most, and a failure does not stop it; the session ends in every process. Once begun, it goes on to its end.
   * The address, if there is one, is where the browser has to go so that the user is signed out at the provider too; it
   * holds the ID token.
   */
  readonly signOut: (
    options?: { readonly client?: string | undefined }
  ) => Effect.Effect<Option.Option<URL>, SessionStoreError, CurrentUser>
  /** A provider's message that a user's session has ended: ends it here, in every process. Server-side sessions only. */
  readonly backchannel: (
    logoutToken: Redacted.Redacted<string>
  ) => Effect.Effect<void, LogoutTokenInvalid | DiscoveryError | SessionStoreError | SessionsInvalid>
  /** The same by a frame in the user's browser, which has to name issuer and session. Server-side sessions only. */
  readonly frontchannel: (
    parameters: URLSearchParams
  ) => Effect.Effect<void, LogoutTokenInvalid | SessionStoreError | SessionsInvalid>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export type Requirements =
  | OidcClients
  | AuthorizationServer
  | JwtVerifier
  | Sessions
  | Signer
  | UserTokenManager
  | UserTokenStore

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<OidcLogout["Type"], never, Requirements> = Effect.gen(function*() {
  const clients = yield* OidcClients
  const server = yield* AuthorizationServer
  const verifier = yield* JwtVerifier
  const sessions = yield* Sessions
  const manager = yield* UserTokenManager
  const store = guarded(yield* UserTokenStore)
  const log = yield* OAuthLogging.make
  const hooks = yield* OptionalServices.get(OidcHooks)
  const signIns = SignIns.make(store, hooks, log)
  // A provider may tell several programs with one token, and each of them has to act on it.
  const signer = Program.signer(yield* Signer, sessions.program)
  const replays = Replays.make(signer, yield* OptionalServices.get(TokenStore))

  /** Nobody who signs out waits longer than this for a provider. */
  const inTime = Effect.timeout("5 seconds")

  const revoked = (client: OidcClient, session: Session) =>
    client.revokeOnSignOut === "nothing"
      ? Effect.void
      : inTime(manager.revoke({ session, client: client.name, token: client.revokeOnSignOut })).pipe(
        Effect.catchAll((error) =>
          log.warning(client.name, `the tokens of a user who signs out could not be revoked: ${error.message}`)
        )
      )

  const told = (session: Session, clientName: string) => {
    const principal = session.known?.signIns[clientName]?.principal
    const onSigningOut = Option.getOrUndefined(hooks)?.onSigningOut
    return principal === undefined || onSigningOut === undefined
      ? Effect.void
      : Effect.catchAllCause(
        Effect.suspend(() => onSigningOut(principal, session)),
        () => log.warning(clientName, "a hook of this program failed while a user signed out")
      )
  }

  /** Where the provider signs the user out (RP-Initiated Logout 1.0 section 2). */
  const addressAt = (client: OidcClient, idToken: Redacted.Redacted<string> | undefined) =>
    Effect.map(Effect.option(inTime(server.metadata(client.login))), (metadata) => {
      const endpoint = Option.getOrUndefined(metadata)?.endSessionEndpoint
      if (endpoint === undefined) return Option.none()
      const url = new URL(endpoint)
      if (idToken !== undefined) url.searchParams.set("id_token_hint", Redacted.value(idToken))
      url.searchParams.set("client_id", client.login.clientId)
      url.searchParams.set("post_logout_redirect_uri", new URL(client.postLogoutPath, sessions.publicUrl).href)
      return Option.some(url)
    })

  /** What the provider has to do with it: revokes, and says where the browser has to go. */
  const takenLeave = (session: Session, clientName: string) =>
    Effect.gen(function*() {
      const client = yield* Effect.option(clients.get(clientName))
      const kept = yield* Effect.option(Effect.flatten(store.get(session, clientName)))
      yield* told(session, clientName)
      if (Option.isNone(client)) return Option.none()
      const address = addressAt(client.value, Option.getOrUndefined(kept)?.tokens.idToken)
      const [, goTo] = yield* Effect.all([revoked(client.value, session), address], { concurrency: "unbounded" })
      return goTo
    })

  const signOutOf = (session: Session, names: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const addresses = yield* Effect.forEach(names, (name) => takenLeave(session, name), { concurrency: "unbounded" })
      yield* Effect.forEach(names, (name) => signIns.end(session, name, "SignedOut"))
      return addresses.at(-1) ?? Option.none()
    })

  const readUnverified = (logoutToken: Redacted.Redacted<string>) => {
    const claims = Option.getOrUndefined(Jwt.unverifiedClaims(Redacted.value(logoutToken)))
    const isFor = ({ issuer, login }: OidcClient) =>
      claims?.iss === issuer &&
      (claims.aud === login.clientId || (Array.isArray(claims.aud) && claims.aud.includes(login.clientId)))
    return Effect.map(clients.all, (all) => all.find(isFor))
  }

  const refused = (reason: LogoutTokenInvalid["reason"], problem: string) => new LogoutTokenInvalid({ reason, problem })

  return {
    signOut: (options = {}) =>
      Effect.flatMap(CurrentUser, ({ session }) =>
        Effect.gen(function*() {
          const content = session.known
          if (content === undefined) return Option.none()
          // The one that the user is known by goes last, and its provider is the one to go on to.
          const all = Object.keys(content.signIns).sort((one, other) =>
            Number(one === content.primary) - Number(other === content.primary)
          )
          const chosen = options.client === undefined ? all : all.filter((name) => name === options.client)
          // To its end, also if the browser does not wait for it.
          return yield* Effect.flatMap(Effect.forkDaemon(signOutOf(session, chosen)), Fiber.join)
        })),

    backchannel: (logoutToken) =>
      Effect.gen(function*() {
        const client = yield* readUnverified(logoutToken)
        if (client === undefined) return yield* refused("aud", "it is for no client that is defined here")
        const { payload } = yield* Effect.catchTag(
          verifier.verify(client.login, logoutToken, {
            algorithms: client.idTokenAlgorithms,
            types: ["logout+jwt", "JWT"],
            source: "logout"
          }),
          "JwtInvalid",
          ({ problem, reason }) => Effect.fail(refused(reason, problem))
        )
        const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
        const { clientId } = client.login
        const clockTolerance = Duration.toSeconds(client.clockTolerance)
        const problem = logoutProblem(payload, { issuer: client.issuer, clientId, clockTolerance }, now)
        if (problem !== undefined) return yield* refused(problem.reason, problem.problem)
        const { issuer, jti, sid, sub, usableUntil } = readLogout(payload)
        const name = `${issuer}\n${jti}`
        if (yield* replays.wasUsed(name)) return yield* refused("jti", "it was used before")
        if (sid !== undefined) yield* sessions.endAt(issuer, { sid })
        else if (sub !== undefined) yield* sessions.endAt(issuer, { sub })
        // Only now: what could not be carried out is sent again. Its last second counts too.
        yield* replays.remember(name, Duration.seconds(usableUntil - now + clockTolerance + 1))
      }),

    frontchannel: (parameters) =>
      Effect.gen(function*() {
        const issuer = parameters.get("iss")
        const known = (yield* clients.all).some((client) => client.issuer === issuer)
        if (!known || issuer === null) return yield* refused("iss", "it is of no provider that is known here")
        const problem = frontchannelProblem(parameters, issuer)
        if (problem !== undefined) return yield* refused(problem.reason, problem.problem)
        const sid = parameters.get("sid") ?? ""
        yield* sessions.endAt(issuer, { sid })
      })
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<OidcLogout, never, Requirements> = Layer.effect(OidcLogout, make)
