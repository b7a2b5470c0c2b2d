/**
 * The authorization server is down: 200 calls in a row, then 1,000 at once.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as AuthorizationServer from "../../examples/servers/authorizationServer.ts"
import { percentile } from "./measure.ts"
import * as Ours from "./ours.ts"
import * as Peers from "./peers.ts"
import { type Row, time } from "./table.ts"

const inARow = 200
const atOnce = 1000

interface Outcome {
  readonly requests: number
  /** Of all calls but the first, in microseconds. */
  readonly waits: ReadonlyArray<number>
  readonly seconds: number
}

/** How long a call takes to fail, in microseconds. */
const wait = (call: Effect.Effect<unknown, unknown>): Effect.Effect<number> =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(Effect.either(call), (outcome) =>
      Either.isLeft(outcome) ? (performance.now() - started) * 1000 : Number.NaN)
  })

const outcome = (
  call: Effect.Effect<unknown, unknown>,
  requests: () => number,
  rowLength = inARow
): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    const started = performance.now()
    const [, ...row] = yield* Effect.all(Array.from({ length: rowLength }, () => wait(call)))
    const wave = yield* Effect.all(Array.from({ length: atOnce }, () => wait(call)), { concurrency: "unbounded" })
    return { requests: requests(), waits: [...row, ...wave], seconds: (performance.now() - started) / 1000 }
  })

const ours = (tokenEndpoint: string): Effect.Effect<Outcome> =>
  Effect.gen(function*() {
    let requests = 0
    const undici = yield* HttpClient.HttpClient
    const client = HttpClient.mapRequest(undici, (request) => {
      requests++
      return request
    })
    const context = yield* Layer.build(Ours.layer(client, ["client.0"], { ...Ours.clientOptions, tokenEndpoint }))
    return yield* outcome(Context.get(context, Ours.Manager).get("client.0"), () => requests)
  }).pipe(Effect.provide(NodeHttpClient.layerUndici), Effect.scoped)

const peer = (make: (fetch: Peers.Fetch) => () => Promise<unknown>, rowLength = inARow): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    const { fetch, requests } = Peers.counted(globalThis.fetch)
    return outcome(Effect.tryPromise(make(fetch)), requests, rowLength)
  })

/** Of a server that has gone. */
const deadEndpoint = Effect.scoped(
  Effect.map(AuthorizationServer.start({ clients: [] }), ({ tokenEndpoint }) => tokenEndpoint)
)

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const endpoint = yield* deadEndpoint
  const mine = yield* ours(endpoint)
  const badgateway = yield* peer((fetch) => {
    const client = Peers.badgateway(fetch, endpoint)
    return () => client.getAccessToken()
  })
  const msal = yield* peer((fetch) => {
    const app = Peers.msal(fetch, endpoint)
    return () => Peers.msalToken(app, 0)
  })
  // It waits for seconds in each call, between attempts of its own.
  const googleRow = 5
  const google = yield* peer((fetch) => {
    const client = Peers.google(fetch, endpoint)
    return () => client.getAccessToken()
  }, googleRow)

  const slowest = percentile(mine.waits, 1)
  const path = `server down: ${inARow} calls in a row, then ${atOnce.toLocaleString("en")} at once`
  const count = (name: string, { requests, waits }: Outcome) =>
    `${name} ${requests.toLocaleString("en")} (median wait ${time(percentile(waits, 0.5))})`
  return [
    {
      path: `${path}: requests`,
      ours: `${mine.requests} (in ${mine.seconds.toFixed(1)} s)`,
      floor: "1",
      ratio: "",
      goal: "at most 5",
      met: mine.requests <= 5 && mine.seconds < 2,
      peers: [
        count("@badgateway/oauth2-client", badgateway),
        count("@azure/msal-node", msal),
        count(`google-auth-library, ${googleRow} in a row only,`, google)
      ].join("; ")
    },
    {
      path: "the same: the slowest caller from the second on",
      ours: `${time(slowest)} (median ${time(percentile(mine.waits, 0.5))})`,
      floor: "",
      ratio: "",
      goal: "at most 1 ms",
      met: slowest <= 1000,
      peers: ""
    }
  ]
})
