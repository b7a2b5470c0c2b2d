/**
 * Everything that machine-to-machine tokens need, in one Layer.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as AuthorizationServer from "./AuthorizationServer.ts"
import * as ClientCredentialsTokenManager from "./ClientCredentialsTokenManager.ts"
import * as DPoPKeyStore from "./DPoPKeyStore.ts"
import * as DPoPNonceStore from "./DPoPNonceStore.ts"
import * as DPoPProofs from "./DPoPProofs.ts"
import * as JwtVerifier from "./JwtVerifier.ts"
import * as Signer from "./Signer.ts"
import * as TokenCache from "./TokenCache.ts"
import type { TokenClients } from "./TokenClients.ts"
import * as TokenEndpoint from "./TokenEndpoint.ts"

/** The service that the user provides, or else the built-in one. */
const unlessProvided = <I, S, E, R>(tag: Context.Tag<I, S>, builtIn: Layer.Layer<I, E, R>): Layer.Layer<I, E, R> =>
  Layer.unwrapEffect(
    Effect.map(
      Effect.serviceOption(tag),
      Option.match({ onNone: () => builtIn, onSome: (service) => Layer.succeed(tag, service) })
    )
  )

/**
 * The services of this Layer.
 *
 * @since 0.1.0
 * @category models
 */
export type Services =
  | ClientCredentialsTokenManager.ClientCredentialsTokenManager
  | TokenCache.TokenCache
  | TokenEndpoint.TokenEndpoint
  | AuthorizationServer.AuthorizationServer
  | JwtVerifier.JwtVerifier
  | DPoPProofs.DPoPProofs
  | DPoPNonceStore.DPoPNonceStore
  | DPoPKeyStore.DPoPKeyStore
  | Signer.Signer

/** The header of a proof is not shown in the spans of the platform, also where a request was put together by hand. */
const redacted = Layer.scopedDiscard(
  Effect.locallyScopedWith(Headers.currentRedactedNames, (names) => [...names, "dpop"])
)

/**
 * Manager, cache, token endpoint, discovery and the verification of a server's JWTs over the `HttpClient` that is there, and proofs of possession by a key that
 * is generated if a client wants one. A service of these that is provided to this Layer is used in place of the built-in
 * one, as are the optional ones: `Backchannel`, `ClientAssertions`, `ClientCertificate`, `TokenCacheKey`, `OAuthLogging`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Services, never, TokenClients | HttpClient.HttpClient> = ClientCredentialsTokenManager
  .layer.pipe(
    Layer.provideMerge(unlessProvided(TokenEndpoint.TokenEndpoint, TokenEndpoint.layer)),
    Layer.provideMerge(unlessProvided(JwtVerifier.JwtVerifier, JwtVerifier.layer)),
    Layer.provideMerge(unlessProvided(AuthorizationServer.AuthorizationServer, AuthorizationServer.layer())),
    Layer.provideMerge(unlessProvided(TokenCache.TokenCache, TokenCache.layer())),
    Layer.provideMerge(unlessProvided(DPoPProofs.DPoPProofs, DPoPProofs.layer)),
    Layer.provideMerge(unlessProvided(DPoPNonceStore.DPoPNonceStore, DPoPNonceStore.layer())),
    Layer.provideMerge(unlessProvided(DPoPKeyStore.DPoPKeyStore, DPoPKeyStore.layerGenerated())),
    Layer.provideMerge(unlessProvided(Signer.Signer, Signer.layer)),
    Layer.provideMerge(redacted)
  )
