/**
 * Middleware that gives each request its `CurrentUser`.
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { CurrentUser, ofSession } from "./CurrentUser.ts"
import { foreignProblem } from "./internal/browser/sameSite.ts"
import { Sessions } from "./Sessions.ts"

const unavailable = HttpServerResponse.text("Sessions are not available at the moment. Try again later.", {
  status: 503,
  headers: { "cache-control": "no-store", "retry-after": "5" }
})

/**
 * For an `HttpRouter`, by `HttpRouter.use`, or for a single `HttpApp`: opens the session and provides `CurrentUser`. What is
 * signed in, renewed or signed out meanwhile is told to the browser by the response. While the store of sessions does not
 * answer, requests get a 503.
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = <E, R>(
  app: HttpApp.Default<E, R>
): HttpApp.Default<E, Exclude<R, CurrentUser> | Sessions> =>
  Effect.flatMap(Sessions, (sessions) =>
    Effect.matchEffect(sessions.open, {
      onFailure: () => Effect.succeed(unavailable),
      onSuccess: (session) => Effect.provideService(app, CurrentUser, ofSession(session))
    }))

/**
 * The same for the routes of an `HttpLayerRouter`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = HttpLayerRouter.middleware<{ provides: CurrentUser }>()(
  Effect.map(Sessions, (sessions) => (app) =>
    Effect.matchEffect(sessions.open, {
      onFailure: () => Effect.succeed(unavailable),
      onSuccess: (session) => Effect.provideService(app, CurrentUser, ofSession(session))
    }))
).layer

/** A page that a person asked for, rather than a script. */
const isNavigation = ({ headers, method }: HttpServerRequest.HttpServerRequest): boolean =>
  (method === "GET" || method === "HEAD") &&
  (headers["sec-fetch-mode"] === "navigate" ||
    (headers["sec-fetch-mode"] === undefined && (headers.accept ?? "").includes("text/html")))

/** Servers give the path; handlers of `Request` objects the whole address. */
const pathOf = ({ originalUrl }: HttpServerRequest.HttpServerRequest): string => {
  if (!URL.canParse(originalUrl)) return originalUrl
  const { pathname, search } = new URL(originalUrl)
  return `${pathname}${search}`
}

/**
 * Lets only users through who are signed in. Pages are sent to `loginPath` (default `/auth/login`) and come back; any other
 * request is answered with 401.
 *
 * @since 0.1.0
 * @category middleware
 */
export const required =
  (options: { readonly loginPath?: string | undefined } = {}) =>
  <E, R>(app: HttpApp.Default<E, R>): HttpApp.Default<E, R | CurrentUser> =>
    Effect.flatMap(Effect.zip(CurrentUser, HttpServerRequest.HttpServerRequest), ([user, request]) => {
      if (Option.isSome(user.principal)) return app
      const headers = { "cache-control": "no-store" }
      if (!isNavigation(request)) return Effect.succeed(HttpServerResponse.empty({ status: 401, headers }))
      const login = `${options.loginPath ?? "/auth/login"}?returnTo=${encodeURIComponent(pathOf(request))}`
      return Effect.succeed(HttpServerResponse.redirect(login, { status: 303, headers }))
    })

/** They change nothing (RFC 9110 section 9.2.1). */
const safeMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"])

const refused = HttpServerResponse.text("This request was refused: it did not come from a page of this site.", {
  status: 403,
  headers: { "cache-control": "no-store" }
})

/**
 * For what the program's own routes change: a request that another site has a user's browser send is answered with 403. It
 * looks at `Sec-Fetch-Site` and `Origin`, which browsers set and pages cannot, and takes no request with neither; forms need
 * no hidden token. `GET`, `HEAD` and `OPTIONS` pass, so they must not change anything.
 *
 * The site is the `publicUrl` of `Sessions`. The routes of `OidcRoutes` are protected already.
 *
 * @example
 * ```ts
 * import { CurrentUser, OidcSession } from "@effect-oauth/oidc"
 * import { HttpLayerRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect, Layer } from "effect"
 *
 * const order = Effect.map(CurrentUser.principal, () => HttpServerResponse.redirect("/orders", { status: 303 }))
 *
 * export const Orders = HttpLayerRouter.add("POST", "/orders", OidcSession.sameOrigin(order)).pipe(
 *   Layer.provide(OidcSession.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const sameOrigin = <E, R>(
  app: HttpApp.Default<E, R>
): HttpApp.Default<E, R | Sessions> =>
  Effect.flatMap(Effect.zip(Sessions, HttpServerRequest.HttpServerRequest), ([{ publicUrl }, request]) => {
    const isSafe = safeMethods.has(request.method)
    return isSafe || foreignProblem(request, publicUrl.origin) === undefined ? app : Effect.succeed(refused)
  })
