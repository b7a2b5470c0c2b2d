/**
 * A server that shows people their invoices for as long as they are signed in: over a WebSocket at `/live`, and by rpc over
 * another at `/rpc`. The rest of this folder runs the servers, signs a person in and tells what happens:
 * `npm run example websocket`.
 */
import {
  CurrentUser,
  Oidc,
  OidcClients,
  OidcConnection,
  OidcRoutes,
  SessionStore,
  UserAccessTokenHttpClient
} from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import {
  HttpClient,
  HttpClientRequest,
  HttpClientResponse,
  HttpLayerRouter,
  HttpServerRequest,
  HttpServerResponse,
  Socket
} from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { RpcSerialization, RpcServer } from "@effect/rpc"
import { Config, Effect, Layer, Schedule, Schema, Stream } from "effect"
import http from "node:http"
import { Invoice, Rpcs, Unavailable, User } from "./rpcs.ts"
import { run } from "./story.ts"

const Clients = OidcClients.layerConfig({
  web: {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    clientSecret: Config.redacted("CLIENT_SECRET"),
    scope: "openid profile offline_access invoices",
    prompt: "consent"
  }
})

const readInvoices = HttpClientResponse.schemaBodyJson(Schema.Array(Invoice))

/** Nothing in here knows of tokens: each call is made on behalf of whoever is the current user. */
class Invoices extends Effect.Service<Invoices>()("Invoices", {
  effect: Effect.gen(function*() {
    const api = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
      yield* UserAccessTokenHttpClient.make(),
      HttpClient.filterStatusOk
    )
    const now = Effect.flatMap(api.get("/invoices"), readInvoices)
    return {
      /** Each second, until the session ends. */
      live: Stream.repeatEffectWithSchedule(now, Schedule.spaced("1 second")).pipe(
        Stream.interruptWhen(OidcConnection.whileSignedIn(Effect.never)),
        Stream.mapError((error) => error._tag === "SessionEnded" ? error : new Unavailable())
      )
    }
  })
}) {}

/** The codes from 4000 on are those of the application. */
const close = { SessionEnded: 4001, Unavailable: 4002 }

const live = Effect.gen(function*() {
  const invoices = yield* Invoices
  yield* CurrentUser.required
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  const sending = invoices.live.pipe(
    Stream.runForEach((list) => write(JSON.stringify(list))),
    Effect.catchTags({
      SessionEnded: ({ reason }) => write(new Socket.CloseEvent(close.SessionEnded, reason)),
      Unavailable: () => write(new Socket.CloseEvent(close.Unavailable))
    })
  )
  // What a page sends is of no interest, but that it has gone is.
  const connected = socket.run(() => Effect.void)
  yield* Effect.raceFirst(sending, connected)
  return HttpServerResponse.empty()
}).pipe(
  Effect.catchTags({
    NotSignedIn: () => HttpServerResponse.empty({ status: 401 }),
    SocketError: () => HttpServerResponse.empty()
  })
)

const LiveRoute = HttpLayerRouter.add("GET", "/live", live)

/** Messages bring headers of their own: whose they are is known by the connection alone. */
const UserOfConnection = Layer.effect(
  User,
  Effect.map(OidcConnection.OidcConnections, ({ userOf }) => ({ headers }) => userOf(headers))
)

const Handlers = Rpcs.toLayer(Effect.map(Invoices, ({ live }) => ({ invoices: () => live })))

const RpcRoute = RpcServer.layer(Rpcs).pipe(
  Layer.provide([Handlers, UserOfConnection]),
  Layer.provide(RpcServer.layerProtocolWebsocketRouter({ path: "/rpc" })),
  Layer.provide(RpcSerialization.layerJson)
)

/** Both of them are opened by pages of this site only, and have a user from then on. */
const Connections = Layer.merge(LiveRoute, RpcRoute).pipe(Layer.provide(OidcConnection.layerMiddleware))

const Users = Layer.unwrapEffect(Effect.map(Config.string("PUBLIC_URL"), (publicUrl) => Oidc.layer({ publicUrl })))

const Server = Layer.unwrapEffect(
  Effect.map(
    Config.integer("PORT"),
    (port) => NodeHttpServer.layer(() => http.createServer(), { port, host: "localhost" })
  )
)

/** A connection has no response to put a cookie on: sessions are kept here. */
const App = HttpLayerRouter.serve(Layer.merge(Connections, OidcRoutes.layer()), {
  disableLogger: true,
  disableListenLog: true
}).pipe(
  Layer.provide(Invoices.Default),
  Layer.provide(Users),
  Layer.provide([NodeOAuth.layer, SessionStore.layerMemory]),
  Layer.provide([Clients, Server])
)

run(App).pipe(NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true }))
