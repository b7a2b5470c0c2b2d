/**
 * Against a real Postgres, on loopback.
 */
import { type OAuthError, TokenStore } from "@effect-oauth/core"
import * as TokenStoreContract from "@effect-oauth/core/testing/TokenStoreContract"
import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import {
  Chunk,
  Context,
  Duration,
  Effect,
  Either,
  Fiber,
  Layer,
  Logger,
  Option,
  Redacted,
  type Scope,
  Stream,
  TestClock
} from "effect"
import { spawnSync } from "node:child_process"
import { inspect } from "node:util"
import * as PgEvents from "../src/internal/postgres/pgEvents.ts"
import * as PgRun from "../src/internal/postgres/pgRun.ts"
import * as PgSweeper from "../src/internal/postgres/pgSweeper.ts"
import type * as PgTables from "../src/internal/postgres/pgTables.ts"
import * as PgText from "../src/internal/postgres/pgText.ts"
import { password, type Postgres, query, startPostgres } from "./support/postgres.ts"

let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.end())

let tables = 0
const newTable = () => `tokens_${++tables}`

type Store = TokenStore.TokenStore["Type"]

/** A process of its own, as far as Postgres can see. */
const open = (
  options: PgTokenStore.Options,
  config: Partial<PgClient.PgClientConfig> = {}
): Effect.Effect<Store, unknown, Scope.Scope> =>
  Effect.map(
    Layer.build(Layer.provide(PgTokenStore.layer(options), PgClient.layer({ ...postgres.config, ...config }))),
    (context) => Context.get(context, TokenStore.TokenStore)
  )

const minute = { timeToLive: "1 minutes" } as const
const valueOf = (stored: Option.Option<TokenStore.Stored>) => Option.getOrUndefined(stored)?.value
const see = (statement: string, parameters?: ReadonlyArray<unknown>) =>
  Effect.suspend(() => query(postgres.config, statement, parameters))

const problemOf = <A, R>(effect: Effect.Effect<A, unknown, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.strictEqual((error as OAuthError.TokenStoreError)._tag, "TokenStoreError")
    return (error as OAuthError.TokenStoreError).message
  })

