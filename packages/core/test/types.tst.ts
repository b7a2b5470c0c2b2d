import {
  AccessTokenFetch,
  AccessTokenHttpClient,
  AccessTokenVerifier,
  DeviceFlow,
  Refusal,
  ResourceServer,
  TokenClients,
  TokenGrant,
  TokenRetriever
} from "@effect-oauth/core"
import type {
  AccessToken,
  ClientCredentialsTokenManager,
  JwtVerifier,
  OAuthError,
  Signer,
  TokenClient,
  TokenEndpoint
} from "@effect-oauth/core"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import type * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientError } from "@effect/platform/HttpClientError"
import { Config, Context, Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { describe, expect, it } from "tstyche"

class Tenant extends Context.Tag("Tenant")<Tenant, string>() {}
class NoTenant {
  readonly _tag = "NoTenant"
}
declare const client: HttpClient.HttpClient
declare const retriever: TokenRetriever.TokenRetriever<NoTenant, Tenant>

type Manager = ClientCredentialsTokenManager.ClientCredentialsTokenManager

describe("AccessTokenFetch", () => {
  it("needs where it is made what its retriever needs", () => {
    expect(AccessTokenFetch.make(retriever)).type.toBe<Effect.Effect<AccessTokenFetch.Fetch, never, Tenant>>()
    const made = AccessTokenFetch.clientCredentials("x", undefined, {
      customize: (_, parameters) => Effect.map(Tenant, (tenant) => ({ ...parameters, partition: tenant }))
    })
    expect(made).type.toBe<Effect.Effect<AccessTokenFetch.Fetch, OAuthError.TokenClientNotFound, Manager | Tenant>>()
  })

  it("is made by a runtime that has it, and is a fetch", () => {
    const runtime = ManagedRuntime.make(Layer.empty as Layer.Layer<Manager>)
    const fetch = AccessTokenFetch.fromRuntime(runtime, AccessTokenFetch.clientCredentials("x"))
    expect(fetch).type.toBe<AccessTokenFetch.Fetch>()
    expect(fetch).type.toBeAssignableTo<typeof globalThis.fetch>()
    expect(AccessTokenFetch.fromRuntime).type.not.toBeCallableWith(runtime, AccessTokenFetch.make(retriever))
  })
})

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

class NoActiveUser {
  readonly _tag = "NoActiveUser"
}
class User extends Context.Tag("User")<User, string>() {}
declare const users: TokenRetriever.TokenRetriever<NoActiveUser, User>
declare const fixed: AccessToken.AccessToken

describe("TokenRetriever", () => {
  type Made<E, R> = Effect.Effect<TokenRetriever.TokenRetriever<E, R>, OAuthError.TokenClientNotFound, Manager>

  it("orElse has the errors and requirements of both", () => {
    expect(TokenRetriever.orElse(retriever)(users)).type.toBe<
      TokenRetriever.TokenRetriever<NoActiveUser | NoTenant, User | Tenant>
    >()
  })

  it("orElse asks `when` about errors of the first only", () => {
    const program = TokenRetriever.orElse(retriever, (error: NoActiveUser) => error._tag === "NoActiveUser")
    expect(program(users)).type.toBe<TokenRetriever.TokenRetriever<NoActiveUser | NoTenant, User | Tenant>>()
    expect(program).type.not.toBeCallableWith(retriever)
  })

  it("byOrigin has those of all, and its own", () => {
    expect(TokenRetriever.byOrigin({ "https://a.test": retriever, "https://b.test": users })).type.toBe<
      TokenRetriever.TokenRetriever<NoActiveUser | NoTenant | OAuthError.OriginNotAllowed, User | Tenant>
    >()
    expect(TokenRetriever.byOrigin({ "https://a.test": TokenRetriever.static(fixed) })).type.toBe<
      TokenRetriever.TokenRetriever<OAuthError.OriginNotAllowed>
    >()
  })

  it("static neither fails nor needs", () => {
    expect(TokenRetriever.static(fixed)).type.toBe<TokenRetriever.TokenRetriever<never>>()
  })

  it("clientCredentials has those of its customizer", () => {
    expect(TokenRetriever.clientCredentials("x")).type.toBe<Made<OAuthError.AccessTokenError, never>>()
    const customize = () => Effect.flatMap(Tenant, () => Effect.fail(new NoTenant()))
    expect(TokenRetriever.clientCredentials("x", undefined, customize)).type.toBe<
      Made<OAuthError.AccessTokenError | NoTenant, Tenant>
    >()
  })

  it("tokenExchange has those of subject, actor and customizer", () => {
    expect(TokenRetriever.tokenExchange(TokenRetriever.static(fixed), "x")).type.toBe<
      Made<OAuthError.AccessTokenError, never>
    >()
    expect(TokenRetriever.tokenExchange(users, "x")).type.toBe<Made<OAuthError.AccessTokenError | NoActiveUser, User>>()
    expect(TokenRetriever.tokenExchange(users, "x", { actor: retriever })).type.toBe<
      Made<OAuthError.AccessTokenError | NoActiveUser | NoTenant, User | Tenant>
    >()
    const customize = () => Effect.flatMap(Tenant, () => Effect.fail(new NoTenant()))
    expect(TokenRetriever.tokenExchange(users, "x", { customize })).type.toBe<
      Made<OAuthError.AccessTokenError | NoActiveUser | NoTenant, User | Tenant>
    >()
  })

  it("a middleware has what its retriever has", () => {
    expect(AccessTokenHttpClient.make(TokenRetriever.orElse(retriever)(users))).type.toBe<
      AccessTokenHttpClient.Middleware<NoActiveUser | NoTenant | AccessTokenHttpClient.SendError, User | Tenant>
    >()
  })
})

describe("TokenGrant", () => {
  it("takes secrets as Redacted only", () => {
    expect(TokenGrant.tokenExchange).type.toBeCallableWith({ subjectToken: Redacted.make("s") })
    expect(TokenGrant.tokenExchange).type.not.toBeCallableWith({ subjectToken: "s" })
    expect(TokenGrant.tokenExchange).type.not.toBeCallableWith({ subjectToken: Redacted.make("s"), actorToken: "a" })
    expect(TokenGrant.jwtBearer).type.not.toBeCallableWith("a")
    expect(TokenGrant.deviceCode).type.not.toBeCallableWith("d")
  })
})

describe("DeviceFlow", () => {
  it("needs the endpoint to begin, and nothing to wait", () => {
    expect(DeviceFlow.start({} as TokenClient.TokenClient)).type.toBe<
      Effect.Effect<
        DeviceFlow.DeviceLogin,
        TokenEndpoint.ExchangeError | OAuthError.TokenRequestInvalid,
        TokenEndpoint.TokenEndpoint
      >
    >()
    expect<DeviceFlow.DeviceLogin["tokens"]>().type.toBe<
      Effect.Effect<
        TokenEndpoint.TokenResponse,
        TokenEndpoint.ExchangeError | OAuthError.TokenRequestInvalid | OAuthError.DeviceLoginExpired
      >
    >()
  })
})

describe("ResourceServer", () => {
  class Guard extends HttpApiMiddleware.Tag<Guard>()("Guard", {
    provides: ResourceServer.Caller,
    failure: Refusal.Refusal
  }) {}
  class Other extends HttpApiMiddleware.Tag<Other>()("Other", { failure: Refusal.Forbidden }) {}

  it("takes the Caller and its refusals from an app, and leaves the rest", () => {
    const app: HttpApp.Default<NoTenant | Refusal.Forbidden, Tenant | ResourceServer.Caller> = Effect.never
    expect(ResourceServer.middleware({ scope: "x" })(app)).type.toBe<
      HttpApp.Default<NoTenant, Tenant | ResourceServer.ResourceServer>
    >()
  })

  it("fails with what can be refused to a caller", () => {
    expect(ResourceServer.require({ acrValues: ["x"], maxAge: "1 minute" })).type.toBe<
      Effect.Effect<void, Refusal.Unauthorized | Refusal.Forbidden, ResourceServer.Caller>
    >()
  })

  it("makes guards of tags that provide the Caller only", () => {
    expect(ResourceServer.layerHttpApi(Guard, { scope: "x" })).type.toBe<
      Layer.Layer<Guard, never, ResourceServer.ResourceServer>
    >()
    expect(ResourceServer.layerHttpApi).type.not.toBeCallableWith(Other)
  })

  it("adds up what verifiers side by side fail with and need", () => {
    const audience = "https://api.test"
    expect(AccessTokenVerifier.layer([
      AccessTokenVerifier.makeJwt({ issuer: "https://as.test", audience }),
      AccessTokenVerifier.makeIntrospection({ audience })
    ])).type.toBe<
      Layer.Layer<
        AccessTokenVerifier.AccessTokenVerifier,
        AccessTokenVerifier.VerifierInvalid | OAuthError.TokenClientInvalid | OAuthError.TokenClientNotFound,
        | JwtVerifier.JwtVerifier
        | TokenEndpoint.TokenEndpoint
        | TokenClients.TokenClients
        | Signer.Signer
      >
    >()
  })
})
