/** Whether an access token is good, by what it says of itself or by what its server says. */
import {
  AccessTokenVerifier,
  OAuth,
  OAuthLogging,
  TokenClients,
  TokenEndpoint,
  TokenGrant,
  VerifiedToken
} from "@effect-oauth/core"
import { FetchHttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Fiber, Layer, LogLevel, Option, Redacted, TestClock } from "effect"
import * as jose from "jose"
import * as Server from "../../../examples/servers/authorizationServer.ts"
import { audience, authorizationServer, issuer, jwt, now, otherPair, servicesOf } from "./support/protectedApi.ts"
import { json, type Stub, stub } from "./support/StubServer.ts"

type Verifier = AccessTokenVerifier.Verifier

const at = TestClock.setTime(now * 1000)

const outcome = (verifier: Verifier, token: string) =>
  Effect.match(verifier.verify(Redacted.make(token)), {
    onFailure: (error) => error._tag === "TokenRefused" ? error.reason : error._tag,
    onSuccess: () => "good"
  })

const build = <E, R>(layer: Layer.Layer<AccessTokenVerifier.AccessTokenVerifier, E, R>) =>
  Effect.flatMap(
    Layer.build(layer),
    (context) => Effect.provide(AccessTokenVerifier.AccessTokenVerifier, context)
  )

const jwtVerifier = (options: Partial<AccessTokenVerifier.JwtOptions> = {}) =>
  Effect.zipRight(
    at,
    build(
      AccessTokenVerifier.layerJwt({ issuer, audience, ...options }).pipe(
        Layer.provide(servicesOf(authorizationServer()))
      )
    )
  )

const silent = OAuthLogging.layer(LogLevel.None)

const introspecting = (server: Stub, options?: AccessTokenVerifier.IntrospectionOptions) =>
  Effect.zipRight(
    at,
    build(
      AccessTokenVerifier.layerIntrospection(options).pipe(
        Layer.provide(servicesOf(server)),
        Layer.provide(silent)
      )
    )
  )

