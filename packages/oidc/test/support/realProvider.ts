/** An app with everything that can be watched (`webApp.ts`), at a real authorization server. */
import type { OidcClient } from "@effect-oauth/oidc"
import { Effect, Redacted } from "effect"
import * as jose from "jose"
import type { ClientMetadata } from "oidc-provider"
import {
  type Options as ServerOptions,
  start as startServer
} from "../../../../examples/servers/authorizationServer.ts"
import { freePort } from "../../../../examples/servers/freePort.ts"
import { UserAgent } from "../../../../examples/servers/userAgent.ts"
import { clientSecret } from "./attack.ts"
import * as WebApp from "./webApp.ts"

export interface Options<P, Q> extends Omit<WebApp.Options<P, Q>, "clients"> {
  readonly client?: Partial<OidcClient.OidcClientOptions> | undefined
  /** Beside "web", at the same server, of which they are the same client. */
  readonly more?: Readonly<Record<string, Partial<OidcClient.OidcClientOptions>>> | undefined
  readonly server?: Partial<ServerOptions> | undefined
  readonly registered?: Partial<ClientMetadata> | undefined
  /** The same, of an app at this address. */
  readonly registeredAt?: ((url: string) => Partial<ClientMetadata>) | undefined
}

export const start = <P = never, Q = never>(options: Options<P, Q> = {}) =>
  Effect.gen(function*() {
    const port = yield* freePort
    const url = `http://localhost:${port}`
    const server = yield* startServer({
      users: true,
      clients: [{
        client_id: "web",
        ...(options.registered?.token_endpoint_auth_method === "private_key_jwt"
          ? {}
          : { client_secret: Redacted.value(clientSecret) }),
        grant_types: ["authorization_code", "refresh_token", "client_credentials"],
        response_types: ["code"],
        redirect_uris: [`${url}/auth/callback`],
        post_logout_redirect_uris: [`${url}/`],
        scope: "openid profile email offline_access invoices",
        ...options.registered,
        ...options.registeredAt?.(url)
      }],
      ...options.server
    })
    const client = { issuer: server.issuer, clientId: "web", clientSecret, prompt: "consent" }
    const more = Object.entries(options.more ?? {}).map(([name, one]) => [name, { ...client, ...one }] as const)
    const app = yield* WebApp.serve({
      ...options,
      port,
      clients: { web: { ...client, default: true, ...options.client }, ...Object.fromEntries(more) }
    })
    return { server, app, browser: new UserAgent() }
  })

export const signIn = (app: WebApp.WebApp, browser: UserAgent, query = "", user = "alice") =>
  Effect.promise(() => browser.signIn(`${app.url}/auth/login${query}`, user))

/** A private JWK for the app, and what the server is told of it. */
export const keyPair = Effect.promise(async () => {
  const { privateKey, publicKey } = await jose.generateKeyPair("ES256", { extractable: true })
  const named = { kid: "key-of-the-app", alg: "ES256" }
  return {
    privateKey: Redacted.make(JSON.stringify({ ...await jose.exportJWK(privateKey), ...named })),
    jwks: { keys: [{ ...await jose.exportJWK(publicKey), ...named, use: "sig" }] }
  }
})

/** No secret anywhere: the client proves itself by its key. */
export const byKey = Effect.map(keyPair, ({ jwks, privateKey }) => ({
  client: { clientSecret: undefined, privateKey },
  registered: { token_endpoint_auth_method: "private_key_jwt", jwks } as const
}))
