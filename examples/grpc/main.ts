/**
 * A worker that calls a gRPC API. The rest of this folder runs the servers, takes the worker's token away, and tells what
 * happens: `npm run example grpc`.
 */
import { TokenClients } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as GrpcCredentials from "@effect-oauth/platform-node/GrpcCredentials"
import { NodeRuntime } from "@effect/platform-node"
import { credentials } from "@grpc/grpc-js"
import { Config, Effect, Layer, Redacted, Stream } from "effect"
import { connect, get, list } from "./invoices.ts"
import { run } from "./story.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET"),
    scope: "invoices"
  }
})

class Invoices extends Effect.Service<Invoices>()("Invoices", {
  scoped: Effect.gen(function*() {
    const grpc = yield* GrpcCredentials.clientCredentials("invoice.client")
    const authority = Redacted.value(yield* Config.redacted("API_CA"))
    const options = { interceptors: [grpc.interceptor], "grpc.enable_http_proxy": 0 }

    const secure = yield* grpc.channel(credentials.createSsl(Buffer.from(authority)))
    const client = yield* connect(yield* Config.string("API"), secure, options)

    // what somebody might write who has no certificate at hand
    const insecure = yield* connect(yield* Config.string("INSECURE_API"), credentials.createInsecure(), options)
    return {
      get: get(client, "2024-001"),
      list: Stream.runCollect(list(client)),
      getInsecurely: get(insecure, "2024-001"),
      insecureChannel: grpc.channel(credentials.createInsecure())
    }
  })
}) {}

const WorkerLive = Invoices.Default.pipe(Layer.provide(NodeOAuth.layer), Layer.provide(Clients))

run((told) =>
  Effect.gen(function*() {
    const invoices = yield* Invoices
    yield* told(invoices)
  }).pipe(Effect.provide(WorkerLive))
).pipe(NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true }))
