/**
 * A worker that shares its tokens with the other processes of its fleet. The rest of this folder starts four of them over one
 * Redis, kills one while it asks for a token, and tells what happens: `npm run example shared-cache`, and over Postgres with
 * `-- --postgres`.
 */
import { AccessTokenHttpClient, TokenCache, TokenClients, TokenEncryption } from "@effect-oauth/core"
import { NodeOAuth, NodeSigner } from "@effect-oauth/platform-node"
import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { run } from "./story.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    tokenEndpoint: Config.string("TOKEN_ENDPOINT"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET")
  }
})

/** One of these is what processes share. */
const Redis = RedisTokenStore.layerConfig({ url: Config.redacted("REDIS_URL"), prefix: Config.string("STORE_NAME") })

const Postgres = PgTokenStore.layerConfig({ table: Config.string("STORE_NAME") }).pipe(
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)

const Store = Layer.unwrapEffect(
  Effect.map(Config.string("STORE"), (store) => store === "postgres" ? Postgres : Redis)
)

/** Seals what is stored, with the keys of `TOKEN_ENCRYPTION_KEYS`. */
const Encryption = TokenEncryption.layerConfig().pipe(Layer.provide(NodeSigner.layer))

/**
 * Without options, `NodeOAuth.layer` would find both by itself. An example cannot wait for a lease of 15 seconds, and a machine
 * that has the servers and all workers on it may be slow.
 */
const Cache = TokenCache.layer({ lockLease: "3 seconds", lockWait: "15 seconds", storeTimeout: "2 seconds" }).pipe(
  Layer.provide([Store, Encryption])
)

/** So many calls at once. Nothing in here knows of other processes. */
const calls = (count: number) =>
  Effect.gen(function*() {
    const invoices = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
      yield* AccessTokenHttpClient.clientCredentials("invoice.client"),
      HttpClient.filterStatusOk
    )
    yield* Effect.replicateEffect(Effect.scoped(invoices.get("/invoices")), count, {
      concurrency: "unbounded",
      discard: true
    })
  })

run(calls, NodeOAuth.layer.pipe(Layer.provide(Cache), Layer.provideMerge(Clients))).pipe(
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
