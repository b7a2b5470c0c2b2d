/** A refresh whose store fails at any step: no session is lost, and no refresh token is presented twice. */
import { TokenStore } from "@effect-oauth/core"
import { StoredSession, UserTokenManager } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Either, Exit, Fiber, Option, Redacted, Scope, TestClock } from "effect"
import { Browser } from "./support/browser.ts"
import * as FaultyStore from "./support/faultyStore.ts"
import { capture } from "./support/logging.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

const kinds = [["in cookies", Web.sharing], ["on the server", Web.stored]] as const

const over = TestClock.adjust("101 seconds")
const due = TestClock.adjust("95 seconds")

/** In steps, since a pause begins when the one before has ended: short ones at first. */
const pass = (duration: Duration.DurationInput) =>
  Effect.gen(function*() {
    const all = Duration.toMillis(duration)
    for (let passed = 0; passed < all;) {
      const step = Math.min(passed < 2000 ? 250 : passed < 10_000 ? 1000 : 5000, all - passed)
      yield* TestClock.adjust(step)
      passed += step
    }
  })

for (const [kind, provided] of kinds) {
  /** Two processes over one store, each with a line of its own, and a browser that is signed in. */
  const start = Effect.gen(function*() {
    const store = yield* TokenStore.makeMemory
    const server = Server.make()
    const log = capture()
    const process = (line: FaultyStore.Line) =>
      Effect.provide(Web.start({ server, provide: provided(line.store) }), log.layer)
    const [lineOne, lineTwo] = [FaultyStore.make(store), FaultyStore.make(store)]
    const [one, two] = [yield* process(lineOne), yield* process(lineTwo)]
    const browser = new Browser()
    yield* one.signIn(browser)
    return { server, log, one, two, lineOne, lineTwo, browser, store }
  })

  const tokenOf = (web: Web.Web, browser: Browser, parameters?: UserTokenManager.UserTokenRequestParameters) =>
    Effect.map(
      Effect.either(web.get(browser, parameters)),
      Either.match({ onLeft: ({ _tag }) => _tag, onRight: Server.valueOf })
    )

  describe(`a refresh, with sessions ${kind}, whose store`, () => {
    for (const away of ["12 seconds", "30 seconds", "5 minutes"] as const) {
      it.scoped(`is away for ${away} right after the exchange: the tokens are used, and written when it is back`, () =>
        Effect.gen(function*() {
          const { browser, lineOne, lineTwo, log, one, server, two } = yield* start
          const { answer } = server
          server.answer = (asked, number) =>
            Effect.map(answer(asked, number), (given) => {
              if (number === 1) lineOne.fault = lineTwo.fault = () => "fail"
              return { ...given, lifetime: 3600 }
            })
          const older = browser.copy()
          yield* over
          const first = yield* Effect.fork(tokenOf(one, browser))
          yield* pass("6 seconds")
          assert.strictEqual(yield* first, "access-1")
          assert.include(log.text(), "kept in memory until the store takes them")
          yield* pass(away)
          lineOne.fault = lineTwo.fault = () => undefined
          // The other process finds the store before the first one has written.
          const early = yield* Effect.fork(tokenOf(two, older.copy()))
          yield* pass("6 seconds")
          assert.strictEqual(yield* early, "access-1")
          assert.strictEqual(yield* tokenOf(one, browser), "access-1")
          assert.strictEqual(yield* tokenOf(two, browser), "access-1")
          yield* TestClock.adjust("1 hours")
          assert.strictEqual(yield* tokenOf(two, browser), "access-2")
          assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1"])
        }))
    }

    it.scoped("is away for one process only: the other one gets a retryable error, and presents nothing", () =>
      Effect.gen(function*() {
        const { browser, lineOne, one, server, two } = yield* start
        const { answer } = server
        server.answer = (asked, number) =>
          Effect.map(answer(asked, number), (given) => {
            if (number === 1) lineOne.fault = () => "fail"
            return given
          })
        const older = browser.copy()
        yield* over
        const first = yield* Effect.fork(tokenOf(one, browser))
        yield* pass("16 seconds")
        assert.strictEqual(yield* first, "access-1")
        const other = yield* Effect.fork(Effect.flip(two.get(older.copy())))
        yield* pass("6 seconds")
        assert.deepInclude(yield* other, { _tag: "SessionStoreError", retryable: true })
        assert.deepStrictEqual(server.presented(), ["refresh-0"])
        lineOne.fault = () => undefined
        yield* pass("3 seconds")
        assert.strictEqual(yield* tokenOf(two, older.copy()), "access-1")
      }))

    for (const fault of ["fail", "lose", "hang"] as const) {
      it.scoped(
        `answers any one step with "${fault}": each call has a token or a retryable error, and nothing is lost`,
        () =>
          Effect.gen(function*() {
            const count = yield* Effect.scoped(Effect.gen(function*() {
              const { browser, lineOne, one } = yield* start
              const before = lineOne.steps.length
              yield* over
              yield* tokenOf(one, browser)
              return [before, lineOne.steps.length] as const
            }))
            for (let step = count[0]; step < count[1]; step++) {
              yield* Effect.scoped(Effect.gen(function*() {
                const { browser, lineOne, one, server, two } = yield* start
                lineOne.fault = ({ number }) => number === step ? fault : undefined
                const older = browser.copy()
                yield* over
                const calls = yield* Effect.fork(Effect.all(
                  [Effect.either(one.get(browser)), Effect.delay(Effect.either(two.get(older.copy())), "50 millis")],
                  { concurrency: "unbounded" }
                ))
                yield* pass("90 seconds")
                for (const result of yield* calls) {
                  const is = Either.match(result, { onLeft: ({ retryable }) => retryable, onRight: () => true })
                  assert.isTrue(is, `step ${step}`)
                }
                yield* over
                const later = yield* Effect.fork(tokenOf(two, browser))
                yield* pass("40 seconds")
                assert.match(yield* later, /^access-/, `step ${step}`)
                assert.deepStrictEqual(server.reused, [], `step ${step}`)
              }))
            }
          }),
        60_000
      )
    }

    it.scoped("cannot take the announcement: the refresh does not happen, and the current token is used", () =>
      Effect.gen(function*() {
        const { browser, lineOne, one, server } = yield* start
        lineOne.fault = ({ key }) => key === "refresh-token" ? "fail" : undefined
        yield* due
        assert.strictEqual(yield* tokenOf(one, browser), "access-0")
        assert.strictEqual(yield* tokenOf(one, browser, { forceRenewal: true }), "SessionStoreError")
        assert.deepStrictEqual(server.asked, [])
        lineOne.fault = () => undefined
        assert.strictEqual(yield* tokenOf(one, browser), "access-1")
      }))

    it.scoped("loses the answer to the announcement: it is taken back, and the next process goes on", () =>
      Effect.gen(function*() {
        for (const own of [true, false]) {
          const { browser, lineOne, one, server, two } = yield* start
          lineOne.fault = ({ key, operation }) => key === "refresh-token" && operation === "set" ? "lose" : undefined
          yield* over
          const first = yield* Effect.fork(tokenOf(one, browser))
          yield* pass("11 seconds")
          assert.strictEqual(yield* first, "SessionStoreError")
          lineOne.fault = () => undefined
          yield* pass("2 seconds")
          assert.strictEqual(yield* tokenOf(own ? one : two, browser), "access-1")
          assert.deepStrictEqual(server.presented(), ["refresh-0"])
        }
      }))

    it.scoped("outlives a process that ended with the answer in its hands: the next one asks after half a minute", () =>
      Effect.gen(function*() {
        const store = yield* TokenStore.makeMemory
        const server = Server.make()
        server.answer = (_, number) => number === 1 ? Effect.never : Effect.fail(Server.refusal("invalid_grant"))
        const scope = yield* Scope.make()
        const one = yield* Scope.extend(Web.start({ server, provide: provided(store) }), scope)
        const two = yield* Web.start({ server, provide: provided(store) })
        const browser = new Browser()
        yield* one.signIn(browser)
        yield* over
        const lost = yield* Effect.fork(Effect.exit(one.get(browser.copy())))
        yield* pass("1 seconds")
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* pass("11 seconds")
        yield* Fiber.join(closing)
        yield* Fiber.interrupt(lost)
        const early = yield* Effect.fork(tokenOf(two, browser))
        yield* pass("6 seconds")
        assert.strictEqual(yield* early, "SessionStoreError")
        assert.strictEqual(server.asked.length, 1)
        yield* pass("30 seconds")
        const late = yield* Effect.fork(tokenOf(two, browser))
        yield* pass("6 seconds")
        assert.strictEqual(yield* late, "SessionEnded")
        assert.strictEqual(server.asked.length, 2)
      }))

    it.scoped("is away while tokens are revoked: the server revokes them, and the caller is told", () =>
      Effect.gen(function*() {
        const { browser, lineOne, one, server } = yield* start
        lineOne.fault = ({ operation }) => operation === "set" ? "fail" : undefined
        const error = yield* Effect.flip(one.visit(browser, () => UserTokenManager.revoke()))
        assert.deepInclude(error, { _tag: "SessionStoreError", retryable: true })
        assert.deepStrictEqual(server.revoked.map(({ token }) => token), ["refresh-0"])
      }))

    it.scoped("hangs: a token that has ended meanwhile is not handed out", () =>
      Effect.gen(function*() {
        const { browser, one, server } = yield* start
        server.answer = () => Effect.delay(Effect.fail(Server.unreachable), "10 seconds")
        yield* due
        const late = yield* Effect.fork(tokenOf(one, browser))
        yield* pass("11 seconds")
        assert.strictEqual(yield* late, "TokenTransportError")
      }))

    it.scoped("holds tokens that were cleared while it ran: they stay cleared, and the new refresh token is revoked", () =>
      Effect.gen(function*() {
        const { browser, one, server } = yield* start
        Server.slowly(server, "1 seconds")
        yield* over
        const refresh = yield* Effect.fork(tokenOf(one, browser.copy()))
        yield* TestClock.adjust("500 millis")
        yield* one.visit(browser, () => Effect.flatMap(UserTokenManager.UserTokenManager, ({ clear }) => clear()))
        yield* pass("2 seconds")
        assert.strictEqual(yield* refresh, "SessionEnded")
        assert.deepStrictEqual(server.revoked.map(({ token }) => token), ["refresh-1"])
        assert.strictEqual(yield* tokenOf(one, browser), "RefreshTokenMissing")
      }))
  })
}

