/**
 * Codes and refresh tokens: what is sent, and that it is sent once.
 */
import {
  AccessTokenHttpClient,
  ClientAssertions,
  OAuthError,
  SigningKey,
  TokenClient,
  TokenEndpoint,
  TokenGrant
} from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { claimsOf, verified } from "./support/proofs.ts"
import { json, options, services, type Stub, stub, token } from "./support/StubServer.ts"

const code = TokenGrant.authorizationCode({
  code: Redacted.make("the-code"),
  redirectUri: "https://app.test/callback?x=1",
  codeVerifier: Redacted.make("the-verifier")
})
const refresh = TokenGrant.refreshToken(Redacted.make("the-refresh-token"))
const grants = [["code", code], ["refresh token", refresh]] as const

const request = (
  server: Stub,
  grant: TokenGrant.TokenGrant,
  more: Partial<TokenClient.TokenClientOptions> = {},
  ...rest: [
    parameters?: Parameters<TokenEndpoint.TokenEndpoint["Type"]["request"]>[2],
    options?: TokenEndpoint.RequestOptions
  ]
) =>
  Effect.gen(function*() {
    const endpoint = yield* TokenEndpoint.TokenEndpoint
    return yield* endpoint.request(yield* TokenClient.make("worker", { ...options, ...more }), grant, ...rest)
  }).pipe(Effect.provide(services(server)))

/** Also where there are waits in between. */
const settled = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.fork(Effect.either(effect))
    yield* TestClock.adjust("1 minutes")
    return yield* Fiber.join(fiber)
  })

const failed = <A, E>(effect: Effect.Effect<A, E>) => Effect.flatMap(settled(effect), Effect.flip)

const broken =
  (code: string | undefined) => (_: unknown, __: number, request: HttpClientError.RequestError["request"]) =>
    Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause: { code } }))

describe("what is sent", () => {
  it.effect("of a code: its redirect URI and its verifier (RFC 6749 section 4.1.3, RFC 7636 section 4.5)", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number, { refresh_token: "r" }))
      const response = yield* request(server, code)
      assert.deepStrictEqual(server.seen[0]?.form, [
        ["code", "the-code"],
        ["redirect_uri", "https://app.test/callback?x=1"],
        ["code_verifier", "the-verifier"],
        ["grant_type", "authorization_code"]
      ])
      assert.isDefined(server.seen[0].headers.authorization)
      assert.strictEqual(Redacted.value(response.refreshToken!), "r")
    }))

  it.effect("of a refresh token, with the scope of the request and never the client's own (RFC 6749 section 6)", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      const own = { scope: "machine", resource: "https://machine.test/" }
      yield* request(server, refresh, own)
      yield* request(server, refresh, own, { scope: "a", resource: "https://user.test/" })
      const sent = [["refresh_token", "the-refresh-token"], ["grant_type", "refresh_token"]] as const
      assert.deepStrictEqual(server.seen.map(({ form }) => form), [
        sent,
        [...sent, ["scope", "a"], ["resource", "https://user.test/"]]
      ])
    }))

  it.effect("is not overridden by an extra parameter", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      const rows = [[code, "code"], [code, "redirect_uri"], [code, "code_verifier"], [
        refresh,
        "refresh_token"
      ]] as const
      for (const [grant, name] of rows) {
        const error = yield* Effect.flip(request(server, grant, {}, { parameters: { [name]: "mine" } }))
        assert.strictEqual(error._tag, "TokenRequestInvalid")
      }
      assert.strictEqual(server.seen.length, 0)
    }))

  for (const [name, grant] of grants) {
    it.effect(`a server that quotes a ${name} is not quoted with it`, () =>
      Effect.gen(function*() {
        const quoting = stub(({ form }) =>
          json({ error: "invalid_grant", error_description: `no ${JSON.stringify(form)}` }, { status: 400 })
        )
        const { message } = yield* Effect.flip(request(quoting, grant))
        for (const secret of ["the-code", "the-verifier", "the-refresh-token"]) assert.notInclude(message, secret)
        assert.include(message, "<redacted>")
      }))
  }
})

