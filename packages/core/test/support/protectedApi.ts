/** An API without a network, and an authorization server whose tokens it takes. */
import {
  AccessTokenVerifier,
  DPoPVerifier,
  OAuth,
  ResourceServer,
  Signer,
  TokenClients,
  WwwAuthenticate
} from "@effect-oauth/core"
import { webCrypto } from "@effect-oauth/core/Signer"
import { HttpApp, type HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as jose from "jose"
import { json, type Seen, type Stub, stub } from "./StubServer.ts"

export const issuer = "https://as.test"
export const audience = "https://api.test"
/** In seconds. */
export const now = 1_700_000_000

export const keyPair = await jose.generateKeyPair("ES256", { extractable: true })
export const otherPair = await jose.generateKeyPair("ES256", { extractable: true })
const jwks = { keys: [{ ...await jose.exportJWK(keyPair.publicKey), kid: "1" }] }

export const claims = {
  iss: issuer,
  aud: audience,
  sub: "alice",
  client_id: "web",
  iat: now - 10,
  exp: now + 600,
  jti: "1",
  scope: "invoices:read customers:read",
  acr: "pwd",
  auth_time: now - 100
}

/** A JWT access token with other claims, or others in its header; `undefined` leaves one out. */
export const jwt = (
  more: Readonly<Record<string, unknown>> = {},
  header: Readonly<Record<string, unknown>> = {},
  key: jose.CryptoKey = keyPair.privateKey
): Effect.Effect<string> =>
  Effect.promise(() =>
    new jose.CompactSign(new TextEncoder().encode(JSON.stringify({ ...claims, ...more })))
      .setProtectedHeader({ alg: "ES256", kid: "1", typ: "at+jwt", ...header })
      .sign(key)
  )

export type Answers = (seen: Seen) => Response

/** Metadata and keys; every other request is an introspection. */
export const authorizationServer = (introspect: Answers = () => json({ active: false })): Stub =>
  stub((seen) =>
    seen.url === `${issuer}/jwks`
      ? json(jwks)
      : seen.url.includes("/.well-known/")
      ? json({ issuer, jwks_uri: `${issuer}/jwks`, introspection_endpoint: `${issuer}/introspect` })
      : introspect(seen)
  )

export const clients = {
  api: { issuer, clientId: "api", clientSecret: Redacted.make("the-secret-of-the-api") }
}

/** The services below a verifier. */
export const servicesOf = (server: Stub) =>
  OAuth.layer.pipe(
    Layer.provideMerge(TokenClients.layer(clients)),
    Layer.provideMerge(server.layer)
  )

export const dpop = (options: Partial<DPoPVerifier.Options> = {}) =>
  DPoPVerifier.layer({ publicUrl: audience, ...options }).pipe(Layer.provide(Signer.layer))

export const layerJwt = AccessTokenVerifier.layerJwt({ issuer, audience })

export interface Served {
  readonly status: number
  readonly challenges: ReadonlyArray<WwwAuthenticate.Challenge>
  readonly headers: Headers
  readonly body: string
}

/** What the middleware lets through. */
export const hello: HttpApp.Default<never, ResourceServer.Caller> = Effect.map(
  ResourceServer.Caller,
  ({ token }) => HttpServerResponse.unsafeJson({ sub: token.sub })
)

/** Sends requests to an app, as a server does. */
export const serving = <E, R>(app: HttpApp.Default<E, R>) =>
  Effect.gen(function*() {
    type Rest = Exclude<R, HttpServerRequest.HttpServerRequest>
    const runtime = yield* Effect.runtime<Rest>()
    // what sends a request has it at hand
    const handler = HttpApp.toWebHandlerRuntime(runtime)(app as HttpApp.Default<E, Rest>)
    return (headers: Record<string, string> = {}, path = "/", init: RequestInit = {}) =>
      Effect.promise(async (): Promise<Served> => {
        const response = await handler(new Request(`${audience}${path}`, { ...init, headers }))
        return {
          status: response.status,
          challenges: WwwAuthenticate.parse(response.headers.get("www-authenticate") ?? ""),
          headers: response.headers,
          body: await response.text()
        }
      })
  })

/** One challenge without its description, which only has to be there beside an error. */
export const challengeOf = (served: Served, scheme: string): Readonly<Record<string, string>> | undefined => {
  const found = served.challenges.find((challenge) => challenge.scheme === scheme)
  if (found === undefined) return undefined
  const { error_description: description, ...parameters } = found.parameters
  assert.strictEqual(description !== undefined && description !== "", parameters.error !== undefined)
  return { ...parameters }
}

export const dpopKey = {
  ...await jose.generateKeyPair("ES256", { extractable: true }),
  thumbprint: ""
}
dpopKey.thumbprint = await jose.calculateJwkThumbprint(await jose.exportJWK(dpopKey.publicKey))

let proofs = 0

export const proof = (
  token: string,
  more: Readonly<Record<string, unknown>> = {},
  key: { readonly privateKey: jose.CryptoKey; readonly publicKey: jose.CryptoKey } = dpopKey
): Effect.Effect<string> =>
  Effect.gen(function*() {
    const ath = yield* webCrypto.sha256(token)
    const own = { jti: `proof-${++proofs}`, htm: "GET", htu: `${audience}/`, iat: now, ath }
    return yield* Effect.promise(async () =>
      new jose.SignJWT({ ...own, ...more })
        .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk: await jose.exportJWK(key.publicKey) })
        .sign(key.privateKey)
    )
  })
