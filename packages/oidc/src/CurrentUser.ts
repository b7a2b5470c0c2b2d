/**
 * Who the current request, or connection, is of.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { NotSignedIn } from "./OidcError.ts"
import type { Principal } from "./Principal.ts"
import { principalOf, type Session } from "./Session.ts"

/**
 * Nobody is an answer too: anonymous requests have a session, with no principal in it.
 *
 * - `principal`: who is signed in, as far as the session knows now.
 * - `session`: where their tokens are.
 *
 * @effect-leakable-service
 * @since 0.1.0
 * @category tags
 */
export class CurrentUser extends Context.Tag("@effect-oauth/oidc/CurrentUser")<CurrentUser, {
  readonly principal: Option.Option<Principal>
  readonly session: Session
}>() {}

/**
 * @since 0.1.0
 * @category constructors
 */
export const ofSession = (session: Session): CurrentUser["Type"] => ({
  get principal() {
    return Option.fromNullable(principalOf(session.known))
  },
  session
})

/**
 * Who is signed in.
 *
 * @since 0.1.0
 * @category accessors
 */
export const principal: Effect.Effect<Option.Option<Principal>, never, CurrentUser> = Effect.map(
  CurrentUser,
  (user) => user.principal
)

/**
 * Who is signed in, or `NotSignedIn`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const required: Effect.Effect<Principal, NotSignedIn, CurrentUser> = Effect.flatMap(
  CurrentUser,
  (user) => Option.match(user.principal, { onNone: () => new NotSignedIn(), onSome: Effect.succeed })
)