describe("PgTokenStore", () => {
  describe.concurrent("keeps to the contract", () => {
    for (const { name, run } of TokenStoreContract.cases) {
      it.scopedLive(name, () =>
        Effect.suspend(() => {
          const table = newTable()
          return Effect.scoped(run(open({ table })))
        }))
    }
  })

  describe.concurrent("entries", () => {
    it.scopedLive("can have any key, value and tag", () =>
      Effect.gen(function*() {
        const store = yield* open({ table: newTable() })
        const long = Array.from({ length: 3000 }, (_, index) => `${index}`).join("-")
        const texts = ["", "\0", "\\u0000", "\\", "\\\\", "\ud800", "\ud801", "\ufffd", "'", "{,}", "\"", "NULL", "é🔑"]
          .concat(long, `${long}.`, `\\h${"0".repeat(64)}`)
        for (const [index, text] of texts.entries()) {
          yield* store.set(text, text, { ...minute, tags: [text, `${index}`] })
        }
        for (const text of texts) assert.strictEqual(valueOf(yield* store.get(text)), text)
        for (const text of texts) {
          yield* store.removeByTag(text)
          assert.isTrue(Option.isNone(yield* store.get(text)))
        }
        assert.deepStrictEqual(texts.filter((text) => PgText.unescape(PgText.escape(text)) !== text), [])
      }))

    it.scopedLive("that cannot be read are not there", () =>
      Effect.gen(function*() {
        const table = newTable()
        const store = yield* open({ table })
        yield* store.set("a", "1", minute)
        yield* see(`update ${table} set value = $1`, ["broken \\x"])
        assert.isTrue(Option.isNone(yield* store.get("a")))
        yield* store.set("a", "2", minute)
        assert.strictEqual(valueOf(yield* store.get("a")), "2")
      }))

    it.scopedLive("that have expired are swept, and until then keep off who was held up", () =>
      Effect.gen(function*() {
        const table = newTable()
        const store = yield* open({ table, sweepEvery: Duration.infinity })
        yield* store.set("young", "1", minute)
        yield* store.set("old", "1", { timeToLive: 1, fence: 7 })
        yield* store.withLock("old", { lease: 1 }, () => Effect.sleep(20))
        yield* see(`insert into ${table}_locks values ('dead', 'x', now()), ('held', 'x', now() + interval '1 hour')`)
        assert.isTrue(Option.isNone(yield* store.set("old", "2", { ...minute, fence: 6 })))
        assert.isFalse(yield* store.remove("old"))
        // more than one batch
        yield* see(`insert into ${table} select i::text, '', '', 0, '{}', now() from generate_series(1, 2500) i`)
        const sweeper = yield* open({ table, sweepEvery: "20 millis" })
        const left = see(
          `select (select string_agg(key, ' ') from ${table}) entries, (select string_agg(key, ' ') from ${table}_locks) locks`
        )
        yield* Effect.repeat(left, { until: ([row]) => row?.entries === "young" && row.locks === "held" }).pipe(
          Effect.timeout("10 seconds")
        )
        assert.isTrue(Option.isSome(yield* sweeper.set("old", "2", { ...minute, fence: 6 })))
      }))

    it.effect("are swept in batches until there are none, and that it fails is said once", () =>
      Effect.gen(function*() {
        const answers = [1000, 1000, 3, 0, "down", "down", 0, 0, "down"]
        const asked: Array<unknown> = []
        const warned: Array<unknown> = []
        const run = (_: string, statement: string) =>
          Effect.suspend(() => {
            const answer = answers[asked.length] ?? 0
            asked.push(statement)
            return typeof answer === "string"
              ? Effect.fail(PgRun.error("sweep", answer))
              : Effect.succeed(Array(answer))
          })
        const statements = { sweep: ["entries", "locks"] } as PgTables.Statements
        yield* PgSweeper.sweep(run, statements, Duration.minutes(1)).pipe(
          Effect.provide(Logger.replace(Logger.defaultLogger, Logger.make(({ message }) => warned.push(message)))),
          Effect.fork
        )
        yield* TestClock.adjust("29 seconds")
        assert.strictEqual(asked.length, 0)
        yield* TestClock.adjust("61 seconds")
        assert.deepStrictEqual(asked.slice(0, 4), ["entries", "entries", "entries", "locks"])
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(warned.map(String), Array(2).fill("token store postgres, sweep: down"))
      }))

    it.scopedLive("live for a century at most, and are not part of a serializable conflict", () =>
      Effect.gen(function*() {
        const table = newTable()
        const config = {
          url: Redacted.make(
            `postgres://postgres:${password}@127.0.0.1:${postgres.port}/postgres?options=${
              encodeURIComponent("-c default_transaction_isolation=serializable")
            }`
          ),
          maxConnections: 10
        }
        const store = yield* open({ table }, config)
        assert.isTrue(Option.isSome(yield* store.set("a", "0", { timeToLive: Duration.days(1e9) })))
        const writes = Array.from({ length: 20 }, (_, index) => store.set("a", `${index}`, minute))
        const written = yield* Effect.all(writes, { concurrency: 3 })
        assert.strictEqual(written.filter(Option.isSome).length, 20)
      }))
  })

  describe.concurrent("migration", () => {
    it.scopedLive("can be run by many at once, and again", () =>
      Effect.gen(function*() {
        yield* see("create schema if not exists \"Auth\"")
        const table = `Auth.Tokens$${newTable()}`
        const stores = yield* Effect.all(Array.from({ length: 8 }, () => open({ table }, { maxConnections: 1 })), {
          concurrency: "unbounded"
        })
        for (const [index, store] of stores.entries()) yield* store.set(`${index}`, "1", minute)
        const again = yield* open({ table })
        const rows = yield* see(`select count(*)::int as count from "Auth"."${table.slice(5)}"`)
        assert.strictEqual(rows[0]?.count, 8)
        yield* see(`drop table "Auth"."${table.slice(5)}"`)
        yield* open({ table })
        assert.isTrue(Option.isNone(yield* again.get("1")))
      }))

    it.scopedLive("can be run by other means, for a user who must not create tables", () =>
      Effect.gen(function*() {
        const table = newTable()
        const role = { username: `role_${table}`, password: Redacted.make(password) }
        yield* see(`create role ${role.username} login password '${password}'`)
        const denied = yield* problemOf(open({ table }, role))
        assert.strictEqual(
          denied,
          "token store postgres, migrate: the user of the database lacks a privilege (SQLSTATE 42501)"
        )
        const early = yield* open({ table, migrate: false }, role)
        assert.strictEqual(
          yield* problemOf(early.get("a")),
          "token store postgres, get: the tables are missing, their migration has not been run (SQLSTATE 42P01)"
        )
        yield* see(Either.getOrThrow(PgTokenStore.migration({ table })))
        yield* see(`grant select, insert, update, delete on ${table}, ${table}_locks to ${role.username}`)
        yield* see(`grant usage on ${table}_fences to ${role.username}`)
        for (const store of [early, yield* open({ table }, role)]) {
          yield* store.withLock("a", {}, ({ fence }) => store.set("a", "1", { ...minute, fence }))
          assert.strictEqual(valueOf(yield* store.get("a")), "1")
        }
      }))

    it.scopedLive("refuses names that are none", () =>
      Effect.gen(function*() {
        for (const table of ["", "a b", "a.b.c", "a\"; drop table x; --", "a".repeat(49), "1a"]) {
          assert.include(yield* problemOf(PgTokenStore.migration({ table })), "options: table is expected to be")
          assert.include(yield* problemOf(open({ table })), "options: table is expected to be")
        }
        for (const channel of ["", "é".repeat(32)]) {
          assert.include(yield* problemOf(open({ channel })), "options: channel is expected to")
        }
      }))
  })

  describe.concurrent("the caller's", () => {
    const withClient = (config: Partial<PgClient.PgClientConfig>, options: PgTokenStore.Options) =>
      Effect.map(
        Layer.build(Layer.provideMerge(PgTokenStore.layer(options), PgClient.layer({ ...postgres.config, ...config }))),
        (context) => [Context.get(context, PgClient.PgClient), Context.get(context, TokenStore.TokenStore)] as const
      )

    it.scopedLive("transaction has no part in what the store does", () =>
      Effect.gen(function*() {
        const table = newTable()
        const [sql, store] = yield* withClient({}, { table })
        yield* Effect.gen(function*() {
          const fence = yield* store.withLock("a", {}, ({ fence }) => Effect.succeed(fence))
          yield* store.set("a", "1", { ...minute, fence: Option.getOrThrow(fence) })
          // seen by others while the transaction is open
          assert.strictEqual((yield* see(`select value from ${table}`))[0]?.value, "1")
          return yield* Effect.fail("rolled back")
        }).pipe(sql.withTransaction, Effect.flip)
        assert.strictEqual(valueOf(yield* store.get("a")), "1")
        // nor is the Layer's
        const built = yield* Effect.either(sql.withTransaction(Effect.zipRight(
          PgTokenStore.migrate({ table: `${table}_b` }).pipe(Effect.provideService(PgClient.PgClient, sql)),
          Effect.fail("rolled back")
        )))
        assert.isTrue(Either.isLeft(built))
        assert.strictEqual((yield* see("select to_regclass($1)::text as it", [`${table}_b`]))[0]?.it, `${table}_b`)
      }))

    it.scopedLive("transaction on the only connection is answered in time", () =>
      Effect.gen(function*() {
        const [sql, store] = yield* withClient({ maxConnections: 1 }, { table: newTable(), timeout: "300 millis" })
        assert.strictEqual(
          yield* problemOf(sql.withTransaction(store.get("a"))),
          "token store postgres, get: there was no answer in time"
        )
        assert.isTrue(Option.isNone(yield* store.get("a")))
      }))

    it.scopedLive("names and types are not the store's", () =>
      Effect.gen(function*() {
        const [, store] = yield* withClient({
          transformQueryNames: (name) => `q_${name}`,
          transformResultNames: (name) => `r_${name}`,
          types: { getTypeParser: () => (text: string) => text } as never
        }, { table: newTable() })
        const fences = yield* Effect.all(
          [1, 2].map(() => store.withLock("a", {}, ({ fence }) => Effect.succeed(fence)))
        )
        assert.deepStrictEqual(fences, [Option.some(1), Option.some(2)])
        yield* store.set("a", "1", { ...minute, tags: ["t"] })
        assert.strictEqual(valueOf(yield* store.get("a")), "1")
        assert.isTrue(yield* store.remove("a"))
      }))
  })

  it.scopedLive("locks are their holder's, for as long as the lease is", () =>
    Effect.gen(function*() {
      const driver = yield* Effect.provide(
        PgTokenStore.make({ table: newTable() }),
        yield* Layer.build(PgClient.layer(postgres.config))
      )
      const minutes = Duration.minutes(1)
      yield* driver.lock("a", "first", Duration.millis(1))
      yield* Effect.sleep(20)
      assert.isFalse(yield* driver.extend("a", "first", minutes))
      assert.deepStrictEqual(yield* driver.lock("a", "second", minutes), Option.some(2))
      assert.isFalse(yield* driver.extend("a", "first", minutes))
      yield* driver.unlock("a", "first")
      assert.deepStrictEqual(yield* driver.lock("a", "first", minutes), Option.none())
      assert.isTrue(yield* driver.extend("a", "second", Duration.millis(1)))
      yield* Effect.sleep(20)
      assert.deepStrictEqual(yield* driver.lock("a", "first", minutes), Option.some(3))
    }))

  describe.concurrent("events", () => {
    it.scopedLive("come from the channel of the options; a long key is a gap", () =>
      Effect.gen(function*() {
        const table = newTable()
        const config = { table, channel: "é'\" channel" }
        const [store, other] = yield* Effect.all([open(config), open(config)])
        const heard = yield* Effect.fork(Stream.runCollect(Stream.take(other.events, 3)))
        yield* Effect.sleep("500 millis")
        yield* store.set("x".repeat(7980), "1", minute)
        assert.strictEqual(valueOf(yield* other.get("x".repeat(7980))), "1")
        yield* store.remove("x".repeat(7980))
        assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(heard)), [
          { _tag: "Gap" },
          { _tag: "Gap" },
          { _tag: "Removed", key: "x".repeat(7980) }
        ])
      }))

    it.scopedLive("need a connection only while somebody subscribes, and end with the Layer", () =>
      Effect.gen(function*() {
        const table = newTable()
        const connections = Effect.map(
          see(
            "select count(*)::int as count from pg_stat_activity where application_name = $1 and query like 'LISTEN%'",
            [
              table
            ]
          ),
          ([row]) => row?.count
        )
        const subscriber = yield* Effect.scoped(Effect.gen(function*() {
          const store = yield* open({ table }, { applicationName: table })
          assert.strictEqual(yield* connections, 0)
          yield* Stream.runDrain(Stream.take(store.events, 1))
          yield* Effect.repeat(connections, { until: (count) => count === 0 })
          const both = yield* Effect.forkDaemon(Effect.all(
            [1, 2].map(() => Stream.runDrain(store.events)),
            { concurrency: 2 }
          ))
          yield* Effect.repeat(connections, { until: (count) => count === 1 })
          return both
        }))
        yield* Fiber.join(subscriber).pipe(Effect.timeout("5 seconds"))
        assert.strictEqual(yield* connections, 0)
      }))

    it.scopedLive("come again, after a gap, when a connection is lost without a sign", () =>
      Effect.gen(function*() {
        const client = Context.get(yield* Layer.build(PgClient.layer(postgres.config)), PgClient.PgClient)
        let silent = false
        const events = yield* PgEvents.make({
          config: postgres.config,
          channel: newTable(),
          notify: (payload) => {
            if (silent) {
              silent = false
              return Effect.void
            }
            return Effect.orDie(client`select pg_notify(${`tokens_${tables}`}, ${payload})`)
          },
          quiet: Duration.millis(100)
        })
        yield* events.pipe(
          Stream.tap(() =>
            Effect.sync(() => {
              silent = true
            })
          ),
          Stream.take(2),
          Stream.runDrain,
          Effect.timeout("15 seconds")
        )
      }))
  })

  it.scopedLive("shows nothing of keys, values and connections in errors", () =>
    Effect.gen(function*() {
      const table = newTable()
      const store = yield* open({ table })
      yield* see(`alter table ${table} add constraint c check (value <> 's3cret-value')`)
      yield* see(`alter table ${table}_locks add constraint c check (key <> 's3cret-key')`)
      const errors = yield* Effect.all([
        Effect.flip(store.set("s3cret-key", "s3cret-value", { ...minute, tags: ["s3cret-tag"] })),
        Effect.flip(store.withLock("s3cret-key", {}, () => Effect.void)),
        Effect.flip(open({ table: `nowhere.${table}` }))
      ])
      for (const error of errors) {
        assert.match((error as Error).message, /^token store postgres, \w+: .*SQLSTATE/)
        const shown = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error) + (error as Error).stack
        assert.notMatch(shown, /s3cret|insert|password|127\.0\.0\.1/)
      }
    }))

  it("is not pulled in by the package", () => {
    const hook = "export const resolve = async (s, c, n) => { const r = await n(s, c); " +
      "if (/sql|\\/pg\\/|Pg/.test(r.url)) throw new Error('pulls ' + r.url); return r }"
    const code = `import { register } from "node:module"
      register("data:text/javascript,${encodeURIComponent(hook)}")
      const { NodeOAuth } = await import("@effect-oauth/platform-node")
      console.log(typeof NodeOAuth.layer)
      await import("@effect-oauth/platform-node/PgTokenStore").catch((error) => console.log(error.message))`
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ["--import", "tsx", "--conditions=@effect-oauth/source", "--input-type=module", "--eval", code],
      { cwd: import.meta.dirname, encoding: "utf8" }
    )
    assert.match(stdout, /^object\npulls .*PgTokenStore/, stderr)
  }, 30_000)
})
