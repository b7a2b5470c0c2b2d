import type { OidcError } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as jose from "jose"
import { createHmac } from "node:crypto"
import { everybody, isRefused, isSomebody, login, start } from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import * as WebApp from "./support/webApp.ts"

type Reason = OidcError.IdTokenInvalid["reason"]
type Bends = (bend: Provider.Bend, provider: Provider.Provider) => void

const json = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")

const withClaims = (claims: Provider.Json): Bends => (bend) => {
  bend.claims = (honest) => ({ ...honest, ...claims })
}

const without = (name: string): Bends => (bend) => {
  bend.claims = ({ [name]: _, ...rest }) => rest
}

/** Signed with the text of a public key, for servers that let the token choose how it is checked. */
const symmetric = (textOf: (jwk: jose.JWK) => string): Bends => (bend, provider) => {
  bend.idToken = (_, claims) => {
    const { kid, publicJwk } = provider.key()
    const signed = `${json({ alg: "HS256", kid })}.${json(claims)}`
    return `${signed}.${createHmac("sha256", textOf(publicJwk)).update(signed).digest("base64url")}`
  }
}

const byAnotherKey = (header: (kid: string) => Partial<jose.JWTHeaderParameters>): Bends => (bend, provider) => {
  bend.idToken = async (_, claims) => {
    const { privateKey, publicKey } = await jose.generateKeyPair("ES256")
    const jwk = await jose.exportJWK(publicKey)
    return new jose.SignJWT({ ...claims })
      .setProtectedHeader({ alg: "ES256", jwk, ...header(provider.key().kid) })
      .sign(privateKey)
  }
}

const attacks: ReadonlyArray<readonly [what: string, reason: Reason, bends: Bends]> = [
  ["of another issuer", "iss", withClaims({ iss: "https://evil.example" })],
  ["of an issuer that is written otherwise", "iss", (bend) => {
    bend.claims = (honest) => ({ ...honest, iss: `${String(honest.iss)}/` })
  }],
  ["without iss", "iss", without("iss")],
  ["for another client", "aud", withClaims({ aud: "another" })],
  ["without aud", "aud", without("aud")],
  ["for others too, without azp", "azp", withClaims({ aud: ["web", "another"] })],
  ["for others too, with another's azp", "azp", withClaims({ aud: ["web", "another"], azp: "another" })],
  ["for this client, with another's azp", "azp", withClaims({ azp: "another" })],
  ["without sub", "sub", without("sub")],
  ["with an empty sub", "sub", withClaims({ sub: "" })],
  ["with a number for sub", "sub", withClaims({ sub: 1 })],
  ["with another nonce", "nonce", withClaims({ nonce: "another" })],
  ["without nonce", "nonce", without("nonce")],
  ["that has expired", "exp", withClaims({ exp: Provider.seconds() - 61 })],
  ["without exp", "exp", without("exp")],
  ["with a text for exp", "exp", withClaims({ exp: "9999999999" })],
  ["from the future", "iat", withClaims({ iat: Provider.seconds() + 3600 })],
  ["without iat", "iat", without("iat")],
  ["that is not valid yet", "nbf", withClaims({ nbf: Provider.seconds() + 3600 })],
  ["with the hash of another access token", "at_hash", withClaims({ at_hash: "AAAAAAAAAAAAAAAAAAAAAA" })],
  ["without a signature", "form", (bend) => {
    bend.idToken = (_, claims) => `${json({ alg: "none" })}.${json(claims)}.`
  }],
  ["with alg none and a signature", "algorithm", (bend) => {
    bend.idToken = (_, claims) => `${json({ alg: "none" })}.${json(claims)}.AAAA`
  }],
  ["with alg NonE", "algorithm", (bend) => {
    bend.idToken = (_, claims) => `${json({ alg: "NonE" })}.${json(claims)}.AAAA`
  }],
  ["without alg", "algorithm", (bend) => {
    bend.idToken = (_, claims) => `${json({})}.${json(claims)}.AAAA`
  }],
  ["signed symmetrically with the public key as JSON", "algorithm", symmetric((jwk) => JSON.stringify(jwk))],
  ["signed symmetrically with a coordinate of the public key", "algorithm", symmetric(({ x = "" }) => x)],
  ["signed symmetrically with the client's secret", "algorithm", symmetric(() => "the-secret-of-the-client")],
  ["by a key that it brings along", "signature", byAnotherKey((kid) => ({ kid }))],
  ["by a key that it brings along, without a kid", "signature", byAnotherKey(() => ({}))],
  ["by an unknown key", "key", byAnotherKey(() => ({ kid: "unknown" }))],
  ["of another type", "type", (bend) => {
    bend.header = (honest) => ({ ...honest, typ: "logout+jwt" })
  }],
  ["that is an access token", "type", (bend) => {
    bend.header = (honest) => ({ ...honest, typ: "at+jwt" })
  }],
  ["with a critical extension", "form", (bend) => {
    bend.idToken = async (honest) => {
      const [, payload = "", signature = ""] = honest.split(".")
      return `${json({ alg: "ES256", crit: ["x"], x: 1 })}.${payload}.${signature}`
    }
  }],
  ["with other claims than were signed", "signature", (bend) => {
    bend.idToken = (honest, claims) => {
      const [header = "", , signature = ""] = honest.split(".")
      return `${header}.${json({ ...claims, sub: "admin" })}.${signature}`
    }
  }],
  ["that is no JWT", "form", (bend) => {
    bend.idToken = () => "not-a-jwt"
  }],
  ["that is encrypted", "form", (bend) => {
    bend.idToken = (honest) => `${honest}.a.b`
  }],
  ["that is missing", "form", (bend) => {
    bend.idToken = () => undefined
  }]
]

