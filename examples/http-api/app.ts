/**
 * A web app that shows its users what the API has. It calls it by a client that is generated from the API's definition: as the
 * user, or as itself.
 */
import { AccessTokenHttpClient } from "@effect-oauth/core"
import { CurrentUser, Oidc, OidcClients, OidcLogin, OidcRoutes, OidcSession } from "@effect-oauth/oidc"
import { SessionStore, UserAccessTokenHttpClient } from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpApiClient, HttpClient, HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import http from "node:http"
import { Company } from "./api.ts"

class Calls extends Effect.Service<Calls>()("Calls", {
  effect: Effect.gen(function*() {
    const baseUrl = yield* Config.string("API_URL")
    const client = yield* HttpClient.HttpClient
    return {
      asUser: yield* HttpApiClient.makeWith(Company, {
        baseUrl,
        httpClient: client.pipe(yield* UserAccessTokenHttpClient.make({ resource: baseUrl }))
      }),
      asApp: yield* HttpApiClient.make(Company, {
        baseUrl,
        transformClient: yield* AccessTokenHttpClient.transformClient(OidcClients.tokenClientName("web"), {
          resource: baseUrl,
          scope: "invoices"
        })
      })
    }
  })
}) {}

const page = (body: unknown) => HttpServerResponse.unsafeJson(body, { headers: { "cache-control": "no-store" } })

const sorry = (status: number, body: string) => Effect.succeed(HttpServerResponse.text(body, { status }))

const home = Effect.map(CurrentUser.required, ({ sub }) => page({ signedIn: sub }))

const invoices = Effect.flatMap(Calls, ({ asUser }) => asUser.invoices.list())

const ownInvoices = Effect.flatMap(Calls, ({ asApp }) => asApp.invoices.list())

/** What the API does not allow, it says by the errors of its definition. */
const remove = Effect.flatMap(Calls, ({ asUser }) => asUser.invoices.remove()).pipe(
  Effect.as({ removed: true }),
  Effect.catchTag("Forbidden", ({ scope }) => Effect.succeed({ lacks: scope }))
)

const salaries = Effect.flatMap(Calls, ({ asUser }) => asUser.salaries.list())

/** The user signs in as the API wants it, and comes back to this page. */
const steppingUp = (returnTo: string) => (required: Parameters<OidcLogin.OidcLogin["Type"]["stepUp"]>[0]) =>
  Effect.map(
    Effect.flatMap(OidcLogin.OidcLogin, ({ stepUp }) => stepUp(required, { returnTo })),
    (url) => HttpServerResponse.redirect(url.href, { status: 303, headers: { "cache-control": "no-store" } })
  )

const Pages = Layer.mergeAll(
  HttpLayerRouter.add("GET", "/", home.pipe(Effect.catchAll(() => sorry(401, "nobody is signed in")))),
  HttpLayerRouter.add(
    "GET",
    "/invoices",
    invoices.pipe(Effect.map(page), Effect.catchAll(({ _tag }) => sorry(502, _tag)))
  ),
  HttpLayerRouter.add(
    "GET",
    "/own-invoices",
    ownInvoices.pipe(Effect.map(page), Effect.catchAll(({ _tag }) => sorry(502, _tag)))
  ),
  HttpLayerRouter.add(
    "POST",
    "/remove",
    OidcSession.sameOrigin(remove.pipe(Effect.map(page), Effect.catchAll(({ _tag }) => sorry(502, _tag))))
  ),
  HttpLayerRouter.add(
    "GET",
    "/salaries",
    salaries.pipe(
      Effect.map(page),
      Effect.catchTag("StepUpRequired", steppingUp("/salaries")),
      Effect.catchAll(({ _tag }) => sorry(502, _tag))
    )
  )
).pipe(Layer.provide(OidcSession.layer))

const Clients = OidcClients.layerConfig({
  web: {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET"),
    scope: "openid profile offline_access invoices salaries",
    resource: Config.string("API_URL"),
    dpop: true,
    prompt: "consent"
  }
})

const Users = Layer.unwrapEffect(Effect.map(Config.string("PUBLIC_URL"), (publicUrl) => Oidc.layer({ publicUrl })))

const Server = Layer.unwrapEffect(
  Effect.map(
    Config.integer("PORT"),
    (port) => NodeHttpServer.layer(() => http.createServer(), { port, host: "localhost" })
  )
)

export const App = HttpLayerRouter.serve(Layer.merge(Pages, OidcRoutes.layer()), {
  disableLogger: true,
  disableListenLog: true
}).pipe(
  Layer.provide(Calls.Default),
  Layer.provide(Users),
  Layer.provide([NodeOAuth.layer, SessionStore.layerMemory]),
  Layer.provide([Clients, Server])
)
