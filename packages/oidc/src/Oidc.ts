/**
 * Everything that users' tokens need, in one Layer.
 *
 * @since 0.1.0
 */
import type { AuthorizationServer } from "@effect-oauth/core/AuthorizationServer"
import type { DPoPProofs } from "@effect-oauth/core/DPoPProofs"
import type { JwtVerifier } from "@effect-oauth/core/JwtVerifier"
import type { Signer } from "@effect-oauth/core/Signer"
import type { TokenEndpoint } from "@effect-oauth/core/TokenEndpoint"
import { TokenStore } from "@effect-oauth/core/TokenStore"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Authentication from "./Authentication.ts"
import * as IdToken from "./IdToken.ts"
import * as LoginStateStore from "./LoginStateStore.ts"
import type { OidcClients } from "./OidcClients.ts"
import * as OidcConnection from "./OidcConnection.ts"
import type { SessionsInvalid } from "./OidcError.ts"
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

/** The service that the user provides, or else the built-in one. */
const unlessProvided = <I, S, E, R>(tag: Context.Tag<I, S>, builtIn: Layer.Layer<I, E, R>): Layer.Layer<I, E, R> =>
  Layer.unwrapEffect(
    Effect.map(
      Effect.serviceOption(tag),
      Option.match({ onNone: () => builtIn, onSome: (service) => Layer.succeed(tag, service) })
    )
  )

/** Across processes where they share a store. */
const concurrency = Layer.unwrapEffect(
  Effect.map(
    Effect.serviceOption(TokenStore),
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
 * built-in one; so are the optional ones: `SessionStore`, `TokenStore`, `TokenEncryption`, `OidcHooks`, `OAuthLogging`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Sessions.Options): Layer.Layer<Services, SessionsInvalid, Requirements> =>
  Layer.mergeAll(OidcLogin.layer, OidcLogout.layer, OidcConnection.layer, Authentication.layer).pipe(
    Layer.provideMerge(tokens),
    Layer.provideMerge(unlessProvided(LoginStateStore.LoginStateStore, LoginStateStore.layer)),
    Layer.provideMerge(unlessProvided(Sessions.Sessions, Sessions.layer(options)))
  )

/**
 * - `absoluteLifetime`: of a session, from the login on. Default 1 year.
 * - `idleLifetime`: from the last time on that it was opened. Default 90 days.
 * - `storeTimeout`: of one step of the store. Default 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export type StoredOptions = Pick<Sessions.Options, "absoluteLifetime" | "idleLifetime" | "storeTimeout">

/** No browser finds it. */
const nowhere = "http://localhost"

/**
 * The same for programs without a browser: sessions and the tokens of users, see `StoredSession`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStored = (
  { absoluteLifetime = "365 days", idleLifetime = "90 days", storeTimeout }: StoredOptions = {}
): Layer.Layer<StoredServices, SessionsInvalid, StoredRequirements> =>
  tokens.pipe(
    Layer.provideMerge(
      unlessProvided(
        Sessions.Sessions,
        Layer.unwrapEffect(
          Effect.map(SessionStore, (store) =>
            Layer.provide(
              Sessions.layer({ publicUrl: nowhere, absoluteLifetime, idleLifetime, storeTimeout }),
              Layer.succeed(SessionStore, store)
            ))
        )
      )
    )
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
