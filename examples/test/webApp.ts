/** The web app of the examples, somebody's browser in front of it, and everything that must not be seen. */
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import type { IncomingMessage } from "node:http"
import type { ServedRequest } from "../servers/authorizationServer.ts"
import * as Browser from "../servers/browser.ts"
import * as App from "../web/app.ts"
import * as Flags from "../web/flags.ts"
import * as Journal from "../web/journal.ts"
import * as Surroundings from "../web/surroundings.ts"

export class Chromium extends Context.Tag("Chromium")<Chromium, Browser.Browser>() {
  static readonly Live = Layer.scoped(Chromium, Browser.launch)
}

/** A client that tells what each answer of a server says, and whose requests for tokens may have to wait. */
const tapped = (onAnswer: (body: string) => void, beforeToken: () => Effect.Effect<void>) =>
  Effect.map(
    Layer.build(NodeHttpClient.layerUndici),
    (context) =>
      HttpClient.transformResponse(
        HttpClient.tapRequest(
          Context.get(context, HttpClient.HttpClient),
          ({ url }) => url.endsWith("/token") ? Effect.suspend(beforeToken) : Effect.void
        ),
        Effect.flatMap((response) =>
          Effect.map(response.text, (body) => {
            onAnswer(body)
            const { headers, request, status } = response
            return HttpClientResponse.fromWeb(request, new Response(body === "" ? null : body, { status, headers }))
          })
        )
      )
  )

const secretFields = ["access_token", "refresh_token", "id_token", "request_uri"]

/** What a server's JSON says that is nobody else's business. */
const secretsOf = (body: string): ReadonlyArray<string> => {
  if (!body.startsWith("{")) return []
  const fields: Record<string, unknown> = JSON.parse(body)
  return secretFields.flatMap((field) => typeof fields[field] === "string" ? [fields[field]] : [])
}

export const start = (flags: Partial<Flags.Flags> = {}, options: Omit<Surroundings.Options, "onAnswer"> = {}) =>
  Effect.gen(function*() {
    const journal = yield* Journal.make
    const requests: Array<ServedRequest> = []
    const { servers, settings } = yield* Surroundings.start({ ...Flags.none, ...flags }, {
      ...options,
      onAnswer: (request) => {
        requests.push(request)
        journal.onAnswer(request)
      }
    })
    const issued = new Set<string>()
    let beforeToken: Effect.Effect<void> = Effect.void
    const httpClient = yield* tapped(
      (body) => secretsOf(body).forEach((secret) => issued.add(secret)),
      () => beforeToken
    )
    const holdTokens = (until: Effect.Effect<void>): void => {
      beforeToken = until
    }
    const clients = Object.fromEntries(
      Object.entries(settings.clients).map(([name, client]) => [name, { ...client, httpClient }])
    )

    /** Another process of the app, in place of the one before. */
    let running: Scope.CloseableScope | undefined
    const run = (changed: Partial<App.Settings> = {}) =>
      Effect.gen(function*() {
        if (running !== undefined) yield* Scope.close(running, Exit.void)
        running = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
        const layer = Layer.provide(App.layer({ ...settings, clients, ...changed }), journal.layer)
        yield* Scope.extend(Layer.build(layer), running)
      })
    yield* run()

    const browser = yield* Chromium
    const jar = yield* browser.context
    const page = yield* Browser.newPage(jar)
    const [server] = servers
    if (server === undefined) return yield* Effect.dieMessage("there is no provider")
    return {
      url: settings.publicUrl,
      settings,
      servers,
      server,
      requests,
      issued,
      holdTokens,
      journal,
      run,
      browser,
      jar,
      page
    }
  })

/** Ends when so many requests for a path have reached a server of this process. */
export const arrivals = (path: string, count: number) =>
  Effect.async<void>((resume) => {
    let arrived = 0
    const onStart = (message: unknown) => {
      if ((message as { readonly request: IncomingMessage }).request.url === path && ++arrived === count) {
        resume(Effect.void)
      }
    }
    subscribe("http.server.request.start", onStart)
    return Effect.sync(() => void unsubscribe("http.server.request.start", onStart))
  })

/** A button in the section of one sign-in. */
export const press = (page: Browser.Page, name: string, client = "company") =>
  Browser.use(page, `press "${name}"`, async () => {
    const button = page.locator(`section[data-client=${client}]`).getByRole("button", { name, exact: true })
    await Promise.all([page.waitForEvent("load"), button.click()])
  })

/** What an outcome's title says. */
export const outcome = (page: Browser.Page) =>
  Browser.use(page, "read the outcome", () => page.locator(".outcome h2").innerText())

/** What stands beside a name, in the outcome or in the section of a sign-in. */
export const fact = (page: Browser.Page, section: string, name: string) =>
  Browser.use(
    page,
    `read "${name}"`,
    () => page.locator(section).locator(`dt:text-is("${name}") + dd`).first().innerText()
  )

/** When the token for something ends, in milliseconds since 1970. */
export const endOf = (page: Browser.Page, purpose: string) =>
  Browser.use(page, `read the end of ${purpose}`, async () => {
    const row = page.locator("tr", { has: page.locator(`td:text-is("${purpose}")`) })
    return Number(await row.locator("time").getAttribute("data-ends"))
  })

/** Until the page itself says that a token is over. */
export const seeItEnd = (page: Browser.Page, purpose: string) =>
  Browser.use(page, `wait for the end of ${purpose}`, async () => {
    const row = page.locator("tr", { has: page.locator(`td:text-is("${purpose}")`) })
    await row.locator("time.over").waitFor()
  })

export const signIn = (page: Browser.Page, url: string, userName: string, client = "company") =>
  Effect.zipRight(Browser.goto(page, `${url}/auth/login?client=${client}`), Browser.signIn(page, userName))
