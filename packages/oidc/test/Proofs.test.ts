import { AuthorizationServer, ClientAssertions, DPoPNonceStore } from "@effect-oauth/core"
import { OidcClients } from "@effect-oauth/oidc"
import { FetchHttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import * as jose from "jose"
import { randomUUID } from "node:crypto"
import type { AuthorizationServer as Server } from "../../../examples/servers/authorizationServer.ts"
import * as Attack from "./support/attack.ts"
import { byKey, keyPair, signIn, start } from "./support/realProvider.ts"

const { isSomebody, tokenOf } = Attack

/** Forgets every nonce at once. */
const forgetful = Layer.succeed(DPoPNonceStore.DPoPNonceStore, {
  get: () => Effect.succeedNone,
  set: () => Effect.void
})

const exchanges = (server: Server, path: string, field = "") =>
  server.requests().filter((one) => one.path === path && (field === "" || one.fields.includes(field)))

const areProved = (requests: ReturnType<typeof exchanges>, count: number) => {
  assert.strictEqual(requests.length, count)
  const ids = requests.map(({ assertion }) => assertion?.id)
  assert.strictEqual(new Set(ids).size, count)
  assert.notInclude(ids, undefined)
  for (const { fields } of requests) {
    assert.includeMembers([...fields], ["client_assertion", "client_assertion_type"])
    assert.notInclude(fields, "client_secret")
  }
}

const requirePushing = {
  configuration: {
    features: { pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true } }
  }
}

describe("a client without a secret", () => {
  it.scopedLive("logs in, refreshes and asks for itself by its key [parity 145]", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser, server } = yield* start({ client, registered })
      yield* signIn(app, browser)
      const first = yield* tokenOf(app, browser)
      const second = yield* tokenOf(app, browser, "?force")
      assert.isString(second.accessToken)
      assert.notStrictEqual(second.accessToken, first.accessToken)
      assert.isString(
        (yield* Effect.map(Attack.go(browser, `${app.url}/machine?client=web`), ({ body }) => JSON.parse(body)))
          .accessToken
      )
      areProved(exchanges(server, "/token"), 3)
      yield* Attack.go(browser, `${app.url}/sign-out`)
      areProved(exchanges(server, "/token/revocation"), 1)
    }))

  it.scopedLive("proves itself and its key at login: the code's request has an assertion, the token is DPoP [parity 58]", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser, server } = yield* start({
        client: { ...client, dpop: true },
        registered,
        server: { dpop: "accepted" }
      })
      yield* signIn(app, browser)
      areProved(exchanges(server, "/token", "code"), 1)
      assert.strictEqual((yield* tokenOf(app, browser)).type, "DPoP")
    }))

  it.scopedLive("refreshes twice with two assertions if each nonce is forgotten [parity 59]", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser, server } = yield* start({
        client: { ...client, dpop: true },
        registered,
        server: { dpop: "nonces" },
        provide: forgetful
      })
      yield* signIn(app, browser)
      assert.strictEqual((yield* tokenOf(app, browser, "?force")).type, "DPoP")
      const refreshes = exchanges(server, "/token", "refresh_token")
      areProved(refreshes, 2)
      assert.deepStrictEqual(refreshes.map(({ error }) => error), ["use_dpop_nonce", undefined])
      assert.strictEqual(server.refreshes().filter(({ outcome }) => outcome === "ok").length, 1)
    }))

  it.scopedLive("pushes its request with an assertion, and exchanges the code with another [parity 66]", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser, server } = yield* start({ client, registered, server: requirePushing })
      yield* signIn(app, browser)
      yield* isSomebody(app, browser)
      areProved([...exchanges(server, "/request"), ...exchanges(server, "/token", "code")], 2)
    }))

  it.scopedLive("refreshes with an assertion after it has pushed [parity 67]", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser, server } = yield* start({ client, registered, server: requirePushing })
      yield* signIn(app, browser)
      assert.isString((yield* tokenOf(app, browser, "?force")).accessToken)
      areProved(exchanges(server, "/token", "refresh_token"), 1)
    }))

  it.scopedLive("pushes the thumbprint of the session's key [parity 68]", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser, server } = yield* start({
        client: { ...client, dpop: true },
        registered,
        server: { ...requirePushing, dpop: "accepted" }
      })
      yield* signIn(app, browser)
      const pushed = exchanges(server, "/request")
      areProved(pushed, 1)
      assert.isTrue(pushed[0]?.fields.includes("dpop_jkt"))
      assert.strictEqual((yield* tokenOf(app, browser)).type, "DPoP")
    }))

  it.scopedLive("pushes and refreshes with forgotten nonces: two refresh requests, two assertions [parity 69]", () =>
    Effect.gen(function*() {
      const { client, registered } = yield* byKey
      const { app, browser, server } = yield* start({
        client: { ...client, dpop: true },
        registered,
        server: { ...requirePushing, dpop: "nonces" },
        provide: forgetful
      })
      yield* signIn(app, browser)
      assert.strictEqual((yield* tokenOf(app, browser, "?force")).type, "DPoP")
      areProved(exchanges(server, "/token", "refresh_token"), 2)
    }))
})

