import { AccessToken, OAuthError, TokenCache } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Clock, DateTime, Deferred, Duration, Effect, Exit, Fiber, Layer, Redacted, Schema, TestClock } from "effect"
import { TokenType } from "../src/OAuthValues.ts"

const bearer = Schema.decodeSync(TokenType)("Bearer")

const tokenNow = (value: string, seconds: number | undefined) =>
  Effect.map(Clock.currentTimeMillis, (now) =>
    new AccessToken.AccessToken({
      value: Redacted.make(value),
      type: bearer,
      clientName: "worker",
      obtainedAt: DateTime.unsafeMake(now),
      expiresAt: seconds === undefined ? undefined : DateTime.unsafeMake(now + seconds * 1000)
    }))

const down = new OAuthError.TokenTransportError({ clientName: "worker", endpoint: "as", reason: "Connection" })

interface Server {
  requests: number
  probes: number
  interrupted: number
  lifetime: number | undefined
  delay: Duration.DurationInput
  fails: OAuthError.AccessTokenError | undefined
}

const make = (options: Partial<Server> = {}) => {
  const server: Server = {
    requests: 0,
    probes: 0,
    interrupted: 0,
    lifetime: 100,
    delay: 0,
    fails: undefined,
    ...options
  }
  const request: TokenCache.TokenCacheRequest = {
    key: "worker",
    clientName: "worker",
    endpoint: "as",
    expiryBuffer: Duration.seconds(60),
    refreshAhead: true,
    acquireTimeout: Duration.seconds(20),
    acquire: ({ retries }) =>
      Effect.suspend(() => {
        server.requests++
        if (!retries) server.probes++
        const number = server.requests
        const { fails, lifetime } = server
        return Effect.zipRight(
          Effect.sleep(server.delay),
          fails === undefined ? tokenNow(`token-${number}`, lifetime) : Effect.fail(fails)
        )
      }).pipe(Effect.onInterrupt(() => Effect.sync(() => server.interrupted++)))
  }
  return { server, request }
}

const valueOf = (token: AccessToken.AccessToken) => Redacted.value(token.value)

const withCache = <A, E, R>(
  use: (cache: TokenCache.TokenCache["Type"]) => Effect.Effect<A, E, R>,
  options?: TokenCache.Options
): Effect.Effect<A, E, Exclude<Exclude<R, TokenCache.TokenCache>, Scope.Scope>> =>
  Effect.scoped(Effect.flatMap(TokenCache.make(options), use)) as Effect.Effect<
    A,
    E,
    Exclude<Exclude<R, TokenCache.TokenCache>, Scope.Scope>
  >

/** Lets fibers that are ready run. */
const settle = Effect.repeatN(Effect.yieldNow(), 50)

