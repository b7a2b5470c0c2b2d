/**
 * Authorization requests that are pushed to the server (RFC 9126), and what its metadata says of them.
 */
import {
  AuthorizationServer,
  OAuth,
  OAuthError,
  SigningKey,
  TokenClient,
  TokenClients,
  TokenEndpoint
} from "@effect-oauth/core"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, FastCheck, Fiber, Layer, Redacted, TestClock } from "effect"
import * as Server from "../../../examples/servers/authorizationServer.ts"
import { field, json, options, services, type Stub, stub } from "./support/StubServer.ts"

const endpoint = "https://as.test/par"
const pushed = (fields: Record<string, unknown> = {}) =>
  json({ request_uri: "urn:ietf:params:oauth:request_uri:x", expires_in: 90, ...fields }, { status: 201 })

const form = {
  response_type: "code",
  state: "the-state",
  resource: ["https://a.test/", "https://b.test/"],
  login_hint: Redacted.make("the-hint")
}

const push = (
  server: Stub,
  more: Partial<TokenClient.TokenClientOptions> = {},
  parameters: Parameters<TokenEndpoint.TokenEndpoint["Type"]["pushAuthorization"]>[1] = form
) =>
  Effect.gen(function*() {
    const service = yield* TokenEndpoint.TokenEndpoint
    const client = yield* TokenClient.make("worker", {
      ...options,
      pushedAuthorizationRequestEndpoint: endpoint,
      ...more
    })
    return yield* service.pushAuthorization(client, parameters)
  }).pipe(Effect.provide(services(server)))

