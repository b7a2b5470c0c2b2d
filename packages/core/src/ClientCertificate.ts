/**
 * The certificate that a program shows its servers in mutual TLS (RFC 8705). It lives in an `HttpClient`, that of
 * `NodeBackchannel` for instance; here is what tokens need to know of it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"

/**
 * Optional: the certificate of the `Backchannel`, provided together with it. Tokens that are bound to a certificate are kept
 * apart by its thumbprint, since they die with it.
 *
 * @since 0.1.0
 * @category tags
 */
export class ClientCertificate extends Context.Tag("@effect-oauth/core/ClientCertificate")<ClientCertificate, {
  /**
   * SHA-256 over the DER form of the certificate that is shown now, base64url without padding (RFC 8705 section 3.1,
   * `x5t#S256`).
   */
  readonly thumbprint: () => string
}>() {}
