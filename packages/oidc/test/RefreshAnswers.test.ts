/** What the answers to a refresh mean: the user has to sign in again, not now, or a wrong configuration. */
import { OAuthError } from "@effect-oauth/core"
import { OidcError, type UserTokenManager } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Effect, TestClock } from "effect"
import * as MovableClock from "../../core/test/support/movableClock.ts"
import { Browser } from "./support/browser.ts"
import { capture } from "./support/logging.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

const kinds = [["in cookies", undefined], ["on the server", Web.memory]] as const

const from = { clientName: "web", endpoint: "https://as.test/token" }

const bare = (status: number) => new OAuthError.TokenResponseInvalid({ ...from, status, problem: "its body is empty" })

const jwt = (claims: Readonly<Record<string, unknown>>): string =>
  `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`

const ours = { iss: "https://as.test", aud: "web", sub: "alice" }

/** A verifier that refuses every ID token of a refresh, for this reason. */
const refusing = (reason: OidcError.IdTokenInvalid["reason"]) => ({
  verify: () => new OidcError.IdTokenInvalid({ clientName: "web", reason, problem: `its ${reason} is wrong` })
})

const over = TestClock.adjust("101 seconds")
const due = TestClock.adjust("95 seconds")

for (const [kind, provide] of kinds) {
  const start = (options: Web.Options = {}) =>
    Effect.gen(function*() {
      const server = Server.make()
      const log = capture()
      const web = yield* Effect.provide(Web.start({ provide, server, ...options }), log.layer)
      const browser = new Browser()
      yield* web.signIn(browser)
      return { server, web, browser, log }
    })

  const tenTimes = (web: Web.Web, browser: Browser, parameters?: UserTokenManager.UserTokenRequestParameters) =>
    Effect.replicateEffect(Effect.flip(web.get(browser, parameters)), 10)

  describe(`an answer to a refresh, with sessions ${kind}`, () => {
    for (
      const error of [
        "interaction_required",
        "login_required",
        "consent_required",
        "account_selection_required",
        "unmet_authentication_requirements",
        "access_denied",
        "expired_token",
        "invalid_token"
      ]
    ) {
      it.scoped(`${error} asks the user to sign in again: one request for ten calls, and nothing is cleared`, () =>
        Effect.gen(function*() {
          const { browser, server, web } = yield* start()
          const { answer } = server
          server.answer = () => Effect.fail(Server.refusal(error))
          yield* over
          for (const failure of yield* tenTimes(web, browser)) {
            assert.deepInclude(failure, { _tag: "SignInRequired", clientName: "web", retryable: false })
            assert.include(failure.message, error)
          }
          assert.strictEqual(server.asked.length, 1)
          assert.strictEqual(yield* web.whoIs(browser), "alice")
          server.answer = answer
          yield* TestClock.adjust("31 seconds")
          assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-2")
        }))
    }

    for (const status of [400, 401]) {
      it.scoped(`a bare ${status} asks the user to sign in again, and a proxy's mistake signs out for no longer`, () =>
        Effect.gen(function*() {
          const { browser, server, web } = yield* start()
          const { answer } = server
          server.answer = () => Effect.fail(bare(status))
          yield* due
          assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
          yield* TestClock.adjust("6 seconds")
          for (const failure of yield* tenTimes(web, browser)) {
            assert.deepInclude(failure, { _tag: "SignInRequired", reason: "Refused" })
          }
          assert.strictEqual(server.asked.length, 1)
          server.answer = answer
          yield* TestClock.adjust("31 seconds")
          assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-2")
          assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-0"])
        }))
    }

    for (
      const failure of [
        Server.refusal("invalid_client", 401),
        Server.refusal("unauthorized_client"),
        Server.refusal("unsupported_grant_type"),
        Server.refusal("invalid_request"),
        Server.refusal("invalid_scope"),
        Server.refusal("invalid_target"),
        Server.refusal("invalid_dpop_proof"),
        bare(403),
        bare(404)
      ]
    ) {
      const what = failure._tag === "TokenEndpointError" ? failure.error : `a bare ${failure.status}`
      it.scoped(`${what} is a wrong configuration: the error itself, one request for ten calls`, () =>
        Effect.gen(function*() {
          const { browser, server, web } = yield* start()
          server.answer = () => Effect.fail(failure)
          yield* over
          for (const error of yield* tenTimes(web, browser)) assert.strictEqual(error._tag, failure._tag)
          assert.strictEqual(server.asked.length, 1)
          assert.strictEqual(yield* web.whoIs(browser), "alice")
        }))
    }

    it.scoped("that concerns one resource leaves the others alone", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.answer = ({ parameters }, number) =>
          parameters.resource === undefined
            ? Effect.succeed({ access: `access-${number}`, lifetime: 100, refresh: `refresh-${number}` })
            : Effect.fail(Server.refusal("invalid_target"))
        yield* over
        yield* Effect.flip(web.get(browser, { resource: "https://api.test" }))
        assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-2")
      }))

    for (
      const failure of [
        Server.refusal("temporarily_unavailable"),
        Server.refusal("server_error"),
        Server.refusal("slow_down"),
        bare(429),
        bare(502),
        Server.unreachable
      ]
    ) {
      const what = failure._tag === "TokenEndpointError"
        ? failure.error
        : failure._tag === "TokenResponseInvalid"
        ? `a bare ${failure.status}`
        : "a reset connection"
      it.scoped(`${what} is worth another try later, with pauses between the requests`, () =>
        Effect.gen(function*() {
          const { browser, server, web } = yield* start()
          server.answer = () => Effect.fail(failure)
          yield* over
          for (const error of yield* tenTimes(web, browser)) {
            assert.deepInclude(error, { _tag: failure._tag, retryable: true })
          }
          assert.strictEqual(server.asked.length, 1)
          assert.strictEqual(yield* web.whoIs(browser), "alice")
        }))
    }

    it.scoped("worth another try is tried again after its pause, though the clock is set back", () =>
      Effect.gen(function*() {
        const { clock, moveWall } = yield* MovableClock.make
        yield* Effect.gen(function*() {
          const { browser, server, web } = yield* start()
          const answer = server.answer
          server.answer = () => Effect.fail(Server.unreachable)
          yield* over
          yield* Effect.flip(web.get(browser.copy()))
          server.answer = answer
          moveWall("50 seconds", -1)
          yield* TestClock.adjust("45 seconds")
          assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-2")
        }).pipe(Effect.withClock(clock))
      }))

    it.scoped("that refuses the refresh token for good is the last one for it, also where a renewal is forced", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start()
        server.answer = () => Effect.fail(Server.refusal("invalid_grant"))
        const older = browser.copy()
        yield* over
        const failures = yield* Effect.replicateEffect(
          Effect.flip(web.get(older.copy(), { forceRenewal: true })),
          10
        )
        assert.deepInclude(failures[0], { _tag: "SessionEnded", reason: "Refused" })
        assert.strictEqual(server.asked.length, 1)
      }))

    it.scoped("that ends a sign-in has a line in the log", () =>
      Effect.gen(function*() {
        const { browser, log, server, web } = yield* start()
        server.answer = () => Effect.fail(Server.refusal("invalid_grant"))
        yield* over
        yield* Effect.flip(web.get(browser))
        assert.match(log.text(), /WARN.*sign-in.*refused the refresh token/)
      }))
  })

  describe(`the ID token of a refresh, with sessions ${kind}`, () => {
    const answering = (server: Server.TokenServer, idToken: string) => {
      server.answer = (_, number) =>
        Effect.succeed({ access: `access-${number}`, refresh: `refresh-${number}`, lifetime: 100, idToken })
    }

    for (
      const reason of [
        "form",
        "algorithm",
        "type",
        "key",
        "signature",
        "azp",
        "exp",
        "iat",
        "nbf",
        "nonce",
        "at_hash",
        "auth_time",
        "acr"
      ] as const
    ) {
      it.scoped(`that fails by its ${reason} is not used, with a warning; tokens and sign-in are kept`, () =>
        Effect.gen(function*() {
          const { browser, log, server, web } = yield* start({ idTokens: refusing(reason) })
          answering(server, jwt(ours))
          yield* over
          const token = yield* web.get(browser)
          assert.strictEqual(Server.textOf(token.refreshToken), "refresh-1")
          assert.strictEqual(Server.textOf(token.idToken), "id:alice")
          assert.match(log.text(), /WARN.*the ID token of a refresh is not used/)
          assert.strictEqual(yield* web.whoIs(browser), "alice")
          assert.deepStrictEqual(server.revoked, [])
        }))
    }

    for (
      const [what, claims] of [["iss", { iss: "https://other.test" }], ["sub", { sub: "bob" }], ["aud", {
        aud: "x"
      }]] as const
    ) {
      it.scoped(`that is signed and has another ${what} ends the sign-in, and the new refresh token is revoked`, () =>
        Effect.gen(function*() {
          const { browser, log, server, web } = yield* start({ idTokens: refusing(what) })
          answering(server, jwt({ ...ours, ...claims }))
          yield* over
          assert.deepInclude(yield* Effect.flip(web.get(browser)), { _tag: "SessionEnded", reason: "SubjectChanged" })
          assert.deepStrictEqual(server.revoked.map(({ token }) => token), ["refresh-1"])
          assert.strictEqual(yield* web.whoIs(browser), undefined)
          assert.match(log.text(), /WARN.*sign-in.*another user/)
        }))
    }

    it.scoped("that cannot be verified and names another user: neither is it kept nor is anything revoked", () =>
      Effect.gen(function*() {
        const { browser, server, web } = yield* start({ idTokens: refusing("key") })
        answering(server, jwt({ ...ours, sub: "bob" }))
        yield* over
        const failures = yield* tenTimes(web, browser)
        assert.deepInclude(failures[0], { _tag: "SignInRequired", reason: "Identity" })
        for (const failure of failures.slice(1)) assert.isFalse(failure.retryable)
        assert.deepStrictEqual(server.presented(), ["refresh-0"])
        assert.deepStrictEqual(server.revoked, [])
        assert.strictEqual(yield* web.whoIs(browser), "alice")
      }))
  })
}
