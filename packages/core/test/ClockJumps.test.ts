/**
 * Clocks that jump: what ends after a time has ended by then, however the wall clock is set meanwhile.
 */
import {
  AccessTokenVerifier,
  AuthorizationServer,
  ClientCredentialsTokenManager,
  DPoPNonceStore,
  DPoPVerifier,
  Signer,
  SigningKey,
  TokenClient,
  TokenStore
} from "@effect-oauth/core"
import { webCrypto } from "@effect-oauth/core/Signer"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Option, Redacted, TestClock } from "effect"
import * as MovableClock from "./support/movableClock.ts"
import { json, options, secret, services, stub, token } from "./support/StubServer.ts"

const issuer = "https://as.test"

/** Runs a test by a clock that it can move, which starts in 2023. */
const withMovableClock = <A, E, R>(test: (clock: MovableClock.MovableClock) => Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    yield* TestClock.setTime(1_700_000_000_000)
    const clock = yield* MovableClock.make
    return yield* Effect.withClock(Effect.suspend(() => test(clock)), clock.clock)
  })

const jumps: ReadonlyArray<readonly [name: string, jump: (clock: MovableClock.MovableClock) => Effect.Effect<void>]> = [
  ["is set back by an hour", (clock) => Effect.sync(() => clock.moveWall("1 hour", -1))],
  ["is set forwards by an hour, and back", (clock) =>
    Effect.gen(function*() {
      clock.moveWall("1 hour")
      yield* TestClock.adjust("1 millis")
      clock.moveWall("1 hour", -1)
    })]
]

describe("the wall clock", () => {
  for (const [name, jump] of jumps) {
    it.scoped(`${name}: what a server said of a token is used no longer`, () =>
      withMovableClock((clock) =>
        Effect.gen(function*() {
          let revoked = false
          const server = stub(({ url }) =>
            url.endsWith("/introspect")
              ? json({ active: !revoked, scope: "a", exp: 1_700_000_000 + 3600 })
              : json({}, { status: 404 })
          )
          const api = { introspectionEndpoint: `${issuer}/introspect`, tokenEndpoint: options.tokenEndpoint }
          const context = yield* Layer.build(
            services(server, { api: { ...api, clientId: "api", clientSecret: secret } })
          )
          const verifier = yield* Effect.provide(
            AccessTokenVerifier.makeIntrospection({ client: "api", cacheFor: "1 minute" }),
            context
          )
          const verify = Effect.exit(verifier.verify(Redacted.make("opaque")))
          assert.isTrue(Exit.isSuccess(yield* verify))
          revoked = true
          yield* jump(clock)
          yield* TestClock.adjust("1 minute")
          assert.isTrue(Exit.isFailure(yield* verify))
        })
      ))

    it.scoped(`${name}: a back-off lasts no longer, and says so`, () =>
      withMovableClock((clock) =>
        Effect.gen(function*() {
          let broken = true
          const server = stub((_, number) =>
            broken ? json({ error: "invalid_client" }, { status: 401 }) : token(number)
          )
          const context = yield* Layer.build(services(server))
          const get = Effect.provide(Effect.either(ClientCredentialsTokenManager.get()), context)
          yield* get
          broken = false
          yield* jump(clock)
          const again = yield* get
          const left = again._tag === "Left" ? again.left.retryAfter : undefined
          assert.isAtMost(Duration.toMillis(left ?? 0), 12_000)
          yield* TestClock.adjust("12 seconds")
          assert.strictEqual((yield* get)._tag, "Right")
        })
      ))

    it.scoped(`${name}: a token is used no longer than it lives`, () =>
      withMovableClock((clock) =>
        Effect.gen(function*() {
          const server = stub((_, number) => token(number, { expires_in: 60 }))
          const context = yield* Layer.build(services(server, { worker: { ...options, refreshAhead: false } }))
          const get = Effect.provide(ClientCredentialsTokenManager.get(), context)
          const value = Effect.map(get, ({ value }) => Redacted.value(value))
          assert.strictEqual(yield* value, "token-1")
          yield* jump(clock)
          yield* TestClock.adjust("60 seconds")
          assert.strictEqual(yield* value, "token-2")
          yield* TestClock.adjust("30 seconds")
          assert.strictEqual(yield* value, "token-2")
        })
      ))

    it.scoped(`${name}: metadata is read again when its time is over`, () =>
      withMovableClock((clock) =>
        Effect.gen(function*() {
          const server = stub(() => json({ issuer, token_endpoint: `${issuer}/token` }))
          const client = yield* TokenClient.make("one", { issuer, clientId: "one", clientSecret: secret })
          const { metadata } = yield* Effect.provideService(
            AuthorizationServer.make({ metadataLifetime: "10 minutes" }),
            HttpClient.HttpClient,
            server.client
          )
          yield* metadata(client)
          yield* jump(clock)
          yield* TestClock.adjust("10 minutes")
          yield* metadata(client)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(server.seen.length, 2)
        })
      ))

    it.scoped(`${name}: a nonce of a server is kept no longer`, () =>
      withMovableClock((clock) =>
        Effect.gen(function*() {
          const nonces = DPoPNonceStore.make({ timeToLive: "10 minutes" })
          const server = { role: "resourceServer", origin: "https://api.test" } as const
          yield* nonces.set(server, "n-1")
          yield* jump(clock)
          yield* TestClock.adjust("10 minutes")
          assert.isTrue(Option.isNone(yield* nonces.get(server)))
        })
      ))

    it.scoped(`${name}: an entry of a store in memory is there no longer`, () =>
      withMovableClock((clock) =>
        Effect.gen(function*() {
          const store = yield* TokenStore.makeMemory
          yield* store.set("a", "1", { timeToLive: "10 minutes" })
          yield* jump(clock)
          yield* TestClock.adjust("10 minutes")
          assert.isTrue(Option.isNone(yield* store.get("a")))
        })
      ))
  }

  it.scoped("goes on while the machine is suspended: a token ends by it, though the monotonic clock stands still", () =>
    withMovableClock((clock) =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        const context = yield* Layer.build(services(server))
        const get = Effect.provide(ClientCredentialsTokenManager.get(), context)
        yield* get
        clock.moveWall("1 hour")
        assert.strictEqual(Redacted.value((yield* get).value), "token-2")
      })
    ))

  it.scoped("of another process was ahead when a token was shared: it is used no longer than it lives", () =>
    withMovableClock((clock) =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number, { expires_in: 60 }))
        const store = yield* TokenStore.makeMemory
        const start = Effect.map(
          Layer.build(
            services(server, { worker: { ...options, refreshAhead: false } }).pipe(
              Layer.provide(Layer.succeed(TokenStore.TokenStore, store))
            )
          ),
          (context) =>
            Effect.map(
              Effect.provide(ClientCredentialsTokenManager.get(), context),
              ({ value }) => Redacted.value(value)
            )
        )
        assert.strictEqual(yield* Effect.flatten(start), "token-1")
        clock.moveWall("10 hours", -1)
        const later = yield* start
        assert.strictEqual(yield* later, "token-1")
        yield* TestClock.adjust("60 seconds")
        assert.strictEqual(yield* later, "token-2")
      })
    ))
})

