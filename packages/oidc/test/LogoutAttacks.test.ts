import { OAuthError, TokenStore } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as jose from "jose"
import { randomUUID } from "node:crypto"
import { type UserAgent } from "../../../examples/servers/userAgent.ts"
import { go, isNobody, isSomebody, login, post, send, start, tokenOf } from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import type { WebApp } from "./support/webApp.ts"

const event = "http://schemas.openid.net/event/backchannel-logout"

/** With sessions on the server, and somebody signed in. */
const signedIn = Effect.gen(function*() {
  const started = yield* start({}, { store: yield* TokenStore.makeMemory })
  yield* login(started.app, started.browser)
  yield* isSomebody(started.app, started.browser)
  return started
})

const honest = (provider: Provider.Provider): Provider.Json => ({
  iss: provider.issuer,
  aud: "web",
  iat: Provider.seconds(),
  exp: Provider.seconds() + 120,
  jti: randomUUID(),
  events: { [event]: {} },
  sid: "sid-of-alice",
  sub: "alice"
})

const logoutToken = (
  provider: Provider.Provider,
  claims: Provider.Json = {},
  header: Partial<jose.JWTHeaderParameters> = { typ: "logout+jwt" }
) => provider.sign(JSON.parse(JSON.stringify({ ...honest(provider), ...claims })), header)

/** As the provider does, without any cookie. */
const tell = (app: WebApp, token: string) =>
  Effect.promise(() =>
    fetch(`${app.url}/auth/backchannel-logout`, {
      method: "POST",
      body: new URLSearchParams({ logout_token: token })
    }).then(async (response) => ({
      status: response.status,
      cache: response.headers.get("cache-control"),
      body: await response.text()
    }))
  )

const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")

/** The reason is in the description, which is for the people of the provider. */
const isRefused = (
  app: WebApp,
  browser: UserAgent,
  answer: { readonly status: number; readonly body: string },
  problem: string
) =>
  Effect.gen(function*() {
    assert.strictEqual(answer.status, 400)
    const { error, error_description: description } = JSON.parse(answer.body)
    assert.strictEqual(error, "invalid_request")
    assert.include(description, problem)
    yield* isSomebody(app, browser)
  })

