/**
 * Proofs of possession and signed assertions against a real authorization server that demands nonces.
 */
import {
  AccessTokenHttpClient,
  Backchannel,
  ClientCredentialsTokenManager,
  DPoPNonceStore,
  OAuth,
  SigningKey,
  TokenClients
} from "@effect-oauth/core"
import type { TokenClient } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer, Redacted } from "effect"
import * as jose from "jose"
import * as AuthorizationServer from "../../../examples/servers/authorizationServer.ts"
import { listen } from "./support/listen.ts"

const secret = "a secret of the worker that is long enough for HS256"

const algorithms = ["ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "Ed25519"] as const

interface Sent {
  readonly proof: string | undefined
  readonly assertion: string | undefined
}

const sentBy = ({ body, headers }: HttpClientRequest.HttpClientRequest): Sent => ({
  proof: headers.dpop,
  assertion: body._tag === "Uint8Array"
    ? new URLSearchParams(new TextDecoder().decode(body.body)).get("client_assertion") ?? undefined
    : undefined
})

/** The way to the authorization server, and all that left the process on it. */
const recording = () => {
  const sent: Array<Sent> = []
  const layer = Layer.effect(
    Backchannel.Backchannel,
    Effect.map(HttpClient.HttpClient, (undici) =>
      HttpClient.make((request) => {
        sent.push(sentBy(request))
        return undici.execute(request)
      }))
  ).pipe(Layer.provide(NodeHttpClient.layerUndici))
  return { layer, sent }
}

const program = (worker: TokenClient.TokenClientOptions) =>
  NodeOAuth.layer.pipe(Layer.provideMerge(TokenClients.layer({ worker })))

const allDifferent = (values: ReadonlyArray<unknown>) => assert.strictEqual(new Set(values).size, values.length)

type Client = AuthorizationServer.Options["clients"][number]

const withPrivateKey = (key: SigningKey.SigningKey): Client => ({
  client_id: "worker",
  token_endpoint_auth_method: "private_key_jwt",
  token_endpoint_auth_signing_alg: key.algorithm as NonNullable<Client["token_endpoint_auth_signing_alg"]>,
  jwks: SigningKey.publicJwks(key) as NonNullable<Client["jwks"]>,
  scope: "invoice"
})

describe("against oidc-provider with nonces demanded", () => {
  it.scopedLive(
    "DPoP for a client with a secret, for each algorithm [parity 25, 26, 27]",
    () =>
      Effect.forEach(algorithms, (algorithm) =>
        Effect.gen(function*() {
          const server = yield* AuthorizationServer.start({
            clients: [{ client_id: "worker", client_secret: secret, scope: "invoice" }],
            dpop: "nonces",
            jwt: true
          })
          const key = yield* SigningKey.generate(algorithm)
          yield* Effect.gen(function*() {
            const token = yield* ClientCredentialsTokenManager.get("worker")
            assert.strictEqual(token.type, "DPoP")
            assert.strictEqual(token.keyThumbprint, key.thumbprint)
            assert.deepStrictEqual(jose.decodeJwt(Redacted.value(token.value)).cnf, { jkt: key.thumbprint })
            assert.strictEqual(server.tokenRequests(), 2)
            yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
            assert.strictEqual(server.tokenRequests(), 3, "the nonce is known now")
          }).pipe(Effect.provide(program({
            issuer: server.issuer,
            clientId: "worker",
            clientSecret: Redacted.make(secret),
            dpop: key
          })))
        })),
    20_000
  )

  it.scopedLive(
    "DPoP for a public client, for each algorithm",
    () =>
      Effect.forEach(algorithms, (algorithm) =>
        Effect.gen(function*() {
          const server = yield* AuthorizationServer.start({
            clients: [{ client_id: "public", token_endpoint_auth_method: "none", scope: "invoice" }],
            dpop: "nonces",
            jwt: true
          })
          const key = yield* SigningKey.generate(algorithm)
          const token = yield* Effect.provide(
            ClientCredentialsTokenManager.get("worker"),
            program({ issuer: server.issuer, clientId: "public", dpop: key })
          )
          assert.deepStrictEqual(jose.decodeJwt(Redacted.value(token.value)).cnf, { jkt: key.thumbprint })
        })),
    20_000
  )

  it.scopedLive(
    "private_key_jwt and DPoP, no secret anywhere, for each algorithm [parity 48, 60]",
    () =>
      Effect.forEach(algorithms, (algorithm) =>
        Effect.gen(function*() {
          const key = yield* SigningKey.generate(algorithm, { keyId: "k" })
          const server = yield* AuthorizationServer.start({ clients: [withPrivateKey(key)], dpop: "nonces", jwt: true })
          const { layer, sent } = recording()
          yield* Effect.gen(function*() {
            const token = yield* ClientCredentialsTokenManager.get("worker")
            assert.strictEqual(token.type, "DPoP")
            assert.strictEqual(server.tokenRequests(), 2)
            allDifferent(sent.map(({ assertion }) => assertion))
            allDifferent(sent.map(({ proof }) => jose.decodeJwt(proof!).jti))
          }).pipe(
            Effect.provide(
              program({
                tokenEndpoint: server.tokenEndpoint,
                issuer: server.issuer,
                clientId: "worker",
                privateKey: key,
                dpop: true,
                expiryBuffer: 0
              }).pipe(Layer.provide(layer))
            )
          )
        })),
    20_000
  )

  it.scopedLive("client_secret_jwt, and both audiences where the server takes them", () =>
    Effect.gen(function*() {
      const server = yield* AuthorizationServer.start({
        clients: [{ client_id: "worker", client_secret: secret, token_endpoint_auth_method: "client_secret_jwt" }]
      })
      const client: TokenClient.TokenClientOptions = {
        tokenEndpoint: server.tokenEndpoint,
        clientId: "worker",
        clientSecret: Redacted.make(secret),
        authentication: "client_secret_jwt"
      }
      for (const definition of [client, { ...client, issuer: server.issuer }]) {
        yield* Effect.provide(ClientCredentialsTokenManager.get("worker"), program(definition))
      }
      assert.strictEqual(server.tokenRequests(), 2)
    }))

  it.scopedLive("a store of nonces that is always empty: two requests each time, all different [parity 60]", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate()
      const server = yield* AuthorizationServer.start({ clients: [withPrivateKey(key)], dpop: "nonces" })
      const { layer, sent } = recording()
      const empty = Layer.succeed(DPoPNonceStore.DPoPNonceStore, {
        get: () => Effect.succeedNone,
        set: () => Effect.void
      })
      yield* Effect.gen(function*() {
        for (const requests of [2, 4]) {
          yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
          assert.strictEqual(server.tokenRequests(), requests)
        }
        allDifferent(sent.map(({ assertion }) => assertion))
        allDifferent(sent.map(({ proof }) => proof))
      }).pipe(
        Effect.provide(
          program({ issuer: server.issuer, clientId: "worker", privateKey: key, dpop: true }).pipe(
            Layer.provide(Layer.merge(layer, empty))
          )
        )
      )
    }))

  it.scopedLive(
    "1,000 tokens asked for at once: one challenge each at most, and none after",
    () =>
      Effect.gen(function*() {
        const server = yield* AuthorizationServer.start({
          clients: [{ client_id: "worker", client_secret: secret, scope: "invoice" }],
          dpop: "nonces"
        })
        yield* Effect.gen(function*() {
          const get = (partition: number) => ClientCredentialsTokenManager.get("worker", { partition: `${partition}` })
          yield* Effect.forEach(Array.from({ length: 1000 }, (_, index) => index), get, { concurrency: "unbounded" })
          assert.isAtMost(server.tokenRequests(), 2000)
          const before = server.tokenRequests()
          yield* Effect.forEach(Array.from({ length: 50 }, (_, index) => 1000 + index), get, {
            concurrency: "unbounded"
          })
          assert.strictEqual(server.tokenRequests() - before, 50)
        }).pipe(Effect.provide(program({
          tokenEndpoint: server.tokenEndpoint,
          clientId: "worker",
          clientSecret: Redacted.make(secret),
          dpop: true,
          // The server answers a thousand one after another, which takes its time.
          timeout: "1 minutes",
          acquireTimeout: "1 minutes"
        })))
      }),
    60_000
  )

  it.scopedLive("a clock that is 10 minutes off heals after one refused proof", () =>
    Effect.gen(function*() {
      const server = yield* AuthorizationServer.start({
        clients: [{ client_id: "worker", client_secret: secret }],
        dpop: "accepted"
      })
      const clock = yield* Clock.clockWith(Effect.succeed)
      const late: Clock.Clock = Object.assign(Object.create(clock), {
        unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() - 600_000,
        currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now - 600_000)
      })
      yield* Effect.gen(function*() {
        yield* ClientCredentialsTokenManager.get("worker")
        assert.strictEqual(server.tokenRequests(), 2)
        yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
        assert.strictEqual(server.tokenRequests(), 3)
      }).pipe(
        Effect.provide(program({
          tokenEndpoint: server.tokenEndpoint,
          clientId: "worker",
          clientSecret: Redacted.make(secret),
          dpop: true
        })),
        Effect.withClock(late)
      )
    }))
})

