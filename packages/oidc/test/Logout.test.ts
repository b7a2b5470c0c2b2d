import { TokenStore } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import * as Attack from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import { signIn, start as startReal } from "./support/realProvider.ts"
import * as WebApp from "./support/webApp.ts"

const { everybody, go, isNobody, isSomebody, login, post, send, start, tokenOf } = Attack

const revoked = (provider: Provider.Provider) =>
  provider.requests("/revoke").map(({ form }) => [form.get("token_type_hint"), form.get("token")])

describe("signing out", () => {
  it.scopedLive("ends the session at a real provider too, and revokes the refresh token", () =>
    Effect.gen(function*() {
      const { app, browser, server } = yield* startReal()
      yield* signIn(app, browser)
      const page = yield* post(browser, `${app.url}/auth/logout`)
      yield* isNobody(app, browser)
      assert.include(page.body, `data-authorization-server="logout"`)
      assert.strictEqual(new URL(page.url).origin, server.issuer)
      assert.include(server.requests().map(({ path }) => path), "/token/revocation")
      const xsrf = /name="xsrf" value="([^"]*)"/.exec(page.body)?.[1] ?? ""
      const home = yield* post(browser, `${server.issuer}/session/end/confirm`, { xsrf, logout: "yes" })
      assert.strictEqual(home.url, `${app.url}/`)
      // The provider does not know the user any more either.
      assert.include((yield* go(browser, `${app.url}/auth/login`)).body, `data-authorization-server="login"`)
    }))

  it.scopedLive("goes on to the provider with ID token, client and the way back", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({ postLogoutPath: "/goodbye?a=1" })
      yield* login(app, browser)
      const { idToken } = yield* tokenOf(app, browser)
      const page = yield* send(browser, `${app.url}/auth/logout`, {
        method: "POST",
        headers: { origin: app.url, "sec-fetch-site": "same-origin" }
      })
      assert.strictEqual(page.status, 303)
      const address = new URL(page.headers.get("location") ?? "")
      assert.strictEqual(address.origin + address.pathname, `${provider.issuer}/end`)
      assert.deepStrictEqual(Object.fromEntries(address.searchParams), {
        id_token_hint: String(idToken),
        client_id: "web",
        post_logout_redirect_uri: `${app.url}/goodbye?a=1`
      })
      assert.strictEqual(page.headers.get("cache-control"), "no-store")
      assert.strictEqual(page.headers.get("referrer-policy"), "no-referrer")
    }))

  it.scopedLive("goes home where the provider has no page for it", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      provider.bend.metadata = ({ end_session_endpoint: _, ...rest }) => rest
      yield* login(app, browser)
      assert.strictEqual((yield* post(browser, `${app.url}/auth/logout`)).url, `${app.url}/`)
      yield* isNobody(app, browser)
    }))

  for (
    const [revokeOnSignOut, hints] of [
      [undefined, ["refresh_token"]],
      ["refresh", ["refresh_token"]],
      ["both", ["refresh_token", "access_token"]],
      ["nothing", []]
    ] as const
  ) {
    it.scopedLive(`revokes what is said: ${String(revokeOnSignOut)}`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ revokeOnSignOut })
        yield* login(app, browser)
        const tokens = yield* tokenOf(app, browser)
        yield* post(browser, `${app.url}/auth/logout`)
        yield* isNobody(app, browser)
        const expected = hints.map((hint) => [hint, hint === "access_token" ? tokens.accessToken : tokens.refreshToken])
        assert.deepStrictEqual(revoked(provider), expected)
      }))
  }

  for (
    const [what, bend] of [
      ["answers with an error", (bend) => {
        bend.revocation = () => ({ status: 500 })
      }],
      ["refuses the client", (bend) => {
        bend.revocation = () => ({ status: 401, body: { error: "invalid_client" } })
      }],
      ["is not there", (bend) => {
        bend.metadata = ({ revocation_endpoint: _, ...rest }) => rest
      }],
      ["is unreachable", (bend) => {
        bend.metadata = (honest) => ({ ...honest, revocation_endpoint: "http://127.0.0.1:1/revoke" })
      }]
    ] as ReadonlyArray<readonly [string, (bend: Provider.Bend) => void]>
  ) {
    it.scopedLive(`is not stopped by a revocation endpoint that ${what}`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start()
        bend(provider.bend)
        yield* login(app, browser)
        yield* post(browser, `${app.url}/auth/logout`)
        yield* isNobody(app, browser)
        const told = app.lines.filter((line) =>
          line.includes("could not be revoked") || line.includes("nothing is revoked")
        )
        assert.strictEqual(told.length, 1)
        assert.include(told[0], what === "is not there" ? "level=DEBUG" : "level=WARN")
      }))
  }

  it.scopedLive("of one client leaves the others, of all leaves nobody", () =>
    Effect.gen(function*() {
      const one = yield* Provider.start
      const other = yield* Provider.start
      const app = yield* WebApp.serve({
        clients: { one: { ...Attack.registration(one), default: true }, other: Attack.registration(other) }
      })
      const browser = new UserAgent()
      yield* login(app, browser)
      other.bend.user = "bob"
      yield* login(app, browser, "?client=other")
      const both = yield* everybody(app, browser)
      assert.deepStrictEqual([both.one?.sub, both.other?.sub], ["alice", "bob"])
      const { body } = yield* go(browser, `${app.url}/sign-out?client=other`)
      assert.strictEqual(new URL(JSON.parse(body).goTo).origin, other.issuer)
      assert.deepStrictEqual([revoked(one).length, revoked(other).length], [0, 1])
      yield* isSomebody(app, browser)
      yield* login(app, browser, "?client=other")
      // The one that the user is known by is signed out of last, and its provider is gone on to.
      const all = yield* go(browser, `${app.url}/sign-out`)
      assert.strictEqual(new URL(JSON.parse(all.body).goTo).origin, other.issuer)
      assert.deepStrictEqual([revoked(one).length, revoked(other).length], [1, 2])
      yield* isNobody(app, browser)
    }))

  it.scopedLive("of a client that nobody is signed in with does nothing", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      yield* login(app, browser)
      const { body } = yield* go(browser, `${app.url}/sign-out?client=unknown`)
      assert.deepStrictEqual(JSON.parse(body), { goTo: null })
      yield* isSomebody(app, browser)
    }))
})

