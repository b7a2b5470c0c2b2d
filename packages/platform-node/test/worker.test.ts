/**
 * The whole way over real sockets: undici, a real authorization server, real APIs.
 */
import {
  AccessTokenHttpClient,
  ClientCredentialsTokenManager,
  OAuth,
  TokenClients,
  TokenEndpoint
} from "@effect-oauth/core"
import type { OAuthError, TokenClient } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Undici from "@effect/platform-node/Undici"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Schedule } from "effect"
import type * as http from "node:http"
import * as AuthorizationServer from "../../../examples/servers/authorizationServer.ts"
import { listen } from "./support/listen.ts"

const secret = "s3cret &%+ of the worker"

const startServer = (options: Partial<AuthorizationServer.Options> = {}) =>
  AuthorizationServer.start({
    clients: [
      { client_id: "wor:ker", client_secret: secret, scope: "invoice customers" },
      { client_id: "poster", client_secret: secret, token_endpoint_auth_method: "client_secret_post", scope: "invoice" }
    ],
    ...options
  })

const worker = (server: AuthorizationServer.AuthorizationServer): TokenClient.TokenClientOptions => ({
  tokenEndpoint: server.tokenEndpoint,
  introspectionEndpoint: server.introspectionEndpoint,
  revocationEndpoint: server.revocationEndpoint,
  clientId: "wor:ker",
  clientSecret: Redacted.make(secret),
  scope: "invoice"
})

type Services = OAuth.Services | HttpClient.HttpClient | TokenClients.TokenClients

const program = (
  clients: Readonly<Record<string, TokenClient.TokenClientOptions>>
): Layer.Layer<Services, OAuthError.TokenClientInvalid> =>
  NodeOAuth.layer.pipe(Layer.provideMerge(TokenClients.layer(clients)))

const bearerOf = (request: http.IncomingMessage) => request.headers.authorization?.replace("Bearer ", "") ?? ""