describe("a logout token", () => {
  it.scopedLive("ends a session by its sid, and says so to the provider", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      const answer = yield* tell(app, yield* logoutToken(provider, { sub: undefined }))
      assert.deepStrictEqual(answer, { status: 200, cache: "no-store", body: "" })
      yield* isNobody(app, browser)
    }))

  it.scopedLive("ends all of a user's sessions by sub", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      assert.strictEqual((yield* tell(app, yield* logoutToken(provider, { sid: undefined }))).status, 200)
      yield* isNobody(app, browser)
    }))

  it.scopedLive("of another session or user ends nothing", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      assert.strictEqual((yield* tell(app, yield* logoutToken(provider, { sid: "another" }))).status, 200)
      const other = yield* logoutToken(provider, { sid: undefined, sub: "bob" })
      assert.strictEqual((yield* tell(app, other)).status, 200)
      yield* isSomebody(app, browser)
    }))

  for (
    const [what, problem, claims] of [
      ["has a nonce", "has a nonce", { nonce: "n" }],
      ["has a nonce that is null", "has a nonce", { nonce: null }],
      ["is for another client", "no client that is defined here", { aud: "another" }],
      ["is for nobody", "no client that is defined here", { aud: undefined }],
      ["is of another issuer", "no client that is defined here", { iss: "https://evil.example" }],
      ["has expired", "expired", { exp: Provider.seconds() - 61 }],
      ["has no exp", "exp", { exp: undefined }],
      ["is too old", "older than 600 s", { iat: Provider.seconds() - 670 }],
      ["is from the future", "future", { iat: Provider.seconds() + 3600 }],
      ["has no iat", "iat", { iat: undefined }],
      ["is not valid yet", "not valid yet", { nbf: Provider.seconds() + 3600 }],
      ["has a text for nbf", "nbf", { nbf: "0" }],
      ["has neither sub nor sid", "neither sub nor sid", { sub: undefined, sid: undefined }],
      ["has an empty sid", "sid", { sid: "" }],
      ["has a number for sub", "sub", { sub: 7, sid: undefined }],
      ["has no jti", "jti", { jti: undefined }],
      ["has no events", "events", { events: undefined }],
      ["is about another event", "event", { events: { "http://schemas.openid.net/event/other": {} } }],
      ["has an event that is no object", "event", { events: { [event]: "yes" } }]
    ] as ReadonlyArray<readonly [string, string, Provider.Json]>
  ) {
    it.scopedLive(`that ${what} ends nothing`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* signedIn
        yield* isRefused(app, browser, yield* tell(app, yield* logoutToken(provider, claims)), problem)
      }))
  }

  it.scopedLive("is good once", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      const token = yield* logoutToken(provider)
      assert.strictEqual((yield* tell(app, token)).status, 200)
      yield* login(app, browser)
      yield* isRefused(app, browser, yield* tell(app, token), "used before")
    }))

  it.scopedLive("is good once for as long as it lives", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      const token = yield* logoutToken(provider, { exp: Provider.seconds() + 3600 })
      assert.strictEqual((yield* tell(app, token)).status, 200)
      yield* login(app, browser)
      app.later(600_000)
      yield* isRefused(app, browser, yield* tell(app, token), "used before")
      app.later(61_000)
      yield* isRefused(app, browser, yield* tell(app, token), "older")
    }))

  for (
    const [what, problem, header] of [
      ["an ID token", "event", undefined],
      ["an access token", "typ", { typ: "at+jwt" }],
      ["of an unknown key", "key", { typ: "logout+jwt", kid: "unknown" }]
    ] as const
  ) {
    it.scopedLive(`is not ${what}`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* signedIn
        const claims = header === undefined ? { events: undefined } : {}
        const token = yield* logoutToken(provider, claims, header ?? { typ: "JWT" })
        yield* isRefused(app, browser, yield* tell(app, token), problem)
      }))
  }

  it.scopedLive("has to be signed", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      const unsigned = `${json({ alg: "none", typ: "logout+jwt" })}.${json(honest(provider))}`
      yield* isRefused(app, browser, yield* tell(app, `${unsigned}.`), "compact form")
      yield* isRefused(app, browser, yield* tell(app, `${unsigned}.AAAA`), "alg")
      const [header, , signature] = (yield* logoutToken(provider, { sub: "bob", sid: "bob" })).split(".")
      const altered = `${header}.${json(honest(provider))}.${signature}`
      yield* isRefused(app, browser, yield* tell(app, altered), "signature")
    }))

  for (
    const [what, init] of [
      ["nothing", {}],
      ["JSON", { headers: { "content-type": "application/json" }, body: `{"logout_token":"a.b.c"}` }],
      ["a form without a token", { body: new URLSearchParams({ other: "x" }) }],
      ["a token that is no JWT", { body: new URLSearchParams({ logout_token: "x".repeat(100) }) }],
      ["a part of a multipart form", {
        body: `--b\r\ncontent-disposition: form-data`,
        headers: { "content-type": "multipart/form-data; boundary=b" }
      }]
    ] as ReadonlyArray<readonly [string, RequestInit]>
  ) {
    it.scopedLive(`is not in ${what}`, () =>
      Effect.gen(function*() {
        const { app, browser } = yield* signedIn
        const answer = yield* Effect.promise(() =>
          fetch(`${app.url}/auth/backchannel-logout`, { method: "POST", ...init })
            .then(async (response) => ({ status: response.status, body: await response.text() }))
        )
        yield* isRefused(app, browser, answer, "")
      }))
  }

  it.scopedLive("is not read to its end if it is longer than a token can be", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* signedIn
      const status = yield* Effect.promise(() =>
        fetch(`${app.url}/auth/backchannel-logout`, {
          method: "POST",
          body: new URLSearchParams({ logout_token: "x".repeat(1_000_000) })
        }).then(({ status }) => status, () => "cut off")
      )
      assert.include([400, "cut off"], status)
      yield* isSomebody(app, browser)
    }))

  it.scopedLive("with a made-up kid does not keep the keys of a user's next ID token from being read", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      for (let strangers = 0; strangers < 3; strangers++) {
        yield* isRefused(
          app,
          browser,
          yield* tell(app, yield* logoutToken(provider, {}, { typ: "logout+jwt", kid: randomUUID() })),
          "no such key"
        )
      }
      const before = provider.requests("/jwks").length
      yield* provider.rotateKeys()
      const idToken = yield* provider.sign({
        iss: provider.issuer,
        aud: "web",
        sub: "alice",
        iat: Provider.seconds(),
        exp: Provider.seconds() + 120
      })
      provider.bend.token = ({ body, ...honest }) => ({ ...honest, body: { ...Object(body), id_token: idToken } })
      yield* tokenOf(app, browser, "?force")
      assert.strictEqual(provider.requests("/jwks").length, before + 1)
    }))

  it.scopedLive("does not count twice in one form", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      const form = new URLSearchParams({ logout_token: yield* logoutToken(provider) })
      form.append("logout_token", yield* logoutToken(provider))
      const answer = yield* Effect.promise(() =>
        fetch(`${app.url}/auth/backchannel-logout`, { method: "POST", body: form })
          .then(async (response) => ({ status: response.status, body: await response.text() }))
      )
      yield* isRefused(app, browser, answer, "")
    }))

  it.scopedLive("that the store of sessions could not carry out may be sent again", () =>
    Effect.gen(function*() {
      const memory = yield* TokenStore.makeMemory
      let isDown = false
      const store: TokenStore.TokenStore["Type"] = {
        ...memory,
        removeByTag: (tag) =>
          Effect.suspend(() =>
            isDown
              ? Effect.fail(
                new OAuthError.TokenStoreError({ store: "memory", operation: "removeByTag", problem: "down" })
              )
              : memory.removeByTag(tag)
          )
      }
      const { app, browser, provider } = yield* start({}, { store })
      yield* login(app, browser)
      const token = yield* logoutToken(provider)
      isDown = true
      yield* isRefused(app, browser, yield* tell(app, token), "send it again")
      isDown = false
      assert.strictEqual((yield* tell(app, token)).status, 200)
      yield* isNobody(app, browser)
    }))

  it.scopedLive("has no address where sessions live in cookies", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      yield* login(app, browser)
      assert.strictEqual((yield* tell(app, yield* logoutToken(provider))).status, 404)
      const frame = `${app.url}/auth/frontchannel-logout?iss=${encodeURIComponent(provider.issuer)}&sid=sid-of-alice`
      assert.strictEqual((yield* go(browser, frame)).status, 404)
      yield* isSomebody(app, browser)
    }))
})

