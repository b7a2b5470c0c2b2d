import { AccessTokenHttpClient, type OAuthError, type TokenRequestParameters, TokenRetriever } from "@effect-oauth/core"
import { OidcClients, UserAccessTokenHttpClient, UserTokenManager, UserTokens } from "@effect-oauth/oidc"
import { HttpClientRequest } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Layer, Redacted, TestClock } from "effect"
import { Browser } from "./support/browser.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

type Parameters = UserTokenManager.UserTokenRequestParameters

/** Those that a token server of the test is asked with, in its tokens. */
const describing = (server: Server.TokenServer): void => {
  server.answer = ({ parameters: { parameters, partition, resource, scope } }, number) =>
    Effect.succeed({
      access: Buffer.from(JSON.stringify({ parameters, partition, resource, scope, number })).toString("base64url"),
      lifetime: 100,
      refresh: `refresh-${number}`
    })
}

const signedIn = (options: Web.Options = {}) =>
  Effect.gen(function*() {
    const server = Server.make()
    describing(server)
    const web = yield* Web.start({ ...options, server })
    const browser = new Browser()
    yield* web.signIn(browser)
    return { server, web, browser }
  })

/** Each of them asks for another token than the one beside it. */
const pairs: ReadonlyArray<readonly [string, Parameters, Parameters]> = [
  ["a parameter", { parameters: { tenant: "a" } }, { parameters: { tenant: "b" } }],
  ["the name of a parameter", { parameters: { tenant: "a" } }, { parameters: { organization: "a" } }],
  ["one parameter more", { parameters: { tenant: "a" } }, { parameters: { tenant: "a", more: "b" } }],
  ["what a parameter holds", { parameters: { tenant: "a\",\"b" } }, { parameters: { tenant: ["a", "b"] } }],
  ["the order within a parameter", { parameters: { path: ["a", "b"] } }, { parameters: { path: ["b", "a"] } }],
  ["a parameter and nothing", { parameters: { tenant: "a" } }, {}],
  ["a partition", { partition: "a" }, { partition: "b" }],
  ["a partition and nothing", { partition: "a" }, {}],
  ["an empty partition and nothing", { partition: "" }, {}],
  ["halves of characters", { partition: "\ud800" }, { partition: "\ud801" }],
  ["a half of a character in a parameter", { parameters: { t: "\ud800" } }, { parameters: { t: "\ufffd" } }],
  ["a partition and a parameter", { partition: "a" }, { parameters: { partition: "a" } }],
  ["one resource and two", { resource: "urn:a urn:b" }, { resource: ["urn:a", "urn:b"] }],
  ["a resource and a scope", { resource: "urn:a" }, { scope: "urn:a" }],
  ["a partition that looks like a scope", { scope: "a", partition: "b" }, { scope: "a b" }]
]

describe("the address of a user's token", () => {
  for (const [what, one, other] of pairs) {
    it(`depends on ${what}`, () => assert.notStrictEqual(UserTokens.addressOf(one), UserTokens.addressOf(other)))
  }

  it("does not depend on the order of resources, scopes and names, nor on how one value is written", () => {
    const texts = FastCheck.array(FastCheck.string(), { minLength: 1, maxLength: 3 })
    const parameters = FastCheck.dictionary(FastCheck.string(), FastCheck.oneof(FastCheck.string(), texts))
    FastCheck.assert(
      FastCheck.property(texts, parameters, FastCheck.option(FastCheck.string()), (resource, all, one) => {
        const partition = one ?? undefined
        const reversed = Object.fromEntries(
          Object.entries(all).reverse().map(([name, value]) => [name, typeof value === "string" ? [value] : value])
        )
        assert.strictEqual(
          UserTokens.addressOf({ resource, parameters: all, partition, scope: "a b" }),
          UserTokens.addressOf({
            resource: [...resource, ...resource].reverse(),
            parameters: reversed,
            partition,
            scope: "b a b"
          })
        )
      })
    )
  })

  it("is that of the login where nothing is asked for", () => {
    for (const nothing of [{}, { resource: [] }, { parameters: {} }, { scope: undefined, partition: undefined }]) {
      assert.strictEqual(UserTokens.addressOf(nothing), "")
    }
  })

  it("is another one for other things asked for", () => {
    const text = FastCheck.oneof(
      FastCheck.string(),
      FastCheck.constantFrom("a", "b", "a b", "\ud800", "\udc00", "[", "\"")
    )
    const asked = FastCheck.record({
      resource: FastCheck.uniqueArray(text, { minLength: 1, maxLength: 2 }),
      parameters: FastCheck.dictionary(text, FastCheck.array(text, { maxLength: 2 }), { maxKeys: 2 }),
      partition: FastCheck.option(text, { nil: undefined })
    })
    const canonical = (
      { parameters, partition, resource }: typeof asked extends FastCheck.Arbitrary<infer A> ? A : never
    ) => JSON.stringify([[...resource].sort(), Object.entries(parameters).sort(), partition])
    FastCheck.assert(FastCheck.property(asked, asked, (one, other) => {
      assert.strictEqual(UserTokens.addressOf(one) === UserTokens.addressOf(other), canonical(one) === canonical(other))
    }))
  })
})

