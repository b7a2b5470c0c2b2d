import { AccessTokenHttpClient, SigningKey, TokenRetriever } from "@effect-oauth/core"
import { OAuthError, type TokenRequestParameters } from "@effect-oauth/core"
import { OidcClients, UserAccessTokenHttpClient, UserTokenManager } from "@effect-oauth/oidc"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { Browser } from "./support/browser.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

const url = "https://api.test/invoices?year=2024"

/** An API, and what it was sent. */
const api = (answer: (number: number) => Response = () => Response.json({ fine: true })) => {
  const calls: Array<HttpClientRequest.HttpClientRequest> = []
  const client = HttpClient.make((request) =>
    Effect.sync(() => HttpClientResponse.fromWeb(request, answer(calls.push(request))))
  )
  return {
    client,
    bearers: () => calls.map(({ headers }) => headers.authorization),
    proofs: () => calls.map(({ headers }) => jose.decodeJwt(headers.dpop ?? ""))
  }
}

const unauthorized = (challenge = "Bearer error=\"invalid_token\"") =>
  new Response(null, { status: 401, headers: { "www-authenticate": challenge } })

type Customize = TokenRetriever.Customize<OAuthError.AccessTokenError>

const customizer = (customize: Customize) => Web.given(Layer.succeed(TokenRetriever.TokenRequestCustomizer, customize))

const signedIn = (options: Web.Options = {}) =>
  Effect.gen(function*() {
    const server = options.server ?? Server.make()
    const web = yield* Web.start({ ...options, server })
    const browser = new Browser()
    yield* web.signIn(browser)
    return { server, web, browser }
  })

/** The middleware of either fixture, over the same API. */
const fixtures = {
  user: (options?: UserAccessTokenHttpClient.Options<OAuthError.AccessTokenError>) =>
    UserAccessTokenHttpClient.make({}, options),
  machine: (options?: AccessTokenHttpClient.Options & { readonly customize?: Customize }) =>
    AccessTokenHttpClient.clientCredentials(OidcClients.tokenClientName("web"), {}, options)
}

