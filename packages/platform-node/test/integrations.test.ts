/**
 * Clients that know only the `HttpClient` Tag, against real servers of their own kind.
 */
import { AccessTokenHttpClient, TokenClients } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiClient from "@effect/platform/HttpApiClient"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { Rpc, RpcClient, RpcGroup, RpcSerialization, RpcServer } from "@effect/rpc"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import * as http from "node:http"
import { listen } from "./support/listen.ts"

const Authorized = Schema.Struct({ authorization: Schema.String })

const authorization = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => ({
  authorization: headers.authorization ?? "none"
}))

/** Gives out t1, t2, … */
const tokenEndpoint = Effect.gen(function*() {
  let number = 0
  const url = yield* listen((_, response) =>
    void response.end(JSON.stringify({ access_token: `t${++number}`, expires_in: 60 }))
  )
  return `${url}/token`
})

const program = (endpoint: string) =>
  NodeOAuth.layer.pipe(Layer.provideMerge(TokenClients.layer({ api: { tokenEndpoint: endpoint, clientId: "c" } })))

const nodeServer = NodeHttpServer.layer(() => http.createServer(), { port: 0, host: "127.0.0.1" })

const baseUrl = Effect.map(
  HttpServer.HttpServer,
  ({ address }) => address._tag === "TcpAddress" ? `http://127.0.0.1:${address.port}` : ""
)

describe("integrations", () => {
  it.scopedLive("HttpApiClient takes the middleware as transformClient", () => {
    const Api = HttpApi.make("api").add(
      HttpApiGroup.make("invoices").add(HttpApiEndpoint.get("list", "/invoices").addSuccess(Authorized))
    )
    const Handlers = HttpApiBuilder.group(Api, "invoices", (handlers) => handlers.handle("list", () => authorization))
    const Server = HttpApiBuilder.serve().pipe(
      Layer.provide(HttpApiBuilder.api(Api).pipe(Layer.provide(Handlers))),
      Layer.provideMerge(nodeServer)
    )
    return Effect.gen(function*() {
      const endpoint = yield* tokenEndpoint
      const url = yield* baseUrl
      const [first, second] = yield* Effect.gen(function*() {
        const client = yield* HttpApiClient.make(Api, {
          baseUrl: url,
          transformClient: yield* AccessTokenHttpClient.transformClient("api")
        })
        return [yield* client.invoices.list(), yield* client.invoices.list()] as const
      }).pipe(Effect.provide(program(endpoint)))
      assert.deepStrictEqual([first.authorization, second.authorization], ["Bearer t1", "Bearer t1"])
    }).pipe(Effect.provide(Server))
  })

  it.scopedLive("a token error of HttpApiClient is an HttpClientError", () => {
    const Api = HttpApi.make("api").add(
      HttpApiGroup.make("invoices").add(HttpApiEndpoint.get("list", "/invoices").addSuccess(Authorized))
    )
    return Effect.gen(function*() {
      const endpoint = yield* listen((_, response) => void response.writeHead(400).end("{\"error\":\"invalid_scope\"}"))
      const error = yield* Effect.gen(function*() {
        const client = yield* HttpApiClient.make(Api, {
          baseUrl: "http://127.0.0.1:9",
          transformClient: yield* AccessTokenHttpClient.transformClient("api")
        })
        return yield* Effect.flip(client.invoices.list())
      }).pipe(Effect.provide(program(endpoint)))
      assert.strictEqual(error._tag, "RequestError")
      assert.include(error.message, "400 invalid_scope")
    })
  })

  it.scopedLive("@effect/rpc over HTTP takes the middleware as transformClient", () => {
    class Rpcs extends RpcGroup.make(Rpc.make("whoami", { success: Authorized })) {}
    const Handlers = Rpcs.toLayer({
      whoami: (_, { headers }) => Effect.succeed({ authorization: headers.authorization ?? "none" })
    })
    const Server = HttpRouter.Default.serve().pipe(
      Layer.provide(RpcServer.layer(Rpcs).pipe(Layer.provide(Handlers))),
      Layer.provide(RpcServer.layerProtocolHttp({ path: "/rpc" })),
      Layer.provide(RpcSerialization.layerJson),
      Layer.provideMerge(nodeServer)
    )
    return Effect.gen(function*() {
      const endpoint = yield* tokenEndpoint
      const url = yield* baseUrl
      const answers = yield* Effect.gen(function*() {
        const transformClient = yield* AccessTokenHttpClient.transformClient("api")
        const protocol = RpcClient.layerProtocolHttp({ url: `${url}/rpc`, transformClient }).pipe(
          Layer.provide(RpcSerialization.layerJson)
        )
        return yield* Effect.gen(function*() {
          const client = yield* RpcClient.make(Rpcs)
          return [yield* client.whoami(), yield* client.whoami()]
        }).pipe(Effect.scoped, Effect.provide(protocol))
      }).pipe(Effect.provide(program(endpoint)))
      assert.deepStrictEqual(answers.map((answer) => answer.authorization), ["Bearer t1", "Bearer t1"])
    }).pipe(Effect.provide(Server))
  })

  it.scopedLive("code that knows only the HttpClient of its context", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const api = yield* listen((request, response) => {
        seen.push(request.headers.authorization)
        response.writeHead(seen.length === 1 ? 401 : 200).end("{}")
      })
      const endpoint = yield* tokenEndpoint
      const status = yield* HttpClient.execute(HttpClientRequest.get(`${api}/x`)).pipe(
        Effect.map((response) => response.status),
        Effect.provide(AccessTokenHttpClient.layer("api").pipe(Layer.provide(program(endpoint))))
      )
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(seen, ["Bearer t1", "Bearer t2"])
    }))
})
