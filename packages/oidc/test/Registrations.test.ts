import { TokenStore } from "@effect-oauth/core"
import {
  type OidcClient,
  OidcClients,
  OidcLogout,
  type Session,
  Sessions,
  StoredSession,
  UserTokenManager,
  UserTokenStore
} from "@effect-oauth/oidc"
import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, TestClock } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { go, isNobody, isSomebody, login, registration } from "./support/attack.ts"
import { Browser } from "./support/browser.ts"
import * as Provider from "./support/provider.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"
import * as WebApp from "./support/webApp.ts"

/** Tokens apart from the sessions. */
const ownTokens = () => {
  const kept = new Map<string, UserTokenStore.KeptTokens>()
  const keyOf = (session: Session.Session, clientName: string) => `${session.key} ${clientName}`
  let version = 0
  const store: UserTokenStore.UserTokenStore["Type"] = {
    get: (session, clientName) => Effect.sync(() => Option.fromNullable(kept.get(keyOf(session, clientName)))),
    set: (session, clientName, tokens, ifVersion) =>
      Effect.sync(() => {
        const key = keyOf(session, clientName)
        if (ifVersion !== null && kept.get(key)?.version !== ifVersion) return false
        kept.set(key, { tokens, version: String(++version) })
        return true
      }),
    clear: (session, clientName) => Effect.sync(() => void kept.delete(keyOf(session, clientName)))
  }
  return Layer.succeed(UserTokenStore.UserTokenStore, store)
}

/** Where sessions and tokens are; what a process provides, the next one provides again. */
const kinds = [
  ["in cookies", Effect.succeed(undefined)],
  ["in cookies, with a shared store", Effect.map(TokenStore.makeMemory, Web.sharing)],
  ["on the server", Effect.map(TokenStore.makeMemory, (store) => Web.stored(store))],
  [
    "on the server, with tokens elsewhere",
    Effect.map(TokenStore.makeMemory, (store) => {
      const tokens = ownTokens()
      return Layer.merge(Web.stored(store), Web.given(tokens))
    })
  ]
] as const

const changes: ReadonlyArray<readonly [string, Partial<OidcClient.OidcClientOptions>]> = [
  ["another issuer", { issuer: "https://new.test" }],
  ["another client id", { clientId: "another" }]
]

const alsoPartner = { partner: { ...Web.client, clientId: "partner" } }

for (const [kind, provided] of kinds) {
  describe(`a sign-in, with sessions ${kind}`, () => {
    for (const [what, change] of changes) {
      /** The same program before and after the change, over the same store. */
      const start = Effect.gen(function*() {
        const provide = yield* provided
        const old = Server.make()
        const fresh = Server.make()
        const web = { ...Web.client, default: true }
        const before = yield* Web.start({ provide, server: old, clients: { web, ...alsoPartner } })
        const after = yield* Web.start({
          provide,
          server: fresh,
          clients: { web: { ...web, ...change }, ...alsoPartner }
        })
        return { before, after, old, fresh, browser: new Browser() }
      })

      it.scoped(`is none for a client with ${what}: not shown, and its tokens go nowhere`, () =>
        Effect.gen(function*() {
          const { after, before, browser, fresh } = yield* start
          yield* before.signIn(browser)
          const copy = browser.copy()
          assert.strictEqual(yield* after.whoIs(browser), undefined)
          for (const parameters of [{}, { forceRenewal: true }, { resource: "urn:a" }]) {
            assert.strictEqual((yield* Effect.flip(after.get(browser, parameters)))._tag, "NoActiveUser")
          }
          yield* TestClock.adjust("95 seconds")
          assert.strictEqual((yield* Effect.flip(after.get(browser)))._tag, "NoActiveUser")
          const revoke = Effect.either(UserTokenManager.revoke({ token: "both" }))
          yield* after.visit(browser, () => revoke)
          yield* after.visit(browser, () => Effect.flatMap(OidcLogout.OidcLogout, ({ signOut }) => signOut()))
          assert.deepStrictEqual([fresh.asked, fresh.revoked], [[], []])
          // Nor has it ended for the program before the change.
          assert.strictEqual(yield* before.whoIs(copy), "alice")
        }))

      it.scoped(`leaves the others where its client has ${what}, and is gone with the next write`, () =>
        Effect.gen(function*() {
          const { after, before, browser, fresh, old } = yield* start
          yield* before.signIn(browser, {
            refresh: "partners",
            principal: Web.principal("carol", { clientName: "partner" })
          })
          yield* before.signIn(browser)
          assert.strictEqual(yield* before.whoIs(browser), "alice")
          assert.strictEqual(yield* after.whoIs(browser), "carol")
          yield* after.get(browser, { client: "partner", forceRenewal: true })
          assert.deepStrictEqual(fresh.presented(), ["partners"])
          // With tokens elsewhere a refresh writes no session.
          yield* after.signIn(browser, {
            refresh: "partners-too",
            principal: Web.principal("carol", { clientName: "partner" })
          })
          assert.strictEqual(yield* before.whoIs(browser), "carol")
          assert.strictEqual((yield* Effect.flip(before.get(browser, { client: "web" })))._tag, "NoActiveUser")
          assert.deepStrictEqual(old.asked, [])
        }))

      it.scoped(`gives its place to a new one of a client with ${what}`, () =>
        Effect.gen(function*() {
          const { after, before, browser, fresh, old } = yield* start
          yield* before.signIn(browser)
          const issuer = change.issuer ?? Web.client.issuer
          yield* after.signIn(browser, { refresh: "bobs", principal: Web.principal("bob", { issuer }) })
          assert.strictEqual(yield* after.whoIs(browser), "bob")
          yield* TestClock.adjust("95 seconds")
          yield* after.get(browser)
          assert.deepStrictEqual(fresh.presented(), ["bobs"])
          assert.strictEqual(yield* before.whoIs(browser), undefined)
          assert.strictEqual((yield* Effect.flip(before.get(browser)))._tag, "NoActiveUser")
          assert.deepStrictEqual(old.asked, [])
        }))
    }

    it.scoped("is none where its client is not registered any more", () =>
      Effect.gen(function*() {
        const provide = yield* provided
        const before = yield* Web.start({ provide })
        const browser = new Browser()
        yield* before.signIn(browser)
        const after = yield* Web.start({ provide, clients: alsoPartner })
        assert.strictEqual(yield* after.whoIs(browser), undefined)
      }))
  })
}

