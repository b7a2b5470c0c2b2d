/** What an app has around it, started in this process: one or two OpenID providers, two APIs, and maybe a redis-server. */
import { SigningKey } from "@effect-oauth/core"
import { Data, Effect, Redacted } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as CallerApi from "../servers/callerApi.ts"
import { freePort } from "../servers/freePort.ts"
import * as RedisServer from "../servers/redis.ts"
import type { SessionPlace, Settings } from "./app.ts"
import { type Credentials, registration, scopes } from "./clients.ts"
import type { Flags } from "./flags.ts"
import type { Site } from "./site.ts"

export class NoRedis extends Data.TaggedError("NoRedis")<{ readonly message: string }> {}

export interface Options {
  /** Of access tokens, in seconds. */
  readonly tokenLifetime?: number | undefined
  readonly onAnswer?: ((request: AuthorizationServer.ServedRequest) => void) | undefined
  /** Given to the providers, by the name of the app's client there. */
  readonly configure?: ((client: string) => Partial<AuthorizationServer.Options>) | undefined
}

type Registered = AuthorizationServer.Options["clients"][number]

/** The app, as a provider knows it. */
const registered = (
  publicUrl: string,
  callbackPath: string,
  { key, secret }: Credentials,
  flags: Flags
): Registered => ({
  client_id: "web",
  client_name: "Paper Trail",
  grant_types: ["authorization_code", "refresh_token", "client_credentials"],
  response_types: ["code"],
  redirect_uris: [`${publicUrl}${callbackPath}`],
  post_logout_redirect_uris: [`${publicUrl}/signed-out`],
  backchannel_logout_uri: `${publicUrl}/auth/backchannel-logout`,
  backchannel_logout_session_required: true,
  scope: scopes,
  jwks: SigningKey.publicJwks(key) as NonNullable<Registered["jwks"]>,
  dpop_bound_access_tokens: flags.dpop,
  require_pushed_authorization_requests: flags.par,
  require_signed_request_object: flags.jar,
  ...(flags.jar ? { request_object_signing_alg: "ES256" as const } : {}),
  ...(flags.assertions
    ? { token_endpoint_auth_method: "private_key_jwt", token_endpoint_auth_signing_alg: "ES256" }
    : { client_secret: Redacted.value(secret) })
})

const companies = [
  { client: "company", title: "Example Company", callbackPath: "/auth/callback" },
  { client: "partner", title: "Partner Ltd", callbackPath: "/auth/callback/partner" }
] as const

/** Cookies do not tell ports apart, so two providers on one host need names of their own. */
const cookiesOf = (client: string) => ({
  keys: [randomUUID()],
  names: { session: `_${client}_session`, interaction: `_${client}_interaction`, resume: `_${client}_resume` }
})

const startProvider =
  (publicUrl: string, flags: Flags, options: Options) => ({ callbackPath, client, title }: typeof companies[number]) =>
    Effect.gen(function*() {
      const credentials = { secret: Redacted.make(randomUUID()), key: yield* Effect.orDie(SigningKey.generate()) }
      const server = yield* AuthorizationServer.start({
        users: true,
        clients: [registered(publicUrl, callbackPath, credentials, flags)],
        dpop: flags.dpop ? "nonces" : undefined,
        tokenLifetime: options.tokenLifetime ?? (flags.short ? 10 : 300),
        configuration: { cookies: cookiesOf(client) },
        onAnswer: options.onAnswer,
        ...options.configure?.(client)
      })
      return { client, title, callbackPath, credentials, server }
    })

export const ringKey = (id: string) => ({ id, key: Redacted.make(randomBytes(32).toString("base64url")) })

const sessionPlace = (flags: Flags) =>
  Effect.gen(function*() {
    const ring = [ringKey("1")]
    if (flags.redis) {
      if (!RedisServer.isThere) return yield* new NoRedis({ message: "--redis: there is no redis-server on the path" })
      const place: SessionPlace = { _tag: "Redis", url: yield* RedisServer.start, ring }
      return place
    }
    const place: SessionPlace = flags["server-sessions"] ? { _tag: "Memory" } : { _tag: "Cookies", ring }
    return place
  })

const notesOf = (flags: Flags): ReadonlyArray<string> => [
  flags.redis ? "sessions in Redis" : flags["server-sessions"] ? "sessions on the server" : "sessions in cookies",
  ...(flags.dpop ? ["tokens bound to a key"] : []),
  ...(flags.par ? ["pushed logins"] : []),
  ...(flags.jar ? ["signed logins"] : []),
  ...(flags.assertions ? ["no client secret"] : [])
]

/** Gives what the app has to know of them. */
export const start = (flags: Flags, options: Options = {}) =>
  Effect.gen(function*() {
    const port = yield* freePort
    const publicUrl = `http://localhost:${port}`
    const sessions = yield* sessionPlace(flags)
    const chosen = flags["two-providers"] ? companies : companies.slice(0, 1)
    const providers = yield* Effect.forEach(chosen, startProvider(publicUrl, flags, options))
    const issuers = providers.map(({ server }) => server)
    const invoices = yield* CallerApi.start({ name: "invoices", issuers })
    const reports = yield* CallerApi.start({ name: "reports", issuers })

    const site: Site["Type"] = {
      providers: providers.map(({ client, server, title }) => ({ client, title, issuer: server.issuer })),
      invoices: { title: "Invoices API", url: invoices.url },
      reports: { title: "Reports API", url: reports.url },
      notes: notesOf(flags)
    }
    const clients = Object.fromEntries(providers.map(({ callbackPath, client, credentials, server }, index) => [
      client,
      registration({
        issuer: server.issuer,
        credentials,
        resources: [invoices.url, reports.url],
        isDefault: index === 0,
        callbackPath,
        flags
      })
    ]))
    const settings: Settings = { port, publicUrl, clients, sessions, site }
    return { settings, servers: providers.map(({ server }) => server) }
  })
