/**
 * 300 calls with a token that was revoked meanwhile; their 401s come in one after another over 3 seconds.
 */
import * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import http from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import * as Ours from "./ours.ts"
import * as Peers from "./peers.ts"
import type { Row } from "./table.ts"

const calls = 300
const spread = 3000
const tokenTime = 30

/** An API at /api and a token server at /token. Each token has a number; those up to `revoked` are refused. */
const startServer = Effect.acquireRelease(
  Effect.promise(async () => {
    let issued = 0
    let revoked = 0
    let refused = 0
    const token = async (response: http.ServerResponse) => {
      const body = JSON.stringify(Ours.tokenAnswer(++issued))
      await sleep(tokenTime)
      response.writeHead(200, { "content-type": "application/json" }).end(body)
    }
    const api = async (authorization: string, response: http.ServerResponse) => {
      const number = Number.parseInt(authorization.replace(/^Bearer -*/i, ""), 36)
      if (number > revoked) return response.end("{}")
      await sleep(spread * refused++ / calls)
      response.writeHead(401, { "www-authenticate": `Bearer error="invalid_token"` }).end()
    }
    const server = http.createServer((request, response) => {
      request.resume()
      request.on("end", () => {
        if (request.url === "/token") void token(response)
        else void api(request.headers.authorization ?? "", response)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return {
      server,
      api: `${url}/api`,
      tokenEndpoint: `${url}/token`,
      issued: () => issued,
      revokeAll: () => {
        revoked = issued
      }
    }
  }),
  ({ server }) =>
    Effect.async<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
)

/** One call to have a token, then all at once; how many requests for tokens those took, and how many calls failed. */
const outcome = (
  prepare: (
    api: string,
    tokenEndpoint: string
  ) => Effect.Effect<Effect.Effect<number>, never, HttpClient.HttpClient | Scope.Scope>
): Effect.Effect<{ readonly requests: number; readonly failed: number }> =>
  Effect.gen(function*() {
    const server = yield* startServer
    const call = yield* prepare(server.api, server.tokenEndpoint)
    yield* call
    server.revokeAll()
    const before = server.issued()
    const statuses = yield* Effect.all(Array.from({ length: calls }, () => call), { concurrency: "unbounded" })
    return {
      requests: server.issued() - before,
      failed: statuses.filter((status) => status !== 200).length
    }
  }).pipe(Effect.provide(NodeHttpClient.layerUndici), Effect.scoped)

const ours = outcome((api, tokenEndpoint) =>
  Effect.gen(function*() {
    const undici = yield* HttpClient.HttpClient
    const services = yield* Layer.build(Ours.layer(undici, ["client.0"], { ...Ours.clientOptions, tokenEndpoint }))
    const middleware = yield* Effect.provide(AccessTokenHttpClient.clientCredentials("client.0"), services)
    return middleware(undici).get(api).pipe(Effect.map(({ status }) => status), Effect.orDie)
  }).pipe(Effect.orDie)
)

const peer = (make: (tokenEndpoint: string) => (api: string) => Promise<{ readonly status: number }>) =>
  outcome((api, tokenEndpoint) =>
    Effect.sync(() => {
      const call = make(tokenEndpoint)
      return Effect.promise(() => call(api).then(({ status }) => status))
    })
  )

const badgateway = peer((tokenEndpoint) => {
  const client = Peers.badgateway(globalThis.fetch, tokenEndpoint)
  return (api) => client.fetch(api)
})

const google = peer((tokenEndpoint) => {
  const client = Peers.google(globalThis.fetch, tokenEndpoint)
  return (api) => client.request({ url: api })
})

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const { failed, requests } = yield* ours
  const counts = [(yield* badgateway).requests, (yield* google).requests]
  return [{
    path: `${calls} calls with a revoked token, 401s spread over ${spread / 1000} s: token requests`,
    ours: String(requests) + (failed === 0 ? "" : ` (${failed} calls failed)`),
    floor: "1",
    ratio: "",
    goal: "1",
    met: requests === 1 && failed === 0,
    peers: `@badgateway/oauth2-client ${counts[0]}, google-auth-library ${counts[1]}; ` +
      "@azure/msal-node and openid-client do not heal a 401"
  }]
})
