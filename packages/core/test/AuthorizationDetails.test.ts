/** Rich authorization requests (RFC 9396). */
import {
  AccessTokenVerifier,
  AuthorizationDetails,
  ClientCredentialsTokenManager,
  type OAuthError,
  TokenClients,
  TokenEndpoint,
  TokenGrant
} from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, TestClock } from "effect"
import { audience, authorizationServer, issuer, jwt, now, servicesOf } from "./support/protectedApi.ts"
import { field, json, services, type Stub, stub, token } from "./support/StubServer.ts"

const payment = (amount: number) => [{ type: "payment", amount, to: ["a", { iban: "DE02" }] }]

const asked = (server: Stub) => server.seen.map((seen) => field(seen, "authorization_details"))

const get = ClientCredentialsTokenManager.get

describe("authorization details", () => {
  it.effect("are sent as JSON, and tokens with others are others", () => {
    const server = stub((_, number) => token(number))
    return Effect.gen(function*() {
      const values = yield* Effect.forEach([1, 2, 1, undefined], (amount) =>
        Effect.map(
          get("worker", amount === undefined ? {} : { authorizationDetails: payment(amount) }),
          ({ value }) => Redacted.value(value)
        ))
      assert.deepStrictEqual(values, ["token-1", "token-2", "token-1", "token-3"])
      assert.deepStrictEqual(asked(server), [[JSON.stringify(payment(1))], [JSON.stringify(payment(2))], []])
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("go with any grant", () => {
    const server = stub((_, number) => token(number))
    return Effect.gen(function*() {
      const endpoint = yield* TokenEndpoint.TokenEndpoint
      const client = yield* Effect.flatMap(TokenClients.TokenClients, ({ get }) => get())
      const secret = Redacted.make("x")
      for (
        const grant of [TokenGrant.refreshToken(secret), TokenGrant.jwtBearer(secret), TokenGrant.deviceCode(secret)]
      ) {
        yield* endpoint.request(client, grant, { authorizationDetails: payment(1) })
      }
      assert.deepStrictEqual(asked(server), Array.from({ length: 3 }, () => [JSON.stringify(payment(1))]))
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("that are none are refused before anything is sent", () => {
    const server = stub((_, number) => token(number))
    return Effect.gen(function*() {
      const circle: Record<string, unknown> = { type: "x" }
      circle.self = circle
      const bad: ReadonlyArray<any> = [[], "x", [{}], [{ type: "" }], [null], [circle], [{ type: "x", amount: 1n }]]
      for (const authorizationDetails of bad) {
        const error: OAuthError.AccessTokenError = yield* Effect.flip(get("worker", { authorizationDetails }))
        assert.strictEqual(error._tag, "TokenRequestInvalid")
      }
      const twice = { authorizationDetails: payment(1), parameters: { authorization_details: "[]" } }
      assert.strictEqual((yield* Effect.flip(get("worker", twice)))._tag, "TokenRequestInvalid")
      assert.isEmpty(server.seen)
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("cannot be changed once they were used", () => {
    const server = stub((_, number) => token(number))
    return Effect.gen(function*() {
      const parameters = { authorizationDetails: payment(1) }
      yield* get("worker", parameters)
      assert.throws(() => {
        parameters.authorizationDetails[0]!.amount = 1000
      }, TypeError)
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("say what was granted, to the client", () => {
    const server = stub(() => json({ access_token: "t", token_type: "Bearer", authorization_details: payment(1) }))
    return Effect.gen(function*() {
      const endpoint = yield* TokenEndpoint.TokenEndpoint
      const client = yield* Effect.flatMap(TokenClients.TokenClients, ({ get }) => get())
      const { raw } = yield* endpoint.request(client, TokenGrant.clientCredentials)
      assert.deepStrictEqual(AuthorizationDetails.granted(raw), payment(1))
    }).pipe(Effect.provide(services(server)))
  })

  it.scoped("and to the API", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(now * 1000)
      const context = yield* Layer.build(
        AccessTokenVerifier.layerJwt({ issuer, audience }).pipe(Layer.provide(servicesOf(authorizationServer())))
      )
      const granted = (said: unknown) =>
        Effect.gen(function*() {
          const { verify } = yield* AccessTokenVerifier.AccessTokenVerifier
          const { claims } = yield* verify(Redacted.make(yield* jwt({ authorization_details: said })))
          return AuthorizationDetails.granted(claims)
        }).pipe(Effect.provide(context))
      assert.deepStrictEqual(yield* granted(payment(1)), payment(1))
      assert.deepStrictEqual(yield* granted([...payment(1), 1, {}, { type: 1 }]), payment(1))
      assert.deepStrictEqual(yield* granted(undefined), [])
      assert.deepStrictEqual(yield* granted("x"), [])
    }))
})
