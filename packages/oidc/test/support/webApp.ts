/**
 * A web app under test, with all that a program may watch switched on: a tracer over everything, and the log at its lowest
 * level, the platform's own line for each request among it.
 */
import type { OAuthError, TokenClients } from "@effect-oauth/core"
import { ClientCredentialsTokenManager, Signer, TokenStore } from "@effect-oauth/core"
import type { OidcClient, Sessions } from "@effect-oauth/oidc"
import {
  CurrentUser,
  Oidc,
  OidcClients,
  OidcError,
  OidcLogin,
  OidcLogout,
  OidcRoutes,
  OidcSession,
  SessionStore
} from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Clock, Effect, Layer, Logger, LogLevel, Option, Redacted } from "effect"
import http from "node:http"
import { freePort } from "../../../../examples/servers/freePort.ts"
import { recordingTracer } from "../../../core/test/support/recordingTracer.ts"
import { encryption, errorAsJson, token } from "./app.ts"

type Services =
  | Oidc.Services
  | CurrentUser.CurrentUser
  | ClientCredentialsTokenManager.ClientCredentialsTokenManager
  | HttpServerRequest.HttpServerRequest

export type Handler = Effect.Effect<HttpServerResponse.HttpServerResponse, never, Services>

export interface Options<P = never, Q = never> {
  readonly clients?: Readonly<Record<string, OidcClient.OidcClientOptions>> | undefined
  /** In place of those. */
  readonly registrations?:
    | Layer.Layer<OidcClients.OidcClients | TokenClients.TokenClients, OAuthError.TokenClientInvalid>
    | undefined
  readonly sessions?: Partial<Sessions.Options> | undefined
  /** With it, sessions are on the server. */
  readonly store?: TokenStore.TokenStore["Type"] | undefined
  /** Optional services, or some in place of the built-in ones. */
  readonly provide?: Layer.Layer<P> | undefined
  /** The same, of what needs the registrations. */
  readonly over?:
    | ((registrations: NonNullable<Options["registrations"]>) => Layer.Layer<Q, OAuthError.TokenClientInvalid>)
    | undefined
  readonly routes?: Readonly<Record<`/${string}`, Handler>> | undefined
  readonly oidcRoutes?: OidcRoutes.Options | undefined
  /** The pages of the library, not those that keep the error. */
  readonly ownPages?: boolean | undefined
  readonly port?: number | undefined
  readonly prefix?: string | undefined
}

export interface WebApp {
  readonly url: string
  /** What people were shown an error page for. */
  readonly errors: Array<OidcRoutes.PageError>
  /** The log, as texts with all their annotations and causes. */
  readonly lines: Array<string>
  readonly spans: ReturnType<typeof recordingTracer>["ended"]
  /** Moves the app's clock on. */
  readonly later: (millis: number) => void
}

const query = Effect.map(
  HttpServerRequest.HttpServerRequest,
  ({ url }) => new URL(url, "http://app").searchParams
)

/** Everybody who is signed in here, by client. */
const everybody: Handler = Effect.map(CurrentUser.CurrentUser, ({ session }) => {
  const signIns = Object.entries(session.known?.signIns ?? {})
  return HttpServerResponse.unsafeJson(
    Object.fromEntries(signIns.map(([name, { principal }]) => [name, { sub: principal.sub, claims: principal.claims }]))
  )
})

const machine: Handler = Effect.gen(function*() {
  const name = (yield* query).get("client") ?? ""
  const manager = yield* ClientCredentialsTokenManager.ClientCredentialsTokenManager
  const got = yield* Effect.either(manager.get(OidcClients.tokenClientName(name)))
  return got._tag === "Left"
    ? errorAsJson(got.left)
    : HttpServerResponse.unsafeJson({ accessToken: Redacted.value(got.right.value) })
})

const signOut: Handler = Effect.gen(function*() {
  const logout = yield* OidcLogout.OidcLogout
  const client = (yield* query).get("client") ?? undefined
  const address = yield* Effect.orDie(logout.signOut({ client }))
  return HttpServerResponse.unsafeJson({ goTo: Option.getOrNull(address) })
})

const stepUp: Handler = Effect.gen(function*() {
  const login = yield* OidcLogin.OidcLogin
  const wanted = yield* query
  const maxAge = wanted.get("max_age")
  const required = new OidcError.StepUpRequired({
    acrValues: wanted.get("acr_values") ?? undefined,
    maxAge: maxAge === null ? undefined : Number(maxAge)
  })
  const address = yield* Effect.orDie(login.stepUp(required, { returnTo: wanted.get("returnTo") ?? undefined }))
  return HttpServerResponse.redirect(address.href, { status: 303 })
})