describe("calls on behalf of a user", () => {
  const call = (web: Web.Web, browser: Browser, client: HttpClient.HttpClient, force = false) =>
    web.visit(browser, () =>
      Effect.flatMap(fixtures.user(), (withToken) => {
        const sent = client.pipe(withToken).execute(HttpClientRequest.get(url))
        return AccessTokenHttpClient.withRequestOptions({ forceRenewal: force })(sent)
      }))

  it.scoped("carry the user's token, the same each time [parity 1, 2]", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn()
      const { bearers, client } = api()
      assert.strictEqual((yield* call(web, browser, client)).status, 200)
      yield* call(web, browser, client)
      assert.deepStrictEqual(bearers(), ["Bearer access-0", "Bearer access-0"])
      assert.deepStrictEqual(server.asked, [])
    }))

  it.scoped("heal a 401 once, with a renewed token [parity 4]", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn()
      const { bearers, client } = api((number) => number === 1 ? unauthorized() : Response.json({}))
      assert.strictEqual((yield* call(web, browser, client)).status, 200)
      yield* call(web, browser, client)
      assert.deepStrictEqual(bearers(), ["Bearer access-0", "Bearer access-1", "Bearer access-1"])
    }))

  it.scoped("give a second 401 to the caller [parity 5]", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn()
      const { bearers, client } = api(() => unauthorized())
      assert.strictEqual((yield* call(web, browser, client)).status, 401)
      assert.deepStrictEqual(bearers(), ["Bearer access-0", "Bearer access-1"])
    }))

  it.scoped("spell the scheme as it is usual [parity 7]", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn({
        token: () => Response.json({ access_token: "a", token_type: "beareR", expires_in: 100, refresh_token: "r" })
      })
      const { bearers, client } = api()
      yield* TestClock.adjust("101 seconds")
      yield* call(web, browser, client)
      assert.deepStrictEqual(bearers(), ["Bearer a"])
    }))

  for (const kind of ["user", "machine"] as const) {
    it.scoped(`of a bound token take the API's nonces, by challenge and by answer, for the ${kind} [parity 6]`, () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate("ES256", { extractable: true })
        const { browser, web } = yield* signedIn({
          client: { dpop: key },
          token: () => Response.json({ access_token: "a", token_type: "dpoP", expires_in: 1000, refresh_token: "r" })
        })
        const { bearers, client, proofs } = api((number) =>
          number === 1
            ? new Response(null, {
              status: 401,
              headers: { "www-authenticate": "DPoP error=\"use_dpop_nonce\"", "dpop-nonce": "nonce-1" }
            })
            : Response.json({}, { headers: { "dpop-nonce": `nonce-${number}` } })
        )
        yield* TestClock.adjust("101 seconds")
        const user = web.visit(
          browser,
          () => Effect.flatMap(fixtures.user(), (withToken) => client.pipe(withToken).get(url))
        )
        const machine = Effect.flatMap(fixtures.machine(), (withToken) => client.pipe(withToken).get(url))
        const once = Effect.map(
          kind === "user" ? Effect.exit(user) : Effect.exit(Effect.provide(machine, web.context)),
          (exit) => exit._tag === "Success" ? exit.value.status : exit.cause._tag
        )
        for (let calls = 0; calls < 3; calls++) assert.strictEqual(yield* once, 200)
        assert.deepStrictEqual([...new Set(bearers())], ["DPoP a"])
        assert.deepStrictEqual(proofs().map(({ nonce }) => nonce), [undefined, "nonce-1", "nonce-2", "nonce-3"])
      }))
  }

  it.scoped("can force a renewal; later ones use its token [parity 8]", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn()
      const { bearers, client } = api()
      yield* call(web, browser, client, true)
      yield* call(web, browser, client)
      assert.deepStrictEqual(bearers(), ["Bearer access-1", "Bearer access-1"])
    }))

  it.scoped("of nobody fail before anything is sent", () =>
    Effect.gen(function*() {
      const { web } = yield* signedIn()
      const { bearers, client } = api()
      const error = yield* Effect.flip(call(web, new Browser(), client))
      assert.strictEqual(error._tag, "NoActiveUser")
      assert.deepStrictEqual(bearers(), [])
    }))

  it.scoped("fail where the middleware is made if there is no such client", () =>
    Effect.gen(function*() {
      const { web } = yield* signedIn()
      const error = yield* Effect.flip(
        Effect.provide(UserAccessTokenHttpClient.make({ client: "nobody" }), web.context)
      )
      assert.strictEqual(error._tag, "OidcClientNotFound")
    }))

  it.scoped("become an error if the API wants a stronger sign-in", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn()
      const { client } = api(() =>
        unauthorized("Bearer error=\"insufficient_user_authentication\", acr_values=\"mfa\", max_age=\"60\"")
      )
      const error = yield* Effect.flip(call(web, browser, client))
      assert.deepInclude(error, { _tag: "StepUpRequired", acrValues: "mfa", maxAge: 60 })
    }))

  it.scoped("show what the API wants on one line, bounded", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn()
      const wanted = `mfa\u009b31m ${"x".repeat(5000)}`
      const { client } = api(() =>
        unauthorized(`Bearer error="insufficient_user_authentication", acr_values="${wanted}"`)
      )
      const error = yield* Effect.flip(call(web, browser, client))
      assert.deepInclude(error, { _tag: "StepUpRequired", acrValues: `mfa 31m ${"x".repeat(492)}` })
    }))
})

