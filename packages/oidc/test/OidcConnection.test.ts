/** Long-lived connections on real servers: who may open them, whose they are, and how they end. */
import { TokenStore } from "@effect-oauth/core"
import { OidcConnection, SessionStore } from "@effect-oauth/oidc"
import type { Headers } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, LogLevel, Stream } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { encryption, type Options, start } from "./support/app.ts"
import { connect, handshake, routes, rpcClient } from "./support/connections.ts"

const stored = { provide: SessionStore.layerMemory, layer: routes() }

const signedIn = (url: string, userName: string) =>
  Effect.promise(async () => {
    const browser = new UserAgent()
    await browser.signIn(`${url}/auth/login`, userName)
    return browser
  })

const get = (browser: UserAgent, url: string) => Effect.promise(() => browser.go(url))

describe("opening a connection", () => {
  it.scopedLive("is for pages of the app only", () =>
    Effect.gen(function*() {
      const { url } = yield* start(stored)
      const browser = yield* signedIn(url, "alice")
      const cookie = browser.cookieHeader(url)
      const status = (origin: string | undefined) =>
        Effect.map(handshake(`${url}/live`, { cookie, origin }), ({ statusCode }) => statusCode)
      assert.strictEqual(yield* status(url), 101)
      for (
        const origin of [
          "https://evil.example",
          url.replace("localhost", "127.0.0.1"),
          "null",
          `${url}.evil`,
          undefined
        ]
      ) {
        assert.strictEqual(yield* status(origin), 403, origin)
      }
    }))

  it.scopedLive("takes a handshake; anything else is told what is wanted", () =>
    Effect.gen(function*() {
      const { url } = yield* start(stored)
      const broken = [
        { "sec-websocket-key": undefined },
        { "sec-websocket-key": "short" },
        { "sec-websocket-version": "7" },
        { "sec-websocket-protocol": "a, a" },
        { upgrade: "h2c" },
        { connection: undefined, upgrade: undefined }
      ]
      for (const headers of broken) {
        const answer = yield* handshake(`${url}/live`, { origin: url, ...headers })
        assert.strictEqual(answer.statusCode, 426, JSON.stringify(headers))
        assert.strictEqual(answer.headers.upgrade, "websocket")
      }
      const rpc = yield* handshake(`${url}/rpc`, { origin: url, connection: undefined, upgrade: undefined })
      assert.strictEqual(rpc.statusCode, 426)
    }))

  it.scopedLive("needs sessions on the server, and says so", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const log = Logger.make(({ logLevel, message }) => {
        lines.push(`${logLevel.label} ${String(message)}`)
      })
      const { url } = yield* Effect.provide(
        start({ layer: routes() }),
        Logger.replace(Logger.defaultLogger, log)
      )
      const browser = yield* signedIn(url, "alice")
      lines.length = 0
      const { statusCode } = yield* handshake(`${url}/live`, { origin: url, cookie: browser.cookieHeader(url) })
      assert.strictEqual(statusCode, 501)
      assert.strictEqual(lines.length, 1)
      assert.match(lines[0] ?? "", /^WARN .*long-lived connection.*provide a SessionStore/)
    }))

  it.scopedLive("gives an anonymous person no principal, and no token", () =>
    Effect.gen(function*() {
      const { url } = yield* start(stored)
      const connection = yield* connect(new UserAgent(), url)
      assert.strictEqual(yield* connection.ask("me"), "nobody")
      assert.strictEqual(yield* connection.ask("token"), "NoActiveUser")
    }))
})