for (const [kind, provide] of [["in cookies", undefined], ["on the server", Web.memory]] as const) {
  describe(`what a user's token is asked for with, with sessions ${kind}`, () => {
    for (const [what, one, other] of pairs) {
      it.scoped(`keeps tokens apart: ${what}`, () =>
        Effect.gen(function*() {
          const { browser, web } = yield* signedIn({ provide })
          const first = Server.valueOf(yield* web.get(browser, one))
          const second = Server.valueOf(yield* web.get(browser, other))
          assert.notStrictEqual(first, second)
          assert.strictEqual(Server.valueOf(yield* web.get(browser, one)), first)
          assert.strictEqual(Server.valueOf(yield* web.get(browser, other)), second)
        }))

      it.scoped(`keeps refreshes that run at once apart: ${what}`, () =>
        Effect.gen(function*() {
          const { browser, server, web } = yield* signedIn({ provide })
          const get = (parameters: Parameters) =>
            Effect.map(UserTokenManager.get({ ...parameters, forceRenewal: true }), Server.valueOf)
          const values = yield* web.visit(browser, () =>
            Effect.all([get(one), get(other), get(one), get(other)], { concurrency: "unbounded" }))
          assert.deepStrictEqual([values[2], values[3]], [values[0], values[1]])
          assert.notStrictEqual(values[0], values[1])
          assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1"])
        }))
    }

    it.scoped("is sent, but for the partition", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* signedIn({ provide })
        yield* web.get(browser, { partition: "a", parameters: { tenant: "a" }, resource: "urn:a", scope: "read" })
        assert.deepInclude(server.asked[0]?.parameters, {
          parameters: { tenant: "a" },
          resource: "urn:a",
          scope: "read",
          partition: "a"
        })
      }))

    it.scoped("is what the token is renewed with, revoked by and forgotten by", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* signedIn({ provide })
        const a: Parameters = { parameters: { tenant: "a" } }
        const b: Parameters = { parameters: { tenant: "b" } }
        const [ofA, ofB] = [yield* web.get(browser, a), yield* web.get(browser, b)]
        const renewed = yield* web.visit(browser, () =>
          Effect.flatMap(UserTokenManager.UserTokenManager, (manager) => manager.renew(ofA.accessToken, a)))
        assert.include(Buffer.from(Server.valueOf(renewed), "base64url").toString(), `"tenant":"a"`)
        assert.notStrictEqual(Server.valueOf(renewed), Server.valueOf(ofA))
        assert.strictEqual(Server.valueOf(yield* web.get(browser, b)), Server.valueOf(ofB))
        yield* web.visit(browser, () =>
          UserTokenManager.revoke({ ...b, token: "access" }))
        assert.deepStrictEqual(server.revoked.map(({ token }) => token), [Server.valueOf(ofB)])
        assert.strictEqual(Server.valueOf(yield* web.get(browser, a)), Server.valueOf(renewed))
        assert.notStrictEqual(Server.valueOf(yield* web.get(browser, b)), Server.valueOf(ofB))
      }))

    it.scoped("may be changed by the caller later: what was asked for stays", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* signedIn({ provide })
        const mutable: { tenant: string; list: Array<string> } = { tenant: "a", list: ["a"] }
        const { answer } = server
        server.answer = (asked, number) => {
          mutable.tenant = "b"
          mutable.list.push("b")
          return answer(asked, number)
        }
        const first = Server.valueOf(yield* web.get(browser, { parameters: mutable }))
        assert.strictEqual(
          Server.valueOf(yield* web.get(browser, { parameters: { tenant: "a", list: "a" } })),
          first
        )
        assert.strictEqual(server.asked.length, 1)
      }))
  })
}

type Customize = TokenRetriever.Customize<OAuthError.AccessTokenError>

const customizer = (customize: Customize) => Web.given(Layer.succeed(TokenRetriever.TokenRequestCustomizer, customize))

const context = (parameters?: TokenRequestParameters.TokenRequestParameters): TokenRetriever.RequestContext => ({
  method: "GET",
  url: "https://api.test/",
  headers: HttpClientRequest.get("https://api.test/").headers,
  forceRenewal: false,
  parameters,
  rejected: undefined
})

const retrieve = (request: TokenRetriever.RequestContext, customize?: Customize) =>
  Effect.flatMap(UserAccessTokenHttpClient.retriever({}, customize), (retriever) => retriever(request))

