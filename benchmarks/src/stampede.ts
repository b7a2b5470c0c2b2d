/**
 * 10,000 callers at once of a token that nobody has yet.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Case, measure } from "./measure.ts"
import * as Ours from "./ours.ts"
import * as Peers from "./peers.ts"
import { ratioRow, type Row } from "./table.ts"

const callers = 10_000
const delay = 50

const atOnce = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<void, E> =>
  Effect.forEach(Array.from({ length: callers }, (_, index) => index), () => effect, {
    concurrency: "unbounded",
    discard: true
  })

/** Fibers that wait for one value that comes when the server would have answered. */
const bare = Effect.gen(function*() {
  const deferred = yield* Deferred.make<string>()
  yield* Effect.fork(Effect.delay(Deferred.succeed(deferred, "token"), delay))
  yield* atOnce(Deferred.await(deferred))
})

interface Counts {
  rounds: number
  requests: number
}

/** Each round has a cache of its own, which is empty. */
const ours = (counts: Counts) =>
  Effect.gen(function*() {
    const server = Ours.tokenServer(delay)
    const context = yield* Layer.build(Ours.layer(server.client, ["client.0"]))
    yield* Effect.orDie(atOnce(Context.get(context, Ours.Manager).get("client.0")))
    counts.rounds++
    counts.requests += server.requests()
  }).pipe(Effect.scoped)

const once = (effect: Effect.Effect<void>) => (count: number): Effect.Effect<void> => Effect.repeatN(effect, count - 1)

const requestsOf = (ask: (fetch: Peers.Fetch) => () => Promise<unknown>): Effect.Effect<string> =>
  Effect.promise(async () => {
    const server = Peers.tokenFetch(delay)
    const get = ask(server.fetch)
    await Promise.all(Array.from({ length: callers }, get))
    return server.requests().toLocaleString("en")
  })

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const counts: Counts = { rounds: 0, requests: 0 }
  const cases: ReadonlyArray<Case> = [
    { name: "bare", batch: once(bare) },
    { name: "ours", floor: "bare", batch: once(ours(counts)) }
  ]
  const result = yield* measure(cases, { rounds: 21, batchTime: 50 })

  const msal = yield* requestsOf((fetch) => {
    const app = Peers.msal(fetch)
    return () => Peers.msalToken(app, 0)
  })
  const badgateway = yield* requestsOf((fetch) => {
    const client = Peers.badgateway(fetch)
    return () => client.getAccessToken()
  })
  const google = yield* requestsOf((fetch) => {
    const client = Peers.google(fetch)
    return () => client.getAccessToken()
  })

  const path = `${callers.toLocaleString("en")} callers, cold key, server takes ${delay} ms`
  return [
    ratioRow(path, result("ours"), result("bare"), 1.5, ""),
    {
      path: `${path}: token requests`,
      ours: String(counts.requests / counts.rounds),
      floor: "1",
      ratio: "",
      goal: "1",
      met: counts.requests === counts.rounds,
      peers: `@azure/msal-node ${msal}, @badgateway/oauth2-client ${badgateway}, google-auth-library ${google}`
    }
  ]
})
