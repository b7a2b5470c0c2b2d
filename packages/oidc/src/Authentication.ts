/**
 * The same for an `HttpApi`: middleware that gives its endpoints the user.
 *
 * @since 0.1.0
 */
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { CurrentUser, ofSession } from "./CurrentUser.ts"
import { NotSignedIn, SessionStoreError } from "./OidcError.ts"
import { Sessions } from "./Sessions.ts"

/**
 * Opens the session and gives `CurrentUser`; anonymous requests pass. A store that does not answer is a 503.
 *
 * @since 0.1.0
 * @category tags
 */
export class Authentication extends HttpApiMiddleware.Tag<Authentication>()("@effect-oauth/oidc/Authentication", {
  provides: CurrentUser,
  failure: SessionStoreError
}) {}

/**
 * Opens the session and gives `CurrentUser`; where nobody is signed in it answers with 401.
 *
 * @example
 * ```ts
 * import { Authentication } from "@effect-oauth/oidc"
 * import { HttpApiEndpoint, HttpApiGroup } from "@effect/platform"
 * import { Schema } from "effect"
 *
 * export const invoices = HttpApiGroup.make("invoices").add(
 *   HttpApiEndpoint.get("list", "/invoices").addSuccess(Schema.Array(Schema.String))
 * ).middleware(Authentication.RequiredAuthentication)
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class RequiredAuthentication
  extends HttpApiMiddleware.Tag<RequiredAuthentication>()("@effect-oauth/oidc/RequiredAuthentication", {
    provides: CurrentUser,
    failure: Schema.Union(NotSignedIn, SessionStoreError)
  })
{}

/**
 * Both of them.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Authentication | RequiredAuthentication, never, Sessions> = Layer.merge(
  Layer.effect(Authentication, Effect.map(Sessions, ({ open }) => Effect.map(open, ofSession))),
  Layer.effect(
    RequiredAuthentication,
    Effect.map(Sessions, ({ open }) =>
      Effect.filterOrFail(
        Effect.map(open, ofSession),
        ({ principal }) => Option.isSome(principal),
        () => new NotSignedIn()
      ))
  )
)
