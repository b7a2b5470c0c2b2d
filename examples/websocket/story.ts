/** The servers and the person that the app has to do with, and what is to be seen of them. */
import { ConfigProvider, Console, Effect, Fiber, Layer, type Scope } from "effect"
import { createHash, randomUUID } from "node:crypto"
import * as Api from "../servers/api.ts"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import { freePort } from "../servers/freePort.ts"
import * as Telling from "../servers/telling.ts"
import { UserAgent } from "../servers/userAgent.ts"
import * as Page from "./page.ts"

/** In seconds. */
const tokenLifetime = 3
/** That each socket shows before the session ends. */
const lists = 9

interface Servers {
  readonly server: AuthorizationServer.AuthorizationServer
  readonly api: Api.Api
  /** Which tokens have reached the API: not the tokens, but what tells one from another. */
  readonly tokens: Set<string>
  readonly url: string
  readonly settings: ConfigProvider.ConfigProvider
}

const startServers: Effect.Effect<Servers, never, Scope.Scope> = Effect.gen(function*() {
  const port = yield* freePort
  const url = `http://localhost:${port}`
  const secret = randomUUID()
  const server = yield* AuthorizationServer.start({
    users: true,
    tokenLifetime,
    clients: [{
      client_id: "web",
      client_secret: secret,
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      redirect_uris: [`${url}/auth/callback`],
      backchannel_logout_uri: `${url}/auth/backchannel-logout`,
      backchannel_logout_session_required: true,
      scope: "openid profile offline_access invoices"
    }]
  })
  const tokens = new Set<string>()
  const api = yield* Api.start({
    check: Api.byLookup(server),
    onRequest: ({ authorization = "" }) => tokens.add(createHash("sha256").update(authorization).digest("hex"))
  })
  const settings = ConfigProvider.fromMap(
    new Map([
      ["ISSUER", server.issuer],
      ["CLIENT_ID", "web"],
      ["CLIENT_SECRET", secret],
      ["API_URL", api.url],
      ["PUBLIC_URL", url],
      ["PORT", `${port}`]
    ])
  )
  return { server, api, tokens, url, settings }
})

const tell = ({ api, server, tokens, url }: Servers, { end, heading, line, step }: Telling.Telling) =>
  Effect.gen(function*() {
    yield* step("A page opens the WebSocket, and nobody is signed in.")
    const browser = new UserAgent()
    const page = { browser, url }
    const nobodys = yield* Page.live(page, () => {})
    yield* line("WebSocket", nobodys)

    yield* step("Alice signs in. In her browser, a page of another site opens the WebSocket.")
    const home = yield* Effect.promise(() => browser.signIn(`${url}/auth/login?returnTo=/auth/me`, "alice"))
    const { signedIn } = JSON.parse(home.body)
    yield* line("signed in", signedIn)
    const foreign = yield* Page.live(page, () => {}, "https://evil.example")
    yield* line("WebSocket, from evil.example", foreign)
    const cookie = browser.cookieHeader(url)

    yield* step(`Her page of the app opens both sockets. A token lives ${tokenLifetime} seconds.`)
    const seen = { live: 0, rpc: 0 }
    const show = (socket: keyof typeof seen, count: number) => {
      seen[socket]++
      Effect.runSync(Console.log(`   ${socket}: ${count} invoices, by token ${tokens.size}`))
    }
    const live = yield* Effect.fork(Page.live(page, (text) => show("live", JSON.parse(text).length)))
    const rpc = yield* Effect.fork(Page.rpc(page, (count) => show("rpc", count)))
    yield* Telling.until(() => seen.live >= lists && seen.rpc >= lists)

    yield* step("The provider ends Alice's session, and says so to the app.")
    const told = yield* server.signOut("alice")
    for (const { clientId, ok } of told) yield* line(`back channel to "${clientId}"`, ok ? "heard" : "in vain")
    const closed = yield* Fiber.join(live)
    yield* line("WebSocket", closed)
    const error = yield* Fiber.join(rpc)
    yield* line("rpc", error.message)

    const refreshes = server.refreshes()
    yield* heading("Totals")
    yield* line("lists, over the WebSocket", seen.live)
    yield* line("lists, by rpc", seen.rpc)
    yield* line("calls of the API", api.requests().length)
    yield* line("tokens of Alice", tokens.size)
    yield* line("refreshes", refreshes.length)

    yield* end([
      [nobodys === "not opened" && foreign === "not opened", "only pages of the app open sockets"],
      [seen.live >= lists && seen.rpc >= lists, "both sockets go on for longer than a token lives"],
      [tokens.size >= 3, "tokens are renewed underneath"],
      [refreshes.every(({ outcome, reused }) => outcome === "ok" && !reused), "each refresh token is used once"],
      [browser.cookieHeader(url) === cookie, "no cookie is needed for that"],
      [told.length === 1 && told.every(({ ok }) => ok), "the app hears from the provider"],
      [closed === "closed, 4001 Provider", "the WebSocket is told why it ends"],
      [error._tag === "SessionEnded" && error.reason === "Provider", "so is the call by rpc"]
    ])
  })

/** Runs the app beside it; fails if something did not happen as it should. */
export const run = <E>(app: Layer.Layer<never, E>) =>
  Effect.gen(function*() {
    const telling = yield* Telling.make
    yield* telling.title(
      "A server shows a user's data over sockets, for longer than a token lives. This takes about 10 seconds."
    )
    const servers = yield* startServers
    yield* Layer.build(app).pipe(Effect.withConfigProvider(servers.settings))
    yield* tell(servers, telling)
  }).pipe(Effect.scoped, Telling.reported)
