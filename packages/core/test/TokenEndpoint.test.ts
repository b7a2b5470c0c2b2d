import {
  Backchannel,
  ClientAuthentication,
  OAuthError,
  OAuthValues,
  TokenClient,
  TokenEndpoint,
  TokenGrant
} from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Duration, Effect, FastCheck, Layer, Redacted, Schema, TestClock } from "effect"
import type { Stub } from "./support/StubServer.ts"
import { field, json, options, secret, services, stub, token } from "./support/StubServer.ts"

const clientOf = (more: Partial<TokenClient.TokenClientOptions> = {}) =>
  TokenClient.make("worker", { ...options, ...more })

const request = (
  server: Stub,
  more: Partial<TokenClient.TokenClientOptions> = {},
  ...rest: Parameters<TokenEndpoint.TokenEndpoint["Type"]["request"]> extends [unknown, unknown, ...infer Rest] ? Rest
    : never
) =>
  Effect.gen(function*() {
    const endpoint = yield* TokenEndpoint.TokenEndpoint
    return yield* endpoint.request(yield* clientOf(more), TokenGrant.clientCredentials, ...rest)
  }).pipe(Effect.provide(services(server)))

const once = { retries: 0 }

describe("TokenEndpoint", () => {
  describe("what is sent", () => {
    it.effect("scope, resource, extra parameters and the credentials in header or body [parity 35]", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number, { token_type: "Bearer", expires_in: 60, scope: "a" }))
        const more = {
          clientId: "s6BhdRkqt3",
          clientSecret: Redacted.make("7Fjfp0ZBr1KtDRbnfVdmIw"),
          scope: "a b",
          resource: ["https://api.test/"],
          parameters: { audience: "x", several: ["1", "2"], hidden: Redacted.make("h") }
        }
        const { accessToken } = yield* request(server, more)
        yield* request(server, { ...more, authentication: "client_secret_post" })
        const form = [
          ["audience", "x"],
          ["several", "1"],
          ["several", "2"],
          ["hidden", "h"],
          ["grant_type", "client_credentials"],
          ["scope", "a b"],
          ["resource", "https://api.test/"]
        ] as const
        const [header, body] = server.seen
        assert.strictEqual(header?.method, "POST")
        assert.strictEqual(header.headers.accept, "application/json")
        assert.strictEqual(header.headers.authorization, "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3")
        assert.deepStrictEqual(header.form, form)
        assert.isUndefined(body?.headers.authorization)
        assert.deepStrictEqual(body?.form, [
          ...form,
          ["client_id", "s6BhdRkqt3"],
          ["client_secret", "7Fjfp0ZBr1KtDRbnfVdmIw"]
        ])
        assert.strictEqual(Redacted.value(accessToken.value), "token-1")
        assert.strictEqual(accessToken.type, "Bearer")
        assert.strictEqual(accessToken.scope, "a")
        assert.strictEqual(accessToken.clientName, "worker")
      }))

    it.effect("a public client: its id in the body and no header", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        yield* request(server, { clientSecret: undefined })
        assert.deepStrictEqual(field(server.seen[0], "client_id"), ["worker"])
        assert.isUndefined(server.seen[0]?.headers.authorization)
      }))

    it.effect("what the request says instead of what the client says [parity 38]", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        yield* request(
          server,
          { scope: "a", resource: "https://r.test/1", parameters: { x: "1", y: "1" } },
          { scope: "b", resource: "https://r.test/2", parameters: { x: "2" } }
        )
        assert.deepStrictEqual(server.seen[0]?.form, [
          ["x", "2"],
          ["y", "1"],
          ["grant_type", "client_credentials"],
          ["scope", "b"],
          ["resource", "https://r.test/2"]
        ])
      }))

    it.effect("an extra parameter never overrides the protocol's", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        for (const name of ["grant_type", "client_secret", "scope", "client_assertion"]) {
          const error = yield* Effect.flip(request(server, {}, { parameters: { [name]: "x" } }))
          assert.strictEqual(error._tag, "TokenRequestInvalid")
          assert.include(error.message, `parameters.${name}`)
        }
        assert.strictEqual(server.seen.length, 0)
      }))

    it.effect("an extension grant with its own fields, which nothing else overrides", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        const endpoint = yield* TokenEndpoint.TokenEndpoint.pipe(Effect.provide(services(server)))
        const client = yield* clientOf()
        const grant = TokenGrant.extension("urn:example:grant", { ticket: Redacted.make("t") })
        yield* endpoint.request(client, grant)
        assert.deepStrictEqual(server.seen[0]?.form, [["ticket", "t"], ["grant_type", "urn:example:grant"]])
        const overridden = yield* Effect.flip(endpoint.request(client, grant, { parameters: { ticket: "mine" } }))
        assert.strictEqual(overridden._tag, "TokenRequestInvalid")
        const unnamed = yield* Effect.flip(endpoint.request(client, TokenGrant.extension("password")))
        assert.strictEqual(unnamed._tag, "TokenRequestInvalid")
      }))
  })

  describe("lifetime", () => {
    const rows: ReadonlyArray<readonly [expiresIn: unknown, seconds: number | "never"]> = [
      [300, 300],
      ["3600", 3600],
      [" 3600 ", 3600],
      [0.5, 0.5],
      [undefined, "never"],
      [null, "never"],
      [0, 0],
      [-1, 0],
      ["-1", 0],
      ["3600abc", 0],
      ["", 0],
      [true, 0],
      [{}, 0],
      [1e18, "never"]
    ]
    for (const [expiresIn, seconds] of rows) {
      it.effect(`expires_in ${JSON.stringify(expiresIn)} counts as ${seconds}`, () =>
        Effect.gen(function*() {
          yield* TestClock.setTime(1000)
          const { accessToken } = yield* request(stub((_, n) => token(n, { expires_in: expiresIn })))
          assert.deepStrictEqual(
            accessToken.expiresAt,
            seconds === "never" ? undefined : DateTime.unsafeMake(1000 + seconds * 1000)
          )
        }))
    }

    it.effect("the token ends expires_in after the request was sent [parity 36]", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(5000)
        const { accessToken } = yield* request(stub((_, n) => token(n, { expires_in: 300 })))
        assert.deepStrictEqual(accessToken.expiresAt, DateTime.unsafeMake(305_000))
      }))

    it.effect("without expires_in the token never ends, unless defaultLifetime says so [parity 37, changed]", () =>
      Effect.gen(function*() {
        const server = stub((_, n) => token(n, {}))
        assert.isUndefined((yield* request(server)).accessToken.expiresAt)
        const { accessToken } = yield* request(server, { defaultLifetime: "10 minutes" })
        assert.deepStrictEqual(accessToken.expiresAt, DateTime.unsafeMake(600_000))
      }))

    it.effect("expires_in 1e400 counts as 0", () =>
      Effect.gen(function*() {
        const body = `{"access_token":"t","token_type":"Bearer","expires_in":1e400}`
        const { accessToken } = yield* request(stub(() => new Response(body)))
        assert.deepStrictEqual(accessToken.expiresAt, accessToken.obtainedAt)
      }))

    it.effect("counts from when the request was sent, not from when it was answered", () =>
      Effect.gen(function*() {
        const server = stub(() => Effect.delay(Effect.sync(() => token(1, { expires_in: 60 })), "5 seconds"))
        const fiber = yield* Effect.fork(request(server))
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual((yield* fiber).accessToken.expiresAt, DateTime.unsafeMake(60_000))
      }))
  })

  describe("an answer that is no token", () => {
    const html = "<!doctype html><title>Sign in</title>"
    const rows: ReadonlyArray<
      readonly [name: string, answer: () => Response, tag: string, retryable: boolean, says: string]
    > = [
      [
        "400 invalid_scope",
        () => json({ error: "invalid_scope" }, { status: 400 }),
        "TokenEndpointError",
        false,
        "invalid_scope"
      ],
      [
        "401 invalid_client",
        () => json({ error: "invalid_client", error_description: "bad" }, { status: 401 }),
        "TokenEndpointError",
        false,
        "(bad)"
      ],
      ["200 with an error", () => json({ error: "access_denied" }), "TokenEndpointError", false, "access_denied"],
      [
        "500 with an error",
        () => json({ error: "server_error" }, { status: 500 }),
        "TokenEndpointError",
        true,
        "server_error"
      ],
      [
        "400 temporarily_unavailable",
        () => json({ error: "temporarily_unavailable" }, { status: 400 }),
        "TokenEndpointError",
        true,
        "temporarily"
      ],
      ["500 with an empty body", () => new Response(null, { status: 500 }), "TokenResponseInvalid", true, "empty"],
      ["403 with an empty body", () => new Response("", { status: 403 }), "TokenResponseInvalid", false, "empty"],
      ["404", () => new Response("not found", { status: 404 }), "TokenResponseInvalid", false, "404"],
      ["an HTML page with 200", () => new Response(html), "TokenResponseInvalid", false, "HTML"],
      ["a JSON array", () => json([1]), "TokenResponseInvalid", false, "not an object"],
      ["JSON cut off", () => new Response("{\"access_token\":\"abc"), "TokenResponseInvalid", false, "not JSON"],
      ["no access_token", () => json({ token_type: "Bearer" }), "TokenResponseInvalid", false, "neither"],
      [
        "an access_token that is a number",
        () => json({ access_token: 7 }),
        "TokenResponseInvalid",
        false,
        "access_token"
      ],
      [
        "an access_token that is empty",
        () => json({ access_token: "" }),
        "TokenResponseInvalid",
        false,
        "access_token"
      ],
      [
        "an access_token with a line break",
        () => json({ access_token: "a\r\nx: y" }),
        "TokenResponseInvalid",
        false,
        "ASCII"
      ],
      [
        "a token_type with a line break",
        () => json({ access_token: "a", token_type: "B\r\n" }),
        "TokenResponseInvalid",
        false,
        "token_type"
      ],
      [
        "a redirect",
        () => new Response(null, { status: 302, headers: { location: "https://evil.test/?a=token" } }),
        "TokenResponseInvalid",
        false,
        "redirect"
      ]
    ]
    for (const [name, answer, tag, retryable, says] of rows) {
      it.effect(`${name}: ${tag}`, () =>
        Effect.gen(function*() {
          const server = stub(answer)
          const error = yield* Effect.flip(request(server, {}, {}, once))
          assert.strictEqual(error._tag, tag)
          assert.strictEqual(error.retryable, retryable)
          assert.include(error.message, says)
          assert.include(error.message, "client \"worker\": https://as.test/token")
          assert.notInclude(error.message, "evil")
          assert.strictEqual(server.seen.length, 1)
        }))
    }

    it.effect("a 404 is a typed error after one call [parity 11, changed]", () =>
      Effect.gen(function*() {
        const server = stub(() => new Response("not found", { status: 404 }))
        const error = yield* Effect.flip(request(server))
        assert.deepStrictEqual(error._tag === "TokenResponseInvalid" && [error.status, error.retryable], [404, false])
        assert.strictEqual(server.seen.length, 1)
      }))

    it.effect("a refusal is a typed failure with the server's words [parity 119]", () =>
      Effect.gen(function*() {
        const refused = { error: "invalid_grant", error_description: "expired", error_uri: "https://as.test/help" }
        const error = yield* Effect.flip(request(stub(() => json(refused, { status: 400 }))))
        if (error._tag !== "TokenEndpointError") return assert.fail(error._tag)
        assert.deepStrictEqual(
          [error.status, error.error, error.errorDescription, error.errorUri],
          [400, "invalid_grant", "expired", "https://as.test/help"]
        )
      }))

    it.effect("a token is a success [parity 120]", () =>
      Effect.gen(function*() {
        const { accessToken, refreshToken } = yield* request(
          stub((_, n) => token(n, { token_type: "MAC", refresh_token: "r", unknown: [{}], scope: 7 }))
        )
        assert.strictEqual(accessToken.type, "MAC")
        assert.isUndefined(accessToken.scope)
        assert.strictEqual(refreshToken && Redacted.value(refreshToken), "r")
      }))

    it.effect("its scope may be an array of scopes, as some servers write it", () =>
      Effect.gen(function*() {
        const rows: ReadonlyArray<readonly [scope: unknown, expected: string | undefined]> = [
          [["a", "b:c"], "a b:c"],
          [["a b", "c"], "a b c"],
          [["a"], "a"],
          [[], undefined],
          [["a", 7], undefined],
          [["a", "b\n"], undefined],
          [["a", ""], undefined],
          [[["a"]], undefined],
          [{ a: 1 }, undefined],
          ["a b", "a b"],
          [null, undefined]
        ]
        for (const [scope, expected] of rows) {
          const { accessToken } = yield* request(stub((_, n) => token(n, { scope })))
          assert.strictEqual(accessToken.scope, expected, JSON.stringify(scope))
        }
      }))

    it.effect("a body above maxResponseSize is not read to its end", () =>
      Effect.gen(function*() {
        let sent = 0
        const server = stub(() =>
          new Response(
            new ReadableStream({
              pull: (controller) => {
                sent += 65_536
                controller.enqueue(new Uint8Array(65_536).fill(32))
              }
            })
          )
        )
        const error = yield* Effect.flip(request(server, {}, {}, once))
        assert.strictEqual(error._tag, "TokenResponseInvalid")
        assert.include(error.message, "1048576 bytes")
        assert.isBelow(sent, 3 * 1024 * 1024)
      }))

    it.effect("a body that breaks off: TokenTransportError", () =>
      Effect.gen(function*() {
        const server = stub(() =>
          new Response(new ReadableStream({ start: (controller) => controller.error(new Error("reset")) }))
        )
        const error = yield* Effect.flip(request(server, {}, {}, once))
        assert.strictEqual(error._tag === "TokenTransportError" && error.reason, "BodyIncomplete")
      }))

    it.effect("no answer in time: TokenTransportError", () =>
      Effect.gen(function*() {
        const fiber = yield* Effect.fork(
          Effect.flip(request(stub(() => Effect.never), { timeout: "3 seconds" }, {}, once))
        )
        yield* TestClock.adjust("3 seconds")
        const error = yield* fiber
        assert.strictEqual(error._tag === "TokenTransportError" && error.reason, "Timeout")
      }))

    it.effect("no connection: TokenTransportError with the code of the system", () =>
      Effect.gen(function*() {
        const cause = Object.assign(new TypeError("fetch failed"), { cause: { code: "ECONNREFUSED" } })
        const server = stub((_, __, request) =>
          Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause }))
        )
        const error = yield* Effect.flip(request(server, {}, {}, once))
        assert.strictEqual(error._tag === "TokenTransportError" && error.code, "ECONNREFUSED")
      }))

    it.effect("a backchannel that dies: an error, not a defect", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(request(stub(() => Effect.die(new Error("boom"))), {}, {}, once))
        assert.strictEqual(error._tag, "TokenTransportError")
      }))

    it.effect("a server that sends our secrets back: they do not show", () =>
      Effect.gen(function*() {
        const description = `unknown ${Redacted.value(secret)} ${encodeURIComponent("hid den")} hid den`
        const server = stub(() => json({ error: "invalid_request", error_description: description }, { status: 400 }))
        const error = yield* Effect.flip(
          request(server, {}, { parameters: { subject: Redacted.make("hid den") } }, once)
        )
        assert.notInclude(error.message, Redacted.value(secret))
        assert.notInclude(error.message, "hid den")
        assert.notInclude(error.message, "hid%20den")
      }))

    it.effect.prop(
      "whatever a server sends is a token or a typed error, never a defect",
      [
        FastCheck.oneof(
          FastCheck.string(),
          FastCheck.json(),
          FastCheck.record({
            access_token: FastCheck.anything(),
            token_type: FastCheck.anything(),
            expires_in: FastCheck.anything(),
            scope: FastCheck.anything(),
            error: FastCheck.anything(),
            error_description: FastCheck.anything()
          }, { requiredKeys: [] }).map((value) => {
            try {
              return JSON.stringify(value)
            } catch {
              return ""
            }
          }),
          FastCheck.uint8Array()
        ),
        FastCheck.constantFrom(200, 201, 400, 401, 403, 500, 503),
        FastCheck.option(FastCheck.string({ unit: FastCheck.constantFrom("a", "1", " ", ":", ",", "-") }))
      ],
      ([body, status, retryAfter]) =>
        Effect.gen(function*() {
          const headers = retryAfter === null ? {} : { "retry-after": retryAfter.trim() }
          const server = stub(() => new Response(body as string, { status, headers }))
          const result = yield* Effect.either(request(server, {}, {}, once))
          if (result._tag === "Left") assert.isTrue(OAuthError.isAccessTokenError(result.left))
          else assert.isTrue(Redacted.isRedacted(result.right.accessToken.value))
        }),
      { fastCheck: { numRuns: 150 } }
    )
  })

  describe("retries", () => {
    const failingFirst = (times: number, answer: () => Response) =>
      stub((_, number) => number <= times ? answer() : token(number))

    it.effect("a 5xx twice more, after 200 ms and 400 ms", () =>
      Effect.gen(function*() {
        const server = failingFirst(2, () => new Response(null, { status: 503 }))
        const fiber = yield* Effect.fork(request(server))
        yield* TestClock.adjust("150 millis")
        assert.strictEqual(server.seen.length, 1)
        yield* TestClock.adjust("100 millis")
        assert.strictEqual(server.seen.length, 2)
        yield* TestClock.adjust("500 millis")
        assert.strictEqual(Redacted.value((yield* fiber).accessToken.value), "token-3")
      }))

    it.effect("a third failure is the caller's", () =>
      Effect.gen(function*() {
        const server = failingFirst(9, () => new Response(null, { status: 503 }))
        const fiber = yield* Effect.fork(Effect.flip(request(server)))
        yield* TestClock.adjust("5 seconds")
        yield* fiber
        assert.strictEqual(server.seen.length, 3)
      }))

    it.effect("a refusal never", () =>
      Effect.gen(function*() {
        const server = failingFirst(9, () => json({ error: "invalid_client" }, { status: 401 }))
        yield* Effect.flip(request(server))
        assert.strictEqual(server.seen.length, 1)
      }))

    it.effect("Retry-After of 2 seconds is waited for, a longer one fails at once and is told", () =>
      Effect.gen(function*() {
        const busy = (seconds: string) => () => new Response(null, { status: 429, headers: { "retry-after": seconds } })
        const short = failingFirst(1, busy("2"))
        const fiber = yield* Effect.fork(request(short))
        yield* TestClock.adjust("1999 millis")
        assert.strictEqual(short.seen.length, 1)
        yield* TestClock.adjust("1 millis")
        yield* fiber
        assert.strictEqual(short.seen.length, 2)
        const long = failingFirst(1, busy("120"))
        const error = yield* Effect.flip(request(long))
        assert.deepStrictEqual(error.retryAfter, Duration.seconds(120))
        const now = yield* DateTime.now
        const date = failingFirst(1, busy(new Date(DateTime.toEpochMillis(now) + 60_000).toUTCString()))
        const dated = yield* Effect.flip(request(date))
        assert.isAtMost(Duration.toMillis(dated.retryAfter!), 60_000)
        assert.isAtLeast(Duration.toMillis(dated.retryAfter!), 59_000)
      }))

    it.effect("credentials are made for every attempt, also under a retry of the user's own backchannel", () =>
      Effect.gen(function*() {
        const server = failingFirst(2, () => new Response(null, { status: 503 }))
        const httpClient = server.client.pipe(HttpClient.retryTransient({ times: 2 }))
        yield* request(server, { httpClient })
        assert.deepStrictEqual(server.seen.map(({ headers }) => headers.authorization !== undefined), [
          true,
          true,
          true
        ])
      }))
  })

  describe("the way to the server", () => {
    it.effect("Backchannel is used for authorization servers; a 404 of it is one call [parity 12]", () =>
      Effect.gen(function*() {
        const common = stub((_, n) => token(n))
        const back = stub(() => new Response(null, { status: 404 }))
        const layer = services(common).pipe(Layer.provide(Layer.succeed(Backchannel.Backchannel, back.client)))
        const error = yield* Effect.flip(
          Effect.flatMap(
            TokenEndpoint.TokenEndpoint,
            (endpoint) => Effect.flatMap(clientOf(), (client) => endpoint.request(client, TokenGrant.clientCredentials))
          ).pipe(Effect.provide(layer))
        )
        assert.strictEqual(error._tag === "TokenResponseInvalid" && error.status, 404)
        assert.deepStrictEqual([common.seen.length, back.seen.length], [0, 1])
      }))

    it.effect("a client's own HttpClient wins [parity 16]", () =>
      Effect.gen(function*() {
        const common = stub((_, n) => token(n))
        const own = stub((_, n) => token(n))
        yield* request(common, { httpClient: own.client })
        assert.deepStrictEqual([common.seen.length, own.seen.length], [0, 1])
      }))
  })

  describe("revoke", () => {
    const revoke = (server: Stub, parameters?: Readonly<Record<string, string>>) =>
      Effect.gen(function*() {
        const endpoint = yield* TokenEndpoint.TokenEndpoint
        const client = yield* clientOf({ revocationEndpoint: "https://as.test/revoke" })
        return yield* endpoint.revoke(client, Redacted.make("the token"), "access_token", { parameters })
      }).pipe(Effect.provide(services(server)))

    it.effect("sends extra parameters along, and none in place of the protocol's", () =>
      Effect.gen(function*() {
        const server = stub(() => new Response(null))
        yield* revoke(server, { tenant: "t" })
        assert.deepStrictEqual(server.seen[0]?.form, [
          ["tenant", "t"],
          ["token", "the token"],
          ["token_type_hint", "access_token"]
        ])
        for (const name of ["token", "token_type_hint", "client_id", "grant_type"]) {
          const error = yield* Effect.flip(revoke(server, { [name]: "x" }))
          assert.deepInclude(error, { _tag: "TokenRequestInvalid", field: `parameters.${name}` })
        }
        assert.strictEqual(server.seen.length, 1)
      }))

    it.effect("sends the token with the client's credentials; 200 says it is gone", () =>
      Effect.gen(function*() {
        const server = stub(() => new Response(null))
        yield* revoke(server)
        assert.strictEqual(server.seen[0]?.url, "https://as.test/revoke")
        assert.isDefined(server.seen[0]?.headers.authorization)
        assert.deepStrictEqual(server.seen[0]?.form, [["token", "the token"], ["token_type_hint", "access_token"]])
      }))

    it.effect("a 503 with Retry-After is a typed error that says so", () =>
      Effect.gen(function*() {
        const server = stub(() => new Response(null, { status: 503, headers: { "retry-after": "30" } }))
        const error = yield* Effect.flip(revoke(server))
        assert.isTrue(error.retryable)
        assert.deepStrictEqual(error.retryAfter, Duration.seconds(30))
      }))

    it.effect("without an endpoint it says which field is missing", () =>
      Effect.gen(function*() {
        const endpoint = yield* TokenEndpoint.TokenEndpoint
        const error = yield* Effect.flip(endpoint.revoke(yield* clientOf(), Redacted.make("x")))
        assert.strictEqual(error._tag, "TokenClientInvalid")
        assert.include(error.message, "revocationEndpoint")
      }).pipe(Effect.provide(services(stub(() => new Response())))))
  })

  describe("introspect", () => {
    const introspect = (answer: () => Response) =>
      Effect.gen(function*() {
        const endpoint = yield* TokenEndpoint.TokenEndpoint
        const client = yield* clientOf({ introspectionEndpoint: "https://as.test/introspect" })
        return yield* endpoint.introspect(client, Redacted.make("the token"))
      }).pipe(Effect.provide(services(stub(answer))))

    it.effect("gives what the server knows", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* introspect(() => json({ active: true, sub: "x" })), {
          active: true,
          claims: { active: true, sub: "x" }
        })
        assert.isFalse((yield* introspect(() => json({ active: false }))).active)
      }))

    it.effect("an answer without active is an error", () =>
      Effect.map(
        Effect.flip(introspect(() => json({ actve: true }))),
        (error) => assert.strictEqual(error._tag, "TokenResponseInvalid")
      ))
  })

  it.effect("a one-off client needs no registration; raw encoding is for servers that want it", () =>
    Effect.gen(function*() {
      const server = stub((_, n) => token(n))
      yield* request(server, {
        clientId: "a:b",
        clientSecret: undefined,
        authentication: ClientAuthentication.clientSecretBasic(
          Schema.decodeUnknownSync(OAuthValues.ClientSecret)(Redacted.make("s%")),
          { encoding: "raw" }
        )
      })
      yield* request(server, { clientId: "a:b", clientSecret: Redacted.make("s%") })
      assert.deepStrictEqual(server.seen.map(({ headers }) => headers.authorization), [
        `Basic ${btoa("a:b:s%")}`,
        `Basic ${btoa("a%3Ab:s%25")}`
      ])
    }))
})
