/**
 * Opens sessions: of a web request, of a long-lived connection, or by their key.
 *
 * @since 0.1.0
 */
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as OptionalServices from "@effect-oauth/core/OptionalServices"
import { Signer } from "@effect-oauth/core/Signer"
import { TokenEncryption } from "@effect-oauth/core/TokenEncryption"
import { TokenStore } from "@effect-oauth/core/TokenStore"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Browser from "./internal/session/browser.ts"
import * as CookieSessions from "./internal/session/cookieSessions.ts"
import * as Endings from "./internal/session/endings.ts"
import type { Lifetimes } from "./internal/session/lifetimes.ts"
import * as Program from "./internal/session/program.ts"
import * as Registered from "./internal/session/registered.ts"
import * as Rotations from "./internal/session/rotations.ts"
import * as SharedRotations from "./internal/session/sharedRotations.ts"
import * as StoredSessions from "./internal/session/storedSessions.ts"
import { OidcClients } from "./OidcClients.ts"
import { SessionsInvalid, type SessionStoreError } from "./OidcError.ts"
import { OidcHooks } from "./OidcHooks.ts"
import type { Session, SessionContent } from "./Session.ts"
import { SessionStore } from "./SessionStore.ts"
import * as TokenConcurrency from "./TokenConcurrency.ts"

/**
 * A sign-in belongs to an issuer and a client id: one whose client is registered with another issuer or client id by now, or is
 * not registered any more, is not in any session that this service opens.
 *
 * @since 0.1.0
 * @category tags
 */
export class Sessions extends Context.Tag("@effect-oauth/oidc/Sessions")<Sessions, {
  /** Where browsers find this program, such as `https://app.example.com`. */
  readonly publicUrl: URL
  /** The name that sessions and logins of this program are kept under, see `Options`. */
  readonly program: string
  /** Whether sessions are kept in a `SessionStore`; else they live in cookies. */
  readonly areStored: boolean
  /** The session of a web request; its cookies are set on the response of the same request. */
  readonly open: Effect.Effect<Session, SessionStoreError, HttpServerRequest.HttpServerRequest>
  /**
   * The session of a connection, by the request that opens it (a WebSocket's upgrade). Server-side sessions only, since a
   * connection has no response to put cookies on: fails with `SessionsInvalid` for others.
   */
  readonly connect: Effect.Effect<
    Session,
    SessionStoreError | SessionsInvalid,
    HttpServerRequest.HttpServerRequest
  >
  /** A server-side session, for work that is done on behalf of its user elsewhere. `None` if there is none any more. */
  readonly byKey: (key: string) => Effect.Effect<Option.Option<Session>, SessionStoreError>
  /**
   * A session without a browser, by the name that it was kept under; opening it keeps it from ending for want of use. `None` if
   * there is none any more. See `StoredSession`.
   */
  readonly named: (name: string) => Effect.Effect<Option.Option<Session>, SessionStoreError | SessionsInvalid>
  /** Keeps a session under a name, in place of the one that was there. Server-side sessions only. */
  readonly keep: (
    name: string,
    content: SessionContent
  ) => Effect.Effect<Session, SessionStoreError | SessionsInvalid>
  /** Ends sessions by what the provider calls them: one of its sessions, or all of a user (server-side sessions only). */
  readonly endAt: (
    issuer: string,
    by: { readonly sid: string } | { readonly sub: string }
  ) => Effect.Effect<void, SessionStoreError | SessionsInvalid>
  /** The `OidcHooks` that it was built with, for `StoredSession`. */
  readonly hooks?: OidcHooks["Type"] | undefined
}>() {}