describe("calls of the program's own authority, by an OpenID Connect client", () => {
  const call = (web: Web.Web, client: HttpClient.HttpClient, force = false) =>
    Effect.flatMap(fixtures.machine(), (withToken) => {
      const sent = client.pipe(withToken).execute(HttpClientRequest.get(url))
      return AccessTokenHttpClient.withRequestOptions({ forceRenewal: force })(sent)
    }).pipe(Effect.provide(web.context))

  it.scoped("carry a token, the same each time [parity 1, 2]", () =>
    Effect.gen(function*() {
      const { server, web } = yield* signedIn()
      const { bearers, client } = api()
      yield* call(web, client)
      yield* call(web, client)
      assert.deepStrictEqual(bearers(), ["Bearer access-1", "Bearer access-1"])
      assert.strictEqual(server.asked.length, 1)
    }))

  it.scoped("heal a 401 once, and give a second one to the caller [parity 4, 5]", () =>
    Effect.gen(function*() {
      const { web } = yield* signedIn()
      const healed = api((number) => number === 1 ? unauthorized() : Response.json({}))
      assert.strictEqual((yield* call(web, healed.client)).status, 200)
      assert.deepStrictEqual(healed.bearers(), ["Bearer access-1", "Bearer access-2"])
      const never = api(() => unauthorized())
      assert.strictEqual((yield* call(web, never.client)).status, 401)
      assert.deepStrictEqual(never.bearers(), ["Bearer access-2", "Bearer access-3"])
    }))

  it.scoped("spell the scheme as it is usual, and can force a renewal [parity 7, 8]", () =>
    Effect.gen(function*() {
      let number = 0
      const { web } = yield* signedIn({
        token: () => Response.json({ access_token: `a${++number}`, token_type: "beareR", expires_in: 100 })
      })
      const { bearers, client } = api()
      yield* call(web, client)
      yield* call(web, client, true)
      yield* call(web, client)
      assert.deepStrictEqual(bearers(), ["Bearer a1", "Bearer a2", "Bearer a2"])
    }))
})

const byUrl: Customize = ({ url }, parameters) =>
  Effect.succeed({ ...parameters, scope: new URL(url).pathname.slice(1) })
const byHeader: Customize = ({ headers }, parameters) => Effect.succeed({ ...parameters, scope: headers["x-scope"] })
const fixed: Customize = (_, parameters) => Effect.succeed({ ...parameters, scope: "customized" })

describe("a customizer of outgoing calls", () => {
  const scopes = (server: Server.TokenServer) => server.asked.map(({ parameters }) => parameters.scope)
  const request = HttpClientRequest.setHeader(HttpClientRequest.get(url), "x-scope", "of-header")

  const asUser = (provided: Customize | undefined, own?: Customize) =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn(provided === undefined ? {} : { provide: customizer(provided) })
      const { client } = api()
      yield* web.visit(browser, () =>
        Effect.flatMap(UserAccessTokenHttpClient.make({}, { customize: own }), (withToken) =>
          client.pipe(withToken).execute(request)))
      return scopes(server)
    })

  const asMachine = (provided: Customize | undefined, own?: Customize) =>
    Effect.gen(function*() {
      const { server, web } = yield* signedIn(provided === undefined ? {} : { provide: customizer(provided) })
      const { client } = api()
      yield* Effect.flatMap(
        AccessTokenHttpClient.clientCredentials(OidcClients.tokenClientName("web"), {}, { customize: own }),
        (withToken) => client.pipe(withToken).execute(request)
      ).pipe(Effect.provide(web.context))
      return scopes(server)
    })

  it.scoped("is the one that is provided, for a user [parity 104]", () =>
    Effect.map(asUser(fixed), (scopes) => assert.deepStrictEqual(scopes, ["customized"])))
  it.scoped("is the one of the middleware, which wins, for a user [parity 105, 106]", () =>
    Effect.map(asUser(byUrl, fixed), (scopes) => assert.deepStrictEqual(scopes, ["customized"])))
  it.scoped("sees the headers of the call, for a user [parity 107]", () =>
    Effect.map(asUser(byHeader), (scopes) => assert.deepStrictEqual(scopes, ["of-header"])))
  it.scoped("sees the URL of the call, for a user [parity 108]", () =>
    Effect.map(asUser(undefined, byUrl), (scopes) => assert.deepStrictEqual(scopes, ["invoices"])))

  it.scoped("is the one that is provided, for the client [parity 84]", () =>
    Effect.map(asMachine(fixed), (scopes) => assert.deepStrictEqual(scopes, ["customized"])))
  it.scoped("is the one of the middleware, which wins, for the client [parity 85, 86]", () =>
    Effect.map(asMachine(byUrl, fixed), (scopes) => assert.deepStrictEqual(scopes, ["customized"])))
  it.scoped("sees the headers of the call, for the client [parity 87]", () =>
    Effect.map(asMachine(byHeader), (scopes) => assert.deepStrictEqual(scopes, ["of-header"])))
  it.scoped("sees the URL of the call, for the client [parity 88]", () =>
    Effect.map(asMachine(undefined, byUrl), (scopes) => assert.deepStrictEqual(scopes, ["invoices"])))
})

