/** Somebody who signs in, presses every button and signs out, without a browser: `npm run example web -- --check`. */
import { Effect } from "effect"
import type { AuthorizationServer } from "../servers/authorizationServer.ts"
import * as Telling from "../servers/telling.ts"
import { UserAgent } from "../servers/userAgent.ts"
import type { Settings } from "./app.ts"

type Page = Awaited<ReturnType<UserAgent["go"]>>

const titleOf = ({ body }: Page): string => /<(h1|h2)>(.*?)<\/\1>/.exec(body)?.[2] ?? "a page without a title"

const callerOf = ({ body }: Page): string => /<dt>Caller<\/dt><dd>(.*?)<\/dd>/.exec(body)?.[1] ?? "nobody"

const oneProvider = (
  agent: UserAgent,
  { publicUrl }: Settings,
  client: string,
  { line }: Telling.Telling
) =>
  Effect.gen(function*() {
    const press = (path: string) => Effect.promise(() => agent.post(`${publicUrl}${path}`, { client }))
    const home = yield* Effect.promise(() => agent.signIn(`${publicUrl}/auth/login?client=${client}`, "alice"))
    yield* line("sign in as alice", titleOf(home))
    const asMe = yield* press("/call-as-me")
    yield* line("Call the API as me", `the caller is ${callerOf(asMe)}`)
    const asApp = yield* press("/call-as-app")
    yield* line("Call the API as the app", `the caller is ${callerOf(asApp)}`)
    const other = yield* press("/call-other")
    yield* line("Call with another resource", `the caller is ${callerOf(other)}`)
    const renewed = yield* press("/renew")
    yield* line("Renew now", titleOf(renewed))
    const facts: ReadonlyArray<Telling.Fact> = [
      [home.url === `${publicUrl}/` && home.body.includes("Alice Example"), `${client}: alice on the start page`],
      [callerOf(asMe) === "alice", `${client}: a call as alice`],
      [callerOf(asApp) === "web", `${client}: a call as the app`],
      [callerOf(other) === "alice" && titleOf(other).startsWith("Reports API"), `${client}: the other API`],
      [titleOf(renewed).endsWith("there is a new token"), `${client}: a renewed token`]
    ]
    return facts
  })

export const walk = (settings: Settings, servers: ReadonlyArray<AuthorizationServer>) =>
  Effect.gen(function*() {
    const telling = yield* Telling.make
    const { end, line, step, title } = telling
    const { publicUrl, site } = settings
    const agent = new UserAgent()
    yield* title(`A web app, and somebody who uses it (${site.notes.join(", ")}).`)

    const facts = yield* Effect.forEach(site.providers, ({ client, title }) =>
      Effect.zipRight(step(title), oneProvider(agent, settings, client, telling)))

    yield* step("Revoke, and renew without a refresh token")
    const client = site.providers[0]?.client ?? ""
    const revoked = yield* Effect.promise(() =>
      agent.post(`${publicUrl}/revoke`, { client })
    )
    yield* line("Revoke", titleOf(revoked))
    const refused = yield* Effect.promise(() => agent.post(`${publicUrl}/renew`, { client }))
    yield* line("Renew now", titleOf(refused))

    yield* step("Sign out")
    const provider = yield* Effect.promise(() => agent.post(`${publicUrl}/auth/logout`))
    yield* line("Sign out everywhere", `goes on to ${new URL(provider.url).origin}`)
    const after = yield* Effect.promise(() => agent.go(publicUrl))
    yield* line("the start page", titleOf(after))

    const refreshes = servers.flatMap((server) => server.refreshes())
    yield* line("refresh tokens used", refreshes.length)
    yield* end([
      ...facts.flat(),
      [titleOf(revoked) === "The refresh token is revoked", "a revocation"],
      [titleOf(refused) === "Please sign in again", "a renewal that needs another sign-in"],
      [servers.some(({ issuer }) => provider.url.startsWith(issuer)), "signing out at the provider"],
      [titleOf(after) === "Who are you?", "nobody is signed in"],
      [new Set(refreshes.map(({ token }) => token)).size === refreshes.length, "each refresh token used once"]
    ])
  })
