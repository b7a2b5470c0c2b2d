/**
 * OAuth 2.0 access tokens for Effect programs: acquired, cached, renewed, attached, revoked.
 *
 * @since 0.1.0
 */
export * as AccessToken from "./AccessToken.ts"
export * as AccessTokenHttpClient from "./AccessTokenHttpClient.ts"
export * as AuthorizationServer from "./AuthorizationServer.ts"
export * as Backchannel from "./Backchannel.ts"
export * as ClientAuthentication from "./ClientAuthentication.ts"
export * as ClientCertificate from "./ClientCertificate.ts"
export * as ClientCredentialsTokenManager from "./ClientCredentialsTokenManager.ts"
export * as DPoPKeyStore from "./DPoPKeyStore.ts"
export * as OAuth from "./OAuth.ts"
export * as OAuthError from "./OAuthError.ts"
export * as OAuthLogging from "./OAuthLogging.ts"
export * as OAuthMetrics from "./OAuthMetrics.ts"
export * as OAuthValues from "./OAuthValues.ts"
export * as Signer from "./Signer.ts"
export * as SigningKey from "./SigningKey.ts"
export * as TokenCache from "./TokenCache.ts"
export * as TokenCacheKey from "./TokenCacheKey.ts"
export * as TokenClient from "./TokenClient.ts"
export * as TokenClients from "./TokenClients.ts"
export * as TokenEndpoint from "./TokenEndpoint.ts"
export * as TokenGrant from "./TokenGrant.ts"
export * as TokenRequestParameters from "./TokenRequestParameters.ts"
export * as TokenRetriever from "./TokenRetriever.ts"
export * as WwwAuthenticate from "./WwwAuthenticate.ts"