describe("an attempt", () => {
  const unsent = [
    "ECONNREFUSED",
    "ENOTFOUND",
    "EAI_AGAIN",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "UND_ERR_CONNECT_TIMEOUT"
  ]

  for (const [name, grant] of grants) {
    for (const reason of unsent) {
      it.effect(`of a ${name} that ${reason} kept from the server is repeated`, () =>
        Effect.gen(function*() {
          const server = stub((seen, number, request) =>
            number < 3 ? broken(reason)(seen, number, request) : token(number)
          )
          const response = yield* Effect.flatten(settled(request(server, grant)))
          assert.strictEqual(Redacted.value(response.accessToken.value), "token-3")
        }))
    }

    for (const reason of ["ECONNRESET", "EPIPE", "ETIMEDOUT", "UND_ERR_SOCKET", undefined]) {
      it.effect(`of a ${name} that ended with ${reason ?? "no code"} is not`, () =>
        Effect.gen(function*() {
          const server = stub(broken(reason))
          const error = yield* failed(request(server, grant))
          assert.isTrue(error._tag === "TokenTransportError" && error.outcomeUnknown && error.retryable)
          assert.strictEqual(server.seen.length, 1)
        }))
    }

    const answers: ReadonlyArray<readonly [what: string, answer: () => Response | Effect.Effect<never>]> = [
      ["503", () => new Response(null, { status: 503 })],
      ["429 with Retry-After", () => new Response(null, { status: 429, headers: { "retry-after": "1" } })],
      ["temporarily_unavailable", () => json({ error: "temporarily_unavailable" }, { status: 400 })],
      ["nothing in time", () => Effect.never],
      [
        "half an answer",
        () => new Response(new ReadableStream({ start: (controller) => controller.error(new Error("cut")) }))
      ]
    ]
    for (const [what, answer] of answers) {
      it.effect(`of a ${name} that got ${what} is not`, () =>
        Effect.gen(function*() {
          const server = stub(answer)
          const error = yield* failed(request(server, grant))
          assert.isTrue(error.retryable)
          assert.strictEqual(server.seen.length, 1)
        }))
    }

    const retrying: ReadonlyArray<readonly [string, (client: HttpClient.HttpClient) => HttpClient.HttpClient]> = [
      ["the built-in one", (client: HttpClient.HttpClient) => client],
      ["the user's", HttpClient.retry({ times: 1 })]
    ]
    for (const [whose, transform] of retrying) {
      it.effect(`of a ${name} for which there was no assertion never left, so a retry is free: ${whose}`, () =>
        Effect.gen(function*() {
          const server = stub((_, number) => token(number))
          let asked = 0
          const assertions = Layer.succeed(ClientAssertions.ClientAssertions, {
            get: (clientName) =>
              Effect.suspend(() =>
                asked++ === 0
                  ? Effect.fail(
                    new OAuthError.CredentialUnavailable({ clientName, credential: "assertion", problem: "Busy" })
                  )
                  : Effect.succeed(Option.none())
              )
          })
          const client = yield* TokenClient.make("worker", { ...options, httpClient: transform(server.client) })
          const retries = whose === "the user's" ? 0 : 1
          const sending = Effect.flatMap(
            TokenEndpoint.TokenEndpoint,
            (endpoint) => endpoint.request(client, grant, {}, { retries })
          ).pipe(
            Effect.provide(services(server).pipe(Layer.provide(assertions)))
          )
          yield* Effect.flatten(settled(sending))
          assert.deepStrictEqual([asked, server.seen.length], [2, 1])
        }))
    }
  }

  it.effect("with a nonce that the server asked for is another one: the grant was not used", () =>
    Effect.gen(function*() {
      const server = stub((_, number) =>
        number === 1
          ? json({ error: "use_dpop_nonce" }, { status: 400, headers: { "dpop-nonce": "n" } })
          : token(number, { token_type: "DPoP" })
      )
      const key = yield* SigningKey.generate()
      for (const [, grant] of grants) {
        server.seen.length = 0
        yield* request(server, grant, { dpop: key })
        assert.deepStrictEqual(server.seen.map(({ headers }) => claimsOf(headers.dpop).nonce), [undefined, "n"])
      }
    }))
})