describe("assertions from elsewhere", () => {
  const signing = (names: Array<string>, issuer: () => string, privateKey: Redacted.Redacted<string>) =>
    ClientAssertions.layer((clientName) =>
      Effect.promise(async () => {
        names.push(clientName)
        const key = await jose.importJWK(JSON.parse(Redacted.value(privateKey)), "ES256")
        const jwt = await new jose.SignJWT({ iss: "web", sub: "web", aud: issuer(), jti: randomUUID() })
          .setProtectedHeader({ alg: "ES256", kid: "key-of-the-app" }).setIssuedAt().setExpirationTime("1m").sign(key)
        return Option.some({ value: Redacted.make(jwt) })
      })
    )

  const started = (dpop: "nonces" | undefined) =>
    Effect.gen(function*() {
      const { jwks, privateKey } = yield* keyPair
      const names: Array<string> = []
      let issuer = ""
      const { app, browser, server } = yield* start({
        client: { clientSecret: undefined, ...(dpop === undefined ? {} : { dpop: true }) },
        registered: { token_endpoint_auth_method: "private_key_jwt", jwks },
        server: { dpop },
        provide: Layer.merge(signing(names, () => issuer, privateKey), forgetful)
      })
      issuer = server.issuer
      yield* signIn(app, browser)
      yield* isSomebody(app, browser)
      return { app, browser, server, names }
    })

  it.scopedLive("go with the code's request without further ado [parity 146]", () =>
    Effect.gen(function*() {
      const { server } = yield* started(undefined)
      areProved(exchanges(server, "/token", "code"), 1)
    }))

  it.scopedLive("are made anew when the code's request is repeated for a nonce [parity 154]", () =>
    Effect.gen(function*() {
      const { server } = yield* started("nonces")
      const requests = exchanges(server, "/token", "code")
      areProved(requests, 2)
      assert.deepStrictEqual(requests.map(({ error }) => error), ["use_dpop_nonce", undefined])
      const proofs = requests.map(({ proof }) => proof?.id)
      assert.strictEqual(new Set(proofs).size, 2)
    }))

  it.scopedLive("are made anew when a refresh is repeated for a nonce [parity 153]", () =>
    Effect.gen(function*() {
      const { app, browser, server } = yield* started("nonces")
      assert.strictEqual((yield* tokenOf(app, browser, "?force")).type, "DPoP")
      areProved(exchanges(server, "/token", "refresh_token"), 2)
    }))

  it.scopedLive("are asked for by the client's name, each time [parity 155]", () =>
    Effect.gen(function*() {
      const { names, server } = yield* started("nonces")
      assert.isAtLeast(exchanges(server, "/token", "code").length, 2)
      assert.isAtLeast(names.length, 2)
      assert.deepStrictEqual([...new Set(names)], ["web"])
    }))

  it.scopedLive("may need discovery and the registrations: no circle of Layers [parity 22]", () =>
    Effect.gen(function*() {
      const issuers: Array<string> = []
      const assertions = ClientAssertions.layer(() =>
        Effect.gen(function*() {
          const { login } = yield* (yield* OidcClients.OidcClients).get("web")
          issuers.push((yield* (yield* AuthorizationServer.AuthorizationServer).metadata(login)).issuer)
          return Option.none()
        })
      )
      const provider = yield* Attack.start({}, {
        over: (clients) =>
          assertions.pipe(
            Layer.provide(AuthorizationServer.layer()),
            Layer.provide(FetchHttpClient.layer),
            Layer.provide(clients)
          )
      })
      yield* Attack.login(provider.app, provider.browser)
      yield* isSomebody(provider.app, provider.browser)
      assert.deepStrictEqual([...new Set(issuers)], [provider.provider.issuer])
    }))
})