describe("layerJwt", () => {
  it.scoped("says what the token says", () =>
    Effect.gen(function*() {
      const verifier = yield* jwtVerifier()
      const token = yield* verifier.verify(
        Redacted.make(yield* jwt({ cnf: { jkt: "key" }, tenant: "t1", aud: ["x", audience] }))
      )
      const { claims, ...rest } = token
      assert.deepStrictEqual(rest, {
        issuer,
        sub: "alice",
        clientId: "web",
        scope: ["invoices:read", "customers:read"],
        audience: ["x", audience],
        expiresAt: DateTime.unsafeMake((now + 600) * 1000),
        acr: "pwd",
        authTime: DateTime.unsafeMake((now - 100) * 1000),
        keyThumbprint: "key",
        certificateThumbprint: undefined
      })
      assert.strictEqual(Redacted.value(claims).tenant, "t1")
    }))

  const rows: ReadonlyArray<
    readonly [name: string, reason: string, claims: Record<string, unknown>, header?: Record<string, unknown>]
  > = [
    ["application/at+jwt", "good", {}, { typ: "application/AT+JWT" }],
    ["an ID token", "type", {}, { typ: "JWT" }],
    ["no typ", "type", {}, { typ: undefined }],
    ["a logout token", "type", {}, { typ: "logout+jwt" }],
    ["another issuer", "foreign", { iss: "https://evil.test" }],
    ["an issuer with a slash more", "foreign", { iss: `${issuer}/` }],
    ["no issuer", "foreign", { iss: undefined }],
    ["several issuers", "foreign", { iss: [issuer] }],
    ["another audience", "audience", { aud: "https://other.test" }],
    ["no audience", "audience", { aud: undefined }],
    ["an audience that only begins the same", "audience", { aud: `${audience}/v2` }],
    ["just expired", "expired", { exp: now - 5 }],
    ["expired within the tolerance", "good", { exp: now - 4 }],
    ["no exp", "claims", { exp: undefined }],
    ["exp as a text", "claims", { exp: `${now + 60}` }],
    ["exp beyond all dates", "claims", { exp: 1e300 }],
    ["not yet", "notYet", { nbf: now + 6 }],
    ["no sub", "claims", { sub: undefined }],
    ["no client", "claims", { client_id: undefined }],
    ["no iat", "claims", { iat: undefined }],
    ["an unknown key", "key", {}, { kid: "2" }],
    ["alg none", "algorithm", {}, { alg: "none" }],
    ["alg HS256", "algorithm", {}, { alg: "HS256" }],
    ["a crit", "form", {}, { crit: ["x"], x: true }]
  ]

  for (const [name, reason, claims, header = {}] of rows) {
    it.scoped(`${name}: ${reason}`, () =>
      Effect.gen(function*() {
        const verifier = yield* jwtVerifier()
        const token = header.alg === undefined
          ? header.crit === undefined ? yield* jwt(claims, header) : (yield* withHeader({ typ: "at+jwt", ...header }))
          : yield* withHeader({ typ: "at+jwt", kid: "1", ...header })
        assert.strictEqual(yield* outcome(verifier, token), reason)
      }))
  }

  /** A good token with another header, which its signature does not fit. */
  const withHeader = (header: Record<string, unknown>) =>
    Effect.map(jwt(), (token) => {
      const [, payload, signature] = token.split(".")
      return `${jose.base64url.encode(JSON.stringify({ alg: "ES256", ...header }))}.${payload}.${signature}`
    })

  it.scoped("refuses what somebody else has signed, or changed", () =>
    Effect.gen(function*() {
      const verifier = yield* jwtVerifier()
      assert.strictEqual(yield* outcome(verifier, yield* jwt({}, {}, otherPair.privateKey)), "signature")
      const [header, , signature] = (yield* jwt()).split(".")
      const [, payload] = (yield* jwt({ scope: "admin" })).split(".")
      assert.strictEqual(yield* outcome(verifier, `${header}.${payload}.${signature}`), "signature")
      assert.strictEqual(yield* outcome(verifier, "opaque"), "foreign")
    }))

  it.scoped("algorithms is a list of what is allowed", () =>
    Effect.gen(function*() {
      const verifier = yield* jwtVerifier({ algorithms: ["PS256"] })
      assert.strictEqual(yield* outcome(verifier, yield* jwt()), "algorithm")
    }))

  it.scoped("requireType: false takes a JWT of servers that do not know RFC 9068", () =>
    Effect.gen(function*() {
      const verifier = yield* jwtVerifier({ requireType: false })
      const bare = { sub: undefined, client_id: undefined, iat: undefined, azp: "spa", scope: undefined, scp: "a b" }
      for (const typ of ["JWT", undefined]) {
        const token = yield* verifier.verify(Redacted.make(yield* jwt(bare, { typ })))
        assert.deepStrictEqual([token.clientId, token.scope], ["spa", ["a", "b"]])
      }
      assert.strictEqual(yield* outcome(verifier, yield* jwt({}, { typ: "dpop+jwt" })), "type")
      assert.strictEqual(yield* outcome(verifier, yield* jwt({ exp: undefined })), "claims")
    }))

  it.scoped("options that are no good are told all at once", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(jwtVerifier({ audience: [], clockTolerance: "1 hour" }))
      assert.strictEqual(error._tag, "VerifierInvalid")
      assert.deepStrictEqual(
        error._tag === "VerifierInvalid" ? error.problems.map(({ field }) => field) : [],
        ["audience", "clockTolerance"]
      )
    }))
})

