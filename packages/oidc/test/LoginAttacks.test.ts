import { TokenStore } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import {
  answerOf,
  changed,
  everybody,
  go,
  isNobody,
  isRefused,
  isSomebody,
  login,
  registration,
  start,
  tokenOf
} from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import * as WebApp from "./support/webApp.ts"

const loginCookies = (browser: UserAgent, app: WebApp.WebApp) =>
  [...browser.jarOf(app.url).keys()].filter((name) => name.startsWith("login."))

describe("the state of a login", () => {
  it.scopedLive("has to be there", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answer = yield* answerOf(app, browser)
      yield* isRefused(app, browser, yield* go(browser, changed(answer, "state", undefined)), "LoginAnswerInvalid/form")
      yield* isRefused(app, browser, yield* go(browser, changed(answer, "state", "")), "LoginAnswerInvalid/form")
    }))

  it.scopedLive("cannot be made up", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answer = yield* answerOf(app, browser)
      const page = yield* go(browser, changed(answer, "state", "A".repeat(43)))
      yield* isRefused(app, browser, page, "LoginAnswerInvalid/state")
    }))

  it.scopedLive("is worth nothing in another browser, not even with a code of one's own", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      const attacker = new UserAgent()
      provider.bend.user = "mallory"
      const planted = yield* answerOf(app, attacker)
      yield* isRefused(app, browser, yield* go(browser, planted), "LoginAnswerInvalid/state")
      // Nor in one that has a login of its own under way.
      provider.bend.user = "alice"
      const answer = yield* answerOf(app, browser)
      yield* isRefused(app, browser, yield* go(browser, planted), "LoginAnswerInvalid/state")
      const code = new URL(planted).searchParams.get("code") ?? ""
      yield* isRefused(app, browser, yield* go(browser, changed(answer, "code", code)), "TokenEndpointError")
    }))

  it.scopedLive("is good once, even for the browser that has its cookie still", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      const answer = yield* answerOf(app, browser)
      const copy = new UserAgent()
      copy.jars.set(new URL(app.url).host, new Map(browser.jarOf(app.url)))
      yield* go(browser, answer)
      yield* isSomebody(app, browser)
      yield* isRefused(app, copy, yield* go(copy, answer), "LoginAnswerInvalid/state")
      assert.strictEqual(provider.requests("/token").length, 1)
    }))

  it.scopedLive("that is used up leaves who is signed in signed in", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      const answer = yield* answerOf(app, browser)
      yield* go(browser, answer)
      const again = yield* go(browser, answer)
      assert.deepStrictEqual([again.url, again.status], [`${app.url}/`, 200])
      assert.deepStrictEqual(app.errors, [])
      yield* isSomebody(app, browser)
      assert.strictEqual(provider.requests("/token").length, 1)
    }))

  it.scopedLive("ends after 10 minutes", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const inTime = yield* answerOf(app, browser)
      app.later(9.9 * 60_000)
      yield* go(browser, inTime)
      yield* isSomebody(app, browser)
      const other = new UserAgent()
      const late = yield* answerOf(app, other)
      app.later(10 * 60_000)
      yield* isRefused(app, other, yield* go(other, late), "LoginAnswerInvalid/state")
    }))

  it.scopedLive("is of one tab: two of them sign in one after the other", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      const first = yield* answerOf(app, browser, "?returnTo=/first")
      provider.bend.user = "bob"
      const second = yield* answerOf(app, browser, "?returnTo=/second")
      assert.strictEqual((yield* go(browser, second)).url, `${app.url}/second`)
      yield* isSomebody(app, browser, "bob")
      assert.strictEqual((yield* go(browser, first)).url, `${app.url}/first`)
    }))

  it.scopedLive("is kept of 8 tabs: the ninth pushes the oldest out", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answers: Array<string> = []
      for (let tab = 0; tab < 9; tab++) {
        answers.push(yield* answerOf(app, browser))
        app.later(1000)
      }
      assert.strictEqual(loginCookies(browser, app).length, 8)
      const [oldest = "", second = ""] = answers
      yield* isRefused(app, browser, yield* go(browser, oldest), "LoginAnswerInvalid/state")
      yield* go(browser, second)
      yield* isSomebody(app, browser)
    }))
})