describe("a customizer that puts the tenant into", () => {
  for (
    const [where, change] of [
      ["the partition", (tenant: string) => ({ partition: tenant })],
      ["a parameter", (tenant: string) => ({ parameters: { tenant } })]
    ] as const
  ) {
    it.scoped(`${where} keeps tenants apart, for calls and by hand`, () =>
      Effect.gen(function*() {
        let tenant = "a"
        const provide = customizer((_, parameters) => Effect.succeed({ ...parameters, ...change(tenant) }))
        const { browser, web } = yield* signedIn({ provide })
        const byCall = () =>
          Effect.map(web.visit(browser, () => retrieve(context())), ({ value }) => Redacted.value(value))
        const byHand = () => Effect.map(web.get(browser), Server.valueOf)
        const ofA = yield* byCall()
        tenant = "b"
        const ofB = yield* byCall()
        assert.notStrictEqual(ofA, ofB)
        assert.strictEqual(yield* byHand(), ofB)
        tenant = "a"
        assert.strictEqual(yield* byHand(), ofA)
        assert.strictEqual(yield* byCall(), ofA)
      }))
  }
})

const exchange = { _tag: "Extension", grantType: "urn:g", parameters: {} } as const

describe("what a user's token cannot be kept under", () => {
  const refused: ReadonlyArray<readonly [string, TokenRequestParameters.TokenRequestParameters, string]> = [
    ["a grant", { grant: exchange }, "grant"],
    ["authorization details", { authorizationDetails: [{ type: "payment" }] }, "authorizationDetails"],
    ["a secret parameter", { parameters: { pin: Redacted.make("a-secret-pin") } }, "parameters.pin"]
  ]

  for (const [what, parameters, field] of refused) {
    it.scoped(`fails the request, wherever it comes from: ${what}`, () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* signedIn({ provide: customizer(() => Effect.succeed(parameters)) })
        const plain = yield* signedIn()
        const errors = [
          yield* Effect.flip(web.get(browser)),
          yield* Effect.flip(web.visit(browser, () => retrieve(context()))),
          yield* Effect.flip(plain.web.visit(plain.browser, () => retrieve(context(parameters)))),
          yield* Effect.flip(
            plain.web.visit(plain.browser, () => retrieve(context(), () => Effect.succeed(parameters)))
          ),
          yield* Effect.flip(plain.web.get(plain.browser, parameters as Parameters))
        ]
        for (const error of errors) {
          assert.deepInclude({ ...error }, { _tag: "TokenRequestInvalid", field, clientName: "web" })
          assert.notInclude(`${error.message} ${JSON.stringify(error)}`, "a-secret-pin")
        }
        assert.deepStrictEqual([server.asked, plain.server.asked], [[], []])
      }))
  }

  for (
    const [what, parameters, field] of [
      ["a number as resource", { resource: 5 }, "resource"],
      ["nothing as parameters", { parameters: null }, "parameters"],
      ["a number as parameter", { parameters: { a: 1 } }, "parameters.a"],
      ["a number as scope", { scope: 5 }, "scope"],
      ["an object as partition", { partition: {} }, "partition"],
      ["a parameter of the protocol", { parameters: { grant_type: "x" } }, "parameters.grant_type"]
    ] as const
  ) {
    it.scoped(`is a typed error, too: ${what}`, () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* signedIn()
        const unchecked: unknown = parameters
        const error = yield* Effect.flip(web.get(browser, unchecked as Parameters))
        assert.deepInclude({ ...error }, { _tag: "TokenRequestInvalid", field })
        assert.deepStrictEqual(server.asked, [])
      }))
  }
})

describe("a token of the program's own that is asked for by hand inside a web request", () => {
  it.scoped("has no grant where the customizer leaves it out", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn({ provide: customizer(() => Effect.succeed({ scope: "s" })) })
      const grant = { _tag: "Extension", grantType: "urn:g", parameters: { subject_token: "t" } } as const
      yield* web.visit(browser, () =>
        OidcClients.clientCredentialsToken(undefined, { grant, authorizationDetails: [{ type: "payment" }] }))
      assert.deepInclude(server.asked[0]?.parameters, { scope: "s" })
      assert.strictEqual(server.asked[0]?.parameters.grant, undefined)
      assert.strictEqual(server.asked[0]?.parameters.authorizationDetails, undefined)
    }))
})

describe("calls on behalf of a user", () => {
  it.scoped("carry the token of their own parameters", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn()
      const ofTenant = (tenant: string) =>
        web.visit(browser, () =>
          AccessTokenHttpClient.withRequestOptions({ parameters: { partition: tenant } })(
            retrieve(context({ partition: tenant }))
          ))
      const [a, b] = [yield* ofTenant("a"), yield* ofTenant("b")]
      assert.notStrictEqual(Redacted.value(a.value), Redacted.value(b.value))
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(Redacted.value((yield* ofTenant("a")).value), Redacted.value(a.value))
      assert.strictEqual(server.asked.length, 2)
    }))
})