describe("calls on behalf of the user of the request", () => {
  it.scoped("carry the user's token, exchanged for the next API, for each user apart and kept", () =>
    Effect.gen(function*() {
      const server = Server.make()
      server.answer = ({ subject }) => Effect.succeed({ access: `exchanged-of-${subject}`, lifetime: 100 })
      const web = yield* Web.start({ server })
      const [alice, bob] = [new Browser(), new Browser()]
      yield* web.signIn(alice, { access: "alices" })
      yield* web.signIn(bob, { access: "bobs", principal: Web.principal("bob") })
      const { bearers, client } = api()
      const name = OidcClients.tokenClientName("web")
      const call = (browser: Browser) =>
        web.visit(browser, () =>
          Effect.flatMap(
            UserAccessTokenHttpClient.onBehalfOfCurrentUser(name, { audience: "next" }),
            (retriever) => client.pipe(AccessTokenHttpClient.make(retriever)).execute(HttpClientRequest.get(url))
          ))
      yield* Effect.forEach([alice, bob, alice, bob], call)
      const [ofAlice, ofBob] = ["Bearer exchanged-of-alices", "Bearer exchanged-of-bobs"]
      assert.deepStrictEqual(bearers(), [ofAlice, ofBob, ofAlice, ofBob])
      assert.deepStrictEqual(server.asked.map(({ subject }) => subject), ["alices", "bobs"])
      const error = yield* Effect.flip(call(new Browser()))
      assert.strictEqual(error._tag, "NoActiveUser")
    }))
})

describe("a customizer that fails", () => {
  const failing: Customize = () =>
    Effect.fail(new OAuthError.TokenRequestInvalid({ clientName: "web", field: "scope", problem: "there is none" }))

  it.scoped("fails the call of a user with its own error, and nothing is sent [parity 82, changed]", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn()
      const { bearers, client } = api()
      const error = yield* web.visit(
        browser,
        () =>
          Effect.flatMap(
            fixtures.user({ customize: failing }),
            (withToken) => Effect.flip(client.pipe(withToken).execute(HttpClientRequest.get(url)))
          )
      )
      assert.strictEqual(error._tag, "TokenRequestInvalid")
      assert.deepStrictEqual([bearers(), server.asked], [[], []])
    }))

  it.scoped("fails the call of the client with its own error, and nothing is sent [parity 83, changed]", () =>
    Effect.gen(function*() {
      const { server, web } = yield* signedIn()
      const { bearers, client } = api()
      const error = yield* Effect.flatMap(
        fixtures.machine({ customize: failing }),
        (withToken) => Effect.flip(client.pipe(withToken).execute(HttpClientRequest.get(url)))
      ).pipe(Effect.provide(web.context))
      assert.strictEqual(error._tag, "TokenRequestInvalid")
      assert.deepStrictEqual([bearers(), server.asked], [[], []])
    }))
})

/** Everything that a customizer can change, but whose token it is. */
const everything: TokenRequestParameters.TokenRequestParameters = {
  scope: "s",
  resource: "urn:r",
  parameters: { p: "1" },
  assertion: { type: "urn:t", value: Redacted.make("a") },
  context: { tenant: "t" },
  forceRenewal: true
}

const context: TokenRetriever.RequestContext = {
  method: "GET",
  url,
  headers: HttpClientRequest.get(url).headers,
  forceRenewal: false,
  parameters: undefined,
  rejected: undefined
}

