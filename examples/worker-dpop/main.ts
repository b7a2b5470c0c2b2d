/**
 * A worker whose tokens only it can use: they are bound to a key that it generates and that never leaves it. The rest of this
 * folder runs the servers and tells what happens: `npm run example worker-dpop`, and with `-- --steal` what a thief gets.
 */
import { AccessTokenHttpClient, TokenClients } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schedule } from "effect"
import { run } from "./story.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET"),
    scope: "invoices",
    resource: Config.string("API_URL"),
    dpop: true
  }
})

/** Nothing in here knows of keys, proofs or nonces. */
const worker = Effect.gen(function*() {
  const invoices = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
    yield* AccessTokenHttpClient.clientCredentials("invoice.client"),
    HttpClient.filterStatusOk
  )
  yield* invoices.get("/invoices").pipe(
    Effect.flatMap((response) => response.json),
    Effect.repeat(Schedule.spaced("200 millis"))
  )
})

worker.pipe(
  Effect.provide(NodeOAuth.layer.pipe(Layer.provideMerge(Clients))),
  run,
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
