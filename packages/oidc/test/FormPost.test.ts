import { TokenStore } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Page, UserAgent } from "../../../examples/servers/userAgent.ts"
import { everybody, go, isNobody, isSomebody, login, registration, start as startPlain } from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import * as WebApp from "./support/webApp.ts"

const sessions = { publicUrl: "https://app.example.com" }

const fieldsOf = (page: Page): URLSearchParams =>
  new URLSearchParams(
    [...page.body.matchAll(/name="(\w+)" value="([^"]*)"/g)].map(([, name = "", value = ""]) => [name, value])
  )

/** As a browser does it for a page of another site: Lax cookies stay at home. */
const postFromElsewhere = (app: WebApp.WebApp, browser: UserAgent, body: URLSearchParams) =>
  Effect.promise(() => {
    const cookie = [...browser.jarOf(app.url)].filter(([, { attributes }]) => /samesite=none/i.test(attributes))
      .map(([name, { value }]) => `${name}=${value}`).join("; ")
    return browser.send(`${app.url}/auth/callback`, {
      method: "POST",
      body,
      headers: { cookie, origin: "https://login.example", "sec-fetch-site": "cross-site" }
    })
  })

const signIn = (app: WebApp.WebApp, browser: UserAgent, query = "") =>
  Effect.flatMap(login(app, browser, query), (page) => postFromElsewhere(app, browser, fieldsOf(page)))

const start = (options: Partial<WebApp.Options> = {}) =>
  startPlain({ responseMode: "form_post" }, { sessions, ...options })

describe("an answer that is posted", () => {
  it.scopedLive("signs in, by a cookie that browsers send along", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      const page = yield* login(app, browser, "?returnTo=/deep")
      assert.strictEqual(provider.asked[0]?.parameters.get("response_mode"), "form_post")
      const [[name = "", cookie] = []] = [...browser.jarOf(app.url)]
      assert.match(name, /^__Host-login\./)
      assert.deepStrictEqual(cookie?.attributes.split("; ").sort(), [
        "HttpOnly",
        "Max-Age=600",
        "Path=/",
        "SameSite=None",
        "Secure"
      ])
      const answer = yield* postFromElsewhere(app, browser, fieldsOf(page))
      assert.deepStrictEqual([answer.status, answer.headers.get("location")], [303, "/deep"])
      yield* isSomebody(app, browser)
      const session = [...browser.jarOf(app.url)].find(([name]) => name === "__Host-session")
      assert.include(session?.[1].attributes, "SameSite=Lax")
    }))

  it.scopedLive("is worth nothing in another browser, twice, or with another state", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const answer = fieldsOf(yield* login(app, browser))
      const other = new UserAgent()
      assert.strictEqual(
        (yield* postFromElsewhere(app, other, answer)).body,
        "refused: LoginAnswerInvalid/state"
      )
      yield* isNobody(app, other)
      const forged = new URLSearchParams([...answer, ["state", "another"]])
      assert.strictEqual((yield* postFromElsewhere(app, browser, forged)).body, "refused: LoginAnswerInvalid/form")
      yield* isNobody(app, browser)
      yield* postFromElsewhere(app, browser, answer)
      assert.strictEqual(
        (yield* postFromElsewhere(app, browser, answer)).body,
        "refused: LoginAnswerInvalid/state"
      )
    }))

  it.scopedLive("takes the place of a session that the browser did not show, however large that was", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      provider.bend.claims = (honest) => ({ ...honest, groups: "g".repeat(1500) })
      yield* signIn(app, browser)
      yield* isSomebody(app, browser)
      assert.isTrue(browser.jarOf(app.url).has("__Host-session.1"))
      provider.bend.claims = (honest) => honest
      provider.bend.user = "bob"
      yield* signIn(app, browser)
      yield* isSomebody(app, browser, "bob")
      provider.bend.claims = (honest) => ({ ...honest, groups: "g".repeat(1500) })
      provider.bend.user = "carol"
      yield* signIn(app, browser)
      yield* isSomebody(app, browser, "carol")
    }))

  for (const where of ["cookies", "a store"]) {
    it.scopedLive(`begins a session of its own, without those who signed in by others before (${where})`, () =>
      Effect.gen(function*() {
        const provider = yield* Provider.start
        const app = yield* WebApp.serve({
          sessions,
          store: where === "cookies" ? undefined : yield* TokenStore.makeMemory,
          clients: {
            plain: { ...registration(provider), default: true },
            posted: { ...registration(provider), responseMode: "form_post" }
          }
        })
        const browser = new UserAgent()
        const page = yield* go(browser, `${app.url}/auth/login`, (url) => url.startsWith("https://app.example.com"))
        yield* go(browser, page.url.replace("https://app.example.com", app.url))
        yield* isSomebody(app, browser)
        yield* signIn(app, browser, "?client=posted")
        assert.deepStrictEqual(Object.keys(yield* everybody(app, browser)), ["posted"])
      }))
  }

  it.scopedLive("cannot come over http, where browsers take no such cookie", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* startPlain({ responseMode: "form_post" })
      const page = yield* login(app, browser)
      const [cookie] = [...browser.jarOf(app.url).values()]
      assert.include(cookie?.attributes, "SameSite=Lax")
      const answer = yield* postFromElsewhere(app, browser, fieldsOf(page))
      assert.strictEqual(answer.body, "refused: LoginAnswerInvalid/state")
      yield* isNobody(app, browser)
    }))
})
