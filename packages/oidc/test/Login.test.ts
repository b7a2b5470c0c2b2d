import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as jose from "jose"
import { everybody, go, isNobody, isSomebody, login, start as startBent, tokenOf } from "./support/attack.ts"
import { byKey, keyPair, signIn, start } from "./support/realProvider.ts"

/** Where the browser was sent to at the server. */
const asked = (visited: ReadonlyArray<string>): URLSearchParams =>
  new URL(visited.find((url) => new URL(url).pathname === "/auth") ?? "http://nowhere").searchParams

describe("a login at a real provider", () => {
  it.scopedLive("asks with PKCE, state and nonce, and comes back to where the user wanted to go", () =>
    Effect.gen(function*() {
      const { app, browser, server } = yield* start({ client: { pushedAuthorization: "never" } })
      const page = yield* signIn(app, browser, "?returnTo=/everybody%3Fa%3D1")
      assert.strictEqual(page.url, `${app.url}/everybody?a=1`)
      yield* isSomebody(app, browser)
      const query = asked(browser.visited)
      assert.deepInclude(Object.fromEntries(query), {
        client_id: "web",
        response_type: "code",
        scope: "openid profile offline_access",
        redirect_uri: `${app.url}/auth/callback`,
        code_challenge_method: "S256",
        prompt: "consent"
      })
      for (const name of ["state", "nonce", "code_challenge"]) assert.match(query.get(name) ?? "", /^[\w-]{43}$/)
      const [exchange] = server.requests().filter(({ path }) => path === "/token")
      assert.includeMembers([...exchange?.fields ?? []], ["code", "code_verifier", "redirect_uri"])
      const { idToken, refreshToken, type } = yield* tokenOf(app, browser)
      assert.strictEqual(type, "Bearer")
      assert.isString(idToken)
      assert.isString(refreshToken)
    }))

  it.scopedLive("pushes its parameters where the server offers it", () =>
    Effect.gen(function*() {
      const { app, browser, server } = yield* start()
      yield* signIn(app, browser)
      yield* isSomebody(app, browser)
      assert.deepStrictEqual([...asked(browser.visited).keys()].sort(), ["client_id", "request_uri"])
      assert.strictEqual(server.requests().filter(({ path }) => path === "/request").length, 1)
    }))

  for (const pushedAuthorization of ["auto", "always", "never"] as const) {
    it.scopedLive(`pushes them where the server requires it, also with "${pushedAuthorization}"`, () =>
      Effect.gen(function*() {
        const { app, browser } = yield* start({
          client: { pushedAuthorization },
          server: {
            configuration: {
              features: { pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true } }
            }
          }
        })
        yield* signIn(app, browser)
        yield* isSomebody(app, browser)
        assert.isTrue(asked(browser.visited).has("request_uri"))
      }))
  }

  it.scopedLive("signs them with the key of private_key_jwt", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser } = yield* start({
        client: { ...client, signedRequest: true, pushedAuthorization: "never", maxAge: "1 hour" },
        registered: { ...registered, request_object_signing_alg: "ES256" }
      })
      yield* signIn(app, browser)
      yield* isSomebody(app, browser)
      assert.deepStrictEqual([...asked(browser.visited).keys()].sort(), ["client_id", "request"])
    }))

  it.scopedLive("signs them for this server, for a while, with numbers as numbers", () =>
    Effect.gen(function*() {
      const { privateKey } = yield* keyPair
      const resource = ["https://a.example", "https://b.example"]
      const { app, browser, provider } = yield* startBent({ signedRequest: privateKey, maxAge: "1 hour", resource })
      yield* login(app, browser)
      yield* isSomebody(app, browser)
      const request = provider.requests("/authorize")[0]?.form.get("request") ?? ""
      const { aud, exp = 0, iat = 0, iss, jti, max_age, resource: named } = jose.decodeJwt(request)
      assert.deepStrictEqual({ aud, iss, max_age, named }, {
        aud: provider.issuer,
        iss: "web",
        max_age: 3600,
        named: resource
      })
      assert.isString(jti)
      assert.strictEqual(exp - iat, 300)
      assert.deepInclude(jose.decodeProtectedHeader(request), { typ: "oauth-authz-req+jwt", kid: "key-of-the-app" })
    }))

  it.scopedLive("signs them with a key of their own, and pushes them", () =>
    Effect.gen(function*() {
      const { jwks, privateKey } = yield* keyPair
      const { app, browser, server } = yield* start({
        client: { signedRequest: privateKey, resource: ["https://a.example", "https://b.example"] },
        registered: { jwks, request_object_signing_alg: "ES256" }
      })
      yield* signIn(app, browser)
      yield* isSomebody(app, browser)
      const [push] = server.requests().filter(({ path }) => path === "/request")
      assert.include(push?.fields, "request")
      assert.notInclude(push?.fields, "state")
    }))

  it.scopedLive("without a signature is refused by a server that wants one, so it is the signature that does it", () =>
    Effect.gen(function*() {
      const { jwks } = yield* keyPair
      const { app, browser } = yield* start({
        client: { pushedAuthorization: "never" },
        registered: { jwks, request_object_signing_alg: "ES256", require_signed_request_object: true }
      })
      yield* signIn(app, browser)
      yield* isNobody(app, browser)
    }))

  for (const signed of [false, true]) {
    it.scopedLive(`asks userinfo, ${signed ? "signed" : "plain"}`, () =>
      Effect.gen(function*() {
        const { app, browser } = yield* start({
          client: { userInfo: true, scope: "openid profile email offline_access" },
          registered: signed ? { userinfo_signed_response_alg: "ES256" } : {}
        })
        yield* signIn(app, browser)
        const { web } = yield* everybody(app, browser)
        assert.deepInclude(web?.claims, { email: "alice@example.com", preferred_username: "alice" })
      }))
  }

  it.scopedLive("asks userinfo with a proof of the session's key", () =>
    Effect.gen(function*() {
      const { app, browser, server } = yield* start({
        client: { userInfo: true, dpop: true },
        server: { dpop: "nonces" }
      })
      yield* signIn(app, browser)
      yield* isSomebody(app, browser)
      const asked = server.requests().filter(({ path }) => path === "/me")
      assert.isDefined(asked.at(-1)?.proof)
      assert.strictEqual(asked.at(-1)?.status, 200)
    }))

  it.scopedLive("reaches the acr that is required, and is refused where it does not", () =>
    Effect.gen(function*() {
      const reached = yield* start({ client: { acrValues: "urn:example:mfa" } })
      yield* signIn(reached.app, reached.browser)
      const { web } = yield* everybody(reached.app, reached.browser)
      assert.strictEqual(web?.claims.acr, "urn:example:mfa")
      const missed = yield* start({ client: { acrValues: "urn:example:hardware" } })
      yield* signIn(missed.app, missed.browser)
      assert.deepInclude(missed.app.errors[0], { _tag: "IdTokenInvalid", reason: "acr" })
      yield* isNobody(missed.app, missed.browser)
    }))

  it.scopedLive("is as recent as required", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({ client: { maxAge: "1 hour" } })
      yield* signIn(app, browser)
      const { web } = yield* everybody(app, browser)
      assert.isNumber(web?.claims.auth_time)
    }))

  it.scopedLive("steps up when an API wants it, and comes back to where the user was", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      yield* signIn(app, browser)
      assert.strictEqual((yield* everybody(app, browser)).web?.claims.acr, "urn:example:pwd")
      const query = new URLSearchParams({
        acr_values: "urn:example:mfa",
        max_age: "300",
        returnTo: "/everybody?at=home"
      })
      const page = yield* Effect.promise(() => browser.signIn(`${app.url}/step-up?${query}`, "alice"))
      assert.strictEqual(page.url, `${app.url}/everybody?at=home`)
      const { web } = yield* everybody(app, browser)
      assert.strictEqual(web?.claims.acr, "urn:example:mfa")
      assert.isNumber(web?.claims.auth_time)
    }))

  it.scopedLive("that the user cancels is access_denied", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      const page = yield* go(browser, `${app.url}/auth/login?returnTo=/x`)
      yield* go(browser, `${page.url}/cancel`)
      assert.deepInclude(app.errors[0], { _tag: "LoginRefused", error: "access_denied", returnTo: "/x" })
      yield* isNobody(app, browser)
    }))

  it.scopedLive("keeps two clients apart: their users, their tokens, their ends", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({ more: { other: { scope: "openid offline_access invoices" } } })
      yield* signIn(app, browser)
      const first = yield* tokenOf(app, browser)
      yield* signIn(app, browser, "?client=other")
      const both = yield* everybody(app, browser)
      assert.deepStrictEqual(Object.keys(both).sort(), ["other", "web"])
      assert.deepStrictEqual((yield* tokenOf(app, browser, "?client=web")).accessToken, first.accessToken)
      const other = yield* tokenOf(app, browser, "?client=other")
      assert.isString(other.accessToken)
      assert.notStrictEqual(other.accessToken, first.accessToken)
      assert.notStrictEqual(other.refreshToken, first.refreshToken)
      yield* go(browser, `${app.url}/sign-out?client=other`)
      assert.deepStrictEqual(Object.keys(yield* everybody(app, browser)), ["web"])
      assert.strictEqual((yield* tokenOf(app, browser, "?client=other")).error, "NoActiveUser")
      assert.strictEqual((yield* tokenOf(app, browser)).accessToken, first.accessToken)
      yield* signIn(app, browser, "?client=other")
      yield* go(browser, `${app.url}/sign-out`)
      yield* isNobody(app, browser)
    }))

  it.scopedLive("is a client of the program's own authority too", () =>
    Effect.gen(function*() {
      const { app, browser, server } = yield* start({ client: { clientCredentialsScope: "invoices" } })
      const { body } = yield* go(browser, `${app.url}/machine?client=web`)
      assert.isString(JSON.parse(body).accessToken)
      assert.isTrue(server.requests().find(({ path }) => path === "/token")?.fields.includes("scope"))
    }))
})
