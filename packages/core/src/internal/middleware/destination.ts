/**
 * Where a token may go.
 */
import type { AccessToken } from "../../AccessToken.ts"
import { OriginNotAllowed } from "../../OAuthError.ts"
import { bind, possessionOf } from "../dpop/possession.ts"
import { insecure, isOrigin } from "../url.ts"

/** @internal `URL.origin` is "null" for schemes that the web does not know. */
export const originOf = (url: string): string => {
  if (!URL.canParse(url)) return ""
  const { host, protocol } = new URL(url)
  return `${protocol}//${host}`
}

/** @internal */
export const parseOrigin = (origin: string, where: string): string => {
  if (isOrigin(origin)) return new URL(origin).origin
  throw new TypeError(`${where}: expected an origin such as https://api.example.com, without path`)
}

const originsOf = (allowed: ReadonlyArray<string>): ReadonlySet<string> =>
  new Set(allowed.map((origin, index) => parseOrigin(origin, `allowedOrigins[${index}]`)))

/** @internal Where a token may go, in the words of `OriginNotAllowed`; `undefined` where it may go to this URL. */
export const beyond = (
  allowedOrigins: ReadonlyArray<string> | undefined,
  url: string
): OriginNotAllowed | undefined => {
  if (allowedOrigins === undefined) return undefined
  const origin = originOf(url)
  return allowedOrigins.includes(origin)
    ? undefined
    : new OriginNotAllowed({ origin, problem: `tokens are known for ${allowedOrigins.join(", ")} only` })
}

/**
 * @internal Tokens that may go to these origins only. It is the token that says so, since whatever function it comes through
 * hands it on. Of a token that is used again the copy stays the same.
 */
export const confining = (origins: ReadonlyArray<string>) => {
  const copies = new WeakMap<AccessToken, AccessToken>()
  const originals = new WeakMap<AccessToken, AccessToken>()
  const copied = (token: AccessToken): AccessToken => {
    const { allowedOrigins = origins } = token
    const copy = Object.assign(Object.create(Object.getPrototypeOf(token)) as AccessToken, token, {
      allowedOrigins: origins.filter((origin) => allowedOrigins.includes(origin))
    })
    copies.set(token, copy)
    originals.set(copy, token)
    return copy
  }
  return {
    confine: (token: AccessToken): AccessToken => {
      const copy = copies.get(token) ?? copied(token)
      const possession = possessionOf(token)
      if (possession !== undefined) bind(copy, possession)
      return copy
    },
    /** The token as it was before. */
    original: (token: AccessToken): AccessToken => originals.get(token) ?? token
  }
}

/** @internal Why no token may be sent to a URL, or `undefined` where it may. */
export interface Policy {
  (url: string): OriginNotAllowed | undefined
}

/** @internal A relative URL is its client's own affair, unless origins are named. */
export const policy = (options: {
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  readonly allowInsecure?: boolean | undefined
}): Policy => {
  const allowed = options.allowedOrigins === undefined ? undefined : originsOf(options.allowedOrigins)
  return (url) => {
    if (allowed !== undefined && !allowed.has(originOf(url))) {
      return new OriginNotAllowed({ origin: originOf(url), problem: `allowedOrigins are ${[...allowed].join(", ")}` })
    }
    if (url.startsWith("https://") || !URL.canParse(url)) return undefined
    const problem = insecure(new URL(url), options.allowInsecure === true)
    return problem === undefined ? undefined : new OriginNotAllowed({ origin: originOf(url), problem })
  }
}
