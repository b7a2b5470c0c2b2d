/** Logins on another device and exchanged tokens, at the authorization server of the examples. */
import { DeviceFlow, OAuth, SigningKey, TokenClient, TokenClients, TokenEndpoint, TokenGrant } from "@effect-oauth/core"
import type { AccessToken } from "@effect-oauth/core"
import { FetchHttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as jose from "jose"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as TokenExchange from "../servers/tokenExchange.ts"
import { UserAgent } from "../servers/userAgent.ts"

const deviceCode = "urn:ietf:params:oauth:grant-type:device_code"
const one = "https://one.test/"
const two = "https://two.test/"
const scope = "openid offline_access invoices"

const services = OAuth.layer.pipe(Layer.provideMerge(TokenClients.layer({})), Layer.provide(FetchHttpClient.layer))

const start = (exchange: TokenExchange.TokenExchange = {}) =>
  AuthorizationServer.start({
    users: true,
    deviceFlow: true,
    dpop: "nonces",
    tokenExchange: { audiences: (name) => name === "two" ? two : undefined, ...exchange },
    clients: [
      {
        client_id: "cli",
        client_name: "The tool",
        token_endpoint_auth_method: "none",
        grant_types: [deviceCode, "refresh_token"],
        scope
      },
      {
        client_id: "one",
        client_secret: "s3cret",
        grant_types: ["client_credentials", TokenExchange.grantType],
        scope: "invoices"
      }
    ]
  })

type Server = AuthorizationServer.AuthorizationServer

const cliOf = (server: Server, more: Partial<TokenClient.TokenClientOptions> = {}) =>
  TokenClient.make("cli", { issuer: server.issuer, clientId: "cli", scope, ...more })

const apiOf = (server: Server, more: Partial<TokenClient.TokenClientOptions> = {}) =>
  TokenClient.make("one", {
    issuer: server.issuer,
    clientId: "one",
    clientSecret: Redacted.make("s3cret"),
    ...more
  })

const login = (
  server: Server,
  options: { readonly answer?: "yes" | "no"; readonly key?: SigningKey.SigningKey } = {}
) =>
  Effect.gen(function*() {
    const client = yield* cliOf(server)
    const { tokens, userCode, verificationUri } = yield* DeviceFlow.start(
      client,
      { parameters: { prompt: "consent" } },
      { dpop: options.key }
    )
    const page = yield* Effect.promise(() =>
      new UserAgent().enterCode(verificationUri, userCode, "alice", options.answer)
    )
    return { page, tokens, client }
  })

/** A user's access token, asked for once, when the user has said yes already. */
const userToken = (server: Server, resource: string | ReadonlyArray<string> = []) =>
  Effect.gen(function*() {
    const client = yield* cliOf(server)
    const { authorizeDevice, request } = yield* TokenEndpoint.TokenEndpoint
    const { deviceCode, userCode, verificationUri } = yield* authorizeDevice(client, { resource })
    yield* Effect.promise(() => new UserAgent().enterCode(verificationUri, userCode, "alice"))
    return (yield* request(client, TokenGrant.deviceCode(deviceCode))).accessToken
  })

const exchange = (
  client: TokenClient.TokenClient,
  grant: TokenGrant.Exchange,
  parameters: Parameters<TokenEndpoint.TokenEndpoint["Type"]["request"]>[2] = { resource: two, scope: "invoices" }
) =>
  Effect.flatMap(
    TokenEndpoint.TokenEndpoint,
    ({ request }) => request(client, TokenGrant.tokenExchange(grant), parameters)
  )

const claimsOf = (token: AccessToken.AccessToken): Readonly<Record<string, unknown>> =>
  jose.decodeJwt(Redacted.value(token.value))

describe("a login on another device", () => {
  it.scopedLive("gives tokens when the user has said yes, bound to the key of the login", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const key = yield* SigningKey.generate()
      const { client, page, tokens } = yield* login(server, { key })
      assert.include(page.body, "Signed in")
      const { accessToken, refreshToken } = yield* tokens
      assert.strictEqual(accessToken.keyThumbprint, key.thumbprint)
      const endpoint = yield* TokenEndpoint.TokenEndpoint
      const again = yield* endpoint.request(client, TokenGrant.refreshToken(refreshToken!), {}, { dpop: key })
      assert.strictEqual(again.accessToken.keyThumbprint, key.thumbprint)
    }).pipe(Effect.provide(services)))

  it.scopedLive("ends when the user has said no", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { page, tokens } = yield* login(server, { answer: "no" })
      assert.include(page.body, "You said no")
      assert.deepInclude(yield* Effect.flip(tokens), { _tag: "TokenEndpointError", error: "access_denied" })
    }).pipe(Effect.provide(services)))

  it.scopedLive("is not the login of somebody who guesses", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { verificationUri } = yield* DeviceFlow.start(yield* cliOf(server))
      const page = yield* Effect.promise(() => new UserAgent().enterCode(verificationUri, "AAAA-AAAA", "mallory"))
      assert.include(page.body, "There is no such code")
    }).pipe(Effect.provide(services)))
})

