/**
 * Every error of this library. Each is tagged, names the client and the server's address, and holds neither a secret nor
 * an error of the platform, whose printed form could hold one.
 *
 * `retryable` says whether the same call may succeed later without anybody changing anything, `retryAfter` how long to
 * wait where that is known.
 *
 * @since 0.1.0
 */
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"

const isTransientStatus = (status: number): boolean => status === 408 || status === 429 || status >= 500

const transientCodes: ReadonlySet<string> = new Set(["temporarily_unavailable", "server_error", "slow_down"])

const retryAfter = Schema.optional(Schema.DurationFromMillis)

const afterText = (delay: Duration.Duration | undefined): string =>
  delay === undefined ? "" : `; worth another try in ${Duration.format(delay)}`

/**
 * The authorization server refused: it answered with an OAuth error object, whatever the status (RFC 6749 section 5.2).
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenEndpointError
  extends Schema.TaggedError<TokenEndpointError>("@effect-oauth/core/TokenEndpointError")("TokenEndpointError", {
    clientName: Schema.String,
    endpoint: Schema.String,
    status: Schema.Number,
    /** The code of the server, for example `invalid_client`. */
    error: Schema.String,
    errorDescription: Schema.optional(Schema.String),
    errorUri: Schema.optional(Schema.String),
    retryAfter
  })
{
  get retryable(): boolean {
    return isTransientStatus(this.status) || transientCodes.has(this.error)
  }
  override get message(): string {
    return `client "${this.clientName}": ${this.endpoint} answered ${this.status} ${this.error}` +
      (this.errorDescription === undefined ? "" : ` (${this.errorDescription})`) + afterText(this.retryAfter)
  }
}

/**
 * The authorization server answered, but not with anything that OAuth knows: HTML, an empty body, a redirect, a body over
 * the limit, JSON without `access_token`.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenResponseInvalid
  extends Schema.TaggedError<TokenResponseInvalid>("@effect-oauth/core/TokenResponseInvalid")("TokenResponseInvalid", {
    clientName: Schema.String,
    endpoint: Schema.String,
    status: Schema.Number,
    problem: Schema.String,
    retryAfter
  })
{
  get retryable(): boolean {
    return isTransientStatus(this.status)
  }
  override get message(): string {
    return `client "${this.clientName}": ${this.endpoint} answered ${this.status}, but ${this.problem}` +
      afterText(this.retryAfter)
  }
}

const untrusted = "its certificate is signed by an authority that is not trusted here, or comes without the ones in " +
  "between: trust that authority (ca of NodeBackchannel, or NODE_EXTRA_CA_CERTS), or let the server send its whole chain"

const refusedOurs = (what: string): string =>
  `it ${what}: check the client certificate that is shown, and what is registered at the server`

/** What is wrong with a certificate, and what to do, by the code that Node gives: none of it passes by itself. */
const certificateProblems: ReadonlyMap<string, string> = new Map([
  ["CERT_HAS_EXPIRED", "its certificate has expired: renew it there, or set this machine's clock right"],
  ["CERT_NOT_YET_VALID", "its certificate is not valid yet: set the clock right, here or there"],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", untrusted],
  ["UNABLE_TO_GET_ISSUER_CERT", untrusted],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", untrusted],
  [
    "SELF_SIGNED_CERT_IN_CHAIN",
    "its certificate leads to an authority that is not trusted here: trust that authority (ca of NodeBackchannel, or " +
    "NODE_EXTRA_CA_CERTS); where it is not the server's, a proxy looks into the connection"
  ],
  [
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "its certificate is signed by itself: trust it (ca of NodeBackchannel, or NODE_EXTRA_CA_CERTS), or give the server " +
    "one of an authority"
  ],
  [
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "its certificate is for another name: use the name that the certificate is for, or add this one to it"
  ],
  ["CERT_REVOKED", "its certificate is revoked: give the server another one"],
  ["INVALID_PURPOSE", "its certificate is not meant for servers: give the server another one"],
  ["CERT_SIGNATURE_FAILURE", "its certificate has a wrong signature: give the server another one"],
  ["CERT_UNTRUSTED", untrusted],
  ["CERT_REJECTED", untrusted],
  ["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", refusedOurs("wants a client certificate and was shown none")],
  [
    "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE",
    "it refuses the TLS handshake: often it wants a client certificate, else no version or cipher is known to both sides"
  ],
  ["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", refusedOurs("does not know the authority of the client certificate")],
  ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", refusedOurs("says that the client certificate has expired")],
  ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED", refusedOurs("says that the client certificate is revoked")],
  ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN", refusedOurs("does not accept the client certificate")],
  ["ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", refusedOurs("does not accept the client certificate")],
  ["ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", refusedOurs("does not accept that kind of client certificate")]
])

