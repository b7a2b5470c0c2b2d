import { type OidcClient, OidcClients, OidcError, OidcLogin } from "@effect-oauth/oidc"
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { errorAsJson } from "./support/app.ts"
import { answerOf, changed, go, isNobody, isRefused, isSomebody, login, post, registration } from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import * as WebApp from "./support/webApp.ts"

type Clients = Readonly<Record<string, Partial<OidcClient.OidcClientOptions>>>

/** The server's answers to logins do not name it (RFC 9207). */
const withoutIssuer = (provider: Provider.Provider) => {
  provider.bend.metadata = ({ authorization_response_iss_parameter_supported: _, ...rest }) => rest
  provider.bend.answer = (honest) => {
    honest.delete("iss")
    return honest
  }
}

const ownPaths: Clients = {
  honest: { callbackPath: "/auth/callback/honest", default: true },
  evil: { callbackPath: "/auth/callback/evil" }
}

const onePath: Clients = { honest: { default: true }, evil: {} }

/** Two providers, one of them evil. */
const start = (clients: Clients, options: { readonly silent: ReadonlyArray<"honest" | "evil"> }) =>
  Effect.gen(function*() {
    const providers = { honest: yield* Provider.start, evil: yield* Provider.start }
    for (const name of options.silent) withoutIssuer(providers[name])
    const app = yield* WebApp.serve({
      clients: {
        honest: { ...registration(providers.honest), ...clients.honest },
        evil: { ...registration(providers.evil), ...clients.evil }
      }
    })
    return { ...providers, app, browser: new UserAgent() }
  })

/** The honest server's answer, with the state of a login that this browser began at the evil one. */
const mixedUp = (app: WebApp.WebApp, browser: UserAgent) =>
  Effect.gen(function*() {
    const atEvil = yield* answerOf(app, browser, "?client=evil")
    const atHonest = yield* answerOf(app, new UserAgent(), "?client=honest")
    return { atEvil, mixed: changed(atHonest, "state", new URL(atEvil).searchParams.get("state") ?? "") }
  })

const afterwards = ({ seen }: Provider.Provider, begun: number) => seen.slice(begun).map(({ path }) => path)

describe("an answer at the callback of another client", () => {
  it.scopedLive("is refused, nothing is sent to either server, and the login is over", () =>
    Effect.gen(function*() {
      const { app, browser, evil, honest } = yield* start(ownPaths, { silent: ["honest", "evil"] })
      const { atEvil, mixed } = yield* mixedUp(app, browser)
      const begun = [evil.seen.length, honest.seen.length] as const
      yield* isRefused(app, browser, yield* go(browser, mixed), "LoginAnswerInvalid/path")
      assert.deepStrictEqual([afterwards(evil, begun[0]), afterwards(honest, begun[1])], [[], []])
      yield* isRefused(app, browser, yield* go(browser, atEvil), "LoginAnswerInvalid/state")
      assert.deepStrictEqual([afterwards(evil, begun[0]), afterwards(honest, begun[1])], [[], []])
    }))

  it.scopedLive("is refused where the answer is an error, too", () =>
    Effect.gen(function*() {
      const { app, browser, honest } = yield* start(ownPaths, { silent: ["honest", "evil"] })
      honest.bend.answer = (answer) => new URLSearchParams({ error: "access_denied", state: answer.get("state") ?? "" })
      const { mixed } = yield* mixedUp(app, browser)
      yield* isRefused(app, browser, yield* go(browser, mixed), "LoginAnswerInvalid/path")
    }))

  it.scopedLive("is refused where it is posted", () =>
    Effect.gen(function*() {
      const { app, browser, evil } = yield* start(ownPaths, { silent: ["honest", "evil"] })
      const { atEvil, mixed } = yield* mixedUp(app, browser)
      const fields = Object.fromEntries(new URL(mixed).searchParams)
      const page = yield* post(browser, `${app.url}/auth/callback/honest`, fields)
      yield* isRefused(app, browser, page, "LoginAnswerInvalid/path")
      yield* isRefused(app, browser, yield* go(browser, atEvil), "LoginAnswerInvalid/state")
      assert.strictEqual(evil.requests("/token").length, 0)
    }))

  it.scopedLive("is refused where it is signed, without its keys being read", () =>
    Effect.gen(function*() {
      const { app, browser, evil, honest } = yield* start({
        ...ownPaths,
        honest: { ...ownPaths.honest, responseMode: "query.jwt" }
      }, { silent: ["honest", "evil"] })
      const { mixed } = yield* mixedUp(app, browser)
      const parameters = Object.fromEntries(new URL(mixed).searchParams)
      const jwt = yield* honest.sign({ ...parameters, iss: honest.issuer, aud: "web", exp: Date.now() / 1000 + 60 })
      const page = yield* go(browser, `${app.url}/auth/callback/honest?response=${jwt}`)
      yield* isRefused(app, browser, page, "LoginAnswerInvalid/path")
      assert.deepStrictEqual([honest.requests("/jwks").length, evil.requests("/token").length], [0, 0])
    }))

  it.scopedLive("is that of its own client otherwise", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start(ownPaths, { silent: ["honest", "evil"] })
      yield* login(app, browser, "?client=honest")
      yield* isSomebody(app, browser)
      yield* login(app, new UserAgent(), "?client=evil")
      assert.deepStrictEqual(app.errors, [])
    }))
})

