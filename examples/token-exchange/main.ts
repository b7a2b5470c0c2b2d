/**
 * An API in the middle: it is called on behalf of a user, and calls the next API on behalf of the same user, as itself. The
 * user's token is not passed on; it is exchanged for one that only this API can use, and that says who acts. The rest of this
 * folder runs the servers, calls as a user and tells what happens: `npm run example token-exchange`.
 */
import { AccessToken, AccessTokenHttpClient, OAuthValues, TokenClients, TokenRetriever } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import {
  FetchHttpClient,
  HttpClient,
  HttpClientRequest,
  HttpLayerRouter,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Context, DateTime, Effect, Layer, Option } from "effect"
import http from "node:http"
import * as AccessTokens from "../servers/accessTokens.ts"
import { bearerOf, unauthorized } from "../servers/api.ts"
import { run } from "./story.ts"

const Clients = TokenClients.layerConfig({
  "orders.api": {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET"),
    dpop: true
  }
})

/** On whose behalf a request is: the token that came with it. */
class Caller extends Context.Tag("Caller")<Caller, AccessToken.AccessToken>() {}

const onBehalfOfCaller = Effect.gen(function*() {
  const ourselves = yield* TokenRetriever.clientCredentials("orders.api", { resource: yield* Config.string("OWN_URL") })
  return yield* TokenRetriever.tokenExchange(() => Caller, "orders.api", {
    actor: ourselves,
    parameters: { resource: yield* Config.string("INVOICES_URL"), scope: "invoices" }
  })
})

/** A token counts only if the server has signed it for this API. */
const callerOf = (claimsOf: AccessTokens.ClaimsOf) =>
  Effect.gen(function*() {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const value = yield* bearerOf(headers)
    const { client_id: clientName, exp = 0, iat = 0 } = yield* Effect.flatten(claimsOf(value))
    return new AccessToken.AccessToken({
      value,
      type: OAuthValues.TokenType.make("Bearer"),
      clientName: String(clientName),
      obtainedAt: DateTime.unsafeMake(iat * 1000),
      expiresAt: DateTime.unsafeMake(exp * 1000)
    })
  }).pipe(Effect.option)

const Orders = HttpLayerRouter.use((router) =>
  Effect.gen(function*() {
    const server = { issuer: yield* Config.string("ISSUER"), jwksUri: yield* Config.string("JWKS_URI") }
    const claimsOf = yield* Effect.provide(
      AccessTokens.claimsOf(server, yield* Config.string("OWN_URL")),
      FetchHttpClient.layer
    )
    const invoices = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("INVOICES_URL"))),
      AccessTokenHttpClient.make(yield* onBehalfOfCaller),
      HttpClient.filterStatusOk
    )
    const orders = Effect.flatMap(invoices.get("/invoices"), (response) => response.json).pipe(
      Effect.map((list) => HttpServerResponse.unsafeJson({ invoices: list })),
      Effect.catchAll(() => HttpServerResponse.empty({ status: 502 }))
    )
    yield* router.add(
      "GET",
      "/orders",
      Effect.flatMap(
        callerOf(claimsOf),
        Option.match({
          onNone: () => Effect.succeed(unauthorized(`Bearer error="invalid_token"`)),
          onSome: (caller) => Effect.provideService(orders, Caller, caller)
        })
      )
    )
  })
)

const Server = Layer.unwrapEffect(
  Effect.map(
    Config.integer("PORT"),
    (port) => NodeHttpServer.layer(() => http.createServer(), { port, host: "127.0.0.1" })
  )
)

const App = HttpLayerRouter.serve(Orders, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.provide(NodeOAuth.layer),
  Layer.provide([Clients, Server])
)

run(App).pipe(NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true }))