/**
 * - `publicUrl`: where browsers find this program; `https:`, on loopback also `http:`, for which cookies are set without
 *   `Secure` and without the `__Host-` prefix.
 * - `program`: names this program among those that share a store or a key ring. Programs with different names do not open each
 *   other's sessions, cookies and logins, nor end each other's sessions. All processes of one program have the same. Default: the
 *   origin of `publicUrl`.
 * - `cookieName`: default `session`.
 * - `absoluteLifetime`: of a session, from the sign-in on. Default 14 days.
 * - `idleLifetime`: from the last request on. Default 8 hours.
 * - `rotationGrace`: how long a request with an older session cookie is given the newer one. Default 5 minutes.
 * - `rotationCapacity`: of how many sessions in cookies the newest is remembered. Default 10,000.
 * - `storeTimeout`: of one step of the store. Default 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly publicUrl: string | URL
  readonly program?: string | undefined
  readonly cookieName?: string | undefined
  readonly absoluteLifetime?: Duration.DurationInput | undefined
  readonly idleLifetime?: Duration.DurationInput | undefined
  readonly rotationGrace?: Duration.DurationInput | undefined
  readonly rotationCapacity?: number | undefined
  readonly storeTimeout?: Duration.DurationInput | undefined
}

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|.+\.localhost)$/

const publicUrlOf = (value: string | URL): Effect.Effect<URL, SessionsInvalid> => {
  const invalid = (problem: string) => new SessionsInvalid({ field: "publicUrl", problem })
  const url = URL.canParse(String(value)) ? new URL(value) : undefined
  if (url === undefined) return invalid("expected an absolute URL such as https://app.example.com")
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "" || url.username !== "" || url.password !== "") {
    return invalid("expected an origin only, without path, query, fragment or user name")
  }
  const isSafe = url.protocol === "https:" || (url.protocol === "http:" && loopback.test(url.hostname))
  return isSafe ? Effect.succeed(url) : invalid("expected https: (http: is accepted on loopback only)")
}

const cookieNameOf = (name: string): Effect.Effect<string, SessionsInvalid> =>
  /^[A-Za-z0-9_-]{1,64}$/.test(name)
    ? Effect.succeed(name)
    : new SessionsInvalid({ field: "cookieName", problem: "expected 1 to 64 letters, digits, _ or -" })

const programOf = (name: string): Effect.Effect<string, SessionsInvalid> =>
  typeof name === "string" && name.length > 0 && name.length <= 1024
    ? Effect.succeed(name)
    : new SessionsInvalid({ field: "program", problem: "expected a text of 1 to 1,024 characters" })

const warnings = {
  process:
    "sessions live in cookies: a token that is renewed is lost if this process ends before the browser has its new " +
    "cookie, and the user signs in again then. Provide a SessionStore for sessions on the server",
  shared:
    "sessions live in cookies: signing out does not reach other browsers, and the provider cannot end sessions. " +
    "Provide a SessionStore for sessions on the server"
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<Sessions["Type"], SessionsInvalid, OidcClients | Signer | Scope.Scope> =>
  Effect.gen(function*() {
    const publicUrl = yield* publicUrlOf(options.publicUrl)
    const program = yield* programOf(options.program ?? publicUrl.origin)
    const cookieName = yield* cookieNameOf(options.cookieName ?? "session")
    const signer = Program.signer(yield* Signer, program)
    const log = yield* OAuthLogging.make
    const store = yield* OptionalServices.get(SessionStore)
    const encryption = Option.map(
      yield* OptionalServices.get(TokenEncryption),
      (encryption) => Program.encryption(encryption, program)
    )
    const registered = Registered.make(yield* OidcClients)
    const tokenStore = yield* OptionalServices.get(TokenStore)
    const hooks = Option.getOrUndefined(yield* OptionalServices.get(OidcHooks))
    const lifetimes: Lifetimes = {
      absolute: Duration.toMillis(options.absoluteLifetime ?? "14 days"),
      idle: Duration.toMillis(options.idleLifetime ?? "8 hours")
    }
    const grace = options.rotationGrace ?? "5 minutes"
    const timeout = Duration.decode(options.storeTimeout ?? "5 seconds")
    const endings = Endings.make()
    const isSecure = publicUrl.protocol === "https:"

    if (Option.isSome(store)) {
      const sessions = StoredSessions.make({ store: store.value, signer, endings, lifetimes, cookieName, timeout })
      yield* Effect.forkScoped(endings.listen(store.value.events))
      return {
        publicUrl,
        program,
        areStored: true,
        hooks,
        open: Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          (request) => Effect.flatMap(Browser.ofRequest(request, isSecure), ({ browser }) => sessions.open(browser))
        ).pipe(Effect.flatMap(registered.session)),
        connect: Effect.flatMap(
          HttpServerRequest.HttpServerRequest,
          (request) => sessions.open(Browser.ofConnection(request, isSecure))
        ).pipe(Effect.flatMap(registered.session)),
        byKey: (key) => Effect.flatMap(sessions.byKey(key, Browser.none()), registered.found),
        named: (name) => Effect.flatMap(sessions.named(name), registered.found),
        keep: (name, content) =>
          registered.content(content).pipe(
            Effect.flatMap((content) => sessions.keep(name, content)),
            Effect.flatMap(registered.session)
          ),
        endAt: sessions.endGroup
      }
    }

    if (Option.isNone(encryption)) {
      return yield* new SessionsInvalid({
        field: "encryption",
        problem: "sessions in cookies are sealed: provide TokenEncryption, or a SessionStore for sessions on the server"
      })
    }
    const shared = Option.isNone(tokenStore) ? SharedRotations.none : yield* SharedRotations.make({
      store: tokenStore.value,
      encryption: encryption.value,
      signer,
      grace,
      timeout,
      log
    })
    yield* log.warning(undefined, Option.isNone(tokenStore) ? warnings.process : warnings.shared)
    const sessions = CookieSessions.make({
      signer,
      encryption: encryption.value,
      rotations: Rotations.make(grace, options.rotationCapacity ?? 10_000, yield* Effect.clock),
      shared,
      writes: yield* TokenConcurrency.makeLocal,
      endings,
      lifetimes,
      cookieName,
      log
    })
    const unsupported = (problem: string) =>
      Effect.fail(new SessionsInvalid({ field: "SessionStore", problem: `${problem}: provide a SessionStore` }))
    return {
      publicUrl,
      program,
      areStored: false,
      hooks,
      open: Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        Effect.flatMap(
          Browser.ofRequest(request, isSecure),
          ({ beforeLeaving, browser }) => sessions.open(browser, beforeLeaving)
        )).pipe(Effect.flatMap(registered.session)),
      connect: unsupported("a long-lived connection needs sessions on the server"),
      byKey: () => Effect.succeedNone,
      named: () => unsupported("a session without a browser is kept on the server"),
      keep: () => unsupported("a session without a browser is kept on the server"),
      endAt: () => unsupported("a session in a cookie cannot be ended from elsewhere")
    }
  })

/**
 * Sessions in a `SessionStore` where one is provided, else in cookies, which `TokenEncryption` seals. With a `TokenStore`
 * beside the latter, processes tell each other which cookies are outdated.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Sessions, SessionsInvalid, OidcClients | Signer> =>
  Layer.scoped(Sessions, make(options))
