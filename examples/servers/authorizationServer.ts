/**
 * A real authorization server for examples and tests: `oidc-provider`, in this process, on loopback. It can be stopped and
 * started again, and tells what it was asked.
 */
import { Effect, Redacted, type Scope } from "effect"
import http from "node:http"
import type Provider from "oidc-provider"
import { listen, stop } from "./listening.ts"
import * as MemoryAdapter from "./memoryAdapter.ts"
import { type Observed, observer, type ServedRequest } from "./observing.ts"
import * as OidcProvider from "./provider.ts"
import { record, type Refresh } from "./users/refreshes.ts"
import * as SigningOut from "./users/signingOut.ts"

export interface Options extends OidcProvider.ProviderOptions {
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined
  /** Such as "/tenant": for an issuer that is more than an origin. */
  readonly issuerPath?: string | undefined
  readonly onAnswer?: ((request: ServedRequest) => void) | undefined
}

export type { Refresh, ServedRequest }

export interface AuthorizationServer extends Observed {
  readonly issuer: string
  readonly jwksUri: string
  readonly tokenEndpoint: string
  readonly introspectionEndpoint: string
  readonly revocationEndpoint: string
  readonly authorizationEndpoint: string
  readonly pushedAuthorizationEndpoint: string
  readonly userInfoEndpoint: string
  readonly endSessionEndpoint: string
  readonly deviceAuthorizationEndpoint: string
  readonly port: number
  /** Kills its connections and refuses new ones; a client that had one may first see a reset. What it knows stays. */
  readonly stop: Effect.Effect<void>
  /** Listens again, on the same port. */
  readonly restart: Effect.Effect<void>
  /** Drops opaque tokens at the server, of one client or of all, without a word to anybody. */
  readonly revokeAllTokens: (clientId?: string) => Effect.Effect<void>
  /** Looks an opaque access token or a refresh token up where the server keeps it, also while it is stopped. */
  readonly isActive: (token: Redacted.Redacted<string>) => Effect.Effect<boolean>
  /** Each refresh token that reached it, in the order of the outcomes; an answer that got lost is among them. */
  readonly refreshes: () => ReadonlyArray<Refresh>
  /**
   * Ends a user's sessions here, as its own end of session page does: tells the clients that have a
   * `backchannel_logout_uri`, each one before the next, and gives those back when all have answered. Refresh tokens of
   * logins with `offline_access` live on.
   */
  readonly signOut: (userName: string) => Effect.Effect<ReadonlyArray<SigningOut.Told>>
  /** Drops a user's consents with all tokens that came of them: the next refresh is `invalid_grant`. */
  readonly revokeGrant: (userName: string) => Effect.Effect<void>
  /** Signs with a new key from now on. The old one stays published unless `keepOld` is false. Sessions and tokens stay. */
  readonly rotateKeys: (options?: { readonly keepOld?: boolean | undefined }) => Effect.Effect<void>
}

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

/** Starts it; the end of the scope stops it. */
export const start = (options: Options): Effect.Effect<AuthorizationServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { issuerPath = "", onAnswer } = options
    const server = http.createServer()
    const port = yield* Effect.acquireRelease(listen(server, options.port ?? 0), () => stop(server))

    const issuer = `http://127.0.0.1:${port}${issuerPath}`
    const memory = MemoryAdapter.make()
    const { watch, ...observed } = observer(onAnswer)
    const refreshes: Array<Refresh> = []

    const build = async (secrets: OidcProvider.Secrets) => {
      const provider = await OidcProvider.make(issuer, memory.adapter, options, secrets)
      watch(provider)
      record(refreshes, provider)
      return { provider, secrets, listener: mounted(provider, issuerPath) }
    }
    let current = yield* Effect.promise(async () => build(await OidcProvider.generateSecrets(options)))
    server.on("request", (request, response) => current.listener(request, response))

    return {
      ...observed,
      issuer,
      jwksUri: `${issuer}/jwks`,
      tokenEndpoint: `${issuer}/token`,
      introspectionEndpoint: `${issuer}/token/introspection`,
      revocationEndpoint: `${issuer}/token/revocation`,
      authorizationEndpoint: `${issuer}/auth`,
      pushedAuthorizationEndpoint: `${issuer}/request`,
      userInfoEndpoint: `${issuer}/me`,
      endSessionEndpoint: `${issuer}/session/end`,
      deviceAuthorizationEndpoint: `${issuer}/device/auth`,
      port,
      stop: stop(server),
      restart: Effect.zipRight(stop(server), Effect.asVoid(listen(server, port))),
      revokeAllTokens: (clientId) => Effect.sync(() => memory.dropTokens(clientId)),
      isActive: (token) =>
        Effect.promise(async () => {
          const value = Redacted.value(token)
          const { AccessToken, ClientCredentials, RefreshToken } = current.provider
          const found = await ClientCredentials.find(value) ?? await AccessToken.find(value) ??
            await RefreshToken.find(value)
          return found?.isValid === true
        }),
      refreshes: () => refreshes,
      signOut: (userName) => SigningOut.signOut(() => current.provider, memory, userName),
      revokeGrant: (userName) => SigningOut.revokeGrant(memory, userName),
      rotateKeys: ({ keepOld = true } = {}) =>
        Effect.promise(async () => {
          current = await build(await OidcProvider.rotateKeys(current.secrets, keepOld))
        })
    }
  })
