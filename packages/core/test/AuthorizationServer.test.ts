import { AuthorizationServer, ClientCredentialsTokenManager, TokenClient } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Redacted, TestClock } from "effect"
import { metadataUrls } from "../src/AuthorizationServer.ts"
import { json, services, stub, token } from "./support/StubServer.ts"

const issuer = "https://as.test/tenant"
const options: TokenClient.TokenClientOptions = { issuer, clientId: "worker" }
const document = (more: Record<string, unknown> = {}) =>
  json({ issuer, token_endpoint: "https://as.test/token", ...more })

const metadata = Effect.gen(function*() {
  const server = yield* AuthorizationServer.AuthorizationServer
  return yield* server.metadata(yield* TokenClient.make("worker", options))
})

const settle = Effect.repeatN(Effect.yieldNow(), 50)

describe("AuthorizationServer", () => {
  it("looks where OpenID Connect Discovery section 4 and RFC 8414 section 3 say", () => {
    assert.deepStrictEqual(metadataUrls("https://example.com/issuer1").map(String), [
      "https://example.com/issuer1/.well-known/openid-configuration",
      "https://example.com/.well-known/oauth-authorization-server/issuer1"
    ])
    assert.deepStrictEqual(metadataUrls("https://example.com").map(String), [
      "https://example.com/.well-known/openid-configuration",
      "https://example.com/.well-known/oauth-authorization-server"
    ])
  })

  it.effect("a client with an issuer finds its token endpoint at first use, once", () => {
    const server = stub((seen, number) => seen.method === "GET" ? document() : token(number))
    return Effect.gen(function*() {
      const get = (scope: string) => ClientCredentialsTokenManager.get("worker", { scope })
      const [first] = yield* Effect.all([get("a"), get("b")], { concurrency: "unbounded" })
      assert.strictEqual(Redacted.value(first.value), "token-2")
      assert.deepStrictEqual(server.seen.map(({ method, url }) => `${method} ${url}`), [
        "GET https://as.test/tenant/.well-known/openid-configuration",
        "POST https://as.test/token",
        "POST https://as.test/token"
      ])
    }).pipe(Effect.provide(services(server, { worker: options })))
  })

  it.effect("asks at the second address if the first has nothing", () => {
    const server = stub((seen) => seen.url.includes("openid") ? new Response("", { status: 404 }) : document())
    return Effect.gen(function*() {
      assert.strictEqual((yield* metadata).tokenEndpoint?.href, "https://as.test/token")
    }).pipe(Effect.provide(services(server, { worker: options })))
  })

  it.effect("stays for an hour, then is read again in the background; a failure of that is no matter", () => {
    const server = stub((_, number) => number === 1 ? document() : new Response(null, { status: 500 }))
    return Effect.gen(function*() {
      const first = yield* metadata
      yield* TestClock.adjust("59 minutes")
      yield* metadata
      assert.strictEqual(server.seen.length, 1)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* metadata, first)
      yield* settle
      assert.strictEqual(server.seen.length, 3)
      yield* TestClock.adjust("10 hours")
      assert.strictEqual(yield* metadata, first)
    }).pipe(Effect.provide(services(server, { worker: options })))
  })

  const rows: ReadonlyArray<readonly [name: string, answer: () => Response, says: string, retryable: boolean]> = [
    [
      "another issuer",
      () => document({ issuer: `${issuer}/` }),
      `its issuer is "${issuer}/", expected "${issuer}"`,
      false
    ],
    ["no issuer", () => json({ token_endpoint: "https://as.test" }), "its issuer is nothing, expected", false],
    ["HTML", () => new Response("<html>"), "HTML", false],
    ["nothing", () => new Response(""), "empty", false],
    ["404", () => new Response("", { status: 404 }), "404", false],
    ["503", () => new Response("", { status: 503, headers: { "retry-after": "7" } }), "503", true],
    [
      "a redirect",
      () => new Response(null, { status: 301, headers: { location: "https://evil.test" } }),
      "redirect",
      false
    ]
  ]
  for (const [name, answer, says, retryable] of rows) {
    it.effect(`${name} is a DiscoveryError`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(metadata)
        assert.strictEqual(error._tag, "DiscoveryError")
        assert.include(error.message, says)
        assert.strictEqual(error.retryable, retryable)
      }).pipe(Effect.provide(services(stub(answer), { worker: options }))))
  }

  it.effect("an endpoint over plain http: is no endpoint", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(ClientCredentialsTokenManager.get("worker"))
      assert.strictEqual(error._tag, "TokenClientInvalid")
      assert.include(error.message, "tokenEndpoint")
    }).pipe(
      Effect.provide(services(stub(() => document({ token_endpoint: "http://as.test/token" })), { worker: options }))
    ))

  it.effect("says where users are sent, and what of it the server wants", () =>
    Effect.gen(function*() {
      const found = yield* metadata
      assert.deepInclude(found, { requiresPushedAuthorization: true, issuerInAuthorizationResponse: true })
      assert.strictEqual(found.authorizationEndpoint?.href, "https://as.test/authorize")
      assert.strictEqual(found.endSessionEndpoint?.href, "https://as.test/logout")
      assert.isUndefined(found.userInfoEndpoint)
      assert.isUndefined(found.jwksUri)
      assert.strictEqual(found.pushedAuthorizationRequestEndpoint?.href, "https://as.test/par")
      assert.strictEqual(found.mtlsEndpointAliases.pushedAuthorizationRequestEndpoint?.href, "https://mtls.as.test/par")
    }).pipe(Effect.provide(services(
      stub(() =>
        document({
          authorization_endpoint: "https://as.test/authorize",
          end_session_endpoint: "https://as.test/logout",
          userinfo_endpoint: "http://as.test/userinfo",
          jwks_uri: 7,
          pushed_authorization_request_endpoint: "https://as.test/par",
          mtls_endpoint_aliases: { pushed_authorization_request_endpoint: "https://mtls.as.test/par" },
          require_pushed_authorization_requests: true,
          authorization_response_iss_parameter_supported: true
        })
      ),
      { worker: options }
    ))))

  const endpoints = (origin: string) => ({
    token_endpoint: `${origin}/token`,
    revocation_endpoint: `${origin}/revoke`,
    introspection_endpoint: `${origin}/introspect`,
    pushed_authorization_request_endpoint: `${origin}/par`,
    device_authorization_endpoint: `${origin}/device`,
    authorization_endpoint: `${origin}/authorize`,
    end_session_endpoint: `${origin}/logout`,
    userinfo_endpoint: `${origin}/userinfo`,
    jwks_uri: `${origin}/jwks`
  })
  const urlsAt = (issuer: string, origin: string, allowInsecure = false) =>
    Effect.gen(function*() {
      const server = yield* AuthorizationServer.AuthorizationServer
      const found = yield* server.metadata(
        yield* TokenClient.make("worker", { issuer, clientId: "worker", allowInsecure })
      )
      return [...Object.values(found), ...Object.values(found.mtlsEndpointAliases)]
        .filter((value) => value instanceof URL).map(({ origin }) => origin)
    }).pipe(Effect.provide(services(
      stub(() => json({ issuer, ...endpoints(origin), mtls_endpoint_aliases: endpoints(origin) })),
      { worker: { issuer, clientId: "worker", allowInsecure } }
    )))
  const loopback = ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "http://as.localhost"]

  for (const origin of loopback) {
    it.effect(`endpoints on ${origin} are those of a loopback issuer only`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* urlsAt("https://as.test", origin), [])
        for (const issuer of loopback) assert.lengthOf(yield* urlsAt(issuer, origin), 14)
        assert.lengthOf(yield* urlsAt("http://127.0.0.1:9", "https://as.test"), 14)
        assert.lengthOf(yield* urlsAt("https://localhost", origin), 14)
        assert.lengthOf(yield* urlsAt("https://as.test", origin, true), 14)
      }))
  }

  it.effect("a client without issuer has no metadata, and that is an error", () =>
    Effect.gen(function*() {
      const server = yield* AuthorizationServer.AuthorizationServer
      const client = yield* TokenClient.make("worker", { tokenEndpoint: "https://as.test/token", clientId: "worker" })
      const error = yield* Effect.flip(server.metadata(client))
      assert.deepInclude(error, { _tag: "DiscoveryError", document: "metadata", problem: "the client has no issuer" })
      assert.deepInclude(yield* Effect.flip(server.keys(client)), { _tag: "DiscoveryError", document: "keys" })
    }).pipe(Effect.provide(services(stub(() => document()), { worker: options }))))

  for (
    const issuer of [
      "https://as.test?a=b",
      "https://as.test/?",
      "https://as.test/t?tenant=1",
      "https://as.test/#x",
      "https://as.test/#"
    ]
  ) {
    it.effect(`${issuer} is no issuer (RFC 8414 section 2)`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(TokenClient.make("worker", { issuer, clientId: "worker" }))
        assert.deepStrictEqual(error.problems.map(({ field }) => field), ["issuer"])
        assert.include(error.message, "without query and fragment (RFC 8414 section 2)")
      }))
  }

  it.effect.prop("whatever a server sends is metadata or a typed error", [
    FastCheck.oneof(
      FastCheck.json(),
      FastCheck.record({ issuer: FastCheck.constantFrom(issuer, "", null), token_endpoint: FastCheck.jsonValue() }).map(
        (value) => JSON.stringify(value)
      )
    )
  ], ([body]) =>
    Effect.gen(function*() {
      const result = yield* Effect.either(metadata)
      if (result._tag === "Left") assert.strictEqual(result.left._tag, "DiscoveryError")
      else assert.strictEqual(result.right.issuer, issuer)
    }).pipe(Effect.provide(services(stub(() => new Response(body)), { worker: options }))), {
    fastCheck: { numRuns: 100 }
  })
})
