/** An API that wants a stronger sign-in than a user has, and an app that arranges it (RFC 9470), on real servers. */
import {
  AccessTokenVerifier,
  AuthorizationServer,
  JwtVerifier,
  OAuthLogging,
  Refusal,
  ResourceServer
} from "@effect-oauth/core"
import { OidcError, OidcLogin, OidcSession, UserAccessTokenHttpClient } from "@effect-oauth/oidc"
import {
  FetchHttpClient,
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpClient,
  HttpLayerRouter,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, LogLevel, Schema } from "effect"
import http from "node:http"
import { freePort } from "../../../examples/servers/freePort.ts"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import * as App from "./support/app.ts"

const guard = { provides: ResourceServer.Caller, failure: Refusal.Refusal }

class Anybody extends HttpApiMiddleware.Tag<Anybody>()("Anybody", guard) {}
class Strong extends HttpApiMiddleware.Tag<Strong>()("Strong", guard) {}

const multiFactor = "urn:example:mfa"

const Api = HttpApi.make("api").add(
  HttpApiGroup.make("api", { topLevel: true })
    .add(HttpApiEndpoint.get("who", "/who").addSuccess(Schema.String).middleware(Anybody))
    .add(HttpApiEndpoint.get("strong", "/strong").addSuccess(Schema.String).middleware(Strong))
    .add(HttpApiEndpoint.get("recent", "/recent").addSuccess(Schema.String).middleware(Anybody))
)

const acrOf = Effect.map(ResourceServer.Caller, ({ token }) => `${token.sub} ${token.acr}`)

const Handlers = HttpApiBuilder.group(Api, "api", (handlers) =>
  handlers
    .handle("who", () => acrOf)
    .handle("strong", () => acrOf)
    .handle("recent", () => Effect.zipRight(ResourceServer.require({ maxAge: 0 }), acrOf)))

/** The API, for tokens of this issuer. */
const serve = (issuer: string, url: string) =>
  HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.api(Api)),
    Layer.provide(Handlers),
    Layer.provide([
      ResourceServer.layerHttpApi(Anybody),
      ResourceServer.layerHttpApi(Strong, { scope: "invoices", acrValues: multiFactor })
    ]),
    Layer.provide(ResourceServer.layer()),
    Layer.provide(AccessTokenVerifier.layerJwt({ issuer, audience: url })),
    Layer.provide(JwtVerifier.layer),
    Layer.provide(AuthorizationServer.layer()),
    Layer.provide(FetchHttpClient.layer),
    Layer.provide(
      NodeHttpServer.layer(() => http.createServer(), { port: Number(new URL(url).port), host: "127.0.0.1" })
    )
  )

type Call = "who" | "strong" | "recent"

/** The app's pages: each calls the API as its user, and sends the user to sign in if that is what it takes. */
const pages = (baseUrl: string) =>
  HttpLayerRouter.use((router) =>
    Effect.gen(function*() {
      const client = yield* HttpApiClient.makeWith(Api, {
        baseUrl,
        httpClient: (yield* HttpClient.HttpClient).pipe(yield* UserAccessTokenHttpClient.make({ resource: baseUrl }))
      })
      const { stepUp } = yield* OidcLogin.OidcLogin
      const page = (name: Call) =>
        client[name]().pipe(
          Effect.map((body) => HttpServerResponse.text(body)),
          Effect.catchIf((error) => error instanceof OidcError.StepUpRequired, (required) =>
            Effect.map(
              stepUp(required, { returnTo: `/${name}?from=here` }),
              ({ href }) => HttpServerResponse.redirect(href, { status: 303 })
            )),
          Effect.catchAll(({ _tag }) => HttpServerResponse.text(_tag, { status: 502 }))
        )
      for (const name of ["who", "strong", "recent"] as const) yield* router.add("GET", `/${name}`, page(name))
    })
  ).pipe(Layer.provide(OidcSession.layer), Layer.provide(FetchHttpClient.layer), Layer.orDie)

const start = (client: Parameters<typeof App.start>[0] = {}) =>
  Effect.gen(function*() {
    const apiUrl = `http://127.0.0.1:${yield* freePort}`
    const { server, url } = yield* App.start({
      client: { resource: apiUrl, scope: "openid profile offline_access invoices", pushedAuthorization: "never" },
      layer: pages(apiUrl),
      provide: OAuthLogging.layer(LogLevel.None),
      ...client
    })
    yield* Layer.build(serve(server.issuer, apiUrl))
    const browser = new UserAgent()
    yield* Effect.promise(() => browser.signIn(`${url}/auth/login`, "alice"))
    return {
      url,
      send: (path: string) => Effect.promise(() => browser.send(`${url}${path}`)),
      signIn: (address: string) => Effect.promise(() => browser.signIn(address, "alice")),
      cancel: (address: string) =>
        Effect.promise(async () => {
          const page = await browser.go(address)
          return browser.go(`${page.url}/cancel`)
        })
    }
  })

describe("stepping up", () => {
  it.scopedLive("the API demands it, the user signs in, lands where they were, and the call succeeds", () =>
    Effect.gen(function*() {
      const { send, signIn, url } = yield* start()
      assert.strictEqual((yield* send("/who")).body, "alice urn:example:pwd")
      const asked = yield* send("/strong")
      assert.strictEqual(asked.status, 303)
      const login = new URL(asked.headers.get("location") ?? "")
      assert.strictEqual(login.searchParams.get("acr_values"), multiFactor)
      const landed = yield* signIn(login.href)
      assert.deepStrictEqual([landed.url, landed.status, landed.body], [
        `${url}/strong?from=here`,
        200,
        "alice urn:example:mfa"
      ])
      assert.strictEqual((yield* send("/who")).body, "alice urn:example:mfa")
    }))

  it.scopedLive("whoever does not sign in stays signed in as before, and is asked again", () =>
    Effect.gen(function*() {
      const { cancel, send } = yield* start()
      const asked = yield* send("/strong")
      yield* cancel(asked.headers.get("location") ?? "")
      assert.strictEqual((yield* send("/who")).body, "alice urn:example:pwd")
      assert.strictEqual((yield* send("/strong")).status, 303)
    }))

  it.scopedLive("a sign-in that has to be recent is asked for by its age", () =>
    Effect.gen(function*() {
      const { send } = yield* start()
      // in whole seconds, so the sign-in of this second may still do
      const asked = yield* Effect.repeat(send("/recent"), { until: ({ status }) => status !== 200 })
      assert.strictEqual(asked.status, 303)
      const login = new URL(asked.headers.get("location") ?? "")
      assert.strictEqual(login.searchParams.get("max_age"), "0")
      assert.isNull(login.searchParams.get("acr_values"))
    }))
})
