/** A web app under test, on a real server, against a real authorization server. */
import { TokenEncryption } from "@effect-oauth/core"
import {
  type CurrentUser,
  Oidc,
  type OidcClient,
  OidcClients,
  OidcRoutes,
  OidcSession,
  type Sessions,
  UserTokenManager,
  type UserTokens
} from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, Logger, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import http from "node:http"
import { start as startServer } from "../../../../examples/servers/authorizationServer.ts"
import { freePort } from "../../../../examples/servers/freePort.ts"

export const encryption = TokenEncryption.layer([{
  id: "1",
  key: Redacted.make(randomBytes(32).toString("base64url"))
}])

/** What is logged is for whoever captures it; the console of a test stays empty. */
const quiet = Logger.remove(Logger.defaultLogger)

export type Handler = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  CurrentUser.CurrentUser | UserTokenManager.UserTokenManager | HttpServerRequest.HttpServerRequest
>

/** What tests look at: never the token itself but in the memory of the test. */
export const tokenAsJson = ({ accessToken, idToken, refreshToken }: UserTokens.UserToken) =>
  HttpServerResponse.unsafeJson({
    accessToken: Redacted.value(accessToken.value),
    type: accessToken.type,
    expiresAt: accessToken.expiresAt === undefined ? null : Number(accessToken.expiresAt.epochMillis),
    refreshToken: refreshToken._tag === "Some" ? Redacted.value(refreshToken.value) : null,
    idToken: idToken._tag === "Some" ? Redacted.value(idToken.value) : null
  })

export const errorAsJson = (error: { readonly _tag: string; readonly message: string }) =>
  HttpServerResponse.unsafeJson({ error: error._tag, message: error.message }, { status: 400 })

/** A user's token, as the query asks for it: `resource`, `scope`, `client`, `force`. */
export const token: Handler = Effect.gen(function*() {
  const request = yield* HttpServerRequest.HttpServerRequest
  const query = new URL(request.url, "http://app").searchParams
  const result = yield* Effect.either(UserTokenManager.get({
    resource: query.get("resource") ?? undefined,
    scope: query.get("scope") ?? undefined,
    client: query.get("client") ?? undefined,
    forceRenewal: query.has("force")
  }))
  return result._tag === "Right" ? tokenAsJson(result.right) : errorAsJson(result.left)
})

export interface Options<P = never> {
  readonly client?: Partial<OidcClient.OidcClientOptions> | undefined
  readonly clients?: ((issuer: string) => Readonly<Record<string, OidcClient.OidcClientOptions>>) | undefined
  readonly sessions?: Partial<Sessions.Options> | undefined
  readonly routes?: Readonly<Record<`/${string}`, Handler>> | undefined
  readonly server?: Partial<Parameters<typeof startServer>[0]> | undefined
  readonly registration?: Readonly<Record<string, unknown>> | undefined
  /** Routes with middleware of their own. */
  readonly layer?:
    | Layer.Layer<never, never, HttpLayerRouter.HttpRouter | Oidc.Services | OidcClients.OidcClients>
    | undefined
  /** Services in place of the built-in ones. */
  readonly provide?: Layer.Layer<P, unknown> | undefined
}

export const secret = "a-secret-of-the-app"

/** Both servers, until the end of the scope. */
export const start = <P = never>(options: Options<P> = {}) =>
  Effect.gen(function*() {
    const port = yield* freePort
    const url = `http://localhost:${port}`
    const server = yield* startServer({
      users: true,
      clients: [{
        client_id: "web",
        client_secret: secret,
        client_name: "The App",
        grant_types: ["authorization_code", "refresh_token", "client_credentials"],
        response_types: ["code"],
        redirect_uris: [`${url}/auth/callback`],
        post_logout_redirect_uris: [`${url}/`],
        backchannel_logout_uri: `${url}/auth/backchannel-logout`,
        backchannel_logout_session_required: true,
        scope: "openid profile email offline_access invoices",
        ...options.registration
      }],
      ...options.server
    })
    const clients = OidcClients.layer(
      options.clients?.(server.issuer) ?? {
        web: {
          issuer: server.issuer,
          clientId: "web",
          clientSecret: Redacted.make(secret),
          prompt: "consent",
          ...options.client
        }
      }
    )
    const given: Layer.Layer<P, unknown> | Layer.Layer<never> = options.provide ?? Layer.empty
    const services = Oidc.layer({ publicUrl: url, ...options.sessions }).pipe(
      Layer.provideMerge(NodeOAuth.layer),
      Layer.provideMerge(clients),
      Layer.provideMerge(encryption),
      Layer.provideMerge(given)
    )
    const routes = HttpLayerRouter.use((router) =>
      Effect.gen(function*() {
        const context = yield* Effect.context<UserTokenManager.UserTokenManager>()
        const own = { "/": Effect.succeed(HttpServerResponse.text("home")), "/token": token, ...options.routes }
        for (const [path, handler] of Object.entries(own)) {
          yield* router.add("*", path as `/${string}`, Effect.provide(handler, context))
        }
      })
    ).pipe(Layer.provide(OidcSession.layer))
    const app = HttpLayerRouter.serve(Layer.mergeAll(routes, OidcRoutes.layer(), options.layer ?? Layer.empty), {
      disableLogger: true,
      disableListenLog: true
    })
      .pipe(
        Layer.provide(NodeHttpServer.layer(() => http.createServer(), { port })),
        Layer.provideMerge(services),
        Layer.provide(quiet)
      )
    const context = yield* Layer.build(app)
    return { url, server, context }
  })
