/**
 * Every error of this package, beside those of `@effect-oauth/core` that pass through it. Each is tagged, and holds neither
 * a token, a code, a cookie nor a session id, nor an error of the platform, whose printed form could hold one.
 *
 * `retryable` says whether the same call may succeed later without anybody changing anything.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Schema from "effect/Schema"

/**
 * No client of this name is defined, or the name was left out and no client is the default.
 *
 * @since 0.1.0
 * @category errors
 */
export class OidcClientNotFound
  extends Schema.TaggedError<OidcClientNotFound>("@effect-oauth/oidc/OidcClientNotFound")("OidcClientNotFound", {
    /** Empty where the name was left out. */
    clientName: Schema.String,
    known: Schema.Array(Schema.String)
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    const known = this.known.length === 0
      ? "none is defined: provide a Layer of OidcClients"
      : `defined are: ${this.known.map((name) => `"${name}"`).join(", ")}`
    return this.clientName === ""
      ? `the name of an OpenID Connect client can be left out only if one is the default, or there is one only; ${known}`
      : `no OpenID Connect client "${this.clientName}"; ${known}`
  }
}

/**
 * A token of a user was asked for where nobody is signed in.
 *
 * @since 0.1.0
 * @category errors
 */
export class NoActiveUser extends Schema.TaggedError<NoActiveUser>("@effect-oauth/oidc/NoActiveUser")("NoActiveUser", {
  clientName: Schema.String
}) {
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `client "${this.clientName}": nobody is signed in with it; send the user to the login route first`
  }
}

/**
 * The access token has expired, or another one is wanted, and the session has no refresh token to get one with.
 *
 * @since 0.1.0
 * @category errors
 */
export class RefreshTokenMissing
  extends Schema.TaggedError<RefreshTokenMissing>("@effect-oauth/oidc/RefreshTokenMissing")("RefreshTokenMissing", {
    clientName: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `client "${this.clientName}": the session has no refresh token; the user has to sign in again. Is ` +
      `offline_access among the scopes, and does the server want prompt=consent for it?`
  }
}

/**
 * Why a session has ended.
 *
 * - `SignedOut`: the user signed out.
 * - `Refused`: the server refused the refresh token (`invalid_grant`).
 * - `SubjectChanged`: a refresh came back with the ID token of somebody else.
 * - `Provider`: the server ended it, by back-channel or front-channel logout.
 * - `Expired`: its time was over.
 * - `Replaced`: the user has signed in anew in the same browser, which has another session since.
 * - `Elsewhere`: another process ended it.
 *
 * @since 0.1.0
 * @category models
 */
export const EndReason = Schema.Literal(
  "SignedOut",
  "Refused",
  "SubjectChanged",
  "Provider",
  "Expired",
  "Replaced",
  "Elsewhere"
)

/**
 * @since 0.1.0
 * @category models
 */
export type EndReason = typeof EndReason.Type

const endings: Record<EndReason, string> = {
  SignedOut: "the user has signed out",
  Refused: "the server has refused the refresh token",
  SubjectChanged: "a refresh came back with the identity of another user",
  Provider: "the server has ended it",
  Expired: "its time is over",
  Replaced: "the user has signed in anew",
  Elsewhere: "it was ended by another process"
}

/**
 * The session has ended, and the user has to sign in again.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionEnded
  extends Schema.TaggedError<SessionEnded>("@effect-oauth/oidc/SessionEnded")("SessionEnded", { reason: EndReason })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `the session has ended: ${endings[this.reason]}; the user has to sign in again`
  }
}

/**
 * The user's tokens are not renewed without the user, who has to sign in again. Nothing was cleared: the sign-in stays, and so
 * do its tokens.
 *
 * - `Interaction`: the server wants the user, with the code in `problem` (OpenID Connect Core 1.0 section 3.1.2.6).
 * - `Refused`: the server answered 400 or 401 and did not say why. It is asked again after 30 seconds.
 * - `Identity`: the refresh came back with an ID token that names another user and could not be verified. Its tokens were not
 *   kept.
 * - `Used`: the refresh token was presented before, and what came of it is not known any more.
 *
 * @since 0.1.0
 * @category errors
 */