describe("token exchange", () => {
  it.scopedLive("gives a token for the next API that names user and actor, and is bound to a key", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const key = yield* SigningKey.generate()
      const subject = yield* userToken(server, one)
      const client = yield* apiOf(server, { dpop: key })
      const { request } = yield* TokenEndpoint.TokenEndpoint
      const actor = yield* request(client, TokenGrant.clientCredentials, { resource: one })
      const response = yield* exchange(client, {
        subjectToken: subject.value,
        actorToken: actor.accessToken.value
      })
      assert.strictEqual(response.issuedTokenType, TokenGrant.tokenTypes.accessToken)
      assert.deepInclude(claimsOf(response.accessToken), {
        sub: "alice",
        aud: two,
        scope: "invoices",
        client_id: "one",
        act: { sub: "one" },
        cnf: { jkt: key.thumbprint }
      })
      const ends = (token: typeof subject) => token.expiresAt!.epochMillis
      assert.isAtMost(ends(response.accessToken), ends(subject) + 1000)

      // Who acted before stays named.
      const other = yield* exchange(client, {
        subjectToken: response.accessToken.value,
        actorToken: actor.accessToken.value,
        audience: "two"
      }, { scope: "invoices" })
      const claims = claimsOf(other.accessToken)
      assert.deepInclude(claims, { aud: two, act: { sub: "one", act: { sub: "one" } } })
    }).pipe(Effect.provide(services)))

  it.scopedLive("takes a user's opaque token, and refuses what is no good", () =>
    Effect.gen(function*() {
      const server = yield* start({ isAllowed: ({ target }) => target !== "https://secret.test/" })
      const subject = (yield* userToken(server)).value
      const client = yield* apiOf(server)
      const { request } = yield* TokenEndpoint.TokenEndpoint
      const own = (yield* request(client, TokenGrant.clientCredentials, { resource: one })).accessToken.value
      const good = yield* exchange(client, { subjectToken: subject })
      const claims = claimsOf(good.accessToken)
      assert.strictEqual(claims.sub, "alice")
      assert.isUndefined(claims.act)

      const forged = Redacted.make(`${Redacted.value(own).split(".").slice(0, 2).join(".")}.AAAA`)
      const bad: ReadonlyArray<
        readonly [code: string, wrong: Effect.Effect<unknown, unknown, TokenEndpoint.TokenEndpoint>]
      > = [
        ["invalid_request", exchange(client, { subjectToken: Redacted.make("nothing") })],
        ["invalid_request", exchange(client, { subjectToken: forged })],
        ["invalid_request", exchange(client, { subjectToken: own })],
        ["invalid_request", exchange(client, { subjectToken: subject, actorToken: Redacted.make("nothing") })],
        ["invalid_request", exchange(client, { subjectToken: subject, subjectTokenType: TokenGrant.tokenTypes.saml2 })],
        ["invalid_request", exchange(client, { subjectToken: subject, requestedTokenType: "urn:x" })],
        ["invalid_request", exchange(client, { subjectToken: subject }, { resource: "https://secret.test/" })],
        ["invalid_target", exchange(client, { subjectToken: subject }, {})],
        ["invalid_target", exchange(client, { subjectToken: subject, audience: "three" }, {})],
        ["invalid_target", exchange(client, { subjectToken: subject }, { resource: [one, two] })]
      ]
      for (const [code, wrong] of bad) {
        assert.deepInclude(yield* Effect.flip(wrong), { _tag: "TokenEndpointError", error: code })
      }
      yield* server.revokeAllTokens()
      const late = yield* Effect.flip(exchange(client, { subjectToken: subject }))
      assert.deepInclude(late, { _tag: "TokenEndpointError", error: "invalid_request" })
    }).pipe(Effect.provide(services)))

  it.scopedLive("is for clients that have the grant", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const client = yield* cliOf(server)
      const error = yield* Effect.flip(exchange(client, { subjectToken: Redacted.make("x") }))
      assert.strictEqual(error._tag, "TokenEndpointError")
    }).pipe(Effect.provide(services)))
})
