/**
 * The same call over HTTP on loopback, one after another, with a token of a real authorization server.
 */
import * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as OpenidClient from "openid-client"
import * as AuthorizationServer from "../../examples/servers/authorizationServer.ts"
import * as Api from "./apiProcess.ts"
import { measure, repeat, repeatPromise, type Result } from "./measure.ts"
import * as Ours from "./ours.ts"
import * as Peers from "./peers.ts"
import { ratioRow, type Row, time, times } from "./table.ts"

const startServer = AuthorizationServer.start({
  clients: [{ client_id: "invoice", client_secret: "secret", scope: "invoice" }]
})

const secret = Redacted.make("secret")

const loopback = (
  undici: HttpClient.HttpClient,
  url: string,
  server: AuthorizationServer.AuthorizationServer
) =>
  Effect.gen(function*() {
    const manager = yield* Ours.Manager
    const token = Redacted.value((yield* manager.get("client.0")).value)
    const middleware = yield* AccessTokenHttpClient.clientCredentials("client.0")
    const request = HttpClientRequest.get(url)

    const read = <E>(client: HttpClient.HttpClient.With<E>) =>
      repeat(() => Effect.flatMap(client.execute(request), ({ text }) => text))

    const headers = { authorization: `Bearer ${token}` }
    const badgateway = Peers.badgateway(globalThis.fetch, server.tokenEndpoint)
    const configuration = new OpenidClient.Configuration(
      { issuer: server.issuer, token_endpoint: server.tokenEndpoint },
      "invoice",
      "secret"
    )
    OpenidClient.allowInsecureRequests(configuration)
    const openid = () => OpenidClient.fetchProtectedResource(configuration, token, new URL(url), "GET")

    const result = yield* measure([
      { name: "constant", batch: read(HttpClient.mapRequest(undici, HttpClientRequest.bearerToken(token))) },
      { name: "ours", floor: "constant", batch: read(middleware(undici)) },
      { name: "fetch", batch: repeatPromise(() => fetch(url, { headers }).then((response) => response.text())) },
      { name: "openid", floor: "fetch", batch: repeatPromise(() => openid().then((response) => response.text())) },
      {
        name: "badgateway",
        floor: "fetch",
        batch: repeatPromise(() => badgateway.fetch(url).then((response) => response.text()))
      }
    ], { batchTime: 5 })
    const peer = (name: string, { added, ratio }: Result) => `${name} ${times(ratio)} of fetch (adds ${time(added)})`
    return [
      ratioRow(
        "cached call, loopback HTTP (undici)",
        result("ours"),
        result("constant"),
        1.05,
        [
          peer("openid-client, its token kept by hand,", result("openid")),
          peer("@badgateway/oauth2-client", result("badgateway"))
        ].join("; ")
      )
    ]
  }).pipe(
    Effect.provide(
      Ours.layer(undici, ["client.0"], {
        tokenEndpoint: server.tokenEndpoint,
        clientId: "invoice",
        clientSecret: secret,
        scope: "invoice"
      })
    )
  )

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const api = yield* Api.start
  const server = yield* startServer
  return yield* loopback(yield* HttpClient.HttpClient, api.url, server)
}).pipe(Effect.provide(NodeHttpClient.layerUndici), Effect.scoped, Effect.orDie)
