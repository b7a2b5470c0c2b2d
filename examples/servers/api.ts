/**
 * An API that wants a bearer token: invoices and customers as JSON, or 401 with a challenge (RFC 6750).
 */
import {
  FetchHttpClient,
  HttpClient,
  HttpClientRequest,
  HttpClientResponse,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Option, Redacted, Schema, type Scope } from "effect"
import http from "node:http"
import type { AuthorizationServer } from "./authorizationServer.ts"

/** Whether a token is good. A failure says that nobody could be asked. */
export type Check = (token: Redacted.Redacted<string>) => Effect.Effect<boolean, unknown>

export interface Options {
  readonly check: Check
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined
  readonly onAnswer?: ((request: ServedRequest) => void) | undefined
}

export interface ServedRequest {
  readonly path: string
  readonly status: number
}

export interface Api {
  readonly url: string
  readonly requests: () => ReadonlyArray<ServedRequest>
}

const invoices = [
  { number: "2024-001", customer: "Ada", amount: 1200 },
  { number: "2024-002", customer: "Grace", amount: 860 }
]

const customers = [{ name: "Ada", country: "GB" }, { name: "Grace", country: "US" }]

const unauthorized = (challenge: string) =>
  HttpServerResponse.empty({ status: 401, headers: { "www-authenticate": challenge } })

const bearerOf = (authorization: string | undefined): Option.Option<Redacted.Redacted<string>> =>
  Option.fromNullable(/^bearer +(\S+)$/i.exec(authorization ?? "")?.[1]).pipe(Option.map(Redacted.make))

const protectedBy = (check: Check) =>
  HttpMiddleware.make((app) =>
    Effect.gen(function*() {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const token = bearerOf(headers.authorization)
      if (Option.isNone(token)) return unauthorized("Bearer")
      const isGood = yield* Effect.option(check(token.value))
      if (Option.isNone(isGood)) return HttpServerResponse.empty({ status: 503 })
      return isGood.value ? yield* app : unauthorized(`Bearer error="invalid_token"`)
    })
  )

const observed = (onAnswer: (request: ServedRequest) => void) =>
  HttpMiddleware.make((app) =>
    Effect.gen(function*() {
      const { url } = yield* HttpServerRequest.HttpServerRequest
      const response = yield* app
      onAnswer({ path: url, status: response.status })
      return response
    })
  )

const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/invoices", HttpServerResponse.json(invoices)),
  HttpRouter.get("/customers", HttpServerResponse.json(customers)),
  Effect.catchTag("RouteNotFound", () => HttpServerResponse.empty({ status: 404 }))
)

/** Starts it; the end of the scope stops it. */
export const start = (options: Options): Effect.Effect<Api, never, Scope.Scope> =>
  Effect.gen(function*() {
    const requests: Array<ServedRequest> = []
    const server = yield* NodeHttpServer.make(() => http.createServer(), {
      host: "127.0.0.1",
      port: options.port ?? 0
    })
    const onAnswer = (request: ServedRequest) => {
      requests.push(request)
      options.onAnswer?.(request)
    }
    yield* server.serve(observed(onAnswer)(protectedBy(options.check)(routes)))
    const url = HttpServer.formatAddress(server.address)
    return { url, requests: () => requests }
  }).pipe(Effect.orDie)

const Introspection = HttpClientResponse.schemaBodyJson(Schema.Struct({ active: Schema.Boolean }))

/**
 * Asks the authorization server about each token (RFC 7662), as a client of its own. It keeps no answers, so a token that
 * was revoked is refused at once.
 */
export const byIntrospection = (
  server: Pick<AuthorizationServer, "introspectionEndpoint">,
  client: { readonly id: string; readonly secret: Redacted.Redacted<string> }
): Check =>
(token) =>
  HttpClientRequest.post(server.introspectionEndpoint).pipe(
    HttpClientRequest.basicAuth(client.id, client.secret),
    HttpClientRequest.bodyUrlParams({ token: Redacted.value(token) }),
    HttpClient.execute,
    Effect.flatMap(HttpClientResponse.filterStatusOk),
    Effect.flatMap(Introspection),
    Effect.map(({ active }) => active),
    Effect.provide(FetchHttpClient.layer)
  )

/** Looks tokens up where the authorization server keeps them, so that the API works on while that is stopped. */
export const byLookup = (server: Pick<AuthorizationServer, "isActive">): Check => server.isActive