describe("pushAuthorization", () => {
  it.effect("sends the form, by the client that proves itself, and gives what it is good for", () =>
    Effect.gen(function*() {
      const server = stub(() => pushed())
      const result = yield* push(server, { scope: "machine", parameters: { audience: "machine" } })
      assert.deepStrictEqual(result, {
        requestUri: "urn:ietf:params:oauth:request_uri:x",
        expiresIn: Duration.seconds(90)
      })
      assert.strictEqual(server.seen[0]?.url, endpoint)
      assert.isDefined(server.seen[0]?.headers.authorization)
      assert.deepStrictEqual(server.seen[0]?.form, [
        ["response_type", "code"],
        ["state", "the-state"],
        ["resource", "https://a.test/"],
        ["resource", "https://b.test/"],
        ["login_hint", "the-hint"],
        ["client_id", "worker"]
      ])
    }))

  it.effect("names the client once, whatever its authentication and whatever the form says", () =>
    Effect.gen(function*() {
      const privateKey = yield* SigningKey.generate()
      const rows: ReadonlyArray<Partial<TokenClient.TokenClientOptions>> = [
        {},
        { authentication: "client_secret_post" },
        { clientSecret: undefined },
        { clientSecret: undefined, privateKey }
      ]
      const given = { ...form, client_id: "other", client_secret: "x", client_assertion: "y", toString: "z" }
      for (const row of rows) {
        const server = stub(() => pushed())
        yield* push(server, row, given)
        assert.deepStrictEqual(field(server.seen[0], "client_id"), ["worker"])
        assert.notInclude([...field(server.seen[0], "client_secret")], "x")
        assert.notInclude([...field(server.seen[0], "client_assertion")], "y")
        assert.deepStrictEqual(field(server.seen[0], "toString"), ["z"])
      }
    }))

  it.effect("a 200 is as good; a lifetime that is not said is a minute", () =>
    Effect.gen(function*() {
      const result = yield* push(stub(() => json({ request_uri: "urn:x" })))
      assert.deepStrictEqual(result, { requestUri: "urn:x", expiresIn: Duration.minutes(1) })
    }))

  const bad: ReadonlyArray<readonly [what: string, answer: () => Response, tag: OAuthError.AccessTokenError["_tag"]]> =
    [
      ["a refusal", () => json({ error: "invalid_request" }, { status: 400 }), "TokenEndpointError"],
      ["a request_uri with a 400", () => json({ request_uri: "urn:x" }, { status: 400 }), "TokenResponseInvalid"],
      ["no request_uri", () => json({ expires_in: 60 }, { status: 201 }), "TokenResponseInvalid"],
      ["a request_uri that is no URI", () => pushed({ request_uri: "a b\n" }), "TokenResponseInvalid"],
      ["HTML", () => new Response("<html>", { status: 201 }), "TokenResponseInvalid"]
    ]
  for (const [what, answer, tag] of bad) {
    it.effect(`${what} is a ${tag}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(push(stub(answer)))
        assert.strictEqual(error._tag, tag)
      }))
  }

  it.effect("is repeated as other requests are", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => number < 3 ? new Response(null, { status: 503 }) : pushed())
      const fiber = yield* Effect.fork(push(server))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(server.seen.length, 3)
    }))

  it.effect("a server that quotes the form is not quoted with what belongs to a login", () =>
    Effect.gen(function*() {
      const quoting = stub(({ form }) =>
        json({ error: "invalid_request", error_description: JSON.stringify(form) }, { status: 400 })
      )
      const { message } = yield* Effect.flip(push(quoting))
      for (const secret of ["the-state", "the-hint"]) assert.notInclude(message, secret)
    }))

  it.effect("without an endpoint it says which field is missing", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(push(stub(() => pushed()), { pushedAuthorizationRequestEndpoint: undefined }))
      assert.strictEqual(error._tag, "TokenClientInvalid")
      assert.include(error.message, "pushedAuthorizationRequestEndpoint")
    }))

  it.effect.prop("whatever a server answers is a result or a typed error", [
    FastCheck.constantFrom(200, 201, 400, 500),
    FastCheck.oneof(
      FastCheck.json(),
      FastCheck.record({ request_uri: FastCheck.jsonValue(), expires_in: FastCheck.jsonValue() }).map((value) =>
        JSON.stringify(value)
      )
    )
  ], ([status, body]) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.fork(Effect.either(push(stub(() => new Response(body, { status })))))
      yield* TestClock.adjust("1 minutes")
      const result = yield* Fiber.join(fiber)
      if (result._tag === "Left") assert.isTrue(OAuthError.isAccessTokenError(result.left))
      else assert.match(result.right.requestUri, /^[\x21-\x7e]+$/)
    }), { fastCheck: { numRuns: 100 } })

  it.scopedLive("at a real server, found by its metadata", () =>
    Effect.gen(function*() {
      const redirectUri = "https://app.test/callback"
      const server = yield* Server.start({
        clients: [{
          client_id: "web",
          client_secret: "s".repeat(32),
          grant_types: ["authorization_code"],
          response_types: ["code"],
          redirect_uris: [redirectUri]
        }]
      })
      yield* Effect.gen(function*() {
        const client = yield* TokenClient.make("web", {
          issuer: server.issuer,
          clientId: "web",
          clientSecret: Redacted.make("s".repeat(32))
        })
        const request = {
          response_type: "code",
          scope: "openid",
          redirect_uri: redirectUri,
          code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
          code_challenge_method: "S256"
        }
        const service = yield* TokenEndpoint.TokenEndpoint
        const { expiresIn, requestUri } = yield* service.pushAuthorization(client, request)
        assert.match(requestUri, /^urn:ietf:params:oauth:request_uri:/)
        assert.isAbove(Duration.toSeconds(expiresIn), 4)
        const refused = yield* Effect.flip(
          service.pushAuthorization(client, { ...request, redirect_uri: "https://evil.test/" })
        )
        assert.strictEqual(refused._tag, "TokenEndpointError")
        const metadata = yield* Effect.flatMap(AuthorizationServer.AuthorizationServer, (server) =>
          server.metadata(client))
        assert.strictEqual(metadata.authorizationEndpoint?.href, `${server.issuer}/auth`)
        assert.strictEqual(metadata.jwksUri?.href, server.jwksUri)
        assert.isTrue(metadata.issuerInAuthorizationResponse)
        assert.isFalse(metadata.requiresPushedAuthorization)
      }).pipe(Effect.provide(OAuth.layer.pipe(Layer.provide([TokenClients.layer({}), FetchHttpClient.layer]))))
    }))
})