describe("two clients of one session in cookies", () => {
  it.scoped("are renewed by two processes at once, and neither loses its refresh token", () =>
    Effect.gen(function*() {
      const server = Server.make()
      server.answer = ({ refreshToken }) =>
        Effect.succeed({ access: `for-${refreshToken}`, lifetime: 100, refresh: `${refreshToken}+` })
      Server.slowly(server, "1 seconds")
      const clients = { web: { ...Web.client, default: true }, other: { ...Web.client, clientId: "other" } }
      const provide = Web.sharing(yield* TokenStore.makeMemory)
      const one = yield* Web.start({ server, provide, clients })
      const two = yield* Web.start({ server, provide, clients })
      const browser = new Browser()
      yield* one.signIn(browser, { refresh: "a" })
      yield* one.signIn(browser, { refresh: "b", principal: Web.principal("alice", { clientName: "other" }) })
      yield* over
      const [first, second] = [browser.copy(), browser.copy()]
      const both = yield* Effect.fork(Effect.all(
        [one.get(first, { client: "web" }), two.get(second, { client: "other" })],
        { concurrency: "unbounded" }
      ))
      yield* pass("3 seconds")
      yield* both
      yield* over
      for (const browser of [first, second]) {
        for (const client of ["web", "other"]) {
          const next = yield* Effect.fork(two.get(browser, { client }))
          yield* pass("3 seconds")
          assert.match(Server.valueOf(yield* next), client === "web" ? /^for-a\+/ : /^for-b\+/)
        }
      }
      assert.deepStrictEqual(server.reused, [])
    }))
})

