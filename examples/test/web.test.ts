/** The web app of the examples, driven in a real browser. */
import { assert, describe, it, layer, vi } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import * as Browser from "../servers/browser.ts"
import * as Redis from "../servers/redis.ts"
import { ringKey } from "../web/surroundings.ts"
import * as RelyingParty from "./relyingParty.ts"
import { arrivals, Chromium, endOf, fact, outcome, press, seeItEnd, signIn, start } from "./webApp.ts"

const signedOut = "Who are you?"

/** The page goes away while it is asked. */
const goBack = (page: Browser.Page, steps: number) =>
  page.evaluate((steps) => history.go(-steps), steps).catch(() => undefined)

const hasName = (page: Browser.Page) => Effect.map(Browser.text(page), (text) => text.includes("Alice Example"))

/** What is printed from here on, until the end of the scope. */
const consoleOutput = Effect.acquireRelease(
  Effect.sync(() => {
    const said: Array<unknown> = []
    const spies = (["debug", "log", "info", "warn", "error"] as const).map((method) =>
      vi.spyOn(console, method).mockImplementation((...all) => void said.push(all))
    )
    return { said, spies }
  }),
  ({ spies }) => Effect.sync(() => spies.forEach((spy) => spy.mockRestore()))
).pipe(Effect.map(({ said }) => said))

/** No refresh token was used twice, and none was refused but for a nonce. */
const usedOnce = (refreshes: ReadonlyArray<{ readonly token: string; readonly outcome: string }>) => {
  const used = refreshes.filter(({ outcome }) => outcome !== "use_dpop_nonce")
  assert.deepStrictEqual(used.map(({ outcome }) => outcome), used.map(() => "ok"))
  assert.strictEqual(new Set(used.map(({ token }) => token)).size, used.length)
}

if (!Browser.available) {
  it.skip(`the web app: skipped, there is no ${Browser.executable} on this machine`, () => {})
}