describe("a worker over real sockets", () => {
  describe("against oidc-provider", () => {
    it.scopedLive("client_secret_basic with a secret that has to be encoded, client_secret_post, discovery", () =>
      Effect.gen(function*() {
        const server = yield* startServer()
        yield* Effect.gen(function*() {
          for (const name of ["basic", "post", "discovered"]) {
            const token = yield* ClientCredentialsTokenManager.get(name)
            assert.isTrue(yield* server.isActive(token.value))
            assert.strictEqual(token.scope, "invoice")
          }
        }).pipe(Effect.provide(program({
          basic: worker(server),
          post: { ...worker(server), clientId: "poster", authentication: "client_secret_post" },
          discovered: { ...worker(server), tokenEndpoint: undefined, issuer: server.issuer }
        })))
      }))

    it.scopedLive("a wrong secret, a wrong scope: what the server says, as typed errors", () =>
      Effect.gen(function*() {
        const server = yield* startServer()
        const errors = yield* Effect.forEach(["secret", "scope"], (name) =>
          Effect.flip(ClientCredentialsTokenManager.get(name))).pipe(Effect.provide(program({
            secret: { ...worker(server), clientSecret: Redacted.make("wrong") },
            scope: { ...worker(server), clientId: "poster", authentication: "client_secret_post", scope: "customers" }
          })))
        assert.deepStrictEqual(
          errors.map((error) =>
            error._tag === "TokenEndpointError" && [error.status, error.error]
          ),
          [[401, "invalid_client"], [400, "invalid_scope"]]
        )
      }))

    it.scopedLive("introspect and revoke", () =>
      Effect.gen(function*() {
        const server = yield* startServer()
        yield* Effect.gen(function*() {
          const endpoint = yield* TokenEndpoint.TokenEndpoint
          const client = yield* Effect.flatMap(TokenClients.TokenClients, (clients) => clients.get("worker"))
          const token = yield* ClientCredentialsTokenManager.get("worker")
          const before = yield* endpoint.introspect(client, token.value)
          assert.deepStrictEqual([before.active, before.claims.client_id], [true, "wor:ker"])
          yield* ClientCredentialsTokenManager.revoke("worker")
          assert.isFalse((yield* endpoint.introspect(client, token.value)).active)
          assert.isFalse(yield* server.isActive(token.value))
          yield* endpoint.revoke(client, Redacted.make("a token that nobody knows"))
          assert.notStrictEqual(yield* ClientCredentialsTokenManager.get("worker"), token)
        }).pipe(Effect.provide(program({ worker: worker(server) })))
      }))

    it.scopedLive("10,000 callers on a cold key make one token request", () =>
      Effect.gen(function*() {
        const server = yield* startServer()
        yield* Effect.all(
          Array.from({ length: 10_000 }, () => ClientCredentialsTokenManager.get("worker")),
          { concurrency: "unbounded", discard: true }
        ).pipe(Effect.provide(program({ worker: worker(server) })))
        assert.strictEqual(server.tokenRequests(), 1)
      }))

    it.scopedLive("300 calls whose token was revoked, their 401s spread over 3 s: one token request", () =>
      Effect.gen(function*() {
        const server = yield* startServer()
        let first: string | undefined
        const seen: Record<string, number> = {}
        const api = yield* listen((request, response) => {
          const token = bearerOf(request)
          first ??= token
          const call = Number(request.url!.slice(1))
          seen[token] = (seen[token] ?? 0) + 1
          if (token !== first || call === 0) return void response.end("{}")
          setTimeout(
            () => response.writeHead(401, { "www-authenticate": "Bearer error=\"invalid_token\"" }).end(),
            call * 10
          )
        })
        yield* Effect.gen(function*() {
          const client = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
          yield* client.get(`${api}/0`)
          assert.strictEqual(server.tokenRequests(), 1)
          const statuses = yield* Effect.all(
            Array.from(
              { length: 300 },
              (_, call) => Effect.map(client.get(`${api}/${call + 1}`), ({ status }) => status)
            ),
            { concurrency: "unbounded" }
          )
          assert.isTrue(statuses.every((status) => status === 200))
          assert.strictEqual(server.tokenRequests(), 2)
          assert.deepStrictEqual(Object.values(seen), [301, 300])
        }).pipe(Effect.provide(program({ worker: worker(server) })))
      }))

    it.scopedLive("the server stops: its valid token goes on being served; it comes back: so does the next token", () =>
      Effect.gen(function*() {
        const server = yield* startServer({ tokenLifetime: 3 })
        yield* Effect.gen(function*() {
          const first = yield* ClientCredentialsTokenManager.get("worker")
          yield* server.stop
          for (let elapsed = 0; elapsed < 2600; elapsed += 100) {
            assert.strictEqual(yield* ClientCredentialsTokenManager.get("worker"), first)
            yield* Effect.sleep("100 millis")
          }
          yield* Effect.sleep("500 millis")
          const error = yield* Effect.flip(ClientCredentialsTokenManager.get("worker"))
          assert.strictEqual(error._tag, "TokenTransportError")
          yield* server.restart
          const next = yield* Effect.retry(ClientCredentialsTokenManager.get("worker"), {
            times: 100,
            schedule: Schedule.spaced("100 millis"),
            while: (error) => error.retryable
          })
          assert.isTrue(yield* server.isActive(next.value))
        }).pipe(Effect.provide(program({ worker: worker(server) })))
      }))

    it.scopedLive("the server is down: 200 calls in a row, then 1,000 at once, cost 5 requests at the most", () =>
      Effect.gen(function*() {
        let connections = 0
        const dead = yield* listen((request) => {
          connections++
          request.socket.destroy()
        })
        yield* Effect.gen(function*() {
          const get = Effect.flip(ClientCredentialsTokenManager.get("worker"))
          const started = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
          for (let call = 0; call < 200; call++) assert.strictEqual((yield* get)._tag, "TokenTransportError")
          const errors = yield* Effect.all(Array.from({ length: 1000 }, () => get), { concurrency: "unbounded" })
          assert.isTrue(errors.every((error) => error._tag === "TokenTransportError" && error.retryable))
          const ended = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
          // One burst of three attempts, then a probe for each back-off that the calls took.
          assert.isAtMost(connections, 3 + Math.ceil((ended - started) / 1000))
          assert.isAtMost(connections, 5)
        }).pipe(Effect.provide(program({ worker: { tokenEndpoint: `${dead}/token`, clientId: "worker" } })))
      }))
  })

  describe("against servers that misbehave", () => {
    type Handler = http.RequestListener
    const get = (handler: Handler, more: Partial<TokenClient.TokenClientOptions> = {}) =>
      Effect.gen(function*() {
        const url = yield* listen(handler)
        const options = { tokenEndpoint: `${url}/token`, clientId: "worker", ...more }
        return yield* Effect.gen(function*() {
          const endpoint = yield* TokenEndpoint.TokenEndpoint
          const client = yield* Effect.flatMap(TokenClients.TokenClients, (clients) => clients.get())
          return yield* Effect.flip(endpoint.request(client, { _tag: "ClientCredentials" }, {}, { retries: 0 }))
        }).pipe(Effect.provide(program({ worker: options })))
      })

    const rows: ReadonlyArray<readonly [string, Handler, tag: string, detail: string, retryable: boolean]> = [
      ["500", (_, response) => void response.writeHead(500).end(), "TokenResponseInvalid", "500", true],
      [
        "429",
        (_, response) => void response.writeHead(429, { "retry-after": "9" }).end(),
        "TokenResponseInvalid",
        "9s",
        true
      ],
      ["an HTML page", (_, response) => void response.end("<html></html>"), "TokenResponseInvalid", "HTML", false],
      ["an empty 403", (_, response) => void response.writeHead(403).end(), "TokenResponseInvalid", "empty", false],
      [
        "a body that is cut off",
        (_, response) => {
          response.writeHead(200, { "content-length": "1000" })
          response.write("{\"access_token\":")
          setTimeout(() => response.destroy(), 50)
        },
        "TokenTransportError",
        "middle of its answer",
        true
      ],
      [
        "5 MiB of JSON",
        (_, response) => void response.end(`{"access_token":"${"a".repeat(5 * 1024 * 1024)}"}`),
        "TokenResponseInvalid",
        "larger than",
        false
      ],
      [
        "a redirect",
        (request, response) =>
          request.url === "/token"
            ? void response.writeHead(307, { location: "/elsewhere" }).end()
            : void response.end("{\"access_token\":\"a\"}"),
        "TokenResponseInvalid",
        "redirect",
        false
      ],
      ["a reset", (request) => void request.socket.destroy(), "TokenTransportError", "could not be reached", true],
      ["nothing at all", () => {}, "TokenTransportError", "in time", true]
    ]
    for (const [name, handler, tag, detail, retryable] of rows) {
      it.scopedLive(`${name}: ${tag}`, () =>
        Effect.gen(function*() {
          const error = yield* get(handler, { timeout: "500 millis" })
          assert.strictEqual(error._tag, tag)
          assert.include(error.message, detail)
          assert.strictEqual(error.retryable, retryable)
        }))
    }

    it.scopedLive("a redirect is not followed over fetch either", () =>
      Effect.gen(function*() {
        const asked: Array<string | undefined> = []
        const url = yield* listen((request, response) => {
          asked.push(request.url)
          if (request.url === "/token") return void response.writeHead(307, { location: "/elsewhere" }).end()
          response.end("{\"access_token\":\"a\"}")
        })
        const error = yield* Effect.flip(ClientCredentialsTokenManager.get()).pipe(
          Effect.provide(OAuth.layer.pipe(
            Layer.provide(TokenClients.layer({ worker: { tokenEndpoint: `${url}/token`, clientId: "worker" } })),
            Layer.provide(FetchHttpClient.layer)
          ))
        )
        assert.strictEqual(error._tag, "TokenResponseInvalid")
        assert.include(error.message, "redirect")
        assert.deepStrictEqual(asked, ["/token"])
      }))

    it.scopedLive("a port where nobody listens: TokenTransportError, ECONNREFUSED", () =>
      Effect.gen(function*() {
        const url = yield* Effect.scoped(listen(() => {}))
        const error = yield* Effect.flip(ClientCredentialsTokenManager.get()).pipe(
          Effect.provide(program({ worker: { tokenEndpoint: `${url}/token`, clientId: "worker" } }))
        )
        assert.strictEqual(error._tag === "TokenTransportError" && error.code, "ECONNREFUSED")
      }))

    it.scopedLive("all callers leave: the request is cancelled on the wire", () =>
      Effect.gen(function*() {
        let cancelled = false
        let arrived = false
        const url = yield* listen((request) => {
          arrived = true
          request.socket.on("close", () => cancelled = true)
        })
        yield* Effect.gen(function*() {
          const caller = yield* Effect.fork(ClientCredentialsTokenManager.get())
          yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => arrived })
          yield* Fiber.interrupt(caller)
          yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => cancelled }).pipe(Effect.timeout("5 seconds"))
        }).pipe(Effect.provide(program({ worker: { tokenEndpoint: `${url}/token`, clientId: "worker" } })))
      }))
  })

  describe("APIs", () => {
    const tokens: http.RequestListener = (_, response) =>
      void response.end("{\"access_token\":\"t\",\"expires_in\":60}")

    it.scopedLive("a 401 with 200 kB of body does not hold the only connection of a pool", () =>
      Effect.gen(function*() {
        let sockets = 0
        let calls = 0
        const issued: Array<string> = []
        const url = yield* listen((request, response) => {
          if (request.url === "/token") {
            issued.push("t")
            return void response.end(`{"access_token":"t${issued.length}","expires_in":60}`)
          }
          calls++
          if (bearerOf(request) === "t1") return void response.writeHead(401).end("x".repeat(200_000))
          response.end("{}")
        }, () => sockets++)
        const agent = Layer.scoped(
          NodeHttpClient.Dispatcher,
          Effect.acquireRelease(
            Effect.sync(() => new Undici.Agent({ connections: 1 })),
            (agent) => Effect.promise(() => agent.destroy())
          )
        )
        yield* Effect.gen(function*() {
          const client = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials())
          const response = yield* client.get(`${url}/x`)
          assert.strictEqual(response.status, 200)
          assert.deepStrictEqual(yield* response.json, {})
          assert.deepStrictEqual([calls, issued.length], [2, 2])
          assert.isAtMost(sockets, 3)
        }).pipe(
          Effect.timeout("10 seconds"),
          Effect.provide(
            OAuth.layer.pipe(
              Layer.provideMerge(TokenClients.layer({ worker: { tokenEndpoint: `${url}/token`, clientId: "worker" } })),
              Layer.provideMerge(NodeHttpClient.layerUndiciWithoutDispatcher),
              Layer.provide(agent)
            )
          )
        )
      }))

    it.scopedLive("a redirect to another origin, followed by the platform or by fetch, goes without the token", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const note = (name: string, request: http.IncomingMessage) =>
          seen.push(`${name} ${request.headers.authorization}`)
        const other = yield* listen((request, response) => {
          note("other", request)
          response.end("{}")
        })
        const api = yield* listen((request, response) => {
          if (request.url === "/token") return tokens(request, response)
          note("api", request)
          response.writeHead(302, { location: `${other}/stolen` }).end()
        })
        const clients = TokenClients.layer({ worker: { tokenEndpoint: `${api}/token`, clientId: "worker" } })
        const call = Effect.gen(function*() {
          const client = (yield* HttpClient.HttpClient).pipe(
            yield* AccessTokenHttpClient.clientCredentials(),
            HttpClient.followRedirects()
          )
          assert.strictEqual((yield* client.get(`${api}/x`)).status, 200)
        })
        const withFetch = OAuth.layer.pipe(
          Layer.provideMerge(clients),
          Layer.provideMerge(FetchHttpClient.layer)
        )
        const expected = ["api Bearer t", "other undefined"]
        yield* Effect.provide(call, NodeOAuth.layer.pipe(Layer.provideMerge(clients)))
        assert.deepStrictEqual(seen, expected)
        yield* Effect.provide(call, withFetch)
        assert.deepStrictEqual(seen, [...expected, ...expected])
        seen.length = 0
        const error = yield* Effect.gen(function*() {
          const client = (yield* HttpClient.HttpClient).pipe(
            yield* AccessTokenHttpClient.clientCredentials(undefined, undefined, { allowedOrigins: [api] }),
            HttpClient.followRedirects()
          )
          return yield* Effect.flip(client.get(`${api}/x`))
        }).pipe(Effect.provide(withFetch))
        assert.strictEqual(error._tag, "OriginNotAllowed")
        assert.deepStrictEqual(seen, ["api Bearer t"])
      }))
  })
})