const happened = {
  Connection: "could not be reached",
  Timeout: "did not answer in time",
  BodyIncomplete: "hung up in the middle of its answer",
  Repeated:
    "was asked once, and may have acted on it: a retry of the HttpClient wanted to send the same code or refresh " +
    "token again, which is refused. Leave such requests out of its retry"
}

/**
 * What fails before there is a connection to send anything on: names, routes, the port, and the server's certificate. The
 * alerts of a server come later, and are not of these.
 */
const unsentCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  ...[...certificateProblems.keys()].filter((code) => !code.startsWith("ERR_SSL_"))
])

/**
 * No answer: the server was not reached, hung up, or did not answer in time.
 *
 * `reason` is `Connection` (refused, reset, name or certificate not accepted; `code` is the system's, such as
 * `ECONNREFUSED`), `Timeout`, `BodyIncomplete` (the connection ended inside the body), or `Repeated` (a retry of the
 * `HttpClient` wanted to send a one-time grant once more, see `TokenEndpoint`). It is `retryable` unless a certificate was
 * not accepted, the server's or the client's: that does not pass by itself.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenTransportError
  extends Schema.TaggedError<TokenTransportError>("@effect-oauth/core/TokenTransportError")("TokenTransportError", {
    clientName: Schema.String,
    endpoint: Schema.String,
    reason: Schema.Literal("Connection", "Timeout", "BodyIncomplete", "Repeated"),
    code: Schema.optional(Schema.String),
    retryAfter
  })
{
  get retryable(): boolean {
    return this.code === undefined || !certificateProblems.has(this.code)
  }
  /**
   * Whether the server may have seen the request and acted on it. False only where the code proves that there was no
   * connection to send it on.
   */
  get outcomeUnknown(): boolean {
    return this.reason !== "Connection" || this.code === undefined || !unsentCodes.has(this.code)
  }
  /** What happened, and what to do about a certificate. */
  get problem(): string {
    const what = happened[this.reason]
    const certificate = this.code === undefined ? undefined : certificateProblems.get(this.code)
    return what + (this.code === undefined ? "" : ` (${this.code})`) +
      (certificate === undefined ? "" : `: ${certificate}`)
  }
  override get message(): string {
    return `client "${this.clientName}": ${this.endpoint} ${this.problem}${afterText(this.retryAfter)}`
  }
}

/**
 * The metadata of an authorization server, or its keys, could not be had (RFC 8414 section 3, OpenID Connect Discovery 1.0
 * section 4).
 *
 * @since 0.1.0
 * @category errors
 */
export class DiscoveryError
  extends Schema.TaggedError<DiscoveryError>("@effect-oauth/core/DiscoveryError")("DiscoveryError", {
    clientName: Schema.String,
    /** The URL that was asked last. */
    endpoint: Schema.String,
    issuer: Schema.String,
    /** Which of the two; `metadata` where it is not said. */
    document: Schema.optional(Schema.Literal("metadata", "keys")),
    status: Schema.optional(Schema.Number),
    problem: Schema.String,
    retryable: Schema.Boolean,
    retryAfter
  })
{
  override get message(): string {
    return `client "${this.clientName}": no ${
      this.document ?? "metadata"
    } of issuer ${this.issuer} at ${this.endpoint}: ${this.problem}` +
      afterText(this.retryAfter)
  }
}

