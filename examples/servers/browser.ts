/**
 * A real browser for examples and tests: Debian's Chromium, driven by playwright-core, which downloads none. It reaches
 * loopback and nothing else.
 */
import { Data, Effect, type Scope } from "effect"
import { existsSync } from "node:fs"
import { type BrowserContext, chromium, type Page, type Response } from "playwright-core"

export type { BrowserContext, Page, Response }

export const executable = "/usr/bin/chromium"

/** Whether this machine has one; `apt-get install -y --no-install-recommends chromium`. */
export const available: boolean = existsSync(executable)

/** What could not be done. It names no query of any URL: they have codes in them. */
export class BrowserFailed extends Data.TaggedError("BrowserFailed")<{ readonly message: string }> {}

export interface Browser {
  /** A cookie jar of its own, until the end of the scope. Pages of one jar are the tabs of one user. */
  readonly context: Effect.Effect<BrowserContext, BrowserFailed, Scope.Scope>
  /** A page in a fresh jar. */
  readonly page: Effect.Effect<Page, BrowserFailed, Scope.Scope>
  /** The origins that pages asked for in vain: none but loopback is reached. */
  readonly refused: () => ReadonlyArray<string>
}

/** Long enough for a machine with busy cores. */
const timeout = 15_000

const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-proxy-server",
  // redirects pass by the route below
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost"
]

const withoutQueries = (text: string): string => text.replace(/[?#][^\s"']*/g, "")

const failed = (what: string, cause: unknown): BrowserFailed => {
  const said = cause instanceof Error ? cause.message.split("\n", 1).join("") : "an unknown reason"
  return new BrowserFailed({ message: withoutQueries(`${what}: ${said}`) })
}

const attempt = <A>(what: string, action: () => Promise<A>): Effect.Effect<A, BrowserFailed> =>
  Effect.tryPromise({ try: action, catch: (cause) => failed(what, cause) })

const isLoopback = ({ hostname }: URL): boolean => /^(127\.0\.0\.1|localhost|.*\.localhost)$/.test(hostname)

/** A process with a profile of its own; both are gone at the end of the scope. */
export const launch: Effect.Effect<Browser, BrowserFailed, Scope.Scope> = Effect.gen(function*() {
  const refused: Array<string> = []
  const browser = yield* Effect.acquireRelease(
    attempt("start Chromium", () =>
      chromium.launch({
        executablePath: executable,
        chromiumSandbox: false,
        args: flags,
        timeout,
        // Effect's runtime decides what a signal ends
        handleSIGINT: false,
        handleSIGTERM: false,
        handleSIGHUP: false
      })),
    (browser) => Effect.promise(() => browser.close())
  )

  const open = async () => {
    const context = await browser.newContext()
    context.setDefaultTimeout(timeout)
    await context.route((url) => !isLoopback(url) && url.protocol !== "data:", (route) => {
      refused.push(new URL(route.request().url()).origin)
      return route.abort("blockedbyclient")
    })
    return context
  }
  const context = Effect.acquireRelease(
    attempt("open a context", open),
    (context) => Effect.promise(() => context.close())
  )
  return {
    context,
    page: Effect.flatMap(context, newPage),
    refused: () => refused
  }
})

/** One more tab in a jar. */
export const newPage = (context: BrowserContext): Effect.Effect<Page, BrowserFailed> =>
  attempt("open a page", () => context.newPage())

/** Anything else that Playwright can do with a page. */
export const use = <A>(
  page: Page,
  what: string,
  action: (page: Page) => Promise<A>
): Effect.Effect<A, BrowserFailed> => attempt(what, () => action(page))

/** Follows redirects to the last page; null where the browser only moved within a page. */
export const goto = (page: Page, url: string): Effect.Effect<Response | null, BrowserFailed> =>
  use(page, `open ${url}`, () => page.goto(url))

/** A button by its name; comes back when the page that follows is there. */
export const press = (page: Page, name: string): Effect.Effect<void, BrowserFailed> =>
  use(page, `press "${name}"`, () => follow(page, () => button(page, name).click()))

/** A link by its name; as `press`. */
export const followLink = (page: Page, name: string): Effect.Effect<void, BrowserFailed> =>
  use(page, `follow "${name}"`, () => follow(page, () => page.getByRole("link", { name, exact: true }).click()))

/** All that can be read on it. */
export const text = (page: Page): Effect.Effect<string, BrowserFailed> =>
  use(page, "read the page", () => page.locator("body").innerText())

export const heading = (page: Page): Effect.Effect<string, BrowserFailed> =>
  use(page, "read the heading", () => page.getByRole("heading", { level: 1 }).innerText())

/** Writes a PNG file. */
export const screenshot = (page: Page, file: string): Effect.Effect<void, BrowserFailed> =>
  use(page, "take a screenshot", async () => void await page.screenshot({ path: file }))

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true })

/** A page that sends itself on, as an answer by POST does, never gets as far as its load event. */
const follow = async (page: Page, action: () => Promise<void>): Promise<void> => {
  const next = page.waitForEvent("load")
  await Promise.all([next, action()])
}

/** Apps may have pages with the same titles. */
const isAt = async (page: Page, step: "login" | "consent"): Promise<boolean> =>
  await page.locator(`body[data-authorization-server=${step}]`).count() > 0

/**
 * Walks through whatever of the login and consent pages the authorization server shows, from where the page is now to
 * where the login leads. Does nothing on another page, as when the server knows its user already.
 */
export const signIn = (page: Page, userName: string): Effect.Effect<void, BrowserFailed> =>
  use(page, `sign in as ${userName}`, async () => {
    if (await isAt(page, "login")) {
      await page.getByLabel("User name").fill(userName)
      await follow(page, () => button(page, "Sign in").click())
    }
    if (await isAt(page, "consent")) {
      await follow(page, () => button(page, "Continue").click())
    }
  })

/** Turns the login or the consent down: the client gets `access_denied`. */
export const cancel = (page: Page): Effect.Effect<void, BrowserFailed> => followLink(page, "Cancel")

/** At the page that a logout at the authorization server begins with. */
export const confirmSignOut = (page: Page): Effect.Effect<void, BrowserFailed> => press(page, "Sign out")
