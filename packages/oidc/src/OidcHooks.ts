/**
 * Where a program takes part in signing in and out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Principal } from "./Principal.ts"
import type { Session } from "./Session.ts"

/**
 * Optional. A defect of `onSigningOut` is logged and does not stop the sign-out; one of the others fails the request.
 *
 * - `transformPrincipal`: at each sign-in and after each refresh, before the principal is kept: adds roles from a database,
 *   drops claims. Issuer and subject stay what they were.
 * - `onSignedIn`: after a sign-in, when the session is there.
 * - `onSigningOut`: before a sign-out.
 *
 * @since 0.1.0
 * @category tags
 */
export class OidcHooks extends Context.Tag("@effect-oauth/oidc/OidcHooks")<OidcHooks, {
  readonly transformPrincipal?: ((principal: Principal) => Effect.Effect<Principal>) | undefined
  readonly onSignedIn?: ((principal: Principal, session: Session) => Effect.Effect<void>) | undefined
  readonly onSigningOut?: ((principal: Principal, session: Session) => Effect.Effect<void>) | undefined
}>() {}