describe("proofs of possession", () => {
  it.scopedLive("begin at the login: it names the thumbprint of the key [parity 150]", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* Attack.start({ dpop: true })
      yield* Attack.login(app, browser)
      const jkt = provider.asked[0]?.parameters.get("dpop_jkt")
      assert.match(jkt ?? "", /^[\w-]{43}$/)
      const proof = provider.requests("/token")[0]?.headers.dpop
      const { jwk } = jose.decodeProtectedHeader(String(proof))
      assert.strictEqual(yield* Effect.promise(() => jose.calculateJwkThumbprint(jwk ?? {}, "sha256")), jkt)
    }))

  it.scopedLive("are of another key in each session, and of one's own where that is given", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* Attack.start({ dpop: true })
      yield* Attack.login(app, browser)
      yield* Attack.login(app, browser)
      const [one, other] = provider.asked.map(({ parameters }) => parameters.get("dpop_jkt"))
      assert.notStrictEqual(one, other)
      const { privateKey } = yield* keyPair
      const own = yield* Attack.start({ dpop: privateKey })
      yield* Attack.login(own.app, own.browser)
      yield* Attack.login(own.app, own.browser)
      const [first, second] = own.provider.asked.map(({ parameters }) => parameters.get("dpop_jkt"))
      assert.isString(first)
      assert.strictEqual(first, second)
    }))

  it.scopedLive("take the nonce that a refresh is refused for [parity 151]", () =>
    Effect.gen(function*() {
      const { app, browser, server } = yield* start({ client: { dpop: true }, server: { dpop: "nonces" } })
      yield* signIn(app, browser)
      const nonceless = server.requests().filter(({ error }) => error === "use_dpop_nonce").length
      assert.strictEqual(nonceless, 1)
      assert.strictEqual((yield* tokenOf(app, browser, "?force")).type, "DPoP")
    }))

  it.scopedLive("carry the server's new nonce when a refresh is tried again [parity 152]", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* Attack.start({ dpop: true })
      provider.bend.nonce = "first-nonce"
      yield* Attack.login(app, browser)
      provider.bend.nonce = "second-nonce"
      provider.bend.token = (honest, seen) => {
        if (seen.form.get("grant_type") !== "refresh_token") return honest
        const proof = jose.decodeJwt(String(seen.headers.dpop))
        return proof.nonce === "second-nonce"
          ? { body: { access_token: "renewed", token_type: "DPoP", expires_in: 60 } }
          : { status: 400, headers: { "dpop-nonce": "second-nonce" }, body: { error: "invalid_dpop_proof" } }
      }
      assert.strictEqual((yield* tokenOf(app, browser, "?force")).accessToken, "renewed")
      const refreshes = provider.requests("/token").filter(({ form }) => form.has("refresh_token"))
      const nonces = refreshes.map(({ headers }) => jose.decodeJwt(String(headers.dpop)).nonce)
      assert.deepStrictEqual(nonces, ["first-nonce", "second-nonce"])
    }))
})
