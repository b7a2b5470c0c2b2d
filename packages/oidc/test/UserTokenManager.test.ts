import { OAuthError, TokenStore } from "@effect-oauth/core"
import {
  CurrentUser,
  OidcError,
  OidcHooks,
  Principal,
  Session,
  UserTokenManager,
  UserTokenStore
} from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Either, Exit, Fiber, Layer, Redacted, Scope, TestClock } from "effect"
import { Browser } from "./support/browser.ts"
import { capture } from "./support/logging.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

/** Past the moment of renewal of a token of 100 seconds, and not past its end. */
const due = TestClock.adjust("95 seconds")
const over = TestClock.adjust("101 seconds")

const soon = TestClock.adjust("1 seconds")

/** Both kinds of session, in one process. */
const kinds = [["in cookies", undefined], ["on the server", Web.memory]] as const

/** A signed-in browser at a web app of one process. */
const signedIn = (options: Web.Options & { readonly login?: Web.SignInOptions } = {}) =>
  Effect.gen(function*() {
    const server = options.server ?? Server.make()
    const web = yield* Web.start({ ...options, server })
    const browser = new Browser()
    yield* web.signIn(browser, options.login)
    return { server, web, browser }
  })

for (const [kind, provide] of kinds) {
  const start = (options: Web.Options & { readonly login?: Web.SignInOptions } = {}) =>
    signedIn({ provide, ...options })

  describe(`a user's token, with sessions ${kind}`, () => {
    it.scoped("is the one of the login as long as it is good, without a request [parity 136]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        const token = yield* web.get(browser)
        assert.strictEqual(Server.valueOf(token), "access-0")
        assert.strictEqual(token.accessToken.type, "Bearer")
        assert.strictEqual(Server.textOf(token.refreshToken), "refresh-0")
        assert.strictEqual(Server.textOf(token.idToken), "id:alice")
        yield* TestClock.adjust("89 seconds")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        assert.deepStrictEqual(server.asked, [])
      }))

    it.scoped("never ends if the server named no lifetime [parity 137]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start({ login: { lifetime: undefined } })
        yield* TestClock.adjust("7 hours")
        const token = yield* web.get(browser)
        assert.strictEqual(token.accessToken.expiresAt, undefined)
        assert.deepStrictEqual(server.asked, [])
      }))

    it.scoped("is given without a refresh token too [parity 138]", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* start({ login: { withoutRefreshToken: true } })
        const token = yield* web.get(browser)
        assert.strictEqual(Server.valueOf(token), "access-0")
        assert.strictEqual(token.refreshToken._tag, "None")
      }))

    it.scoped("is used to its very end without a refresh token, and then it is an error [parity 139, changed]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start({ login: { withoutRefreshToken: true } })
        yield* due
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        yield* TestClock.adjust("5 seconds")
        const error = yield* Effect.flip(web.get(browser))
        assert.strictEqual(error._tag, "RefreshTokenMissing")
        assert.include(error.message, "offline_access")
        assert.deepStrictEqual(server.asked, [])
      }))

    it.scoped("is used beyond its end if the client wants it so", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* start({
          client: { onMissingRefreshToken: "useExpired" },
          login: { withoutRefreshToken: true }
        })
        yield* over
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
      }))

    it.scoped("is renewed when a tenth of its life is left, and each time with the newest refresh token [parity 140]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.answer = (_, number) =>
          Effect.succeed({
            access: `access-${number}`,
            refresh: `refresh-${number}`,
            idToken: `id:alice:${number}`,
            lifetime: number === 3 ? 36_000 : 100
          })
        yield* TestClock.adjust("91 seconds")
        const first = yield* web.get(browser)
        assert.strictEqual(Server.valueOf(first), "access-1")
        assert.strictEqual(Server.textOf(first.refreshToken), "refresh-1")
        assert.strictEqual(Server.textOf(first.idToken), "id:alice:1")
        assert.strictEqual(Number(first.accessToken.expiresAt?.epochMillis), 191_000)
        yield* TestClock.adjust("91 seconds")
        yield* web.get(browser)
        yield* TestClock.adjust("91 seconds")
        const third = yield* web.get(browser)
        assert.strictEqual(Server.valueOf(third), "access-3")
        yield* TestClock.adjust("6 hours")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-3")
        assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1", "refresh-2"])
      }))

    it.scoped("is renewed a minute before its end at most, or as long as the client says", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* start({ login: { lifetime: 3600 } })
        yield* TestClock.adjust("3539 seconds")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
        const other = yield* start({ login: { lifetime: 3600 }, client: { refreshBefore: "5 minutes" } })
        yield* TestClock.adjust("3299 seconds")
        assert.strictEqual(Server.valueOf(yield* other.web.get(other.browser)), "access-0")
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual(Server.valueOf(yield* other.web.get(other.browser)), "access-1")
      }))

    it.scoped("is another one for each resource and scope, by one refresh token [parity 141]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.answer = ({ parameters }) =>
          Effect.succeed({
            access: `for-${String(parameters.resource)}-${parameters.scope}`,
            lifetime: 100,
            refresh: "refresh-0"
          })
        const a = { resource: "urn:a" }
        const read = { resource: "urn:a", scope: "read" }
        assert.strictEqual(Server.valueOf(yield* web.get(browser, a)), "for-urn:a-undefined")
        assert.strictEqual(Server.valueOf(yield* web.get(browser, read)), "for-urn:a-read")
        const b = yield* web.get(browser, { resource: "urn:b" })
        assert.strictEqual(Server.valueOf(b), "for-urn:b-undefined")
        assert.strictEqual(Server.textOf(b.refreshToken), "refresh-0")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        assert.strictEqual(Server.valueOf(yield* web.get(browser, a)), "for-urn:a-undefined")
        assert.strictEqual(server.asked.length, 3)
      }))

    it.scoped("keeps the refresh token and the ID token that it has where none comes [parity 142]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.answer = (_, number) => Effect.succeed({ access: `access-${number}`, lifetime: 100 })
        yield* due
        const token = yield* web.get(browser)
        assert.strictEqual(Server.textOf(token.refreshToken), "refresh-0")
        assert.strictEqual(Server.textOf(token.idToken), "id:alice")
        yield* due
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-2")
        assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-0"])
      }))

    it.scoped("is each user's own [parity 143]", () =>
      Effect.gen(function*() {
        const { browser: alice, server, web } = yield* start()
        const bob = new Browser()
        yield* web.signIn(bob, { access: "bob-0", refresh: "bobs", principal: Web.principal("bob") })
        server.answer = ({ refreshToken }, number) =>
          Effect.succeed({ access: `by-${refreshToken}-${number}`, lifetime: 5, refresh: refreshToken })
        yield* over
        assert.strictEqual(Server.valueOf(yield* web.get(alice)), "by-refresh-0-1")
        assert.strictEqual(Server.valueOf(yield* web.get(bob)), "by-bobs-2")
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(Server.valueOf(yield* web.get(alice)), "by-refresh-0-3")
        assert.strictEqual(yield* web.whoIs(alice), "alice")
        assert.strictEqual(yield* web.whoIs(bob), "bob")
      }))

    it.scoped("is that of the client that is named, their tokens apart", () =>
      Effect.gen(function*() {
        const server = Server.make()
        const clients = { web: { ...Web.client, default: true }, other: { ...Web.client, clientId: "other" } }
        const { browser, web } = yield* start({ server, clients })
        yield* web.signIn(browser, {
          access: "other-0",
          refresh: "others",
          principal: Web.principal("carol", { clientName: "other" })
        })
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        assert.strictEqual(Server.valueOf(yield* web.get(browser, { client: "other" })), "other-0")
        yield* due
        yield* web.get(browser, { client: "other" })
        yield* web.get(browser)
        assert.deepStrictEqual(server.presented(), ["others", "refresh-0"])
        const error = yield* Effect.flip(web.get(browser, { client: "nobody" }))
        assert.strictEqual(error._tag, "OidcClientNotFound")
      }))

    it.scoped("is new when it is forced, and the later calls use that one", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* start()
        assert.strictEqual(Server.valueOf(yield* web.get(browser, { forceRenewal: true })), "access-1")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
        assert.strictEqual(Server.valueOf(yield* web.get(browser, { forceRenewal: true })), "access-2")
      }))

    it.scoped("is another one than an API rejected: the newer that is there, else a new one", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        const rejected = (yield* web.get(browser)).accessToken
        const renew = (from: Browser) =>
          web.visit(from, () => Effect.flatMap(UserTokenManager.UserTokenManager, (manager) => manager.renew(rejected)))
        const older = browser.copy()
        assert.strictEqual(Server.valueOf(yield* renew(browser)), "access-1")
        assert.strictEqual(Server.valueOf(yield* renew(browser)), "access-1")
        assert.strictEqual(Server.valueOf(yield* renew(older)), "access-1")
        assert.strictEqual(server.asked.length, 1)
      }))

    it.scoped("carries extra parameters and an assertion into the refresh [parity 147, 149]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        const parameters = { audience: "x" }
        const assertion = { type: "urn:t", value: Redacted.make("signed") }
        yield* web.get(browser, { forceRenewal: true, parameters, assertion })
        assert.deepStrictEqual(server.asked[0]?.parameters.parameters, parameters)
        assert.strictEqual(server.asked[0]?.parameters.assertion, assertion)
      }))

    it.scoped("tells of the user again, as the program's hook has it, after a refresh [parity 135]", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const hooks = Layer.succeed(OidcHooks.OidcHooks, {
          transformPrincipal: (principal) =>
            Effect.sync(() => {
              seen.push(String(principal.name))
              return new Principal.Principal({ ...principal, sub: "mallory", roles: [`hooked ${principal.name}`] })
            })
        })
        const { browser, server, web } = yield* start({
          provide: Web.given(Layer.merge(provide ?? Layer.empty, Web.given(hooks)))
        })
        server.answer = () => Effect.succeed({ access: "a", refresh: "r", lifetime: 100, idToken: "id:alice:Alice II" })
        yield* due
        const after = yield* web.visit(
          browser,
          (user) => Effect.zipRight(UserTokenManager.get(), Effect.sync(() => user.principal))
        )
        assert.deepStrictEqual(after._tag === "Some" && [after.value.name, after.value.roles, after.value.sub], [
          "Alice II",
          ["hooked Alice II"],
          "alice"
        ])
        const later = yield* web.visit(browser, ({ principal }) => Effect.succeed(principal))
        assert.deepStrictEqual(later._tag === "Some" && later.value.roles, ["hooked Alice II"])
        assert.deepStrictEqual(seen, ["Alice II"])
      }))

    it.scoped("stays when the hook dies, and that is logged", () =>
      Effect.gen(function*() {
        const log = capture()
        const hooks = Layer.succeed(OidcHooks.OidcHooks, { transformPrincipal: () => Effect.dieMessage("no database") })
        const { browser, web } = yield* Effect.provide(
          start({ provide: Web.given(Layer.merge(provide ?? Layer.empty, Web.given(hooks))) }),
          log.layer
        )
        yield* due
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
        assert.include(log.text(), "what a refresh said of the user could not be kept")
      }))
  })

  describe(`one refresh token, with sessions ${kind}`, () => {
    it.scoped("is sent once for 100 requests across the expiry, and the browser has the newest afterwards", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        Server.slowly(server, "1 seconds")
        yield* over
        const requests = Array.from({ length: 100 }, () => browser.copy())
        const all = yield* Effect.fork(Effect.forEach(requests, (one) => web.get(one), { concurrency: "unbounded" }))
        yield* soon
        assert.deepStrictEqual([...new Set((yield* all).map(Server.valueOf))], ["access-1"])
        yield* over
        const next = yield* Effect.fork(web.get(requests[57]!))
        yield* soon
        assert.strictEqual(Server.valueOf(yield* next), "access-2")
        assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1"])
        assert.deepStrictEqual(server.reused, [])
      }))

    it.scoped("is sent for one resource after the other, and each gets its own", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        let atOnce = 0
        server.answer = ({ parameters }, number) =>
          Effect.gen(function*() {
            assert.strictEqual(++atOnce, 1)
            yield* Effect.sleep("1 seconds")
            atOnce--
            return { access: `for-${String(parameters.resource)}`, lifetime: 3600, refresh: `refresh-${number}` }
          })
        const resources = ["urn:a", "urn:b", "urn:c", "urn:a"]
        const all = yield* Effect.fork(
          Effect.forEach(resources, (resource) => web.get(browser.copy(), { resource }), { concurrency: "unbounded" })
        )
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual((yield* all).map(Server.valueOf), resources.map((resource) => `for-${resource}`))
        assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1", "refresh-2"])
      }))

    it.scoped("serves a forced renewal and a plain one that waited for it", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        Server.slowly(server, "1 seconds")
        yield* due
        const forced = yield* Effect.fork(web.get(browser.copy(), { forceRenewal: true }))
        yield* TestClock.adjust("10 millis")
        const plain = yield* Effect.fork(web.get(browser.copy()))
        yield* soon
        assert.deepStrictEqual([yield* forced, yield* plain].map(Server.valueOf), ["access-1", "access-1"])
        assert.strictEqual(server.asked.length, 1)
      }))
  })

  describe(`a refresh that has begun, with sessions ${kind}`, () => {
    it.scoped("goes on when the request that wanted it is interrupted, and the session lives", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        Server.slowly(server, "5 seconds")
        yield* over
        const request = yield* Effect.fork(web.get(browser.copy()))
        yield* soon
        yield* Fiber.interrupt(request)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
        yield* over
        const next = yield* Effect.fork(web.get(browser))
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(Server.valueOf(yield* next), "access-2")
        assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1"])
      }))

    it.effect("is awaited when the Layer closes; nothing new begins then", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { browser, server, web } = yield* Scope.extend(start(), scope)
        Server.slowly(server, "5 seconds")
        yield* over
        const request = yield* Effect.fork(web.get(browser.copy()))
        yield* soon
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* soon
        assert.strictEqual((yield* Fiber.poll(closing))._tag, "None")
        const error = yield* Effect.flip(web.get(browser.copy(), { resource: "urn:other" }))
        assert.strictEqual(error._tag, "TokenCacheClosed")
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(Server.valueOf(yield* request), "access-1")
        yield* Fiber.join(closing)
        assert.strictEqual(server.asked.length, 1)
      }))

    it.effect("does not hold up the end for more than 10 seconds", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { browser, server, web } = yield* Scope.extend(start(), scope)
        server.answer = () => Effect.never
        yield* over
        yield* Effect.fork(web.get(browser.copy()))
        yield* soon
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("9 seconds")
        assert.strictEqual((yield* Fiber.poll(closing))._tag, "None")
        yield* soon
        yield* Fiber.join(closing)
      }))

    it.scoped("and lands after the user has signed out: its new refresh token is revoked, and nobody is signed in", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        Server.slowly(server, "5 seconds")
        yield* over
        const request = yield* Effect.fork(Effect.flip(web.get(browser.copy())))
        yield* soon
        yield* web.visit(browser, ({ session }) => session.end("SignedOut"))
        yield* TestClock.adjust("5 seconds")
        const error = yield* request
        assert.strictEqual(error._tag, "SessionEnded")
        assert.deepStrictEqual(server.revoked.map(({ hint, token }) => [hint, token]), [["refresh_token", "refresh-1"]])
        assert.strictEqual(yield* web.whoIs(browser), undefined)
      }))
  })

  describe(`a refusal of the server, with sessions ${kind}`, () => {
    it.scoped("of the refresh token ends the session, once for 50 callers, and tells who waits for it", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.answer = () => Effect.fail(Server.refusal("invalid_grant"))
        Server.slowly(server, "1 seconds")
        const ended = yield* Effect.fork(web.visit(browser.copy(), ({ session }) => session.ended))
        yield* over
        const requests = Array.from({ length: 50 }, () => browser.copy())
        const all = yield* Effect.fork(
          Effect.forEach(requests, (one) => Effect.flip(web.get(one)), { concurrency: "unbounded" })
        )
        yield* soon
        for (const error of yield* all) assert.deepInclude(error, { _tag: "SessionEnded", reason: "Refused" })
        assert.strictEqual((yield* ended).reason, "Refused")
        assert.strictEqual(server.asked.length, 1)
        const error = yield* Effect.flip(web.get(requests[20]!))
        assert.strictEqual(error._tag, "NoActiveUser")
      }))

    it.scoped("tells a request that shows the older cookie that nobody is signed in any more", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        const older = browser.copy()
        server.answer = () => Effect.fail(Server.refusal("invalid_grant"))
        yield* over
        yield* Effect.flip(web.get(browser))
        assert.strictEqual(yield* web.whoIs(older), undefined)
        assert.deepStrictEqual(older.last, [])
      }))

    for (
      const [name, failure] of [
        ["a 503", Server.refusal("temporarily_unavailable", 503)],
        ["a reset connection", Server.unreachable],
        ["another refusal", Server.refusal("invalid_client", 401)]
      ] as const
    ) {
      it.scoped(`does not end the session if it is ${name}; the token is used while it is good, with a warning`, () =>
        Effect.gen(function*() {
          const log = capture()
          const { browser, server, web } = yield* Effect.provide(start(), log.layer)
          const { answer } = server
          server.answer = () => Effect.fail(failure)
          yield* due
          assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
          assert.include(log.text(), "WARN")
          assert.include(log.text(), "the current one goes on being used")
          yield* TestClock.adjust("10 seconds")
          const error = yield* Effect.flip(web.get(browser))
          assert.strictEqual(error._tag, failure._tag)
          server.answer = answer
          yield* TestClock.adjust("10 seconds")
          assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-3")
          assert.strictEqual(yield* web.whoIs(browser), "alice")
        }))
    }

    it.scoped("is not waited for by each request while the server is down, and a renewal on demand asks all the same", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.answer = () => Effect.fail(Server.unreachable)
        yield* due
        for (let request = 0; request < 20; request++) {
          assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        }
        assert.strictEqual(server.asked.length, 1)
        yield* TestClock.adjust("1 seconds")
        yield* web.get(browser)
        assert.strictEqual(server.asked.length, 2)
        yield* TestClock.adjust("1 seconds")
        yield* web.get(browser)
        assert.strictEqual(server.asked.length, 2)
        yield* Effect.flip(web.get(browser, { forceRenewal: true }))
        assert.strictEqual(server.asked.length, 3)
      }))

    it.scoped("is no harm if the store holds another refresh token by then", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        const { answer } = server
        const other = browser.copy()
        // Somebody else, who does not take turns, exchanges the token while ours is on its way.
        server.answer = (asked, number) =>
          number > 1 ? answer(asked, number) : Effect.gen(function*() {
            yield* web.visit(other, ({ session }) =>
              Effect.gen(function*() {
                const store = yield* UserTokenStore.UserTokenStore
                yield* UserTokenStore.update(store, session, "web", () =>
                  Web.tokensOf({ access: "theirs", refresh: "refresh-9" }, 101_000))
              })).pipe(Effect.orDie)
            return yield* Server.refusal("invalid_grant")
          })
        yield* over
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "theirs")
        assert.strictEqual(yield* web.whoIs(browser), "alice")
        assert.strictEqual(server.asked.length, 1)
        yield* over
        yield* web.get(browser)
        assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-9"])
      }))
  })

  describe(`the ID token of a refresh, with sessions ${kind}`, () => {
    const answering = (server: Server.TokenServer) => {
      server.answer = (_, number) =>
        Effect.succeed({ access: `access-${number}`, refresh: `refresh-${number}`, lifetime: 100, idToken: "id:bob" })
    }

    it.scoped("of another user ends the session, and the new refresh token is revoked", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        answering(server)
        const ended = yield* Effect.fork(web.visit(browser.copy(), ({ session }) => session.ended))
        yield* over
        const error = yield* Effect.flip(web.get(browser))
        assert.deepInclude(error, { _tag: "SessionEnded", reason: "SubjectChanged" })
        assert.strictEqual((yield* ended).reason, "SubjectChanged")
        assert.strictEqual(yield* web.whoIs(browser), undefined)
        assert.deepStrictEqual(server.revoked.map(({ token }) => token), ["refresh-1"])
      }))

    it.scoped("that cannot be checked is left aside with a warning, and the tokens are kept", () =>
      Effect.gen(function*() {
        const log = capture()
        const failures = [
          Effect.fail(
            new OAuthError.DiscoveryError({
              clientName: "web",
              endpoint: "https://as.test/jwks",
              issuer: "https://as.test",
              problem: "it answered 503",
              retryable: true
            })
          ),
          Effect.never
        ]
        for (const verify of failures) {
          const { browser, server, web } = yield* Effect.provide(
            start({ idTokens: { verify: () => verify } }),
            log.layer
          )
          answering(server)
          yield* due
          const request = yield* Effect.fork(web.get(browser))
          yield* TestClock.adjust("2 seconds")
          const token = yield* request
          assert.strictEqual(Server.valueOf(token), "access-1")
          assert.strictEqual(Server.textOf(token.refreshToken), "refresh-1")
          assert.strictEqual(Server.textOf(token.idToken), "id:alice")
        }
        assert.strictEqual(log.text().split("the ID token of a refresh is not used").length, 3)
      }))
  })

  describe(`revoking, with sessions ${kind}`, () => {
    const revoke = (web: Web.Web, browser: Browser, parameters?: UserTokenManager.RevokeParameters) =>
      web.visit(browser, () => UserTokenManager.revoke(parameters))

    it.scoped("revokes the refresh token and forgets it; the session stays, with the access token", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        yield* revoke(web, browser)
        assert.deepStrictEqual(server.revoked.map(({ hint, token }) => [hint, token]), [["refresh_token", "refresh-0"]])
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
        yield* over
        assert.strictEqual((yield* Effect.flip(web.get(browser)))._tag, "RefreshTokenMissing")
        assert.strictEqual(yield* web.whoIs(browser), "alice")
      }))

    it.scoped("revokes the access token, or both, on request", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        yield* revoke(web, browser, { token: "access" })
        assert.deepStrictEqual(server.revoked.map(({ token }) => token), ["access-0"])
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
        yield* revoke(web, browser, { token: "both" })
        assert.sameMembers(server.revoked.map(({ token }) => token), ["access-0", "access-1", "refresh-1"])
        assert.strictEqual((yield* Effect.flip(web.get(browser)))._tag, "RefreshTokenMissing")
      }))

    it.scoped("tries both although one of them fails, and forgets them; the failure is told", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.revocation = ({ hint }) => hint === "access_token" ? Effect.fail(Server.refusal("x", 503)) : Effect.void
        const error = yield* Effect.flip(revoke(web, browser, { token: "both" }))
        assert.strictEqual(error._tag, "TokenEndpointError")
        assert.sameMembers(server.revoked.map(({ token }) => token), ["access-0", "refresh-0"])
        assert.strictEqual((yield* Effect.flip(web.get(browser)))._tag, "RefreshTokenMissing")
      }))

    it.scoped("is no error where the server cannot revoke: a line for debugging", () =>
      Effect.gen(function*() {
        const log = capture()
        const { browser, server, web } = yield* Effect.provide(start(), log.layer)
        server.revocation = () =>
          Effect.fail(
            new OAuthError.TokenClientInvalid({
              problems: [{ client: "web", field: "revocationEndpoint", problem: "the server has none" }]
            })
          )
        yield* revoke(web, browser)
        assert.include(log.text(), "DEBUG")
        assert.notInclude(log.text(), "ERROR")
        yield* over
        assert.strictEqual((yield* Effect.flip(web.get(browser)))._tag, "RefreshTokenMissing")
      }))

    it.scoped("waits for a refresh that is under way, and revokes what that has brought", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        Server.slowly(server, "5 seconds")
        yield* over
        const request = yield* Effect.fork(web.get(browser.copy()))
        yield* soon
        const revoking = yield* Effect.fork(revoke(web, browser))
        yield* TestClock.adjust("4 seconds")
        yield* Fiber.joinAll([request, revoking] as ReadonlyArray<Fiber.Fiber<unknown, unknown>>)
        assert.deepStrictEqual(server.revoked.map(({ token }) => token), ["refresh-1"])
      }))

    it.scoped("carries extra parameters and an assertion [parity 148]", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        const assertion = { type: "urn:t", value: Redacted.make("signed") }
        yield* revoke(web, browser, { assertion, parameters: { tenant: "t" } })
        assert.deepStrictEqual(server.revoked[0]?.parameters?.parameters, { tenant: "t" })
        assert.strictEqual(server.revoked[0]?.parameters?.assertion, assertion)
      }))

    it.scoped("clear forgets all tokens of a sign-in, and tells nobody", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        yield* web.visit(browser, () => Effect.flatMap(UserTokenManager.UserTokenManager, (manager) => manager.clear()))
        assert.deepStrictEqual(server.revoked, [])
        assert.strictEqual((yield* Effect.flip(web.get(browser)))._tag, "RefreshTokenMissing")
      }))
  })
}

