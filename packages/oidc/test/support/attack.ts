/** An app and a provider that a test can bend, and what is looked at after an attack. */
import { assert } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { type Page, UserAgent } from "../../../../examples/servers/userAgent.ts"
import * as Provider from "./provider.ts"
import * as WebApp from "./webApp.ts"

export const clientSecret = Redacted.make("the-secret-of-the-client")

export const registration = (provider: Provider.Provider, clientId = "web") => ({
  issuer: provider.issuer,
  clientId,
  clientSecret
})

/** An app, its provider, and somebody with a browser. */
export const start = <P = never, Q = never>(
  client: Readonly<Record<string, unknown>> = {},
  options: WebApp.Options<P, Q> = {}
) =>
  Effect.gen(function*() {
    const provider = yield* Provider.start
    const app = yield* WebApp.serve({ clients: { web: { ...registration(provider), ...client } }, ...options })
    return { provider, app, browser: new UserAgent() }
  })

export const go = (browser: UserAgent, url: string, stopAt?: (url: string) => boolean) =>
  Effect.promise(() => browser.go(url, {}, stopAt))

export const post = (
  browser: UserAgent,
  url: string,
  fields?: Record<string, string>,
  headers?: Record<string, string>
) => Effect.promise(() => browser.post(url, fields, headers))

export const send = (browser: UserAgent, url: string, init?: Parameters<UserAgent["send"]>[1]) =>
  Effect.promise(() => browser.send(url, init))

export const isCallback = (url: string): boolean => new URL(url).pathname.startsWith("/auth/callback")

/** A login up to the provider's answer, which the browser has not brought back yet. */
export const answerOf = (app: WebApp.WebApp, browser: UserAgent, query = "") =>
  Effect.map(go(browser, `${app.url}/auth/login${query}`, isCallback), ({ url }) => url)

export const login = (app: WebApp.WebApp, browser: UserAgent, query = "") =>
  go(browser, `${app.url}/auth/login${query}`)

/** Of an answer, with one parameter changed; `undefined` takes it out. */
export const changed = (url: string, name: string, value: string | undefined): string => {
  const changed = new URL(url)
  if (value === undefined) changed.searchParams.delete(name)
  else changed.searchParams.set(name, value)
  return changed.href
}

export const me = (app: WebApp.WebApp, browser: UserAgent) =>
  Effect.map(go(browser, `${app.url}/auth/me`), ({ body }): unknown => JSON.parse(body))

export const everybody = (app: WebApp.WebApp, browser: UserAgent) =>
  Effect.map(
    go(browser, `${app.url}/everybody`),
    ({ body }): Record<string, { readonly sub: string; readonly claims: Record<string, unknown> }> => JSON.parse(body)
  )

export const isNobody = (app: WebApp.WebApp, browser: UserAgent) =>
  Effect.map(me(app, browser), (who) => assert.deepStrictEqual(who, { signedIn: false }))

export const isSomebody = (app: WebApp.WebApp, browser: UserAgent, sub = "alice") =>
  Effect.map(me(app, browser), (who) => assert.deepInclude(who, { signedIn: true, sub }))

/** The page says what the error was, and nobody is signed in. */
export const isRefused = (app: WebApp.WebApp, browser: UserAgent, page: Page, error: string) =>
  Effect.zipRight(
    Effect.sync(() => assert.deepStrictEqual([page.status, page.body], [400, `refused: ${error}`])),
    isNobody(app, browser)
  )

/** The access token of the user, as `/token` gives it. */
export const tokenOf = (app: WebApp.WebApp, browser: UserAgent, query = "") =>
  Effect.map(go(browser, `${app.url}/token${query}`), ({ body }): Record<string, unknown> => JSON.parse(body))