describe("an ID token", () => {
  for (const [what, reason, bends] of attacks) {
    it.scopedLive(`${what} signs nobody in`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start()
        bends(provider.bend, provider)
        yield* isRefused(app, browser, yield* login(app, browser), `IdTokenInvalid/${reason}`)
        assert.notInclude(WebApp.observed(app), "eyJ")
      }))
  }

  it.scopedLive("is signed by a key that came after the others were read", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      yield* login(app, browser)
      yield* provider.rotateKeys("ES384")
      provider.bend.user = "bob"
      provider.bend.claims = ({ at_hash: _, ...rest }) => rest
      yield* login(app, browser)
      yield* isSomebody(app, browser, "bob")
      assert.strictEqual(provider.requests("/jwks").length, 2)
    }))

  it.scopedLive("of a stranger's key makes the keys be read no more than once in 30 seconds", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      byAnotherKey(() => ({ kid: "unknown" }))(provider.bend, provider)
      for (let time = 0; time < 4; time++) yield* login(app, browser)
      assert.strictEqual(app.errors.length, 4)
      assert.isAtMost(provider.requests("/jwks").length, 2)
    }))

  it.scopedLive("has an algorithm that the registration allows", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({ idTokenAlgorithms: ["RS256", "ES384"] })
      yield* isRefused(app, browser, yield* login(app, browser), "IdTokenInvalid/algorithm")
    }))

  it.scopedLive("may be a minute off, and no more than the registration says", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start()
      provider.bend.claims = (honest) => ({
        ...honest,
        iat: Provider.seconds() + 50,
        nbf: Provider.seconds() + 50,
        exp: Provider.seconds() - 50
      })
      yield* login(app, browser)
      yield* isSomebody(app, browser)
      const strict = yield* start({ clockTolerance: "10 seconds" })
      strict.provider.bend.claims = (honest) => ({ ...honest, exp: Provider.seconds() - 50 })
      const page = yield* login(strict.app, strict.browser)
      yield* isRefused(strict.app, strict.browser, page, "IdTokenInvalid/exp")
    }))

  for (
    const [what, reason, bends] of [
      ["says nothing of when", "auth_time", without("auth_time")],
      ["is too long ago", "auth_time", withClaims({ auth_time: Provider.seconds() - 400 })],
      ["was not in the way that is required", "acr", withClaims({ acr: "urn:example:pwd" })],
      ["does not say in which way", "acr", without("acr")]
    ] as const
  ) {
    it.scopedLive(`of a sign-in that ${what} is refused where that is required`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ maxAge: "5 minutes", acrValues: "urn:example:mfa" })
        bends(provider.bend, provider)
        yield* isRefused(app, browser, yield* login(app, browser), `IdTokenInvalid/${reason}`)
      }))
  }
})

