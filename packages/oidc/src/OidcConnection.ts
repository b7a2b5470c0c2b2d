/**
 * Users of long-lived connections: WebSockets, and the sockets of `@effect/rpc`.
 *
 * A connection is let in once, when it is opened: by the origin of the page that opens it and by the session of its browser.
 * There is no response to put a cookie on later, so sessions have to be on the server.
 *
 * @since 0.1.0
 */
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import { Signer } from "@effect-oauth/core/Signer"
import * as Headers from "@effect/platform/Headers"
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { CurrentUser, ofSession } from "./CurrentUser.ts"
import { isHandshake } from "./internal/browser/handshake.ts"
import { NotSignedIn, type SessionEnded } from "./OidcError.ts"
import { Sessions } from "./Sessions.ts"

/**
 * The connections that are open in this process.
 *
 * @since 0.1.0
 * @category tags
 */
export class OidcConnections extends Context.Tag("@effect-oauth/oidc/OidcConnections")<OidcConnections, {
  /**
   * Runs what serves a connection with the `CurrentUser` of whoever opens it. A page of another site is answered with 403, what
   * is no handshake of a WebSocket with 426, and 503 comes while the store of sessions does not answer.
   */
  readonly open: <E, R>(app: HttpApp.Default<E, R>) => HttpApp.Default<E, Exclude<R, CurrentUser>>
  /**
   * Whose connection a message came by. Only for headers that began as those of the request that `open` served, as the
   * messages of `@effect/rpc` do: whatever a message adds to them, it cannot name the connection of somebody else.
   */
  readonly userOf: (headers: Headers.Headers) => Effect.Effect<CurrentUser["Type"], NotSignedIn>
}>() {}

/** Names the connection among the headers; it is random, and nobody but its own browser's server side ever sees it. */
const header = "x-effect-oauth-connection"

const refused = (status: number) => Effect.succeed(HttpServerResponse.empty({ status }))

const wanted = { "upgrade": "websocket", "sec-websocket-version": "13" }

/** A program that asked for an upgrade now would break off, or wait for a WebSocket that never comes. */
const noConnection = Effect.succeed(HttpServerResponse.empty({ status: 426, headers: wanted }))

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<OidcConnections["Type"], never, Sessions | Signer> = Effect.gen(function*() {
  const sessions = yield* Sessions
  const signer = yield* Signer
  const log = yield* OAuthLogging.make
  const users = new Map<string, CurrentUser["Type"]>()

  const named = (user: CurrentUser["Type"]) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const name = signer.random(32)
        users.set(name, user)
        return name
      }),
      (name) => Effect.sync(() => users.delete(name))
    )

  const serve = <E, R>(app: HttpApp.Default<E, R>, user: CurrentUser["Type"]) =>
    Effect.scopedWith((scope) =>
      Effect.flatMap(Scope.extend(named(user), scope), (name) =>
        app.pipe(
          Effect.updateService(
            HttpServerRequest.HttpServerRequest,
            (request) => request.modify({ headers: Headers.set(request.headers, header, name) })
          ),
          Effect.provideService(CurrentUser, user),
          Effect.locallyWith(Headers.currentRedactedNames, (names) => [...names, header])
        ))
    )

  return {
    open: (app) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
        if (!isHandshake(request)) return noConnection
        if (request.headers.origin !== sessions.publicUrl.origin) return refused(403)
        return Effect.matchEffect(sessions.connect, {
          onFailure: ({ _tag, message }) =>
            _tag === "SessionsInvalid"
              ? Effect.zipRight(log.warning(undefined, message), refused(501))
              : refused(503),
          onSuccess: (session) => serve(app, ofSession(session))
        })
      }),
    userOf: (headers) =>
      Effect.suspend(() => {
        const user = users.get(headers[header] ?? "")
        return user === undefined ? new NotSignedIn() : Effect.succeed(user)
      })
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<OidcConnections, never, Sessions | Signer> = Layer.effect(OidcConnections, make)

/**
 * For the routes of an `HttpLayerRouter` that open connections.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMiddleware = HttpLayerRouter.middleware<{ provides: CurrentUser }>()(
  Effect.map(OidcConnections, ({ open }) => open)
).layer

/**
 * Runs the effect for as long as the session of `CurrentUser` lasts: fails with `SessionEnded` as soon as it ends, here or in
 * another process.
 *
 * @since 0.1.0
 * @category combinators
 */
export const whileSignedIn = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SessionEnded, R | CurrentUser> =>
  Effect.flatMap(CurrentUser, ({ session }) => Effect.raceFirst(effect, Effect.flatMap(session.ended, Effect.fail)))
