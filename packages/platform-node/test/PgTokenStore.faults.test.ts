/**
 * What happens to a store when Postgres, its connections, or processes that have a lock stop, hang or die.
 */
import { type OAuthError, TokenStore } from "@effect-oauth/core"
import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Option, Schedule, Stream } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { Socket } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import * as PgEvents from "../src/internal/postgres/pgEvents.ts"
import { type Postgres, query, startPostgres } from "./support/postgres.ts"

let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.end())

let tables = 0
const newTable = () => `tokens_${++tables}`

const open = (options: PgTokenStore.Options) =>
  Effect.map(
    Layer.build(Layer.provide(
      PgTokenStore.layer(options),
      PgClient.layer({ ...postgres.config, ...(options.table && { applicationName: options.table }) })
    )),
    (context) => Context.get(context, TokenStore.TokenStore)
  )

const minute = { timeToLive: "1 minutes" } as const
const see = (statement: string, parameters?: ReadonlyArray<unknown>) =>
  Effect.suspend(() => query(postgres.config, statement, parameters))

const listen = (store: TokenStore.TokenStore["Type"]) =>
  Effect.gen(function*() {
    const heard: Array<string> = []
    yield* Effect.forkScoped(Stream.runForEach(store.events, (event) =>
      Effect.sync(() =>
        heard.push("key" in event ? `${event._tag} ${event.key}` : event._tag)
      )))
    const until = (wanted: string, after = 0) =>
      Effect.sync(() =>
        heard.indexOf(wanted, after)
      ).pipe(
        Effect.repeat({ until: (index) => index >= 0, schedule: Schedule.spaced("10 millis") }),
        Effect.andThen(Effect.sync(() => heard.indexOf(wanted, after))),
        Effect.timeoutFail({ duration: "15 seconds", onTimeout: () => new Error(`${wanted} not in ${heard}`) })
      )
    yield* until("Gap")
    return { heard, until }
  })

const isWorking = (store: TokenStore.TokenStore["Type"]) =>
  store.set("working", "1", minute).pipe(
    Effect.retry({ times: 100, schedule: Schedule.spaced("50 millis") }),
    Effect.andThen(store.get("working")),
    Effect.map(Option.isSome)
  )

interface Program {
  readonly child: ChildProcess
  readonly says: (pattern: RegExp) => Promise<string>
  readonly exit: Promise<unknown>
}

const program = (...args: ReadonlyArray<string>): Program => {
  const file = fileURLToPath(new URL("support/pgProcess.ts", import.meta.url))
  const child = spawn(
    process.execPath,
    ["--import", "tsx", "--conditions=@effect-oauth/source", file, `${postgres.port}`, ...args],
    { stdio: ["pipe", "pipe", "inherit"] }
  )
  const lines: Array<string> = []
  const reader = createInterface(child.stdout)
  reader.on("line", (line) => lines.push(line))
  const says = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const found = lines.find((line) => pattern.test(line))
      if (found !== undefined) return found
      await once(reader, "line")
    }
  }
  return { child, says, exit: once(child, "exit") }
}

const running = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(Effect.sync(() => program(...args)), ({ child }) => Effect.sync(() => child.kill("SIGKILL")))

