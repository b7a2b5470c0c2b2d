/**
 * What is exchanged for a token at the token endpoint (RFC 6749 section 1.3).
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Predicate from "effect/Predicate"
import type * as Redacted from "effect/Redacted"
import type { ParameterValue } from "./TokenRequestParameters.ts"

/**
 * What kinds of tokens are called (RFC 8693 section 3).
 *
 * @since 0.1.0
 * @category constants
 */
export const tokenTypes = {
  accessToken: "urn:ietf:params:oauth:token-type:access_token",
  refreshToken: "urn:ietf:params:oauth:token-type:refresh_token",
  idToken: "urn:ietf:params:oauth:token-type:id_token",
  jwt: "urn:ietf:params:oauth:token-type:jwt",
  saml1: "urn:ietf:params:oauth:token-type:saml1",
  saml2: "urn:ietf:params:oauth:token-type:saml2"
} as const

/**
 * - `subjectToken`: whose authority is wanted. `subjectTokenType`: default `tokenTypes.accessToken`.
 * - `actorToken`: who acts for them. With it the new token says so (delegation), without it the new token is as good as the
 *   subject's own (impersonation). `actorTokenType`: default `tokenTypes.accessToken`.
 * - `audience`: who the new token is for, by the names that the server knows them by; several are possible. Addresses of APIs
 *   are the `resource` of the request, and its `scope` counts too.
 * - `requestedTokenType`: one of `tokenTypes`, for instance. Default: the server's choice.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  readonly subjectToken: Redacted.Redacted<string>
  readonly subjectTokenType?: string | undefined
  readonly actorToken?: Redacted.Redacted<string> | undefined
  readonly actorTokenType?: string | undefined
  readonly audience?: string | ReadonlyArray<string> | undefined
  readonly requestedTokenType?: string | undefined
}

/**
 * - `ClientCredentials`: the client's own authority (RFC 6749 section 4.4).
 * - `AuthorizationCode`: what a user allowed just now (RFC 6749 section 4.1.3, RFC 7636 section 4.5). One-time.
 * - `RefreshToken`: what a user allowed before (RFC 6749 section 6). One-time.
 * - `TokenExchange`: another token, of the same user for somebody else, or on behalf of them (RFC 8693 section 2.1).
 * - `JwtBearer`: a signed statement of somebody whom the server trusts (RFC 7523 section 2.1).
 * - `DeviceCode`: what a user is allowing on another device (RFC 8628 section 3.4), see `DeviceFlow`.
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
  TokenExchange: Exchange
  JwtBearer: { readonly assertion: Redacted.Redacted<string> }
  DeviceCode: { readonly deviceCode: Redacted.Redacted<string> }
  Extension: { readonly grantType: string; readonly parameters: Readonly<Record<string, ParameterValue>> }
}>

const {
  $match,
  AuthorizationCode,
  ClientCredentials,
  DeviceCode,
  Extension,
  JwtBearer,
  RefreshToken,
  TokenExchange
} = Data.taggedEnum<TokenGrant>()

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
export const tokenExchange = (exchange: Exchange): TokenGrant => TokenExchange(exchange)

/**
 * @since 0.1.0
 * @category constructors
 */
export const jwtBearer = (assertion: Redacted.Redacted<string>): TokenGrant => JwtBearer({ assertion })

/**
 * @since 0.1.0
 * @category constructors
 */
export const deviceCode = (deviceCode: Redacted.Redacted<string>): TokenGrant => DeviceCode({ deviceCode })

/**
 * @since 0.1.0
 * @category constructors
 */
export const extension = (
  grantType: string,
  parameters: Readonly<Record<string, ParameterValue>> = {}
): TokenGrant => Extension({ grantType, parameters })

/** @internal */
export const exchangeGrantType = "urn:ietf:params:oauth:grant-type:token-exchange"

/** @internal */
export const grantTypeOf: (grant: TokenGrant) => string = $match({
  ClientCredentials: () => "client_credentials",
  AuthorizationCode: () => "authorization_code",
  RefreshToken: () => "refresh_token",
  TokenExchange: () => exchangeGrantType,
  JwtBearer: () => "urn:ietf:params:oauth:grant-type:jwt-bearer",
  DeviceCode: () => "urn:ietf:params:oauth:grant-type:device_code",
  Extension: ({ grantType }) => grantType
})

const tags: ReadonlySet<string> = new Set<TokenGrant["_tag"]>([
  "ClientCredentials",
  "AuthorizationCode",
  "RefreshToken",
  "TokenExchange",
  "JwtBearer",
  "DeviceCode",
  "Extension"
])

/** @internal Whether it is one at all; its fields may be wrong still. */
export const isGrant = (value: unknown): value is TokenGrant =>
  Predicate.hasProperty(value, "_tag") && typeof value._tag === "string" && tags.has(value._tag)

const present = (
  fields: Readonly<Record<string, ParameterValue | undefined>>
): Readonly<Record<string, ParameterValue>> =>
  Object.fromEntries(
    Object.entries(fields).filter((field): field is [string, ParameterValue] => field[1] !== undefined)
  )

/** @internal */
export const fieldsOf: (grant: TokenGrant) => Readonly<Record<string, ParameterValue>> = $match({
  ClientCredentials: () => ({}),
  AuthorizationCode: ({ code, codeVerifier, redirectUri }) => ({
    code,
    redirect_uri: redirectUri,
    code_verifier: codeVerifier
  }),
  RefreshToken: ({ token }) => ({ refresh_token: token }),
  TokenExchange: (exchange) =>
    present({
      subject_token: exchange.subjectToken,
      subject_token_type: exchange.subjectTokenType ?? tokenTypes.accessToken,
      actor_token: exchange.actorToken,
      actor_token_type: exchange.actorToken === undefined
        ? undefined
        : exchange.actorTokenType ?? tokenTypes.accessToken,
      audience: exchange.audience,
      requested_token_type: exchange.requestedTokenType
    }),
  JwtBearer: ({ assertion }) => ({ assertion }),
  DeviceCode: ({ deviceCode }) => ({ device_code: deviceCode }),
  Extension: ({ parameters }) => parameters
})

/** @internal Whether a request that reached the server may have used it up. */
export const isOneTime = ({ _tag }: TokenGrant): boolean => _tag === "AuthorizationCode" || _tag === "RefreshToken"

/** @internal Whether its tokens can be asked for again and again, and so kept in a cache. */
export const isRepeatable = (grant: TokenGrant): boolean => !isOneTime(grant) && grant._tag !== "DeviceCode"