describe("a callback route of the program's own", () => {
  const at = (path: string): WebApp.Handler =>
    Effect.gen(function*() {
      const { callback } = yield* OidcLogin.OidcLogin
      const { searchParams } = new URL((yield* HttpServerRequest.HttpServerRequest).url, "http://app")
      return yield* Effect.matchEffect(callback(searchParams, { path }), {
        onFailure: (error) => Effect.succeed(errorAsJson(error)),
        onSuccess: () => Effect.succeed(HttpServerResponse.text("signed in"))
      })
    })

  for (
    const [what, path, isTaken] of [
      ["the path of the client", "/auth/callback", true],
      ["the same, with the query that came", "/auth/callback?code=1", true],
      ["another path", "/own", false],
      ["a path that only begins so", "/auth/callback/", false],
      ["other letters", "/auth/Callback", false],
      ["another origin", "https://evil.example/auth/callback", false],
      ["another host", "//evil.example/auth/callback", false],
      ["nothing", "", false],
      ["no path", "http://", false]
    ] as const
  ) {
    it.scopedLive(`is told by its path: ${what}`, () =>
      Effect.gen(function*() {
        const provider = yield* Provider.start
        const app = yield* WebApp.serve({ clients: { web: registration(provider) }, routes: { "/own": at(path) } })
        const browser = new UserAgent()
        const answer = new URL(yield* answerOf(app, browser))
        const page = yield* go(browser, `${app.url}/own${answer.search}`)
        if (isTaken) {
          assert.strictEqual(page.body, "signed in")
          return yield* isSomebody(app, browser)
        }
        assert.strictEqual(JSON.parse(page.body).error, "LoginAnswerInvalid")
        assert.strictEqual(provider.requests("/token").length, 0)
        yield* isNobody(app, browser)
      }))
  }
})

/** What is said where logins at several servers cannot be told apart. */
const isShared = (app: WebApp.WebApp, browser: UserAgent, query: string, mentioned: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const before = app.errors.length
    const page = yield* login(app, browser, query)
    assert.strictEqual(page.body, "refused: TokenClientInvalid")
    const message = app.errors[before]?.message ?? ""
    for (const text of [...mentioned, "callbackPath of its own"]) assert.include(message, text)
    assert.strictEqual(browser.jarOf(app.url).size, 0)
  })

