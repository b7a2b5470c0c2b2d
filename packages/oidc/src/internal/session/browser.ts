/**
 * The cookies of one request, and what its response is to do with them. One handler writes them all, so that none is lost
 * whoever sets it, in whichever fiber.
 */
import * as HttpApp from "@effect/platform/HttpApp"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { BrowserCookies } from "../../Session.ts"
import { type CookieValues, parse } from "../browser/cookies.ts"

/** @internal */
export interface Browser extends BrowserCookies {
  readonly values: CookieValues
  /** The name that a browser knows a cookie by. */
  readonly nameOf: (name: string) => string
  /** Whether the headers of the response are on their way. */
  readonly hasLeft: boolean
}

/** RFC 6265 section 4.1.1: no response can have set, or can take back, a cookie of another name. */
const isToken = (name: string): boolean => /^[\w!#$%&'*+\-.^`|~]+$/.test(name)

interface Change {
  readonly value: string
  readonly maxAge: Duration.DurationInput
  readonly sameSite: "lax" | "none"
}

const gone: Change = { value: "", maxAge: 0, sameSite: "lax" }

class RequestBrowser implements Browser {
  // Private, so that whoever prints a session sees no cookie of it.
  readonly #values: CookieValues
  readonly #changes = new Map<string, Change>()
  hasLeft = false
  readonly #secure: boolean

  constructor(header: string | undefined, secure: boolean) {
    this.#values = parse(header)
    this.#secure = secure
  }
  get values() {
    return this.#values
  }
  nameOf(name: string) {
    return this.#secure ? `__Host-${name}` : name
  }
  names(start: string) {
    const prefix = this.nameOf("")
    const wanted = this.nameOf(start)
    return [...this.values.keys()].filter((name) => name.startsWith(wanted) && isToken(name)).map((name) =>
      name.slice(prefix.length)
    )
  }
  get(name: string) {
    const values = this.values.get(this.nameOf(name))
    return values?.length === 1 ? values[0] : undefined
  }
  set(name: string, value: string, options: Parameters<BrowserCookies["set"]>[2]) {
    this.#changes.set(name, { value, maxAge: options.maxAge, sameSite: options.sameSite ?? "lax" })
  }
  remove(name: string) {
    this.#changes.set(name, gone)
  }
  /** A response that sets cookies of ours is nobody else's. */
  applyTo(response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse {
    if (this.#changes.size === 0) return response
    const uncached = "cache-control" in response.headers
      ? response
      : HttpServerResponse.setHeader(response, "cache-control", "no-store")
    return [...this.#changes].reduce(
      (changed, [name, { maxAge, sameSite, value }]) =>
        HttpServerResponse.unsafeSetCookie(changed, this.nameOf(name), value, {
          path: "/",
          httpOnly: true,
          // A browser takes SameSite=None with Secure only.
          secure: this.#secure,
          sameSite: sameSite === "none" && !this.#secure ? "lax" : sameSite,
          maxAge: Duration.decode(maxAge)
        }),
      uncached
    )
  }
}

/**
 * @internal The browser of a request. `prepare` runs once, just before the headers leave, and may change cookies still; it is
 * looked at when the response is made, so whoever opens the session may register it later.
 */
export const ofRequest = (
  request: HttpServerRequest.HttpServerRequest,
  secure: boolean
): Effect.Effect<{ readonly browser: Browser; readonly beforeLeaving: (prepare: Effect.Effect<void>) => void }> =>
  Effect.suspend(() => {
    const browser = new RequestBrowser(request.headers.cookie, secure)
    let last: Effect.Effect<void> = Effect.void
    return Effect.as(
      HttpApp.appendPreResponseHandler((_, response) =>
        Effect.map(Effect.suspend(() => last), () => {
          browser.hasLeft = true
          return browser.applyTo(response)
        })
      ),
      {
        browser,
        beforeLeaving: (prepare: Effect.Effect<void>) => {
          last = prepare
        }
      }
    )
  })

/** @internal Of a connection, which has no response to set cookies on. */
export const ofConnection = (request: HttpServerRequest.HttpServerRequest, secure: boolean): Browser => {
  const browser = new RequestBrowser(request.headers.cookie, secure)
  browser.hasLeft = true
  return browser
}

/** @internal Of nobody: a session that was opened by its key. */
export const none = (): Browser => new RequestBrowser(undefined, false)
