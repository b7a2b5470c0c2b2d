/**
 * The routes of signing in and out, ready to be mounted.
 *
 * @since 0.1.0
 */
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as FileSystem from "@effect/platform/FileSystem"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { CurrentUser } from "./CurrentUser.ts"
import * as CallbackPath from "./internal/browser/callbackPath.ts"
import { crossSiteProblem } from "./internal/browser/sameSite.ts"
import { causeOf } from "./internal/nameOf.ts"
import { builtIn } from "./internal/routes/pages.ts"
import { OidcClients } from "./OidcClients.ts"
import { CrossSiteRequest } from "./OidcError.ts"
import { type CallbackError, OidcLogin, type StartError } from "./OidcLogin.ts"
import { OidcLogout } from "./OidcLogout.ts"
import * as OidcSession from "./OidcSession.ts"
import { Sessions } from "./Sessions.ts"

/**
 * Where the routes are. The callback is at the `callbackPath` of each client.
 *
 * - `login` (GET, default `/auth/login`): `?client=` and `?returnTo=` may be given.
 * - `logout` (POST, default `/auth/logout`): signs out here and at the provider. GET shows a page with a button.
 * - `backchannelLogout` (POST, default `/auth/backchannel-logout`) and `frontchannelLogout` (GET, default
 *   `/auth/frontchannel-logout`): the provider's; with server-side sessions only.
 * - `me` (GET, default `/auth/me`): who is signed in, as JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface Paths {
  readonly login: HttpLayerRouter.PathInput
  readonly logout: HttpLayerRouter.PathInput
  readonly backchannelLogout: HttpLayerRouter.PathInput
  readonly frontchannelLogout: HttpLayerRouter.PathInput
  readonly me: HttpLayerRouter.PathInput
}

/**
 * What a person sees if a login fails.
 *
 * @since 0.1.0
 * @category errors
 */
export type PageError = StartError | CallbackError | CrossSiteRequest

/**
 * The pages that the routes show.
 *
 * - `error`: instead of what was asked for. Its status stays what the page gives.
 * - `signOut`: asks whether to sign out, by a form that posts to `action`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Pages {
  readonly error: (error: PageError) => HttpServerResponse.HttpServerResponse
  readonly signOut: (action: string) => HttpServerResponse.HttpServerResponse
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly paths?: Partial<Paths> | undefined
  readonly pages?: Partial<Pages> | undefined
}

const defaults: Paths = {
  login: "/auth/login",
  logout: "/auth/logout",
  backchannelLogout: "/auth/backchannel-logout",
  frontchannelLogout: "/auth/frontchannel-logout",
  me: "/auth/me"
}

type Response = HttpServerResponse.HttpServerResponse

/** Nobody keeps these answers, and no page learns where its visitor came from. */
const guarded = (response: Response): Response =>
  HttpServerResponse.setHeaders(response, {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff"
  })

const unframed = (response: Response): Response =>
  HttpServerResponse.setHeader(response, "content-security-policy", "frame-ancestors 'none'")

const goTo = (address: string | URL): Response => HttpServerResponse.redirect(String(address), { status: 303 })

const parametersOf = (request: HttpServerRequest.HttpServerRequest): URLSearchParams => {
  const query = request.url.indexOf("?")
  return new URLSearchParams(query < 0 ? "" : request.url.slice(query + 1))
}

/** The fields of a form that was posted; none, if it is not one or is too large. */
const formOf = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<URLSearchParams> =>
  request.urlParamsBody.pipe(
    Effect.map((fields) => new URLSearchParams(fields.map(([name, value]) => [name, value]))),
    HttpServerRequest.withMaxBodySize(Option.some(FileSystem.KiB(64))),
    Effect.catchAllCause(() => Effect.succeed(new URLSearchParams()))
  )

type LogoutError = Effect.Effect.Error<ReturnType<OidcLogout["Type"]["backchannel"]>>

/** Anybody can bring these about, with any browser. */
const ordinary: ReadonlySet<PageError["_tag"]> = new Set([
  "LoginAnswerInvalid",
  "LoginRefused",
  "CrossSiteRequest",
  "OidcClientNotFound"
])