describe("one callback path of two servers", () => {
  it.scopedLive("is refused at the first login where neither names itself in its answers", () =>
    Effect.gen(function*() {
      const { app, browser, evil, honest } = yield* start(onePath, { silent: ["honest", "evil"] })
      for (const query of ["?client=evil", "?client=honest", ""]) {
        yield* isShared(app, browser, query, [`"honest"`, `"evil"`, `"/auth/callback"`, "RFC 9207"])
      }
      assert.deepStrictEqual([evil.asked.length, honest.asked.length], [0, 0])
    }))

  for (const silent of ["honest", "evil"] as const) {
    it.scopedLive(`will do where only one does not name itself: the ${silent} one`, () =>
      Effect.gen(function*() {
        const { app, browser, evil, honest } = yield* start(onePath, { silent: [silent] })
        for (const query of ["?client=evil", "?client=honest"]) {
          yield* login(app, browser, query)
          yield* isSomebody(app, browser)
        }
        const { mixed } = yield* mixedUp(app, browser)
        const before = [evil.requests("/token").length, honest.requests("/token").length]
        assert.strictEqual((yield* go(browser, mixed)).body, "refused: LoginAnswerInvalid/issuer")
        assert.deepStrictEqual([evil.requests("/token").length, honest.requests("/token").length], before)
      }))
  }

  it.scopedLive("is not shared by a server that says something else of itself once the login has begun", () =>
    Effect.gen(function*() {
      const { app, browser, evil } = yield* start(onePath, { silent: ["honest"] })
      yield* login(app, browser, "?client=evil")
      withoutIssuer(evil)
      app.later(59 * 60_000)
      const { mixed } = yield* mixedUp(app, browser)
      app.later(5 * 60_000)
      // Old metadata is used until the new one is there.
      const askedAgain = Effect.map(login(app, new UserAgent(), "?client=evil"), ({ body }) => body)
      yield* Effect.repeat(askedAgain, { until: (body) => body === "refused: TokenClientInvalid" })
      const before = evil.requests("/token").length
      assert.strictEqual((yield* go(browser, mixed)).body, "refused: LoginAnswerInvalid/issuer")
      assert.strictEqual(evil.requests("/token").length, before)
    }))

  it.scopedLive("is not saved by signed answers to one of them: plain ones can be asked for", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({ ...onePath, honest: { responseMode: "query.jwt" } }, {
        silent: ["honest", "evil"]
      })
      yield* isShared(app, browser, "?client=evil", [`"honest"`, `"evil"`])
    }))

  it.scopedLive("will do for a login whose answer is signed", () =>
    Effect.gen(function*() {
      const { app, browser, honest } = yield* start({ ...onePath, honest: { responseMode: "query.jwt" } }, {
        silent: ["honest", "evil"]
      })
      yield* login(app, browser, "?client=honest")
      assert.strictEqual(honest.asked.length, 1)
    }))

  it.scopedLive("will do for two clients of one server", () =>
    Effect.gen(function*() {
      const provider = yield* Provider.start
      withoutIssuer(provider)
      const app = yield* WebApp.serve({
        clients: { one: { ...registration(provider), default: true }, other: registration(provider, "other") }
      })
      const browser = new UserAgent()
      for (const query of ["?client=one", "?client=other"]) {
        yield* login(app, browser, query)
        yield* isSomebody(app, browser)
      }
    }))

  it.scopedLive("is refused while it is not known whether the other one names itself", () =>
    Effect.gen(function*() {
      const { app, browser, honest } = yield* start(onePath, { silent: ["evil"] })
      const { metadata } = honest.bend
      honest.bend.metadata = () => ({ issuer: "https://another.example" })
      yield* isRefused(app, browser, yield* login(app, browser, "?client=evil"), "DiscoveryError")
      assert.include(app.errors[0]?.message, `"/auth/callback"`)
      honest.bend.metadata = metadata
      app.later(60_000)
      yield* login(app, browser, "?client=evil")
      yield* isSomebody(app, browser)
    }))

  for (const other of ["/auth/Callback", "/auth/callback/", "/auth//callback", "/auth/%63allback"]) {
    it.effect(`cannot be had by writing it in another way: ${other}`, () =>
      Effect.gen(function*() {
        const base = { issuer: "https://login.example", clientId: "web" }
        const error = yield* Effect.flip(Effect.scoped(Layer.build(OidcClients.layer({
          one: base,
          other: { ...base, callbackPath: other }
        }))))
        assert.deepStrictEqual(error.problems.map(({ client, field }) => `${client}.${field}`), ["other.callbackPath"])
        assert.include(error.message, `"one"`)
      }))
  }
})

