/**
 * One program for a hundred tenants of two authorization servers. Who a call is made as is said by the request itself. The
 * rest of this folder runs the servers, and tenants that are broken, and tells what happens: `npm run example multi-tenant`.
 */
import { AccessTokenHttpClient, ClientCredentialsTokenManager, TokenClients, TokenRetriever } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { run } from "./story.ts"
import { Tenants } from "./tenants.ts"

/** From the table of tenants, when one is asked for. A secret that is rotated there needs no restart. */
const Clients = TokenClients.layerResolver((name) =>
  Effect.gen(function*() {
    const tenants = yield* Tenants
    const { clientId, clientSecret, issuer, resource } = yield* tenants.find(name)
    return { issuer, clientId, clientSecret, resource }
  }), { timeout: "1 second" })

/** The scope by what is asked for: tokens of different scopes are kept apart. */
const Customizer = Layer.succeed(
  TokenRetriever.TokenRequestCustomizer,
  ({ url }, parameters) => Effect.succeed({ ...parameters, scope: new URL(url).pathname.slice(1) })
)

const worker = Effect.gen(function*() {
  const manager = yield* ClientCredentialsTokenManager.ClientCredentialsTokenManager
  const customizer = yield* TokenRetriever.TokenRequestCustomizer
  /** The client by the header of the request. */
  const byTenant: TokenRetriever.TokenRetriever = (request) =>
    TokenRetriever.clientCredentials(request.headers["x-tenant"], undefined, customizer).pipe(
      Effect.provideService(ClientCredentialsTokenManager.ClientCredentialsTokenManager, manager),
      Effect.flatMap((retriever) => retriever(request))
    )
  const api = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
    AccessTokenHttpClient.make(byTenant),
    HttpClient.filterStatusOk
  )
  return (tenant: string, path: "invoices" | "customers") =>
    api.execute(HttpClientRequest.get(`/${path}`, { headers: { "x-tenant": tenant } })).pipe(
      Effect.flatMap((response) => response.json)
    )
})

const WorkerLive = Layer.merge(NodeOAuth.layer, Customizer).pipe(Layer.provide(Clients))

run((story) => Effect.flatMap(worker, story).pipe(Effect.provide(WorkerLive))).pipe(
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
