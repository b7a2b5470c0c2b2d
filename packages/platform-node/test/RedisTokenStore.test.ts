import * as TokenStoreContract from "@effect-oauth/core/testing/TokenStoreContract"
import type { TokenStore } from "@effect-oauth/core/TokenStore"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { assert, describe, it, layer } from "@effect/vitest"
import {
  Chunk,
  Config,
  ConfigProvider,
  Context,
  Duration,
  Effect,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Option,
  Redacted,
  Schedule,
  Stream
} from "effect"
import { Cluster, Redis } from "ioredis"
import { execFileSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import * as RedisConnection from "../src/internal/redis/redisConnection.ts"
import * as RedisDriver from "../src/internal/redis/redisDriver.ts"
import * as RedisEvents from "../src/internal/redis/redisEvents.ts"
import * as RedisScripts from "../src/internal/redis/redisScripts.ts"
import { printed } from "./support/printed.ts"
import * as RedisServer from "./support/redis.ts"

type Store = TokenStore["Type"]

class Server extends Context.Tag("test/Server")<Server, RedisServer.RedisServer>() {}

const servers = (start: typeof RedisServer.startCluster) =>
  layer(Layer.scoped(Server, start), { excludeTestServices: true, timeout: "30 seconds" })

const withServer = servers(RedisServer.start())
const withCluster = servers(RedisServer.startCluster)

const minute = { timeToLive: "1 minutes" } as const
const password = "5ecr3t-p@ss:%/"

/** What the documentation says that a user needs. */
const acl = "+@hash +@sortedset +@string +@scripting +@pubsub +@connection +type +del +pexpire +pexpireat +time +info"
  .split(" ")

const open = (options?: Partial<RedisTokenStore.Options>) =>
  Effect.flatMap(Server, ({ url }) => RedisTokenStore.make({ url, prefix: `${randomUUID()}:`, ...options }))

const client = (more: object = {}) =>
  Effect.flatMap(Server, ({ port }) =>
    Effect.acquireRelease(
      Effect.sync(() => new Redis({ port, host: "127.0.0.1", lazyConnect: true, ...more })),
      (redis) => Effect.sync(() => redis.disconnect())
    ))

const cluster = Effect.flatMap(Server, ({ port }) =>
  Effect.acquireRelease(
    Effect.sync(() => new Cluster([{ port, host: "127.0.0.1" }], { lazyConnect: true })),
    (cluster) => Effect.sync(() => cluster.disconnect())
  ))

const admin = <A>(send: (redis: Redis) => Promise<A>) =>
  Effect.flatMap(Server, ({ admin }) => Effect.promise(() => send(admin)))

/** Every key below a prefix, with its time to live in milliseconds. */
const keysOf = (prefix: string) =>
  admin(async (redis) => {
    const all = (await redis.keys("*")).filter((key) => key.startsWith(prefix)).sort()
    return Promise.all(all.map(async (key) => [key.slice(prefix.length), await redis.pttl(key)] as const))
  })

const valueOf = (store: Store, key: string) =>
  Effect.map(store.get(key), (stored) => Option.getOrUndefined(stored)?.value)

describe.skipIf(!RedisServer.available)("RedisTokenStore", () => {
  const contract = (
    methods: { readonly scoped: (name: string, run: () => Effect.Effect<void, unknown, any>) => void },
    instances: (prefix: string) => Effect.Effect<Store, any, any>
  ) => {
    for (const { name, run } of TokenStoreContract.cases) {
      methods.scoped(name, () => run(instances(`acl:${randomUUID()}:`)))
    }
  }

  describe.concurrent("keeps to the contract", () => {
    withServer("with a URL", (it) => contract(it, (prefix) => open({ prefix })))

    withServer(
      "with an ACL user who may do what is documented",
      (it) =>
        contract(it, (prefix) =>
          Effect.gen(function*() {
            const { admin, port } = yield* Server
            yield* Effect.promise(() =>
              admin.call("ACL", ["SETUSER", "a:p", "on", `>${password}`, "~acl:*", "&acl:*", ...acl])
            )
            const url = `redis://a%3Ap:${encodeURIComponent(password)}@127.0.0.1:${port}/0`
            return yield* RedisTokenStore.make({ url: Redacted.make(url), prefix })
          }))
    )

    withServer(
      "over a client of the program's own, with a prefix of its own",
      (it) =>
        contract(
          it,
          (prefix) =>
            Effect.flatMap(client({ keyPrefix: "own:" }), (redis) => RedisTokenStore.makeFromClient(redis, { prefix }))
        )
    )

    withCluster(
      "on a cluster that forgets its scripts",
      (it) =>
        contract(it, (prefix) =>
          admin((redis) => redis.script("FLUSH")).pipe(
            Effect.repeat(Schedule.spaced("20 millis")),
            Effect.forkScoped,
            Effect.zipRight(open({ prefix, cluster: true }))
          ))
    )

    withCluster(
      "over the program's own client of a cluster",
      (it) =>
        contract(
          it,
          (prefix) => Effect.flatMap(cluster, (cluster) => RedisTokenStore.makeFromClient(cluster, { prefix }))
        )
    )
  })

  describe.concurrent("keeps entries that", () => {
    withCluster("on a cluster", (it) => {
      it.scoped("have any key and any tag, each its own", () =>
        Effect.gen(function*() {
          const prefix = `{}${randomUUID()}{:`
          const store = yield* open({ prefix })
          const names = [
            "",
            "%",
            "{",
            "}",
            "{}",
            "{a}",
            "a}{b",
            "}:entry",
            "a",
            "a:b",
            "%7B",
            "{a}:entry",
            "ä🔑\0\n",
            " "
          ]
          for (const name of names) {
            const fence = yield* store.withLock(name, {}, ({ fence }) => Effect.succeed(fence))
            const set = yield* store.set(name, `of ${name}`, {
              ...minute,
              fence: Option.getOrThrow(fence),
              tags: [name]
            })
            assert.isTrue(Option.isSome(set))
          }
          for (const name of names) assert.strictEqual(yield* valueOf(store, name), `of ${name}`)
          for (const name of names) {
            yield* store.removeByTag(name)
            assert.strictEqual(yield* valueOf(store, name), undefined)
          }
        }))
    })

    withServer("on a server", (it) => {
      it.scoped("all end, and their tags, locks and fences too", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          yield* store.set("a", "1", { timeToLive: "1 hours", tags: ["t", "u"] })
          yield* store.set("a", "1", { timeToLive: "1 minutes", tags: ["t"] })
          yield* store.set("b", "1", { timeToLive: "0.4 millis", tags: ["t"] })
          yield* store.set("c", "1", { timeToLive: "99999999 days" })
          yield* store.withLock("l", {}, () => Effect.asVoid(store.set("l", "1", { ...minute, fence: 7 })))
          yield* Effect.sleep("20 millis")
          const keys = yield* keysOf(prefix)
          assert.deepStrictEqual(keys.map(([key]) => key), [
            "{a}:entry",
            "{c}:entry",
            "{l}:entry",
            "{l}:fence",
            "{t}:tag"
          ])
          for (const [key, millis] of keys) assert.isAbove(millis, 0, key)
          const { "{a}:entry": entry, "{t}:tag": tag } = Object.fromEntries(keys)
          assert.isAtMost(entry!, 60_000)
          assert.isAbove(tag!, entry!)
        }))

      it.scoped("leave nothing in the sets of their tags", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const members = (tag: string) => admin((redis) => redis.zcard(`${prefix}{${tag}}:tag`))
          for (let i = 0; i < 20; i++) yield* store.set("a", `${i}`, { ...minute, tags: ["t"] })
          assert.strictEqual(yield* members("t"), 1)
          yield* store.set("a", "x", { ...minute, tags: ["t"], ifVersion: null })
          yield* store.set("a", "x", { ...minute, tags: ["t"], ifVersion: "any" })
          assert.strictEqual(yield* members("t"), 1)
          yield* store.set("a", "other", { ...minute, tags: ["u"] })
          assert.deepStrictEqual([yield* members("t"), yield* members("u")], [0, 1])
          yield* store.remove("a")
          assert.strictEqual(yield* members("u"), 0)
          // One that ended by itself goes with the next write: put back by more than the set waits.
          yield* store.set("b", "1", { ...minute, tags: ["t"] })
          const [member] = yield* admin((redis) => redis.zrange(`${prefix}{t}:tag`, 0, -1))
          yield* admin((redis) => redis.zadd(`${prefix}{t}:tag`, 1, member!))
          yield* store.set("c", "1", { ...minute, tags: ["t"] })
          assert.strictEqual(yield* members("t"), 1)
        }))

      it.scoped("go by their tag, a thousand of them too, but not those that were written again without it", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const keys = Array.from({ length: 1000 }, (_, index) => `k${index}`)
          const set = `${prefix}{t}:tag`
          yield* Effect.forEach(keys, (key) => store.set(key, "1", { ...minute, tags: ["t"] }), { concurrency: 100 })
          const members = yield* admin((redis) => redis.zrange(set, 0, -1))
          yield* Effect.forEach(keys.slice(0, 10), (key) => store.set(key, "2", minute))
          // As if it had not come to forgetting what was written over.
          yield* admin((redis) => redis.zadd(set, ...members.flatMap((member) => [2 ** 42, member])))
          yield* store.removeByTag("t")
          const left = yield* Effect.filter(keys, (key) => Effect.map(store.get(key), Option.isSome), {
            concurrency: 100
          })
          assert.deepStrictEqual(left, keys.slice(0, 10))
        }))

      it.scoped("are not lost to their tag by a removal at the same time", () =>
        Effect.gen(function*() {
          const store = yield* open()
          for (let round = 0; round < 30; round++) {
            yield* Effect.all([
              store.set("a", "1", { ...minute, tags: ["t"] }),
              store.removeByTag("t"),
              store.set("a", "2", { ...minute, tags: ["t"] }),
              store.removeByTag("t")
            ], { concurrency: "unbounded" })
            yield* store.removeByTag("t")
            assert.strictEqual(yield* valueOf(store, "a"), undefined)
          }
        }))

      /** A store whose removals by tag stop after each answer of Redis, for `between`, given how many there were. */
      const stopping = <R>(prefix: string, between: (answers: number) => Effect.Effect<unknown, any, R>) =>
        Effect.gen(function*() {
          const duration = Duration.seconds(5)
          const context = yield* Effect.context<R>()
          const connection = yield* RedisConnection.make(yield* client(), {
            limits: { commandTimeout: duration, connectTimeout: duration },
            own: true
          })
          let answers = 0
          return RedisDriver.make({
            ...connection,
            eval: (operation, script, ...args) =>
              Effect.tap(
                connection.eval(operation, script, ...args),
                () =>
                  script === RedisScripts.members
                    ? Effect.provide(Effect.orDie(between(++answers)), context)
                    : Effect.void
              )
          }, { channel: `${prefix}events`, events: Stream.never, prefix })
        })

      const written = (store: Store, keys: ReadonlyArray<string>, timeToLive: Duration.DurationInput) =>
        Effect.forEach(
          keys,
          (key) =>
            Effect.flatMap(store.get(key), (before) =>
              store.set(key, "1", {
                timeToLive,
                tags: ["t"],
                ifVersion: Option.getOrNull(before)?.version ?? null
              })),
          { concurrency: 100, discard: true }
        )

      const left = (store: Store, keys: ReadonlyArray<string>) =>
        Effect.filter(keys, (key) => Effect.map(store.get(key), Option.isSome), { concurrency: 100 })

      const many = Array.from({ length: 450 }, (_, index) => `k${index}`)

      it.scoped("are written again while they are removed by tag: they go", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          // Without the first condition the entry is another one, which may stay.
          const removing = yield* stopping(prefix, () =>
            Effect.zipRight(written(store, ["a", "b"], "1 minutes"), store.set("b", "without", minute)))
          yield* written(store, ["a", "b"], "1 minutes")
          yield* removing.removeByTag("t")
          assert.deepStrictEqual(yield* left(store, ["a", "b"]), ["b"])
        }))

      it.scoped("are written again, for less time, behind what a removal has read already: they go", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const steps: Array<number> = []
          const removing = yield* stopping(prefix, (answers) =>
            Effect.suspend(() => {
              steps.push(answers)
              return Effect.flatMap(left(store, many), (keys) => written(store, keys, "1 minutes"))
            }))
          yield* written(store, many, "1 hours")
          yield* removing.removeByTag("t")
          assert.isAtLeast(steps.length, 3)
          assert.deepStrictEqual(yield* left(store, many), [])
        }))

      it.scoped("are written again while a removal is held up for long: it begins anew", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const removing = yield* stopping(prefix, (answers) =>
            answers !== 1 ? Effect.void : Effect.gen(function*() {
              // As if the mark had ended, another one had come, and gone, meanwhile.
              yield* admin((redis) => redis.del(`${prefix}{t}:removal`))
              yield* Effect.flatMap(left(store, many), (keys) => written(store, keys, "1 minutes"))
              yield* store.removeByTag("none")
            }))
          yield* written(store, many, "1 hours")
          yield* removing.removeByTag("t")
          assert.deepStrictEqual(yield* left(store, many), [])
        }))

      it.scoped("are written under a tag that was removed: the next removal knows them", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const removing = yield* stopping(prefix, () => store.set("new", "1", { ...minute, tags: ["t"] }))
          yield* written(store, ["a"], "1 minutes")
          yield* removing.removeByTag("t")
          yield* store.removeByTag("t")
          assert.deepStrictEqual(yield* left(store, ["a", "new"]), [])
        }))

      it.scoped("are garbage: as if there were none", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const key = `${prefix}{a}:entry`
          const rows: ReadonlyArray<(redis: Redis) => Promise<unknown>> = [
            (redis) => redis.set(key, "text"),
            (redis) => redis.rpush(key, "a"),
            (redis) => redis.hset(key, "value", "x", "fence", 9),
            (redis) => redis.hset(key, "version", "x", "fence", 9),
            (redis) => redis.hset(key, "foo", "x")
          ]
          for (const write of rows) {
            for (const attempt of [store.get("a"), store.set("a", "x", { ...minute, ifVersion: "x" })]) {
              yield* admin((redis) => redis.del(key))
              yield* admin(write)
              assert.deepStrictEqual(yield* attempt, Option.none())
            }
            assert.isFalse(yield* store.remove("a"))
            yield* admin(write)
            assert.isTrue(
              Option.isSome(yield* store.set("a", "1", { ...minute, ifVersion: null, fence: 1, tags: ["t"] }))
            )
            assert.strictEqual(yield* valueOf(store, "a"), "1")
            assert.isAbove(yield* admin((redis) => redis.pttl(key)), 0)
          }
          yield* admin((redis) => redis.hset(key, "fence", "NaN!", "tags", "[1,{"))
          assert.isTrue(Option.isSome(yield* store.set("a", "2", { ...minute, fence: 1 })))
          yield* admin((redis) => redis.set(`${prefix}{t}:tag`, "text"))
          yield* store.removeByTag("t")
          yield* store.set("a", "3", { ...minute, tags: ["t"] })
          yield* store.removeByTag("t")
          assert.strictEqual(yield* valueOf(store, "a"), undefined)
        }))
    })

    withServer("were written under a lock", (it) => {
      it.scoped("have fences that rise over all that Redis has forgotten", () =>
        Effect.gen(function*() {
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const fence = Effect.map(store.withLock("a", {}, ({ fence }) => Effect.succeed(fence)), Option.getOrThrow)
          const first = yield* fence
          yield* admin((redis) => redis.flushall())
          const second = yield* fence
          assert.isAbove(second, first)
          // A clock that was put back: the last fence, and the one that an entry has, are from its future.
          const future = second + 3_600_000_000
          yield* admin((redis) => redis.set(`${prefix}{a}:fence`, future))
          assert.strictEqual(yield* fence, future + 1)
          yield* store.set("a", "1", { ...minute, fence: future + 10 })
          assert.strictEqual(yield* fence, future + 11)
          yield* admin((redis) => redis.del(`${prefix}{a}:fence`))
          assert.strictEqual(yield* fence, future + 11)
          yield* admin((redis) =>
            redis.del(`${prefix}{a}:fence`).then(() => redis.rpush(`${prefix}{a}:fence`, "garbage"))
          )
          assert.isTrue(Number.isSafeInteger(yield* fence))
        }))
    })
  })

  describe.concurrent("tells", () => {
    it("a Gap in place of what it cannot read", () => {
      const gap = { _tag: "Gap" } as const
      for (
        const text of [
          "",
          "{",
          "null",
          "1",
          "[]",
          "[\"w\",\"a\"]",
          "[\"w\",1,\"v\"]",
          "[\"x\",\"a\"]",
          "{\"0\":\"r\",\"1\":\"a\"}"
        ]
      ) {
        assert.deepStrictEqual(RedisEvents.decode(text), gap, text)
      }
      for (
        const event of [
          { _tag: "Written", key: "\"🔑\0", version: "v" },
          { _tag: "Removed", key: "" },
          { _tag: "TagRemoved", tag: "t" },
          gap
        ] as const
      ) assert.deepStrictEqual(RedisEvents.decode(RedisEvents.encode(event)), event)
    })

    withServer("of a server", (it) => {
      it.scoped("each listener everything, and one that is too slow a Gap", () =>
        Effect.gen(function*() {
          const { admin } = yield* Server
          const prefix = `${randomUUID()}:`
          const store = yield* open({ prefix })
          const ended = (event: { readonly _tag: string }) => event._tag === "TagRemoved"
          const busy = yield* Effect.makeLatch(false)
          const begun = yield* Effect.makeLatch(false)
          const slow = yield* store.events.pipe(
            Stream.mapEffect((event) => Effect.as(Effect.zipRight(begun.open, busy.await), event)),
            Stream.takeUntil(ended),
            Stream.runCollect,
            Effect.fork
          )
          const fast = yield* Effect.fork(Stream.runCollect(Stream.takeUntil(store.events, ended)))
          yield* Effect.sleep("50 millis")
          yield* store.remove("nothing", { ifVersion: "none" })
          yield* store.set("first", "1", minute)
          yield* begun.await
          const pipeline = admin.pipeline()
          for (let i = 0; i < 6000; i++) pipeline.publish(`${prefix}events`, `["r","${i}"]`)
          yield* Effect.promise(() => pipeline.exec())
          yield* store.removeByTag("t")
          const all = Chunk.toReadonlyArray(yield* Fiber.join(fast))
          assert.strictEqual(all.length, 6002)
          yield* busy.open
          const some = Chunk.toReadonlyArray(yield* Fiber.join(slow))
          assert.isBelow(some.length, 4100)
          assert.deepStrictEqual(some.map(({ _tag }) => _tag).slice(0, 3), ["Written", "Gap", "Removed"])
          assert.deepStrictEqual(some.at(-2), { _tag: "Removed", key: "5999" })
        }))

      it.scoped("the end of its scope by the end of the stream", () =>
        Effect.gen(function*() {
          const listener = yield* Effect.scoped(Effect.gen(function*() {
            const store = yield* open()
            const listener = yield* Effect.forkDaemon(Stream.runDrain(store.events))
            yield* Effect.sleep("50 millis")
            return listener
          }))
          yield* Fiber.join(listener).pipe(Effect.timeout("2 seconds"))
        }))
    })
  })

  describe.concurrent("fails with", () => {
    const failing = (server: Store) => ({
      get: server.get("the-key"),
      set: server.set("the-key", "the-value", minute),
      "set with tags": server.set("the-key", "the-value", { ...minute, tags: ["the-tag"] }),
      remove: server.remove("the-key"),
      removeByTag: server.removeByTag("the-tag"),
      lock: server.withLock("the-key", {}, () => Effect.void)
    })

    const expectProblem = (
      store: Store,
      problem: string,
      operations: ReadonlyArray<keyof ReturnType<typeof failing>>
    ) =>
      Effect.forEach(operations, (name) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(failing(store)[name] as Effect.Effect<unknown, any>)
          assert.strictEqual(error._tag, "TokenStoreError", name)
          assert.strictEqual(error.store, "redis")
          assert.strictEqual(error.operation, name.split(" ")[0])
          assert.strictEqual(error.problem, problem, name)
          assert.notMatch(printed(error), /5ecr3t|the-(key|value|tag)|127\.0\.0\.1/)
        }))

    const all = ["get", "set", "set with tags", "remove", "removeByTag", "lock"] as const
    const own = (name: string, args: ReadonlyArray<string>, test: Effect.Effect<void, unknown, any>) =>
      it.scopedLive(
        name,
        () =>
          test.pipe(
            Effect.provide(Layer.scoped(Server, RedisServer.start(...args))),
            Logger.withMinimumLogLevel(LogLevel.None)
          ) as Effect.Effect<void>
      )

    own(
      "OOM where Redis has no memory left, and removes still",
      [],
      Effect.gen(function*() {
        const store = yield* open()
        yield* store.set("the-key", "1", minute)
        yield* admin((redis) => redis.config("SET", "maxmemory", "1"))
        yield* expectProblem(store, "Redis answered OOM", ["set", "set with tags", "lock"])
        assert.strictEqual(yield* valueOf(store, "the-key"), "1")
        assert.isTrue(yield* store.remove("the-key"))
      })
    )

    own(
      "READONLY where it is a replica",
      [],
      Effect.gen(function*() {
        const store = yield* open()
        yield* store.set("the-key", "1", minute)
        yield* admin((redis) => redis.replicaof("127.0.0.1", 1))
        const connections = admin((redis) =>
          redis.info("stats").then((text) => Number(/total_connections_received:(\d+)/.exec(text)![1]))
        )
        const before = yield* connections
        for (const name of ["set", "remove", "lock"] as const) {
          yield* expectProblem(store, "Redis answered READONLY", [name])
          // It connects anew, to where the name leads now.
          yield* Effect.sleep("300 millis")
        }
        assert.strictEqual(yield* valueOf(store, "the-key"), "1")
        assert.isAtLeast(yield* connections, before + 3)
        yield* admin((redis) => redis.replicaof("NO", "ONE"))
        yield* Effect.sleep("300 millis")
        assert.isTrue(yield* store.remove("the-key"))
      })
    )

    own(
      "NOPERM where the user may not write or not publish",
      [],
      Effect.gen(function*() {
        const { port } = yield* Server
        const url = `redis://app:5ecr3t@127.0.0.1:${port}`
        yield* admin((redis) =>
          redis.call("ACL", "SETUSER", "app", "on", ">5ecr3t", "~*", "&*", "+@read", "+info", "+subscribe", "+ping")
        )
        const store = yield* open({ url })
        assert.isTrue(Option.isNone(yield* store.get("the-key")))
        yield* expectProblem(store, "Redis answered NOPERM", ["set", "set with tags", "remove", "removeByTag", "lock"])
        yield* admin((redis) => redis.call("ACL", "SETUSER", "app", "resetchannels", "+@all"))
        yield* expectProblem(store, "Redis answered NOPERM", ["set", "removeByTag"])
      })
    )

    own(
      "NOAUTH without a password, WRONGPASS with another",
      ["--requirepass", "5ecr3t-too"],
      Effect.gen(function*() {
        const { port } = yield* Server
        yield* expectProblem(yield* open(), "Redis answered NOAUTH", all)
        yield* expectProblem(yield* open({ url: `redis://:5ecr3t@127.0.0.1:${port}` }), "Redis answered WRONGPASS", all)
      })
    )

    own(
      "the code of the system where nobody listens",
      [],
      Effect.gen(function*() {
        yield* expectProblem(
          yield* open({ url: "redis://:5ecr3t@127.0.0.1:1" }),
          "the connection failed (ECONNREFUSED)",
          all
        )
      })
    )

    own(
      "what is wrong with a URL, of which it shows nothing",
      [],
      Effect.gen(function*() {
        const rows: ReadonlyArray<readonly [url: string, problem: string]> = [
          ["5ecr3t", "cannot be read"],
          ["http://u:5ecr3t@localhost", "another scheme"],
          ["redis://u:5ecr3t%@localhost", "cannot be read"],
          ["redis://u:5ecr3t@localhost:x", "cannot be read"],
          ["redis://u:5ecr3t@localhost/x", "a path"],
          ["redis://u:5ecr3t@localhost?password=5ecr3t", "a query"]
        ]
        for (const [url, problem] of rows) {
          for (const form of [url, Redacted.make(url)]) {
            const error = yield* Effect.flip(open({ url: form }))
            assert.strictEqual(error._tag, "TokenStoreError")
            assert.include(error.message, problem)
            assert.notInclude(printed(error), "5ecr3t")
          }
        }
      })
    )

    own(
      "none of it where the URL is right",
      [],
      Effect.gen(function*() {
        const { port } = yield* Server
        yield* admin((redis) => redis.config("SET", "requirepass", password))
        const url = `redis://:${encodeURIComponent(password)}@127.0.0.1:${port}/3`
        const built = yield* Layer.build(RedisTokenStore.layerConfig({
          url: Config.redacted("REDIS_URL"),
          prefix: Config.option(Config.string("PREFIX")),
          client: { connectionName: "5ecr3t-name" }
        })).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["REDIS_URL", url]]))))
        const store = [...built.unsafeMap.values()][0] as Store
        yield* store.set("a", "5ecr3t-value", minute)
        assert.notInclude(inspect(store, { depth: 20, showHidden: true }), "5ecr3t")
        const admin3 = yield* client({ password, db: 3 })
        assert.deepStrictEqual(yield* Effect.promise(() => admin3.keys("*")), ["effect-oauth:{a}:entry"])
      })
    )
  })

  it("ioredis is loaded with this module only", () => {
    const loaded = (module: string) =>
      execFileSync(
        process.execPath,
        [
          "--conditions=@effect-oauth/source",
          "--import",
          "tsx",
          "--input-type=module",
          "--eval",
          `
          import { Module } from "node:module"
          await import("${module}")
          console.log(Object.keys(Module._cache).some((file) => file.includes("ioredis")))
        `
        ],
        { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8" }
      ).trim()
    assert.strictEqual(loaded("@effect-oauth/platform-node"), "false")
    assert.strictEqual(loaded("@effect-oauth/platform-node/RedisTokenStore"), "true")
  })
})

if (!RedisServer.available) it.skip("RedisTokenStore: skipped, there is no redis-server on this machine", () => {})
