/**
 * How an API refuses a call, see `ResourceServer`. Each goes into an answer as it is, so it holds nothing of the token, and the
 * client of an `HttpApi` reads the same out of it.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Schema from "effect/Schema"

/**
 * No token, one that is no good here, or no sign-in as it has to be: 401. `error` is the one of the challenge; a request
 * without a token has none (RFC 6750 section 3.1). `maxAge` is in seconds.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>("@effect-oauth/core/Unauthorized")("Unauthorized", {
  error: Schema.optional(Schema.String),
  problem: Schema.String,
  acrValues: Schema.optional(Schema.Array(Schema.String)),
  maxAge: Schema.optional(Schema.Number)
}, HttpApiSchema.annotations({ status: 401 })) {
  override get message(): string {
    return this.problem
  }
}

/**
 * The token is good, and does not allow this: 403. `scope` is what it would take.
 *
 * @since 0.1.0
 * @category errors
 */
export class Forbidden extends Schema.TaggedError<Forbidden>("@effect-oauth/core/Forbidden")("Forbidden", {
  error: Schema.Literal("insufficient_scope"),
  scope: Schema.Array(Schema.String)
}, HttpApiSchema.annotations({ status: 403 })) {
  override get message(): string {
    return `this needs the scope ${this.scope.join(" ")}`
  }
}

/**
 * Whether the token is good is not known at the moment: 503.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unavailable extends Schema.TaggedError<Unavailable>("@effect-oauth/core/Unavailable")("Unavailable", {
  /** In seconds. */
  retryAfter: Schema.Number
}, HttpApiSchema.annotations({ status: 503 })) {
  override get message(): string {
    return "whether this access token is good is not known at the moment"
  }
}

/**
 * What an `HttpApi` says a call can be refused with.
 *
 * @since 0.1.0
 * @category errors
 */
export const Refusal = Schema.Union(Unauthorized, Forbidden, Unavailable)

/**
 * @since 0.1.0
 * @category errors
 */
export type Refusal = typeof Refusal.Type

/**
 * @since 0.1.0
 * @category guards
 */
export const isRefusal: (error: unknown) => error is Refusal = Schema.is(Refusal)

/**
 * @since 0.1.0
 * @category accessors
 */
export const statusOf = (refusal: Refusal): 401 | 403 | 503 => {
  switch (refusal._tag) {
    case "Unauthorized":
      return 401
    case "Forbidden":
      return 403
    case "Unavailable":
      return 503
  }
}
