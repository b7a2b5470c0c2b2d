/**
 * A worker with two clients, and all that it has to say about tokens. The rest of this folder runs the servers and tells
 * what happens: `npm run demo`.
 */
import { AccessTokenHttpClient, ClientCredentialsTokenManager, TokenClients } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schedule, Schema } from "effect"
import { Demo, run } from "./demo.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
    clientId: "invoice.client",
    clientSecret: Config.redacted("INVOICE_CLIENT_SECRET"),
    scope: "invoices"
  },
  "customer.client": {
    tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
    clientId: "customer.client",
    clientSecret: Config.redacted("CUSTOMER_CLIENT_SECRET"),
    scope: "customers"
  }
})

const Invoice = Schema.Struct({ number: Schema.String, customer: Schema.String, amount: Schema.Number })
const Customer = Schema.Struct({ name: Schema.String, country: Schema.String })

/** The usual way, a typed client: the middleware does everything, the code below it knows nothing of tokens. */
class Invoices extends Effect.Service<Invoices>()("Invoices", {
  effect: Effect.gen(function*() {
    const client = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
      yield* AccessTokenHttpClient.clientCredentials("invoice.client"),
      HttpClient.filterStatusOk
    )
    return {
      list: Effect.flatMap(client.get("/invoices"), HttpClientResponse.schemaBodyJson(Schema.Array(Invoice)))
    }
  })
}) {}

/** The manual way: get a token, attach it, and ask for another one if the API refuses it. */
class Customers extends Effect.Service<Customers>()("Customers", {
  effect: Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    const tokens = yield* ClientCredentialsTokenManager.ClientCredentialsTokenManager
    const request = HttpClientRequest.get(`${yield* Config.string("API_URL")}/customers`)

    const list = Effect.gen(function*() {
      const token = yield* tokens.get("customer.client")
      const first = yield* client.execute(yield* AccessTokenHttpClient.attach(token)(request))
      if (first.status !== 401) return first
      const other = yield* tokens.renew("customer.client", token)
      return yield* client.execute(yield* AccessTokenHttpClient.attach(other)(request))
    }).pipe(
      Effect.flatMap(HttpClientResponse.filterStatusOk),
      Effect.flatMap(HttpClientResponse.schemaBodyJson(Schema.Array(Customer)))
    )
    return { list }
  })
}) {}

const worker = Effect.gen(function*() {
  const invoices = yield* Invoices
  const customers = yield* Customers
  // counts calls and failures, and makes sure that no failure ends the worker
  const { watch } = yield* Demo
  yield* Effect.all([
    Effect.repeat(watch("invoice.client", invoices.list), Schedule.spaced("1 second")),
    Effect.repeat(watch("customer.client", customers.list), Schedule.spaced("1 second"))
  ], { concurrency: "unbounded", discard: true })
})

const WorkerLive = Layer.mergeAll(Invoices.Default, Customers.Default).pipe(
  Layer.provide(NodeOAuth.layer),
  Layer.provide(Clients)
)

worker.pipe(
  Effect.provide(WorkerLive),
  run,
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
