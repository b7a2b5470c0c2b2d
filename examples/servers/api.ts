/**
 * An API that wants a bearer token: invoices and customers as JSON, or 401 with a challenge (RFC 6750).
 */
import {
  FetchHttpClient,
  type Headers,
  type HttpApp,
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

export interface ListenOptions {
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined
  /** Default: one over plain HTTP. */
  readonly server?: (() => http.Server) | undefined
  /** Sees what each request brings along: a log that leaks, for the thief of a story. */
  readonly onRequest?: ((headers: Headers.Headers) => void) | undefined
  readonly onAnswer?: ((request: ServedRequest) => void) | undefined
}

export interface Options extends ListenOptions {
  readonly check: Check
}

export interface ServedRequest {
  readonly path: string
  readonly status: number
  /** Of the challenge, if there was one. */
  readonly error: string | undefined
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

export const unauthorized = (challenge: string): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.empty({ status: 401, headers: { "www-authenticate": challenge } })

export const bearerOf = ({ authorization }: Headers.Headers): Option.Option<Redacted.Redacted<string>> =>
  Option.fromNullable(/^bearer +(\S+)$/i.exec(authorization ?? "")?.[1]).pipe(Option.map(Redacted.make))

/** What stands before the routes. */
export type Guard = (app: HttpApp.Default) => HttpApp.Default

const protectedBy = (check: Check): Guard =>
  HttpMiddleware.make((app) =>
    Effect.gen(function*() {
      const { headers } = yield* HttpServerRequest.HttpServerRequest
      const token = bearerOf(headers)
      if (Option.isNone(token)) return unauthorized("Bearer")
      const isGood = yield* Effect.option(check(token.value))
      if (Option.isNone(isGood)) return HttpServerResponse.empty({ status: 503 })
      return isGood.value ? yield* app : unauthorized(`Bearer error="invalid_token"`)
    })
  )

const errorOf = ({ headers }: HttpServerResponse.HttpServerResponse): string | undefined =>
  /error="([^"]*)"/.exec(headers["www-authenticate"] ?? "")?.[1]

const observed = ({ onAnswer, onRequest }: Pick<ListenOptions, "onAnswer" | "onRequest">): Guard =>
  HttpMiddleware.make((app) =>
    Effect.gen(function*() {
      const { headers, url } = yield* HttpServerRequest.HttpServerRequest
      onRequest?.(headers)
      const response = yield* app
      onAnswer?.({ path: url, status: response.status, error: errorOf(response) })
      return response
    })
  )

const routes = HttpRouter.empty.pipe(
  HttpRouter.get("/invoices", HttpServerResponse.unsafeJson(invoices)),
  HttpRouter.get("/customers", HttpServerResponse.unsafeJson(customers)),
  Effect.catchTag("RouteNotFound", () => HttpServerResponse.empty({ status: 404 }))
)

/** Listens, and lets through to its routes what a guard lets through; the guard is told where clients reach it. */
export const serve = <E>(
  options: ListenOptions,
  guardAt: (url: string) => Effect.Effect<Guard, E>
): Effect.Effect<Api, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { onRequest, port = 0, server: make = () => http.createServer() } = options
    const requests: Array<ServedRequest> = []
    const server = yield* NodeHttpServer.make(make, { host: "127.0.0.1", port })
    const address = HttpServer.formatAddress(server.address)
    const url = options.server === undefined ? address : address.replace("http:", "https:")
    const onAnswer = (request: ServedRequest) => {
      requests.push(request)
      options.onAnswer?.(request)
    }
    yield* server.serve(observed({ onAnswer, onRequest })((yield* guardAt(url))(routes)))
    return { url, requests: () => requests }
  }).pipe(Effect.orDie)

/** Starts it; the end of the scope stops it. */
export const start = (options: Options): Effect.Effect<Api, never, Scope.Scope> =>
  serve(options, () => Effect.succeed(protectedBy(options.check)))

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