export class SignInRequired
  extends Schema.TaggedError<SignInRequired>("@effect-oauth/oidc/SignInRequired")("SignInRequired", {
    clientName: Schema.String,
    reason: Schema.Literal("Interaction", "Refused", "Identity", "Used"),
    problem: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `client "${this.clientName}": ${this.problem}; the user has to sign in again`
  }
}

/**
 * A renewal was not begun: its result belongs into the session cookie, and the headers of the response have left already. A
 * server-side session has no such limit.
 *
 * @since 0.1.0
 * @category errors
 */
export class ResponseStarted
  extends Schema.TaggedError<ResponseStarted>("@effect-oauth/oidc/ResponseStarted")("ResponseStarted", {
    clientName: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `client "${this.clientName}": its token cannot be renewed while the response is being sent, since the session ` +
      `lives in a cookie: get the token before, or use server-side sessions (SessionStore)`
  }
}

/**
 * The store of sessions or of user tokens could not do what it was asked for. `problem` shows neither keys nor values.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionStoreError
  extends Schema.TaggedError<SessionStoreError>("@effect-oauth/oidc/SessionStoreError")("SessionStoreError", {
    operation: Schema.String,
    problem: Schema.String
  }, HttpApiSchema.annotations({ status: 503 }))
{
  get retryable(): boolean {
    return true
  }
  override get message(): string {
    return `session store, ${this.operation}: ${this.problem}`
  }
}

/**
 * The session does not fit into cookies. `size` and `limit` are bytes.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionTooLarge
  extends Schema.TaggedError<SessionTooLarge>("@effect-oauth/oidc/SessionTooLarge")("SessionTooLarge", {
    size: Schema.Number,
    limit: Schema.Number
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `the session is ${this.size} bytes long, ${this.limit} fit into cookies: use server-side sessions ` +
      `(SessionStore), or ask for fewer claims and tokens`
  }
}

/**
 * Sessions or the login are set up in a way that cannot work; found when the Layer is built.
 *
 * @since 0.1.0
 * @category errors
 */
export class SessionsInvalid
  extends Schema.TaggedError<SessionsInvalid>("@effect-oauth/oidc/SessionsInvalid")("SessionsInvalid", {
    field: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `sessions, ${this.field}: ${this.problem}`
  }
}

/**
 * An ID token is not what it has to be (OpenID Connect Core 1.0 section 3.1.3.7). `problem` does not quote it.
 *
 * @since 0.1.0
 * @category errors
 */
export class IdTokenInvalid
  extends Schema.TaggedError<IdTokenInvalid>("@effect-oauth/oidc/IdTokenInvalid")("IdTokenInvalid", {
    clientName: Schema.String,
    reason: Schema.Literal(
      "form",
      "algorithm",
      "type",
      "key",
      "signature",
      "iss",
      "sub",
      "aud",
      "azp",
      "exp",
      "iat",
      "nbf",
      "nonce",
      "at_hash",
      "auth_time",
      "acr"
    ),
    problem: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `client "${this.clientName}": the ID token was refused: ${this.problem}`
  }
}

/**
 * The server's answer about the user is not usable, or is about somebody else (OpenID Connect Core 1.0 section 5.3.4).
 *
 * @since 0.1.0
 * @category errors
 */
export class UserInfoInvalid
  extends Schema.TaggedError<UserInfoInvalid>("@effect-oauth/oidc/UserInfoInvalid")("UserInfoInvalid", {
    clientName: Schema.String,
    problem: Schema.String,
    retryable: Schema.Boolean
  })
{
  override get message(): string {
    return `client "${this.clientName}": userinfo was refused: ${this.problem}`
  }
}

/**
 * The server answered the login with an error (RFC 6749 section 4.1.2.1, OpenID Connect Core 1.0 section 3.1.2.6).
 *
 * @since 0.1.0
 * @category errors
 */
