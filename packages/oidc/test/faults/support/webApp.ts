/** A web app of several processes, its provider, and the people who use it. */
import { Data, Deferred, Effect, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { fileURLToPath } from "node:url"
import * as AuthorizationServer from "../../../../../examples/servers/authorizationServer.ts"
import { freePort } from "../../../../../examples/servers/freePort.ts"
import { type Page, UserAgent } from "../../../../../examples/servers/userAgent.ts"
import * as FaultProxy from "../../../../platform-node/test/faults/support/faultProxy.ts"
import type { Settings } from "./settings.ts"

export class NoAnswer extends Data.TaggedError("NoAnswer")<{ readonly message: string }> {}

export interface WebProcess {
  readonly url: string
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  /** How it ended, once it has. */
  readonly ended: Effect.Effect<number | NodeJS.Signals | null>
}

export interface WebApp {
  readonly server: AuthorizationServer.AuthorizationServer
  /** To the token endpoint. */
  readonly way: FaultProxy.FaultProxy
  readonly launch: Effect.Effect<WebProcess, never, Scope.Scope>
  /** Signs a new person in, by this process. */
  readonly signIn: (by: WebProcess, userName: string) => Effect.Effect<Person>
}

/** What `/token` answers. */
export interface Answer {
  readonly status: number
  readonly accessToken?: string
  readonly refreshToken?: string
  readonly error?: string
  readonly message?: string
}

export interface Person {
  readonly userName: string
  /** The same browser, whichever process its request comes to. */
  readonly ask: (by: WebProcess, query?: string, init?: RequestInit) => Effect.Effect<Answer, NoAnswer>
}

const file = fileURLToPath(new URL("webProcess.ts", import.meta.url))

const launch = (settings: Settings): Effect.Effect<WebProcess, never, Scope.Scope> =>
  Effect.gen(function*() {
    const ended = yield* Deferred.make<number | NodeJS.Signals | null>()
    const ready = yield* Deferred.make<void>()
    const child = yield* Effect.acquireRelease(
      Effect.sync((): ChildProcess =>
        fork(file, [JSON.stringify(settings)], {
          execPath: process.execPath,
          execArgv: ["--import", "tsx", "--conditions=@effect-oauth/source"],
          stdio: ["ignore", "inherit", "inherit", "ipc"]
        })
      ),
      (child) => Effect.zipRight(Effect.sync(() => child.kill("SIGKILL")), Deferred.await(ended))
    )
    child.on("message", () => Deferred.unsafeDone(ready, Effect.void))
    child.on("exit", (code, signal) => {
      Deferred.unsafeDone(ended, Effect.succeed(signal ?? code))
      Deferred.unsafeDone(ready, Effect.void)
    })
    yield* Deferred.await(ready)
    return {
      url: `http://localhost:${settings.port}`,
      signal: (signal) => Effect.sync(() => void child.kill(signal)),
      ended: Deferred.await(ended)
    }
  })

/** A text is what the session middleware answers where it cannot read the session. */
const read = ({ body, status }: Pick<Page, "body" | "status">): Answer =>
  body.startsWith("{") ? { status, ...JSON.parse(body) } : { status, error: body }

export interface Options {
  readonly store: Settings["store"]
  /** Of access tokens, in seconds. */
  readonly tokenLifetime?: number
  readonly resources?: ReadonlyArray<string>
}

export const start = (
  { resources = [], store, tokenLifetime = 3600 }: Options
): Effect.Effect<WebApp, never, Scope.Scope> =>
  Effect.gen(function*() {
    const publicUrl = `http://localhost:${yield* freePort}`
    const clientSecret = randomBytes(24).toString("hex")
    const server = yield* AuthorizationServer.start({
      users: true,
      tokenLifetime,
      clients: [{
        client_id: "web",
        client_secret: clientSecret,
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        redirect_uris: [`${publicUrl}/auth/callback`],
        scope: "openid profile offline_access"
      }]
    })
    const way = yield* FaultProxy.start(server.port)
    const common = {
      publicUrl,
      issuer: server.issuer,
      tokenEndpoint: `http://127.0.0.1:${way.port}/token`,
      clientSecret,
      encryptionKeys: `1:${randomBytes(32).toString("base64url")}`,
      store,
      resources
    }
    return {
      server,
      way,
      launch: Effect.flatMap(freePort, (port) => launch({ ...common, port })),
      signIn: (by, userName) =>
        Effect.promise(async () => {
          const browser = new UserAgent()
          const isBack = (url: string) => url.startsWith(`${publicUrl}/`)
          const back = await browser.signIn(`${by.url}/auth/login`, userName, isBack)
          await browser.send(back.url.replace(publicUrl, by.url))
          const cookie = browser.cookieHeader(by.url)
          return {
            userName,
            ask: (by: WebProcess, query = "", init: RequestInit = {}) =>
              Effect.tryPromise({
                try: async () => {
                  const response = await fetch(`${by.url}/token${query}`, { ...init, headers: { cookie } })
                  return read({ body: await response.text(), status: response.status })
                },
                catch: (error) => new NoAnswer({ message: String(error) })
              })
          }
        })
    }
  })
