/**
 * Four processes over one Redis, with 2,500 callers each and no token; and what one step of the store costs.
 */
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import * as Effect from "effect/Effect"
import { Redis } from "ioredis"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import http from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import * as RedisServer from "../../examples/servers/redis.ts"
import { measure, repeat, repeatPromise } from "./measure.ts"
import * as Ours from "./ours.ts"
import { ratioRow, type Row, time, times } from "./table.ts"

/** Answers after 50 ms, and counts. */
const tokenServer = Effect.acquireRelease(
  Effect.promise(async () => {
    let requests = 0
    const server = http.createServer((_, response) => {
      const answer = JSON.stringify(Ours.tokenAnswer(++requests))
      setTimeout(() => response.setHeader("content-type", "application/json").end(answer), 50)
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    return {
      server,
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
      requests: () => requests
    }
  }),
  ({ server }) => Effect.sync(() => server.closeAllConnections() ?? server.close())
)

const worker = (env: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = fork(fileURLToPath(new URL("fleetWorker.ts", import.meta.url)), {
        execArgv: ["--import", "tsx"],
        env: { ...process.env, ...env }
      })
      await once(child, "message")
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const answerOf = (child: ChildProcess): Effect.Effect<number> =>
  Effect.promise(async () => {
    const answer = once(child, "message")
    child.send("go")
    return Number((await answer)[0])
  })

const coldKey = Effect.gen(function*() {
  const redis = yield* RedisServer.start
  const server = yield* tokenServer
  const env = { REDIS_URL: redis, TOKEN_ENDPOINT: server.endpoint }
  const children = yield* Effect.all([1, 2, 3, 4].map(() => worker(env)))
  const millis = yield* Effect.forEach(children, answerOf, { concurrency: "unbounded" })
  const requests = server.requests()
  return {
    path: "4 processes x 2,500 callers, cold key, Redis, server takes 50 ms: token requests",
    ours: `${requests}, the last process done after ${time(Math.max(...millis) * 1000)}`,
    floor: "1",
    ratio: "",
    goal: "1",
    met: requests === 1,
    peers: "none shares tokens between processes: 1 request for each process at best"
  }
}).pipe(Effect.scoped)

const steps = Effect.gen(function*() {
  const url = yield* RedisServer.start
  const store = yield* RedisTokenStore.make({ url })
  const raw = yield* Effect.acquireRelease(
    Effect.sync(() => new Redis(url)),
    (raw) => Effect.sync(() => raw.disconnect())
  )
  const value = "x".repeat(900)
  const timeToLive = "1 hour"
  yield* store.set("key", value, { timeToLive })
  yield* Effect.promise(() => raw.hset("raw", { value, version: "1" }))
  const result = yield* measure([
    { name: "raw get", batch: repeatPromise(() => raw.hmget("raw", "value", "version")) },
    { name: "get", floor: "raw get", batch: repeat(() => store.get("key")) },
    { name: "raw set", batch: repeatPromise(() => raw.set("raw.2", value, "PX", 3_600_000)) },
    { name: "set", floor: "raw set", batch: repeat(() => store.set("key", value, { timeToLive })) }
  ], { batchTime: 5 })
  const row = (step: string) =>
    ratioRow(
      `one ${step} of RedisTokenStore, 900 bytes; floor: one command of ioredis`,
      result(step),
      result(`raw ${step}`),
      5,
      `adds ${time(result(step).added)}; ${times(result(step).ratio)}`
    )
  return [row("get"), row("set")]
}).pipe(Effect.scoped)

const notRun: ReadonlyArray<Row> = [{
  path: "4 processes x 2,500 callers, cold key, Redis",
  ours: "not run: there is no redis-server on this machine",
  floor: "",
  ratio: "",
  goal: "1",
  met: false,
  peers: ""
}]

export const rows: Effect.Effect<ReadonlyArray<Row>> = RedisServer.isThere
  ? Effect.orDie(Effect.map(Effect.all([coldKey, steps]), ([fleet, others]) => [fleet, ...others]))
  : Effect.succeed(notRun)