describe("nobody", () => {
  const unasked: UserTokenStore.UserTokenStore["Type"] = {
    get: () => Effect.dieMessage("the store was asked"),
    set: () => Effect.dieMessage("the store was asked"),
    clear: () => Effect.dieMessage("the store was asked")
  }
  const provide = Web.given(Layer.succeed(UserTokenStore.UserTokenStore, unasked))

  it.scoped("has no token, and neither store nor server is asked [parity 131, 133]", () =>
    Effect.gen(function*() {
      const server = Server.make()
      const web = yield* Web.start({ server, provide })
      const error = yield* Effect.flip(web.get(new Browser()))
      assert.deepInclude(error, { _tag: "NoActiveUser", clientName: "web" })
      assert.deepStrictEqual(server.asked, [])
    }))

  it.scoped("is signed in with a client that the session does not know [parity 132]", () =>
    Effect.gen(function*() {
      const clients = { web: { ...Web.client, default: true }, other: Web.client }
      const { browser, web } = yield* signedIn({ clients })
      const error = yield* Effect.flip(web.get(browser, { client: "other" }))
      assert.deepInclude(error, { _tag: "NoActiveUser", clientName: "other" })
    }))

  it.scoped("is there without a web request, unless a session is named", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn({ provide: Web.memory })
      const manager = UserTokenManager.UserTokenManager
      const session = yield* web.visit(browser, ({ session }) => Effect.succeed(session))
      const token = yield* Effect.provide(Effect.flatMap(manager, (manager) => manager.get({ session })), web.context)
      assert.strictEqual(Server.valueOf(token), "access-0")
    }))
})

