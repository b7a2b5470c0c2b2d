/**
 * Redirects as fetch follows them (WHATWG Fetch, HTTP-redirect fetch).
 */
import { originOf } from "../middleware/destination.ts"

/** @internal One request of a call. */
export interface Hop {
  readonly url: string
  readonly method: string
  readonly headers: Headers
  readonly body: BodyInit | null | undefined
}

/** @internal */
export const limit = 20

const statuses = new Set([301, 302, 303, 307, 308])

const ofBody = ["content-encoding", "content-language", "content-location", "content-type", "content-length"]

/** What the caller meant for the origin that it named. */
const ofOrigin = ["authorization", "proxy-authorization", "cookie", "host"]

const becomesGet = (method: string, status: number): boolean =>
  status === 303 ? method !== "GET" && method !== "HEAD" : status < 303 && method === "POST"

/** @internal Whether it is an answer that leads elsewhere, as far as can be seen. */
export const isRedirect = (response: Response): boolean =>
  response.type === "opaqueredirect" || (statuses.has(response.status) && response.headers.has("location"))

/** @internal The next request, or why there is none. */
export const nextHop = (hop: Hop, response: Response, isReplayable: boolean): Hop | string => {
  const location = response.headers.get("location")
  if (location === null) return "this fetch does not tell where a redirect leads"
  if (!URL.canParse(location, hop.url)) return "a redirect leads to something that is no URL"
  const target = new URL(location, hop.url)
  if (target.protocol !== "https:" && target.protocol !== "http:") {
    return "a redirect leads to something that is not HTTP"
  }
  if (target.hash === "") target.hash = new URL(hop.url).hash

  const headers = new Headers(hop.headers)
  const leaves = originOf(target.href) !== originOf(hop.url)
  for (const name of leaves ? ofOrigin : []) headers.delete(name)
  if (!becomesGet(hop.method, response.status)) {
    return isReplayable || hop.body == null
      ? { ...hop, url: target.href, headers }
      : "a redirect asks for a body that can be sent only once"
  }
  for (const name of ofBody) headers.delete(name)
  return { url: target.href, method: "GET", headers, body: undefined }
}