describe("a retriever", () => {
  it.scoped("of a client's tokens asks for what the customizer says, of the same client [parity 110]", () =>
    Effect.gen(function*() {
      const { server, web } = yield* signedIn()
      const retrieve = TokenRetriever.clientCredentials(
        OidcClients.tokenClientName("web"),
        { scope: "x" },
        () => Effect.succeed(everything)
      )
      const twice = Effect.flatMap(retrieve, (retriever) => Effect.zip(retriever(context), retriever(context)))
      yield* Effect.provide(twice, web.context)
      assert.strictEqual(server.asked.length, 2)
      assert.deepInclude(server.asked[1]?.parameters, {
        scope: "s",
        resource: "urn:r",
        assertion: everything.assertion!,
        context: { tenant: "t" }
      })
    }))

  it.scoped("of a user's tokens asks for what the customizer says; client and session stay [parity 111]", () =>
    Effect.gen(function*() {
      const clients = { web: { ...Web.client, default: true }, other: Web.client }
      const { browser, server, web } = yield* signedIn({ clients })
      yield* web.signIn(browser, { refresh: "others", principal: Web.principal("carol", { clientName: "other" }) })
      const bob = new Browser()
      yield* web.signIn(bob, { refresh: "bobs", principal: Web.principal("bob", { clientName: "other" }) })
      const session = yield* web.visit(bob, ({ session }) => Effect.succeed(session))
      const wanted = { ...everything, client: "other", session }
      const retrieve = (parameters: UserTokenManager.UserTokenRequestParameters) =>
        web.visit(browser, () =>
          Effect.flatMap(
            UserAccessTokenHttpClient.retriever(parameters, () => Effect.succeed(wanted)),
            (retriever) => retriever(context)
          ))
      yield* retrieve({})
      yield* retrieve({ client: "other" })
      assert.deepStrictEqual(server.presented(), ["refresh-0", "others"])
      assert.deepInclude(server.asked[0]?.parameters, {
        scope: "s",
        resource: "urn:r",
        assertion: everything.assertion!,
        context: { tenant: "t" }
      })
    }))
})

