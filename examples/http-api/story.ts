/** The authorization server and the person that API and app have to do with, and what is to be seen of them. */
import { WwwAuthenticate } from "@effect-oauth/core"
import { ConfigProvider, Effect, Layer, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import { freePort } from "../servers/freePort.ts"
import * as Telling from "../servers/telling.ts"
import { type Page, UserAgent } from "../servers/userAgent.ts"

interface Setting {
  readonly url: string
  readonly apiUrl: string
  readonly settings: ConfigProvider.ConfigProvider
}

const prepare: Effect.Effect<Setting, never, Scope.Scope> = Effect.gen(function*() {
  const [port, apiPort] = [yield* freePort, yield* freePort]
  const url = `http://localhost:${port}`
  const apiUrl = `http://127.0.0.1:${apiPort}`
  const secret = randomUUID()
  const server = yield* AuthorizationServer.start({
    users: true,
    dpop: "accepted",
    clients: [{
      client_id: "web",
      client_secret: secret,
      client_name: "The App",
      grant_types: ["authorization_code", "refresh_token", "client_credentials"],
      response_types: ["code"],
      redirect_uris: [`${url}/auth/callback`],
      scope: "openid profile offline_access invoices salaries"
    }]
  })
  const settings = ConfigProvider.fromMap(
    new Map([
      ["ISSUER", server.issuer],
      ["CLIENT_ID", "web"],
      ["CLIENT_SECRET", secret],
      ["API_URL", apiUrl],
      ["API_PORT", `${apiPort}`],
      ["PUBLIC_URL", url],
      ["PORT", `${port}`]
    ])
  )
  return { url, apiUrl, settings }
})

/** The challenge of an answer, without what is for people. */
const challengeOf = (page: Page): string => {
  const [challenge] = WwwAuthenticate.parse(page.headers.get("www-authenticate") ?? "")
  return challenge === undefined ? "none" : `${challenge.scheme} ${challenge.parameters.error ?? ""}`.trim()
}

const tell = ({ apiUrl, url }: Setting, { end, line, step }: Telling.Telling) =>
  Effect.gen(function*() {
    const browser = new UserAgent()
    const go = (path: string) => Effect.promise(() => browser.go(`${url}${path}`))

    yield* step("Somebody calls the API without a token, and with one that is none.")
    const stranger = new UserAgent()
    const bare = yield* Effect.promise(() => stranger.send(`${apiUrl}/invoices`))
    yield* line("no token", `${bare.status}, ${challengeOf(bare)}`)
    const forged = yield* Effect.promise(() =>
      stranger.send(`${apiUrl}/invoices`, { headers: { authorization: "Bearer forged" } })
    )
    yield* line("a forged token", `${forged.status}, ${challengeOf(forged)}`)

    yield* step("Alice signs in with her password, and sees her invoices.")
    yield* Effect.promise(() => browser.signIn(`${url}/auth/login`, "alice"))
    const invoices = yield* go("/invoices")
    yield* line("/invoices", `${invoices.status} ${invoices.body}`)
    const own = yield* go("/own-invoices")
    yield* line("/own-invoices, as the app", `${own.status} ${own.body}`)

    yield* step("She may not remove them: her token lacks a scope, which is a typed error of the client.")
    const removed = yield* Effect.promise(() => browser.post(`${url}/remove`))
    yield* line("/remove", `${removed.status} ${removed.body}`)

    yield* step("Salaries take more than a password. The app sends her to sign in again.")
    const asked = yield* Effect.promise(() => browser.send(`${url}/salaries`))
    const login = new URL(asked.headers.get("location") ?? url)
    yield* line("/salaries", `${asked.status}, to ${login.pathname}`)

    yield* step("She does, with a second factor, and lands where she was.")
    const landed = yield* Effect.promise(() => browser.signIn(login.href, "alice"))
    yield* line(new URL(landed.url).pathname, `${landed.status} ${landed.body}`)
    const again = yield* go("/salaries")
    yield* line("/salaries, once more", again.status)

    yield* end([
      [bare.status === 401 && challengeOf(bare) === "bearer", "without a token there is a challenge and no error"],
      [forged.status === 401 && challengeOf(forged) === "bearer invalid_token", "a forged token is invalid_token"],
      [invoices.status === 200 && invoices.body.includes("of alice"), "the API knows who the user is"],
      [own.status === 200 && own.body.includes("of web"), "the app calls as itself, too"],
      [removed.body === `{"lacks":["admin"]}`, "what is not allowed says what it lacks"],
      [asked.status === 303 && login.pathname === "/auth", "the API demands a sign-in"],
      [landed.url === `${url}/salaries` && landed.status === 200, "the user lands where she was"],
      [again.status === 200, "the stronger sign-in lasts"]
    ])
  })

/** Runs API and app beside it; fails if something did not happen as it should. */
export const run = <E>(app: Layer.Layer<never, E>) =>
  Effect.gen(function*() {
    const telling = yield* Telling.make
    yield* telling.title("An API takes access tokens, and wants a stronger sign-in for one of its pages.")
    const setting = yield* prepare
    yield* Layer.build(app).pipe(Effect.withConfigProvider(setting.settings))
    yield* tell(setting, telling)
  }).pipe(Effect.scoped, Telling.reported)