describe("over fetch", () => {
  it.scopedLive("a request with a proof follows no redirect by itself, as one with a bearer token does", () =>
    Effect.gen(function*() {
      const server = yield* AuthorizationServer.start({
        clients: [{ client_id: "worker", client_secret: secret }],
        dpop: "accepted"
      })
      const visits: Array<string | undefined> = []
      const elsewhere = yield* listen((request, response) => {
        visits.push(request.headers.dpop as string | undefined)
        response.end("{}")
      })
      const api = yield* listen((_, response) => void response.writeHead(302, { location: elsewhere }).end())
      const client = { tokenEndpoint: server.tokenEndpoint, clientId: "worker", clientSecret: Redacted.make(secret) }
      const statuses = yield* Effect.forEach(["bound", "bearer", "bound"], (name) =>
        Effect.gen(function*() {
          const fetched = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials(name))
          return (yield* fetched.get(api)).status
        })).pipe(
          Effect.provide(OAuth.layer.pipe(
            Layer.provideMerge(TokenClients.layer({ bound: { ...client, dpop: true }, bearer: client })),
            Layer.provideMerge(FetchHttpClient.layer)
          ))
        )
      assert.deepStrictEqual(statuses, [302, 200, 302])
      assert.deepStrictEqual(visits, [undefined])
    }))
})
