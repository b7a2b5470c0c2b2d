/**
 * A worker that is known by its TLS certificate, and whose tokens are bound to it: there is no secret, and a token is of no
 * use on a connection without the certificate. The rest of this folder runs the servers, replaces the certificate while the
 * worker runs, and tells what happens: `npm run example mtls`.
 */
import { AccessTokenHttpClient, TokenClients } from "@effect-oauth/core"
import { NodeBackchannel, NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schedule } from "effect"
import { run } from "./story.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    authentication: "tls_client_auth",
    scope: "invoices",
    resource: Config.string("API_URL")
  }
})

const fileOf = (variable: string) => Config.map(Config.string(variable), NodeBackchannel.file)

const Certificate = NodeBackchannel.layerConfig({
  certificate: { certificate: fileOf("TLS_CERTIFICATE"), key: fileOf("TLS_KEY") },
  ca: fileOf("TLS_CA"),
  checkEvery: "200 millis" // the default, 30 seconds, is too long for an example
})

/** Nothing in here knows of certificates. */
const worker = Effect.gen(function*() {
  const invoices = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
    yield* AccessTokenHttpClient.clientCredentials("invoice.client"),
    HttpClient.filterStatusOk
  )
  yield* invoices.get("/invoices").pipe(
    Effect.flatMap((response) => response.json),
    Effect.repeat(Schedule.spaced("100 millis"))
  )
})

/** The API is called with the certificate too, so its HttpClient goes before the one of NodeOAuth. */
const WorkerLive = NodeBackchannel.layerHttpClient.pipe(
  Layer.provideMerge(NodeOAuth.layer),
  Layer.provide(Certificate),
  Layer.provideMerge(Clients)
)

worker.pipe(
  Effect.provide(WorkerLive),
  run,
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
