/** A browser's cookies, for requests that need no network. */
import type { HttpServerResponse } from "@effect/platform"
import { Cookies } from "@effect/platform"

export class Browser {
  /** The `Set-Cookie` lines of the last response. */
  last: ReadonlyArray<string> = []

  constructor(readonly jar: Map<string, string> = new Map()) {}

  get header(): string {
    return [...this.jar].map(([name, value]) => `${name}=${value}`).join("; ")
  }

  keep(response: HttpServerResponse.HttpServerResponse): void {
    this.last = Cookies.toSetCookieHeaders(response.cookies)
    for (const line of this.last) {
      const [pair = ""] = line.split("; ")
      const equals = pair.indexOf("=")
      if (/max-age=0(?:;|$)/i.test(line)) this.jar.delete(pair.slice(0, equals))
      else this.jar.set(pair.slice(0, equals), pair.slice(equals + 1))
    }
  }

  /** As it is now: one that does not learn of what comes later. */
  copy(): Browser {
    return new Browser(new Map(this.jar))
  }
}