describe("a proof that was accepted", () => {
  const proving = Effect.gen(function*() {
    const key = yield* SigningKey.generate()
    const sign = webCrypto.signing(key, { typ: "dpop+jwt", jwk: key.publicJwk })
    const dpop = yield* sign(
      JSON.stringify({ htm: "GET", htu: "https://api.test/x", iat: 1_700_000_000, jti: "the-proof" })
    )
    return { method: "GET", url: "/x", headers: Headers.fromInput({ dpop }) }
  })
  const verifierOver = (store: Option.Option<TokenStore.TokenStore["Type"]>) => {
    const made = Effect.provideService(
      DPoPVerifier.make({ publicUrl: "https://api.test" }),
      Signer.Signer,
      webCrypto
    )
    return Option.isNone(store) ? made : Effect.provideService(made, TokenStore.TokenStore, store.value)
  }

  it.scoped("is a replay to another process, also to one whose clock is behind", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(1_700_000_000_000)
      const memory = yield* TokenStore.makeMemory
      const clock = yield* Effect.clock
      // A store has a clock of its own.
      const store = Option.some<TokenStore.TokenStore["Type"]>({
        ...memory,
        set: (...args) => Effect.withClock(memory.set(...args), clock)
      })
      const [first, behind] = [yield* verifierOver(store), yield* verifierOver(store)]
      const slow = yield* MovableClock.make
      slow.moveWall("2 seconds", -1)
      const request = yield* proving
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(first.verify(request))))
      yield* TestClock.adjust("61 seconds")
      const replayed = yield* Effect.flip(Effect.withClock(behind.verify(request), slow.clock))
      assert.strictEqual(replayed.reason, "replayed")
    }))

  for (
    const [name, jump] of [
      ...jumps,
      [
        "is set back by a few seconds",
        (clock: MovableClock.MovableClock) => Effect.sync(() => clock.moveWall("3 seconds", -1))
      ] as const
    ]
  ) {
    it.scoped(`is a replay when the clock ${name}`, () =>
      withMovableClock((clock) =>
        Effect.gen(function*() {
          const verifier = yield* verifierOver(Option.none())
          const request = yield* proving
          assert.isTrue(Exit.isSuccess(yield* Effect.exit(verifier.verify(request))))
          for (let seconds = 0; seconds < 130; seconds += 2) {
            if (seconds === 30) yield* jump(clock)
            yield* TestClock.adjust("2 seconds")
            assert.isTrue(Exit.isFailure(yield* Effect.exit(verifier.verify(request))))
          }
        })
      ))
  }
})