/**
 * One problem of one field of one client.
 *
 * @since 0.1.0
 * @category models
 */
export const ClientProblem = Schema.Struct({ client: Schema.String, field: Schema.String, problem: Schema.String })

/**
 * @since 0.1.0
 * @category models
 */
export type ClientProblem = typeof ClientProblem.Type

/**
 * The definition of one or more clients is not usable. One error lists every problem of every client that was defined
 * together.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenClientInvalid
  extends Schema.TaggedError<TokenClientInvalid>("@effect-oauth/core/TokenClientInvalid")("TokenClientInvalid", {
    problems: Schema.NonEmptyArray(ClientProblem)
  })
{
  get clientName(): string {
    return this.problems[0].client
  }
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    return "these clients are not usable:" +
      this.problems.map(({ client, field, problem }) => `\n  client "${client}", ${field}: ${problem}`).join("")
  }
}

/**
 * No client of this name is defined. A name can be left out where exactly one client is.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenClientNotFound
  extends Schema.TaggedError<TokenClientNotFound>("@effect-oauth/core/TokenClientNotFound")("TokenClientNotFound", {
    /** Empty where the name was left out. */
    clientName: Schema.String,
    known: Schema.Array(Schema.String)
  })
{
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    const known = this.known.length === 0
      ? "none is defined: provide a Layer of TokenClients"
      : `defined are: ${this.known.map((name) => `"${name}"`).join(", ")}`
    return this.clientName === ""
      ? `a client name can be left out only where exactly one client is defined; ${known}`
      : `no client "${this.clientName}"; ${known}`
  }
}

/**
 * A resolver of clients failed, see `TokenClients.layerResolver`. `cause` is the tag or name of its error, never its text;
 * `LayerClosed` where the Layer of the client has been closed, which is not retryable.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenClientUnavailable
  extends Schema.TaggedError<TokenClientUnavailable>("@effect-oauth/core/TokenClientUnavailable")(
    "TokenClientUnavailable",
    { clientName: Schema.String, cause: Schema.String, retryAfter }
  )
{
  get retryable(): boolean {
    return this.cause !== "LayerClosed"
  }
  override get message(): string {
    return `client "${this.clientName}" could not be resolved: ${this.cause}` +
      afterText(this.retryAfter)
  }
}

/**
 * What one request asked for is not usable: a scope outside the grammar, a parameter that would override a field of the
 * protocol.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenRequestInvalid
  extends Schema.TaggedError<TokenRequestInvalid>("@effect-oauth/core/TokenRequestInvalid")("TokenRequestInvalid", {
    clientName: Schema.String,
    field: Schema.String,
    problem: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    return `client "${this.clientName}", request ${this.field}: ${this.problem}`
  }
}

/**
 * A token was not sent, because the request goes where tokens may not: over plain `http:`, or to an origin outside
 * `allowedOrigins`.
 *
 * @since 0.1.0
 * @category errors
 */
export class OriginNotAllowed
  extends Schema.TaggedError<OriginNotAllowed>("@effect-oauth/core/OriginNotAllowed")("OriginNotAllowed", {
    origin: Schema.String,
    problem: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    return `no access token is sent to ${this.origin}: ${this.problem}`
  }
}