describe("a session that is opened without a request", () => {
  for (const [what, change] of changes) {
    it.scoped(`is none for a client with ${what}, by its name and by its key`, () =>
      Effect.gen(function*() {
        const provide = Web.stored(yield* TokenStore.makeMemory)
        const fresh = Server.make()
        const before = yield* Web.start({ provide })
        const after = yield* Web.start({ provide, server: fresh, client: change })
        const response = {
          accessToken: Server.accessToken({ access: "access-0", lifetime: 100 }, 0),
          refreshToken: Redacted.make("refresh-0"),
          idToken: Redacted.make("id:alice"),
          issuedTokenType: undefined,
          raw: Redacted.make({})
        }
        const { key = "" } = yield* Effect.provide(StoredSession.keep("me", response), before.context)
        assert.isTrue(Option.isSome(yield* Effect.provide(StoredSession.open("me"), before.context)))
        assert.isTrue(Option.isSome(yield* before.sessions.byKey(key)))
        assert.isTrue(Option.isNone(yield* Effect.provide(StoredSession.open("me"), after.context)))
        assert.isTrue(Option.isNone(yield* after.sessions.byKey(key)))
        yield* Effect.provide(
          StoredSession.keep("me", { ...response, idToken: Redacted.make("id:bob") }),
          after.context
        )
        assert.isTrue(Option.isNone(yield* Effect.provide(StoredSession.open("me"), before.context)))
        assert.deepStrictEqual(fresh.asked, [])
      }))
  }
})

describe("a client of a resolver", () => {
  const session = Effect.gen(function*() {
    const old = yield* Provider.start
    const fresh = yield* Provider.start
    const state = { provider: old, isDown: false }
    const registrations = OidcClients.layerResolver(
      () => state.isDown ? Effect.fail(new Error("down")) : Effect.succeed(registration(state.provider)),
      { timeToLive: "1 minute" }
    )
    const opened: Array<Session.Session> = []
    const keep: WebApp.Handler = Effect.gen(function*() {
      const sessions = yield* Sessions.Sessions
      const kept = yield* Effect.orDie(sessions.open)
      opened.push(Option.getOrThrow(yield* Effect.orDie(sessions.byKey(kept.key ?? ""))))
      return HttpServerResponse.empty()
    })
    const held: WebApp.Handler = Effect.gen(function*() {
      const [session] = opened
      const result = yield* Effect.either(UserTokenManager.get({ client: "tenant", session: session! }))
      return HttpServerResponse.text(result._tag === "Left" ? result.left._tag : "a token")
    })
    const app = yield* WebApp.serve({
      registrations,
      store: yield* TokenStore.makeMemory,
      routes: { "/keep": keep, "/held": held }
    })
    const browser = new UserAgent()
    yield* login(app, browser, "?client=tenant")
    yield* isSomebody(app, browser)
    return { app, browser, fresh, old, state }
  })

  it.scopedLive("that is registered elsewhere by now has no sign-in of before, not even in a session that is open", () =>
    Effect.gen(function*() {
      const { app, browser, fresh, state } = yield* session
      yield* go(browser, `${app.url}/keep`)
      assert.strictEqual((yield* go(browser, `${app.url}/held`)).body, "a token")
      state.provider = fresh
      app.later(2 * 60_000)
      yield* isNobody(app, browser)
      assert.strictEqual((yield* go(browser, `${app.url}/held`)).body, "NoActiveUser")
      assert.deepStrictEqual(fresh.requests("/token"), [])
    }))

  it.scopedLive("that cannot be looked up is no reason to sign anybody out", () =>
    Effect.gen(function*() {
      const { app, browser, state } = yield* session
      state.isDown = true
      app.later(2 * 60_000)
      assert.strictEqual((yield* go(browser, `${app.url}/auth/me`)).status, 503)
      state.isDown = false
      yield* isSomebody(app, browser)
    }))

  it.effect("that is not resolved in time is unavailable", () =>
    Effect.gen(function*() {
      const clients = yield* OidcClients.OidcClients
      const found = yield* Effect.fork(Effect.flip(clients.get("tenant")))
      yield* TestClock.adjust("2 seconds")
      assert.deepInclude({ ...(yield* found) }, { _tag: "TokenClientUnavailable", clientName: "tenant" })
    }).pipe(Effect.provide(OidcClients.layerResolver(() => Effect.never, { timeout: "2 seconds" }))))
})
