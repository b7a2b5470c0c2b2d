/**
 * A Redis that is killed, held up, cut off or not there yet, and processes to which that happens while they hold a lock.
 */
import type { TokenStore, TokenStoreEvent } from "@effect-oauth/core/TokenStore"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Logger, LogLevel, Option, Queue, type Scope, Stream, TestClock } from "effect"
import { Redis } from "ioredis"
import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import * as RedisServer from "./support/redis.ts"

type Store = TokenStore["Type"]

const minute = { timeToLive: "1 minutes" } as const

/** What the program would print. */
const logged = <A, E, R>(program: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
    return program(lines).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })

/** Fails soon, with such a problem. */
const failsWith = (store: Store, problem: RegExp, within: Duration.DurationInput) =>
  Effect.gen(function*() {
    const attempts: ReadonlyArray<Effect.Effect<unknown, any>> = [
      store.get("a"),
      store.set("a", "1", { ...minute, tags: ["t"] }),
      store.remove("a"),
      store.removeByTag("t"),
      store.withLock("a", { wait: "10 seconds" }, () => Effect.void)
    ]
    for (const attempt of attempts) {
      const [elapsed, error] = yield* Effect.timed(Effect.flip(attempt))
      assert.strictEqual(error._tag, "TokenStoreError")
      assert.match(error.problem, problem)
      assert.isTrue(Duration.lessThan(elapsed, within), Duration.format(elapsed))
    }
  })

const works = (store: Store) =>
  Effect.retry(Effect.zipRight(store.set("a", "1", minute), store.get("a")), {
    while: (error) => Effect.as(Effect.sleep("50 millis"), error._tag === "TokenStoreError")
  }).pipe(
    Effect.timeout("8 seconds"),
    Effect.map((stored) => assert.strictEqual(Option.getOrThrow(stored).value, "1"))
  )

/** The events from now on; `next` waits for one of a kind. */
const listen = (store: Store) =>
  Effect.gen(function*() {
    const queue = yield* Queue.unbounded<TokenStoreEvent>()
    yield* Effect.forkScoped(Stream.runForEach(store.events, (event) => Queue.offer(queue, event)))
    yield* Effect.sleep("50 millis")
    return (tag: TokenStoreEvent["_tag"]) =>
      Effect.repeat(Queue.take(queue), { until: (event) => event._tag === tag }).pipe(Effect.timeout("8 seconds"))
  })

/** After a gap, events of others arrive again. */
const hears = (store: Store, next: (tag: TokenStoreEvent["_tag"]) => Effect.Effect<TokenStoreEvent, any>) =>
  Effect.gen(function*() {
    yield* next("Gap")
    yield* works(store)
    yield* next("Written")
  })

interface Worker {
  readonly child: ChildProcess
  readonly say: (line: string) => Effect.Effect<void>
  /** The next line that it prints. */
  readonly next: Effect.Effect<string>
  readonly exit: Effect.Effect<number | null>
}

const worker = (mode: "use" | "contend", url: string): Effect.Effect<Worker, never, Scope.Scope> =>
  Effect.gen(function*() {
    const lines = yield* Queue.unbounded<string>()
    const file = fileURLToPath(new URL("support/redisWorker.ts", import.meta.url))
    const args = ["--conditions=@effect-oauth/source", "--import", "tsx", file, mode, url, "workers:"]
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })),
      (child) => Effect.sync(() => void child.kill("SIGKILL"))
    )
    createInterface({ input: child.stdout }).on("line", (line) => void Queue.unsafeOffer(lines, line))
    return {
      child,
      say: (line) => Effect.sync(() => void child.stdin.write(`${line}\n`)),
      next: Queue.take(lines).pipe(Effect.repeat({ until: (line) => !line.startsWith("timestamp=") })),
      exit: Effect.async<number | null>((resume) => {
        if (child.exitCode !== null) return resume(Effect.succeed(child.exitCode))
        child.once("exit", (code) => resume(Effect.succeed(code)))
      })
    }
  })