describe("while the response is on its way", () => {
  const late = (web: Web.Web, browser: Browser, parameters?: UserTokenManager.UserTokenRequestParameters) =>
    Effect.gen(function*() {
      const results: Array<Either.Either<string, string>> = []
      yield* web.visit(browser, () => Effect.void, {
        streaming: (user) =>
          UserTokenManager.get(parameters).pipe(
            Effect.provideService(CurrentUser.CurrentUser, user),
            Effect.provide(web.context),
            Effect.match({
              onFailure: ({ _tag }) => Either.left(_tag),
              onSuccess: (token) => Either.right(Server.valueOf(token))
            }),
            Effect.map((result) => void results.push(result))
          )
      })
      return results[0]
    })

  it.scoped("a session in a cookie cannot be renewed: a typed error, and the refresh token is not sent", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn()
      assert.deepStrictEqual(yield* late(web, browser), Either.right("access-0"))
      yield* due
      assert.deepStrictEqual(yield* late(web, browser), Either.right("access-0"))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* late(web, browser), Either.left("ResponseStarted"))
      assert.deepStrictEqual(yield* late(web, browser, { resource: "urn:x" }), Either.left("ResponseStarted"))
      assert.deepStrictEqual(server.asked, [])
    }))

  it.scoped("it shares the refresh that another request has begun", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn()
      Server.slowly(server, "1 seconds")
      yield* over
      const early = yield* Effect.fork(web.get(browser.copy()))
      yield* TestClock.adjust("10 millis")
      const shared = yield* Effect.fork(late(web, browser.copy()))
      yield* soon
      assert.deepStrictEqual(yield* shared, Either.right("access-1"))
      assert.strictEqual(Server.valueOf(yield* early), "access-1")
    }))

  it.scoped("a session on the server is renewed", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn({ provide: Web.memory })
      yield* over
      assert.deepStrictEqual(yield* late(web, browser), Either.right("access-1"))
      assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
      assert.strictEqual(server.asked.length, 1)
    }))

  it.scoped("others are not refused because the one who was to begin has left", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn()
      Server.slowly(server, "5 seconds")
      yield* over
      // The turn is somebody else's; the next in line leaves while it waits, with one behind it.
      const first = yield* Effect.fork(web.get(browser.copy(), { resource: "urn:a" }))
      yield* soon
      const leaving = yield* Effect.fork(web.get(browser.copy(), { resource: "urn:b" }))
      yield* soon
      const staying = yield* Effect.fork(web.get(browser.copy(), { resource: "urn:b" }))
      yield* soon
      yield* Fiber.interrupt(leaving)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(first)
      assert.strictEqual(Server.valueOf(yield* staying), "access-2")
    }))
})

