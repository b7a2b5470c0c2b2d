/** The servers and the user that the program has to do with, and what is to be seen of them. */
import { ConfigProvider, Console, Effect, Exit, Fiber, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Api from "../servers/api.ts"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as Telling from "../servers/telling.ts"
import { UserAgent } from "../servers/userAgent.ts"

/** In seconds. */
const tokenLifetime = 3

interface Servers {
  readonly server: AuthorizationServer.AuthorizationServer
  readonly folder: string
  readonly settings: ConfigProvider.ConfigProvider
}

const startServers: Effect.Effect<Servers, never, Scope.Scope> = Effect.gen(function*() {
  const server = yield* AuthorizationServer.start({
    users: true,
    deviceFlow: true,
    tokenLifetime,
    clients: [{
      client_id: "tool",
      client_name: "The tool",
      token_endpoint_auth_method: "none",
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
      scope: "openid offline_access invoices"
    }]
  })
  const api = yield* Api.start({ check: Api.byLookup(server) })
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "tool-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true }))
  )
  const settings = ConfigProvider.fromMap(
    new Map([
      ["ISSUER", server.issuer],
      ["CLIENT_ID", "tool"],
      ["API_URL", api.url],
      ["TOOL_FOLDER", join(folder, "sessions")],
      ["TOKEN_ENCRYPTION_KEYS", `1:${randomBytes(32).toString("base64url")}`]
    ])
  )
  return { server, folder: join(folder, "sessions"), settings }
})

interface KeptFile {
  readonly mode: string
  readonly text: string
}

const filesIn = (folder: string): Effect.Effect<ReadonlyArray<KeptFile>> =>
  Effect.promise(async () => {
    const files: Array<KeptFile> = []
    for (const name of await readdir(folder)) {
      const path = join(folder, name)
      files.push({ mode: ((await stat(path)).mode & 0o777).toString(8), text: await readFile(path, "utf8") })
    }
    return files
  })

/** What the program writes is on the screen, where its user reads it. */
const onScreen = (screen: Array<string>) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.consoleWith((console) => {
    const log = (...texts: ReadonlyArray<unknown>) =>
      Effect.suspend(() => {
        screen.push(texts.join(" "))
        return console.log(`   | ${texts.join(" ")}`)
      })
    return Effect.withConsole(effect, { ...console, log })
  })

const tell = <E>(
  { folder, server, settings }: Servers,
  start: (...command: ReadonlyArray<string>) => Effect.Effect<void, E>,
  { end, heading, line, step }: Telling.Telling
) =>
  Effect.gen(function*() {
    const screen: Array<string> = []
    const tool = (command: string) =>
      Effect.zipRight(
        Console.log(`   $ tool ${command}`),
        start(command).pipe(onScreen(screen), Effect.withConfigProvider(settings), Effect.exit)
      )

    yield* step("The user has no session, and begins one. The program waits.")
    const before = yield* tool("invoices")
    yield* line("it ends", Exit.isFailure(before) ? "with an error" : "as if nothing were")
    const login = yield* Effect.fork(tool("login"))
    yield* Telling.until(() => screen.length > 0)
    const [, address = "", code = ""] = /^Open (\S+) and enter (\S+)$/.exec(screen[0] ?? "") ?? []

    yield* step("On another device, they open the address, type in the code, sign in and say yes.")
    const page = yield* Effect.promise(() => new UserAgent().enterCode(address, code, "alice"))
    const isDone = page.body.includes("data-authorization-server=\"done\"")
    yield* line("the page says", isDone ? "Signed in" : "something else")

    yield* step("The program asks again every 5 seconds.")
    const signedIn = yield* Fiber.join(login)
    const files = yield* filesIn(folder)
    for (const { mode, text } of files) yield* line(`a file of mode ${mode}`, `${text.length} characters, sealed`)

    yield* step(`It is started again when its token, which lives ${tokenLifetime} seconds, is over.`)
    yield* Effect.sleep(`${tokenLifetime} seconds`)
    const second = yield* tool("invoices")
    yield* line("refresh tokens used so far", server.refreshes().length)
    const third = yield* Effect.zipRight(Effect.sleep(`${tokenLifetime} seconds`), tool("invoices"))
    yield* line("refresh tokens used so far", server.refreshes().length)

    yield* step("The user signs out.")
    const signedOut = yield* tool("logout")
    // For an hour it stays known, by a hash, that a refresh token was used up.
    const left = (yield* filesIn(folder)).filter(({ text }) => !text.includes(`"value":"used"`))
    yield* line("files left", left.length)
    const after = yield* tool("invoices")
    yield* line("it ends", Exit.isFailure(after) ? "with an error" : "as if nothing were")

    const refreshes = server.refreshes()
    yield* heading("Totals")
    yield* line("lines on the screen", screen.length)
    yield* line("refreshes", refreshes.length)

    yield* end([
      [Exit.isFailure(before) && Exit.isFailure(after), "nobody is signed in before the login and after the logout"],
      [
        isDone && Exit.isSuccess(signedIn) && screen[1] === "You are signed in, alice.",
        "the login is finished elsewhere"
      ],
      [files.length > 0 && files.every(({ mode }) => mode === "600"), "only its user can read what is kept"],
      [files.every(({ text }) => !text.includes("alice") && !text.includes("access")), "what is kept is sealed"],
      [Exit.isSuccess(second) && Exit.isSuccess(third), "later starts need no login"],
      [
        refreshes.length === 2 && refreshes.every(({ outcome, reused }) => outcome === "ok" && !reused),
        "a refresh each"
      ],
      [new Set(refreshes.map(({ token }) => token)).size === 2, "each with the token that the one before has brought"],
      [Exit.isSuccess(signedOut) && left.length === 0, "nothing is left of it"]
    ])
  })

/** Fails if something did not happen as it should. */
export const run = <E>(start: (...command: ReadonlyArray<string>) => Effect.Effect<void, E>) =>
  Effect.gen(function*() {
    const telling = yield* Telling.make
    yield* telling.title("A command-line program signs its user in on another device. This takes about 12 seconds.")
    yield* tell(yield* startServers, start, telling)
  }).pipe(Effect.scoped, Telling.reported)
