/**
 * A worker whose traces and metrics go to OpenTelemetry. The rest of this folder runs the servers, takes the worker's token away
 * once, and prints what was exported: `npm run example observability`.
 */
import { AccessTokenHttpClient, TokenClients } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { NodeSdk } from "@effect/opentelemetry"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { exported, run } from "./story.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET"),
    scope: "invoices"
  }
})

/** In a program of yours: an OTLPTraceExporter, and a PeriodicExportingMetricReader over an OTLPMetricExporter. */
const OpenTelemetry = NodeSdk.layer(() => ({
  resource: { serviceName: "worker" },
  spanProcessor: exported.spanProcessor,
  metricReader: exported.metricReader
}))

/** Nothing in here knows of tokens, and only the name of its span is about telemetry. */
const worker = Effect.gen(function*() {
  const invoices = (yield* HttpClient.HttpClient).pipe(
    HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
    yield* AccessTokenHttpClient.clientCredentials("invoice.client"),
    HttpClient.filterStatusOk
  )
  return (name: string) =>
    invoices.get("/invoices").pipe(
      Effect.flatMap((response) => response.json),
      Effect.withSpan(name)
    )
})

const WorkerLive = NodeOAuth.layer.pipe(Layer.provideMerge(Clients), Layer.provideMerge(OpenTelemetry))

run((story) => Effect.flatMap(worker, story).pipe(Effect.provide(WorkerLive))).pipe(
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