describe("a back-channel logout", () => {
  for (const withSid of [true, false]) {
    it.scopedLive(`of a real provider ends the session (${withSid ? "by sid" : "by sub"})`, () =>
      Effect.gen(function*() {
        const store = yield* TokenStore.makeMemory
        const { app, browser, server } = yield* startReal({
          store,
          client: { pushedAuthorization: "never" },
          registeredAt: (url) => ({
            backchannel_logout_uri: `${url}/auth/backchannel-logout`,
            backchannel_logout_session_required: withSid
          })
        })
        yield* signIn(app, browser)
        yield* isSomebody(app, browser)
        assert.deepStrictEqual(yield* server.signOut("alice"), [{ clientId: "web", ok: true }])
        yield* isNobody(app, browser)
      }))
  }

  const logoutToken = (provider: Provider.Provider, claims: Provider.Json) =>
    provider.sign({
      iss: provider.issuer,
      aud: "web",
      iat: Provider.seconds(),
      exp: Provider.seconds() + 120,
      jti: `jti-${JSON.stringify(claims)}`,
      events: { "http://schemas.openid.net/event/backchannel-logout": {} },
      ...claims
    }, { typ: "logout+jwt" })

  const tell = (app: WebApp.WebApp, token: string) =>
    Effect.promise(() =>
      fetch(`${app.url}/auth/backchannel-logout`, {
        method: "POST",
        body: new URLSearchParams({ logout_token: token })
      })
        .then(({ status }) => status)
    )

  it.scopedLive("reaches every process, by sid one session and by sub all of the user's", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const provider = yield* Provider.start
      const clients = { web: Attack.registration(provider) }
      const process = WebApp.serve({ clients, store, sessions: { program: "app" } })
      const first = yield* process
      const second = yield* process
      const browsers = [new UserAgent(), new UserAgent(), new UserAgent()] as const
      const [laptop, phone, bobs] = browsers
      provider.bend.claims = (honest) => ({ ...honest, sid: "of-the-laptop" })
      yield* login(first, laptop)
      provider.bend.claims = (honest) => ({ ...honest, sid: "of-the-phone" })
      yield* login(second, phone)
      provider.bend.user = "bob"
      provider.bend.claims = (honest) => honest
      yield* login(second, bobs)
      assert.strictEqual(yield* tell(second, yield* logoutToken(provider, { sid: "of-the-laptop" })), 200)
      yield* isNobody(first, laptop)
      yield* isSomebody(second, phone)
      const token = yield* logoutToken(provider, { sub: "alice" })
      assert.strictEqual(yield* tell(first, token), 200)
      yield* isNobody(second, phone)
      yield* isSomebody(second, bobs, "bob")
      // What one process has taken no other one takes again.
      assert.strictEqual(yield* tell(second, token), 400)
    }))

  it.scopedLive("of one client's provider leaves users of the same name elsewhere alone", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const one = yield* Provider.start
      const other = yield* Provider.start
      const app = yield* WebApp.serve({
        store,
        clients: { one: { ...Attack.registration(one), default: true }, other: Attack.registration(other) }
      })
      const browser = new UserAgent()
      yield* login(app, browser)
      assert.strictEqual(yield* tell(app, yield* logoutToken(other, { sub: "alice" })), 200)
      yield* isSomebody(app, browser)
    }))
})