describe("a token that is asked for by hand inside a web request", () => {
  const incoming = { url: "https://app.test/orders?tenant=blue", headers: { "x-scope": "incoming" } }
  const seen: Array<TokenRetriever.RequestContext> = []
  const watching: Customize = (context, parameters) =>
    Effect.sync(() => {
      seen.push(context)
      return parameters
    })
  const byQuery: Customize = ({ url }, parameters) =>
    Effect.succeed({ ...parameters, scope: new URL(url).searchParams.get("tenant") ?? undefined })

  const user = (customize: Customize) =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn({ provide: customizer(customize) })
      yield* web.get(browser, {}, incoming)
      return server.asked.map(({ parameters }) => parameters.scope)
    })

  const machine = (customize: Customize) =>
    Effect.gen(function*() {
      const { server, web } = yield* signedIn({ provide: customizer(customize) })
      yield* web.visit(new Browser(), () => OidcClients.clientCredentialsToken(), incoming)
      return server.asked.map(({ parameters }) => parameters.scope)
    })

  it.scoped("shows the customizer the incoming request: method, URL with query, headers [parity 62]", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn({ provide: customizer(watching) })
      yield* web.get(browser, { scope: "x" }, { ...incoming, headers: { "x-many": "1, 2" } })
      assert.strictEqual(seen[0]?.method, "GET")
      assert.strictEqual(seen[0]?.url, incoming.url)
      assert.strictEqual(seen[0]?.headers["x-many"], "1, 2")
      assert.strictEqual(seen[0]?.parameters?.scope, "x")
    }))

  it.scoped("is the user's, by the customizer that is provided [parity 97]", () =>
    Effect.map(user(fixed), (scopes) => assert.deepStrictEqual(scopes, ["customized"])))
  it.scoped("is the user's, by the headers of the incoming request [parity 98]", () =>
    Effect.map(user(byHeader), (scopes) => assert.deepStrictEqual(scopes, ["incoming"])))
  it.scoped("is the user's, by the URL of the incoming request [parity 99]", () =>
    Effect.map(user(byQuery), (scopes) => assert.deepStrictEqual(scopes, ["blue"])))

  it.scoped("is the client's, by the customizer that is provided [parity 94]", () =>
    Effect.map(machine(fixed), (scopes) => assert.deepStrictEqual(scopes, ["customized"])))
  it.scoped("is the client's, by the headers of the incoming request [parity 95]", () =>
    Effect.map(machine(byHeader), (scopes) => assert.deepStrictEqual(scopes, ["incoming"])))
  it.scoped("is the client's, by the URL of the incoming request [parity 96]", () =>
    Effect.map(machine(byQuery), (scopes) => assert.deepStrictEqual(scopes, ["blue"])))

  const broken: ReadonlyArray<readonly [what: string, customize: Customize]> = [
    ["dies", () => Effect.die(new Error("marked"))],
    ["throws", () => {
      throw new Error("marked")
    }],
    ["hangs", () => Effect.never],
    ["gives nothing", () => Effect.succeed(undefined as never)]
  ]
  for (const [what, customize] of broken) {
    it.scoped(`is a typed error if the customizer ${what}`, () =>
      Effect.gen(function*() {
        const asked = yield* Effect.fork(Effect.all([Effect.flip(user(customize)), Effect.flip(machine(customize))]))
        for (let steps = 0; steps < 4; steps++) yield* TestClock.adjust("1 minute")
        for (const error of yield* asked) {
          const isAnswer = what === "gives nothing"
          assert.strictEqual(error._tag, isAnswer ? "TokenRequestInvalid" : "CredentialUnavailable")
          assert.notInclude(error.message, "marked")
        }
      }))
  }

  it.scoped("is the client's for anonymous requests too, to its real end [parity 134]", () =>
    Effect.gen(function*() {
      const { web } = yield* signedIn()
      const token = yield* web.visit(new Browser(), () => OidcClients.clientCredentialsToken("web"))
      assert.strictEqual(token.type, "Bearer")
      assert.strictEqual(Number(token.expiresAt?.epochMillis), 100_000)
      const error = yield* Effect.flip(web.visit(new Browser(), () => OidcClients.clientCredentialsToken("nobody")))
      assert.strictEqual(error._tag, "OidcClientNotFound")
    }))

  it.scoped("and one for an outgoing call ask the same customizer, once each, with their own request [parity 103]", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const { browser, web } = yield* signedIn({
        provide: customizer(({ url }, parameters) =>
          Effect.sync(() => {
            asked.push(new URL(url).pathname)
            return parameters
          })
        )
      })
      const { client } = api()
      yield* web.visit(browser, () =>
        Effect.gen(function*() {
          yield* UserTokenManager.get()
          yield* client.pipe(yield* UserAccessTokenHttpClient.make()).get(url)
        }), incoming)
      assert.deepStrictEqual(asked, ["/orders", "/invoices"])
    }))

  const asserted = (pick: (context: TokenRetriever.RequestContext) => string): Customize => (context, parameters) =>
    Effect.succeed({ ...parameters, assertion: { type: "urn:t", value: Redacted.make(pick(context)) } })

  const revoked = (customize: Customize) =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn({ provide: customizer(customize) })
      yield* web.visit(browser, () => UserTokenManager.revoke(), incoming)
      const { assertion } = server.revoked[0]?.parameters ?? {}
      return assertion === undefined ? undefined : Redacted.value(assertion.value)
    })

  it.scoped("is revoked with the assertion of the customizer [parity 100]", () =>
    Effect.map(revoked(asserted(() => "mine")), (value) => assert.strictEqual(value, "mine")))
  it.scoped("is revoked with an assertion from an incoming header [parity 101]", () =>
    Effect.map(
      revoked(asserted(({ headers }) => headers["x-scope"] ?? "")),
      (value) => assert.strictEqual(value, "incoming")
    ))
  it.scoped("is revoked with an assertion from the incoming query [parity 102]", () =>
    Effect.map(
      revoked(asserted(({ url }) => new URL(url).searchParams.get("tenant") ?? "")),
      (value) => assert.strictEqual(value, "blue")
    ))
})
