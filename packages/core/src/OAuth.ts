/**
 * Everything that machine-to-machine tokens need, in one Layer.
 *
 * @since 0.1.0
 */
import * as Headers from "@effect/platform/Headers"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as AuthorizationServer from "./AuthorizationServer.ts"
import { Backchannel } from "./Backchannel.ts"
import { ClientAssertions } from "./ClientAssertions.ts"
import { ClientCertificate } from "./ClientCertificate.ts"
import * as ClientCredentialsTokenManager from "./ClientCredentialsTokenManager.ts"
import * as DPoPKeyStore from "./DPoPKeyStore.ts"
import * as DPoPNonceStore from "./DPoPNonceStore.ts"
import * as DPoPProofs from "./DPoPProofs.ts"
import * as JwtVerifier from "./JwtVerifier.ts"
import { OAuthLogging } from "./OAuthLogging.ts"
import { type Group, handingOn, unlessProvided } from "./OptionalServices.ts"
import * as Signer from "./Signer.ts"
import * as TokenCache from "./TokenCache.ts"
import { TokenCacheKey } from "./TokenCacheKey.ts"
import type { TokenClients } from "./TokenClients.ts"
import * as TokenEncryption from "./TokenEncryption.ts"
import * as TokenEndpoint from "./TokenEndpoint.ts"
import { TokenRequestCustomizer } from "./TokenRetriever.ts"
import { TokenStore } from "./TokenStore.ts"

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
 * The optional services that `layer` uses, and hands on to Layers that are built on it. For packages that build on this one.
 *
 * @since 0.1.0
 * @category models
 */
export const optionalServices: ReadonlyArray<Group> = [
  [Backchannel, ClientCertificate],
  [ClientAssertions],
  [TokenCacheKey],
  [TokenStore],
  [TokenEncryption.TokenEncryption],
  [TokenRequestCustomizer],
  [OAuthLogging]
]

/**
 * Manager, cache, token endpoint, discovery and the verification of a server's JWTs over the `HttpClient` that is there, and
 * proofs of possession by a key that is generated if a client wants one. A service of these that is provided to this Layer is
 * used in place of the built-in one.
 *
 * So are the optional ones: `Backchannel` with `ClientCertificate`, `ClientAssertions`, `TokenCacheKey`, `TokenStore`,
 * `TokenEncryption`, `TokenRequestCustomizer`, `OAuthLogging`. Layers that are built on this one (`Oidc.layer`, a `DPoPVerifier`)
 * use them too, unless they are provided with others.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Services, never, TokenClients | HttpClient.HttpClient> = handingOn(
  ClientCredentialsTokenManager.layer.pipe(
    Layer.provideMerge(unlessProvided(TokenEndpoint.TokenEndpoint, TokenEndpoint.layer)),
    Layer.provideMerge(unlessProvided(JwtVerifier.JwtVerifier, JwtVerifier.layer)),
    Layer.provideMerge(unlessProvided(AuthorizationServer.AuthorizationServer, AuthorizationServer.layer())),
    Layer.provideMerge(unlessProvided(TokenCache.TokenCache, TokenCache.layer())),
    Layer.provideMerge(unlessProvided(DPoPProofs.DPoPProofs, DPoPProofs.layer)),
    Layer.provideMerge(unlessProvided(DPoPNonceStore.DPoPNonceStore, DPoPNonceStore.layer())),
    Layer.provideMerge(unlessProvided(DPoPKeyStore.DPoPKeyStore, DPoPKeyStore.layerGenerated())),
    Layer.provide(TokenEncryption.layerSigner),
    Layer.provideMerge(unlessProvided(Signer.Signer, Signer.layer)),
    Layer.provideMerge(redacted)
  ),
  optionalServices
)