type Handler<R> = Effect.Effect<Response, never, R | HttpServerRequest.HttpServerRequest>

const make = (options: Options) =>
  Effect.gen(function*() {
    const login = yield* OidcLogin
    const logout = yield* OidcLogout
    const sessions = yield* Sessions
    const clients = yield* OidcClients
    const paths: Paths = { ...defaults, ...options.paths }
    const pages: Pages = { ...builtIn, ...options.pages }
    const log = yield* OAuthLogging.make

    const brokeOff = (cause: Cause.Cause<unknown>) =>
      log.warning(undefined, `a route of signing in or out broke off with ${causeOf(cause)}`)

    const failed = (error: PageError): Effect.Effect<Response> => {
      const clientName = "clientName" in error ? error.clientName : undefined
      const level = ordinary.has(error._tag) ? log.info : log.warning
      return Effect.map(level(clientName, error.message), () => pages.error(error))
    }

    const start: Handler<CurrentUser> = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const parameters = parametersOf(request)
      return login.start({
        client: parameters.get("client") ?? undefined,
        returnTo: parameters.get("returnTo") ?? undefined
      }).pipe(Effect.matchEffect({ onFailure: failed, onSuccess: (address) => Effect.succeed(goTo(address)) }))
    })

    const finish = (parameters: URLSearchParams, path: string) =>
      Effect.flatMap(CurrentUser, (user) =>
        Effect.matchEffect(login.callback(parameters, { path }), {
          onSuccess: ({ returnTo }) => Effect.succeed(goTo(returnTo)),
          // Who goes back to the callback in the browser's history is signed in already.
          onFailure: (error) =>
            error._tag === "LoginAnswerInvalid" && error.reason === "state" && Option.isSome(user.principal)
              ? Effect.succeed(goTo("/"))
              : failed(error)
        }))

    /** Of the route, not of the request, which proxies may have changed. */
    const pathOf = (route: string): Effect.Effect<string, never, HttpLayerRouter.RouteContext> =>
      Effect.map(HttpLayerRouter.params, ({ client = "" }) => CallbackPath.ofClient(route, client) ?? route)

    const answered = (route: string): Handler<CurrentUser | HttpLayerRouter.RouteContext> =>
      Effect.flatMap(
        Effect.zip(HttpServerRequest.HttpServerRequest, pathOf(route)),
        ([request, path]) => finish(parametersOf(request), path)
      )

    const posted = (route: string): Handler<CurrentUser | HttpLayerRouter.RouteContext> =>
      Effect.flatMap(
        Effect.zip(HttpServerRequest.HttpServerRequest, pathOf(route)),
        ([request, path]) => Effect.flatMap(formOf(request), (form) => finish(form, path))
      )

    const signOut: Handler<CurrentUser> = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const problem = crossSiteProblem(request, sessions.publicUrl.origin)
      if (problem !== undefined) return failed(new CrossSiteRequest({ problem }))
      return Effect.matchEffect(logout.signOut(), {
        onFailure: failed,
        onSuccess: (address) => Effect.succeed(goTo(Option.getOrElse(address, () => "/")))
      })
    })

    /** A provider sends it again if it can be carried out later. */
    const notLoggedOut = (error: LogoutError) =>
      Effect.as(
        log.warning(undefined, `a provider's logout was not carried out: ${error.message}`),
        HttpServerResponse.unsafeJson({
          error: "invalid_request",
          error_description: error._tag === "LogoutTokenInvalid" ? error.message : "the logout failed: send it again"
        }, { status: 400 })
      )

    const backchannel: Handler<never> = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.flatMap(formOf(request), (form) => {
        const [token = "", ...others] = form.getAll("logout_token")
        return Effect.matchEffect(logout.backchannel(Redacted.make(others.length === 0 ? token : "")), {
          onFailure: notLoggedOut,
          onSuccess: () =>
            Effect.succeed(HttpServerResponse.empty({ status: 200 }))
        })
      }))

    const frontchannel: Handler<never> = Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
      Effect.match(logout.frontchannel(parametersOf(request)), {
        onFailure: () =>
          HttpServerResponse.empty({ status: 400 }),
        onSuccess: () =>
          HttpServerResponse.text("")
      }))

    const me: Handler<CurrentUser> = Effect.map(CurrentUser, ({ principal }) =>
      HttpServerResponse.unsafeJson(
        Option.match(principal, {
          onNone: () => ({ signedIn: false }),
          onSome: ({ issuer, name, roles, sub }) => ({ signedIn: true, issuer, sub, name, roles })
        })
      ))

    return {
      brokeOff,
      paths,
      callbackPaths: (yield* clients.callbackPaths) as ReadonlyArray<HttpLayerRouter.PathInput>,
      sessions,
      handlers: {
        start,
        answered,
        posted,
        signOut,
        askToSignOut: Effect.succeed(pages.signOut(paths.logout)),
        backchannel,
        frontchannel,
        me
      }
    }
  })