describe("TokenCache", () => {
  describe("times", () => {
    it.effect("serves the same token until it counts as expired [parity 9, 42]", () => {
      const { request, server } = make({ lifetime: 30 })
      return withCache((cache) =>
        Effect.gen(function*() {
          const off = { ...request, refreshAhead: false }
          const first = yield* cache.get(off)
          yield* TestClock.adjust("26999 millis")
          assert.strictEqual(yield* cache.get(off), first)
          assert.strictEqual(server.requests, 1)
          // A tenth of 30 s before the end.
          yield* TestClock.adjust("1 millis")
          assert.strictEqual(valueOf(yield* cache.get(off)), "token-2")
        })
      )
    })

    it.effect("never lets the buffer be longer than its 60 seconds, by the clock of the program [parity 64]", () => {
      const { request, server } = make({ lifetime: 36_000 })
      return withCache((cache) =>
        Effect.gen(function*() {
          const off = { ...request, refreshAhead: false }
          yield* cache.get(off)
          yield* TestClock.adjust(Duration.seconds(36_000 - 61))
          yield* cache.get(off)
          assert.strictEqual(server.requests, 1)
          yield* TestClock.adjust("1 seconds")
          yield* cache.get(off)
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("a token of one second works, one request for each use at the most", () => {
      const { request, server } = make({ lifetime: 1 })
      return withCache((cache) =>
        Effect.gen(function*() {
          for (let uses = 1; uses <= 20; uses++) {
            const before = server.requests
            yield* cache.get(request)
            yield* settle
            assert.isAtMost(server.requests - before, 1)
            yield* TestClock.adjust("450 millis")
          }
        })
      )
    })

    it.effect("a token without lifetime serves its waiters and is not kept", () => {
      const { request, server } = make({ lifetime: 0, delay: "1 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const both = yield* Effect.fork(Effect.all([cache.get(request), cache.get(request)], { concurrency: 2 }))
          yield* TestClock.adjust("1 seconds")
          assert.deepStrictEqual((yield* both).map(valueOf), ["token-1", "token-1"])
          const next = yield* Effect.fork(cache.get(request))
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* next), "token-2")
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("a token that never expires is never renewed", () => {
      const { request, server } = make({ lifetime: undefined })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* cache.get(request)
          yield* TestClock.adjust("3650 days")
          yield* cache.get(request)
          assert.strictEqual(server.requests, 1)
        })
      )
    })
  })

  describe("refresh ahead", () => {
    it.effect("hands out the current token at once and renews it in the background from 80 % on", () => {
      const { request, server } = make({ lifetime: 1000, delay: "5 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const first = yield* Effect.fork(cache.get(request))
          yield* TestClock.adjust("5 seconds")
          yield* first
          yield* TestClock.adjust("740 seconds")
          yield* cache.get(request)
          assert.strictEqual(server.requests, 1)
          yield* TestClock.adjust("60 seconds")
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-1")
          yield* settle
          assert.strictEqual(server.requests, 2)
          yield* TestClock.adjust("5 seconds")
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-2")
        })
      )
    })

    it.effect("starts one renewal in 10 seconds at the most, and none in the back-off after a failed one", () => {
      const { request, server } = make({ lifetime: 1000 })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* cache.get(request)
          server.fails = down
          yield* TestClock.adjust("810 seconds")
          for (let second = 0; second < 10; second++) {
            assert.strictEqual(valueOf(yield* cache.get(request)), "token-1")
            yield* settle
            yield* TestClock.adjust("990 millis")
          }
          assert.strictEqual(server.requests, 2)
          yield* TestClock.adjust("1 seconds")
          yield* cache.get(request)
          yield* settle
          assert.strictEqual(server.requests, 3)
        })
      )
    })

    it.effect("goes on when the caller that started it is interrupted", () => {
      const { request, server } = make({ lifetime: 1000 })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* cache.get(request)
          server.delay = "1 seconds"
          yield* TestClock.adjust("810 seconds")
          const caller = yield* Effect.fork(Effect.zipRight(cache.get(request), Effect.never))
          yield* settle
          yield* Fiber.interrupt(caller)
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-2")
          assert.strictEqual(server.interrupted, 0)
        })
      )
    })
  })

  describe("a renewal ahead of expiry", () => {
    it.effect("is not cancelled when those who joined it leave", () => {
      const { request, server } = make({ lifetime: 1000 })
      return withCache((cache) =>
        Effect.gen(function*() {
          const old = yield* cache.get(request)
          server.delay = "1 seconds"
          yield* TestClock.adjust("810 seconds")
          yield* cache.get(request)
          const joiner = yield* Effect.fork(cache.renew(request, old))
          yield* settle
          yield* Fiber.interrupt(joiner)
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-2")
          assert.deepStrictEqual([server.requests, server.interrupted], [2, 0])
        })
      )
    })
  })

  describe("single flight", () => {
    it.effect("nobody joins a flight that is being cancelled", () => {
      const { request, server } = make({ delay: "1 seconds" })
      const slow = {
        ...request,
        acquire: (options: { readonly retries: boolean }) =>
          Effect.onInterrupt(request.acquire(options), () => Effect.sleep("5 seconds"))
      }
      return withCache((cache) =>
        Effect.gen(function*() {
          const first = yield* Effect.fork(cache.get(slow))
          yield* settle
          yield* Fiber.interrupt(first)
          const second = yield* Effect.fork(cache.get(slow))
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* second), "token-2")
          assert.strictEqual(server.requests, 2)
          // The end of the scope waits for the flight that is being cancelled.
          yield* TestClock.adjust("5 seconds")
        })
      )
    })

    it.effect("10,000 callers on a cold key make one request", () => {
      const { request, server } = make({ delay: "1 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const all = yield* Effect.fork(
            Effect.all(Array.from({ length: 10_000 }, () => cache.get(request)), { concurrency: "unbounded" })
          )
          yield* TestClock.adjust("1 seconds")
          const tokens = yield* all
          assert.strictEqual(tokens.length, 10_000)
          assert.isTrue(tokens.every((token) => token === tokens[0]))
          assert.strictEqual(server.requests, 1)
        })
      )
    })

    it.effect("the caller that started the flight is interrupted: the others still get the token", () => {
      const { request, server } = make({ delay: "1 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const first = yield* Effect.fork(cache.get(request))
          yield* settle
          const second = yield* Effect.fork(cache.get(request))
          yield* settle
          yield* Fiber.interrupt(first)
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* second), "token-1")
          assert.strictEqual(server.requests, 1)
        })
      )
    })

    it.effect("all callers are interrupted: the request is cancelled, and the next caller starts anew", () => {
      const { request, server } = make({ delay: "1 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const callers = yield* Effect.all([Effect.fork(cache.get(request)), Effect.fork(cache.get(request))])
          yield* settle
          yield* Fiber.interruptAll(callers)
          yield* settle
          assert.strictEqual(server.interrupted, 1)
          const next = yield* Effect.fork(cache.get(request))
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* next), "token-2")
        })
      )
    })

    it.effect("a flight that was started in an uninterruptible region can still be cancelled", () => {
      const { request, server } = make({ delay: "1 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const started = yield* Deferred.make<void>()
          const caller = yield* Effect.fork(
            Effect.uninterruptibleMask((restore) =>
              Effect.zipRight(Deferred.succeed(started, undefined), restore(cache.get(request)))
            )
          )
          yield* Deferred.await(started)
          yield* settle
          yield* Fiber.interrupt(caller)
          yield* settle
          assert.strictEqual(server.interrupted, 1)
        })
      )
    })

    it.effect("a failed acquisition is not kept as a token [parity 63]", () => {
      const { request, server } = make({ fails: down })
      return withCache((cache) =>
        Effect.gen(function*() {
          assert.strictEqual((yield* Effect.flip(cache.get(request)))._tag, "TokenTransportError")
          server.fails = undefined
          yield* TestClock.adjust("2 seconds")
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-2")
        })
      )
    })

    it.effect("ends within acquireTimeout", () => {
      const { request, server } = make({ delay: "1 hours" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const caller = yield* Effect.fork(Effect.flip(cache.get(request)))
          yield* TestClock.adjust("20 seconds")
          const error = yield* caller
          assert.strictEqual(error._tag, "TokenTransportError")
          assert.strictEqual(server.interrupted, 1)
        })
      )
    })

    it.effect("when the Layer closes, waiters and later callers get a typed error", () => {
      const { request, server } = make({ delay: "1 seconds" })
      return Effect.gen(function*() {
        const { cache, waiter } = yield* withCache((cache) =>
          Effect.gen(function*() {
            const waiter = yield* Effect.forkDaemon(cache.get(request))
            yield* settle
            return { cache, waiter }
          })
        )
        assert.strictEqual((yield* Effect.flip(Fiber.join(waiter)))._tag, "TokenCacheClosed")
        assert.strictEqual(server.interrupted, 1)
        assert.strictEqual((yield* Effect.flip(cache.get(request)))._tag, "TokenCacheClosed")
      })
    })
  })

  describe("renew", () => {
    it.effect("hands out a newer token instead of renewing, so a late 401 about an old one throws nothing away", () => {
      const { request, server } = make()
      return withCache((cache) =>
        Effect.gen(function*() {
          const old = yield* cache.get(request)
          const next = yield* cache.renew(request, old)
          assert.strictEqual(valueOf(next), "token-2")
          assert.strictEqual(yield* cache.renew(request, old), next)
          assert.strictEqual(yield* cache.get(request), next)
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("10,000 rejections at once make one request", () => {
      const { request, server } = make()
      return withCache((cache) =>
        Effect.gen(function*() {
          const old = yield* cache.get(request)
          server.delay = "1 seconds"
          const all = yield* Effect.fork(
            Effect.all(Array.from({ length: 10_000 }, () => cache.renew(request, old)), { concurrency: "unbounded" })
          )
          yield* TestClock.adjust("1 seconds")
          assert.isTrue((yield* all).every((token) => valueOf(token) === "token-2"))
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("joins a normal flight that is under way and is content with its token", () => {
      const { request, server } = make()
      return withCache((cache) =>
        Effect.gen(function*() {
          const old = yield* cache.get(request)
          yield* cache.remove(request)
          server.delay = "1 seconds"
          const normal = yield* Effect.fork(cache.get(request))
          yield* settle
          const renewal = yield* Effect.fork(cache.renew(request, old))
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(yield* renewal, yield* normal)
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("a forced caller shares with forced callers; a normal one may join it", () => {
      const { request, server } = make({ delay: "1 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const calls = yield* Effect.fork(Effect.all([
            cache.get(request, { forceRenewal: true }),
            cache.get(request, { forceRenewal: true }),
            cache.get(request)
          ], { concurrency: "unbounded" }))
          yield* TestClock.adjust("1 seconds")
          assert.deepStrictEqual((yield* calls).map(valueOf), ["token-1", "token-1", "token-1"])
          assert.strictEqual(server.requests, 1)
        })
      )
    })

    it.effect("a forced caller never joins a normal flight, and the older answer does not replace the newer", () => {
      const { request, server } = make({ delay: "5 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const normal = yield* Effect.fork(cache.get(request))
          yield* settle
          server.delay = "1 seconds"
          const forced = yield* Effect.fork(cache.get(request, { forceRenewal: true }))
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* forced), "token-2")
          yield* TestClock.adjust("4 seconds")
          assert.strictEqual(valueOf(yield* normal), "token-1")
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-2")
        })
      )
    })
  })

  describe("remove", () => {
    it.effect("makes the next call acquire [parity 10]", () => {
      const { request, server } = make()
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* cache.get(request)
          yield* cache.remove(request)
          yield* cache.get(request)
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("discards what is in flight", () => {
      const { request, server } = make({ delay: "1 seconds" })
      return withCache((cache) =>
        Effect.gen(function*() {
          const before = yield* Effect.fork(cache.get(request))
          yield* settle
          yield* cache.remove(request)
          yield* TestClock.adjust("1 seconds")
          assert.strictEqual(valueOf(yield* before), "token-1")
          assert.isUndefined(yield* cache.peek(request))
          assert.strictEqual(server.requests, 1)
        })
      )
    })

    it.effect("removes by client, or all", () => {
      const { request } = make()
      const other = { ...request, key: "other", clientName: "other" }
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* cache.get(request)
          yield* cache.get(other)
          yield* cache.removeAll("other")
          assert.isDefined(yield* cache.peek({ key: "worker" }))
          assert.isUndefined(yield* cache.peek({ key: "other" }))
          yield* cache.removeAll()
          assert.isUndefined(yield* cache.peek({ key: "worker" }))
        })
      )
    })
  })

  describe("server down", () => {
    it.effect("serves the token to its real end, with or without a buffer", () => {
      const { request, server } = make({ lifetime: 100 })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* cache.get(request)
          server.fails = down
          for (let second = 0; second < 99; second++) {
            assert.strictEqual(valueOf(yield* cache.get(request)), "token-1")
            yield* TestClock.adjust("1 seconds")
          }
          yield* TestClock.adjust("1 seconds")
          assert.isTrue(Exit.isFailure(yield* Effect.exit(cache.get(request))))
        })
      )
    })

    it.effect("serves a token that counts as expired if no other can be had", () => {
      const { request, server } = make({ lifetime: 100 })
      const off = { ...request, refreshAhead: false }
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* cache.get(off)
          yield* TestClock.adjust("95 seconds")
          server.fails = down
          assert.strictEqual(valueOf(yield* cache.get(off)), "token-1")
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("200 calls in a row and 1,000 at once within 2 seconds cost 5 requests at the most", () => {
      const { request, server } = make({ fails: down })
      return withCache((cache) =>
        Effect.gen(function*() {
          for (let call = 0; call < 200; call++) {
            const before = server.requests
            const error = yield* Effect.flip(cache.get(request))
            assert.strictEqual(error._tag, "TokenTransportError")
            // Whoever did not ask the server itself is told when it is worth asking again.
            if (server.requests === before) assert.isDefined(error.retryAfter)
            yield* TestClock.adjust("10 millis")
          }
          const failures = yield* Effect.all(
            Array.from({ length: 1000 }, () => Effect.flip(cache.get(request))),
            { concurrency: "unbounded" }
          )
          assert.isTrue(failures.every((error) => error._tag === "TokenTransportError"))
          assert.isAtMost(server.requests, 5)
          assert.isAbove(server.probes, 0)
        })
      )
    })

    it.effect("one probe at a time goes through, as a single attempt; the others get the last error at once", () => {
      const { request, server } = make({ fails: down })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* Effect.flip(cache.get(request))
          yield* TestClock.adjust("1300 millis")
          server.fails = undefined
          server.delay = "5 seconds"
          const probe = yield* Effect.fork(cache.get(request))
          yield* settle
          const error = yield* Effect.flip(cache.get(request))
          assert.strictEqual(error._tag, "TokenTransportError")
          assert.strictEqual(server.probes, 1)
          yield* TestClock.adjust("5 seconds")
          assert.strictEqual(valueOf(yield* probe), "token-2")
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-2")
        })
      )
    })

    it.effect("doubles the wait up to 30 seconds", () => {
      const { request, server } = make({ fails: down })
      return withCache((cache) =>
        Effect.gen(function*() {
          const at: Array<number> = []
          for (let step = 0; step < 600; step++) {
            const before = server.requests
            yield* Effect.ignore(cache.get(request))
            if (server.requests > before) at.push(step / 4)
            yield* TestClock.adjust("250 millis")
          }
          const waits = at.slice(1).map((time, index) => time - at[index]!)
          for (const [index, expected] of [1, 2, 4, 8, 16, 30, 30].entries()) {
            assert.isAtLeast(waits[index]!, expected)
            assert.isAtMost(waits[index]!, expected * 1.2 + 0.25)
          }
        })
      )
    })

    it.effect("leaves a server alone for as long as its Retry-After says", () => {
      const busy = new OAuthError.TokenResponseInvalid({
        clientName: "worker",
        endpoint: "as",
        status: 429,
        problem: "its body is empty",
        retryAfter: Duration.minutes(2)
      })
      const { request, server } = make({ fails: busy })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* Effect.flip(cache.get(request))
          yield* TestClock.adjust("60 seconds")
          const error = yield* Effect.flip(cache.get(request))
          assert.deepStrictEqual(error.retryAfter, Duration.seconds(60))
          yield* TestClock.adjust("59 seconds")
          yield* Effect.flip(cache.get(request))
          assert.strictEqual(server.requests, 1)
          yield* TestClock.adjust("1 seconds")
          yield* Effect.flip(cache.get(request))
          assert.strictEqual(server.requests, 2)
        })
      )
    })

    it.effect("asks again as if nothing had happened when nobody has called for long", () => {
      const { request, server } = make({ fails: down })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* Effect.flip(cache.get(request))
          yield* TestClock.adjust("1 hours")
          server.fails = undefined
          server.delay = "1 seconds"
          const both = yield* Effect.fork(Effect.all([cache.get(request), cache.get(request)], { concurrency: 2 }))
          yield* TestClock.adjust("1 seconds")
          assert.deepStrictEqual((yield* both).map(valueOf), ["token-2", "token-2"])
          assert.strictEqual(server.probes, 0)
        })
      )
    })

    it.effect("a mistake of the caller starts no back-off", () => {
      const mistake = new OAuthError.TokenRequestInvalid({ clientName: "worker", field: "scope", problem: "bad" })
      const { request, server } = make({ fails: mistake })
      return withCache((cache) =>
        Effect.gen(function*() {
          yield* Effect.flip(cache.get(request))
          server.fails = undefined
          assert.strictEqual(valueOf(yield* cache.get(request)), "token-2")
        })
      )
    })
  })

  it.effect("keeps what is used and lets go of the rest, however many keys come by", () => {
    const { request } = make({ lifetime: undefined })
    return withCache(
      (cache) =>
        Effect.gen(function*() {
          for (let key = 0; key < 5000; key++) {
            yield* cache.get({ ...request, key: `key-${key}` })
            yield* cache.get({ ...request, key: "hot" })
          }
          let held = 0
          for (let key = 0; key < 5000; key++) {
            if ((yield* cache.peek({ key: `key-${key}` })) !== undefined) held++
          }
          assert.isAtMost(held, 100)
          assert.isAtLeast(held, 90)
          assert.strictEqual(valueOf((yield* cache.peek({ key: "hot" }))!), "token-2")
        }),
      { maxEntries: 100 }
    )
  })

  it.effect("is a Layer", () =>
    Effect.gen(function*() {
      const { request, server } = make()
      const cache = yield* TokenCache.TokenCache
      yield* cache.get(request)
      yield* cache.get(request)
      assert.strictEqual(server.requests, 1)
    }).pipe(Effect.provide(Layer.fresh(TokenCache.layer()))))
})
