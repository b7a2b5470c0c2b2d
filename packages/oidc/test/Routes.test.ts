import { OidcHooks, OidcLogin, Principal } from "@effect-oauth/oidc"
import { HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { UserAgent } from "../../../examples/servers/userAgent.ts"
import {
  answerOf,
  everybody,
  go,
  isNobody,
  isSomebody,
  login,
  me,
  post,
  send,
  start,
  tokenOf
} from "./support/attack.ts"

const isGuarded = (headers: Headers) => {
  assert.strictEqual(headers.get("cache-control"), "no-store")
  assert.strictEqual(headers.get("referrer-policy"), "no-referrer")
  assert.strictEqual(headers.get("content-security-policy"), "frame-ancestors 'none'")
  assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
}

describe("the routes", () => {
  it.scopedLive("redirect with 303, and are guarded, whatever they answer", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const begun = yield* send(browser, `${app.url}/auth/login`)
      assert.strictEqual(begun.status, 303)
      isGuarded(begun.headers)
      const refused = yield* send(browser, `${app.url}/auth/callback`)
      assert.strictEqual(refused.status, 400)
      isGuarded(refused.headers)
      const done = yield* send(browser, yield* answerOf(app, browser))
      assert.strictEqual(done.status, 303)
      isGuarded(done.headers)
      isGuarded((yield* send(browser, `${app.url}/auth/me`)).headers)
      isGuarded((yield* send(browser, `${app.url}/auth/logout`)).headers)
      const out = yield* send(browser, `${app.url}/auth/logout`, { method: "POST", headers: { origin: app.url } })
      assert.strictEqual(out.status, 303)
      isGuarded(out.headers)
    }))

  it.scopedLive("tell who is signed in, and nothing secret", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      provider.bend.claims = (honest) => ({ ...honest, role: ["admin", 7, "auditor"] })
      assert.deepStrictEqual(yield* me(app, browser), { signedIn: false })
      yield* login(app, browser)
      assert.deepStrictEqual(yield* me(app, browser), {
        signedIn: true,
        issuer: provider.issuer,
        sub: "alice",
        name: "Name of alice",
        roles: ["admin", "auditor"]
      })
    }))

  it.scopedLive("can be elsewhere, and show other pages", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({ callbackPath: "/back" }, {
        oidcRoutes: {
          paths: { login: "/in", logout: "/out", me: "/who" },
          pages: {
            error: ({ _tag }) => HttpServerResponse.text(`my page: ${_tag}`, { status: 418 }),
            signOut: (action) => HttpServerResponse.text(`my form: ${action}`)
          }
        }
      })
      yield* go(browser, `${app.url}/in?returnTo=/who`)
      const who = yield* go(browser, `${app.url}/who`)
      assert.deepInclude(JSON.parse(who.body), { signedIn: true, sub: "alice" })
      assert.strictEqual((yield* go(browser, `${app.url}/out`)).body, "my form: /out")
      const page = yield* go(browser, `${app.url}/back?code=a&error=b`)
      assert.deepStrictEqual([page.status, page.body], [418, "my page: LoginAnswerInvalid"])
      isGuarded(page.headers)
      yield* post(browser, `${app.url}/out`)
      assert.deepStrictEqual(JSON.parse((yield* go(browser, `${app.url}/who`)).body), { signedIn: false })
      for (const path of ["/auth/login", "/auth/callback", "/auth/logout", "/auth/me"]) {
        assert.strictEqual((yield* go(browser, `${app.url}${path}`)).status, 404)
      }
    }))

  for (
    const [status, title, what] of [
      [400, "This sign-in cannot be finished", (url: string) => `${url}/auth/callback?code=a&state=b`],
      [404, "There is no such way to sign in", (url: string) => `${url}/auth/login?client=nobody`]
    ] as const
  ) {
    it.scopedLive(`show a page of their own: ${title}`, () =>
      Effect.gen(function*() {
        const { app, browser } = yield* start({}, { ownPages: true })
        const page = yield* go(browser, what(app.url))
        assert.strictEqual(page.status, status)
        assert.include(page.body, `<h1>${title}</h1>`)
        isGuarded(page.headers)
      }))
  }

  for (
    const [status, title, answer] of [
      [403, "You have not signed in", "access_denied"],
      [400, "Signing in did not work", "<script>alert(1)</script>"],
      [400, "Signing in did not work", "server_error"]
    ] as const
  ) {
    it.scopedLive(`show a page of their own for ${answer}, and nothing that came from elsewhere`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({}, { ownPages: true })
        provider.bend.answer = (honest) =>
          new URLSearchParams({
            error: answer,
            error_description: "<b>described</b>",
            state: honest.get("state") ?? "",
            iss: provider.issuer
          })
        const page = yield* login(app, browser)
        assert.strictEqual(page.status, status)
        assert.include(page.body, `<h1>${title}</h1>`)
        assert.notInclude(page.body, "<script>")
        assert.notInclude(page.body, "described")
      }))
  }

  for (
    const [status, what] of [[503, "does not answer"], [500, "refuses the client"]] as const
  ) {
    it.scopedLive(`show a page of their own where the provider ${what}`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ timeout: "10 seconds" }, { ownPages: true })
        provider.bend.token = () =>
          status === 503 ? { status: 503 } : { status: 401, body: { error: "invalid_client" } }
        const page = yield* login(app, browser)
        assert.strictEqual(page.status, status)
        assert.include(page.body, "<h1>Signing in is not possible at the moment</h1>")
        yield* isNobody(app, browser)
      }))
  }

  it.scopedLive("refuse a sign-out of elsewhere with 403", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({}, { ownPages: true })
      yield* login(app, browser)
      const page = yield* post(browser, `${app.url}/auth/logout`, {}, { "sec-fetch-site": "cross-site" })
      assert.strictEqual(page.status, 403)
      yield* isSomebody(app, browser)
    }))
})

