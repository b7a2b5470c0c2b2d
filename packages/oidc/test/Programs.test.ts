import { TokenStore } from "@effect-oauth/core"
import { LoginStateStore, Oidc, OidcClients, Session, Sessions, SessionStore } from "@effect-oauth/oidc"
import { NodeOAuth, NodeSigner } from "@effect-oauth/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, TestClock } from "effect"
import { randomUUID } from "node:crypto"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { answerOf, go, isNobody, isSomebody, login, registration } from "./support/attack.ts"
import { Browser } from "./support/browser.ts"
import * as Provider from "./support/provider.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"
import * as WebApp from "./support/webApp.ts"

type SessionsOptions = Partial<Sessions.Options>

const kinds = [
  ["in cookies", Web.sharing],
  ["on the server", (store: TokenStore.TokenStore["Type"]) => Web.stored(store)]
] as const

for (const [kind, provide] of kinds) {
  describe(`two programs with one store and one key ring, and sessions ${kind}`, () => {
    const start = (one: SessionsOptions, other: SessionsOptions) =>
      Effect.gen(function*() {
        const shared = provide(yield* TokenStore.makeMemory)
        const server = Server.make()
        return {
          one: yield* Web.start({ provide: shared, sessions: one }),
          other: yield* Web.start({ provide: shared, sessions: other, server }),
          server,
          browser: new Browser()
        }
      })

    for (
      const [what, one, other] of [
        ["two addresses", {}, { publicUrl: "https://other.test" }],
        ["two names", { program: "one" }, { program: "other" }]
      ] as const
    ) {
      it.scoped(`do not open each other's sessions: ${what}`, () =>
        Effect.gen(function*() {
          const programs = yield* start(one, other)
          yield* programs.one.signIn(programs.browser)
          assert.strictEqual(yield* programs.other.whoIs(programs.browser.copy()), undefined)
          assert.strictEqual((yield* Effect.flip(programs.other.get(programs.browser.copy())))._tag, "NoActiveUser")
          assert.strictEqual(yield* programs.one.whoIs(programs.browser), "alice")
          assert.deepStrictEqual(programs.server.asked, [])
        }))

      // Those in cookies cannot be ended from elsewhere.
      if (kind === "in cookies") continue
      it.scoped(`do not end each other's sessions: ${what}`, () =>
        Effect.gen(function*() {
          const programs = yield* start(one, other)
          const [mine, theirs] = [new Browser(), new Browser()]
          const principal = Web.principal("alice", { sid: "s" })
          yield* programs.one.signIn(mine, { principal })
          yield* programs.other.signIn(theirs, { principal })
          yield* programs.other.sessions.endAt(principal.issuer, { sid: "s" })
          yield* programs.other.sessions.endAt(principal.issuer, { sub: "alice" })
          assert.strictEqual(yield* programs.one.whoIs(mine), "alice")
          assert.strictEqual(yield* programs.other.whoIs(theirs), undefined)
        }))
    }

    for (
      const [what, one, other] of [
        ["one address", {}, {}],
        ["one name", { program: "shop" }, { program: "shop", publicUrl: "https://other.test" }]
      ] as const
    ) {
      it.scoped(`are one program with ${what}`, () =>
        Effect.gen(function*() {
          const programs = yield* start(one, other)
          yield* programs.one.signIn(programs.browser)
          assert.strictEqual(yield* programs.other.whoIs(programs.browser), "alice")
          const older = programs.browser.copy()
          yield* TestClock.adjust("95 seconds")
          yield* programs.other.get(programs.browser, { forceRenewal: true })
          assert.strictEqual(Server.textOf((yield* programs.one.get(older)).refreshToken), "refresh-1")
        }))
    }
  })
}

describe("the name of a program", () => {
  for (const program of ["", "a".repeat(1025)]) {
    it.effect(`cannot have ${program.length} characters`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Layer.provide(
          Sessions.layer({ publicUrl: "https://app.test", program }),
          [NodeSigner.layer, Layer.orDie(OidcClients.layer({})), SessionStore.layerMemory]
        ))))
        assert.deepInclude({ ...error }, { _tag: "SessionsInvalid", field: "program" })
      }))
  }
})