describe("the user of a connection", () => {
  it.scopedLive("gets tokens for as long as it lasts, and no cookie changes", () =>
    Effect.gen(function*() {
      const { server, url } = yield* start({ ...stored, server: { tokenLifetime: 2 } })
      const browser = yield* signedIn(url, "alice")
      const cookie = browser.cookieHeader(url)
      const connection = yield* connect(browser, url)
      assert.strictEqual(yield* connection.ask("me"), "alice")
      const first = yield* connection.ask("token")
      assert.strictEqual(yield* connection.ask("token"), first)
      const second = yield* connection.ask("token").pipe(
        Effect.repeat({ until: (token) => token !== first })
      )
      const third = yield* connection.ask("renew")
      assert.strictEqual(new Set([first, second, third]).size, 3)
      assert.strictEqual(yield* connection.ask("with its own session"), third)
      assert.deepStrictEqual(server.refreshes().map(({ outcome, user }) => `${user} ${outcome}`), [
        "alice ok",
        "alice ok"
      ])
      const page = JSON.parse((yield* get(browser, `${url}/token`)).body)
      assert.strictEqual(page.accessToken, third)
      assert.strictEqual(browser.cookieHeader(url), cookie)
    }))

  it.scopedLive("is forgotten when the connection closes, and its name is in no log", () =>
    Effect.gen(function*() {
      const seen: Array<Headers.Headers> = []
      const lines: Array<string> = []
      const log = Logger.replace(Logger.defaultLogger, Logger.map(Logger.jsonLogger, (line) => lines.push(line)))
      const { context, url } = yield* start({ ...stored, layer: routes((headers) => seen.push(headers)) }).pipe(
        Effect.provide(Layer.merge(log, Logger.minimumLogLevel(LogLevel.Debug)))
      )
      const { userOf } = Context.get(context, OidcConnection.OidcConnections)
      const connection = yield* connect(yield* signedIn(url, "alice"), url)
      yield* connection.ask("me")
      const headers = seen[0]
      assert(headers !== undefined)
      const name = headers["x-effect-oauth-connection"] ?? ""
      assert.match(name, /^[\w-]{43}$/)
      const line = lines.find((line) => line.includes("a connection"))
      assert.include(line, "x-effect-oauth-connection")
      assert.notInclude(lines.join("\n"), name)
      assert.strictEqual((yield* userOf(headers)).session.known?.primary, "web")
      yield* connection.close
      const error = yield* Effect.eventually(Effect.flip(userOf(headers)))
      assert.strictEqual(error._tag, "NotSignedIn")
    }))
})

const endings = [
  {
    how: "by signing out in the browser",
    here: "4001 SignedOut",
    there: "4001 Elsewhere",
    end: (_: Started, browser: UserAgent, url: string) => Effect.promise(() => browser.post(`${url}/auth/logout`))
  },
  {
    how: "by the provider, through the back channel",
    here: "4001 Provider",
    there: "4001 Provider",
    end: ({ server }: Started) => server.signOut("alice")
  },
  {
    how: "by a refresh that the provider refuses",
    here: "4001 Refused",
    there: "4001 Elsewhere",
    end: ({ server }: Started, browser: UserAgent, url: string) =>
      Effect.zipRight(server.revokeGrant("alice"), get(browser, `${url}/token?force`))
  }
]

type Started = Effect.Effect.Success<ReturnType<typeof start>>

/** Another process: it has the same store. */
const startBeside = <P>({ server }: Started, options: Options<P>) =>
  start({
    ...options,
    clients: () => ({ web: { issuer: server.issuer, clientId: "web" } })
  })