describe("two processes that share a store", () => {
  it.scoped("renew a session on the server in turns: each refresh token is sent once", () =>
    Effect.gen(function*() {
      const server = Server.make()
      Server.slowly(server, "1 seconds")
      const provide = Web.stored(yield* TokenStore.makeMemory)
      const one = yield* Web.start({ server, provide })
      const two = yield* Web.start({ server, provide })
      const browser = new Browser()
      yield* one.signIn(browser)
      yield* over
      const all = yield* Effect.fork(Effect.forEach(
        Array.from({ length: 20 }, (_, index) => index % 2 === 0 ? one : two),
        (web) => web.get(browser.copy()),
        { concurrency: "unbounded" }
      ))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual([...new Set((yield* all).map(Server.valueOf))], ["access-1"])
      assert.deepStrictEqual(server.presented(), ["refresh-0"])
    }))

  it.scoped("tell each other of sessions in cookies: an older cookie never leads to the older refresh token", () =>
    Effect.gen(function*() {
      const server = Server.make()
      Server.slowly(server, "1 seconds")
      const provide = Web.sharing(yield* TokenStore.makeMemory)
      const one = yield* Web.start({ server, provide })
      const two = yield* Web.start({ server, provide })
      const browser = new Browser()
      yield* one.signIn(browser)
      const older = browser.copy()
      yield* over
      const all = yield* Effect.fork(Effect.forEach(
        [one, two],
        (web) => web.get(older.copy()),
        { concurrency: "unbounded" }
      ))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual((yield* all).map(Server.valueOf), ["access-1", "access-1"])
      assert.strictEqual(Server.valueOf(yield* two.get(older)), "access-1")
      assert.deepStrictEqual(server.presented(), ["refresh-0"])
      yield* over
      const next = yield* Effect.fork(two.get(older))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(Server.valueOf(yield* next), "access-2")
      assert.deepStrictEqual(server.reused, [])
    }))
})

