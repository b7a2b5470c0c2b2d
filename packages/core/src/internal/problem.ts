import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/** @internal What was found, told by its shape: the value may be a secret that was put into the wrong field. */
export const shapeOf = (value: unknown): string => {
  if (value === undefined || value === null) return "nothing"
  if (typeof value === "string") return value === "" ? "an empty string" : `a string of ${value.length} characters`
  if (Redacted.isRedacted(value)) {
    const inner = Redacted.value(value)
    return typeof inner === "string" ? `a Redacted string of ${inner.length} characters` : "a Redacted value"
  }
  if (Array.isArray(value)) return "an array"
  return typeof value === "object" ? "an object" : `a ${typeof value}`
}

/** @internal */
export const found = (expected: string, value: unknown): string => `${expected}, found ${shapeOf(value)}`

/** @internal Reads one field by its schema; the left side is a sentence without the value. */
export const parseField = <A, I>(schema: Schema.Schema<A, I>, value: unknown): Either.Either<A, string> =>
  Either.mapLeft(Schema.decodeUnknownEither(schema)(value), (error) => found(error.message, value))

/** @internal What may be told of an error of somebody else's: its tag or its name, never its text. */
export const nameOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string"
    ? error._tag
    : error instanceof Error
    ? error.name
    : "an error without a name"
