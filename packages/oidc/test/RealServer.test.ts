/** Users' tokens at a real provider that rotates refresh tokens and detects their reuse. */
import { SessionStore, UserTokenStore } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { exportJWK, generateKeyPair } from "jose"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { hashOf } from "../../../examples/servers/users/refreshes.ts"
import * as App from "./support/app.ts"

interface Token {
  readonly error?: string
  readonly accessToken: string
  readonly type: string
  readonly refreshToken: string
}

const signedIn = <P = never>(options: App.Options<P> = {}) =>
  Effect.gen(function*() {
    const app = yield* App.start(options)
    const browser = new UserAgent()
    yield* Effect.promise(() => browser.signIn(`${app.url}/auth/login`, "alice"))
    const get = (query = "", agent = browser) =>
      Effect.promise(async () => JSON.parse((await agent.go(`${app.url}/token?${query}`)).body) as Token)
    return { ...app, browser, get }
  })

/** The same browser in another of its connections: it has the cookies of now, and not those of later answers. */
const copyOf = (browser: UserAgent) => {
  const copy = new UserAgent()
  for (const [host, jar] of browser.jars) copy.jars.set(host, new Map(jar))
  return copy
}

const kinds = [["in cookies", undefined], ["on the server", SessionStore.layerMemory]] as const
const resources = ["urn:api:a", "urn:api:b", "urn:api:c"]

for (const [kind, provide] of kinds) {
  const start = (options: App.Options<SessionStore.SessionStore> = {}) =>
    signedIn({ ...options, ...(provide === undefined ? {} : { provide }) })

  describe(`sessions ${kind}, at a real provider`, () => {
    it.scopedLive("100 requests at once send the refresh token once; the browser's next refresh works", () =>
      Effect.gen(function*() {
        const { browser, get, server } = yield* start()
        const before = yield* get()
        const copies = Array.from({ length: 100 }, () => copyOf(browser))
        const all = yield* Effect.forEach(copies, (copy) => get("force", copy), { concurrency: "unbounded" })
        assert.strictEqual(all.filter(({ accessToken }) => typeof accessToken === "string").length, 100)
        yield* get("force", copies[50])
        const seen = server.refreshes()
        assert.isTrue(seen.every(({ outcome, reused }) => outcome === "ok" && !reused), JSON.stringify(seen))
        assert.strictEqual(new Set(seen.map(({ token }) => token)).size, seen.length)
        assert.isTrue(seen.some(({ token }) => token === hashOf(before.refreshToken)))
      }))

    it.scopedLive("resources that are asked for at once each get their own token", () =>
      Effect.gen(function*() {
        const { browser, get, server } = yield* start({ client: { resource: resources } })
        const all = yield* Effect.forEach(
          [...resources, ...resources],
          (resource) => get(`resource=${resource}`, copyOf(browser)),
          { concurrency: "unbounded" }
        )
        const audiences = all.map(({ accessToken }) =>
          JSON.parse(Buffer.from(accessToken.split(".")[1] ?? "", "base64url").toString()).aud as string
        )
        assert.deepStrictEqual(audiences, [...resources, ...resources])
        assert.strictEqual(server.refreshes().length, 3)
        assert.isTrue(server.refreshes().every(({ outcome }) => outcome === "ok"))
      }))

    it.scopedLive("a user without consent any more is signed out at the next refresh", () =>
      Effect.gen(function*() {
        const { browser, get, server, url } = yield* start()
        yield* server.revokeGrant("alice")
        assert.deepInclude(yield* get("force"), { error: "SessionEnded" })
        assert.deepInclude(yield* get(), { error: "NoActiveUser" })
        const me = yield* Effect.promise(() => browser.go(`${url}/auth/me`))
        assert.deepStrictEqual(JSON.parse(me.body), { signedIn: false })
        assert.deepStrictEqual(server.refreshes().map(({ outcome }) => outcome), ["invalid_grant"])
      }))

    it.scopedLive("signing out revokes the refresh token [parity 144]", () =>
      Effect.gen(function*() {
        const { browser, get, server, url } = yield* start()
        const refreshToken = Redacted.make((yield* get()).refreshToken)
        assert.isTrue(yield* server.isActive(refreshToken))
        yield* Effect.promise(() => browser.post(`${url}/auth/logout`))
        assert.isFalse(yield* server.isActive(refreshToken))
        assert.deepInclude(yield* get(), { error: "NoActiveUser" })
      }))

    it.scopedLive("a refresh goes on when the browser hangs up, and the session lives", () =>
      Effect.gen(function*() {
        let release = () => {}
        const held = new Promise<void>((resolve) => {
          release = resolve
        })
        const { browser, get, server, url } = yield* start({
          server: {
            configuration: {
              // Answers the first refresh when it is told to.
              rotateRefreshToken: async () => {
                await held
                return true
              }
            }
          }
        })
        const controller = new AbortController()
        const requests = server.tokenRequests()
        const left = copyOf(browser).send(`${url}/token?force`, { signal: controller.signal }).catch(() => "hung up")
        yield* Effect.promise(async () => {
          while (server.tokenRequests() === requests) await new Promise((resolve) => setImmediate(resolve))
        })
        controller.abort()
        assert.strictEqual(yield* Effect.promise(() => left), "hung up")
        release()
        const next = yield* get("force")
        assert.strictEqual(next.type, "Bearer")
        assert.isTrue(server.refreshes().every(({ outcome, reused }) => outcome === "ok" && !reused))
      }))
  })
}

