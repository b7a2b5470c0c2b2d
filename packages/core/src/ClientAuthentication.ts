/**
 * How a client proves to the authorization server who it is (RFC 6749 section 2.3). A value says which method is used and
 * holds what it needs; what one request carries is made anew for every attempt, since an assertion may be used only once.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type { ClientCertificate } from "./ClientCertificate.ts"
import type * as OAuthValues from "./OAuthValues.ts"
import type { SigningKey } from "./SigningKey.ts"

/**
 * - `ClientSecretBasic`: id and secret in the `Authorization` header, `form`-encoded before base64 as RFC 6749 section
 *   2.3.1 wants it, or `raw` for servers that take them as RFC 7617 does.
 * - `ClientSecretPost`: id and secret in the body.
 * - `ClientSecretJwt`: an assertion that is signed with the secret (RFC 7523 section 2.2, OpenID Connect Core section 9).
 * - `PrivateKeyJwt`: an assertion that is signed with a private key.
 * - `TlsClientAuth`: the certificate that the `HttpClient` shows, and the id in the body (RFC 8705 section 2).
 * - `None`: a public client, only its id in the body.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientAuthentication = Data.TaggedEnum<{
  ClientSecretBasic: { readonly secret: OAuthValues.ClientSecret; readonly encoding: "form" | "raw" }
  ClientSecretPost: { readonly secret: OAuthValues.ClientSecret }
  ClientSecretJwt: { readonly secret: OAuthValues.ClientSecret; readonly algorithm: HmacAlgorithm } & AssertionSettings
  PrivateKeyJwt: { readonly key: SigningKey } & AssertionSettings
  TlsClientAuth: { readonly certificate: ClientCertificate["Type"] | undefined }
  None: {}
}>

/**
 * @since 0.1.0
 * @category models
 */
export type HmacAlgorithm = "HS256" | "HS384" | "HS512"

/**
 * The names that the methods have in server metadata (RFC 8414 section 2, `token_endpoint_auth_methods_supported`).
 *
 * @since 0.1.0
 * @category models
 */
export type Method =
  | "client_secret_basic"
  | "client_secret_post"
  | "client_secret_jwt"
  | "private_key_jwt"
  | "tls_client_auth"
  | "self_signed_tls_client_auth"
  | "none"

/**
 * What `AssertionOptions` came to.
 *
 * @since 0.1.0
 * @category models
 */
export interface AssertionSettings {
  readonly audience: string | undefined
  readonly lifetime: Duration.Duration
}

/**
 * - `audience`: whom an assertion is meant for. `issuer` (the default where the issuer is known), `tokenEndpoint` (the
 *   default where it is not), or a value of your own: no single audience is accepted everywhere.
 * - `lifetime`: of one assertion. Default 60 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface AssertionOptions {
  readonly audience?: "issuer" | "tokenEndpoint" | (string & {}) | undefined
  readonly lifetime?: Duration.DurationInput | undefined
}

const { ClientSecretBasic, ClientSecretJwt, ClientSecretPost, None, PrivateKeyJwt, TlsClientAuth } = Data.taggedEnum<
  ClientAuthentication
>()

const settings = (options: AssertionOptions = {}): AssertionSettings => ({
  audience: options.audience,
  lifetime: Duration.decode(options.lifetime ?? "60 seconds")
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const clientSecretBasic = (
  secret: OAuthValues.ClientSecret,
  options?: { readonly encoding?: "form" | "raw" | undefined }
): ClientAuthentication => ClientSecretBasic({ secret, encoding: options?.encoding ?? "form" })

/**
 * @since 0.1.0
 * @category constructors
 */
export const clientSecretPost = (secret: OAuthValues.ClientSecret): ClientAuthentication => ClientSecretPost({ secret })

/**
 * `algorithm` is `HS256` by default. The secret needs as many bytes as its hash has (RFC 7518 section 3.2).
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientSecretJwt = (
  secret: OAuthValues.ClientSecret,
  options?: AssertionOptions & { readonly algorithm?: HmacAlgorithm | undefined }
): ClientAuthentication => ClientSecretJwt({ secret, algorithm: options?.algorithm ?? "HS256", ...settings(options) })

/**
 * @since 0.1.0
 * @category constructors
 */
export const privateKeyJwt = (key: SigningKey, options?: AssertionOptions): ClientAuthentication =>
  PrivateKeyJwt({ key, ...settings(options) })

/**
 * `tls_client_auth` and `self_signed_tls_client_auth`, which are the same for a client. `certificate` is that of the
 * client's own `httpClient`; without it, that of the `Backchannel` is meant.
 *
 * @since 0.1.0
 * @category constructors
 */
export const tlsClientAuth = (options?: {
  readonly certificate?: ClientCertificate["Type"] | undefined
}): ClientAuthentication => TlsClientAuth({ certificate: options?.certificate })

/**
 * @since 0.1.0
 * @category constructors
 */
export const none: ClientAuthentication = None()
