/**
 * Where a token may go.
 */
import { OriginNotAllowed } from "../../OAuthError.ts"
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

const ofRetrievers = new WeakMap<object, ReadonlyArray<string>>()

/** @internal Says of a retriever that it has tokens for these origins only. */
export const confine = <T extends object>(retriever: T, origins: ReadonlyArray<string>): T => {
  ofRetrievers.set(retriever, origins)
  return retriever
}

/** @internal */
export const originsOfRetriever = (retriever: object): ReadonlyArray<string> | undefined => ofRetrievers.get(retriever)

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