describe.skipIf(!Browser.available)("the web app", () => {
  layer(Chromium.Live, { excludeTestServices: true })((it) => {
    it.scoped("sign-in and consent; then the page says who it is, and asks no other host for anything", () =>
      Effect.gen(function*() {
        const { browser, page, server, url } = yield* start()
        yield* Browser.goto(page, url)
        assert.strictEqual(yield* Browser.heading(page), signedOut)
        yield* Browser.followLink(page, "Sign in")
        assert.isTrue(page.url().startsWith(server.issuer))
        yield* Browser.signIn(page, "admin")
        assert.strictEqual(page.url(), `${url}/`)
        const section = "section[data-client=company]"
        assert.strictEqual(yield* fact(page, section, "Name"), "Admin Example")
        assert.strictEqual(yield* fact(page, section, "Subject"), "admin")
        assert.strictEqual(yield* fact(page, section, "Issuer"), server.issuer)
        assert.strictEqual(yield* fact(page, section, "Roles"), "admin")
        assert.deepStrictEqual(browser.refused(), [])
      }))

    it.scoped("what users are called is text", () =>
      Effect.gen(function*() {
        const { page, url } = yield* start()
        const name = `<img src=x onerror="document.title='owned'">`
        yield* signIn(page, url, name)
        assert.strictEqual(yield* fact(page, "section[data-client=company]", "Subject"), name)
        assert.strictEqual(yield* Browser.use(page, "count", () => page.locator("img").count()), 0)
      }))

    for (const order of ["first", "second"] as const) {
      it.scoped(`two tabs sign in at once, the ${order} one finishes first`, () =>
        Effect.gen(function*() {
          const { jar, page, url } = yield* start()
          const other = yield* Browser.newPage(jar)
          for (const tab of [page, other]) yield* Browser.goto(tab, `${url}/auth/login?returnTo=/%3Ftab`)
          const tabs = order === "first" ? [page, other] : [other, page]
          for (const tab of tabs) {
            yield* Browser.signIn(tab, "alice")
            assert.strictEqual(tab.url(), `${url}/?tab`)
            assert.isTrue(yield* hasName(tab))
          }
        }))
    }

    for (const sessions of ["cookies", "server-sessions"] as const) {
      it.scoped(`calls as the user, as the app and with another resource (${sessions})`, () =>
        Effect.gen(function*() {
          const { page, server, url } = yield* start({ "server-sessions": sessions === "server-sessions" })
          yield* signIn(page, url, "alice")
          yield* press(page, "Call the API as me")
          assert.include(yield* outcome(page), "Invoices API")
          assert.strictEqual(yield* fact(page, ".outcome", "Caller"), "alice")
          yield* press(page, "Call the API as the app")
          assert.strictEqual(yield* fact(page, ".outcome", "Caller"), "web")
          yield* press(page, "Call with another resource")
          assert.include(yield* outcome(page), "Reports API")
          assert.strictEqual(yield* fact(page, ".outcome", "Caller"), "alice")
          assert.isAbove(yield* endOf(page, "Reports API"), 0)
          // a token that is there is used
          yield* press(page, "Call the API as me")
          assert.strictEqual(server.refreshes().length, 2)
          usedOnce(server.refreshes())
        }))

      it.scoped(`tokens are renewed when they have ended, each refresh token is used once (${sessions})`, () =>
        Effect.gen(function*() {
          const { page, server, url } = yield* start({ "server-sessions": sessions === "server-sessions" }, {
            tokenLifetime: 2
          })
          yield* signIn(page, url, "alice")
          const ends = new Set<number>()
          for (let round = 0; round < 3; round++) {
            yield* press(page, "Call the API as me")
            assert.strictEqual(yield* fact(page, ".outcome", "Caller"), "alice")
            ends.add(yield* endOf(page, "Invoices API"))
            yield* seeItEnd(page, "Invoices API")
          }
          assert.strictEqual(ends.size, 3)
          assert.strictEqual(server.refreshes().length, 3)
          usedOnce(server.refreshes())
        }))

      it.scoped(`many buttons pressed at once share one refresh (${sessions})`, () =>
        Effect.gen(function*() {
          const { holdTokens, jar, page, server, url } = yield* start({
            "server-sessions": sessions === "server-sessions"
          })
          yield* signIn(page, url, "alice")
          const tabs = yield* Effect.replicateEffect(Browser.newPage(jar), 4)
          yield* Effect.forEach(tabs, (tab) => Browser.goto(tab, url))
          // nobody gets a token before all four have come to ask for it
          holdTokens(Fiber.join(yield* Effect.forkScoped(arrivals("/call-as-me", tabs.length))))
          yield* Effect.forEach(tabs, (tab) => press(tab, "Call the API as me"), { concurrency: "unbounded" })
          for (const tab of tabs) assert.strictEqual(yield* fact(tab, ".outcome", "Caller"), "alice")
          yield* press(page, "Renew now")
          assert.include(yield* outcome(page), "there is a new token")
          assert.strictEqual(server.refreshes().length, 2)
          usedOnce(server.refreshes())
        }))
    }

    it.scoped("pushed, signed, bound to a key and without a secret, all at once", () =>
      Effect.gen(function*() {
        const { page, requests, server, url } = yield* start({ par: true, dpop: true, jar: true, assertions: true })
        yield* signIn(page, url, "alice")
        yield* press(page, "Call the API as me")
        assert.strictEqual(yield* fact(page, ".outcome", "Caller"), "alice")
        const thumbprint = yield* fact(page, ".outcome", "Bound to key")
        assert.match(thumbprint, /^[A-Za-z0-9_-]{43}$/)
        assert.include(yield* Browser.text(page), `invoices reports\t${thumbprint}`)
        yield* press(page, "Call the API as the app")
        assert.notStrictEqual(yield* fact(page, ".outcome", "Bound to key"), thumbprint)
        yield* press(page, "Renew now")
        yield* press(page, "Revoke")
        assert.strictEqual(yield* fact(page, "section[data-client=company]", "Refresh token"), "none")

        const asked = (path: string) => requests.filter((request) => request.path === path && request.status < 400)
        assert.isTrue(asked("/request").every(({ fields }) => fields.includes("request") && !fields.includes("state")))
        assert.deepStrictEqual(asked("/token").map(({ proof }) => proof?.algorithm), [
          "ES256",
          "ES256",
          "ES256",
          "ES256"
        ])
        const own = [...asked("/request"), ...asked("/token"), ...asked("/token/revocation")]
        assert.strictEqual(own.length, 6)
        assert.isTrue(own.every(({ assertion }) => assertion?.algorithm === "ES256"))
        assert.strictEqual(new Set(own.map(({ assertion }) => assertion?.id)).size, own.length)
        assert.isTrue(requests.every(({ fields }) => !fields.includes("client_secret")))
        usedOnce(server.refreshes())
      }))

    it.scoped("a refresh token that was revoked leads to the sign-in", () =>
      Effect.gen(function*() {
        const { page, url } = yield* start()
        yield* signIn(page, url, "alice")
        yield* press(page, "Revoke")
        yield* press(page, "Renew now")
        assert.strictEqual(yield* Browser.heading(page), "Please sign in again")
        yield* Browser.followLink(page, "Sign in")
        yield* Browser.signIn(page, "alice")
        yield* press(page, "Renew now")
        assert.include(yield* outcome(page), "there is a new token")
      }))

    it.scoped("a grant that the provider took back ends the session", () =>
      Effect.gen(function*() {
        const { page, server, url } = yield* start()
        yield* signIn(page, url, "alice")
        yield* server.revokeGrant("alice")
        yield* press(page, "Call the API as me")
        assert.strictEqual(yield* Browser.heading(page), "Please sign in again")
        yield* Browser.goto(page, url)
        assert.strictEqual(yield* Browser.heading(page), signedOut)
      }))

    it.scoped("signing out goes to the provider too: the next sign-in asks who it is", () =>
      Effect.gen(function*() {
        const { page, requests, url } = yield* start()
        yield* signIn(page, url, "alice")
        // signed in there: nobody asks for a name
        yield* Browser.goto(page, `${url}/auth/login`)
        assert.strictEqual(yield* Browser.heading(page), "Continue")
        yield* Browser.signIn(page, "alice")

        yield* Browser.press(page, "Sign out everywhere")
        assert.strictEqual(yield* Browser.heading(page), "Sign out")
        yield* Browser.confirmSignOut(page)
        assert.strictEqual(page.url().split("?")[0], `${url}/signed-out`)
        assert.strictEqual(yield* Browser.heading(page), "You are signed out")
        assert.strictEqual(requests.filter(({ path }) => path === "/token/revocation").length, 1)
        yield* Browser.followLink(page, "Sign in")
        assert.strictEqual(yield* Browser.heading(page), "Sign in")
      }))

    it.scoped("the provider ends the session from behind, and the next button leads to the sign-in", () =>
      Effect.gen(function*() {
        const { browser, page, server, url } = yield* start({ "server-sessions": true })
        yield* signIn(page, url, "alice")
        const bobs = yield* browser.page
        yield* signIn(bobs, url, "bob")
        assert.deepStrictEqual(yield* server.signOut("alice"), [{ clientId: "web", ok: true }])
        yield* press(page, "Call the API as me")
        assert.strictEqual(yield* Browser.heading(page), "Please sign in")
        yield* Browser.followLink(page, "Sign in")
        assert.strictEqual(yield* Browser.heading(page), "Sign in")
        yield* press(bobs, "Call the API as me")
        assert.strictEqual(yield* fact(bobs, ".outcome", "Caller"), "bob")
      }))

    it.scoped.skipIf(!Redis.isThere)("sessions in Redis outlive the process", () =>
      Effect.gen(function*() {
        const { page, run, server, url } = yield* start({ redis: true, dpop: true })
        yield* signIn(page, url, "alice")
        yield* press(page, "Call the API as me")
        yield* run()
        yield* press(page, "Renew now")
        assert.include(yield* outcome(page), "there is a new token")
        yield* press(page, "Call the API as me")
        assert.strictEqual(yield* fact(page, ".outcome", "Caller"), "alice")
        usedOnce(server.refreshes())
        assert.deepStrictEqual(yield* server.signOut("alice"), [{ clientId: "web", ok: true }])
        yield* press(page, "Call the API as me")
        assert.strictEqual(yield* Browser.heading(page), "Please sign in")
      }))

    it.scoped("a session cookie that was tampered with is no session", () =>
      Effect.gen(function*() {
        const { jar, page, url } = yield* start()
        yield* signIn(page, url, "alice")
        const cookies = yield* Effect.promise(() => jar.cookies(url))
        const session = cookies.find(({ name }) => name.startsWith("session"))
        assert.isDefined(session)
        assert.include(session, { httpOnly: true, sameSite: "Lax", path: "/" })
        const middle = Math.floor(session.value.length / 2)
        const flipped = session.value[middle] === "A" ? "B" : "A"
        const value = session.value.slice(0, middle) + flipped + session.value.slice(middle + 1)
        yield* Effect.promise(() => jar.addCookies([{ ...session, value }]))
        yield* Browser.goto(page, url)
        assert.strictEqual(yield* Browser.heading(page), signedOut)
        yield* Effect.promise(() => jar.addCookies([session]))
        yield* Browser.goto(page, url)
        assert.isTrue(yield* hasName(page))
      }))

    it.scoped("keys of session cookies are rotated: an older one in the ring opens, one that is gone does not", () =>
      Effect.gen(function*() {
        const { page, run, settings, url } = yield* start()
        assert.strictEqual(settings.sessions._tag, "Cookies")
        const ring = settings.sessions._tag === "Cookies" ? settings.sessions.ring : []
        yield* signIn(page, url, "alice")
        yield* run({ sessions: { _tag: "Cookies", ring: [ringKey("2"), ...ring] } })
        yield* Browser.goto(page, url)
        assert.isTrue(yield* hasName(page))
        yield* run({ sessions: { _tag: "Cookies", ring: [ringKey("2")] } })
        yield* Browser.goto(page, url)
        assert.strictEqual(yield* Browser.heading(page), signedOut)
      }))

    it.scoped("who goes back after signing out sees nothing of the user: no page is kept", () =>
      Effect.gen(function*() {
        const { page, url } = yield* start()
        // a browser that is driven keeps no pages, so what it is told counts
        const kept: Array<string> = []
        page.on("response", (response) => {
          const isPage = response.request().isNavigationRequest() && response.url().startsWith(url)
          if (isPage && response.headers()["cache-control"] !== "no-store") kept.push(new URL(response.url()).pathname)
        })
        yield* signIn(page, url, "alice")
        yield* Browser.goto(page, `${url}/?again`)
        assert.isTrue(yield* hasName(page))
        yield* Browser.press(page, "Sign out everywhere")
        yield* Browser.confirmSignOut(page)
        // beyond the provider's page is the app's, and then the same again
        for (const path of ["/?again", "/"]) {
          yield* Browser.use(page, "go back", () => Promise.all([page.waitForEvent("load"), goBack(page, 2)]))
          assert.strictEqual(page.url(), `${url}${path}`)
          assert.strictEqual(yield* Browser.heading(page), signedOut)
          assert.isFalse(yield* hasName(page))
          yield* Browser.goto(page, `${url}/signed-out`)
        }
        assert.deepStrictEqual(kept, [])
      }))

    for (
      const returnTo of [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "/%2F/evil.example",
        "/..//evil.example",
        "javascript:alert(1)",
        "\t//evil.example"
      ]
    ) {
      it.scoped(`returnTo=${JSON.stringify(returnTo)} ends on the app`, () =>
        Effect.gen(function*() {
          const { browser, page, url } = yield* start()
          yield* Browser.goto(page, `${url}/auth/login?${new URLSearchParams({ returnTo })}`)
          yield* Browser.signIn(page, "alice")
          assert.strictEqual(new URL(page.url()).origin, url)
          assert.deepStrictEqual(browser.refused(), [])
        }))
    }

    it.scoped("who says no is told so, in friendly words, and can try again", () =>
      Effect.gen(function*() {
        const { page, url } = yield* start()
        yield* Browser.goto(page, `${url}/auth/login`)
        yield* Browser.cancel(page)
        assert.strictEqual(yield* Browser.heading(page), "You have not signed in")
        assert.notInclude(yield* Browser.text(page), "access_denied")
        yield* Browser.followLink(page, "Sign in")
        yield* Browser.signIn(page, "alice")
        assert.isTrue(yield* hasName(page))
      }))

    it.scoped("two providers at the same time keep their tokens apart", () =>
      Effect.gen(function*() {
        const { page, servers, url } = yield* start({ "two-providers": true, dpop: true })
        yield* Browser.goto(page, url)
        yield* Browser.followLink(page, "Sign in with Example Company")
        yield* Browser.signIn(page, "alice")
        yield* Browser.followLink(page, "Sign in with Partner Ltd")
        yield* Browser.signIn(page, "bob")
        const keys = new Set<string>()
        for (const [index, client] of ["company", "partner", "company"].entries()) {
          yield* press(page, "Call the API as me", client)
          assert.strictEqual(yield* fact(page, ".outcome", "Caller"), client === "company" ? "alice" : "bob")
          assert.strictEqual(yield* fact(page, ".outcome", "Issuer"), servers[index % 2]?.issuer)
          keys.add(yield* fact(page, ".outcome", "Bound to key"))
        }
        assert.strictEqual(keys.size, 2)
        yield* press(page, "Revoke", "company")
        assert.strictEqual(yield* fact(page, "section[data-client=company]", "Refresh token"), "none")
        assert.strictEqual(yield* fact(page, "section[data-client=partner]", "Refresh token"), "yes")
        yield* press(page, "Renew now", "partner")
        assert.include(yield* outcome(page), "there is a new token")
        for (const server of servers) usedOnce(server.refreshes())
      }))

    it.scoped("a form of another site presses no button", () =>
      Effect.gen(function*() {
        const { page, server, url } = yield* start()
        yield* signIn(page, url, "alice")
        // the same site to a browser, which sends the session along
        const { origin: neighbour } = yield* RelyingParty.start
        const elsewhere = neighbour.replace("localhost", "127.0.0.1")
        const statusOf = (from: string, path: string) =>
          Browser.use(page, "send a form", async () => {
            await page.goto(from)
            await page.setContent(
              `<form method="post" action="${url}${path}"><input name="client" value="company"></form>`
            )
            const [answer] = await Promise.all([
              page.waitForResponse((response) => response.url() === `${url}${path}`),
              page.waitForEvent("load"),
              page.evaluate(() => document.forms[0]?.submit())
            ])
            return { cookie: "cookie" in await answer.request().allHeaders(), status: answer.status() }
          })
        for (const path of ["/renew", "/revoke", "/call-as-me", "/call-as-app", "/call-other", "/auth/logout"]) {
          assert.deepStrictEqual(yield* statusOf(elsewhere, path), { cookie: false, status: 403 }, path)
          assert.deepStrictEqual(yield* statusOf(neighbour, path), { cookie: true, status: 403 }, path)
        }
        assert.deepStrictEqual(server.refreshes(), [])
        yield* Browser.goto(page, url)
        assert.isTrue(yield* hasName(page))
        assert.strictEqual(yield* fact(page, "section[data-client=company]", "Refresh token"), "yes")
      }))

    for (const flags of [{}, { "server-sessions": true, dpop: true, par: true }]) {
      it.scoped(`no page and no log shows a token, code, state or cookie (${Object.keys(flags).join(", ") || "plain"})`, () =>
        Effect.gen(function*() {
          const said = yield* consoleOutput
          const { issued, jar, journal, page, settings, url } = yield* start(flags)
          const pages: Array<string> = []
          const secrets = issued
          for (const { clientSecret } of Object.values(settings.clients)) {
            if (clientSecret !== undefined) secrets.add(Redacted.value(clientSecret))
          }
          page.on("response", (response) => {
            const { origin, searchParams } = new URL(response.url())
            for (const name of ["code", "state", "nonce", "code_challenge", "id_token_hint"]) {
              const value = searchParams.get(name)
              if (value !== null) secrets.add(value)
            }
            if (origin === url && response.status() < 300) response.text().then((text) => pages.push(text), () => {})
          })
          yield* signIn(page, url, "alice")
          for (
            const name of ["Call the API as me", "Call the API as the app", "Call with another resource", "Renew now"]
          ) {
            yield* press(page, name)
          }
          for (const { value } of yield* Effect.promise(() => jar.cookies())) secrets.add(value)
          yield* press(page, "Revoke")
          yield* press(page, "Renew now")
          yield* Browser.goto(page, url)
          pages.push(yield* Browser.use(page, "read it all", () => page.content()))
          assert.isAtLeast(secrets.size, 15)
          assert.isAtLeast(pages.length, 8)
          for (const secret of secrets) {
            assert.isAtLeast(secret.length, 8)
            assert.isFalse(pages.some((text) => text.includes(secret)), "a secret is on a page")
            assert.isFalse(journal.entries().some(({ text }) => text.includes(secret)), "a secret is in the log")
          }
          assert.isTrue(journal.entries().some(({ level, who }) => who === "library" && level === "DEBUG"))
          assert.deepStrictEqual(said, [])
        }))
    }
  })
})