describe("a login", () => {
  it.scopedLive("that asked for offline_access and got no refresh token warns, once", () =>
    Effect.gen(function*() {
      const warned = (lines: ReadonlyArray<string>) => lines.filter((line) => line.includes("no refresh token"))
      const { app, browser, provider } = yield* start()
      provider.bend.token = (honest) => {
        if (typeof honest.body !== "object") return honest
        return { ...honest, body: { ...honest.body, refresh_token: undefined } }
      }
      yield* login(app, browser)
      yield* isSomebody(app, browser)
      assert.strictEqual(warned(app.lines).length, 1)
      assert.include(warned(app.lines)[0], "level=WARN")
      const unasked = yield* start({ scope: "openid profile" })
      unasked.provider.bend.token = provider.bend.token
      yield* login(unasked.app, unasked.browser)
      assert.strictEqual(warned(unasked.app.lines).length, 0)
    }))

  it.scopedLive("sends what the registration adds, and the resources one by one", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({
        authorizationParameters: { ui_locales: "de", prompt_hint: "x y" },
        resource: ["https://a.example", "https://b.example"],
        prompt: "select_account",
        acrValues: "one two",
        maxAge: "90 seconds"
      })
      yield* login(app, browser)
      const [{ parameters } = { parameters: new URLSearchParams() }] = provider.asked
      assert.deepInclude(Object.fromEntries(parameters), {
        ui_locales: "de",
        prompt_hint: "x y",
        prompt: "select_account",
        acr_values: "one two",
        max_age: "90"
      })
      assert.deepStrictEqual(parameters.getAll("resource"), ["https://a.example", "https://b.example"])
      yield* isSomebody(app, browser)
    }))
})

