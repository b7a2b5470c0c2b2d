/**
 * The `Cookie` header (RFC 6265 section 5.4), and values that are too long for one cookie. Values are ASCII: base64url and
 * dots.
 */
import * as Either from "effect/Either"

/** @internal By name, in the order of the header. */
export type CookieValues = ReadonlyMap<string, ReadonlyArray<string>>

/** @internal Bytes of value that all chunks of one cookie may have. Servers accept 16 KiB of headers altogether. */
export const totalLimit = 12 * 1024

/** Name and value of one cookie stay below this; browsers accept 4,096 bytes, some of them with the attributes. */
const cookieLimit = 3900

/** Of ".99" in a name and "99." in a value. */
const chunkMarks = 6

const quoted = /^"([^"]*)"$/

const blank = (character: string | undefined): boolean => character === " " || character === "\t"

/**
 * Only what browsers take off as well. `trim` knows more kinds of space than they do: with it, a cookie of a name that they
 * let a neighbouring site set would become one of the `__Host-` name that they protect.
 */
const stripped = (text: string): string => {
  let start = 0
  let end = text.length
  while (start < end && blank(text[start])) start++
  while (end > start && blank(text[end - 1])) end--
  return text.slice(start, end)
}

/** @internal Whatever has no name or no "=" is left out. A quote does not hold a value together: browsers know no such thing. */
export const parse = (header: string | undefined): CookieValues => {
  const cookies = new Map<string, Array<string>>()
  for (const pair of header?.split(";") ?? []) {
    const equals = pair.indexOf("=")
    const name = stripped(pair.slice(0, Math.max(equals, 0)))
    if (name === "") continue
    const value = stripped(pair.slice(equals + 1))
    const bare = quoted.exec(value)?.[1] ?? value
    const others = cookies.get(name)
    if (others === undefined) cookies.set(name, [bare])
    else others.push(bare)
  }
  return cookies
}

/**
 * @internal One cookie `name` where it fits, else `name.0`, `name.1` and so on, the first of which says how many there are.
 * A value above `totalLimit` is split as well, and `join` refuses it.
 */
export const split = (name: string, value: string): ReadonlyArray<readonly [name: string, value: string]> => {
  if (name.length + value.length < cookieLimit) return [[name, value]]
  const room = Math.max(cookieLimit - 1 - name.length - chunkMarks, 1)
  const count = Math.ceil(value.length / room)
  return Array.from({ length: count }, (_, index) => {
    const chunk = value.slice(index * room, (index + 1) * room)
    return [`${name}.${index}`, index === 0 ? `${count}.${chunk}` : chunk]
  })
}

const chunkNumber = /^\.(?:0|[1-9]\d?)$/

/**
 * @internal Every cookie of the request that `split` may have made of this name: those that are not written again have to be
 * deleted. Together with the one cookie `name` a `name.0` has to be deleted even if it is not here, and the reverse, since a
 * response to another request may have set it meanwhile.
 */
export const namesOf = (cookies: CookieValues, name: string): ReadonlyArray<string> =>
  [...cookies.keys()].filter((one) =>
    one.startsWith(name) && (one.length === name.length || chunkNumber.test(one.slice(name.length)))
  )

const firstChunk = /^([1-9]\d?)\.([^]*)$/

const single = (cookies: CookieValues, name: string): Either.Either<string | undefined, string> => {
  const [value, ...others] = cookies.get(name) ?? []
  return others.length === 0 ? Either.right(value) : Either.left("a cookie is there more than once")
}

const joined = (cookies: CookieValues, name: string): Either.Either<string, string> => {
  const first = single(cookies, `${name}.0`)
  if (Either.isLeft(first)) return Either.left(first.left)
  if (first.right === undefined) return Either.left("a chunk of a cookie is missing")
  const [, count, start] = firstChunk.exec(first.right) ?? []
  if (count === undefined || start === undefined) {
    return Either.left("a chunked cookie does not say how many chunks it has")
  }
  const parts = [start]
  for (let index = 1; index < Number(count); index++) {
    const part = single(cookies, `${name}.${index}`)
    if (Either.isLeft(part)) return Either.left(part.left)
    if (part.right === undefined) return Either.left("a chunk of a cookie is missing")
    parts.push(part.right)
  }
  return Either.right(parts.join(""))
}

/**
 * @internal The value that was split; right `undefined` where there is no such cookie, left what is wrong with it. A chunk
 * beyond the number that the first one says is passed over: it is the leftover of a longer value, which a response that
 * overtook another can leave behind. Chunks of two values of one length are told apart by their seal only.
 */
export const join = (cookies: CookieValues, name: string): Either.Either<string | undefined, string> => {
  const names = namesOf(cookies, name)
  if (names.length === 0) return Either.right(undefined)
  const whole = names.includes(name)
  if (whole && cookies.has(`${name}.0`)) return Either.left("a cookie is there both whole and in chunks")
  const value = whole ? single(cookies, name) : joined(cookies, name)
  return Either.filterOrLeft(
    value,
    (text) => text === undefined || text.length <= totalLimit,
    () => `a cookie is longer than ${totalLimit} bytes`
  )
}
