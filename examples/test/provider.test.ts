/** The authorization server with users, and the browser that they sit at: what the examples and tests of logins stand on. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted } from "effect"
import * as jose from "jose"
import { mkdtemp, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as Browser from "../servers/browser.ts"
import { hashOf } from "../servers/users/refreshes.ts"
import * as RelyingParty from "./relyingParty.ts"

class Chromium extends Context.Tag("Chromium")<Chromium, Browser.Browser>() {
  static readonly Live = Layer.scoped(Chromium, Browser.launch)
}

const start = (options: Partial<AuthorizationServer.Options> = {}) =>
  Effect.gen(function*() {
    const app = yield* RelyingParty.start
    const server = yield* AuthorizationServer.start({
      users: true,
      clients: RelyingParty.metadata(app.origin),
      ...options
    })
    const browser = yield* Chromium
    const page = yield* browser.page
    return {
      app,
      server,
      browser,
      page,
      plain: RelyingParty.client(server.issuer, app.origin, "plain"),
      signed: RelyingParty.client(server.issuer, app.origin, "signed")
    }
  })

type Client = ReturnType<typeof RelyingParty.client>

/** What the server said to the app, by way of the browser. */
const answerOf = (page: Browser.Page) => new URL(page.url()).searchParams

const login = (client: Client, page: Browser.Page, userName: string, extra?: Record<string, string>) =>
  Effect.gen(function*() {
    yield* Browser.goto(page, yield* client.authorize(extra))
    yield* Browser.signIn(page, userName)
    return yield* client.exchange(answerOf(page).get("code") ?? "")
  })

const outcomes = (server: AuthorizationServer.AuthorizationServer) =>
  server.refreshes().map(({ outcome, reused }) => reused ? `${outcome}, reused` : outcome)

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "browser-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true }))
)

if (!Browser.available) {
  it.skip(`users at the authorization server: skipped, there is no ${Browser.executable} on this machine`, () => {})
}