describe("an older cookie", () => {
  it.scoped("is answered with the newer tokens and a new cookie, without a refresh", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn()
      const older = browser.copy()
      yield* over
      yield* web.get(browser)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(Server.valueOf(yield* web.get(older)), "access-1")
      assert.notDeepEqual(older.last, [])
      yield* over
      assert.strictEqual(Server.valueOf(yield* web.get(older)), "access-2")
      assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1"])
    }))

  it.scoped("is renewed also by a request that wants no token", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn()
      const older = browser.copy()
      yield* over
      yield* web.get(browser)
      yield* web.whoIs(older)
      yield* TestClock.adjust("1 hours")
      assert.strictEqual(Server.valueOf(yield* web.get(older)), "access-2")
    }))

  it.scoped("shows the refresh token that it has when the time of grace is over, and the server decides", () =>
    Effect.gen(function*() {
      const { browser, server, web } = yield* signedIn({ sessions: { rotationGrace: "1 minutes" } })
      const older = browser.copy()
      yield* over
      yield* web.get(browser)
      yield* TestClock.adjust("60 seconds")
      const error = yield* Effect.flip(web.get(older))
      assert.deepInclude(error, { _tag: "SessionEnded", reason: "Refused" })
      assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-0"])
    }))
})

describe("a token store of users that misbehaves", () => {
  const over = TestClock.adjust("101 seconds")
  const misbehaving = (
    change: (built: UserTokenStore.UserTokenStore["Type"]) => Partial<UserTokenStore.UserTokenStore["Type"]>
  ) => {
    const built: UserTokenStore.UserTokenStore["Type"] = UserTokenStore.inSession
    const { clear, get, set } = built
    return Web.given(
      Layer.merge(Layer.succeed(UserTokenStore.UserTokenStore, { clear, get, set, ...change(built) }), Web.memory)
    )
  }
  const failing = (change: Parameters<typeof misbehaving>[0], time: Duration.DurationInput) =>
    Effect.gen(function*() {
      // In steps, since each pause begins when the one before has ended.
      const passing = Effect.repeatN(TestClock.adjust(Duration.times(time, 1 / 40)), 39)
      let isBroken = false
      const server = Server.make()
      const provide = misbehaving((built) => {
        const broken = change(built)
        const { get, set } = { ...built, ...broken }
        return {
          get: (...args) => isBroken ? get(...args) : built.get(...args),
          set: (...args) => isBroken ? set(...args) : built.set(...args)
        }
      })
      const web = yield* Web.start({ server, provide })
      const browser = new Browser()
      // A store of its own keeps the tokens of a sign-in here too.
      yield* web.visit(browser, ({ session }) =>
        Effect.gen(function*() {
          const tokens = Web.tokensOf({}, 0)
          yield* session.start(
            new Session.SessionContent({
              signIns: { web: new Session.SignIn({ principal: Web.principal(), tokens }) },
              primary: "web",
              startedAt: 0,
              seenAt: 0
            })
          )
        }))
      yield* over
      isBroken = true
      const request = yield* Effect.fork(Effect.exit(web.get(browser.copy())))
      yield* passing
      const exit = yield* request
      isBroken = false
      const again = yield* Effect.fork(Effect.exit(web.get(browser.copy())))
      yield* passing
      return { exit, server, again: Exit.match(yield* again, { onFailure: () => "", onSuccess: Server.valueOf }) }
    })
  const errorOf = (exit: Exit.Exit<unknown, { readonly _tag: string; readonly message: string }>) =>
    Exit.match(exit, {
      onSuccess: () => "no error",
      onFailure: (cause) => cause._tag === "Fail" ? `${cause.error._tag} ${cause.error.message}` : cause._tag
    })

  it.scoped("that dies is a typed error, and nothing stays locked", () =>
    Effect.gen(function*() {
      const { again, exit, server } = yield* failing(() => ({ get: () => Effect.dieMessage("secret") }), "1 seconds")
      assert.match(errorOf(exit), /^SessionStoreError .*get.*defect/)
      assert.notInclude(errorOf(exit), "secret")
      assert.strictEqual(again, "access-1")
      assert.strictEqual(server.asked.length, 1)
    }))

  it.scoped("that throws is a typed error too", () =>
    Effect.gen(function*() {
      const { again, exit } = yield* failing(() => ({
        get: () => {
          throw new Error("secret")
        }
      }), "1 seconds")
      assert.match(errorOf(exit), /^SessionStoreError .*defect/)
      assert.strictEqual(again, "access-1")
    }))

  it.scoped("that does not answer is a typed error, and nothing stays locked", () =>
    Effect.gen(function*() {
      const { again, exit } = yield* failing(() => ({ get: () => Effect.never }), "10 seconds")
      assert.match(errorOf(exit), /^SessionStoreError .*longer than/)
      assert.strictEqual(again, "access-1")
    }))

  it.scoped("that refuses each write loses nothing: what it does not take is kept in memory", () =>
    Effect.gen(function*() {
      let writes = 0
      const { again, exit, server } = yield* failing(() => ({
        set: () =>
          Effect.sync(() => {
            writes++
            return false
          })
      }), "20 seconds")
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(again, "access-1")
      assert.isBelow(writes, 1000)
      assert.deepStrictEqual(server.presented(), ["refresh-0"])
    }))

  it.scoped("and that fails for a while loses nothing: the write is tried again", () =>
    Effect.gen(function*() {
      let failures = 3
      const { exit, server } = yield* failing((built) => ({
        set: (...args) =>
          failures-- > 0
            ? Effect.fail(new OidcError.SessionStoreError({ operation: "set", problem: "down" }))
            : built.set(...args)
      }), "10 seconds")
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(server.presented(), ["refresh-0"])
    }))

  it.effect("update gives up as well, and says so", () =>
    Effect.gen(function*() {
      const session = yield* Effect.scoped(Effect.gen(function*() {
        const { browser, web } = yield* signedIn({ provide: Web.memory })
        return yield* web.visit(browser, ({ session }) => Effect.succeed(session))
      }))
      let writes = 0
      const store = {
        ...UserTokenStore.inSession,
        set: () =>
          Effect.sync(() => {
            writes++
            return false
          })
      }
      const error = yield* Effect.flip(UserTokenStore.update(store, session, "web", (tokens) => tokens))
      assert.deepInclude(error, { _tag: "SessionStoreError", operation: "update" })
      assert.include(error.problem, "20")
      assert.strictEqual(writes, 20)
    }))
})
