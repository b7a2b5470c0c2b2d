import { OAuthError, TokenStore } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import type { UserAgent } from "../../../examples/servers/userAgent.ts"
import { answerOf, go, login, post, send, start, tokenOf } from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import { observed, type WebApp } from "./support/webApp.ts"

const present = (value: unknown): value is string => typeof value === "string" && value.length > 8

/** Whatever must not be written down, as far as the provider and the browser know of it. */
const secretsOf = (provider: Provider.Provider, app: WebApp, browser: UserAgent): ReadonlyArray<string> => {
  const asked = provider.asked.flatMap(({ parameters }) =>
    ["state", "nonce", "code_challenge", "request"].map((name) => parameters.get(name))
  )
  const forms = provider.seen.flatMap(({ form }) =>
    ["code", "code_verifier", "client_secret", "refresh_token", "token", "id_token_hint", "client_assertion", "request"]
      .map((name) => form.get(name))
  )
  const headers = provider.seen.flatMap((seen) => [
    seen.headers.authorization?.split(" ")[1],
    typeof seen.headers.dpop === "string" ? seen.headers.dpop : undefined
  ])
  const cookies = [...browser.jarOf(app.url).values()].map(({ value }) => value)
  const visited = browser.visited.flatMap((url) =>
    ["code", "state", "id_token_hint"].map((name) => new URL(url).searchParams.get(name))
  )
  return [...new Set([...asked, ...forms, ...headers, ...cookies, ...visited].filter(present))]
}

const isSilent = (app: WebApp, secrets: ReadonlyArray<string>): void => {
  const text = observed(app)
  for (const secret of secrets) assert.notInclude(text, secret)
  assert.notInclude(text, "eyJ")
  assert.notMatch(text, /[?&](?:code|state|id_token_hint|request)=/)
}

/** Otherwise silence would prove nothing. */
const isWatched = (app: WebApp, browser: UserAgent) =>
  Effect.gen(function*() {
    yield* go(browser, `${app.url}/everybody?watched=yes`)
    assert.include(app.lines.join("\n"), "/everybody?watched=yes")
    assert.include(observed(app), `["url.query","watched=yes"]`)
  })

const logoutToken = (provider: Provider.Provider) =>
  provider.sign({
    iss: provider.issuer,
    aud: "web",
    iat: Provider.seconds(),
    exp: Provider.seconds() + 120,
    jti: randomUUID(),
    events: { "http://schemas.openid.net/event/backchannel-logout": {} },
    sid: "sid-of-alice"
  }, { typ: "logout+jwt" })