/**
 * The Layer that kept the tokens is closed: the program is shutting down.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenCacheClosed
  extends Schema.TaggedError<TokenCacheClosed>("@effect-oauth/core/TokenCacheClosed")("TokenCacheClosed", {
    clientName: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    return `client "${this.clientName}": the Layer that keeps its tokens is closed`
  }
}

/**
 * The server gave a token of another type than was asked for: a plain one although it was shown a DPoP key, which a thief
 * could use, or a DPoP token although no key was shown (RFC 9449 section 5). `allowDowngrade` accepts the former.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenTypeMismatch
  extends Schema.TaggedError<TokenTypeMismatch>("@effect-oauth/core/TokenTypeMismatch")("TokenTypeMismatch", {
    clientName: Schema.String,
    endpoint: Schema.String,
    status: Schema.Number,
    expected: Schema.String,
    found: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    return `client "${this.clientName}": ${this.endpoint} was expected to give a ${this.expected} token and gave one of ` +
      `type ${this.found}: ${
        this.expected === "DPoP"
          ? "is DPoP on for this client at the server? allowDowngrade: true accepts it"
          : "the server wants proofs of possession, set dpop: true"
      }`
  }
}

/**
 * A token is bound to another key or certificate than the one at hand, so it cannot be used (RFC 9449 section 6.1, RFC
 * 8705 section 3.1). `expected` and `found` are thumbprints.
 *
 * @since 0.1.0
 * @category errors
 */
export class KeyBindingMismatch
  extends Schema.TaggedError<KeyBindingMismatch>("@effect-oauth/core/KeyBindingMismatch")("KeyBindingMismatch", {
    clientName: Schema.String,
    binding: Schema.Literal("key", "certificate"),
    /** Of the key or certificate at hand; absent where there is none. */
    expected: Schema.optional(Schema.String),
    /** What the token is bound to, where it says so. */
    found: Schema.optional(Schema.String)
  })
{
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    const bound = `client "${this.clientName}": its token is bound to ${
      this.found === undefined ? `a ${this.binding}` : `the ${this.binding} ${this.found}`
    }`
    return this.expected === undefined
      ? `${bound} that is not at hand: use the token that a manager gave, or bind it by DPoPProofs.bind`
      : `${bound}, expected ${this.expected}`
  }
}

/**
 * What a client proves itself with could not be had: a key store, a signer or a service of assertions failed. `problem`
 * holds the tag of its error, never its text.
 *
 * @since 0.1.0
 * @category errors
 */
export class CredentialUnavailable
  extends Schema.TaggedError<CredentialUnavailable>("@effect-oauth/core/CredentialUnavailable")(
    "CredentialUnavailable",
    {
      clientName: Schema.String,
      credential: Schema.Literal("assertion", "key", "certificate", "token"),
      problem: Schema.String,
      retryAfter
    }
  )
{
  get retryable(): boolean {
    return true
  }
  override get message(): string {
    return `client "${this.clientName}": its ${this.credential} could not be had: ${this.problem}` +
      afterText(this.retryAfter)
  }
}

/**
 * A key that cannot sign proofs or assertions: not a private JWK, too weak, or with an `alg` that does not fit.
 *
 * @since 0.1.0
 * @category errors
 */
export class SigningKeyInvalid
  extends Schema.TaggedError<SigningKeyInvalid>("@effect-oauth/core/SigningKeyInvalid")("SigningKeyInvalid", {
    problem: Schema.String
  })
{
  override get message(): string {
    return `this key cannot be used: ${this.problem}`
  }
}

/**
 * The user did not finish a login on another device in time: it has to be begun anew (RFC 8628 section 3.5).
 *
 * @since 0.1.0
 * @category errors
 */
export class DeviceLoginExpired
  extends Schema.TaggedError<DeviceLoginExpired>("@effect-oauth/core/DeviceLoginExpired")("DeviceLoginExpired", {
    clientName: Schema.String
  })
{
  override get message(): string {
    return `client "${this.clientName}": the user did not finish the login in time`
  }
}

/**
 * The keys of `TokenEncryption` are not usable. One error lists every problem.
 *
 * @since 0.1.0
 * @category errors
 */
export class EncryptionKeysInvalid
  extends Schema.TaggedError<EncryptionKeysInvalid>("@effect-oauth/core/EncryptionKeysInvalid")(
    "EncryptionKeysInvalid",
    { problems: Schema.Array(Schema.String) }
  )
{
  override get message(): string {
    return `these encryption keys are not usable:${this.problems.map((problem) => `\n  ${problem}`).join("")}`
  }
}

