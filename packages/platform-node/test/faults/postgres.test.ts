/**
 * Processes that share a Postgres, and what can happen to them and to it: real processes, a real Postgres, a real
 * authorization server.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { describe, layer } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, type Scope } from "effect"
import { password, type Postgres, query, startPostgres } from "../support/postgres.ts"
import * as FaultProxy from "./support/faultProxy.ts"
import * as Scenarios from "./support/scenarios.ts"
import { FleetLive } from "./support/site.ts"

const start: Effect.Effect<Postgres, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(() => startPostgres()),
  ({ end }) => Effect.promise(() => end())
)

/** One for the tests that leave it alone. */
class Shared extends Context.Tag("Shared")<Shared, Postgres>() {}

const serverOf = (postgres: Postgres): Scenarios.Server => ({
  port: postgres.port,
  store: (table, port = postgres.port) => ({ _tag: "postgres", port, password, table }),
  dump: (table) =>
    Effect.gen(function*() {
      const rows = yield* Effect.forEach([table, `${table}_locks`], (name) =>
        query(postgres.config, `select t::text as row from "${name}" as t`))
      return rows.flat().map(({ row }) =>
        String(row)
      ).sort()
    })
})

const shared = Effect.map(Shared, serverOf)
const own = Effect.map(start, (postgres) => ({ postgres, server: serverOf(postgres) }))

/** Another transaction has the table of entries for itself, until Postgres is stopped. */
const stepWaits = ({ config }: Postgres, table: string) =>
  Effect.gen(function*() {
    const locked = yield* Deferred.make<void>()
    yield* Effect.flatMap(PgClient.PgClient, (sql) =>
      sql.withTransaction(
        sql.unsafe(`lock table "${table}"`).pipe(
          Effect.zipRight(Deferred.succeed(locked, undefined)),
          Effect.zipRight(Effect.never)
        )
      )).pipe(Effect.provide(PgClient.layer({ ...config, maxConnections: 1 })), Effect.ignore, Effect.forkScoped)
    yield* Deferred.await(locked)
    const waiting = query(config, "select 1 from pg_stat_activity where wait_event_type = 'Lock'")
    return Effect.asVoid(Effect.repeat(waiting, { until: (rows) => rows.length > 0 }))
  })

const limit = 60_000

const ways: ReadonlyArray<readonly [string, FaultProxy.Fault]> = [
  ["slow by two seconds", { _tag: "slow", millis: 2000 }],
  ["whose connections are reset", { _tag: "reset" }],
  ["whose answers break off", { _tag: "cut", bytes: 3 }]
]

const live = Layer.merge(FleetLive, Layer.scoped(Shared, start))

describe("processes that share a Postgres", () => {
  layer(live, { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    it.scoped(
      "2,500 callers in each of four processes and a cold key: one token request",
      () => Effect.flatMap(shared, (server) => Scenarios.coldKey(server, 2500)),
      limit
    )

    it.scoped(
      "a revoked token that 250 callers in each of four processes meet at once is renewed once",
      () => Effect.flatMap(shared, (server) => Scenarios.revokedToken(server, 250)),
      limit
    )

    describe.concurrent("the process that holds the lock", () => {
      it.scoped(
        "is killed: another takes over within the lease",
        () => Effect.flatMap(shared, Scenarios.killedHolder),
        limit
      )
      it.scoped(
        "is paused past its lease and woken: another has taken over, and its token stays",
        () => Effect.flatMap(shared, Scenarios.pausedHolder),
        limit
      )
      it.scoped(
        "is cut off from Postgres: another takes over within the lease, and its token stays",
        () => Effect.flatMap(shared, Scenarios.cutOffHolder),
        limit
      )
    })

    describe.concurrent("tokens come, the log says so once, and they are shared again after a Postgres", () => {
      it.scoped(
        "stopped in the middle of a transaction, and started again",
        () =>
          Effect.flatMap(own, ({ postgres, server }) =>
            Scenarios.outage({
              server,
              port: server.port,
              begin: Effect.promise(() => postgres.stopAtOnce()),
              end: Effect.promise(() => postgres.start()),
              stepWaits: (table) => stepWaits(postgres, table)
            })),
        limit
      )
      it.scoped(
        "that hangs",
        () =>
          Effect.flatMap(own, ({ postgres, server }) =>
            Scenarios.outage({
              server,
              port: server.port,
              begin: Effect.promise(() => postgres.signal("SIGSTOP")),
              end: Effect.promise(() => postgres.signal("SIGCONT"))
            })),
        limit
      )
      for (const [name, fault] of ways) {
        it.scoped(name, () =>
          Effect.gen(function*() {
            const server = yield* shared
            const { become, port } = yield* FaultProxy.start(server.port)
            yield* Scenarios.outage({ server, port, begin: become(fault), end: become("none") })
          }), limit)
      }
    })

    describe.concurrent("sealed", () => {
      it.scoped(
        "no token, key or secret can be read in a dump",
        () => Effect.flatMap(shared, Scenarios.sealed),
        limit
      )
      it.scoped(
        "an entry that was sealed with a removed key is nothing found, and no error",
        () => Effect.flatMap(shared, Scenarios.removedKey),
        limit
      )
    })

    describe.concurrent("when the services are closed the process ends by itself", () => {
      it.scoped(
        "with Postgres there",
        () => Effect.flatMap(shared, (server) => Scenarios.exits(server, Effect.void)),
        limit
      )
      it.scoped(
        "with Postgres gone",
        () =>
          Effect.flatMap(
            own,
            ({ postgres, server }) => Scenarios.exits(server, Effect.promise(() => postgres.stopAtOnce()))
          ),
        limit
      )
    })
  })
})
