/**
 * The URI that a request goes to, in a form in which two of them compare (RFC 3986 section 6.2): scheme and host in lower
 * case, no default port, dot segments resolved, percent-escapes only where they are needed and in upper case, no query and
 * no fragment.
 */

// No user name, no backslash and no white space: WHATWG's URL would read another host out of those than others do.
const absolute = /^(https?):\/\/([^/?#\\@\s]+)(\/[^?#]*)?(?:[?#]|$)/i

const anyOrigin = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i

const unreserved = /^[A-Za-z0-9._~-]$/

/** An escape, or a character that a path cannot hold as it is. */
const escapable = /%[0-9a-f]{2}|[^A-Za-z0-9._~!$&'()*+,;=:@/%-]/giu

const encoder = new TextEncoder()

const escaped = (text: string): string =>
  [...encoder.encode(text)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("")

const normalEscape = (text: string): string => {
  if (!text.startsWith("%")) return escaped(text)
  const character = String.fromCharCode(Number.parseInt(text.slice(1), 16))
  return unreserved.test(character) ? character : text.toUpperCase()
}

/** RFC 3986 section 5.2.4, for a path that begins with a slash or is empty. */
const withoutDotSegments = (path: string): string => {
  if (!path.includes("/.")) return path
  const kept: Array<string> = []
  const segments = path.split("/").slice(1)
  segments.forEach((segment, index) => {
    if (segment === "..") kept.pop()
    else if (segment !== ".") return void kept.push(segment)
    if (index === segments.length - 1) kept.push("")
  })
  return `/${kept.join("/")}`
}

/** @internal Nothing, where it is no absolute `http:` or `https:` URI. */
export const normalize = (uri: string): string | undefined => {
  const [, scheme, authority, path = ""] = absolute.exec(uri) ?? []
  if (scheme === undefined) return undefined
  const base = `${scheme}://${authority}`
  if (!URL.canParse(base)) return undefined
  return `${new URL(base).origin}${withoutDotSegments(path.replace(escapable, normalEscape)) || "/"}`
}

/**
 * @internal The path, and query, of a request target, be it a path or absolute. What an absolute one says of scheme and host
 * is dropped, and a path of two slashes stays a path: a sender could write anybody's name there.
 */
export const pathOf = (target: string): string | undefined => {
  if (target.startsWith("/")) return target
  const origin = anyOrigin.exec(target)?.[0]
  return origin === undefined ? undefined : target.slice(origin.length)
}