describe("a session that ends", () => {
  for (const { end, here, how, there } of endings) {
    it.scopedLive(`${how} ends its connections in every process`, () =>
      Effect.gen(function*() {
        const store = Layer.succeed(TokenStore.TokenStore, yield* TokenStore.makeMemory)
        const shared = {
          layer: routes(),
          sessions: { program: "app" },
          provide: Layer.merge(store, SessionStore.layer.pipe(Layer.provide([store, encryption])))
        }
        const one = yield* start(shared)
        const other = yield* startBeside(one, shared)
        const browser = yield* signedIn(one.url, "alice")
        const [bob, nobody] = [yield* signedIn(one.url, "bob"), new UserAgent()]
        browser.jars.set(new URL(other.url).host, browser.jarOf(one.url))
        const connections = {
          here: yield* connect(browser, one.url),
          there: yield* connect(browser, other.url),
          bob: yield* connect(bob, one.url),
          nobody: yield* connect(nobody, one.url)
        }
        assert.strictEqual(yield* connections.here.ask("me"), "alice")
        assert.strictEqual(yield* connections.there.ask("me"), "alice")
        yield* end(one, browser, one.url)
        assert.strictEqual(yield* connections.here.closed, here)
        assert.strictEqual(yield* connections.there.closed, there)
        assert.strictEqual(yield* connections.bob.ask("me"), "bob")
        assert.strictEqual(yield* connections.nobody.ask("me"), "nobody")
        assert.strictEqual(yield* (yield* connect(browser, other.url)).ask("me"), "nobody")
      }))
  }

  it.scopedLive("because its time is over ends its connections", () =>
    Effect.gen(function*() {
      const { url } = yield* start({ ...stored, sessions: { idleLifetime: "2 seconds" } })
      const connection = yield* connect(yield* signedIn(url, "alice"), url)
      assert.strictEqual(yield* connection.ask("me"), "alice")
      assert.strictEqual(yield* connection.closed, "4001 Expired")
    }))

  it.scopedLive("ends the streams of its rpc socket", () =>
    Effect.gen(function*() {
      const { server, url } = yield* start(stored)
      const client = yield* rpcClient(yield* signedIn(url, "alice"), url)
      const error = yield* client.untilItEnds().pipe(
        Stream.tap((name) => {
          assert.strictEqual(name, "alice")
          return server.signOut("alice")
        }),
        Stream.runDrain,
        Effect.flip
      )
      assert(error._tag === "SessionEnded")
      assert.strictEqual(error.reason, "Provider")
    }))
})

const made = "A".repeat(43)

describe("rpc", () => {
  it.scopedLive("knows the user by the connection, whatever a message says of itself", () =>
    Effect.gen(function*() {
      const { url } = yield* start(stored)
      const alice = yield* signedIn(url, "alice")
      const hers = yield* rpcClient(alice, url)
      const bobs = yield* rpcClient(yield* signedIn(url, "bob"), url)
      assert.strictEqual(yield* hers.me(), "alice")
      assert.strictEqual(yield* bobs.me(), "bob")
      const cookie = alice.cookieHeader(url)
      assert.strictEqual(yield* bobs.me(undefined, { headers: { cookie, origin: "https://evil.example" } }), "bob")
      for (const name of ["x-effect-oauth-connection", "X-Effect-OAuth-Connection"]) {
        for (const value of [made, ""]) {
          const error = yield* Effect.flip(bobs.me(undefined, { headers: { [name]: value, cookie } }))
          assert.strictEqual(error._tag, "NotSignedIn")
        }
      }
      assert.strictEqual(yield* bobs.me(), "bob")
    }))

  it.scopedLive("knows no user of a plain request that names a connection", () =>
    Effect.gen(function*() {
      const seen: Array<Headers.Headers> = []
      const { url } = yield* start({ ...stored, layer: routes((headers) => seen.push(headers)) })
      const alice = yield* signedIn(url, "alice")
      const message = { _tag: "Request", id: "1", tag: "me", payload: null, headers: [] }
      const answer = yield* Effect.promise(() =>
        alice.send(`${url}/plain`, {
          method: "POST",
          body: JSON.stringify(message),
          headers: { "content-type": "application/json", "x-effect-oauth-connection": made, origin: url }
        })
      )
      assert.strictEqual(JSON.parse(answer.body)[0].exit.cause.error._tag, "NotSignedIn")
      // A page cannot choose the name of its connection either.
      yield* handshake(`${url}/live`, { origin: url, "x-effect-oauth-connection": made })
      assert.strictEqual(seen.length, 1)
      assert.notStrictEqual(seen[0]?.["x-effect-oauth-connection"], made)
    }))
})