describe("the cookie of a login", () => {
  it.scopedLive("that was tampered with is none", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answer = yield* answerOf(app, browser)
      const [name = ""] = loginCookies(browser, app)
      const jar = browser.jarOf(app.url)
      const value = jar.get(name)?.value ?? ""
      const middle = Math.floor(value.length / 2)
      const other = value[middle] === "A" ? "B" : "A"
      jar.set(name, { value: `${value.slice(0, middle)}${other}${value.slice(middle + 1)}`, attributes: "" })
      yield* isRefused(app, browser, yield* go(browser, answer), "LoginAnswerInvalid/state")
    }))

  it.scopedLive("of one login does not do for another", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answer = yield* answerOf(app, browser)
      const [first = ""] = loginCookies(browser, app)
      yield* answerOf(app, browser)
      const second = loginCookies(browser, app).find((name) => name !== first) ?? ""
      const jar = browser.jarOf(app.url)
      const [one, other] = [jar.get(first), jar.get(second)]
      if (one === undefined || other === undefined) return assert.fail("there are not two logins")
      jar.set(first, other).set(second, one)
      yield* isRefused(app, browser, yield* go(browser, answer), "LoginAnswerInvalid/state")
    }))

  it.scopedLive("that has a name which no cookie can have does not stop a login", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const jar = browser.jarOf(app.url)
      for (let index = 0; index < 10; index++) jar.set(`login."${index}`, { value: "planted", attributes: "" })
      yield* login(app, browser)
      yield* isSomebody(app, browser)
    }))

  it.scopedLive("goes when it was used, and shows nothing of the login", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      const answer = yield* answerOf(app, browser)
      const [name = ""] = loginCookies(browser, app)
      const { attributes = "", value = "" } = browser.jarOf(app.url).get(name) ?? {}
      assert.deepStrictEqual(attributes.split("; ").sort(), ["HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax"])
      const asked = provider.asked[0]?.parameters
      for (const secret of ["state", "nonce", "code_challenge"]) {
        assert.notInclude(`${name} ${value}`, asked?.get(secret) ?? "missing")
      }
      yield* go(browser, answer)
      assert.deepStrictEqual(loginCookies(browser, app), [])
    }))
})

describe("the answer to a login", () => {
  it.scopedLive("names one server: another one, or none, is refused", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const other = changed(yield* answerOf(app, browser), "iss", "https://evil.example")
      yield* isRefused(app, browser, yield* go(browser, other), "LoginAnswerInvalid/issuer")
      const none = changed(yield* answerOf(app, browser), "iss", undefined)
      yield* isRefused(app, browser, yield* go(browser, none), "LoginAnswerInvalid/issuer")
    }))

  it.scopedLive("may lack the server only where it never says it", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      provider.bend.metadata = ({ authorization_response_iss_parameter_supported: _, ...rest }) => rest
      const wrong = changed(yield* answerOf(app, browser), "iss", "https://evil.example")
      yield* isRefused(app, browser, yield* go(browser, wrong), "LoginAnswerInvalid/issuer")
      yield* go(browser, changed(yield* answerOf(app, browser), "iss", undefined))
      yield* isSomebody(app, browser)
    }))

  it.scopedLive("of one server is not sent to another (mix-up)", () =>
    Effect.gen(function*() {
      const honest = yield* Provider.start
      const evil = yield* Provider.start
      const app = yield* WebApp.serve({
        clients: { honest: { ...registration(honest), default: true }, evil: registration(evil) }
      })
      const browser = new UserAgent()
      // The evil server sends the browser on to the honest one, with the state of its own login.
      const atEvil = yield* answerOf(app, browser, "?client=evil")
      const state = new URL(atEvil).searchParams.get("state") ?? ""
      const atHonest = yield* answerOf(app, new UserAgent(), "?client=honest")
      const page = yield* go(browser, changed(atHonest, "state", state))
      yield* isRefused(app, browser, page, "LoginAnswerInvalid/issuer")
      assert.deepStrictEqual([evil.requests("/token").length, honest.requests("/token").length], [0, 0])
    }))

  it.scopedLive("is refused by a server that names another issuer in its metadata", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      provider.bend.metadata = (honest) => ({ ...honest, issuer: "https://evil.example" })
      yield* isRefused(app, browser, yield* login(app, browser), "DiscoveryError")
    }))

  for (
    const [what, change] of [
      ["an error and a code", (url: string) => changed(url, "error", "access_denied")],
      ["no code", (url: string) => changed(url, "code", undefined)],
      ["two codes", (url: string) => `${url}&code=another`],
      ["two states", (url: string) => `${url}&state=another`],
      ["two issuers", (url: string) => `${url}&iss=another`],
      ["a code that is too long", (url: string) => changed(url, "code", "c".repeat(8193))],
      ["a code with a line break", (url: string) => changed(url, "code", "a\nb")],
      ["an issuer that is too long", (url: string) => changed(url, "iss", `https://${"a".repeat(2048)}`)]
    ] as const
  ) {
    it.scopedLive(`cannot have ${what}`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start()
        const page = yield* go(browser, change(yield* answerOf(app, browser)))
        yield* isRefused(app, browser, page, "LoginAnswerInvalid/form")
        assert.strictEqual(provider.requests("/token").length, 0)
      }))
  }

  it.scopedLive("that is beyond what the server reads gets an answer below 500", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answer = yield* answerOf(app, browser)
      const page = yield* go(browser, `${answer}&x=${"a".repeat(20_000)}`)
      assert.strictEqual(page.status, 431)
      yield* isNobody(app, browser)
    }))

  for (const error of ["access_denied", "login_required", "temporarily_unavailable"]) {
    it.scopedLive(`is the server's ${error}, with where the user wanted to go, and ends the login`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start()
        provider.bend.answer = (honest) =>
          new URLSearchParams({
            error,
            error_description: `no: ${honest.get("state")}\u202e`,
            state: honest.get("state") ?? "",
            iss: provider.issuer
          })
        const answer = yield* answerOf(app, browser, "?returnTo=/deep?a=1")
        yield* isRefused(app, browser, yield* go(browser, answer), "LoginRefused")
        const [refused] = app.errors
        assert.deepInclude(refused, {
          error,
          errorDescription: "no: <redacted>",
          returnTo: "/deep?a=1",
          clientName: "web"
        })
        assert.propertyVal(refused, "retryable", error === "temporarily_unavailable")
        yield* isRefused(app, browser, yield* go(browser, answer), "LoginAnswerInvalid/state")
      }))
  }

  it.scopedLive("that says there was an error ends nothing without the state of a login", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answer = yield* answerOf(app, browser)
      const forged = `${app.url}/auth/callback?error=access_denied`
      yield* isRefused(app, browser, yield* go(browser, forged), "LoginAnswerInvalid/state")
      yield* go(browser, answer)
      yield* isSomebody(app, browser)
    }))
})

