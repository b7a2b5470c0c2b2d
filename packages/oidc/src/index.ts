/**
 * OpenID Connect login, sessions and user tokens for Effect programs.
 *
 * @since 0.1.0
 */
export * as Authentication from "./Authentication.ts"
export * as CurrentUser from "./CurrentUser.ts"
export * as IdToken from "./IdToken.ts"
export * as LoginStateStore from "./LoginStateStore.ts"
export * as Oidc from "./Oidc.ts"
export * as OidcClient from "./OidcClient.ts"
export * as OidcClients from "./OidcClients.ts"
export * as OidcConnection from "./OidcConnection.ts"
export * as OidcError from "./OidcError.ts"
export * as OidcHooks from "./OidcHooks.ts"
export * as OidcLogin from "./OidcLogin.ts"
export * as OidcLogout from "./OidcLogout.ts"
export * as OidcRoutes from "./OidcRoutes.ts"
export * as OidcSession from "./OidcSession.ts"
export * as Principal from "./Principal.ts"
export * as Session from "./Session.ts"
export * as Sessions from "./Sessions.ts"
export * as SessionStore from "./SessionStore.ts"
export * as StoredSession from "./StoredSession.ts"
export * as TokenConcurrency from "./TokenConcurrency.ts"
export * as UserAccessTokenHttpClient from "./UserAccessTokenHttpClient.ts"
export * as UserTokenManager from "./UserTokenManager.ts"
export * as UserTokens from "./UserTokens.ts"
export * as UserTokenStore from "./UserTokenStore.ts"
