import type {
  AccessTokenHttpClient,
  AuthorizationDetails,
  ClientCredentialsTokenManager,
  OAuthError,
  TokenClients,
  TokenEncryption,
  TokenGrant,
  TokenRequestParameters
} from "@effect-oauth/core"
import type { TokenRetriever } from "@effect-oauth/core"
import {
  CurrentUser,
  type Oidc,
  OidcClients,
  OidcConnection,
  OidcSession,
  type Session,
  type Sessions,
  type SessionStore,
  UserAccessTokenHttpClient,
  UserTokenManager,
  type UserTokens
} from "@effect-oauth/oidc"
import type { OidcError } from "@effect-oauth/oidc"
import * as ConnectInterceptor from "@effect-oauth/platform-node/ConnectInterceptor"
import * as GrpcCredentials from "@effect-oauth/platform-node/GrpcCredentials"
import { type HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, type Layer, type Redacted } from "effect"
import { describe, expect, test } from "tstyche"

declare const session: Session.Session

describe("UserTokenManager", () => {
  test("needs to know the user, unless it is told whose session", () => {
    expect(UserTokenManager.get()).type.toBe<
      Effect.Effect<
        UserTokens.UserToken,
        UserTokenManager.UserTokenError,
        UserTokenManager.UserTokenManager | CurrentUser.CurrentUser
      >
    >()
    expect(UserTokenManager.get({ resource: "https://api.example.com", session })).type.toBe<
      Effect.Effect<UserTokens.UserToken, UserTokenManager.UserTokenError, UserTokenManager.UserTokenManager>
    >()
  })

  test("refuses what a token cannot be kept under", () => {
    type Parameters = UserTokenManager.UserTokenRequestParameters
    expect<{ parameters: { tenant: string }; partition: string }>().type.toBeAssignableTo<Parameters>()
    expect<{ parameters: { pin: Redacted.Redacted<string> } }>().type.not.toBeAssignableTo<Parameters>()
    expect<TokenRequestParameters.TokenRequestParameters>().type.not.toBeAssignableTo<Parameters>()
    expect<{ grant: TokenGrant.TokenGrant }>().type.not.toBeAssignableTo<Parameters>()
    expect<{ authorizationDetails: ReadonlyArray<AuthorizationDetails.AuthorizationDetail> }>().type.not
      .toBeAssignableTo<Parameters>()
  })

  test("says that the user may have to sign in again", () => {
    expect<OidcError.SessionEnded>().type.toBeAssignableTo<UserTokenManager.UserTokenError>()
    expect<OidcError.NoActiveUser>().type.toBeAssignableTo<UserTokenManager.UserTokenError>()
  })
})

describe("UserAccessTokenHttpClient", () => {
  test("adds its errors and the user to a client, and those of its customizer", () => {
    const made = UserAccessTokenHttpClient.make({}, { customize: () => Effect.fail("no tenant" as const) })
    expect(made).type.toBe<
      Effect.Effect<
        AccessTokenHttpClient.Middleware<UserAccessTokenHttpClient.CallError | "no tenant", CurrentUser.CurrentUser>,
        OidcClients.LookupError,
        UserTokenManager.UserTokenManager | OidcClients.OidcClients
      >
    >()
  })
})

describe("middleware", () => {
  test("gives the user to a route", () => {
    expect(OidcSession.middleware(Effect.as(CurrentUser.CurrentUser, HttpServerResponse.empty()))).type.toBe<
      Effect.Effect<
        HttpServerResponse.HttpServerResponse,
        never,
        Sessions.Sessions | HttpServerRequest.HttpServerRequest
      >
    >()
  })

  test("adds the end of the session to the errors", () => {
    expect(OidcConnection.whileSignedIn(Effect.succeed(1))).type.toBe<
      Effect.Effect<number, OidcError.SessionEnded, CurrentUser.CurrentUser>
    >()
  })
})

describe("layers", () => {
  test("registrations are clients of the core too", () => {
    expect(OidcClients.layer({})).type.toBe<
      Layer.Layer<
        OidcClients.OidcClients | TokenClients.TokenClients,
        OAuthError.TokenClientInvalid
      >
    >()
  })

  test("sessions outside the memory of the process need a key ring", () => {
    expect<TokenEncryption.TokenEncryption>().type.toBeAssignableTo<
      Layer.Layer.Context<typeof SessionStore.layer>
    >()
    expect<Layer.Layer.Context<typeof SessionStore.layerMemory>>().type.toBe<never>()
  })

  test("the bundle says what is wrong with its options", () => {
    expect<Layer.Layer.Error<ReturnType<typeof Oidc.layer>>>().type.toBe<OidcError.SessionsInvalid>()
  })
})

describe("gRPC and Connect", () => {
  const retriever = (): TokenRetriever.TokenRetriever<UserTokenManager.UserTokenError, CurrentUser.CurrentUser> => () =>
    Effect.map(UserTokenManager.get({ session }), ({ accessToken }) => accessToken) as never

  test("a retriever of users is given its user by each call, and by nothing else", () => {
    expect(GrpcCredentials.make(retriever())).type.toBe<
      Effect.Effect<GrpcCredentials.GrpcCredentials<CurrentUser.CurrentUser>>
    >()
    expect(ConnectInterceptor.make(retriever())).type.toBe<
      Effect.Effect<ConnectInterceptor.ConnectInterceptor<CurrentUser.CurrentUser>>
    >()
    expect(Effect.flatMap(GrpcCredentials.make(retriever()), ({ callOptions }) => callOptions)).type.toBeAssignableTo<
      Effect.Effect<object, never, CurrentUser.CurrentUser>
    >()
    expect(Effect.flatMap(GrpcCredentials.make(retriever()), ({ callOptions }) => callOptions)).type.not
      .toBeAssignableTo<Effect.Effect<object>>()
    expect(Effect.flatMap(ConnectInterceptor.make(retriever()), ({ contextValues }) => contextValues)).type.not
      .toBeAssignableTo<Effect.Effect<object>>()
  })

  test("tokens of the program's own authority need nothing of a call", () => {
    expect(Effect.flatMap(GrpcCredentials.clientCredentials("api"), ({ callOptions }) => callOptions)).type
      .toBeAssignableTo<Effect.Effect<object, unknown, ClientCredentialsTokenManager.ClientCredentialsTokenManager>>()
  })
})
