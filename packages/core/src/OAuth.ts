/**
 * Everything that machine-to-machine tokens need, in one Layer.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
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
import * as OptionalServices from "./OptionalServices.ts"
import * as Signer from "./Signer.ts"
import { WaitUntil } from "./SingleFlight.ts"
import * as TokenCache from "./TokenCache.ts"
import { TokenCacheKey } from "./TokenCacheKey.ts"
import { TokenClients } from "./TokenClients.ts"
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

/** Who the program is at its servers. */
const identity: ReadonlyArray<OptionalServices.Group> = [[Backchannel, ClientCertificate], [ClientAssertions]]

/**
 * What `layer` is built with. For packages that build on this one.
 *
 * @since 0.1.0
 * @category models
 */
export const bundleOptions: OptionalServices.BundleOptions = {
  required: [TokenClients, HttpClient.HttpClient],
  replaceable: [
    ClientCredentialsTokenManager.ClientCredentialsTokenManager,
    TokenEndpoint.TokenEndpoint,
    JwtVerifier.JwtVerifier,
    AuthorizationServer.AuthorizationServer,
    TokenCache.TokenCache,
    DPoPProofs.DPoPProofs,
    DPoPNonceStore.DPoPNonceStore,
    DPoPKeyStore.DPoPKeyStore,
    Signer.Signer
  ],
  identity,
  optional: [
    ...identity,
    [TokenCacheKey],
    [TokenStore],
    [TokenEncryption.TokenEncryption],
    [TokenRequestCustomizer],
    [OAuthLogging],
    [WaitUntil],
    // What the `HttpClient` over fetch sends with, which it looks for when it sends.
    [FetchHttpClient.Fetch],
    [FetchHttpClient.RequestInit]
  ]
}

/**
 * Manager, cache, token endpoint, discovery and the verification of a server's JWTs over the `HttpClient` that is there, and
 * proofs of possession by a key that is generated if a client wants one. A service of these that is provided to this Layer is
 * used in place of the built-in one.
 *
 * So are the optional ones: `Backchannel` with `ClientCertificate`, `ClientAssertions`, `TokenCacheKey`, `TokenStore`,
 * `TokenEncryption`, `TokenRequestCustomizer`, `OAuthLogging`. Layers that are built on this one (`Oidc.layer`, a `DPoPVerifier`)
 * use them too, unless they are provided with others. With other services it is another Layer, wherever it stands: two parts of a
 * program that provide it with a `Backchannel` each have one each.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Services, never, TokenClients | HttpClient.HttpClient> = OptionalServices.bundle(
  ClientCredentialsTokenManager.layer.pipe(
    Layer.provideMerge(OptionalServices.unlessProvided(TokenEndpoint.TokenEndpoint, TokenEndpoint.layer)),
    Layer.provideMerge(OptionalServices.unlessProvided(JwtVerifier.JwtVerifier, JwtVerifier.layer)),
    Layer.provideMerge(
      OptionalServices.unlessProvided(AuthorizationServer.AuthorizationServer, AuthorizationServer.layer())
    ),
    Layer.provideMerge(OptionalServices.unlessProvided(TokenCache.TokenCache, TokenCache.layer())),
    Layer.provideMerge(OptionalServices.unlessProvided(DPoPProofs.DPoPProofs, DPoPProofs.layer)),
    Layer.provideMerge(OptionalServices.unlessProvided(DPoPNonceStore.DPoPNonceStore, DPoPNonceStore.layer())),
    Layer.provideMerge(OptionalServices.unlessProvided(DPoPKeyStore.DPoPKeyStore, DPoPKeyStore.layerGenerated())),
    Layer.provide(TokenEncryption.layerSigner),
    Layer.provideMerge(OptionalServices.unlessProvided(Signer.Signer, Signer.layer)),
    Layer.provideMerge(redacted)
  ),
  bundleOptions
)