describe("where a login comes back to", () => {
  for (
    const [returnTo, expected] of [
      ["/deep/page?a=1&b=2#c", "/deep/page?a=1&b=2#c"],
      ["//evil.example", "/"],
      ["/\\evil.example", "/"],
      ["\\\\evil.example", "/"],
      ["/%2fevil.example", "/"],
      ["/%5Cevil.example", "/"],
      ["/a/..//evil.example", "/"],
      ["/\t/evil.example", "/"],
      ["https://evil.example/", "/"],
      ["https:evil.example", "/"],
      ["javascript:alert(1)", "/"],
      ["data:text/html,x", "/"],
      ["evil.example", "/"],
      ["/\r\nset-cookie: a=b", "/"],
      ["@evil.example", "/"],
      ["", "/"]
    ] as const
  ) {
    it.scopedLive(`is this site: ${JSON.stringify(returnTo)}`, () =>
      Effect.gen(function*() {
        const { app, browser } = yield* start()
        const answer = yield* answerOf(app, browser, `?returnTo=${encodeURIComponent(returnTo)}`)
        const page = yield* Effect.promise(() => browser.send(answer))
        assert.deepStrictEqual([page.status, page.headers.get("location")], [303, expected])
        yield* isSomebody(app, browser)
      }))
  }
})

describe("a session that was planted before the login", () => {
  for (const where of ["cookies", "a store"]) {
    it.scopedLive(`is another one afterwards (sessions in ${where})`, () =>
      Effect.gen(function*() {
        const store = where === "cookies" ? undefined : yield* TokenStore.makeMemory
        const { app, browser, provider } = yield* start({}, { store })
        const attacker = new UserAgent()
        provider.bend.user = "mallory"
        yield* login(app, attacker)
        browser.jars.set(new URL(app.url).host, new Map(attacker.jarOf(app.url)))
        provider.bend.user = "alice"
        yield* login(app, browser)
        yield* isSomebody(app, browser)
        assert.notStrictEqual((yield* everybody(app, attacker)).web?.sub, "alice")
        assert.notStrictEqual(browser.cookieHeader(app.url), attacker.cookieHeader(app.url))
      }))
  }

  it.scopedLive("is ended on the server by that login", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({}, { store: yield* TokenStore.makeMemory })
      provider.bend.user = "mallory"
      yield* login(app, browser)
      const attacker = new UserAgent()
      attacker.jars.set(new URL(app.url).host, new Map(browser.jarOf(app.url)))
      yield* isSomebody(app, attacker, "mallory")
      yield* login(app, browser)
      yield* isNobody(app, attacker)
    }))
})

describe("a token of the type N_A, which is of an exchange", () => {
  for (const dpop of [false, true]) {
    it.scopedLive(`signs nobody in, and is no token of a refresh (bound: ${dpop})`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ dpop })
        const { token } = provider.bend
        const bent: typeof token = (honest) => ({ ...honest, body: { ...Object(honest.body), token_type: "N_A" } })
        provider.bend.token = bent
        yield* isRefused(app, browser, yield* login(app, browser), "TokenTypeMismatch")
        provider.bend.token = token
        yield* login(app, browser)
        provider.bend.token = bent
        assert.notProperty(yield* tokenOf(app, browser, "?force"), "accessToken")
        yield* isSomebody(app, browser)
      }))
  }
})
