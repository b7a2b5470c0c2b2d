/**
 * OpenID Connect login, sessions and user tokens for Effect programs.
 *
 * @since 0.1.0
 */
export * as OidcError from "./OidcError.ts"
export * as Principal from "./Principal.ts"
export * as UserTokens from "./UserTokens.ts"