describe.skipIf(!RedisServer.available).concurrent("RedisTokenStore when Redis", () => {
  it.scopedLive("is killed: fails at once, and works again when it is back", () =>
    logged((lines) =>
      Effect.gen(function*() {
        const { kill, restart, url } = yield* RedisServer.start()
        const store = yield* RedisTokenStore.make({ url })
        const next = yield* listen(store)
        yield* works(store)
        yield* kill
        yield* failsWith(
          store,
          /^(there is no connection|the connection failed \((ECONNREFUSED|ECONNRESET)\))$/,
          "1 seconds"
        )
        yield* Effect.sleep("1 seconds")
        yield* failsWith(store, /ECONNREFUSED/, "50 millis")
        yield* restart
        yield* hears(store, next)
        assert.deepStrictEqual(lines.slice().sort(), [
          "INFO the token store has its connection to Redis again",
          "INFO the token store hears of changes in Redis again",
          "WARN token store redis, connect: the connection failed (ECONNREFUSED); it goes on trying",
          "WARN token store redis, events: the connection failed (ECONNREFUSED); it goes on trying"
        ])
      })
    ))

  it.scopedLive("is not there yet: the Layer is built all the same", () =>
    Effect.gen(function*() {
      const { kill, restart, url } = yield* RedisServer.start()
      yield* kill
      const [elapsed, store] = yield* Effect.timed(RedisTokenStore.make({ url }))
      assert.isTrue(Duration.lessThan(elapsed, "1 seconds"))
      const next = yield* listen(store)
      yield* failsWith(store, /ECONNREFUSED/, "1 seconds")
      yield* restart
      yield* hears(store, next)
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))

  it.scopedLive("is held up: commands end in time, and at once when they are interrupted", () =>
    Effect.gen(function*() {
      const { signal, url } = yield* RedisServer.start()
      const store = yield* RedisTokenStore.make({ url, commandTimeout: "300 millis" })
      yield* works(store)
      yield* signal("SIGSTOP")
      yield* failsWith(store, /^(no answer in time|there is no connection)$/, "700 millis")
      const caller = yield* Effect.fork(store.get("a"))
      const [elapsed] = yield* Effect.timed(Fiber.interrupt(caller))
      assert.isTrue(Duration.lessThan(elapsed, "100 millis"))
      yield* signal("SIGCONT")
      yield* works(store)
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))

  it.scopedLive("is held up when the Layer is built, or its scope ends", () =>
    Effect.gen(function*() {
      const { signal, url } = yield* RedisServer.start()
      yield* signal("SIGSTOP")
      const options = { url, commandTimeout: "300 millis", connectTimeout: "500 millis" } as const
      const [elapsed] = yield* Effect.timed(
        Effect.scoped(Effect.flatMap(RedisTokenStore.make(options), (store) => failsWith(store, /./, "500 millis")))
      )
      assert.isTrue(Duration.lessThan(elapsed, "3 seconds"), Duration.format(elapsed))
      yield* signal("SIGCONT")
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))

  it.scopedLive("cuts the connections: one gap, and what happens after it", () =>
    Effect.gen(function*() {
      const { admin, url } = yield* RedisServer.start()
      const store = yield* RedisTokenStore.make({ url })
      const next = yield* listen(store)
      yield* Effect.promise(() => admin.client("KILL", "TYPE", "pubsub"))
      yield* hears(store, next)
      yield* Effect.promise(() => admin.client("KILL", "TYPE", "normal"))
      // The next attempt to connect is under way, and commands wait for it.
      yield* Effect.sleep("10 millis")
      yield* store.get("a")
    }))

  it.scoped("is gone without a word: the connection for events finds out by asking", () =>
    Effect.gen(function*() {
      const { signal, url } = yield* RedisServer.start()
      const store = yield* RedisTokenStore.make({ url, commandTimeout: "200 millis" })
      const gaps = yield* Queue.unbounded<TokenStoreEvent>()
      yield* Effect.forkScoped(Stream.runForEach(store.events, (event) => Queue.offer(gaps, event)))
      const realTime = (millis: number) => Effect.promise(() => setTimeout(millis))
      yield* realTime(50)
      yield* signal("SIGSTOP")
      yield* TestClock.adjust("10 seconds")
      yield* realTime(500)
      yield* signal("SIGCONT")
      const next = Effect.zipRight(TestClock.adjust("1 seconds"), realTime(50))
      yield* Effect.repeat(Effect.zipRight(next, Queue.size(gaps)), { until: (size) => size > 0, times: 60 })
      assert.deepStrictEqual(yield* Queue.take(gaps), { _tag: "Gap" })
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))

  it.scopedLive("is lost to a client of the program's own: no command that has failed is carried out when it is back", () =>
    Effect.gen(function*() {
      const { admin, kill, port, restart, signal } = yield* RedisServer.start()
      const redis = yield* Effect.acquireRelease(
        Effect.sync(() =>
          // Commands wait in it, and are sent again: the defaults of ioredis.
          new Redis({ port, host: "127.0.0.1", retryStrategy: () => 50, maxRetriesPerRequest: null })
        ),
        (redis) => Effect.sync(() => redis.disconnect())
      )
      redis.on("error", () => {})
      yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* RedisTokenStore.makeFromClient(redis, { commandTimeout: "500 millis" })
        const next = yield* listen(store)
        yield* kill
        yield* failsWith(store, /^(there is no connection|no answer in time)$/, "1 seconds")
        yield* Effect.flip(store.set("late", "1", minute))
        yield* restart
        yield* works(store)
        yield* signal("SIGSTOP")
        yield* Effect.flip(store.set("late", "1", minute))
        yield* restart
        yield* Effect.sleep("500 millis")
        assert.strictEqual(yield* Effect.promise(() => admin.dbsize()), 0)
        yield* hears(store, next)
      }))
      assert.strictEqual(redis.status, "ready")
      assert.deepStrictEqual(
        ["ready", "close", "end"].map((event) => redis.listenerCount(event)),
        [0, 0, 0]
      )
      yield* Effect.sleep("100 millis")
      const clients = yield* Effect.promise(() => admin.client("LIST"))
      assert.strictEqual(String(clients).trim().split("\n").length, 2)
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None)))
})

describe.skipIf(!RedisServer.available).concurrent("RedisTokenStore in processes", () => {
  for (const fault of ["is there", "is not there", "is held up"] as const) {
    it.scopedLive(`ends with its scope when Redis ${fault}`, () =>
      Effect.gen(function*() {
        const { kill, signal, url } = yield* RedisServer.start()
        if (fault === "is not there") yield* kill
        if (fault === "is held up") yield* signal("SIGSTOP")
        const { exit, next } = yield* worker("use", url)
        assert.strictEqual(yield* next, fault === "is there" ? "end Right" : "end Left")
        const [elapsed, code] = yield* Effect.timed(exit)
        assert.strictEqual(code, 0)
        assert.isTrue(Duration.lessThan(elapsed, "2 seconds"), Duration.format(elapsed))
        yield* signal("SIGCONT")
      }), 40_000)
  }

  it.scopedLive(
    "gives the lock of one that was killed to another, and refuses what one writes that was held up",
    () =>
      Effect.gen(function*() {
        const { url } = yield* RedisServer.start()
        const workers = yield* Effect.all([worker("contend", url), worker("contend", url), worker("contend", url)])
        const others = new Set(workers)
        /** The one that says next that it has the lock. */
        const holder = Effect.suspend(() =>
          Effect.raceAll([...others].map((worker) => Effect.map(worker.next, (line) => ({ line, worker }))))
        ).pipe(
          Effect.tap(({ line, worker }) => {
            assert.match(line, /^held \d+$/)
            others.delete(worker)
          }),
          Effect.timed
        )
        const [, first] = yield* holder
        yield* first.worker.say("write")
        assert.strictEqual(yield* first.worker.next, "written")
        first.worker.child.kill("SIGKILL")
        const [afterKill, second] = yield* holder
        assert.isTrue(Duration.lessThan(afterKill, "2 seconds"), Duration.format(afterKill))
        second.worker.child.kill("SIGSTOP")
        const [afterStop, third] = yield* holder
        assert.isTrue(Duration.lessThan(afterStop, "2 seconds"), Duration.format(afterStop))
        const fences = [first, second, third].map(({ line }) => Number(line.slice(5)))
        assert.isTrue(fences[0]! < fences[1]! && fences[1]! < fences[2]!, `${fences}`)
        yield* third.worker.say("write")
        assert.strictEqual(yield* third.worker.next, "written")
        second.worker.child.kill("SIGCONT")
        yield* second.worker.say("write")
        assert.strictEqual(yield* second.worker.next, "refused")
        yield* third.worker.say("write")
        assert.strictEqual(yield* third.worker.next, "written")
        for (const { worker } of [second, third]) {
          yield* worker.say("release")
          assert.strictEqual(yield* worker.next, "end had it")
          assert.strictEqual(yield* worker.exit, 0)
        }
      }),
    40_000
  )
})