/**
 * Code, state and tokens are in the addresses of these routes: neither the log nor a span of the platform shows them, also
 * where no route answers. The routes may be mounted below a prefix, which nobody tells them.
 */
const unobserved = (paths: ReadonlyArray<string>) => {
  const routes = paths.map(CallbackPath.isAt)
  const isOurs = ({ url }: HttpServerRequest.HttpServerRequest): boolean => routes.some((isAt) => isAt(url))
  const untraced = Layer.scopedDiscard(
    Effect.locallyScopedWith(
      HttpMiddleware.currentTracerDisabledWhen,
      (before): Predicate.Predicate<HttpServerRequest.HttpServerRequest> => (request) =>
        before(request) || isOurs(request)
    )
  )
  const unlogged = HttpLayerRouter.use((router) =>
    router.addGlobalMiddleware((handler) =>
      Effect.flatMap(
        HttpServerRequest.HttpServerRequest,
        (request) => isOurs(request) ? HttpMiddleware.withLoggerDisabled(handler) : handler
      )
    )
  )
  return Layer.merge(untraced, unlogged)
}

/**
 * Mounts the routes on an `HttpLayerRouter`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<never, never, HttpLayerRouter.HttpRouter | OidcLogin | OidcLogout | Sessions | OidcClients> =>
  Layer.unwrapEffect(Effect.map(make(options), ({ brokeOff, callbackPaths, handlers, paths, sessions }) => {
    // The platform's line would show the address, in whatever spelling the router has recognized it.
    const quiet = <E, R>(handler: Effect.Effect<Response, E, R>) =>
      HttpMiddleware.withLoggerDisabled(Effect.map(Effect.tapDefect(handler, brokeOff), guarded))
    // Within, so that a session that cannot be opened is as quiet as the rest.
    const page = <R>(handler: Handler<R>) =>
      quiet(Effect.map(Effect.provideService(OidcSession.middleware(handler), Sessions, sessions), unframed))
    const ours = HttpLayerRouter.addAll([
      HttpLayerRouter.route("GET", paths.login, page(handlers.start)),
      ...callbackPaths.flatMap((path) => [
        HttpLayerRouter.route("GET", path, page(handlers.answered(path))),
        HttpLayerRouter.route("POST", path, page(handlers.posted(path)))
      ]),
      HttpLayerRouter.route("GET", paths.logout, page(handlers.askToSignOut)),
      HttpLayerRouter.route("POST", paths.logout, page(handlers.signOut)),
      HttpLayerRouter.route("GET", paths.me, page(handlers.me))
    ])
    // A cookie cannot be ended from elsewhere.
    const theirs = HttpLayerRouter.addAll(
      sessions.areStored
        ? [
          HttpLayerRouter.route("POST", paths.backchannelLogout, quiet(handlers.backchannel)),
          HttpLayerRouter.route("GET", paths.frontchannelLogout, quiet(handlers.frontchannel))
        ]
        : []
    )
    return Layer.merge(ours, theirs).pipe(
      Layer.provideMerge(unobserved([...Object.values(paths), ...callbackPaths]))
    )
  }))
