/**
 * The smallest worker: its client comes from environment variables and nothing else.
 *
 *   TOKEN_ENDPOINT=… CLIENT_ID=… CLIENT_SECRET=… API_URL=… npm run example worker-config
 *
 * Without them, an authorization server and an API of its own stand in.
 */
import { AccessTokenHttpClient, TokenClients } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schedule } from "effect"
import { withStandIns } from "./standIns.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET"),
    scope: Config.succeed("invoices")
  }
})

const worker = Effect.gen(function*() {
  const invoices = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
    yield* AccessTokenHttpClient.clientCredentials("invoice.client"),
    HttpClient.filterStatusOk
  )
  // A worker that is not an example would go on: Effect.catchAllCause(Effect.logError), Schedule.spaced("5 seconds").
  yield* invoices.get("/invoices").pipe(
    Effect.flatMap((response) => response.json),
    Effect.flatMap(Effect.log),
    Effect.repeat(Schedule.spaced("1 second").pipe(Schedule.intersect(Schedule.recurs(3))))
  )
})

worker.pipe(
  Effect.provide(NodeOAuth.layer.pipe(Layer.provideMerge(Clients))),
  withStandIns,
  NodeRuntime.runMain
)