export class LoginRefused extends Schema.TaggedError<LoginRefused>("@effect-oauth/oidc/LoginRefused")("LoginRefused", {
  clientName: Schema.String,
  /** The code of the server, for example `access_denied` or `login_required`. */
  error: Schema.String,
  errorDescription: Schema.optional(Schema.String),
  /** Where the user wanted to go; a local path. */
  returnTo: Schema.String
}) {
  get retryable(): boolean {
    return this.error === "temporarily_unavailable" || this.error === "server_error"
  }
  override get message(): string {
    return `client "${this.clientName}": the server answered the login with ${this.error}` +
      (this.errorDescription === undefined ? "" : ` (${this.errorDescription})`)
  }
}

/**
 * What came back to the callback is not the answer to a login that this browser began.
 *
 * - `form`: parameters are missing, doubled or malformed.
 * - `state`: no login with this state was begun in this browser, or it took longer than it may, or it is finished already.
 * - `path`: the answer arrived at another path than the login was to come back to: that of another client (RFC 9700 section
 *   4.4.2).
 * - `issuer`: the answer is of another server than the login was sent to (RFC 9207).
 * - `signature`: the answer of this client is to be signed and is not, or not as it has to be (JARM).
 *
 * @since 0.1.0
 * @category errors
 */
export class LoginAnswerInvalid
  extends Schema.TaggedError<LoginAnswerInvalid>("@effect-oauth/oidc/LoginAnswerInvalid")("LoginAnswerInvalid", {
    reason: Schema.Literal("form", "state", "path", "issuer", "signature"),
    problem: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `this is not the answer to a login that was begun here: ${this.problem}`
  }
}

/**
 * A request that changes something did not come from a page of this site.
 *
 * @since 0.1.0
 * @category errors
 */
export class CrossSiteRequest extends Schema.TaggedError<CrossSiteRequest>("@effect-oauth/oidc/CrossSiteRequest")(
  "CrossSiteRequest",
  { problem: Schema.String },
  HttpApiSchema.annotations({ status: 403 })
) {
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `the request did not come from this site: ${this.problem}`
  }
}

/**
 * A logout token is not what it has to be (OpenID Connect Back-Channel Logout 1.0 section 2.6), or front-channel logout did
 * not name the session.
 *
 * @since 0.1.0
 * @category errors
 */
export class LogoutTokenInvalid
  extends Schema.TaggedError<LogoutTokenInvalid>("@effect-oauth/oidc/LogoutTokenInvalid")("LogoutTokenInvalid", {
    reason: Schema.Literal(
      "form",
      "algorithm",
      "type",
      "key",
      "signature",
      "iss",
      "aud",
      "iat",
      "exp",
      "nbf",
      "events",
      "nonce",
      "subject",
      "jti"
    ),
    problem: Schema.String
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return `the logout was refused: ${this.problem}`
  }
}

/**
 * An API wants the user to sign in again, more strongly or more recently (RFC 9470 section 3). `OidcLogin.stepUp` does it.
 *
 * @since 0.1.0
 * @category errors
 */
export class StepUpRequired
  extends Schema.TaggedError<StepUpRequired>("@effect-oauth/oidc/StepUpRequired")("StepUpRequired", {
    acrValues: Schema.optional(Schema.String),
    /** In seconds. */
    maxAge: Schema.optional(Schema.Number)
  })
{
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    const wanted = [
      ...(this.acrValues === undefined ? [] : [`acr ${this.acrValues}`]),
      ...(this.maxAge === undefined ? [] : [`a sign-in of the last ${this.maxAge} seconds`])
    ]
    return `the API wants a stronger sign-in of the user: ${
      wanted.length === 0 ? "it does not say which" : wanted.join(" and ")
    }`
  }
}

/**
 * The request needs a user who is signed in.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotSignedIn extends Schema.TaggedError<NotSignedIn>("@effect-oauth/oidc/NotSignedIn")(
  "NotSignedIn",
  {},
  HttpApiSchema.annotations({ status: 401 })
) {
  get retryable(): boolean {
    return false
  }
  override get message(): string {
    return "nobody is signed in"
  }
}
