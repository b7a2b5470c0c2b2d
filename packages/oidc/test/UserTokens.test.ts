import { UserTokens, UserTokenStore } from "@effect-oauth/oidc"
import { cases } from "@effect-oauth/oidc/testing/UserTokenStoreContract"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Layer, Option, Redacted, Schema } from "effect"
import { Browser } from "./support/browser.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

const token = (access: string, lifetime?: number) => Server.accessToken({ access, lifetime }, 0, "thumbprint")

const of = (...tokens: ReadonlyArray<readonly [UserTokens.Address, string]>) =>
  tokens.reduce(
    (all, [address, access]) => UserTokens.set(all, address, token(access), 0),
    new UserTokens.UserTokens({
      accessTokens: {},
      refreshToken: Redacted.make("refresh"),
      idToken: Redacted.make("id"),
      key: Redacted.make("{\"kty\":\"EC\"}")
    })
  )

const access = (tokens: UserTokens.UserTokens, address: UserTokens.Address) =>
  Option.getOrUndefined(Option.map(UserTokens.get(tokens, address), Server.valueOf))

describe("the tokens of a sign-in", () => {
  it("are all there again after they were written down [parity 74]", () => {
    const text = Schema.Struct({ tokens: UserTokens.UserTokens })
    const before = of([{}, "a"], [{ resource: "urn:r", scope: "s" }, "b"])
    const { tokens } = Schema.decodeSync(text)(Schema.encodeSync(text)({ tokens: before }))
    assert.deepStrictEqual(
      Schema.encodeSync(UserTokens.UserTokens)(tokens),
      Schema.encodeSync(UserTokens.UserTokens)(before)
    )
    const found = Option.getOrThrow(UserTokens.get(tokens, {}))
    assert.strictEqual(Server.valueOf(found), "a")
    assert.strictEqual(found.accessToken.type, "Bearer")
    assert.strictEqual(found.accessToken.clientName, "web")
    assert.strictEqual(found.accessToken.keyThumbprint, "thumbprint")
    assert.strictEqual(Server.textOf(found.refreshToken), "refresh")
    assert.strictEqual(Server.textOf(found.idToken), "id")
    assert.strictEqual(tokens.key === undefined ? "" : Redacted.value(tokens.key), "{\"kty\":\"EC\"}")
  })

  it("are one for each resource, with one refresh token and key [parity 76]", () => {
    const tokens = of([{ resource: "urn:a" }, "a"], [{ resource: "urn:b" }, "b"])
    assert.strictEqual(access(tokens, { resource: "urn:a" }), "a")
    assert.strictEqual(access(tokens, { resource: "urn:b" }), "b")
    assert.strictEqual(access(tokens, {}), undefined)
    assert.strictEqual(Redacted.value(tokens.refreshToken!), "refresh")
  })

  it("leave nothing when the last one is removed [parity 78]", () => {
    const tokens = UserTokens.remove(of([{ resource: "urn:a" }, "a"]), { resource: "urn:a" })
    assert.deepStrictEqual(Schema.encodeSync(UserTokens.UserTokens)(tokens), { accessTokens: {} })
  })

  it("without the access token alone keep the rest", () => {
    const tokens = UserTokens.withoutAccessToken(of([{}, "a"]), {})
    assert.strictEqual(access(tokens, {}), undefined)
    assert.strictEqual(Redacted.value(tokens.refreshToken!), "refresh")
    assert.strictEqual(UserTokens.withoutRefreshToken(tokens).refreshToken, undefined)
  })

  it("have an address that no order and no repetition changes", () => {
    const words = FastCheck.array(FastCheck.stringMatching(/^[a-z]{1,3}$/), { minLength: 1, maxLength: 4 })
    FastCheck.assert(FastCheck.property(words, words, (resource, scopes) => {
      const scope = scopes.join(" ")
      assert.strictEqual(
        UserTokens.addressOf({ resource, scope }),
        UserTokens.addressOf({ resource: [...resource, ...resource].reverse(), scope: [...scopes].reverse().join(" ") })
      )
      assert.notStrictEqual(UserTokens.addressOf({ resource }), UserTokens.addressOf({ scope: resource.join(" ") }))
      assert.notStrictEqual(UserTokens.addressOf({ resource }), UserTokens.addressOf({}))
    }))
    assert.strictEqual(UserTokens.addressOf({ resource: "urn:a" }), UserTokens.addressOf({ resource: ["urn:a"] }))
  })

  it("do not grow without end: 20, of which those go first that have ended or end first", () => {
    let tokens = UserTokens.set(UserTokens.empty, { scope: "over" }, token("over", 1), 0)
    for (let number = 0; number < 25; number++) {
      tokens = UserTokens.set(tokens, { scope: `s${number}` }, token(String(number), 100 + number), 2000)
    }
    assert.lengthOf(Object.keys(tokens.accessTokens), 20)
    assert.strictEqual(access(tokens, { scope: "over" }), undefined)
    assert.strictEqual(access(tokens, { scope: "s4" }), undefined)
    assert.strictEqual(access(tokens, { scope: "s5" }), "5")
    assert.strictEqual(access(tokens, { scope: "s24" }), "24")
  })
})