describe("the clients of a resolver", () => {
  const tenants = (providers: Readonly<Record<string, Provider.Provider>>, options: OidcClients.ResolverOptions = {}) =>
    OidcClients.layerResolver((name) => {
      const provider = providers[name]
      return provider === undefined
        ? Effect.fail(new OidcError.OidcClientNotFound({ clientName: name, known: [] }))
        : Effect.succeed(registration(provider))
    }, options)

  const startTenants = (options: OidcClients.ResolverOptions = {}) =>
    Effect.gen(function*() {
      const providers = { evil: yield* Provider.start, honest: yield* Provider.start }
      withoutIssuer(providers.evil)
      withoutIssuer(providers.honest)
      const app = yield* WebApp.serve({ registrations: tenants(providers, options) })
      return { ...providers, app, browser: new UserAgent() }
    })

  it.scopedLive("count as far as they are known", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* startTenants()
      yield* login(app, browser, "?client=honest")
      yield* isSomebody(app, browser)
      yield* isShared(app, new UserAgent(), "?client=evil", [`"honest"`, `"evil"`, `"/auth/callback"`])
    }))

  it.scopedLive("are looked at once more when the answer comes", () =>
    Effect.gen(function*() {
      const { app, browser, evil } = yield* startTenants()
      const answer = yield* answerOf(app, browser, "?client=evil")
      yield* isShared(app, new UserAgent(), "?client=honest", [`"honest"`, `"evil"`])
      yield* isRefused(app, browser, yield* go(browser, answer), "TokenClientInvalid")
      assert.strictEqual(evil.requests("/token").length, 0)
    }))

  it.scopedLive("have callbacks of their own where the path has :client in it", () =>
    Effect.gen(function*() {
      const { app, browser, evil } = yield* startTenants({ callbackPaths: ["/auth/callback/:client"] })
      yield* login(app, browser, "?client=honest")
      yield* isSomebody(app, browser)
      const { mixed } = yield* mixedUp(app, browser)
      assert.include(mixed, "/auth/callback/honest?")
      assert.strictEqual((yield* go(browser, mixed)).body, "refused: LoginAnswerInvalid/path")
      assert.strictEqual(evil.requests("/token").length, 0)
    }))

  for (const name of ["Müller & Söhne", "a/b", "50%", "a:b", "x y"]) {
    it.scopedLive(`have such a callback whatever their name is: ${name}`, () =>
      Effect.gen(function*() {
        const provider = yield* Provider.start
        const app = yield* WebApp.serve({
          registrations: tenants({ [name]: provider }, { callbackPaths: ["/auth/:client/callback"] })
        })
        const browser = new UserAgent()
        yield* login(app, browser, `?client=${encodeURIComponent(name)}`)
        assert.deepStrictEqual(app.errors, [])
        yield* isSomebody(app, browser)
      }))
  }

  for (const name of [".", "..", "\ud800", "a".repeat(101)]) {
    it.effect(`have none of a name that no path can have: ${JSON.stringify(name)}`, () =>
      Effect.gen(function*() {
        const clients = yield* OidcClients.OidcClients
        const error = yield* Effect.flip(clients.get(name))
        assert.strictEqual(error._tag === "TokenClientInvalid" ? error.problems[0]?.field : error._tag, "callbackPath")
      }).pipe(Effect.provide(OidcClients.layerResolver(
        () => Effect.succeed({ issuer: "https://login.example", clientId: "web" }),
        { callbackPaths: ["/auth/callback/:client"] }
      ))))
  }
})