describe("a front-channel logout", () => {
  const frame = (app: WebApp, parameters: ReadonlyArray<readonly [string, string]>) =>
    Effect.promise(() =>
      fetch(
        `${app.url}/auth/frontchannel-logout?${new URLSearchParams(parameters.map(([name, value]) => [name, value]))}`
      )
        .then(async (response) => ({ status: response.status, headers: response.headers, body: await response.text() }))
    )

  it.scopedLive("ends a session that it names, and can be framed", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* signedIn
      const { headers, status } = yield* frame(app, [["iss", provider.issuer], ["sid", "sid-of-alice"]])
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("cache-control"), "no-store")
      assert.isNull(headers.get("content-security-policy"))
      assert.isNull(headers.get("x-frame-options"))
      yield* isNobody(app, browser)
    }))

  for (
    const [what, parameters] of [
      ["without iss", [["sid", "sid-of-alice"]]],
      ["without sid", [["iss", "ISSUER"]]],
      ["with an empty sid", [["iss", "ISSUER"], ["sid", ""]]],
      ["with nothing", []],
      ["of another issuer", [["iss", "https://evil.example"], ["sid", "sid-of-alice"]]],
      ["with two issuers", [["iss", "ISSUER"], ["iss", "ISSUER"], ["sid", "sid-of-alice"]]],
      ["with two sids", [["iss", "ISSUER"], ["sid", "sid-of-alice"], ["sid", "b"]]]
    ] as ReadonlyArray<readonly [string, ReadonlyArray<readonly [string, string]>]>
  ) {
    it.scopedLive(`${what} ends nothing`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* signedIn
        const real = parameters.map(([name, value]) => [name, value === "ISSUER" ? provider.issuer : value] as const)
        assert.strictEqual((yield* frame(app, real)).status, 400)
        yield* isSomebody(app, browser)
      }))
  }
})

describe("signing out", () => {
  const signOut = { method: "POST", body: new URLSearchParams() }

  for (
    const [what, init] of [
      ["by a POST of another site", {
        ...signOut,
        headers: { origin: "https://evil.example", "sec-fetch-site": "cross-site" }
      }],
      ["by a POST of another site in an old browser", { ...signOut, headers: { origin: "https://evil.example" } }],
      ["by a POST of a neighbour", {
        ...signOut,
        headers: { origin: "http://neighbour.localhost", "sec-fetch-site": "same-site" }
      }],
      ["by a POST of another port", { ...signOut, headers: { origin: "http://localhost:1" } }],
      ["by a POST of a sandbox", { ...signOut, headers: { origin: "null" } }],
      ["by a POST that says nothing of where it is from", signOut],
      ["by a POST that was typed", { ...signOut, headers: { "sec-fetch-site": "none" } }]
    ] as ReadonlyArray<readonly [string, Parameters<typeof send>[2]]>
  ) {
    it.scopedLive(`is refused ${what}`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start()
        yield* login(app, browser)
        const page = yield* send(browser, `${app.url}/auth/logout`, init)
        assert.deepStrictEqual([page.status, page.body], [400, "refused: CrossSiteRequest"])
        yield* isSomebody(app, browser)
        assert.deepStrictEqual(provider.requests("/revoke"), [])
      }))
  }

  it.scopedLive("is only asked about by a GET", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      yield* login(app, browser)
      const page = yield* go(browser, `${app.url}/auth/logout`)
      assert.strictEqual(page.status, 200)
      assert.match(page.body, /<form method="post" action="\/auth\/logout">/)
      assert.strictEqual(page.headers.get("content-security-policy"), "frame-ancestors 'none'")
      yield* isSomebody(app, browser)
      assert.deepStrictEqual(provider.requests("/revoke"), [])
    }))

  it.scopedLive("is done by the form of that page, also with Origin alone", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      yield* login(app, browser)
      yield* post(browser, `${app.url}/auth/logout`)
      yield* isNobody(app, browser)
      yield* login(app, browser)
      yield* send(browser, `${app.url}/auth/logout`, { ...signOut, headers: { origin: app.url } })
      yield* isNobody(app, browser)
    }))

  it.scopedLive("of nobody goes to the start", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      assert.strictEqual((yield* post(browser, `${app.url}/auth/logout`)).url, `${app.url}/`)
    }))
})
