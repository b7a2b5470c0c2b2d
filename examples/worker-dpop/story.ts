/** The servers that the worker has to do with, and what is to be seen of it. */
import { ConfigProvider, Data, Effect, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import { parseArgs } from "node:util"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as DPoPApi from "../servers/dpopApi.ts"
import * as Telling from "../servers/telling.ts"
import { Loot, steal } from "./thief.ts"

class ArgumentsInvalid extends Data.TaggedError("ArgumentsInvalid")<{ readonly message: string }> {}

/** In seconds: a token is renewed when four fifths of it are over. */
const tokenLifetime = 6
/** In seconds. */
const nonceLifetime = 2

const readArguments = Effect.try({
  try: () => parseArgs({ options: { steal: { type: "boolean" } } }).values,
  catch: (error) => new ArgumentsInvalid({ message: error instanceof Error ? error.message : "wrong arguments" })
})

interface Servers {
  readonly server: AuthorizationServer.AuthorizationServer
  readonly api: DPoPApi.DPoPApi
  readonly settings: ConfigProvider.ConfigProvider
}

const startServers = (loot: Loot, rotateNonceAfter: number): Effect.Effect<Servers, never, Scope.Scope> =>
  Effect.gen(function*() {
    const secret = randomUUID()
    const server = yield* AuthorizationServer.start({
      clients: [{ client_id: "invoice.client", client_secret: secret, scope: "invoices" }],
      dpop: "nonces",
      tokenLifetime
    })
    const api = yield* DPoPApi.start({
      issuer: server,
      rotateNonceAfter: `${rotateNonceAfter} seconds`,
      onRequest: loot.take
    })
    const settings = ConfigProvider.fromMap(
      new Map([
        ["ISSUER", server.issuer],
        ["CLIENT_ID", "invoice.client"],
        ["CLIENT_SECRET", secret],
        ["API_URL", api.url]
      ])
    )
    return { server, api, settings }
  })

const outcome = ({ error, status }: { readonly status: number; readonly error: string | undefined }) =>
  error === undefined ? `${status}` : `${status} ${error}`

const tokenRequestsOf = (server: AuthorizationServer.AuthorizationServer) =>
  server.requests().filter(({ path }) => path === "/token")

const refusedOf = (requests: ReadonlyArray<{ readonly status: number }>): number =>
  requests.filter(({ status }) => status !== 200).length

const counted = (count: number, one: string, more = `${one}s`): string => `${count} ${count === 1 ? one : more}`

const beginning = ({ api, server }: Servers, { line, step }: Telling.Telling) =>
  Effect.gen(function*() {
    yield* step("The first token. The server wants a nonce of its own in the proof, and says so once.")
    for (const request of tokenRequestsOf(server)) {
      yield* line(`POST /token, ${request.proof?.algorithm} proof`, outcome(request))
    }
    yield* step("The first call. The API has a nonce of its own, and says so once.")
    for (const request of api.requests().slice(0, 2)) {
      yield* line(`GET ${request.path}, token and proof`, outcome(request))
    }
    for (const key of api.keys()) yield* line("the key, by its thumbprint", key)
  })

const calm = (servers: Servers, telling: Telling.Telling) =>
  Effect.gen(function*() {
    const { api, server } = servers
    const { end, heading, line, step } = telling
    yield* Telling.until(() => api.requests().length >= 2)
    yield* beginning(servers, telling)

    yield* step(`Calls go on, and the API's nonce changes every ${nonceLifetime} seconds.`)
    yield* Telling.until(() => api.nonces() >= 4)
    const [, ...calls] = api.requests()
    yield* line("calls so far", calls.length)
    yield* line("nonces so far", api.nonces())
    yield* line("refused since the first", refusedOf(calls))

    yield* step(`The token lives ${tokenLifetime} seconds: it is renewed before its end.`)
    yield* Telling.until(() => tokenRequestsOf(server).length >= 3)
    yield* Effect.sleep("500 millis")
    const [asked, given, ...renewals] = tokenRequestsOf(server)
    for (const request of renewals) yield* line(`POST /token, ${request.proof?.algorithm} proof`, outcome(request))

    const tokenRequests = tokenRequestsOf(server)
    const apiRequests = api.requests()
    const proofs = new Set(tokenRequests.map(({ proof }) => proof?.id)).size
    yield* heading("Totals")
    const refusals = (count: number) => `${counted(count, "refusal")}, for the want of a nonce`
    yield* line("requests for tokens", `${tokenRequests.length}, ${refusals(refusedOf(tokenRequests))}`)
    yield* line("requests to the API", `${apiRequests.length}, ${refusals(refusedOf(apiRequests))}`)
    yield* line("nonces of the API", api.nonces())
    yield* line("keys", api.keys().length)

    yield* end([
      [asked?.error === "use_dpop_nonce" && given?.status === 200, "one challenge, then the first token"],
      [renewals.length > 0 && refusedOf(renewals) === 0, "a token renewed without a challenge"],
      [proofs === tokenRequests.length, "a proof of its own in every token request"],
      [apiRequests[0]?.error === "use_dpop_nonce", "one challenge of the API"],
      [apiRequests.length > 5 && refusedOf(apiRequests) === 1, "no refusal by the API after the first"],
      [api.nonces() >= 4, "nonces of the API that change"],
      [api.keys().length === 1, "one key for all tokens"]
    ])
  })

const theft = (servers: Servers, telling: Telling.Telling, loot: Loot) =>
  Effect.gen(function*() {
    const { api } = servers
    const { end, line, step } = telling
    yield* Telling.until(() => api.requests().length >= 3)
    yield* beginning(servers, telling)

    yield* step("A thief has read the token and a proof in the API's log, and calls the API. What it answers:")
    const attempts = yield* steal(api, loot)
    for (const { how, reason, status } of attempts) yield* line(how, `${status} ${reason}`)

    yield* step("Meanwhile the worker goes on.")
    const before = api.requests().length
    yield* Telling.until(() => api.requests().length > before)
    const last = api.requests().at(-1)
    if (last !== undefined) yield* line(`GET ${last.path}, token and proof`, outcome(last))

    yield* end([
      ...attempts.map(({ expected, how, reason, status }): Telling.Fact => [
        status === 401 && reason.startsWith(expected),
        `the API refuses the token, sent ${how}, as ${expected}`
      ]),
      [last?.status === 200, "the worker's own call goes through"],
      [api.keys().length === 1, "no key but the worker's is accepted"]
    ])
  })

/** Runs the worker beside it; fails if something did not happen as it should. */
export const run = <E>(worker: Effect.Effect<unknown, E>) =>
  Effect.gen(function*() {
    const { steal: steals = false } = yield* readArguments
    const telling = yield* Telling.make
    yield* telling.title(
      steals
        ? "A token that is bound to a key is stolen. This takes a second."
        : "A worker calls an API with tokens that are bound to its key. This takes about 6 seconds."
    )
    const loot = new Loot()
    const servers = yield* startServers(loot, steals ? 60 : nonceLifetime)
    yield* worker.pipe(
      Effect.withConfigProvider(servers.settings),
      Effect.raceFirst(steals ? theft(servers, telling, loot) : calm(servers, telling))
    )
  }).pipe(Effect.scoped, Telling.reported)