describe("at a real provider", () => {
  it.scopedLive("login and refresh work with assertions in place of a secret [parity 145, 146]", () =>
    Effect.gen(function*() {
      const pair = yield* Effect.promise(() => generateKeyPair("ES256", { extractable: true }))
      const [jwk, publicJwk] = yield* Effect.promise(() =>
        Promise.all([exportJWK(pair.privateKey), exportJWK(pair.publicKey)])
      )
      const { get, server } = yield* signedIn({
        client: { clientSecret: undefined, privateKey: Redacted.make(JSON.stringify({ ...jwk, alg: "ES256" })) },
        registration: {
          client_secret: undefined,
          token_endpoint_auth_method: "private_key_jwt",
          jwks: { keys: [{ ...publicJwk, alg: "ES256", use: "sig" }] }
        }
      })
      assert.strictEqual((yield* get("force")).type, "Bearer")
      const tokenRequests = server.requests().filter(({ path }) => path === "/token")
      assert.lengthOf(tokenRequests, 2)
      assert.strictEqual(new Set(tokenRequests.map(({ assertion }) => assertion?.id)).size, 2)
      assert.isFalse(tokenRequests.some(({ fields }) => fields.includes("client_secret")))
    }))

  it.scopedLive("tokens of a session are bound to a key of its own, and renewed with it", () =>
    Effect.gen(function*() {
      const { get, server } = yield* signedIn({ client: { dpop: true }, server: { dpop: "nonces" } })
      assert.strictEqual((yield* get()).type, "DPoP")
      assert.strictEqual((yield* get("force")).type, "DPoP")
      assert.isTrue(server.refreshes().some(({ outcome }) => outcome === "ok"))
    }))

  it.scopedLive("a second sign-in with another client keeps the first one's tokens in a store of its own", () =>
    Effect.gen(function*() {
      const kept = new Map<string, UserTokenStore.KeptTokens>()
      let versions = 0
      const store: UserTokenStore.UserTokenStore["Type"] = {
        get: ({ key }, name) => Effect.sync(() => Option.fromNullable(kept.get(`${key} ${name}`))),
        set: ({ key }, name, tokens, ifVersion) =>
          Effect.sync(() => {
            if (ifVersion !== null && kept.get(`${key} ${name}`)?.version !== ifVersion) return false
            kept.set(`${key} ${name}`, { tokens, version: String(++versions) })
            return true
          }),
        clear: ({ key }, name) => Effect.sync(() => void kept.delete(`${key} ${name}`))
      }
      const client = { clientId: "web", clientSecret: Redacted.make(App.secret), prompt: "consent" }
      const { browser, get, url } = yield* signedIn({
        provide: Layer.merge(Layer.succeed(UserTokenStore.UserTokenStore, store), SessionStore.layerMemory),
        clients: (issuer) => ({ one: { ...client, issuer, default: true }, two: { ...client, issuer } })
      })
      const before = yield* get("client=one")
      yield* Effect.promise(() => browser.signIn(`${url}/auth/login?client=two`, "alice"))
      const [one, two] = [yield* get("client=one"), yield* get("client=two")]
      assert.strictEqual(one.accessToken, before.accessToken)
      assert.notStrictEqual(two.accessToken, one.accessToken)
    }))
})
