/**
 * Everything that users' tokens need, in one Layer.
 *
 * @since 0.1.0
 */
import { AuthorizationServer } from "@effect-oauth/core/AuthorizationServer"
import { DPoPProofs } from "@effect-oauth/core/DPoPProofs"
import { JwtVerifier } from "@effect-oauth/core/JwtVerifier"
import * as OAuth from "@effect-oauth/core/OAuth"
import * as OptionalServices from "@effect-oauth/core/OptionalServices"
import { bundle, unlessProvided } from "@effect-oauth/core/OptionalServices"
import { Signer } from "@effect-oauth/core/Signer"
import * as TokenEncryption from "@effect-oauth/core/TokenEncryption"
import { TokenEndpoint } from "@effect-oauth/core/TokenEndpoint"
import { TokenStore } from "@effect-oauth/core/TokenStore"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Authentication from "./Authentication.ts"
import * as IdToken from "./IdToken.ts"
import * as LoginStateStore from "./LoginStateStore.ts"
import { OidcClients } from "./OidcClients.ts"
import * as OidcConnection from "./OidcConnection.ts"
import type { SessionsInvalid } from "./OidcError.ts"
import { OidcHooks } from "./OidcHooks.ts"
import * as OidcLogin from "./OidcLogin.ts"
import * as OidcLogout from "./OidcLogout.ts"
import * as Sessions from "./Sessions.ts"
import { SessionStore } from "./SessionStore.ts"
import * as TokenConcurrency from "./TokenConcurrency.ts"
import * as UserTokenManager from "./UserTokenManager.ts"
import * as UserTokenStore from "./UserTokenStore.ts"

/**
 * The services of this Layer.
 *
 * @since 0.1.0
 * @category models
 */
export type Services =
  | OidcLogin.OidcLogin
  | OidcLogout.OidcLogout
  | UserTokenManager.UserTokenManager
  | UserTokenStore.UserTokenStore
  | TokenConcurrency.TokenConcurrency
  | IdToken.IdTokenVerifier
  | LoginStateStore.LoginStateStore
  | Sessions.Sessions
  | OidcConnection.OidcConnections
  | Authentication.Authentication
  | Authentication.RequiredAuthentication

/**
 * What it stands on: registrations, and the services of `OAuth.layer` or `NodeOAuth.layer`.
 *
 * @since 0.1.0
 * @category models
 */
export type Requirements =
  | OidcClients
  | AuthorizationServer
  | TokenEndpoint
  | JwtVerifier
  | DPoPProofs
  | Signer
  | HttpClient.HttpClient

/** What these Layers are built with. */
const bundleOptions: OptionalServices.BundleOptions = {
  required: [OidcClients, AuthorizationServer, TokenEndpoint, JwtVerifier, DPoPProofs, Signer, HttpClient.HttpClient],
  replaceable: [
    OidcLogin.OidcLogin,
    OidcLogout.OidcLogout,
    UserTokenManager.UserTokenManager,
    UserTokenStore.UserTokenStore,
    TokenConcurrency.TokenConcurrency,
    IdToken.IdTokenVerifier,
    LoginStateStore.LoginStateStore,
    Sessions.Sessions,
    OidcConnection.OidcConnections,
    Authentication.Authentication,
    Authentication.RequiredAuthentication
  ],
  optional: [...OAuth.bundleOptions.optional, [SessionStore], [OidcHooks]]
}

/** Across processes where they share a store. */
const concurrency = Layer.unwrapEffect(
  Effect.map(
    OptionalServices.get(TokenStore),
    Option.match({
      onNone: () => TokenConcurrency.layerLocal,
      onSome: (store) => Layer.provide(TokenConcurrency.layerShared(), Layer.succeed(TokenStore, store))
    })
  )
)

/** What sessions of both kinds need. */
const tokens = UserTokenManager.layer.pipe(
  Layer.provideMerge(unlessProvided(IdToken.IdTokenVerifier, IdToken.layer)),
  Layer.provideMerge(unlessProvided(UserTokenStore.UserTokenStore, UserTokenStore.layer)),
  Layer.provideMerge(unlessProvided(TokenConcurrency.TokenConcurrency, concurrency))
)

/**
 * Login, logout, sessions and the tokens of users. A service of these that is provided to this Layer is used in place of the
 * built-in one.
 *
 * So are the optional ones: `SessionStore`, `TokenStore`, `TokenEncryption`, `OidcHooks`, `TokenRequestCustomizer`,
 * `Backchannel`, `OAuthLogging`. Those that `OAuth.layer` or `NodeOAuth.layer` below was built with count as provided here too.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Sessions.Options): Layer.Layer<Services, SessionsInvalid, Requirements> =>
  bundle(
    Layer.mergeAll(OidcLogin.layer, OidcLogout.layer, OidcConnection.layer, Authentication.layer).pipe(
      Layer.provideMerge(tokens),
      Layer.provideMerge(unlessProvided(LoginStateStore.LoginStateStore, LoginStateStore.layer)),
      Layer.provideMerge(unlessProvided(Sessions.Sessions, Sessions.layer(options))),
      Layer.provide(TokenEncryption.layerSigner)
    ),
    bundleOptions
  )

/**
 * - `program`: names this program among those that share a store. Without it all of them have the same name, and share the
 *   sessions that they keep under one name with the same client.
 * - `absoluteLifetime`: of a session, from the login on. Default 1 year.
 * - `idleLifetime`: from the last time on that it was opened. Default 90 days.
 * - `storeTimeout`: of one step of the store. Default 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export type StoredOptions = Pick<Sessions.Options, "program" | "absoluteLifetime" | "idleLifetime" | "storeTimeout">

/** No browser finds it. */
const nowhere = "http://localhost"

/**
 * The same for programs without a browser: sessions and the tokens of users, see `StoredSession`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStored = (
  { absoluteLifetime = "365 days", idleLifetime = "90 days", program, storeTimeout }: StoredOptions = {}
): Layer.Layer<StoredServices, SessionsInvalid, StoredRequirements> =>
  bundle(
    tokens.pipe(
      Layer.provideMerge(
        unlessProvided(
          Sessions.Sessions,
          Layer.unwrapEffect(
            Effect.map(SessionStore, (store) =>
              Layer.provide(
                Sessions.layer({ publicUrl: nowhere, program, absoluteLifetime, idleLifetime, storeTimeout }),
                Layer.succeed(SessionStore, store)
              ))
          )
        )
      ),
      Layer.provide(TokenEncryption.layerSigner)
    ),
    bundleOptions
  )

/**
 * The services of `layerStored`.
 *
 * @since 0.1.0
 * @category models
 */
export type StoredServices =
  | UserTokenManager.UserTokenManager
  | UserTokenStore.UserTokenStore
  | TokenConcurrency.TokenConcurrency
  | IdToken.IdTokenVerifier
  | Sessions.Sessions

/**
 * What `layerStored` stands on.
 *
 * @since 0.1.0
 * @category models
 */
export type StoredRequirements = SessionStore | OidcClients | TokenEndpoint | JwtVerifier | DPoPProofs | Signer
