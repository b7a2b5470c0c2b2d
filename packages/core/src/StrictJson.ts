/**
 * JSON from outside: answers of servers, JWTs, cookies, entries of shared stores. It is read by one function, which refuses
 * what later code cannot be trusted with: bytes that are not UTF-8, more levels than a recursive function can walk, and a
 * member that is there twice, of which two readers may take different ones (RFC 8259 sections 4, 8.1 and 9).
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/**
 * - `maxSize`: in bytes of UTF-8. Default 1 MiB.
 * - `maxDepth`: levels of objects and arrays inside each other. Default 64.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly maxSize?: number | undefined
  readonly maxDepth?: number | undefined
}

/**
 * Why a text is refused. `problem` continues a sentence that begins with the name of the text, and quotes nothing of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Refused {
  readonly reason: "size" | "encoding" | "syntax" | "depth" | "duplicate" | "kind"
  readonly problem: string
}

const refused = (reason: Refused["reason"], problem: string) => Either.left<Refused>({ reason, problem })

const decoder = new TextDecoder("utf-8", { fatal: true })

const decode = (bytes: Uint8Array): string | undefined => {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** A UTF-16 unit is at most three bytes, so most texts need not be encoded to know that they are small enough. */
const isWithin = (source: string | Uint8Array, maxSize: number): boolean => {
  if (typeof source !== "string") return source.byteLength <= maxSize
  return source.length * 3 <= maxSize ||
    (source.length <= maxSize && new TextEncoder().encode(source).byteLength <= maxSize)
}

/** The index of the quote that ends a string, of which `start` is the first character; the end of the text if none does. */
const endOfString = (text: string, start: number): number => {
  for (let end = text.indexOf("\"", start); end !== -1; end = text.indexOf("\"", end + 1)) {
    let escapes = 0
    while (end - escapes > start && text.charCodeAt(end - escapes - 1) === 0x5c) escapes += 1
    if (escapes % 2 === 0) return end
  }
  return text.length
}

interface Shape {
  readonly depth: number
  /** Colons outside of strings: as many as the text has members, if it is JSON. */
  readonly members: number
}

/** Before the text is parsed, so that no parser has to walk more than `maxDepth` levels. */
const shapeOf = (text: string, maxDepth: number): Shape => {
  let depth = 0
  let deepest = 0
  let members = 0
  for (let index = 0; index < text.length && deepest <= maxDepth; index += 1) {
    switch (text.charCodeAt(index)) {
      case 0x22: // "
        index = endOfString(text, index + 1)
        break
      case 0x3a: // :
        members += 1
        break
      case 0x5b: // [
      case 0x7b: // {
        depth += 1
        deepest = Math.max(deepest, depth)
        break
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1
        break
    }
  }
  return { depth: deepest, members }
}

/** The members that parsing left: of two of one name, one. */
const membersIn = (value: unknown): number => {
  if (typeof value !== "object" || value === null) return 0
  const inside = Array.isArray(value) ? value : Object.values(value)
  let members = Array.isArray(value) ? 0 : inside.length
  for (const item of inside) members += membersIn(item)
  return members
}

/**
 * Reads a text or its bytes. A byte order mark at the beginning of bytes is ignored (RFC 8259 section 8.1). Never throws.
 *
 * @example
 * ```ts
 * import { StrictJson } from "@effect-oauth/core"
 * import { Either } from "effect"
 *
 * const twice = StrictJson.parse(`{"sub":"alice","sub":"mallory"}`)
 * console.log(Either.isLeft(twice) && twice.left.problem) // "is JSON with a member that is there twice"
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (
  source: string | Uint8Array,
  { maxDepth = 64, maxSize = 1024 * 1024 }: Options = {}
): Either.Either<unknown, Refused> => {
  if (!isWithin(source, maxSize)) return refused("size", `is larger than ${maxSize} bytes`)
  const text = typeof source === "string" ? source : decode(source)
  if (text === undefined) return refused("encoding", "is not UTF-8")
  const { depth, members } = shapeOf(text, maxDepth)
  if (depth > maxDepth) return refused("depth", `has more than ${maxDepth} levels`)
  try {
    const value: unknown = JSON.parse(text)
    return membersIn(value) === members
      ? Either.right(value)
      : refused("duplicate", "is JSON with a member that is there twice")
  } catch {
    return refused("syntax", "is not JSON")
  }
}

/**
 * The same, for what has to be an object.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseObject = (
  source: string | Uint8Array,
  options?: Options
): Either.Either<Readonly<Record<string, unknown>>, Refused> =>
  Either.flatMap(
    parse(source, options),
    (value) => Predicate.isReadonlyRecord(value) ? Either.right(value) : refused("kind", "is JSON, but not an object")
  )

/** An entry wraps what was read from a server, and is as large as it was written. */
const ofEntries: Options = { maxDepth: 128, maxSize: Number.POSITIVE_INFINITY }

const text: Schema.Schema<unknown, string> = Schema.transformOrFail(Schema.String, Schema.Unknown, {
  strict: true,
  decode: (source, _, ast) =>
    Either.mapLeft(parse(source, ofEntries), ({ problem }) => new ParseResult.Type(ast, source, `the text ${problem}`)),
  encode: (value, _, ast) =>
    ParseResult.try({
      try: () => JSON.stringify(value),
      catch: () => new ParseResult.Type(ast, value, "the value cannot be written as JSON")
    })
})

/**
 * `Schema.parseJson` for cookies and entries of stores, which this library wrote and others may have changed: of at most 128
 * levels and any size.
 *
 * @since 0.1.0
 * @category schemas
 */
export const schema = <A, I, R>(self: Schema.Schema<A, I, R>): Schema.Schema<A, string, R> =>
  Schema.compose(text, self, { strict: false })