describe.skipIf(!Browser.available)("users at the authorization server", () => {
  layer(Chromium.Live, { excludeTestServices: true })((it) => {
    it.scoped("login, consent, code with PKCE, userinfo; nothing comes from another host", () =>
      Effect.gen(function*() {
        const { browser, page, plain, server } = yield* start()
        const pictures = yield* folder
        yield* Browser.goto(page, yield* plain.authorize())
        assert.strictEqual(yield* Browser.heading(page), "Sign in")
        assert.strictEqual(yield* Browser.use(page, "read", () => page.getByLabel("User name").inputValue()), "alice")
        yield* Browser.screenshot(page, join(pictures, "login.png"))
        assert.isAbove((yield* Effect.promise(() => stat(join(pictures, "login.png")))).size, 1000)

        yield* Browser.press(page, "Sign in")
        assert.strictEqual(yield* Browser.heading(page), "Continue")
        assert.include(yield* Browser.text(page), "Invoices & Co asks alice for")
        assert.include(yield* Browser.text(page), "offline_access")
        yield* Browser.press(page, "Continue")
        assert.strictEqual(answerOf(page).get("state"), "st4te")
        assert.strictEqual(answerOf(page).get("iss"), server.issuer)

        const tokens = yield* plain.exchange(answerOf(page).get("code") ?? "")
        const { payload } = yield* plain.verify(tokens.id_token)
        assert.include(payload, { sub: "alice", nonce: "n0nce", acr: "urn:example:pwd" })
        assert.deepStrictEqual(payload.amr, ["pwd"])
        assert.isNumber(payload.auth_time)
        assert.isUndefined(payload.name)
        const { body } = yield* plain.userInfo(tokens.access_token)
        assert.deepStrictEqual(JSON.parse(body), {
          sub: "alice",
          name: "Alice Example",
          preferred_username: "alice",
          email: "alice@example.com",
          email_verified: true,
          role: ["member"]
        })
        assert.deepStrictEqual(browser.refused(), [])
      }))

    it.scoped("a code without its verifier is worth nothing", () =>
      Effect.gen(function*() {
        const { app, page, plain, server } = yield* start()
        yield* Browser.goto(page, yield* plain.authorize())
        yield* Browser.signIn(page, "alice")
        const thief = RelyingParty.client(server.issuer, app.origin, "plain")
        const { error } = yield* thief.exchange(answerOf(page).get("code") ?? "")
        assert.strictEqual(error, "invalid_grant")
      }))

    it.scoped("who says no gives access_denied, at the login and at the consent", () =>
      Effect.gen(function*() {
        const { page, plain } = yield* start()
        yield* Browser.goto(page, yield* plain.authorize())
        yield* Browser.cancel(page)
        assert.strictEqual(answerOf(page).get("error"), "access_denied")
        yield* Browser.goto(page, yield* plain.authorize())
        yield* Browser.press(page, "Sign in")
        yield* Browser.cancel(page)
        assert.strictEqual(answerOf(page).get("error"), "access_denied")
        assert.strictEqual(answerOf(page).get("state"), "st4te")
      }))

    it.scoped("each page has a jar of its own, and an admin is one; the answer can come by POST, under a path", () =>
      Effect.gen(function*() {
        const users = { claimsInIdToken: true, claims: () => ({ department: "sales" }) }
        const { browser, page, plain } = yield* start({ issuerPath: "/tenant", users })
        yield* login(plain, page, "alice")
        const other = yield* browser.page
        yield* Browser.goto(other, yield* plain.authorize({ response_mode: "form_post" }))
        yield* Browser.signIn(other, "admin-<b>'eve'")
        const posted = new URLSearchParams(yield* Browser.text(other))
        const { payload } = yield* plain.verify((yield* plain.exchange(posted.get("code") ?? "")).id_token)
        assert.strictEqual(payload.sub, "admin-<b>'eve'")
        assert.deepStrictEqual(payload.role, ["admin"])
        assert.strictEqual(payload.department, "sales")
      }))

    it.scoped("a refresh token is good once; shown again, it ends the grant", () =>
      Effect.gen(function*() {
        const { page, plain, server } = yield* start()
        const first = yield* login(plain, page, "alice")
        const second = yield* plain.refresh(first.refresh_token)
        assert.notStrictEqual(second.refresh_token, first.refresh_token)
        assert.isTrue(yield* server.isActive(Redacted.make(second.refresh_token)))
        assert.strictEqual((yield* plain.refresh(first.refresh_token)).error, "invalid_grant")
        assert.strictEqual((yield* plain.refresh(second.refresh_token)).error, "invalid_grant")
        assert.isFalse(yield* server.isActive(Redacted.make(second.refresh_token)))

        const shown = { clientId: "plain", user: "alice" }
        assert.deepStrictEqual(server.refreshes(), [
          { ...shown, token: hashOf(first.refresh_token), outcome: "ok", reused: false },
          { ...shown, token: hashOf(first.refresh_token), outcome: "invalid_grant", reused: true },
          { ...shown, user: undefined, token: hashOf(second.refresh_token), outcome: "invalid_grant", reused: false }
        ])
      }))

    it.scoped("a pushed and signed request of a client that signs, tokens bound to its key with demanded nonces", () =>
      Effect.gen(function*() {
        const { page, server, signed } = yield* start({ dpop: "nonces" })
        const tokens = yield* login(signed, page, "bob")
        assert.strictEqual(tokens.token_type, "DPoP")
        assert.strictEqual((yield* signed.verify(tokens.id_token)).payload.sub, "bob")
        const { body, type } = yield* signed.userInfo(tokens.access_token)
        assert.include(type, "application/jwt")
        assert.strictEqual((yield* signed.verify(body)).payload.name, "Bob Example")
        const refreshed = yield* signed.refresh(tokens.refresh_token)
        assert.notStrictEqual(refreshed.refresh_token, tokens.refresh_token)
        assert.deepStrictEqual(outcomes(server), ["ok"])
        const pushes = server.requests().filter(({ path }) => path === "/request")
        assert.deepStrictEqual(pushes.map(({ error }) => error), ["use_dpop_nonce", undefined])
        assert.isTrue(pushes.every(({ assertion, fields }) => assertion !== undefined && fields.includes("request")))
      }))

    it.scoped("a challenge for a nonce uses no refresh token up", () =>
      Effect.gen(function*() {
        const { app, page, server, signed } = yield* start({ dpop: "nonces" })
        const tokens = yield* login(signed, page, "bob")
        const restarted = RelyingParty.client(server.issuer, app.origin, "signed")
        yield* restarted.refresh(tokens.refresh_token)
        assert.deepStrictEqual(outcomes(server), ["use_dpop_nonce", "ok"])
      }))

    it.scoped("a login that was asked for a second factor, or for one more time", () =>
      Effect.gen(function*() {
        const { page, plain } = yield* start()
        const once = yield* plain.verify((yield* login(plain, page, "alice")).id_token)
        assert.strictEqual(once.payload.acr, "urn:example:pwd")
        yield* Browser.goto(page, yield* plain.authorize({ acr_values: "urn:example:mfa", max_age: "3600" }))
        assert.strictEqual(yield* Browser.heading(page), "Sign in")
        assert.include(yield* Browser.text(page), "second factor")
        yield* Browser.signIn(page, "alice")
        const stepped = yield* plain.exchange(answerOf(page).get("code") ?? "")
        const { payload } = yield* plain.verify(stepped.id_token)
        assert.strictEqual(payload.acr, "urn:example:mfa")
        assert.deepStrictEqual(payload.amr, ["pwd", "otp", "mfa"])

        yield* Browser.goto(page, yield* plain.authorize({ acr_values: "urn:example:mfa" }))
        assert.strictEqual(yield* Browser.heading(page), "Continue")
        const again = yield* login(plain, yield* (yield* Chromium).page, "bob")
        assert.strictEqual((yield* plain.verify(again.id_token)).payload.acr, "urn:example:pwd")
        yield* Browser.goto(page, yield* plain.authorize({ prompt: "login" }))
        assert.strictEqual(yield* Browser.heading(page), "Sign in")
      }))

    it.scoped("another user at the same browser", () =>
      Effect.gen(function*() {
        const { app, page, plain } = yield* start()
        yield* login(plain, page, "alice")
        const { id_token } = yield* login(plain, page, "bob", { prompt: "login consent" })
        assert.strictEqual((yield* plain.verify(id_token)).payload.sub, "bob")
        assert.deepStrictEqual(app.logouts.map((token) => jose.decodeJwt(token).sub), ["alice"])
      }))

    it.scoped("a login for two APIs: first a token for userinfo, then one for each of them", () =>
      Effect.gen(function*() {
        const { page, plain, server } = yield* start()
        const apis = ["https://invoices.example", "https://customers.example"]
        const scope = "openid offline_access invoices"
        const url = new URL(yield* plain.authorize({ scope }))
        for (const api of apis) url.searchParams.append("resource", api)
        yield* Browser.goto(page, url.href)
        yield* Browser.signIn(page, "alice")
        let tokens = yield* plain.exchange(answerOf(page).get("code") ?? "")
        assert.strictEqual(JSON.parse((yield* plain.userInfo(tokens.access_token)).body).sub, "alice")
        for (const resource of apis) {
          tokens = yield* plain.refresh(tokens.refresh_token, { resource })
          const { aud, scope, sub } = jose.decodeJwt(tokens.access_token)
          assert.deepStrictEqual({ aud, scope, sub }, { aud: resource, scope: "invoices", sub: "alice" })
        }
        assert.deepStrictEqual(outcomes(server), ["ok", "ok"])
      }))

    it.scoped("a login silently, and one that cannot be", () =>
      Effect.gen(function*() {
        const { page, plain } = yield* start()
        yield* Browser.goto(page, yield* plain.authorize({ prompt: "none" }))
        assert.strictEqual(answerOf(page).get("error"), "login_required")
        yield* login(plain, page, "alice")
        yield* Browser.goto(page, yield* plain.authorize({ prompt: "none" }))
        assert.isNull(answerOf(page).get("error"))
        assert.isNotNull(answerOf(page).get("code"))
      }))

    it.scoped("sign-out begun at the app ends there, tells the app, and the next login asks again", () =>
      Effect.gen(function*() {
        const { app, page, plain, server } = yield* start()
        const tokens = yield* login(plain, page, "alice")
        const parameters = new URLSearchParams({
          id_token_hint: tokens.id_token,
          post_logout_redirect_uri: `${app.origin}/bye`,
          state: "b4ck"
        })
        yield* Browser.goto(page, `${server.endSessionEndpoint}?${parameters}`)
        assert.strictEqual(yield* Browser.heading(page), "Sign out")
        assert.include(yield* Browser.text(page), "alice")
        yield* Browser.confirmSignOut(page)
        assert.strictEqual(page.url(), `${app.origin}/bye?state=b4ck`)
        assert.strictEqual(app.logouts.length, 1)
        yield* Browser.goto(page, yield* plain.authorize({ prompt: "none" }))
        assert.strictEqual(answerOf(page).get("error"), "login_required")
      }))

    it.scoped("signOut ends a user's session from the server's side, and tells the app", () =>
      Effect.gen(function*() {
        const { app, browser, page, plain, server } = yield* start()
        const tokens = yield* login(plain, page, "alice")
        const other = yield* browser.page
        yield* login(plain, other, "bob")
        assert.deepStrictEqual(yield* server.signOut("alice"), [{ clientId: "plain", ok: true }])
        assert.strictEqual(app.logouts.length, 1)
        const logout = yield* plain.verify(app.logouts[0] ?? "")
        assert.strictEqual(logout.protectedHeader.typ, "logout+jwt")
        assert.strictEqual(logout.payload.sid, jose.decodeJwt(tokens.id_token).sid)
        assert.strictEqual(logout.payload.sub, "alice")
        assert.isDefined(logout.payload.events)

        yield* Browser.goto(page, yield* plain.authorize({ prompt: "none" }))
        assert.strictEqual(answerOf(page).get("error"), "login_required")
        yield* Browser.goto(other, yield* plain.authorize({ prompt: "none" }))
        assert.isNull(answerOf(other).get("error"))
        assert.deepStrictEqual(yield* server.signOut("alice"), [])
      }))

    it.scoped("rotateKeys signs with another key, and everybody stays signed in", () =>
      Effect.gen(function*() {
        const { page, plain, server } = yield* start({ dpop: "accepted" })
        const first = yield* login(plain, page, "alice")
        yield* server.rotateKeys()
        const second = yield* plain.refresh(first.refresh_token)
        const kidOf = (jwt: string) => jose.decodeProtectedHeader(jwt).kid
        assert.notStrictEqual(kidOf(second.id_token), kidOf(first.id_token))
        yield* plain.verify(first.id_token)
        yield* plain.verify(second.id_token)

        yield* server.rotateKeys({ keepOld: false })
        assert.isTrue(Exit.isFailure(yield* Effect.exit(plain.verify(second.id_token))))
        yield* Browser.goto(page, yield* plain.authorize({ prompt: "none" }))
        const third = yield* plain.exchange(answerOf(page).get("code") ?? "")
        yield* plain.verify(third.id_token)
        assert.deepStrictEqual(outcomes(server), ["ok"])
      }))

    it.scoped("revokeGrant: the next refresh is refused, and it is no reuse", () =>
      Effect.gen(function*() {
        const { browser, page, plain, server } = yield* start()
        const alice = yield* login(plain, page, "alice")
        const bob = yield* login(plain, yield* browser.page, "bob")
        yield* server.revokeGrant("alice")
        assert.strictEqual((yield* plain.refresh(alice.refresh_token)).error, "invalid_grant")
        assert.isUndefined((yield* plain.refresh(bob.refresh_token)).error)
        assert.deepStrictEqual(outcomes(server), ["invalid_grant", "ok"])
      }))

    it.scoped("the browser goes nowhere but to loopback, and its errors hold no code", () =>
      Effect.gen(function*() {
        const browser = yield* Browser.launch
        const app = yield* RelyingParty.start
        const page = yield* browser.page
        const failed = yield* Effect.flip(Browser.goto(page, "http://example.com/callback?code=s3cret#s3cret"))
        assert.include(failed.message, "http://example.com/callback")
        assert.notInclude(failed.message, "s3cret")
        const redirected = yield* Effect.flip(Browser.goto(page, `${app.origin}/away`))
        assert.include(redirected.message, "ERR_NAME_NOT_RESOLVED")
        assert.deepStrictEqual(browser.refused(), ["http://example.com"])
      }))
  })
})
