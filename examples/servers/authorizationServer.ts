/**
 * A real authorization server for examples and tests: `oidc-provider`, in this process, on loopback. It can be stopped and
 * started again, and tells what it was asked.
 */
import { Effect, Redacted, Schedule, type Scope } from "effect"
import http from "node:http"
import type { AddressInfo } from "node:net"
import type Provider from "oidc-provider"
import * as MemoryAdapter from "./memoryAdapter.ts"
import * as OidcProvider from "./provider.ts"

export interface Options extends OidcProvider.ProviderOptions {
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined
  /** Such as "/tenant": for an issuer that is more than an origin. */
  readonly issuerPath?: string | undefined
  readonly onAnswer?: ((request: ServedRequest) => void) | undefined
}

/** A request that was answered. It names form fields, and never says what was in them. */
export interface ServedRequest {
  readonly method: string
  readonly path: string
  readonly fields: ReadonlyArray<string>
  /** Of the client that authenticated itself. */
  readonly clientId: string | undefined
  readonly status: number
}

export interface AuthorizationServer {
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly introspectionEndpoint: string
  readonly revocationEndpoint: string
  readonly port: number
  /** How many requests have reached the token endpoint, answered or not. */
  readonly tokenRequests: () => number
  readonly requests: () => ReadonlyArray<ServedRequest>
  /** Kills its connections and refuses new ones; a client that had one may first see a reset. What it knows stays. */
  readonly stop: Effect.Effect<void>
  /** Listens again, on the same port. */
  readonly restart: Effect.Effect<void>
  /** Drops opaque tokens at the server, of one client or of all, without a word to anybody. */
  readonly revokeAllTokens: (clientId?: string) => Effect.Effect<void>
  /** Looks an opaque access token up where the server keeps it, also while it is stopped. */
  readonly isActive: (token: Redacted.Redacted<string>) => Effect.Effect<boolean>
}

/** Another socket may hold the port for a moment after a restart. */
const listenPatiently = Schedule.spaced("100 millis").pipe(Schedule.intersect(Schedule.recurs(50)))

const listen = (server: http.Server, port: number): Effect.Effect<number> =>
  Effect.async<number, Error>((resume) => {
    const onError = (error: Error) => resume(Effect.fail(error))
    server.once("error", onError).listen(port, "127.0.0.1", () => {
      server.off("error", onError)
      resume(Effect.sync(() => (server.address() as AddressInfo).port))
    })
  }).pipe(Effect.retry(listenPatiently), Effect.orDie)

const stop = (server: http.Server): Effect.Effect<void> =>
  Effect.async((resume) => {
    // an error here says that it was not listening
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

/** The path below the issuer; RFC 8414 puts its well-known part in front of the issuer's path. */
const pathBelow = (issuerPath: string, url: string): string =>
  url === `/.well-known/oauth-authorization-server${issuerPath}`
    ? "/.well-known/oauth-authorization-server"
    : url.startsWith(`${issuerPath}/`)
    ? url.slice(issuerPath.length)
    : "/not-found"

/** The provider finds out from `originalUrl` that it is mounted below a path. */
const mounted = (provider: Provider, issuerPath: string): http.RequestListener => {
  const listener = provider.callback()
  if (issuerPath === "") return listener
  return (request, response) => {
    const url = pathBelow(issuerPath, request.url ?? "/")
    return listener(Object.assign(request, { originalUrl: `${issuerPath}${url}`, url }), response)
  }
}

interface Context {
  readonly method: string
  readonly path: string
  readonly status: number
  /** Absent where no route was found. */
  readonly oidc?: { readonly body?: object; readonly client?: { readonly clientId: string } }
}

const servedRequest = ({ method, oidc, path, status }: Context): ServedRequest => ({
  method,
  path,
  fields: Object.keys(oidc?.body ?? {}),
  clientId: oidc?.client?.clientId,
  status
})

/** Starts it; the end of the scope stops it. */
export const start = (options: Options): Effect.Effect<AuthorizationServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { issuerPath = "", onAnswer } = options
    const server = http.createServer()
    const port = yield* Effect.acquireRelease(listen(server, options.port ?? 0), () => stop(server))

    const issuer = `http://127.0.0.1:${port}${issuerPath}`
    const memory = MemoryAdapter.make()
    const provider = yield* Effect.promise(() => OidcProvider.make(issuer, memory.adapter, options))

    const requests: Array<ServedRequest> = []
    let tokenRequests = 0
    provider.use(async (ctx, next) => {
      if (ctx.method === "POST" && ctx.path === "/token") tokenRequests++
      await next()
      const request = servedRequest(ctx)
      requests.push(request)
      onAnswer?.(request)
    })
    server.on("request", mounted(provider, issuerPath))

    return {
      issuer,
      tokenEndpoint: `${issuer}/token`,
      introspectionEndpoint: `${issuer}/token/introspection`,
      revocationEndpoint: `${issuer}/token/revocation`,
      port,
      tokenRequests: () => tokenRequests,
      requests: () => requests,
      stop: stop(server),
      restart: Effect.zipRight(stop(server), Effect.asVoid(listen(server, port))),
      revokeAllTokens: (clientId) => Effect.sync(() => memory.dropTokens(clientId)),
      isActive: (token) =>
        Effect.promise(async () => {
          const value = Redacted.value(token)
          const found = await provider.ClientCredentials.find(value) ?? await provider.AccessToken.find(value)
          return found?.isValid === true
        })
    }
  })
