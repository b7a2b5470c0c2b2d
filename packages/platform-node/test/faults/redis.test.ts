/**
 * Processes that share a Redis, and what can happen to them and to it: real processes, a real Redis, a real authorization
 * server.
 */
import { describe, layer } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import * as RedisServer from "../support/redis.ts"
import * as FaultProxy from "./support/faultProxy.ts"
import * as Scenarios from "./support/scenarios.ts"
import { FleetLive } from "./support/site.ts"

/** Names of keys, and what is in them. */
const dump = ({ admin }: RedisServer.RedisServer) =>
  Effect.promise(async () => {
    const texts: Array<string> = []
    for (const key of await admin.keys("*")) {
      const type = await admin.type(key)
      const content = type === "hash"
        ? await admin.hgetall(key)
        : type === "zset"
        ? await admin.zrange(key, "0", "-1", "WITHSCORES")
        : await admin.get(key)
      texts.push(key, typeof content === "string" ? content : JSON.stringify(content))
    }
    return texts.sort()
  })

interface Redis extends Scenarios.Server {
  readonly redis: RedisServer.RedisServer
}

const start: Effect.Effect<Redis, never, Scope.Scope> = Effect.map(RedisServer.start(), (redis) => ({
  redis,
  port: redis.port,
  store: (name, port = redis.port) => ({ _tag: "redis", url: `redis://127.0.0.1:${port}`, prefix: `${name}:` }),
  dump: () => dump(redis)
}))

const limit = 60_000

const command = ({ redis }: Redis, name: string, ...args: ReadonlyArray<string>) =>
  Effect.promise(() => redis.admin.call(name, ...args)).pipe(Effect.asVoid)

/** What goes wrong at Redis itself. */
const faults: ReadonlyArray<readonly [string, (redis: Redis) => Pick<Scenarios.Fault, "begin" | "end">]> = [
  ["stopped and started again", ({ redis }) => ({ begin: redis.kill, end: redis.restart })],
  ["that hangs", ({ redis }) => ({ begin: redis.signal("SIGSTOP"), end: redis.signal("SIGCONT") })],
  ["full", (redis) => ({
    begin: command(redis, "CONFIG", "SET", "maxmemory", "1"),
    end: command(redis, "CONFIG", "SET", "maxmemory", "0")
  })],
  ["read-only, as a replica of a dead primary", (redis) => ({
    begin: command(redis, "REPLICAOF", "127.0.0.1", "1"),
    end: command(redis, "REPLICAOF", "NO", "ONE")
  })]
]

/** What goes wrong on the way to it. */
const ways: ReadonlyArray<readonly [string, FaultProxy.Fault]> = [
  ["slow by two seconds", { _tag: "slow", millis: 2000 }],
  ["answering garbage", { _tag: "garbage" }],
  ["whose answers break off", { _tag: "cut", bytes: 3 }]
]

describe.skipIf(!RedisServer.available)("processes that share a Redis (skipped where there is no redis-server)", () => {
  layer(FleetLive, { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    it.scoped(
      "2,500 callers in each of four processes and a cold key: one token request",
      () => Effect.flatMap(start, (server) => Scenarios.coldKey(server, 2500)),
      limit
    )

    it.scoped(
      "a revoked token that 2,500 callers in each of four processes meet at once is renewed once",
      () => Effect.flatMap(start, (server) => Scenarios.revokedToken(server, 2500)),
      limit
    )

    describe.concurrent("the process that holds the lock", () => {
      it.scoped(
        "is killed: another takes over within the lease",
        () => Effect.flatMap(start, Scenarios.killedHolder),
        limit
      )
      it.scoped(
        "is paused past its lease and woken: another has taken over, and its token stays",
        () => Effect.flatMap(start, Scenarios.pausedHolder),
        limit
      )
      it.scoped(
        "is cut off from Redis: another takes over within the lease, and its token stays",
        () => Effect.flatMap(start, Scenarios.cutOffHolder),
        limit
      )
    })

    describe.concurrent("tokens come, the log says so once, and they are shared again after a Redis", () => {
      for (const [name, faultOf] of faults) {
        it.scoped(
          name,
          () => Effect.flatMap(start, (server) => Scenarios.outage({ server, port: server.port, ...faultOf(server) })),
          limit
        )
      }
      for (const [name, fault] of ways) {
        it.scoped(name, () =>
          Effect.gen(function*() {
            const server = yield* start
            const { become, port } = yield* FaultProxy.start(server.port)
            yield* Scenarios.outage({ server, port, begin: become(fault), end: become("none") })
          }), limit)
      }
    })

    describe.concurrent("sealed", () => {
      it.scoped(
        "no token, key or secret can be read in a dump",
        () => Effect.flatMap(start, Scenarios.sealed),
        limit
      )
      it.scoped(
        "an entry that was sealed with a removed key is nothing found, and no error",
        () => Effect.flatMap(start, Scenarios.removedKey),
        limit
      )
    })

    describe.concurrent("when the services are closed the process ends by itself", () => {
      it.scoped(
        "with Redis there",
        () => Effect.flatMap(start, (server) => Scenarios.exits(server, Effect.void)),
        limit
      )
      it.scoped(
        "with Redis gone",
        () => Effect.flatMap(start, (server) => Scenarios.exits(server, server.redis.kill)),
        limit
      )
      it.scoped("with a Redis that hangs", () =>
        Effect.gen(function*() {
          const server = yield* start
          const { become, port } = yield* FaultProxy.start(server.port)
          yield* Scenarios.exits(server, become("hang"), port)
        }), limit)
    })
  })
})
