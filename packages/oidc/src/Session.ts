/**
 * A session: who is signed in, in one browser, and how their tokens are reached.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { EndReason, SessionEnded, SessionStoreError, SessionTooLarge } from "./OidcError.ts"
import { Principal } from "./Principal.ts"
import { UserTokens } from "./UserTokens.ts"

/**
 * One user, signed in with one client. Without `tokens`, they are in a `UserTokenStore` of their own.
 *
 * - `clientId`: the client id of the registration. With the issuer of the principal it says which registration the sign-in
 *   belongs to; for another one it does not count. Where it is absent, `Sessions` writes that of the registration by then.
 *
 * @since 0.1.0
 * @category models
 */
export class SignIn extends Schema.Class<SignIn>("@effect-oauth/oidc/SignIn")({
  principal: Principal,
  clientId: Schema.optional(Schema.String),
  tokens: Schema.optional(UserTokens)
}) {}

/**
 * What is kept of a session. Its tokens are encoded in clear: whoever writes it down seals it.
 *
 * - `signIns`: by the name of the client.
 * - `primary`: the client that the user signed in with first, or last anew.
 * - `startedAt`, `seenAt`: in milliseconds since 1970.
 * - `loginId`: of a session without a browser, a random id of the login that began it.
 *
 * @since 0.1.0
 * @category models
 */
export class SessionContent extends Schema.Class<SessionContent>("@effect-oauth/oidc/SessionContent")({
  signIns: Schema.Record({ key: Schema.String, value: SignIn }),
  primary: Schema.String,
  startedAt: Schema.Number,
  seenAt: Schema.Number,
  loginId: Schema.optional(Schema.String)
}) {}

/**
 * A content, and the version that it is written over by.
 *
 * @since 0.1.0
 * @category models
 */
export interface Kept {
  readonly content: SessionContent
  readonly version: string
}

/**
 * The cookies of a request, and those that its response sets: `HttpOnly`, `Path=/`, `SameSite=Lax`, and over https `Secure`
 * with the `__Host-` prefix, which `name` is given without.
 *
 * @since 0.1.0
 * @category models
 */
export interface BrowserCookies {
  /** Names of the request's cookies that begin like this, as they were given to `set`. */
  readonly names: (start: string) => ReadonlyArray<string>
  /** Absent if there is none, or more than one. */
  readonly get: (name: string) => string | undefined
  readonly set: (
    name: string,
    value: string,
    options: { readonly maxAge: Duration.DurationInput; readonly sameSite?: "lax" | "none" | undefined }
  ) => void
  readonly remove: (name: string) => void
}

/**
 * The session of one request, or of one long-lived connection.
 *
 * - `key`: names the session in locks and events; absent as long as nobody has signed in. It is no secret, and no cookie
 *   can be made of it.
 * - `known`: what this handle knows of the session, without asking. May be outdated.
 * - `read`: what is newest. `write` keeps a content in its place, if `ifVersion` is the newest still.
 * - `start`: signs in; the session has another key from then on, and its cookie another value.
 * - `end`: of all of it, here and in every process.
 * - `ended`: ends when the session does.
 * - `isWritable`: false where the session lives in a cookie and the response has begun.
 *
 * @since 0.1.0
 * @category models
 */
export interface Session {
  readonly key: string | undefined
  readonly known: SessionContent | undefined
  readonly read: Effect.Effect<Option.Option<Kept>, SessionStoreError>
  readonly write: (content: SessionContent, ifVersion: string) => Effect.Effect<boolean, SessionStoreError>
  readonly start: (content: SessionContent) => Effect.Effect<void, SessionStoreError | SessionTooLarge>
  readonly end: (reason: EndReason) => Effect.Effect<void, SessionStoreError>
  readonly ended: Effect.Effect<SessionEnded>
  readonly isWritable: boolean
  readonly cookies: BrowserCookies
}

/**
 * The user of a content: of the client that is named, else of the primary one.
 *
 * @since 0.1.0
 * @category accessors
 */
export const principalOf = (content: SessionContent | undefined, clientName?: string): Principal | undefined =>
  content?.signIns[clientName ?? content.primary]?.principal

/**
 * With what this says of one client; `undefined` signs it out. Without any sign-in left there is no content.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withSignIn = (
  content: SessionContent,
  clientName: string,
  signIn: SignIn | undefined
): SessionContent | undefined => {
  const { [clientName]: _, ...others } = content.signIns
  const signIns = signIn === undefined ? others : { ...others, [clientName]: signIn }
  const [first] = Object.keys(signIns)
  if (first === undefined) return undefined
  return new SessionContent({ ...content, signIns, primary: content.primary in signIns ? content.primary : first })
}
