import { OAuthError, TokenStore } from "@effect-oauth/core"
import { LoginStateStore, type Session } from "@effect-oauth/oidc"
import { NodeSigner } from "@effect-oauth/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, TestClock } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { answerOf, go, isRefused, isSomebody, login, me, registration } from "./support/attack.ts"
import * as FaultyStore from "./support/faultyStore.ts"
import * as Provider from "./support/provider.ts"
import * as Web from "./support/web.ts"
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

describe("a login, in any store", () => {
  const login = new LoginStateStore.LoginState({
    clientName: "web",
    nonce: Redacted.make("nonce"),
    codeVerifier: Redacted.make("verifier"),
    redirectUri: "https://app.test/auth/callback",
    returnTo: "/",
    startedAt: 0
  })
  const state = Redacted.make("state")

  const browser = (): Session.BrowserCookies => {
    const jar = new Map<string, string>()
    return {
      names: (start) => [...jar.keys()].filter((name) => name.startsWith(start)),
      get: (name) => jar.get(name),
      set: (name, value) => jar.set(name, value),
      remove: (name) => jar.delete(name)
    }
  }

  const stores = (store: TokenStore.TokenStore["Type"]) =>
    Effect.all({
      "in cookies": LoginStateStore.makeCookies,
      "in the store": LoginStateStore.makeStored
    }).pipe(
      Effect.provideService(TokenStore.TokenStore, store),
      Effect.provide(Web.encryption()),
      Effect.provide(NodeSigner.layer)
    )

  for (const kind of ["in cookies", "in the store"] as const) {
    it.scoped(`${kind} is taken once by two processes that share a TokenStore`, () =>
      Effect.gen(function*() {
        const store = yield* TokenStore.makeMemory
        const [one, two] = [(yield* stores(store))[kind], (yield* stores(store))[kind]]
        const cookies = browser()
        yield* one.save(state, login, cookies, "lax")
        const [name = ""] = cookies.names("login.")
        const copy = browser()
        copy.set(name, cookies.get(name) ?? "", { maxAge: "1 minutes" })
        const taken = yield* Effect.all([one.take(state, cookies), two.take(state, copy)], { concurrency: "unbounded" })
        assert.strictEqual(taken.filter(Option.isSome).length, 1)
      }))

    it.scoped(`${kind} ends in time although the store hangs, and the browser keeps it`, () =>
      Effect.gen(function*() {
        const line = FaultyStore.make(yield* TokenStore.makeMemory)
        const logins = (yield* stores(line.store))[kind]
        const cookies = browser()
        yield* logins.save(state, login, cookies, "lax")
        line.fault = () => "hang"
        // As a server runs requests.
        const waiting = yield* Effect.fork(Effect.uninterruptible(Effect.flip(logins.take(state, cookies))))
        yield* TestClock.adjust("5 seconds")
        assert.deepInclude(yield* waiting, { _tag: "SessionStoreError", retryable: true })
        line.fault = () => undefined
        assert.isTrue(Option.isSome(yield* logins.take(state, cookies)))
      }))

    it.scoped(`${kind} lasts no longer where the clock is set back`, () =>
      Effect.gen(function*() {
        const logins = (yield* stores(yield* TokenStore.makeMemory))[kind]
        const cookies = browser()
        yield* logins.save(state, new LoginStateStore.LoginState({ ...login, startedAt: 3_600_000 }), cookies, "lax")
        assert.isTrue(Option.isNone(yield* logins.take(state, cookies)))
      }))
  }
})