describe("sessions without a browser", () => {
  const start = (store: TokenStore.TokenStore["Type"], program?: string) =>
    Effect.flatMap(
      Layer.build(
        Oidc.layerStored({ program }).pipe(
          Layer.provideMerge(SessionStore.layer),
          Layer.provideMerge(NodeOAuth.layer),
          Layer.provideMerge(OidcClients.layer({ web: Web.client })),
          Layer.provide([Web.encryption(), Layer.succeed(TokenStore.TokenStore, store)])
        )
      ),
      (context) => Effect.provide(Sessions.Sessions, context)
    )

  const content = (sub: string) =>
    new Session.SessionContent({
      signIns: { web: new Session.SignIn({ principal: Web.principal(sub) }) },
      primary: "web",
      startedAt: 0,
      seenAt: 0
    })

  const whoIs = (sessions: Sessions.Sessions["Type"], name: string) =>
    Effect.map(sessions.named(name), (session) => Session.principalOf(Option.getOrUndefined(session)?.known)?.sub)

  it.scoped("have their own names in each program", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const [one, other, again] = [yield* start(store, "one"), yield* start(store, "other"), yield* start(store, "one")]
      yield* one.keep("me", content("alice"))
      assert.strictEqual(yield* whoIs(other, "me"), undefined)
      yield* other.keep("me", content("bob"))
      assert.strictEqual(yield* whoIs(one, "me"), "alice")
      assert.strictEqual(yield* whoIs(again, "me"), "alice")
    }))

  it.scoped("are apart whatever characters are in their names", () =>
    Effect.gen(function*() {
      const sessions = yield* start(yield* TokenStore.makeMemory)
      yield* sessions.keep("\ud800", content("alice"))
      assert.strictEqual(yield* whoIs(sessions, "\ud801"), undefined)
      assert.strictEqual(yield* whoIs(sessions, "\ufffd"), undefined)
    }))
})

describe("two programs at one provider", () => {
  /** Both at one store, on two ports. */
  const start = (options: { readonly storedLogins: boolean }) =>
    Effect.gen(function*() {
      const provider = yield* Provider.start
      const store = yield* TokenStore.makeMemory
      const over = (_: unknown) =>
        options.storedLogins
          ? LoginStateStore.layerStored.pipe(Layer.provide(WebApp.loginServices(store)))
          : Layer.empty
      const serve = WebApp.serve({ clients: { web: registration(provider) }, store, over })
      return { provider, one: yield* serve, other: yield* serve }
    })

  const carry = (browser: UserAgent, from: WebApp.WebApp, to: WebApp.WebApp) =>
    browser.jars.set(new URL(to.url).host, new Map(browser.jarOf(from.url)))

  for (const storedLogins of [false, true]) {
    it.scopedLive(`do not finish each other's logins, nor end them (${storedLogins ? "stored" : "in cookies"})`, () =>
      Effect.gen(function*() {
        const { one, other, provider } = yield* start({ storedLogins })
        const browser = new UserAgent()
        const answer = yield* answerOf(one, browser)
        carry(browser, one, other)
        const page = yield* go(browser, answer.replace(one.url, other.url))
        assert.strictEqual(page.body, "refused: LoginAnswerInvalid/state")
        yield* isNobody(other, browser)
        assert.deepStrictEqual(provider.requests("/token"), [])
        yield* go(browser, answer)
        yield* isSomebody(one, browser)
        carry(browser, one, other)
        yield* isNobody(other, browser)
      }))
  }

  it.scopedLive("act on one logout token each, and once", () =>
    Effect.gen(function*() {
      const { one, other, provider } = yield* start({ storedLogins: false })
      const browser = new UserAgent()
      for (const app of [one, other]) {
        yield* login(app, browser)
        yield* isSomebody(app, browser)
      }
      const token = yield* provider.sign({
        iss: provider.issuer,
        aud: "web",
        iat: Provider.seconds(),
        exp: Provider.seconds() + 120,
        jti: randomUUID(),
        events: { "http://schemas.openid.net/event/backchannel-logout": {} },
        sub: "alice"
      }, { typ: "logout+jwt" })
      const tell = (app: WebApp.WebApp) =>
        Effect.promise(() =>
          fetch(`${app.url}/auth/backchannel-logout`, {
            method: "POST",
            body: new URLSearchParams({ logout_token: token })
          }).then(({ status }) => status)
        )
      assert.strictEqual(yield* tell(one), 200)
      yield* isNobody(one, browser)
      yield* isSomebody(other, browser)
      assert.strictEqual(yield* tell(other), 200)
      yield* isNobody(other, browser)
      assert.deepStrictEqual([yield* tell(one), yield* tell(other)], [400, 400])
    }))
})
