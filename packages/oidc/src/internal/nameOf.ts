/**
 * What may be told of an error of somebody else's: its tag or its name, never its text.
 */
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"

/** @internal */
export const nameOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string"
    ? error._tag
    : error instanceof Error
    ? error.name
    : "an error without a name"

/** @internal */
export const causeOf = (cause: Cause.Cause<unknown>): string =>
  Cause.isInterruptedOnly(cause) ? "an interruption" : nameOf(Cause.squash(cause))