/** A store of its own, as a program would write one; all that are opened over one map are processes of one program. */
const own = () => {
  const kept = new Map<string, UserTokenStore.KeptTokens>()
  let versions = 0
  const keyOf = (session: { readonly key: string | undefined }, clientName: string) => `${session.key} ${clientName}`
  const store: UserTokenStore.UserTokenStore["Type"] = {
    get: (session, clientName) => Effect.sync(() => Option.fromNullable(kept.get(keyOf(session, clientName)))),
    set: (session, clientName, tokens, ifVersion) =>
      Effect.sync(() => {
        const key = keyOf(session, clientName)
        if (ifVersion !== null && kept.get(key)?.version !== ifVersion) return false
        kept.set(key, { tokens, version: String(++versions) })
        return true
      }),
    clear: (session, clientName) => Effect.sync(() => void kept.delete(keyOf(session, clientName)))
  }
  return store
}

const kinds = [
  ["the session's, in a cookie", () => undefined],
  ["the session's, on the server", () => Web.memory],
  ["one of its own", () => Web.given(Layer.merge(Layer.succeed(UserTokenStore.UserTokenStore, own()), Web.memory))]
] as const

for (const [kind, provide] of kinds) {
  describe(`the store of user tokens, ${kind}`, () => {
    const signIns = (web: Web.Web, ...clientNames: ReadonlyArray<string>) =>
      Effect.gen(function*() {
        const browser = new Browser()
        for (const clientName of clientNames) {
          yield* web.signIn(browser, { principal: Web.principal("alice", { clientName }) })
        }
        return browser
      })
    const clients = { web: { ...Web.client, default: true }, other: Web.client }

    for (const { name, run } of cases) {
      it.scoped(name, () =>
        Effect.gen(function*() {
          const web = yield* Web.start({ clients, provide: provide() })
          const open = Effect.flatMap(signIns(web, "web", "other"), (browser) =>
            web.visit(browser, ({ session }) => Effect.succeed(session)))
          const store = yield* Effect.provide(UserTokenStore.UserTokenStore, web.context)
          yield* run({ store, open, clientNames: ["web", "other"] })
        }))
    }

    it.scoped("keeps the tokens of two clients and two resources apart [parity 75, 77, 79, 80]", () =>
      Effect.gen(function*() {
        const web = yield* Web.start({ clients, provide: provide() })
        const browser = yield* signIns(web, "web", "other")
        yield* web.visit(browser, ({ session }) =>
          Effect.gen(function*() {
            const store = yield* UserTokenStore.UserTokenStore
            const tokensOf = (clientName: string) =>
              Effect.map(Effect.flatten(store.get(session, clientName)), ({ tokens }) => tokens)
            const write = (clientName: string) =>
              UserTokenStore.update(store, session, clientName, () =>
                of([{ resource: "urn:1" }, `${clientName}-1`], [{ resource: "urn:2" }, `${clientName}-2`]))
            yield* write("web")
            yield* write("other")
            assert.strictEqual(access(yield* tokensOf("web"), { resource: "urn:1" }), "web-1")
            assert.strictEqual(access(yield* tokensOf("other"), { resource: "urn:2" }), "other-2")
            yield* UserTokenStore.update(store, session, "web", (tokens) =>
              UserTokens.remove(tokens, { resource: "urn:1" }))
            yield* UserTokenStore.update(store, session, "other", (tokens) =>
              UserTokens.remove(tokens, { resource: "urn:2" }))
            const [ours, theirs] = [yield* tokensOf("web"), yield* tokensOf("other")]
            assert.deepStrictEqual(
              [access(ours, { resource: "urn:1" }), access(ours, { resource: "urn:2" })],
              [undefined, "web-2"]
            )
            assert.deepStrictEqual(
              [access(theirs, { resource: "urn:1" }), access(theirs, { resource: "urn:2" })],
              ["other-1", undefined]
            )
            assert.isDefined(ours.refreshToken)
            yield* UserTokenStore.update(store, session, "web", (tokens) =>
              UserTokens.remove(tokens, { resource: "urn:2" }))
            assert.strictEqual((yield* tokensOf("web")).refreshToken, undefined)
            assert.strictEqual((yield* tokensOf("web")).key, undefined)
            assert.isDefined((yield* tokensOf("other")).refreshToken)
          }))
      }))

    it.scoped("serves the manager: renews, forgets at the end of the session", () =>
      Effect.gen(function*() {
        const server = Server.make()
        const web = yield* Web.start({ clients, server, provide: provide() })
        const browser = yield* signIns(web, "web")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        assert.strictEqual(Server.valueOf(yield* web.get(browser, { forceRenewal: true })), "access-1")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
        server.answer = () => Effect.fail(Server.refusal("invalid_grant"))
        const error = yield* Effect.flip(web.get(browser, { forceRenewal: true }))
        assert.deepInclude(error, { _tag: "SessionEnded", reason: "Refused" })
        assert.strictEqual(yield* web.whoIs(browser), undefined)
      }))
  })
}
