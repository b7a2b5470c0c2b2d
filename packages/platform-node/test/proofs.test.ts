/**
 * Proofs of possession and signed assertions against a real authorization server, which demands nonces.
 */
import {
  ClientAuthentication,
  ClientCredentialsTokenManager,
  OAuthMetrics,
  SigningKey,
  TokenClients
} from "@effect-oauth/core"
import type { TokenClient } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, Redacted } from "effect"
import * as jose from "jose"
import { randomBytes } from "node:crypto"
import * as AuthorizationServer from "../../../examples/servers/authorizationServer.ts"

const secret = "a secret of the worker that is long enough for HS256"

const all = ["ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA", "Ed25519"] as const

/** The server demands a nonce of its own in every proof. */
const demandingNonces = {
  features: {
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_: unknown, __: unknown, resource: string | Array<string> | undefined) =>
        resource ?? "https://api.example.com",
      getResourceServerInfo: () => ({
        scope: "invoice",
        audience: "https://api.example.com",
        accessTokenFormat: "jwt",
        accessTokenTTL: 3600,
        jwt: { sign: { alg: "ES256" } }
      })
    }
  },
  enabledJWA: {
    dPoPSigningAlgValues: [...all],
    clientAuthSigningAlgValues: ["HS256", "RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
  }
} as unknown as NonNullable<AuthorizationServer.Options["configuration"]>

describe("against oidc-provider with nonces demanded", () => {
  for (const algorithm of all) {
    it.scopedLive(`${algorithm}: DPoP for a confidential client [parity 25, 26, 27, 45]`, () =>
      Effect.gen(function*() {
        const server = yield* AuthorizationServer.start({
          clients: [{ client_id: "worker", client_secret: secret, scope: "invoice" }],
          configuration: demandingNonces
        })
        const key = yield* SigningKey.generate(algorithm)
        const client: TokenClient.TokenClientOptions = {
          issuer: server.issuer,
          clientId: "worker",
          clientSecret: Redacted.make(secret),
          scope: "invoice",
          dpop: key
        }
        const program = NodeOAuth.layer.pipe(Layer.provideMerge(TokenClients.layer({ worker: client })))
        yield* Effect.gen(function*() {
          const token = yield* ClientCredentialsTokenManager.get("worker")
          assert.strictEqual(token.type, "DPoP")
          assert.strictEqual(token.keyThumbprint, key.thumbprint)
          const { cnf } = jose.decodeJwt(Redacted.value(token.value))
          assert.deepStrictEqual(cnf, { jkt: key.thumbprint })
          assert.strictEqual(server.tokenRequests(), 2)
          yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
          assert.strictEqual(server.tokenRequests(), 3, "the nonce is known now")
        }).pipe(Effect.provide(program))
      }))
  }
})
