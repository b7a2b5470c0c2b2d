/** The servers and the users that the API in the middle has to do with, and what is to be seen of them. */
import { OAuth, TokenClient, TokenClients, TokenEndpoint, TokenGrant } from "@effect-oauth/core"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { ConfigProvider, Effect, Layer, type Redacted, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import type { Claims } from "../servers/accessTokens.ts"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as DPoPApi from "../servers/dpopApi.ts"
import { freePort } from "../servers/freePort.ts"
import * as Telling from "../servers/telling.ts"
import * as TokenExchange from "../servers/tokenExchange.ts"
import { UserAgent } from "../servers/userAgent.ts"

interface Servers {
  readonly server: AuthorizationServer.AuthorizationServer
  readonly invoices: DPoPApi.DPoPApi
  /** What the tokens that the second API has accepted say. */
  readonly accepted: ReadonlyArray<Claims>
  readonly url: string
  readonly settings: ConfigProvider.ConfigProvider
}

const startServers: Effect.Effect<Servers, never, Scope.Scope> = Effect.gen(function*() {
  const port = yield* freePort
  const url = `http://127.0.0.1:${port}`
  const secret = randomUUID()
  const server = yield* AuthorizationServer.start({
    users: true,
    deviceFlow: true,
    dpop: "accepted",
    // An API may exchange the tokens that it is called with, and no others.
    tokenExchange: {
      isAllowed: ({ clientId, subject }) => clientId === "orders.api" && subject.audiences.includes(url)
    },
    clients: [
      {
        client_id: "app",
        token_endpoint_auth_method: "none",
        grant_types: ["urn:ietf:params:oauth:grant-type:device_code"],
        scope: "openid orders"
      },
      {
        client_id: "orders.api",
        client_secret: secret,
        grant_types: ["client_credentials", TokenExchange.grantType],
        scope: "invoices"
      }
    ]
  })
  const accepted: Array<Claims> = []
  const invoices = yield* DPoPApi.start({
    issuer: server,
    rotateNonceAfter: "1 minute",
    onToken: (claims) => accepted.push(claims)
  })
  const settings = ConfigProvider.fromMap(
    new Map([
      ["ISSUER", server.issuer],
      ["JWKS_URI", server.jwksUri],
      ["CLIENT_ID", "orders.api"],
      ["CLIENT_SECRET", secret],
      ["OWN_URL", url],
      ["INVOICES_URL", invoices.url],
      ["PORT", `${port}`]
    ])
  )
  return { server, invoices, accepted, url, settings }
})

/** A user signs in to the app, which gets a token for the API in the middle. */
const signIn = ({ server, url }: Servers, userName: string) =>
  Effect.gen(function*() {
    const app = yield* TokenClient.make("app", { issuer: server.issuer, clientId: "app" })
    const { authorizeDevice, request } = yield* TokenEndpoint.TokenEndpoint
    const login = yield* authorizeDevice(app, { scope: "openid orders", resource: url })
    yield* Effect.promise(() => new UserAgent().enterCode(login.verificationUri, login.userCode, userName))
    const { accessToken } = yield* request(app, TokenGrant.deviceCode(login.deviceCode), { resource: url })
    return accessToken.value
  }).pipe(
    Effect.provide(OAuth.layer.pipe(Layer.provideMerge(TokenClients.layer({})), Layer.provide(FetchHttpClient.layer)))
  )

const get = (url: string, token: Redacted.Redacted<string>) =>
  HttpClientRequest.get(url).pipe(
    HttpClientRequest.bearerToken(token),
    HttpClient.execute,
    Effect.map(({ status }) => status),
    Effect.scoped,
    Effect.provide(FetchHttpClient.layer)
  )

const exchanges = ({ server }: Servers) =>
  server.requests().filter(({ fields, status }) => fields.includes("subject_token") && status === 200).length

const actorOf = ({ act }: Claims): string | undefined =>
  typeof act === "object" && act !== null && "sub" in act ? String(act.sub) : undefined

const tell = (servers: Servers, { end, heading, line, step }: Telling.Telling) =>
  Effect.gen(function*() {
    const { accepted, invoices, url } = servers
    const call = (token: Redacted.Redacted<string>) =>
      Effect.tap(get(`${url}/orders`, token), (status) => line("GET /orders, at the first API", status))

    yield* step("Alice's app calls the first API. What the second one sees is a token that names her, and who acts.")
    const alice = yield* signIn(servers, "alice")
    const first = yield* call(alice)
    for (const claims of accepted) {
      yield* line("the second API: user", claims.sub)
      yield* line("the second API: actor", actorOf(claims))
      yield* line("the second API: bound to the key", claims.cnf?.jkt)
    }

    yield* step("She calls again: the token of the first exchange is still good.")
    const again = yield* call(alice)
    yield* line("exchanges so far", exchanges(servers))

    yield* step("Bob calls. His token is his own.")
    const bob = yield* call(yield* signIn(servers, "bob"))
    yield* line("the second API: user", accepted.at(-1)?.sub)
    yield* line("exchanges so far", exchanges(servers))

    yield* step("Alice's app shows her token to the second API itself.")
    const direct = yield* get(`${invoices.url}/invoices`, alice)
    yield* line("GET /invoices, at the second API", direct)

    yield* heading("Totals")
    yield* line("calls of the second API", accepted.length)
    yield* line("exchanges", exchanges(servers))
    yield* line("keys", invoices.keys().length)

    yield* end([
      [[first, again, bob].every((status) => status === 200), "users are answered"],
      [accepted.map(({ sub }) => sub).join() === "alice,alice,bob", "the second API sees whose call it is"],
      [accepted.every((claims) => actorOf(claims) === "orders.api"), "it sees who acts for them"],
      [accepted.every(({ aud }) => aud === invoices.url), "the tokens are for it alone"],
      [accepted.every(({ cnf }) => cnf?.jkt === invoices.keys()[0]), "they are bound to the key of the first API"],
      [exchanges(servers) === 2, "one exchange for each user"],
      [direct === 401, "a user's own token is of no use at the second API"]
    ])
  })

/** Runs the API in the middle beside it; fails if something did not happen as it should. */
export const run = <E>(app: Layer.Layer<never, E>) =>
  Effect.gen(function*() {
    const telling = yield* Telling.make
    yield* telling.title("An API calls another one on behalf of its users. This takes a second.")
    const servers = yield* startServers
    yield* Layer.build(app).pipe(Effect.withConfigProvider(servers.settings))
    yield* tell(servers, telling)
  }).pipe(Effect.scoped, Telling.reported)