describe("a retry of the user's own HttpClient", () => {
  const busy = () => new Response(null, { status: 503 })
  const clients: ReadonlyArray<
    readonly [name: string, client: (client: HttpClient.HttpClient) => HttpClient.HttpClient]
  > = [
    ["retry", HttpClient.retry({ times: 3 })],
    ["retryTransient", HttpClient.retryTransient({ times: 3 })],
    [
      "retry by status",
      (client) => client.pipe(HttpClient.filterStatusOk, HttpClient.retry({ times: 3 }))
    ],
    [
      "retry below transform",
      (client) => client.pipe(HttpClient.retryTransient({ times: 3 }), HttpClient.transform((effect) => effect))
    ],
    [
      "retry of a client that says itself what is traced",
      (client) => client.pipe(HttpClient.withTracerDisabledWhen(() => true), HttpClient.retryTransient({ times: 3 }))
    ],
    ["retry in transform", HttpClient.transform(Effect.retry({ times: 3 }))],
    [
      "retry below followRedirects",
      (client) => client.pipe(HttpClient.retryTransient({ times: 3 }), HttpClient.followRedirects())
    ],
    ["two at once", HttpClient.transformResponse((effect) => Effect.race(effect, effect))]
  ]
  const outcomes = [["a 503", busy], ["a reset", broken("ECONNRESET")]] as const

  for (const [name, transform] of clients) {
    for (const [what, outcome] of outcomes) {
      for (const [kind, grant] of grants) {
        it.effect(`${name}: after ${what} a ${kind} is not sent again`, () =>
          Effect.gen(function*() {
            const server = stub(outcome)
            const error = yield* failed(request(server, grant, { httpClient: transform(server.client) }))
            assert.strictEqual(server.seen.length, 1)
            assert.isTrue(error._tag !== "TokenTransportError" || error.outcomeUnknown)
          }))
      }
    }

    it.effect(`${name}: repeats client credentials as ever, and a grant that succeeds is none of its business`, () =>
      Effect.gen(function*() {
        const server = stub((seen, number, request) =>
          number === 1 ? broken("ECONNRESET")(seen, number, request) : token(number)
        )
        const httpClient = transform(server.client)
        yield* Effect.flatten(settled(request(server, TokenGrant.clientCredentials, { httpClient })))
        const before = server.seen.length
        if (name !== "two at once") {
          yield* request(server, code, { httpClient })
          assert.strictEqual(server.seen.length, before + 1)
        }
        assert.isAtLeast(before, 2)
      }))
  }

  it.effect("is told why", () =>
    Effect.gen(function*() {
      const server = stub(busy)
      const error = yield* failed(request(server, code, { httpClient: clients[1]![1](server.client) }))
      assert.deepInclude(error, { _tag: "TokenTransportError", reason: "Repeated" })
      assert.include(error.message, "retry of the HttpClient")
    }))

  for (const propagateTrace of [false, true]) {
    it.effect(`with tracing on or off, propagated or not (${propagateTrace})`, () =>
      Effect.gen(function*() {
        for (const enabled of [true, false]) {
          const server = stub(broken("ECONNRESET"))
          const httpClient = HttpClient.transform(server.client, Effect.retry({ times: 3 }))
          yield* failed(request(server, refresh, { httpClient, propagateTrace })).pipe(
            Effect.withTracerEnabled(enabled)
          )
          assert.strictEqual(server.seen.length, 1)
        }
      }))
  }

  it.effect("other things that it does stay: what it adds, and what it does with the answer", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      const told: Array<number> = []
      const httpClient = server.client.pipe(
        HttpClient.mapRequest(HttpClientRequest.setHeader("x-mine", "1")),
        HttpClient.tap((response) => Effect.sync(() => told.push(response.status))),
        HttpClient.retryTransient({ times: 2 })
      )
      for (const [, grant] of grants) yield* request(server, grant, { httpClient })
      assert.deepStrictEqual(told, [200, 200])
      assert.deepStrictEqual(server.seen.map(({ headers }) => headers["x-mine"]), ["1", "1"])
    }))
})

describe("a key of the request", () => {
  it.effect("takes the place of the client's, and the token is bound to it", () =>
    Effect.gen(function*() {
      const server = stub((seen, number) =>
        seen.url.includes("api") ? json({}) : token(number, { token_type: "DPoP", refresh_token: "r" })
      )
      const [session, own] = yield* Effect.all([SigningKey.generate(), SigningKey.generate()])
      for (const dpop of [own, true, undefined]) {
        server.seen.length = 0
        const { accessToken } = yield* request(server, refresh, { dpop }, {}, { dpop: session })
        assert.strictEqual(accessToken.keyThumbprint, session.thumbprint)
        const { header } = yield* verified(server.seen[0]?.headers.dpop)
        assert.deepStrictEqual(header.jwk, session.publicJwk)
        const sent = HttpClientRequest.get("https://api.test/")
        yield* Effect.flatMap(AccessTokenHttpClient.attach(accessToken)(sent), server.client.execute)
        const proof = yield* verified(server.seen[1]?.headers.dpop)
        assert.deepStrictEqual(proof.header.jwk, session.publicJwk)
      }
    }))
})

describe("outcomeUnknown", () => {
  const transport = (reason: OAuthError.TokenTransportError["reason"], code?: string) =>
    new OAuthError.TokenTransportError({ clientName: "worker", endpoint: "https://as.test", reason, code })

  it("is false only where a connection was never there", () => {
    for (const known of ["ECONNREFUSED", "ENOTFOUND", "CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID"]) {
      assert.isFalse(transport("Connection", known).outcomeUnknown, known)
    }
    // An alert of the server may come after the request was written.
    for (const not of ["ECONNRESET", "EPIPE", "ETIMEDOUT", "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", undefined]) {
      assert.isTrue(transport("Connection", not).outcomeUnknown, not)
    }
    for (const reason of ["Timeout", "BodyIncomplete", "Repeated"] as const) {
      assert.isTrue(transport(reason, "ECONNREFUSED").outcomeUnknown, reason)
    }
  })

  it.prop("of a code that nobody knows is true", [FastCheck.stringMatching(/^X[A-Z_]{1,20}$/)], ([code]) => {
    assert.isTrue(transport("Connection", code).outcomeUnknown)
  })
})