/**
 * A JWT of a server is not accepted, see `JwtVerifier`. `problem` quotes nothing of it.
 *
 * `reason` is `form` (not a signed JWT in compact form), `algorithm` (its `alg` is not allowed), `type` (its `typ` is not),
 * `key` (none of the server's keys fits it), or `signature`.
 *
 * @since 0.1.0
 * @category errors
 */
export class JwtInvalid extends Schema.TaggedError<JwtInvalid>("@effect-oauth/core/JwtInvalid")("JwtInvalid", {
  clientName: Schema.String,
  reason: Schema.Literal("form", "algorithm", "type", "key", "signature"),
  problem: Schema.String
}) {
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    return `client "${this.clientName}": a JWT is not accepted: ${this.problem}`
  }
}

/**
 * A `Signer` could not sign.
 *
 * @since 0.1.0
 * @category errors
 */
export class SigningError extends Schema.TaggedError<SigningError>("@effect-oauth/core/SigningError")("SigningError", {
  algorithm: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `no ${this.algorithm} signature: ${this.problem}`
  }
}

/**
 * The store could not do what it was asked for: it was not reached, was too slow, or answered something that cannot be read.
 * `problem` shows neither keys nor values.
 *
 * @since 0.1.0
 * @category errors
 */
export class TokenStoreError
  extends Schema.TaggedError<TokenStoreError>("@effect-oauth/core/TokenStoreError")("TokenStoreError", {
    /** `redis`, `postgres`, … */
    store: Schema.String,
    operation: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `token store ${this.store}, ${this.operation}: ${this.problem}`
  }
}

/**
 * Everything that getting an access token, and sending it, can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export const AccessTokenError = Schema.Union(
  TokenEndpointError,
  TokenResponseInvalid,
  TokenTransportError,
  DiscoveryError,
  TokenClientInvalid,
  TokenClientNotFound,
  TokenClientUnavailable,
  TokenRequestInvalid,
  OriginNotAllowed,
  TokenTypeMismatch,
  KeyBindingMismatch,
  CredentialUnavailable,
  TokenCacheClosed
)

/**
 * @since 0.1.0
 * @category errors
 */
export type AccessTokenError = typeof AccessTokenError.Type

/**
 * @since 0.1.0
 * @category guards
 */
export const isAccessTokenError: (error: unknown) => error is AccessTokenError = Schema.is(AccessTokenError)

/**
 * The same error, told to be worth another try after `delay`. Errors that waiting does not heal stay as they are.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withRetryAfter = (error: AccessTokenError, delay: Duration.Duration): AccessTokenError => {
  switch (error._tag) {
    case "TokenEndpointError":
      return new TokenEndpointError({ ...error, retryAfter: delay })
    case "TokenResponseInvalid":
      return new TokenResponseInvalid({ ...error, retryAfter: delay })
    case "TokenTransportError":
      return error.retryable ? new TokenTransportError({ ...error, retryAfter: delay }) : error
    case "DiscoveryError":
      return new DiscoveryError({ ...error, retryAfter: delay })
    case "TokenClientUnavailable":
      return new TokenClientUnavailable({ ...error, cause: error.cause, retryAfter: delay })
    case "CredentialUnavailable":
      return new CredentialUnavailable({ ...error, retryAfter: delay })
    default:
      return error
  }
}

/**
 * The error as one that fits the `HttpClient` Tag, the typed error being its `cause`. `HttpClient.retryTransient` repeats
 * it only if it is `retryable`.
 *
 * @since 0.1.0
 * @category conversions
 */
export const toRequestError = (
  error: AccessTokenError,
  request: HttpClientRequest.HttpClientRequest
): HttpClientError.RequestError =>
  new HttpClientError.RequestError({
    request,
    reason: error.retryable ? "Transport" : "Encode",
    cause: error,
    description: error.message
  })