describe("PgTokenStore, when", () => {
  it.scopedLive(
    "Postgres is stopped in the middle of writes and comes back, fails typed and then works",
    () =>
      Effect.gen(function*() {
        const table = newTable()
        const [store, other] = yield* Effect.all([open({ table }), open({ table })])
        const events = yield* listen(other)
        const errors: Array<unknown> = []
        const writer = yield* Effect.forkScoped(
          Effect.forever(Effect.zipRight(
            Effect.catchAll(store.set("a", "1", minute), (error) => Effect.sync(() => errors.push(error))),
            Effect.sleep("1 millis")
          ))
        )
        yield* store.set("b", "1", minute)
        yield* see(`select 1 from ${table}`)
        // a write that waits for somebody else's transaction
        yield* Effect.forkScoped(Effect.exit(
          see(`begin; select 1 from ${table} where key = 'b' for update; select pg_sleep(30); commit`)
        ))
        yield* Effect.sleep("200 millis")
        const waiting = yield* Effect.fork(Effect.flip(store.set("b", "2", minute)))
        yield* Effect.sleep("200 millis")

        yield* Effect.promise(postgres.stopAtOnce)
        assert.strictEqual((yield* Fiber.join(waiting))._tag, "TokenStoreError")
        const [elapsed, error] = yield* Effect.timed(Effect.flip(store.get("a")))
        assert.strictEqual(error.problem, "there is no connection (ECONNREFUSED)")
        assert.isBelow(Duration.toMillis(elapsed), 1000)
        assert.isTrue(Option.isNone(yield* Effect.option(store.withLock("a", {}, () => Effect.void))))
        const before = events.heard.length

        yield* Effect.promise(postgres.start)
        assert.isTrue(yield* isWorking(store))
        const gap = yield* events.until("Gap", before)
        yield* events.until("Written a", gap)
        yield* Fiber.interrupt(writer)
        assert.isAbove(errors.length, 0)
        for (const each of errors) assert.strictEqual((each as OAuthError.TokenStoreError)._tag, "TokenStoreError")
      }),
    60_000
  )

  it.scopedLive("its connections are closed by the server, goes on", () =>
    Effect.gen(function*() {
      const table = newTable()
      const store = yield* open({ table })
      const events = yield* listen(store)
      yield* store.set("a", "1", minute)
      const before = events.heard.length
      yield* see("select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", [table])
      assert.isTrue(yield* isWorking(store))
      const gap = yield* events.until("Gap", before)
      yield* store.set("b", "1", minute)
      yield* events.until("Written b", gap)
    }), 30_000)

  it.scopedLive.skipIf(process.platform !== "linux")(
    "Postgres hangs, nobody waits, and afterwards it works",
    () =>
      Effect.gen(function*() {
        const table = newTable()
        const store = yield* open({ table, timeout: "400 millis" })
        const patient = yield* open({ table })
        const events = yield* listen(store)
        yield* store.set("a", "1", minute)
        yield* Effect.acquireRelease(
          Effect.promise(() => postgres.signal("SIGSTOP")),
          () => Effect.promise(() => postgres.signal("SIGCONT"))
        )
        const [own, error] = yield* Effect.timed(Effect.flip(store.get("a")))
        assert.strictEqual(error.problem, "there was no answer in time")
        assert.isBelow(Duration.toMillis(own), 1500)
        // that of a caller, who may be in a region that cannot be interrupted
        const [caller] = yield* Effect.timed(Effect.timeoutOption(patient.get("a"), "300 millis"))
        assert.isBelow(Duration.toMillis(caller), 1500)
        const [firm] = yield* Effect.timed(Effect.uninterruptible(Effect.flip(store.get("a"))))
        assert.isBelow(Duration.toMillis(firm), 1500)
        // more than there are connections
        yield* Effect.all(Array.from({ length: 20 }, () => Effect.flip(store.get("a"))), { concurrency: "unbounded" })
        yield* Effect.promise(() => postgres.signal("SIGCONT"))
        assert.isTrue(yield* isWorking(store))
        assert.isTrue(yield* isWorking(patient))
        yield* events.until("Written working")
      }),
    60_000
  )

  it.scopedLive.skipIf(process.platform !== "linux")(
    "Postgres hangs while a Layer ends, closes its sockets",
    () =>
      Effect.gen(function*() {
        const client = Context.get(yield* Layer.build(PgClient.layer(postgres.config)), PgClient.PgClient)
        const channel = newTable()
        const sockets: Array<Socket> = []
        const stream = () => {
          const socket = new Socket()
          sockets.push(socket)
          return socket
        }
        yield* Effect.acquireRelease(Effect.void, () => Effect.promise(() => postgres.signal("SIGCONT")))
        const ended = Effect.scoped(Effect.gen(function*() {
          const events = yield* PgEvents.make({
            config: { ...postgres.config, stream },
            channel,
            notify: (payload) => Effect.orDie(client`select pg_notify(${channel}, ${payload})`),
            quiet: Duration.seconds(10)
          })
          const gap = yield* Deferred.make<void>()
          yield* Effect.forkScoped(Stream.runForEach(events, () => Deferred.succeed(gap, undefined)))
          yield* Deferred.await(gap)
          yield* Effect.promise(() => postgres.signal("SIGSTOP"))
        }))
        const [elapsed] = yield* Effect.timed(ended)
        assert.isAtLeast(sockets.length, 2)
        assert.isTrue(sockets.every(({ destroyed }) => destroyed))
        assert.isBelow(Duration.toMillis(elapsed), 5000)
      }),
    30_000
  )

  it.scopedLive(
    "the holder of a lock is killed, gives the lock to the next within its lease",
    () =>
      Effect.gen(function*() {
        const table = newTable()
        const store = yield* open({ table })
        const holder = yield* running(table, "hold", "2000")
        yield* Effect.promise(() => holder.says(/^locked 1$/))
        assert.isTrue(Option.isNone(yield* store.withLock("a", { wait: "2500 millis" }, () => Effect.void)))
        holder.child.kill("SIGKILL")
        const [elapsed, fence] = yield* Effect.timed(
          store.withLock("a", { wait: "10 seconds" }, ({ fence }) => Effect.succeed(fence))
        )
        assert.deepStrictEqual(fence, Option.some(2))
        assert.isBelow(Duration.toMillis(elapsed), 3000)
      }),
    60_000
  )

  it.scopedLive.skipIf(process.platform === "win32")(
    "the holder of a lock is held up for longer than its lease, refuses what it writes",
    () =>
      Effect.gen(function*() {
        const table = newTable()
        const store = yield* open({ table })
        const holder = yield* running(table, "hold", "1000")
        yield* Effect.promise(() => holder.says(/^locked 1$/))
        holder.child.kill("SIGSTOP")
        const written = yield* store.withLock("a", { wait: "10 seconds" }, ({ fence }) =>
          store.set("a", "by its successor", { ...minute, fence }))
        assert.isTrue(Option.isSome(Option.flatten(written)))
        holder.child.kill("SIGCONT")
        yield* Effect.promise(() =>
          holder.says(/^lost$/)
        )
        holder.child.stdin!.write("write\n")
        assert.strictEqual(yield* Effect.promise(() => holder.says(/^(written|refused)$/)), "refused")
        assert.strictEqual(Option.getOrThrow(yield* store.get("a")).value, "by its successor")
        assert.deepStrictEqual(yield* Effect.promise(() => holder.exit), [0, null])
      }),
    60_000
  )

  it.scopedLive("its scope ends, leaves nothing that keeps the process", () =>
    Effect.gen(function*() {
      const user = yield* running(newTable(), "use")
      yield* Effect.promise(() => user.says(/^used$/))
      const ended = yield* Effect.timed(Effect.timeout(Effect.promise(() => user.exit), "5 seconds"))
      assert.deepStrictEqual(ended[1], [0, null])
      assert.isBelow(Duration.toMillis(ended[0]), 2500)
    }), 60_000)
})
