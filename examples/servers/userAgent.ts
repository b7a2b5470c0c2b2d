/** A person with a browser, as far as HTTP goes: keeps cookies for each host and port, follows redirects, fills in forms. */

interface Cookie {
  readonly value: string
  readonly attributes: string
}

export interface Page {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

export class UserAgent {
  readonly jars = new Map<string, Map<string, Cookie>>()
  /** Each address that was asked for. */
  readonly visited: Array<string> = []

  jarOf(url: string): Map<string, Cookie> {
    const { host } = new URL(url)
    const jar = this.jars.get(host) ?? new Map<string, Cookie>()
    this.jars.set(host, jar)
    return jar
  }

  cookieHeader(url: string): string {
    return [...this.jarOf(url)].map(([name, { value }]) => `${name}=${value}`).join("; ")
  }

  keep(url: string, setCookies: ReadonlyArray<string>): void {
    const jar = this.jarOf(url)
    for (const line of setCookies) {
      const [pair = "", ...attributes] = line.split("; ")
      const name = pair.slice(0, pair.indexOf("="))
      const value = pair.slice(pair.indexOf("=") + 1)
      if (/max-age=0(?:;|$)/i.test(attributes.join("; ")) || value === "") jar.delete(name)
      else jar.set(name, { value, attributes: attributes.join("; ") })
    }
  }

  /** One request and its answer. */
  async send(url: string, init: RequestInit & { readonly headers?: Record<string, string> } = {}): Promise<Page> {
    this.visited.push(url)
    const cookie = this.cookieHeader(url)
    const headers = { ...(cookie === "" ? {} : { cookie }), ...init.headers }
    const response = await fetch(url, { ...init, headers, redirect: "manual" })
    this.keep(url, response.headers.getSetCookie())
    return { url, status: response.status, headers: response.headers, body: await response.text() }
  }

  /** With the redirects that follow, until a page is there or an address that `stopAt` wants. */
  async go(
    url: string,
    init: Parameters<UserAgent["send"]>[1] = {},
    stopAt: (url: string) => boolean = () => false
  ): Promise<Page> {
    let page = await this.send(url, init)
    for (let hops = 0; hops < 20; hops++) {
      const location = page.headers.get("location")
      if (page.status < 300 || page.status >= 400 || location === null) return page
      const next = new URL(location, page.url).href
      if (stopAt(next)) return { ...page, url: next }
      page = await this.send(next)
    }
    throw new Error("too many redirects")
  }

  /** Fills in the login and consent pages of the authorization server, whichever are shown. */
  async through(page: Page, userName: string, stopAt?: (url: string) => boolean): Promise<Page> {
    let current = page
    for (let pages = 0; pages < 4; pages++) {
      const step = /data-authorization-server="(\w+)"/.exec(current.body)?.[1]
      if (step !== "login" && step !== "consent") return current
      const body = new URLSearchParams(step === "login" ? { login: userName } : {})
      const headers = { "content-type": "application/x-www-form-urlencoded" }
      current = await this.go(current.url, { method: "POST", body, headers }, stopAt)
    }
    return current
  }

  async signIn(url: string, userName: string, stopAt?: (url: string) => boolean): Promise<Page> {
    return this.through(await this.go(url, {}, stopAt), userName, stopAt)
  }

  /** Opens the address that a device shows, types in the code and says yes, or no. The page that is there at the end. */
  async enterCode(url: string, userCode: string, userName: string, answer: "yes" | "no" = "yes"): Promise<Page> {
    const asking = await this.go(url)
    const send = (page: Page, fields: Record<string, string>) => {
      const form = /<form[^>]*action="([^"]+)"/.exec(page.body)?.[1]
      const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.body)?.[1]
      return this.post(form ?? page.url, { xsrf: xsrf ?? "", user_code: userCode, ...fields })
    }
    const confirming = await send(asking, {})
    if (!confirming.body.includes("data-authorization-server=\"confirm\"")) return confirming
    return this.through(await send(confirming, answer === "yes" ? { confirm: "yes" } : { abort: "yes" }), userName)
  }

  /** As a form of the page's own site does. */
  async post(url: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}): Promise<Page> {
    return this.go(url, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        origin: new URL(url).origin,
        "sec-fetch-site": "same-origin",
        ...headers
      }
    })
  }
}