describe("a refresh token that is adopted", () => {
  /** Two starts of a program over one store. */
  const start = Effect.gen(function*() {
    const store = yield* TokenStore.makeMemory
    const server = Server.make()
    Server.slowly(server, "1 seconds")
    const [lineOne, lineTwo] = [FaultyStore.make(store), FaultyStore.make(store)]
    const [one, two] = [
      yield* Web.start({ server, provide: Web.stored(lineOne.store) }),
      yield* Web.start({ server, provide: Web.stored(lineTwo.store) })
    ]
    const adopt = (web: Web.Web) =>
      StoredSession.adopt("me", Redacted.make("refresh-0"), { sub: "alice" }).pipe(
        Effect.provide(web.context),
        Effect.provide(server.layer)
      )
    /** What the session that is kept there has. */
    const kept = (web: Web.Web) =>
      Effect.provide(
        Effect.gen(function*() {
          const session = Option.getOrThrow(yield* StoredSession.open("me"))
          const { get } = yield* UserTokenManager.UserTokenManager
          return Server.textOf((yield* get({ session })).refreshToken)
        }),
        web.context
      )
    return { server, lineOne, lineTwo, one, two, adopt, kept }
  })

  it.scoped("is kept with its successor although its caller is interrupted", () =>
    Effect.gen(function*() {
      const { adopt, kept, one, server, two } = yield* start
      const caller = yield* Effect.fork(adopt(one))
      yield* TestClock.adjust("500 millis")
      const interruption = yield* Effect.fork(Fiber.interrupt(caller))
      yield* pass("2 seconds")
      yield* Fiber.join(interruption)
      assert.strictEqual(yield* kept(two), "refresh-1")
      assert.deepStrictEqual(server.presented(), ["refresh-0"])
    }))

  for (const away of ["12 seconds", "30 seconds"] as const) {
    it.scoped(`is kept with its successor although the store is away for ${away} after the exchange`, () =>
      Effect.gen(function*() {
        const { adopt, kept, lineOne, one, server, two } = yield* start
        const { answer } = server
        server.answer = (asked, number) =>
          Effect.tap(answer(asked, number), () =>
            Effect.sync(() => {
              lineOne.fault = () => "fail"
            }))
        const caller = yield* Effect.fork(adopt(one))
        yield* pass(away)
        lineOne.fault = () => undefined
        yield* pass("6 seconds")
        yield* caller
        assert.strictEqual(yield* kept(two), "refresh-1")
        assert.deepStrictEqual(server.presented(), ["refresh-0"])
      }))
  }

  it.scoped("is presented once by processes and callers that start together, and all have the same session", () =>
    Effect.gen(function*() {
      const { adopt, kept, one, server, two } = yield* start
      const all = yield* Effect.fork(Effect.all([adopt(one), adopt(two), adopt(one), adopt(two)], {
        concurrency: "unbounded"
      }))
      yield* pass("5 seconds")
      assert.strictEqual(new Set((yield* all).map(({ key }) => key)).size, 1)
      assert.strictEqual(yield* kept(two), "refresh-1")
      assert.deepStrictEqual(server.presented(), ["refresh-0"])
    }))

  it.scoped("gives the session that came of it before, and is not presented again", () =>
    Effect.gen(function*() {
      const { adopt, kept, one, server, two } = yield* start
      const first = yield* Effect.fork(adopt(one))
      yield* pass("2 seconds")
      yield* first
      const second = yield* Effect.fork(adopt(two))
      yield* pass("2 seconds")
      yield* second
      assert.strictEqual(yield* kept(two), "refresh-1")
      assert.deepStrictEqual(server.presented(), ["refresh-0"])
    }))

  it.scoped("that the server refuses is refused to the next caller without a request", () =>
    Effect.gen(function*() {
      const { adopt, one, server, two } = yield* start
      server.answer = () => Effect.fail(Server.refusal("invalid_grant"))
      assert.strictEqual((yield* Effect.flip(adopt(one)))._tag, "TokenEndpointError")
      const early = yield* Effect.fork(Effect.flip(adopt(two)))
      yield* pass("36 seconds")
      assert.strictEqual((yield* early)._tag, "SessionStoreError")
      const late = yield* Effect.fork(Effect.flip(adopt(two)))
      yield* pass("1 seconds")
      assert.deepInclude(yield* late, { _tag: "SignInRequired", reason: "Used" })
      assert.strictEqual(server.asked.length, 1)
    }))

  it.scoped("and the tokens of a login are kept although the store is away, or the caller is interrupted", () =>
    Effect.gen(function*() {
      const { kept, lineOne, one, two } = yield* start
      const response = {
        accessToken: Server.accessToken({ access: "access-9", lifetime: 100 }, yield* Clock.currentTimeMillis),
        refreshToken: Redacted.make("refresh-9"),
        idToken: undefined,
        issuedTokenType: undefined,
        raw: Redacted.make({})
      }
      lineOne.fault = () => "fail"
      const caller = yield* Effect.fork(
        Effect.provide(StoredSession.keep("me", response, { sub: "alice" }), one.context)
      )
      yield* pass("1 seconds")
      const interruption = yield* Effect.fork(Fiber.interrupt(caller))
      yield* pass("12 seconds")
      lineOne.fault = () => undefined
      yield* pass("6 seconds")
      yield* Fiber.join(interruption)
      assert.strictEqual(yield* kept(two), "refresh-9")
    }))
})
