/**
 * What is exchanged for a token at the token endpoint (RFC 6749 section 1.3).
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Redacted from "effect/Redacted"
import type { ParameterValue } from "./TokenRequestParameters.ts"

/**
 * - `ClientCredentials`: the client's own authority (RFC 6749 section 4.4).
 * - `AuthorizationCode`: what a user allowed just now (RFC 6749 section 4.1.3, RFC 7636 section 4.5). One-time.
 * - `RefreshToken`: what a user allowed before (RFC 6749 section 6). One-time.
 * - `Extension`: any grant that is named by an absolute URI (RFC 6749 section 4.5), with its own form fields.
 *
 * What is one-time may be used up by a request whose answer was lost, so it is sent once, see `TokenEndpoint`.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenGrant = Data.TaggedEnum<{
  ClientCredentials: {}
  AuthorizationCode: {
    readonly code: Redacted.Redacted<string>
    readonly redirectUri: string
    readonly codeVerifier: Redacted.Redacted<string>
  }
  RefreshToken: { readonly token: Redacted.Redacted<string> }
  Extension: { readonly grantType: string; readonly parameters: Readonly<Record<string, ParameterValue>> }
}>

const { $match, AuthorizationCode, ClientCredentials, Extension, RefreshToken } = Data.taggedEnum<TokenGrant>()

/**
 * @since 0.1.0
 * @category constructors
 */
export const clientCredentials: TokenGrant = ClientCredentials()

/**
 * A code that came to `redirectUri`, which has to be written as it was in the authorization request, and the verifier whose
 * challenge was sent then (PKCE).
 *
 * @since 0.1.0
 * @category constructors
 */
export const authorizationCode = (options: {
  readonly code: Redacted.Redacted<string>
  readonly redirectUri: string
  readonly codeVerifier: Redacted.Redacted<string>
}): TokenGrant => AuthorizationCode(options)

/**
 * @since 0.1.0
 * @category constructors
 */
export const refreshToken = (token: Redacted.Redacted<string>): TokenGrant => RefreshToken({ token })

/**
 * @since 0.1.0
 * @category constructors
 */
export const extension = (
  grantType: string,
  parameters: Readonly<Record<string, ParameterValue>> = {}
): TokenGrant => Extension({ grantType, parameters })

/** @internal */
export const grantTypeOf: (grant: TokenGrant) => string = $match({
  ClientCredentials: () => "client_credentials",
  AuthorizationCode: () => "authorization_code",
  RefreshToken: () => "refresh_token",
  Extension: ({ grantType }) => grantType
})

/** @internal */
export const fieldsOf: (grant: TokenGrant) => Readonly<Record<string, ParameterValue>> = $match({
  ClientCredentials: () => ({}),
  AuthorizationCode: ({ code, codeVerifier, redirectUri }) => ({
    code,
    redirect_uri: redirectUri,
    code_verifier: codeVerifier
  }),
  RefreshToken: ({ token }) => ({ refresh_token: token }),
  Extension: ({ parameters }) => parameters
})

/** @internal Whether a request that reached the server may have used it up. */
export const isOneTime = ({ _tag }: TokenGrant): boolean => _tag === "AuthorizationCode" || _tag === "RefreshToken"
