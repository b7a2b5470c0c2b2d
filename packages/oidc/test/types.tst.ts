import type { OAuthError, TokenClients, TokenEncryption } from "@effect-oauth/core"
import {
  type CurrentUser,
  type Oidc,
  OidcClients,
  OidcConnection,
  OidcSession,
  type Session,
  type SessionStore,
  UserAccessTokenHttpClient,
  UserTokenManager,
  type UserTokens
} from "@effect-oauth/oidc"
import type { OidcError } from "@effect-oauth/oidc"
import { HttpClient, type HttpClientError, HttpServerResponse } from "@effect/platform"
import { Effect, type Layer } from "effect"
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

  test("says that the user may have to sign in again", () => {
    expect<OidcError.SessionEnded>().type.toBeAssignableTo<UserTokenManager.UserTokenError>()
    expect<OidcError.NoActiveUser>().type.toBeAssignableTo<UserTokenManager.UserTokenError>()
  })
})

describe("UserAccessTokenHttpClient", () => {
  test("adds its errors and the user to a client, and those of its customizer", () => {
    const client = Effect.gen(function*() {
      const withToken = yield* UserAccessTokenHttpClient.make({}, {
        customize: () => Effect.fail("no tenant" as const)
      })
      return withToken(yield* HttpClient.HttpClient)
    })
    expect<Effect.Effect.Success<typeof client>>().type.toBeAssignableTo<
      HttpClient.HttpClient.With<
        UserAccessTokenHttpClient.CallError | "no tenant" | HttpClientError.HttpClientError,
        CurrentUser.CurrentUser
      >
    >()
  })
})

describe("middleware", () => {
  test("gives the user to a route", () => {
    const app = OidcSession.middleware(OidcSession.required()(Effect.succeed(HttpServerResponse.empty())))
    expect<CurrentUser.CurrentUser>().type.not.toBeAssignableTo<Effect.Effect.Context<typeof app>>()
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