/** The clock goes on until it has ended: what it waits for begins after work that no clock knows. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(effect)
    const tick = Effect.zipRight(
      Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
      TestClock.adjust("100 millis")
    )
    yield* Effect.repeat(Effect.zipRight(tick, Fiber.poll(fiber)), { until: Option.isSome })
    return yield* Fiber.join(fiber)
  })

describe("layerIntrospection", () => {
  const active = (more: Record<string, unknown> = {}) =>
    json({ active: true, sub: "alice", client_id: "web", scope: "a b", aud: audience, ...more })

  const asks = (server: Stub): number => server.seen.filter(({ url }) => url.endsWith("/introspect")).length

  it.scoped("says what the server says, and asks once in a while", () =>
    Effect.gen(function*() {
      const server = authorizationServer(() => active())
      const verifier = yield* introspecting(server, { audience })
      const token: VerifiedToken.VerifiedToken = yield* verifier.verify(Redacted.make("opaque"))
      assert.deepStrictEqual([token.issuer, token.sub, token.scope], [issuer, "alice", ["a", "b"]])
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(yield* outcome(verifier, "opaque"), "good")
      assert.strictEqual(asks(server), 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* outcome(verifier, "opaque"), "good")
      assert.strictEqual(asks(server), 2)
    }))

  it.scoped("a revoked token is refused after that time at the latest", () =>
    Effect.gen(function*() {
      let revoked = false
      const server = authorizationServer(() => revoked ? json({ active: false }) : active())
      const verifier = yield* introspecting(server, { cacheFor: "10 seconds" })
      assert.strictEqual(yield* outcome(verifier, "opaque"), "good")
      revoked = true
      assert.strictEqual(yield* outcome(verifier, "opaque"), "good")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* outcome(verifier, "opaque"), "inactive")
      assert.strictEqual(yield* outcome(verifier, "opaque"), "inactive")
      assert.strictEqual(asks(server), 2)
    }))

  it.scoped("an answer is never used beyond the end of its token", () =>
    Effect.gen(function*() {
      const server = authorizationServer(() => active({ exp: now + 3 }))
      const verifier = yield* introspecting(server, { clockTolerance: 0 })
      assert.strictEqual(yield* outcome(verifier, "opaque"), "good")
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* outcome(verifier, "opaque"), "expired")
      assert.strictEqual(asks(server), 2)
    }))

  it.scoped("many callers with one token ask once", () =>
    Effect.gen(function*() {
      const server = stub(({ url }) =>
        url.endsWith("/introspect")
          ? Effect.delay(Effect.sync(() => active()), "1 second")
          : json({ issuer, introspection_endpoint: `${issuer}/introspect` })
      )
      const verifier = yield* introspecting(server)
      const all = yield* inTime(Effect.all(Array.from({ length: 100 }, () => outcome(verifier, "opaque")), {
        concurrency: "unbounded"
      }))
      assert.deepStrictEqual(new Set(all), new Set(["good"]))
      assert.strictEqual(asks(server), 1)
    }))

  it.scoped("another issuer or audience is refused, and a foreign JWT is not asked about", () =>
    Effect.gen(function*() {
      const server = authorizationServer(({ form }) => {
        const token = form.find(([name]) => name === "token")?.[1]
        return token === "iss" ? active({ iss: "https://evil.test" }) : active({ aud: token })
      })
      const verifier = yield* introspecting(server, { audience })
      assert.strictEqual(yield* outcome(verifier, "iss"), "issuer")
      assert.strictEqual(yield* outcome(verifier, "other"), "audience")
      const before = asks(server)
      assert.strictEqual(yield* outcome(verifier, yield* jwt({ iss: "https://other.test" })), "foreign")
      assert.strictEqual(asks(server), before)
    }))

  it.scoped("a DPoP token of which nobody says the key is refused", () =>
    Effect.gen(function*() {
      const verifier = yield* introspecting(authorizationServer(() => active({ token_type: "DPoP" })))
      assert.strictEqual(yield* outcome(verifier, "opaque"), "binding")
    }))

  const troubles: ReadonlyArray<readonly [name: string, answer: () => Response]> = [
    ["500", () => new Response("", { status: 500 })],
    ["invalid_client", () => json({ error: "invalid_client" }, { status: 401 })],
    ["HTML", () => new Response("<html>")],
    ["no active", () => json({ sub: "alice" })],
    ["active as a text", () => json({ active: "true" })]
  ]
  for (const [name, answer] of troubles) {
    it.scoped(`a server that answers ${name} makes it unknown, and is asked again`, () =>
      Effect.gen(function*() {
        let broken = true
        const server = authorizationServer(() => broken ? answer() : active())
        const verifier = yield* introspecting(server)
        assert.strictEqual(yield* inTime(outcome(verifier, "opaque")), "VerificationUnavailable")
        broken = false
        assert.strictEqual(yield* outcome(verifier, "opaque"), "good")
      }))
  }

  it.scoped("a server that does not answer is given up after a while", () =>
    Effect.gen(function*() {
      const silentServer = stub(({ url }) =>
        url.endsWith("/introspect")
          ? Effect.never
          : json({ issuer, introspection_endpoint: `${issuer}/introspect` })
      )
      const verifier = yield* introspecting(silentServer, { timeout: "2 seconds" })
      assert.strictEqual(yield* inTime(outcome(verifier, "opaque")), "VerificationUnavailable")
    }))
})

describe("several side by side", () => {
  const other = "https://other.test"

  it.scoped("each token goes to whom it belongs", () =>
    Effect.gen(function*() {
      const server = authorizationServer(({ form }) =>
        json({ active: form.some(([name, value]) => name === "token" && value === "opaque") })
      )
      yield* at
      const verifier = yield* build(
        AccessTokenVerifier.layer([
          AccessTokenVerifier.makeJwt({ issuer: other, audience }),
          AccessTokenVerifier.makeJwt({ issuer, audience }),
          AccessTokenVerifier.makeIntrospection({ client: "api" })
        ]).pipe(Layer.provide(servicesOf(server)))
      )
      const asked = () => server.seen.filter(({ url }) => url.endsWith("/introspect")).length
      assert.strictEqual(yield* outcome(verifier, yield* jwt()), "good")
      assert.strictEqual(yield* outcome(verifier, yield* jwt({ exp: now - 60 })), "expired")
      assert.strictEqual(yield* outcome(verifier, yield* jwt({ iss: "https://evil.test" })), "foreign")
      assert.strictEqual(asked(), 0)
      assert.strictEqual(yield* outcome(verifier, "opaque"), "good")
      assert.strictEqual(yield* outcome(verifier, "unknown"), "inactive")
    }))

  it.effect("a JWT is not shown to others while its own server cannot be asked", () =>
    Effect.gen(function*() {
      const down: Verifier = { verify: () => new VerifiedToken.VerificationUnavailable({ cause: "Down" }) }
      const other: Verifier = { verify: () => Effect.dieMessage("it was shown the token") }
      assert.strictEqual(
        yield* outcome(AccessTokenVerifier.combine([down, other]), yield* jwt()),
        "VerificationUnavailable"
      )
    }))

  it.effect("if none knows it and one could not be asked, nobody can say", () =>
    Effect.gen(function*() {
      const answering = (answer: string): Verifier => ({
        verify: () =>
          answer === "down"
            ? new VerifiedToken.VerificationUnavailable({ cause: "Down" })
            : new VerifiedToken.TokenRefused({ reason: answer as "inactive", problem: answer })
      })
      const rows = [
        [["down", "inactive"], "VerificationUnavailable"],
        [["inactive", "down"], "VerificationUnavailable"],
        [["down", "expired"], "expired"],
        [["inactive", "foreign"], "inactive"],
        [["expired", "down"], "expired"],
        [[], "foreign"]
      ] as const
      for (const [answers, expected] of rows) {
        const verifier = AccessTokenVerifier.combine(answers.map(answering))
        assert.strictEqual(yield* outcome(verifier, "opaque"), expected, answers.join())
      }
    }))
})

it.scopedLive("tokens of a real server, JWTs and opaque ones, until they are revoked", () =>
  Effect.gen(function*() {
    const server = yield* Server.start({
      clients: [{ client_id: "api", client_secret: "s", scope: "invoices" }, {
        client_id: "worker",
        client_secret: "s",
        scope: "invoices"
      }]
    })
    const definition = (clientId: string) => ({
      issuer: server.issuer,
      clientId,
      clientSecret: Redacted.make("s"),
      scope: "invoices"
    })
    const services = OAuth.layer.pipe(
      Layer.provideMerge(TokenClients.layer({ api: definition("api"), worker: definition("worker") })),
      Layer.provideMerge(FetchHttpClient.layer)
    )
    yield* Effect.gen(function*() {
      const endpoint = yield* TokenEndpoint.TokenEndpoint
      const worker = yield* Effect.flatMap(TokenClients.TokenClients, ({ get }) => get("worker"))
      const { verify } = yield* AccessTokenVerifier.AccessTokenVerifier
      const request = (resource?: string) => endpoint.request(worker, TokenGrant.clientCredentials, { resource })

      const bound = yield* verify((yield* request(audience)).accessToken.value)
      assert.deepStrictEqual([bound.issuer, bound.clientId, bound.audience, bound.scope], [
        server.issuer,
        "worker",
        [audience],
        ["invoices"]
      ])
      const { accessToken: { value: opaque } } = yield* request()
      assert.strictEqual((yield* verify(opaque)).clientId, "worker")
      yield* endpoint.revoke(worker, opaque)
      assert.strictEqual((yield* Effect.flip(verify(opaque)))._tag, "TokenRefused")
      const { accessToken: { value: last } } = yield* request()
      yield* server.stop
      assert.strictEqual((yield* Effect.flip(verify(last)))._tag, "VerificationUnavailable")
    }).pipe(
      Effect.provide(
        AccessTokenVerifier.layer([
          AccessTokenVerifier.makeJwt({ issuer: server.issuer, audience }),
          AccessTokenVerifier.makeIntrospection({ client: "api", cacheFor: 0 })
        ]).pipe(Layer.provideMerge(services), Layer.provide(silent))
      )
    )
  }))