describe("spans and log lines hold no secret", () => {
  for (const client of [{}, { dpop: true, userInfo: true, acrValues: "a b", maxAge: "1 hour" }]) {
    it.scopedLive(`of login, token, logout and back-channel logout: ${JSON.stringify(client)}`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start(client, { store: yield* TokenStore.makeMemory })
        yield* isWatched(app, browser)
        yield* login(app, browser, "?returnTo=/everybody")
        yield* tokenOf(app, browser)
        const cookies = secretsOf(provider, app, browser)
        yield* post(browser, `${app.url}/auth/logout`)
        yield* login(app, browser)
        const token = yield* logoutToken(provider)
        const answer = yield* send(browser, `${app.url}/auth/backchannel-logout`, {
          method: "POST",
          body: new URLSearchParams({ logout_token: token })
        })
        assert.strictEqual(answer.status, 200)
        const frame = new URLSearchParams({ iss: provider.issuer, sid: "sid-of-alice-which-is-secret" })
        yield* go(browser, `${app.url}/auth/frontchannel-logout?${frame}`)
        const secrets = [...cookies, ...secretsOf(provider, app, browser), token, "sid-of-alice-which-is-secret"]
        assert.isAbove(secrets.length, 10)
        isSilent(app, secrets)
      }))
  }

  it.scopedLive("of what was refused", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      provider.bend.idToken = (honest) => `${honest.slice(0, -8)}AAAAAAAA`
      yield* login(app, browser)
      provider.bend.token = () => ({ status: 400, body: { error: "invalid_grant", error_description: "no" } })
      yield* login(app, browser)
      provider.bend.answer = (honest) =>
        new URLSearchParams({
          error: "server_error",
          error_description: `about ${honest.get("state")}`,
          state: honest.get("state") ?? "",
          iss: provider.issuer
        })
      yield* login(app, browser)
      yield* go(browser, `${app.url}/auth/callback?code=a-forged-code&state=a-forged-state`)
      assert.strictEqual(app.errors.length, 4)
      isSilent(app, [...secretsOf(provider, app, browser), "a-forged-code", "a-forged-state"])
      // What is wrong is there, though.
      assert.include(app.lines.join("\n"), "the ID token was refused")
    }))

  for (
    const path of ["/auth/callback", "/auth/callback/", "//auth/callback", "/AUTH/Callback", "/auth/%63allback"]
  ) {
    it.scopedLive(`of ${path}, whichever way it is written`, () =>
      Effect.gen(function*() {
        const { app, browser } = yield* start()
        yield* isWatched(app, browser)
        yield* go(browser, `${app.url}${path}?code=a-forged-code&state=a-forged-state`)
        yield* post(browser, `${app.url}${path}?code=a-forged-code&state=a-forged-state`)
        isSilent(app, ["a-forged-code", "a-forged-state"])
      }))
  }

  it.scopedLive("of the callback by any method and in any spelling, whether a route or none", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      yield* isWatched(app, browser)
      const query = "?code=a-forged-code&state=a-forged-state"
      for (const method of ["PUT", "OPTIONS", "PATCH", "DELETE", "HEAD", "PROPFIND"]) {
        yield* send(browser, `${app.url}/auth/callback${query}`, { method })
      }
      const spellings = [
        "/auth/callback;a=1",
        "/auth/callback;a/b",
        "/auth;a=1/callback",
        "/auth/callback%3Ba=1",
        "/auth/callback%3Fa=1",
        "/auth/callback;code=a-forged-code",
        "/x;y/auth/callback",
        "/auth%2Fcallback",
        "/auth%5Ccallback",
        "/auth/callback%20"
      ]
      for (const path of spellings) {
        yield* send(browser, `${app.url}${path}${query}`)
        yield* send(browser, `${app.url}${path}${query}`, { method: "PUT" })
      }
      isSilent(app, ["a-forged-code", "a-forged-state"])
      yield* send(browser, `${app.url}/not/there?watched=again`)
      assert.include(app.lines.join("\n"), "/not/there?watched=again")
    }))

  it.scopedLive("of routes below a prefix", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({}, { prefix: "/tenant" })
      yield* isWatched(app, browser)
      const page = yield* go(browser, `${app.url}/tenant/auth/callback?code=a-forged-code&state=a-forged-state`)
      assert.strictEqual(page.body, "refused: LoginAnswerInvalid/state")
      isSilent(app, ["a-forged-code", "a-forged-state"])
    }))

  it.scopedLive("of an answer that is posted", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({ responseMode: "form_post" })
      const page = yield* login(app, browser)
      const fields = Object.fromEntries(
        [...page.body.matchAll(/name="(\w+)" value="([^"]*)"/g)].map(([, name = "", value = ""]) => [name, value])
      )
      yield* post(browser, `${app.url}/auth/callback`, fields)
      isSilent(app, [
        ...secretsOf(provider, app, browser),
        ...Object.values(fields).filter((value) => value !== provider.issuer)
      ])
    }))

  it.scopedLive("of a callback that finds no store of sessions", () =>
    Effect.gen(function*() {
      const memory = yield* TokenStore.makeMemory
      let isDown = false
      const store: TokenStore.TokenStore["Type"] = {
        ...memory,
        get: (key) =>
          Effect.suspend(() =>
            isDown
              ? Effect.fail(new OAuthError.TokenStoreError({ store: "memory", operation: "get", problem: "down" }))
              : memory.get(key)
          )
      }
      const { app, browser, provider } = yield* start({}, { store })
      yield* login(app, browser)
      const answer = yield* answerOf(app, browser)
      isDown = true
      const page = yield* send(browser, answer)
      assert.strictEqual(page.status, 503)
      assert.strictEqual(page.headers.get("cache-control"), "no-store")
      assert.strictEqual(page.headers.get("referrer-policy"), "no-referrer")
      isSilent(app, secretsOf(provider, app, browser))
    }))
})