describe("userinfo", () => {
  const signed = (provider: Provider.Provider, claims: Provider.Json) => async (honest: Provider.Json) => ({
    headers: { "content-type": "application/jwt" },
    body: await Effect.runPromise(provider.sign({ iss: provider.issuer, aud: "web", ...honest, ...claims }))
  })

  const honest: Bends = () => {}

  for (
    const [what, bends] of [
      ["another user", (bend) => {
        bend.userInfo = (honest) => ({ body: { ...honest, sub: "mallory" } })
      }],
      ["nobody", (bend) => {
        bend.userInfo = () => ({ body: { email: "alice@example.com" } })
      }],
      ["another user, signed", (bend, provider) => {
        bend.userInfo = signed(provider, { sub: "mallory" })
      }],
      ["the user, signed for another client", (bend, provider) => {
        bend.userInfo = signed(provider, { aud: "another" })
      }],
      ["the user, signed by another issuer", (bend, provider) => {
        bend.userInfo = signed(provider, { iss: "https://evil.example" })
      }],
      ["the user, signed and expired", (bend, provider) => {
        bend.userInfo = signed(provider, { exp: Provider.seconds() - 61 })
      }],
      ["the user, signed and not valid yet", (bend, provider) => {
        bend.userInfo = signed(provider, { nbf: Provider.seconds() + 3600 })
      }],
      ["the user, signed with a text for exp", (bend, provider) => {
        bend.userInfo = signed(provider, { exp: "9999999999" })
      }],
      ["the user, with alg none", (bend) => {
        bend.userInfo = (honest) => ({
          headers: { "content-type": "application/jwt" },
          body: `${json({ alg: "none" })}.${json(honest)}.`
        })
      }],
      ["the user, as a list", (bend) => {
        bend.userInfo = (honest) => ({ body: [honest] })
      }],
      ["the user, in something that is no JSON", (bend) => {
        bend.userInfo = () => ({ body: "<html>" })
      }],
      ["the user, with 500", (bend) => {
        bend.userInfo = (honest) => ({ status: 500, body: honest })
      }],
      ["the user, at another address", (bend, provider) => {
        bend.userInfo = () => ({ status: 302, headers: { location: `${provider.issuer}/jwks` } })
      }],
      ["the user, in more than is read", (bend) => {
        bend.userInfo = (honest) => ({ body: { ...honest, more: "x".repeat(3_000_000) } })
      }],
      ["the user, from no endpoint", (bend) => {
        bend.metadata = ({ userinfo_endpoint: _, ...rest }) => rest
      }]
    ] as ReadonlyArray<readonly [string, Bends]>
  ) {
    it.scopedLive(`about ${what} signs nobody in`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ userInfo: true })
        bends(provider.bend, provider)
        yield* isRefused(app, browser, yield* login(app, browser), "UserInfoInvalid")
        assert.propertyVal(app.errors[0], "retryable", what === "the user, with 500")
      }))
  }

  for (
    const [how, bends] of [["plain", honest], ["signed", (bend, provider) => {
      bend.userInfo = signed(provider, {})
    }], ["signed, in its time", (bend, provider) => {
      bend.userInfo = signed(provider, { exp: Provider.seconds() - 50, nbf: Provider.seconds() + 50 })
    }]] as ReadonlyArray<readonly [string, Bends]>
  ) {
    it.scopedLive(`tells more of the user, ${how}; what the ID token says goes before`, () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ userInfo: true })
        bends(provider.bend, provider)
        const { userInfo } = provider.bend
        provider.bend.userInfo = (one, seen) => userInfo({ ...one, name: "Somebody Else" }, seen)
        yield* login(app, browser)
        assert.deepInclude((yield* everybody(app, browser)).web?.claims, {
          email: "alice@example.com",
          name: "Name of alice"
        })
      }))
  }

  it.scopedLive("is asked for with the login's token, once, and not unless the registration says so", () =>
    Effect.gen(function*() {
      const asking = yield* start({ userInfo: true })
      yield* login(asking.app, asking.browser)
      const [seen, ...more] = asking.provider.requests("/userinfo")
      assert.match(seen?.headers.authorization ?? "", /^Bearer access-/)
      assert.deepStrictEqual(more, [])
      const silent = yield* start()
      yield* login(silent.app, silent.browser)
      assert.deepStrictEqual(silent.provider.requests("/userinfo"), [])
    }))
})