const common = {
  "/": Effect.succeed(HttpServerResponse.text("home")),
  "/token": token,
  "/everybody": everybody,
  "/machine": machine,
  "/sign-out": signOut,
  "/step-up": stepUp
} satisfies Record<string, Handler>

const movableClock = () => {
  const clock = Clock.make()
  let offset = 0
  const moved: Clock.Clock = {
    ...clock,
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + offset,
    unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos() + BigInt(offset) * 1_000_000n,
    currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + offset),
    currentTimeNanos: Effect.map(clock.currentTimeNanos, (now) => now + BigInt(offset) * 1_000_000n),
    sleep: (duration) => clock.sleep(duration)
  }
  return {
    clock: moved,
    later: (millis: number) => {
      offset += millis
    }
  }
}

/** What a `LoginStateStore` of one's own stands on. */
export const loginServices = (store: TokenStore.TokenStore["Type"]) =>
  Layer.mergeAll(Layer.orDie(encryption), Signer.layer, Layer.succeed(TokenStore.TokenStore, store))

/** A pages.error that keeps what it was given. */
const keeping = (errors: Array<OidcRoutes.PageError>): Partial<OidcRoutes.Pages> => ({
  error: (error) => {
    errors.push(error)
    const reason = "reason" in error ? `/${error.reason}` : ""
    return HttpServerResponse.text(`refused: ${error._tag}${reason}`, { status: 400 })
  }
})

/** Until the end of the scope. */
export const serve = <P = never, Q = never>(options: Options<P, Q>) =>
  Effect.gen(function*() {
    const port = options.port ?? (yield* freePort)
    const url = `http://localhost:${port}`
    const errors: WebApp["errors"] = []
    const lines: Array<string> = []
    const { ended, layer: tracer } = recordingTracer()
    const { clock, later } = movableClock()
    const { store } = options
    const stored = store === undefined ? Layer.empty : SessionStore.layer.pipe(
      Layer.provide(encryption),
      Layer.provideMerge(Layer.succeed(TokenStore.TokenStore, store))
    )
    const given: Layer.Layer<P> | Layer.Layer<never> = options.provide ?? Layer.empty
    const clients = options.registrations ?? OidcClients.layer(options.clients ?? {})
    const over: Layer.Layer<Q, OAuthError.TokenClientInvalid> | Layer.Layer<never> = options.over?.(clients) ??
      Layer.empty
    const services = Oidc.layer({ publicUrl: url, ...options.sessions }).pipe(
      Layer.provideMerge(NodeOAuth.layer),
      Layer.provideMerge(Layer.merge(given, over)),
      Layer.provideMerge(clients),
      Layer.provideMerge(stored),
      Layer.provideMerge(encryption)
    )
    const own = HttpLayerRouter.use((router) =>
      Effect.gen(function*() {
        const context = yield* Effect.context<
          Exclude<Services, CurrentUser.CurrentUser | HttpServerRequest.HttpServerRequest>
        >()
        const handlers: Readonly<Record<string, Handler>> = { ...common, ...options.routes }
        for (const [path, handler] of Object.entries(handlers)) {
          yield* router.add("*", `/${path.slice(1)}`, Effect.provide(handler, context))
        }
      })
    ).pipe(Layer.provide(OidcSession.layer))
    const mounted = OidcRoutes.layer({
      ...options.oidcRoutes,
      pages: { ...(options.ownPages === true ? {} : keeping(errors)), ...options.oidcRoutes?.pages }
    })
    const { prefix } = options
    const ours = prefix === undefined ? mounted : Layer.provide(
      mounted,
      Layer.effect(
        HttpLayerRouter.HttpRouter,
        Effect.map(HttpLayerRouter.HttpRouter, (router) => router.prefixed(prefix))
      )
    )
    const app = HttpLayerRouter.serve(Layer.merge(own, ours), { disableListenLog: true }).pipe(
      Layer.provide(NodeHttpServer.layer(() => http.createServer(), { port })),
      Layer.provideMerge(services),
      Layer.provide(tracer),
      Layer.provide(Logger.minimumLogLevel(LogLevel.All)),
      Layer.provide(
        Logger.replace(Logger.defaultLogger, Logger.make((line) => void lines.push(Logger.stringLogger.log(line))))
      )
    )
    yield* Effect.withClock(Layer.build(app), clock)
    const web: WebApp = { url, errors, lines, spans: ended, later }
    return web
  })

/** All that was written about: spans with their attributes, and the log. */
export const observed = ({ lines, spans }: WebApp): string =>
  [
    ...lines,
    ...spans.map(({ attributes, name }) =>
      `${name} ${JSON.stringify([...attributes].map(([key, value]) => [key, String(value)]))}`
    )
  ].join("\n")
