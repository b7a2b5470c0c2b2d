/** One of the processes of a web app that share their sessions. Ends by SIGTERM, as in production. */
import { TokenEncryption, type TokenStore } from "@effect-oauth/core"
import {
  Oidc,
  OidcClients,
  OidcRoutes,
  OidcSession,
  SessionStore,
  TokenConcurrency,
  type UserTokenManager
} from "@effect-oauth/oidc"
import { NodeOAuth, NodeSigner } from "@effect-oauth/platform-node"
import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import * as PgClient from "@effect/sql-pg/PgClient"
import { ConfigProvider, Effect, Layer, Logger, LogLevel, Redacted } from "effect"
import http from "node:http"
import { token } from "../../support/app.ts"
import type { Settings } from "./settings.ts"

const settings = JSON.parse(process.argv[2] ?? "") as Settings

const storeOf = (store: Settings["store"]): Layer.Layer<TokenStore.TokenStore, unknown> => {
  switch (store._tag) {
    case "redis":
      return RedisTokenStore.layer({ url: store.url })
    case "redis cluster": {
      const nodes = store.ports.map((port) => ({ host: "127.0.0.1", port }))
      return RedisTokenStore.layer({
        cluster: { nodes, slotsRefreshInterval: 1000 },
        url: `redis://127.0.0.1:${store.ports[0]}`
      })
    }
    case "postgres":
      return Layer.provide(
        PgTokenStore.layer(),
        PgClient.layer({
          host: "127.0.0.1",
          port: store.port,
          username: "postgres",
          password: Redacted.make(store.password),
          database: "postgres",
          maxConnections: 8
        })
      )
  }
}

const StoreLive = storeOf(settings.store)

const Clients = OidcClients.layer({
  web: {
    issuer: settings.issuer,
    tokenEndpoint: settings.tokenEndpoint,
    clientId: "web",
    clientSecret: Redacted.make(settings.clientSecret),
    prompt: "consent",
    resource: settings.resources
  }
})

const EncryptionLive = TokenEncryption.layerConfig().pipe(
  Layer.provide(
    Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["TOKEN_ENCRYPTION_KEYS", settings.encryptionKeys]])))
  )
)

const Services = Oidc.layer({ publicUrl: settings.publicUrl }).pipe(
  Layer.provideMerge(NodeOAuth.layer),
  Layer.provideMerge(Clients),
  // Who takes over from a killed process need not wait long in a test.
  Layer.provideMerge(Layer.provide(TokenConcurrency.layerShared({ lease: "2 seconds" }), NodeSigner.layer)),
  Layer.provideMerge(SessionStore.layer),
  Layer.provideMerge(StoreLive),
  Layer.provideMerge(EncryptionLive)
)

const Routes = HttpLayerRouter.use((router) =>
  Effect.flatMap(
    Effect.context<UserTokenManager.UserTokenManager>(),
    (context) => router.add("GET", "/token", Effect.provide(token, context))
  )
).pipe(Layer.provide(OidcSession.layer))

const App = HttpLayerRouter.serve(Layer.merge(Routes, OidcRoutes.layer()), {
  disableLogger: true,
  disableListenLog: true
}).pipe(
  Layer.provide(NodeHttpServer.layer(() => http.createServer(), { port: settings.port })),
  Layer.provide(Services),
  Layer.tap(() => Effect.sync(() => process.send?.("ready"))),
  Layer.provide(Logger.minimumLogLevel(LogLevel.None))
)

NodeRuntime.runMain(Layer.launch(App), { disableErrorReporting: true })
