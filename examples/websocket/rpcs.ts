/** What a page and its server know of each other. */
import { CurrentUser, OidcError } from "@effect-oauth/oidc"
import { Rpc, RpcGroup, RpcMiddleware } from "@effect/rpc"
import { Schema } from "effect"

export class Invoice extends Schema.Class<Invoice>("Invoice")({
  number: Schema.String,
  customer: Schema.String,
  amount: Schema.Number
}) {}

/** The API does not answer, or not as it should. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {}) {}

/** Gives a call the user of the connection that it came by. */
export class User extends RpcMiddleware.Tag<User>()("User", {
  provides: CurrentUser.CurrentUser,
  failure: OidcError.NotSignedIn
}) {}

export class Rpcs extends RpcGroup.make(
  Rpc.make("invoices", {
    success: Schema.Array(Invoice),
    error: Schema.Union(OidcError.SessionEnded, Unavailable),
    stream: true
  })
).middleware(User) {}
