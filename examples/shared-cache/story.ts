/** Four workers, the servers that they have to do with, and what is to be seen of them. */
import type { ClientCredentialsTokenManager } from "@effect-oauth/core"
import { Config, Data, Duration, Effect, Exit, Fiber, type Layer, Option, type Scope } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import * as Api from "../servers/api.ts"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as Telling from "../servers/telling.ts"
import * as Store from "./store.ts"
import * as Workers from "./workers.ts"

class ArgumentsInvalid extends Data.TaggedError("ArgumentsInvalid")<{ readonly message: string }> {}

const readArguments = Effect.try({
  try: () => parseArgs({ options: { postgres: { type: "boolean" } } }).values,
  catch: (error) => new ArgumentsInvalid({ message: error instanceof Error ? error.message : "wrong arguments" })
})

/** At once, of each worker. */
const callsEach = 50

interface Scene {
  readonly server: AuthorizationServer.AuthorizationServer
  readonly store: Store.Store
  readonly workers: ReadonlyArray<Workers.Worker>
  /** How many milliseconds the server takes to issue a token. */
  readonly pace: { millis: number }
}

const set = (wantsPostgres: boolean): Effect.Effect<Scene, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    const pace = { millis: 100 }
    const secret = randomUUID()
    const server = yield* AuthorizationServer.start({
      clients: [{ client_id: "invoice.client", client_secret: secret }],
      configuration: { extraTokenClaims: () => sleep(pace.millis, undefined, { ref: false }) }
    })
    const api = yield* Api.start({ check: Api.byLookup(server) })
    const store = yield* Store.start(wantsPostgres)
    const variables = {
      ...store.variables,
      TOKEN_ENDPOINT: server.tokenEndpoint,
      CLIENT_ID: "invoice.client",
      CLIENT_SECRET: secret,
      API_URL: api.url,
      TOKEN_ENCRYPTION_KEYS: `first:${randomBytes(32).toString("base64url")}`
    }
    const workers = yield* Effect.forEach(
      [1, 2, 3, 4],
      (number) => Workers.start(`worker ${number}`, { ...variables, WORKER: `${number}` }),
      { concurrency: "unbounded" }
    )
    return { server, store, workers, pace }
  })

interface Seen extends Workers.Told {
  readonly name: string
}

const allCall = (workers: ReadonlyArray<Workers.Worker>) =>
  Effect.forEach(
    workers,
    ({ calls, name }) => Effect.map(calls(callsEach), (told): Seen => ({ ...told, name })),
    { concurrency: "unbounded" }
  )

/** Who asked the server, and whose token each has. */
const whoGotWhat = (seen: ReadonlyArray<Seen>, { line }: Telling.Telling) =>
  Effect.forEach(seen, ({ askedServer, name, ok, token }) => {
    const source = seen.find((other) => other.askedServer && other.token === token)
    const outcome = askedServer ? "asked the server" : `has the token of ${source?.name ?? "nobody"}`
    return line(`${name}, ${callsEach} calls`, ok ? outcome : `${outcome}, and has failed`)
  }, { discard: true })

const isShared = (seen: ReadonlyArray<Seen>): boolean =>
  new Set(seen.map(({ token }) => token)).size === 1 && seen.filter(({ askedServer }) => askedServer).length === 1 &&
  seen.every(({ ok, token }) => ok && token !== "")

/** What an entry says of itself to somebody who has no key. */
const headerOf = (dump: ReadonlyArray<string>): string => {
  const [, header] = /(eyJ[A-Za-z0-9_-]+)\.\.[A-Za-z0-9_-]/.exec(dump.join("\n")) ?? []
  if (header === undefined) return "nothing is sealed"
  const { alg, enc, kid } = JSON.parse(Buffer.from(header, "base64url").toString())
  return `${alg} with ${enc}, key "${kid}"`
}

const tell = ({ pace, server, store, workers }: Scene, telling: Telling.Telling) =>
  Effect.gen(function*() {
    const { end, heading, line, step } = telling

    yield* step("All four call the API at once, and nobody has a token.")
    const first = yield* allCall(workers)
    yield* whoGotWhat(first, telling)
    const asked = server.tokenRequests()

    yield* step("What somebody reads who gets hold of the store.")
    const dump = yield* store.dump
    const token = first[0]?.token ?? ""
    const isReadable = dump.some((text) => text.includes(token) || text.includes("Bearer"))
    yield* line("rows or keys", dump.length)
    yield* line("how entries are sealed", headerOf(dump))
    yield* line("the token", isReadable ? "is there to be read" : "cannot be read")

    yield* step("The server drops the token. All four meet a 401 at once.")
    yield* server.revokeAllTokens()
    const second = yield* allCall(workers)
    yield* whoGotWhat(second, telling)
    const askedAgain = server.tokenRequests()

    yield* step("It drops that too, and has become slow. A worker asks it, and is killed while it holds the lock.")
    yield* server.revokeAllTokens()
    pace.millis = 60_000
    const [victim, ...others] = workers as [Workers.Worker, ...Array<Workers.Worker>]
    const lost = yield* Effect.fork(victim.calls(callsEach))
    yield* Telling.until(() => server.tokenRequests() > askedAgain)
    const waiting = yield* Effect.fork(allCall(others))
    yield* Effect.sleep("500 millis")
    const askedWhileHeld = server.tokenRequests()
    yield* line("requests while it holds the lock", askedWhileHeld - askedAgain)
    yield* victim.kill
    pace.millis = 100
    yield* line(victim.name, "was killed")
    const [time, third] = yield* Effect.timed(Fiber.join(waiting))
    yield* whoGotWhat(third, telling)
    yield* line("after the kill", `${Duration.toSeconds(time).toFixed(1)} seconds`)

    yield* Effect.forEach(others, (worker) => worker.end, { concurrency: "unbounded" })
    const calls = callsEach * (first.length + second.length + third.length)
    yield* heading("Totals")
    yield* line("workers", `${workers.length}, one of them killed`)
    yield* line("calls answered", calls)
    yield* line("requests for tokens", `${server.tokenRequests()}, one of them by the one that was killed`)

    yield* end([
      [isShared(first) && asked === 1, "one worker asks the server, and all have its token"],
      [!isReadable && dump.length > 0, "nothing can be read in the store"],
      [isShared(second) && askedAgain === 2, "one worker renews the token for all"],
      [askedWhileHeld === 3, "nobody else asks while a worker holds the lock"],
      [Exit.isFailure(yield* Fiber.await(lost)), "a worker is killed in the middle of its calls"],
      [isShared(third) && server.tokenRequests() === 4, "another worker takes over, for all"]
    ])
  })

/** The parent tells the story; the processes that it starts are the workers. */
export const run = <E, R, E2>(
  calls: (count: number) => Effect.Effect<void, E, R>,
  live: Layer.Layer<NoInfer<R> | ClientCredentialsTokenManager.ClientCredentialsTokenManager, E2>
) =>
  Effect.gen(function*() {
    const worker = yield* Config.option(Config.string("WORKER"))
    if (Option.isSome(worker)) return yield* Effect.provide(Workers.serve(calls), live)
    const { postgres = false } = yield* readArguments
    const telling = yield* Telling.make
    yield* telling.title("Four worker processes share their tokens. This takes about 10 seconds.")
    const scene = yield* set(postgres)
    yield* telling.line("they share", scene.store.description)
    yield* tell(scene, telling)
  }).pipe(Effect.scoped, Telling.reported)
