import { AccessTokenHttpClient, TokenClients } from "@effect-oauth/core"
import type { ClientCredentialsTokenManager, OAuthError, TokenRetriever } from "@effect-oauth/core"
import type * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import { Config, Context, Effect, type Layer, Redacted } from "effect"
import { describe, expect, it } from "tstyche"

class Tenant extends Context.Tag("Tenant")<Tenant, string>() {}
class NoTenant {
  readonly _tag = "NoTenant"
}
declare const client: HttpClient.HttpClient
declare const retriever: TokenRetriever.TokenRetriever<NoTenant, Tenant>

type Manager = ClientCredentialsTokenManager.ClientCredentialsTokenManager

describe("AccessTokenHttpClient", () => {
  it("needs the manager where it is made, and nothing where it is used", () => {
    expect(AccessTokenHttpClient.clientCredentials("x")).type.toBe<
      Effect.Effect<
        AccessTokenHttpClient.Middleware<OAuthError.AccessTokenError>,
        OAuthError.TokenClientNotFound,
        Manager
      >
    >()
  })

  it("carries the error and the requirement of a customizer", () => {
    const made = AccessTokenHttpClient.clientCredentials("x", undefined, {
      customize: () => Effect.flatMap(Tenant, () => Effect.fail(new NoTenant()))
    })
    expect(made).type.toBe<
      Effect.Effect<
        AccessTokenHttpClient.Middleware<OAuthError.AccessTokenError | NoTenant, Tenant>,
        OAuthError.TokenClientNotFound,
        Manager
      >
    >()
  })

  it("adds what its retriever fails with and needs", () => {
    expect(AccessTokenHttpClient.make(retriever)(client)).type.toBe<
      HttpClient.HttpClient.With<HttpClientError | NoTenant | AccessTokenHttpClient.SendError, Tenant>
    >()
  })

  it("fits the Tag again by asHttpClient, which hides no other error", () => {
    const own = AccessTokenHttpClient.make<OAuthError.AccessTokenError, never>(() => Effect.never)
    expect(AccessTokenHttpClient.asHttpClient(own(client))).type.toBe<HttpClient.HttpClient>()
    expect(AccessTokenHttpClient.asHttpClient(AccessTokenHttpClient.make(retriever)(client))).type.toBe<
      HttpClient.HttpClient.With<HttpClientError | NoTenant, Tenant>
    >()
  })

  it("keeps the types of an effect with options around it", () => {
    const effect = Effect.map(Tenant, (tenant) => tenant.length)
    expect(effect.pipe(AccessTokenHttpClient.withRequestOptions({ forceRenewal: true }))).type.toBe<
      Effect.Effect<number, never, Tenant>
    >()
  })
})

describe("TokenClients", () => {
  it("takes secrets as Redacted only", () => {
    const base = { tokenEndpoint: "https://as.test", clientId: "c" }
    expect(TokenClients.layer).type.toBeCallableWith({ c: { ...base, clientSecret: Redacted.make("s") } })
    expect(TokenClients.layer).type.not.toBeCallableWith({ c: { ...base, clientSecret: "s" } })
  })

  it("takes a value or a Config of it", () => {
    expect(TokenClients.layerConfig).type.toBeCallableWith({
      c: {
        tokenEndpoint: Config.url("A"),
        clientId: Config.string("B"),
        clientSecret: Config.redacted("C"),
        scope: Config.option(Config.string("D")),
        authentication: "client_secret_post"
      }
    })
    expect(TokenClients.layerConfig).type.not.toBeCallableWith({ c: { clientId: Config.number("B") } })
    expect(TokenClients.layerConfig).type.not.toBeCallableWith({
      c: { clientId: "c", clientSecret: Config.string("C") }
    })
  })

  it("needs what a resolver needs, and keeps its errors to itself", () => {
    const layer = TokenClients.layerResolver(() =>
      Effect.flatMap(Tenant, (clientId) => clientId === "" ? Effect.fail(new NoTenant()) : Effect.succeed({ clientId }))
    )
    expect(layer).type.toBe<Layer.Layer<TokenClients.TokenClients, never, Tenant>>()
  })
})