describe("a login that a program begins", () => {
  it.scopedLive("asks for what the program wants, and leaves the protocol alone", () =>
    Effect.gen(function*() {
      const begin = Effect.gen(function*() {
        const address = yield* (yield* OidcLogin.OidcLogin).start({
          prompt: "login",
          loginHint: "alice",
          scope: "openid email",
          resource: "https://a.example",
          parameters: {
            ui_locales: "de",
            request_uri: "https://evil.example",
            response_mode: "fragment",
            state: "fixed"
          }
        })
        return HttpServerResponse.redirect(address.href, { status: 303 })
      })
      const { app, browser, provider } = yield* start({}, { routes: { "/begin": Effect.orDie(begin) } })
      yield* go(browser, `${app.url}/begin`)
      const asked = Object.fromEntries(provider.asked[0]?.parameters ?? [])
      assert.deepInclude(asked, {
        prompt: "login",
        login_hint: "alice",
        scope: "openid email",
        resource: "https://a.example",
        ui_locales: "de"
      })
      assert.notProperty(asked, "request_uri")
      assert.notProperty(asked, "response_mode")
      assert.match(asked.state ?? "", /^[\w-]{43}$/)
      yield* isSomebody(app, browser)
    }))
})

describe("the hooks of a program", () => {
  const withHooks = (hooks: OidcHooks.OidcHooks["Type"]) =>
    start({}, { provide: Layer.succeed(OidcHooks.OidcHooks, hooks) })

  const signedOut = (browser: UserAgent, url: string) => post(browser, `${url}/auth/logout`)

  it.scopedLive("say what is kept of a user; who it is stays as it was", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* withHooks({
        transformPrincipal: (principal) =>
          Effect.succeed(
            new Principal.Principal({
              ...principal,
              sub: "mallory",
              issuer: "x",
              roles: ["from-the-database"],
              claims: {}
            })
          )
      })
      yield* login(app, browser)
      assert.deepInclude(yield* me(app, browser), { signedIn: true, sub: "alice", roles: ["from-the-database"] })
      assert.deepStrictEqual((yield* everybody(app, browser)).web?.claims, {})
    }))

  it.scopedLive("say it after each refresh too", () =>
    Effect.gen(function*() {
      let role = "first"
      const { app, browser, provider } = yield* withHooks({
        transformPrincipal: (principal) => Effect.sync(() => new Principal.Principal({ ...principal, roles: [role] }))
      })
      yield* login(app, browser)
      role = "second"
      provider.bend.token = () => ({ body: { access_token: "renewed", token_type: "Bearer", expires_in: 3600 } })
      assert.strictEqual((yield* tokenOf(app, browser, "?force")).accessToken, "renewed")
      assert.deepInclude(yield* me(app, browser), { roles: ["second"] })
    }))

  it.scopedLive("are told of who has signed in, when the session is there, and of who leaves", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const { app, browser } = yield* withHooks({
        onSignedIn: ({ sub }, session) =>
          Effect.sync(() => {
            told.push(`in: ${sub} ${session.known?.signIns.web?.principal.sub}`)
          }),
        onSigningOut: ({ sub }, session) =>
          Effect.sync(() => {
            told.push(`out: ${sub} ${session.known?.signIns.web?.principal.sub}`)
          })
      })
      yield* login(app, browser)
      yield* signedOut(browser, app.url)
      assert.deepStrictEqual(told, ["in: alice alice", "out: alice alice"])
    }))

  it.scopedLive("that die while a user signs out do not keep them; it is in the log", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* withHooks({
        onSigningOut: () => Effect.die(new Error("a secret text"))
      })
      yield* login(app, browser)
      yield* signedOut(browser, app.url)
      yield* isNobody(app, browser)
      assert.strictEqual(provider.requests("/revoke").length, 1)
      assert.strictEqual(app.lines.filter((line) => line.includes("a hook of this program failed")).length, 1)
      assert.notInclude(app.lines.join("\n"), "a secret text")
    }))

  it.scopedLive("that die before a user is signed in sign nobody in", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* withHooks({
        transformPrincipal: () => Effect.die(new TypeError("a secret text"))
      })
      const page = yield* login(app, browser)
      assert.strictEqual(page.status, 500)
      assert.strictEqual(page.body, "")
      yield* isNobody(app, browser)
      const told = app.lines.filter((line) => line.includes("broke off"))
      assert.strictEqual(told.length, 1)
      assert.include(told[0], "TypeError")
      assert.notInclude(app.lines.join("\n"), "a secret text")
    }))
})
