import { OAuthError, TokenStore } from "@effect-oauth/core"
import { LoginStateStore } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { answerOf, go, isRefused, isSomebody, login, me, registration } from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import * as WebApp from "./support/webApp.ts"

/** A store that tells what was written to it, and can break. */
const watchedStore = Effect.map(TokenStore.makeMemory, (memory) => {
  const written: Array<string> = []
  const state = { isDown: false }
  const failing = <A>(effect: Effect.Effect<A, OAuthError.TokenStoreError>) =>
    Effect.suspend(() =>
      state.isDown
        ? Effect.fail(new OAuthError.TokenStoreError({ store: "memory", operation: "any", problem: "down" }))
        : effect
    )
  const store: TokenStore.TokenStore["Type"] = {
    ...memory,
    get: (key) => failing(memory.get(key)),
    remove: (key) => failing(memory.remove(key)),
    set: (key, value, options) => {
      written.push(`${key} ${value}`)
      return failing(memory.set(key, value, options))
    }
  }
  return { store, written, state }
})

/** Two processes over one store. */
const start = Effect.gen(function*() {
  const watched = yield* watchedStore
  const provider = yield* Provider.start
  const clients = { web: { ...registration(provider), dpop: true } }
  const logins = (_: unknown) => LoginStateStore.layerStored.pipe(Layer.provide(WebApp.loginServices(watched.store)))
  const first = yield* WebApp.serve({ clients, over: logins })
  const second = yield* WebApp.serve({ clients, over: logins, sessions: { publicUrl: first.url } })
  return { ...watched, provider, first, second, browser: new UserAgent() }
})

/** What the browser would bring to the other process behind the same address. */
const at = (app: WebApp.WebApp, url: string): string => {
  const { pathname, search } = new URL(url)
  return `${app.url}${pathname}${search}`
}

const carry = (browser: UserAgent, from: WebApp.WebApp, to: WebApp.WebApp) =>
  browser.jars.set(new URL(to.url).host, browser.jarOf(from.url))

describe("LoginStateStore.layerStored", () => {
  it.scopedLive("signs in, and the browser has nothing but a random cookie meanwhile", () =>
    Effect.gen(function*() {
      const { browser, first, provider, written } = yield* start
      const answer = yield* answerOf(first, browser, "?returnTo=/deep")
      const [[, cookie] = []] = [...browser.jarOf(first.url)]
      assert.match(cookie?.value ?? "", /^[\w-]{43}$/)
      assert.strictEqual(written.filter((line) => line.startsWith("login:")).length, 1)
      const [{ parameters } = { parameters: new URLSearchParams() }] = provider.asked
      for (const secret of [parameters.get("state"), parameters.get("nonce"), cookie?.value]) {
        assert.notInclude(written.join("\n"), secret ?? "missing")
      }
      assert.strictEqual((yield* go(browser, answer)).url, `${first.url}/deep`)
      yield* isSomebody(first, browser)
      assert.deepStrictEqual([...browser.jarOf(first.url).keys()].filter((name) => name.startsWith("login.")), [])
    }))

  it.scopedLive("takes an answer in another process, and once in all of them", () =>
    Effect.gen(function*() {
      const { browser, first, provider, second } = yield* start
      const answer = yield* answerOf(first, browser)
      const copy = new UserAgent()
      copy.jars.set(new URL(first.url).host, new Map(browser.jarOf(first.url)))
      carry(browser, first, second)
      // The provider compares the address, the one made by hand does not.
      yield* go(browser, at(second, answer))
      assert.deepInclude(yield* me(second, browser), { signedIn: true })
      yield* isRefused(first, copy, yield* go(copy, answer), "LoginAnswerInvalid/state")
      assert.strictEqual(provider.requests("/token").length, 1)
    }))

  it.scopedLive("wants the cookie as well as the state", () =>
    Effect.gen(function*() {
      const { browser, first } = yield* start
      const answer = yield* answerOf(first, browser)
      const other = new UserAgent()
      yield* isRefused(first, other, yield* go(other, answer), "LoginAnswerInvalid/state")
      const jar = browser.jarOf(first.url)
      const [[name = ""] = []] = [...jar]
      jar.set(name, { value: "A".repeat(43), attributes: "" })
      yield* isRefused(first, browser, yield* go(browser, answer), "LoginAnswerInvalid/state")
    }))

  it.scopedLive("does not know an entry that was moved to another login", () =>
    Effect.gen(function*() {
      const { browser, first, store, written } = yield* start
      yield* answerOf(first, browser)
      const answer = yield* answerOf(first, browser)
      const [one = "", other = ""] = written.filter((line) => line.startsWith("login:"))
      yield* store.set(other.split(" ")[0] ?? "", one.split(" ")[1] ?? "", { timeToLive: "1 minute" })
      yield* isRefused(first, browser, yield* go(browser, answer), "LoginAnswerInvalid/state")
    }))

  it.scopedLive("fails as a store does, at the start and at the end, and loses no login by it", () =>
    Effect.gen(function*() {
      const { browser, first, state } = yield* start
      const answer = yield* answerOf(first, browser)
      state.isDown = true
      yield* isRefused(first, browser, yield* login(first, browser), "SessionStoreError")
      yield* isRefused(first, browser, yield* go(browser, answer), "SessionStoreError")
      state.isDown = false
      yield* go(browser, answer)
      yield* isSomebody(first, browser)
    }))
})
