/**
 * Several processes and one store: each process is a stack of services of its own, all over one store and one server.
 */
import {
  AccessTokenHttpClient,
  ClientCredentialsTokenManager,
  DPoPKeyStore,
  DPoPNonceStore,
  DPoPVerifier,
  OAuth,
  OAuthError,
  OAuthMetrics,
  Signer,
  SigningKey,
  TokenCache,
  TokenCacheKey,
  TokenClients,
  TokenEncryption,
  TokenStore
} from "@effect-oauth/core"
import type { TokenClient, TokenRequestParameters } from "@effect-oauth/core"
import { webCrypto } from "@effect-oauth/core/Signer"
import * as Headers from "@effect/platform/Headers"
import { assert, describe, it } from "@effect/vitest"
import {
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Metric,
  Option,
  PubSub,
  Redacted,
  Ref,
  Stream,
  TestClock
} from "effect"
import { createHash } from "node:crypto"
import type { Seen, Stub } from "./support/StubServer.ts"
import { json, options, stub, token } from "./support/StubServer.ts"

const Manager = ClientCredentialsTokenManager.ClientCredentialsTokenManager
type Store = TokenStore.TokenStore["Type"]

interface Fleet {
  readonly store: Store
  readonly server: Stub
  readonly clients?: Readonly<Record<string, TokenClient.TokenClientOptions>>
  readonly cache?: TokenCache.Options
  readonly more?:
    | Layer.Layer<TokenEncryption.TokenEncryption | DPoPKeyStore.DPoPKeyStore | TokenCacheKey.TokenCacheKey>
    | Layer.Layer<never>
}

/** Hashes at once: a hash of WebCrypto takes real time, which the test clock does not know of. */
const signer = Layer.succeed(Signer.Signer, {
  ...webCrypto,
  sha256: (text) => Effect.sync(() => createHash("sha256").update(text).digest("base64url"))
})

/** One more process of a fleet, until the scope ends. */
const start = ({ cache, clients = { worker: options }, more = Layer.empty, server, store }: Fleet) =>
  Effect.gen(function*() {
    const given = Layer.mergeAll(server.layer, signer, Layer.succeed(TokenStore.TokenStore, store), more)
    const context = yield* Layer.build(
      OAuth.layer.pipe(
        Layer.provideMerge(TokenClients.layer(clients)),
        Layer.provideMerge(Layer.provide(TokenCache.layer(cache), given)),
        Layer.provideMerge(given)
      )
    )
    const manager = yield* Effect.provide(Manager, context)
    const middleware = yield* Effect.provide(AccessTokenHttpClient.clientCredentials("worker"), context)
    return {
      manager,
      api: middleware(server.client),
      get: (parameters?: TokenRequestParameters.TokenRequestParameters) =>
        Effect.map(manager.get("worker", parameters), ({ value }) => Redacted.value(value))
    }
  })

/** A store whose every method can be made to fail, hang or be slow. */
const faulty = Effect.gen(function*() {
  const memory = yield* TokenStore.makeMemory
  const fault = yield* Ref.make<Effect.Effect<void, OAuthError.TokenStoreError>>(Effect.void)
  const calls = yield* Ref.make(0)
  const first = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Ref.update(calls, (n) => n + 1).pipe(Effect.zipRight(Effect.flatten(Ref.get(fault))), Effect.zipRight(effect))
  const store: Store = {
    get: (key) => first(memory.get(key)),
    set: (...args) => first(memory.set(...args)),
    remove: (...args) => first(memory.remove(...args)),
    removeByTag: (tag) => first(memory.removeByTag(tag)),
    withLock: (...args) => first(memory.withLock(...args)),
    events: memory.events
  }
  return {
    store,
    memory,
    calls: Ref.get(calls),
    make: (how: Effect.Effect<void, OAuthError.TokenStoreError>) => Ref.set(fault, how)
  }
})

const down = Effect.fail(new OAuthError.TokenStoreError({ store: "test", operation: "any", problem: "ECONNREFUSED" }))

const counting = (
  answer: (number: number, seen: Seen) => Response | Effect.Effect<Response> = (number) => token(number)
) => stub((seen, number) => answer(number, seen))

const numbers = <A>(count: number, make: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => make(index))

const logged = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
  return {
    lines,
    layer: Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.Info))
  }
}

/** Lets what was published arrive. */
const settled = TestClock.adjust("1 millis").pipe(Effect.zipRight(Effect.yieldNow()), Effect.repeatN(5))

describe("a token for all processes", () => {
  it.scoped("one asks the server, the others find it in the store", () =>
    Effect.gen(function*() {
      const fleet = { store: yield* TokenStore.makeMemory, server: counting() }
      const one = yield* start(fleet)
      const other = yield* start(fleet)
      const hits = Metric.value(OAuthMetrics.sharedHit)
      assert.strictEqual(yield* one.get(), "token-1")
      const before = (yield* hits).count
      assert.strictEqual(yield* other.get(), "token-1")
      assert.strictEqual((yield* hits).count - before, 1)
      assert.strictEqual(yield* other.get(), "token-1")
      assert.strictEqual((yield* hits).count - before, 1, "from then on from memory")
      assert.strictEqual(fleet.server.seen.length, 1)
    }))

  it.scoped("is one for each partition, whatever characters are in it", () =>
    Effect.gen(function*() {
      const fleet = { store: yield* TokenStore.makeMemory, server: counting() }
      const one = yield* start(fleet)
      const other = yield* start(fleet)
      // As UTF-8 all of these are U+FFFD.
      for (const [index, partition] of ["\ud800", "\ud801", "\udc00", "\ufffd"].entries()) {
        assert.strictEqual(yield* one.get({ partition }), `token-${index + 1}`)
        assert.strictEqual(yield* other.get({ partition }), `token-${index + 1}`)
      }
    }))

  it.scoped("four processes with 250 callers each and nothing in the store: one request", () =>
    Effect.gen(function*() {
      const server = counting((number) => Effect.delay(Effect.succeed(token(number)), "2 seconds"))
      const fleet = { store: yield* TokenStore.makeMemory, server }
      const processes = yield* Effect.all(numbers(4, () => start(fleet)))
      const calls = yield* Effect.fork(Effect.all(
        processes.flatMap(({ get }) => numbers(250, () => get())),
        { concurrency: "unbounded" }
      ))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual([...new Set(yield* Fiber.join(calls))], ["token-1"])
      assert.strictEqual(server.seen.length, 1)
    }))

  it.scoped("a revoked token that all of them meet at once is renewed once", () =>
    Effect.gen(function*() {
      const server = counting((number, seen) =>
        seen.url.startsWith("https://as.test")
          ? Effect.delay(Effect.sync(() => token(number)), "1 seconds")
          : Effect.succeed(
            seen.headers.authorization === "Bearer token-1" ? json({}, { status: 401 }) : json({ fine: true })
          )
      )
      const fleet = { store: yield* TokenStore.makeMemory, server }
      const processes = yield* Effect.all(numbers(4, () => start(fleet)))
      const first = yield* Effect.fork(Effect.all(processes.map(({ get }) => get()), { concurrency: "unbounded" }))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(first)
      const calls = yield* Effect.fork(Effect.all(
        processes.flatMap(({ api }) => numbers(50, () => api.get("https://api.test/x"))),
        { concurrency: "unbounded" }
      ))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual([...new Set((yield* Fiber.join(calls)).map(({ status }) => status))], [200])
      assert.strictEqual(server.seen.filter(({ url }) => url.startsWith("https://as.test")).length, 2)
    }))

  it.scoped("a token that outlives a process is found by the next, its lifetime with it [parity 47, changed]", () =>
    Effect.gen(function*() {
      const fleet = { store: yield* TokenStore.makeMemory, server: counting() }
      const first = yield* Effect.scoped(Effect.flatMap(start(fleet), ({ manager }) => manager.get("worker")))
      yield* TestClock.adjust("10 minutes")
      const later = yield* start(fleet)
      const found = yield* later.manager.get("worker")
      assert.deepStrictEqual(found.expiresAt, first.expiresAt)
      assert.strictEqual(Redacted.value(found.value), "token-1")
      assert.strictEqual(fleet.server.seen.length, 1)
    }))

  it.scoped("is served for as long as it is good in the store, then there is another [parity 65]", () =>
    Effect.gen(function*() {
      const fleet = {
        store: yield* TokenStore.makeMemory,
        server: counting((number) => token(number, { expires_in: 600 }))
      }
      const keyed = { ...fleet, clients: { worker: { ...options, refreshAhead: false } } }
      const one = yield* start(keyed)
      yield* one.get()
      yield* TestClock.adjust("539 seconds")
      const other = yield* start(keyed)
      assert.strictEqual(yield* other.get(), "token-1")
      yield* TestClock.adjust("1 seconds")
      const third = yield* start(keyed)
      assert.strictEqual(yield* third.get(), "token-2")
      assert.strictEqual(yield* other.get(), "token-2", "and the others find that one")
      assert.strictEqual(fleet.server.seen.length, 2)
    }))

  it.scoped("ahead of its end one process renews it, and the others take what it got", () =>
    Effect.gen(function*() {
      const fleet = {
        store: yield* TokenStore.makeMemory,
        server: counting((number) => token(number, { expires_in: 1000 }))
      }
      const processes = yield* Effect.all(numbers(3, () => start(fleet)))
      const ask = Effect.forEach(processes, ({ get }) => Effect.zipLeft(get(), settled))
      yield* ask
      yield* TestClock.adjust("810 seconds")
      yield* ask
      yield* settled
      assert.deepStrictEqual(yield* ask, ["token-2", "token-2", "token-2"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* ask, ["token-2", "token-2", "token-2"])
      assert.strictEqual(fleet.server.seen.length, 2)
    }))

  it.scoped("forceRenewal asks the server, and all find what it got", () =>
    Effect.gen(function*() {
      const fleet = { store: yield* TokenStore.makeMemory, server: counting() }
      const one = yield* start(fleet)
      const other = yield* start(fleet)
      yield* Effect.all([one.get(), other.get()])
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(yield* one.get({ forceRenewal: true }), "token-2")
      yield* settled
      yield* other.get()
      yield* settled
      assert.strictEqual(yield* other.get(), "token-2")
      assert.strictEqual(fleet.server.seen.length, 2)
    }))

  it.scoped("remove and revoke reach the other processes; removeAll takes one client's, or all [parity 21]", () =>
    Effect.gen(function*() {
      const fleet = {
        store: yield* TokenStore.makeMemory,
        server: counting(),
        clients: { worker: { ...options, revocationEndpoint: "https://as.test/revoke" }, another: options }
      }
      const one = yield* start(fleet)
      const other = yield* start(fleet)
      const tokenRequests = () => fleet.server.seen.filter(({ url }) => url.endsWith("/token")).length
      const both = Effect.forEach([one, other], ({ get }) => get())
      yield* both
      for (const remove of [one.manager.remove("worker"), one.manager.removeAll("worker"), one.manager.removeAll()]) {
        const before = tokenRequests()
        yield* remove
        yield* settled
        const [first, second] = yield* both
        assert.strictEqual(first, second)
        assert.strictEqual(tokenRequests() - before, 1)
      }
      const kept = yield* one.manager.get("another")
      yield* one.manager.removeAll("worker")
      assert.strictEqual(yield* one.manager.get("another"), kept)
      const fresh = yield* start(fleet)
      yield* fresh.manager.revoke("worker")
      assert.isFalse(fleet.server.seen.some(({ url }) => url.endsWith("/revoke")), "nothing to revoke")
      yield* one.get()
      yield* fresh.manager.revoke("worker")
      assert.isTrue(fleet.server.seen.some(({ url }) => url.endsWith("/revoke")), "that of another process")
    }))

  it.scoped("what was told while nobody listened is looked up after the gap", () =>
    Effect.gen(function*() {
      const memory = yield* TokenStore.makeMemory
      const events = yield* Effect.map(TokenStore.makeMemory, () => Stream.never)
      const gap = yield* Effect.makeLatch(false)
      const deaf: Store = {
        ...memory,
        events: Stream.concat(
          Stream.drain(Stream.fromEffect(gap.await)),
          Stream.concat(Stream.make({ _tag: "Gap" as const }), events)
        )
      }
      const server = counting()
      const one = yield* start({ store: memory, server })
      const other = yield* start({ store: deaf, server })
      yield* Effect.all([one.get(), other.get()])
      yield* TestClock.adjust("1 seconds")
      yield* one.get({ forceRenewal: true })
      yield* settled
      assert.strictEqual(yield* other.get(), "token-1")
      yield* gap.open
      yield* settled
      yield* other.get()
      yield* settled
      assert.strictEqual(yield* other.get(), "token-2")
      assert.strictEqual(server.seen.length, 2, "the gap asked nobody but the store")
    }))

  it.scoped("a key of one's own is the name in the store [parity 19]", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const one = yield* start({ store, server: counting(), more: TokenCacheKey.layer(() => "my key") })
      yield* one.get()
      assert.isTrue(Option.isSome(yield* store.get("my key")))
    }))
})

describe("DPoP", () => {
  const bound = (number: number) => token(number, { token_type: "DPoP", expires_in: 3600 })
  const clients = { worker: { ...options, dpop: true } }

  it.scoped("processes with the same key share tokens, and each proves that it has it", () =>
    Effect.gen(function*() {
      const server = counting((number, seen) => seen.url.startsWith("https://as.test") ? bound(number) : json({}))
      const key = yield* SigningKey.generate()
      const fleet = { store: yield* TokenStore.makeMemory, server, clients, more: DPoPKeyStore.layer(key) }
      const [one, other] = [yield* start(fleet), yield* start(fleet)]
      yield* one.get()
      assert.strictEqual((yield* other.api.get("https://api.test/x")).status, 200)
      assert.strictEqual(server.seen.at(-1)?.headers.authorization, "DPoP token-1")
      assert.isDefined(server.seen.at(-1)?.headers.dpop)
      assert.strictEqual(server.seen.filter(({ url }) => url.startsWith("https://as.test")).length, 1)
    }))

  it.scoped("processes with keys of their own have tokens of their own", () =>
    Effect.gen(function*() {
      const fleet = { store: yield* TokenStore.makeMemory, server: counting(bound), clients }
      const [one, other] = [yield* start(fleet), yield* start(fleet)]
      for (let round = 0; round < 3; round++) yield* Effect.all([one.get(), other.get()])
      assert.strictEqual(fleet.server.seen.length, 2)
    }))
})

describe("a store that is a burden", () => {
  const seconds = (effect: Effect.Effect<unknown, unknown>) => Effect.map(Effect.timed(effect), ([time]) => time)

  for (
    const [name, how] of [
      ["fails", down],
      ["hangs", Effect.never],
      ["is slow by two seconds", Effect.sleep("2 seconds")],
      ["dies", Effect.dieMessage("s3cret")]
    ] as const
  ) {
    it.scoped(`${name}: the token comes all the same, at most one time-out later, and the log says so once`, () => {
      const { layer, lines } = logged()
      return Effect.gen(function*() {
        const { make, store } = yield* faulty
        const server = counting()
        const one = yield* start({ store, server })
        yield* make(how)
        const began = yield* Effect.fork(seconds(one.get()))
        yield* TestClock.adjust("500 millis")
        assert.isTrue(Option.isSome(yield* Fiber.poll(began)), "within the time-out of the store")
        const others = yield* Effect.fork(
          Effect.forEach(numbers(20, (index) => index), (index) => one.get({ partition: `${index}` }))
        )
        yield* TestClock.adjust("100 millis")
        assert.isTrue(Option.isSome(yield* Fiber.poll(others)), "two others find out soon that it is not its key")
        assert.strictEqual(server.seen.length, 21)
        assert.strictEqual(lines.filter((line) => line.includes("token store")).length, 1, lines.join("\n"))
        assert.isFalse(lines.join().includes("s3cret"))

        yield* make(Effect.void)
        yield* TestClock.adjust("31 seconds")
        yield* one.get({ partition: "after" })
        assert.strictEqual(lines.filter((line) => line.includes("shared again")).length, 1, lines.join("\n"))
        const other = yield* start({ store, server })
        yield* other.get({ partition: "after" })
        assert.strictEqual(server.seen.length, 22)
      }).pipe(Effect.provide(layer))
    })
  }

  it.scoped("is left alone for a while as soon as three keys fail", () =>
    Effect.gen(function*() {
      const { calls, make, store } = yield* faulty
      const one = yield* start({ store, server: counting() })
      yield* make(down)
      yield* Effect.forEach(numbers(3, (index) => index), (index) => one.get({ partition: `${index}` }))
      const asked = yield* calls
      yield* Effect.forEach(numbers(50, (index) => index), (index) => one.get({ partition: `${index}` }))
      assert.strictEqual(yield* calls, asked)
    }))

  it.scoped("has lost one of its nodes: the other keys are shared all the same, and the log says so once", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      const memory = yield* TokenStore.makeMemory
      const lost = yield* Ref.make(false)
      const ofLost = (key: string) => /[0-3]$/.test(key)
      const unlessLost = <A, E, R>(key: string, effect: Effect.Effect<A, E, R>) =>
        Effect.flatMap(Ref.get(lost), (isLost) => isLost && ofLost(key) ? Effect.never : effect)
      const store: Store = {
        ...memory,
        get: (key) => unlessLost(key, memory.get(key)),
        set: (key, ...rest) => unlessLost(key, memory.set(key, ...rest)),
        withLock: (key, ...rest) => unlessLost(key, memory.withLock(key, ...rest))
      }
      const server = counting()
      const more = TokenCacheKey.layer((_, { partition = "none" }) => partition)
      const processes = yield* Effect.all(numbers(4, () => start({ store, server, more })))
      const partitions = numbers(30, (index) => `${index}`)
      yield* Ref.set(lost, true)
      const calls = yield* Effect.fork(
        Effect.forEach(
          processes,
          ({ get }) => Effect.forEach(partitions, (partition) => get({ partition }), { concurrency: 3 })
        )
      )
      yield* TestClock.adjust("1 seconds").pipe(Effect.repeatN(30))
      yield* Fiber.join(calls)
      assert.strictEqual(
        server.seen.length,
        partitions.filter((key) => !ofLost(key)).length +
          4 * partitions.filter(ofLost).length
      )
      assert.strictEqual(lines.length, 4, lines.join("\n"))
      yield* Ref.set(lost, false)
      yield* TestClock.adjust("2 minutes")
      yield* Effect.forEach(processes, ({ get }) => get({ partition: "new 9" }))
      assert.strictEqual(lines.filter((line) => line.includes("shared again")).length, 4, lines.join("\n"))
    }).pipe(Effect.provide(layer))
  })

  it.scoped("can be read and not be written to: the log says so once, and once that it is over", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      const memory = yield* TokenStore.makeMemory
      let isFull = true
      const unlessFull = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.suspend((): Effect.Effect<A, E | OAuthError.TokenStoreError, R> => isFull ? down : effect)
      const store: Store = {
        ...memory,
        set: (...args) => unlessFull(memory.set(...args)),
        withLock: (...args) => unlessFull(memory.withLock(...args))
      }
      const one = yield* start({ store, server: counting() })
      for (const partition of ["a", "b", "c"]) {
        yield* one.get({ partition })
        yield* TestClock.adjust("10 seconds")
      }
      assert.strictEqual(lines.length, 1, lines.join("\n"))
      isFull = false
      yield* one.get({ partition: "d" })
      yield* one.get({ partition: "e" })
      assert.strictEqual(lines.length, 2, lines.join("\n"))
    }).pipe(Effect.provide(layer))
  })

  it.scoped("fails while the server is asked under its lock: one time-out, and nobody says that it is back", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      const { memory, store } = yield* faulty
      const hangs = yield* Ref.make(false)
      const unlessHanging = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.flatMap(Ref.get(hangs), (now) => now ? Effect.never : effect)
      const hanging: Store = {
        ...store,
        set: (...args) => unlessHanging(memory.set(...args)),
        withLock: (key, options, use) => Effect.zipLeft(memory.withLock(key, options, use), unlessHanging(Effect.void))
      }
      const server = counting((number) => Effect.delay(Effect.succeed(token(number)), "3 seconds"))
      const one = yield* start({ store: hanging, server })
      const call = yield* Effect.fork(one.get())
      yield* TestClock.adjust("1 seconds")
      yield* Ref.set(hangs, true)
      yield* TestClock.adjust("2 seconds")
      yield* TestClock.adjust("500 millis")
      assert.isTrue(Option.isSome(yield* Fiber.poll(call)), "3 seconds of the server, half a second of the store")
      yield* TestClock.adjust("1 minutes")
      assert.strictEqual(lines.length, 1, lines.join("\n"))
    }).pipe(Effect.provide(layer))
  })

  it.scoped("fails before a server that is slow is asked: it is not waited for a second time", () =>
    Effect.gen(function*() {
      const { make, store } = yield* faulty
      const server = counting((number) => Effect.delay(Effect.succeed(token(number)), "3 seconds"))
      const one = yield* start({ store, server })
      yield* make(Effect.never)
      const call = yield* Effect.fork(one.get())
      yield* TestClock.adjust("500 millis")
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(Option.isSome(yield* Fiber.poll(call)))
    }))

  it.scoped("is given its lock back also where the server has failed after a while, and where nobody waits any more", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const server = counting(() =>
        Effect.delay(Effect.succeed(json({ error: "invalid_scope" }, { status: 400 })), "3 seconds")
      )
      const one = yield* start({ store, server, more: TokenCacheKey.layer(() => "k") })
      const isFree = Effect.map(store.withLock("k", { wait: 0 }, () => Effect.void), Option.isSome)
      for (const leaves of [false, true]) {
        const call = yield* Effect.fork(one.get())
        yield* TestClock.adjust("2 seconds")
        assert.isFalse(yield* isFree)
        if (leaves) yield* Fiber.interrupt(call)
        else yield* TestClock.adjust("1 seconds")
        assert.isTrue(Exit.isFailure(yield* Fiber.await(call)))
        yield* settled
        assert.isTrue(yield* isFree)
        yield* TestClock.adjust("1 minutes")
      }
    }))

  it.scoped("dies where a lock is asked for: the token comes all the same, and is kept", () =>
    Effect.gen(function*() {
      const memory = yield* TokenStore.makeMemory
      const store: Store = { ...memory, withLock: () => Effect.dieMessage("s3cret") }
      const one = yield* start({ store, server: counting() })
      assert.strictEqual(yield* one.get(), "token-1")
      assert.strictEqual(yield* one.get(), "token-1")
    }))

  it.scoped("has many callers when it fails: it is left alone for a second, not for half a minute", () => {
    const { layer, lines } = logged()
    return Effect.gen(function*() {
      const { make, store } = yield* faulty
      const one = yield* start({ store, server: counting() })
      yield* make(Effect.never)
      const calls = yield* Effect.fork(Effect.all(
        numbers(50, (index) => one.get({ partition: `${index}` })),
        { concurrency: "unbounded" }
      ))
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(calls)
      yield* make(Effect.void)
      yield* TestClock.adjust("1 seconds")
      yield* one.get({ partition: "after" })
      assert.strictEqual(lines.filter((line) => line.includes("shared again")).length, 1, lines.join("\n"))
    }).pipe(Effect.provide(layer))
  })

  it.scoped("cannot be asked after a gap: tokens that are fresh stay, and it is asked later", () =>
    Effect.gen(function*() {
      const { make, memory, store } = yield* faulty
      const gaps = yield* PubSub.unbounded<TokenStore.TokenStoreEvent>()
      const server = counting()
      const one = yield* start({ store: { ...store, events: Stream.fromPubSub(gaps) }, server })
      const other = yield* start({ store: memory, server })
      yield* settled
      assert.deepStrictEqual(yield* Effect.all([one.get(), other.get()]), ["token-1", "token-1"])
      yield* make(down)
      yield* TestClock.adjust("1 seconds")
      yield* PubSub.publish(gaps, { _tag: "Gap" })
      yield* settled
      assert.strictEqual(yield* one.get(), "token-1")
      yield* settled
      assert.strictEqual(yield* one.get(), "token-1")
      assert.strictEqual(server.seen.length, 1)

      yield* make(Effect.void)
      yield* other.get({ forceRenewal: true })
      yield* TestClock.adjust("11 seconds")
      yield* one.get()
      yield* settled
      assert.strictEqual(yield* one.get(), "token-2")
      assert.strictEqual(server.seen.length, 2)
    }))

  it.scoped("has something that cannot be read: nothing found", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const server = counting()
      const one = yield* start({ store, server, more: TokenCacheKey.layer(() => "k") })
      for (const garbage of ["", "{}", "[]", "null", `{"value":1}`, "\0"]) {
        yield* store.set("k", garbage, { timeToLive: "1 hours" })
        const other = yield* start({ store, server, more: TokenCacheKey.layer(() => "k") })
        assert.match(yield* other.get(), /^token-/)
      }
      assert.match(yield* one.get(), /^token-/)
    }))

  it.scoped("the lock of a process that has vanished: its lease is waited for, at most lockWait", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const server = counting()
      const one = yield* start({
        store,
        server,
        more: TokenCacheKey.layer(() => "k"),
        cache: { lockWait: "5 seconds" }
      })
      yield* Effect.forkScoped(store.withLock("k", { lease: "1 hours" }, () => Effect.never))
      yield* Effect.yieldNow()
      const call = yield* Effect.fork(one.get())
      yield* TestClock.adjust("4 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(call)))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(call), "token-1")
    }))

  it.scoped("an answer that comes late does not replace what another process wrote meanwhile", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const server = counting((number) =>
        Effect.delay(Effect.succeed(token(number)), number === 1 ? "8 seconds" : "10 millis")
      )
      const more = TokenCacheKey.layer(() => "k")
      const slow = yield* start({ store, server, more })
      const quick = yield* start({ store, server, more })
      const first = yield* Effect.fork(slow.get())
      yield* TestClock.adjust("1 seconds")
      const second = yield* Effect.fork(quick.get())
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(yield* Fiber.join(second), "token-2", "after lockWait it asks as well")
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(first)
      const third = yield* start({ store, server, more })
      assert.strictEqual(yield* third.get(), "token-2")
    }))
})

describe("TokenEncryption", () => {
  const key = (id: string, fill: number) => ({
    id,
    key: Redacted.make(btoa(String.fromCharCode(...numbers(32, () => fill))).replaceAll("+", "-").replaceAll("/", "_"))
  })
  const ring = (...keys: ReadonlyArray<TokenEncryption.EncryptionKey>) => Layer.orDie(TokenEncryption.layer(keys))

  const safeDecode = (part: string): string => {
    try {
      return atob(part.replaceAll("-", "+").replaceAll("_", "/"))
    } catch {
      return ""
    }
  }

  /** Everything that the store was ever told. */
  const dumping = Effect.map(TokenStore.makeMemory, (memory) => {
    const dump: Array<string> = []
    const store: Store = {
      ...memory,
      set: (name, value, settings) => {
        dump.push(name, value, JSON.stringify(settings))
        return memory.set(name, value, settings)
      }
    }
    return { dump, store }
  })

  it.scoped("nothing can be read in the store, and who has the key finds the token [parity 18]", () =>
    Effect.gen(function*() {
      const { dump, store } = yield* dumping
      const fleet = { store, server: counting(), more: ring(key("k1", 1)) }
      const one = yield* start(fleet)
      yield* one.get({ partition: "tenant-42", parameters: { subject: Redacted.make("s3cret-subject") } })
      const other = yield* start(fleet)
      yield* other.get({ partition: "tenant-42", parameters: { subject: Redacted.make("s3cret-subject") } })
      assert.strictEqual(fleet.server.seen.length, 1)
      assert.isAbove(dump.length, 0)
      for (const secret of ["token-1", "tenant-42", "s3cret", "Bearer"]) {
        assert.isFalse(dump.join("\n").includes(secret), secret)
        assert.isFalse(dump.some((text) => text.split(".").some((part) => safeDecode(part).includes(secret))), secret)
      }
    }))

  it.scoped("an encoding of one's own is asked on both ways [parity 20]", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const server = counting()
      const more = Layer.succeed(TokenEncryption.TokenEncryption, {
        seal: (_, text) => Effect.succeed(text.replace("token-1", "stored")),
        open: (_, text) => Effect.succeedSome(text.replace("stored", "token-one"))
      })
      yield* Effect.scoped(Effect.flatMap(start({ store, server, more }), ({ get }) => get()))
      const later = yield* start({ store, server, more })
      assert.strictEqual(yield* later.get(), "token-one")
      assert.strictEqual(server.seen.length, 1)
    }))

  it.scoped("keys rotate: the newest seals, the others open, one that is gone makes a miss", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const server = counting()
      const [k1, k2] = [key("k1", 1), key("k2", 2)]
      const ask = (more: Layer.Layer<TokenEncryption.TokenEncryption>) =>
        Effect.scoped(Effect.flatMap(start({ store, server, more }), ({ get }) => get()))
      assert.strictEqual(yield* ask(ring(k1)), "token-1")
      assert.strictEqual(yield* ask(ring(k2, k1)), "token-1")
      assert.strictEqual(yield* ask(ring(k2)), "token-2", "sealed with a removed key")
      assert.strictEqual(yield* ask(ring(k1, k2)), "token-2")
      assert.strictEqual(server.seen.length, 2)
    }))

  it.effect("an entry that is moved, cut or changed does not open", () =>
    Effect.gen(function*() {
      const { open, seal } = yield* TokenEncryption.TokenEncryption
      const sealed = yield* seal("a", "tëxt")
      assert.strictEqual(Option.getOrUndefined(yield* open("a", sealed)), "tëxt")
      assert.notStrictEqual(yield* seal("a", "tëxt"), sealed)
      assert.isTrue(Option.isNone(yield* open("b", sealed)))
      for (let index = 0; index < sealed.length; index++) {
        const flipped = sealed[index] === "A" ? "B" : "A"
        const changed = sealed.slice(0, index) + flipped + sealed.slice(index + 1)
        const opened = yield* open("a", changed)
        // the last character of a part may hold bits that say nothing
        if (Option.isSome(opened)) assert.match(sealed.slice(index + 1, index + 2), /^\.?$/)
      }
      for (const other of ["", ".", "....", "a.b.c.d.e", sealed.slice(1), `${sealed}.x`]) {
        assert.isTrue(Option.isNone(yield* open("a", other)))
      }
    }).pipe(Effect.provide(ring(key("k1", 1)))))

  it.effect("bad keys are all told of, and not shown", () =>
    Effect.gen(function*() {
      const bad = [{ id: "", key: Redacted.make("s3cret") }, key("x", 1), key("x", 2)]
      const error = yield* Effect.flip(TokenEncryption.make(bad))
      assert.strictEqual(error.problems.length, 3)
      assert.isFalse(error.message.includes("s3cret"))
      const none = yield* Effect.flip(TokenEncryption.make([]))
      assert.include(none.message, "there is no key")
    }))
})

describe("what DPoP shares through the store", () => {
  const server: DPoPNonceStore.Server = { role: "resourceServer", origin: "https://api.test" }

  it.scoped("nonces: another process begins with the newest, each writes at most once a second", () =>
    Effect.gen(function*() {
      const memory = yield* TokenStore.makeMemory
      let writes = 0
      const store: Store = { ...memory, set: (...args) => Effect.suspend(() => (writes++, memory.set(...args))) }
      const open = Effect.provideService(DPoPNonceStore.makeShared(), TokenStore.TokenStore, store)
      const one = yield* open
      for (const nonce of ["n-1", "n-2", "n-3"]) yield* one.set(server, nonce)
      assert.deepStrictEqual(yield* one.get(server), Option.some("n-3"))
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual(writes, 1)
      const other = yield* open
      assert.deepStrictEqual(yield* other.get(server), Option.some("n-3"))
      assert.deepStrictEqual(yield* other.get({ ...server, role: "authorizationServer" }), Option.none())
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(writes, 1, "nothing new, nothing written")
    }))

  it.scoped("nonces: a store that hangs costs one time-out, and each process goes on by itself", () =>
    Effect.gen(function*() {
      const { make, store } = yield* faulty
      yield* make(Effect.never)
      const one = yield* Effect.provideService(DPoPNonceStore.makeShared(), TokenStore.TokenStore, store)
      const first = yield* Effect.fork(one.get(server))
      yield* TestClock.adjust("500 millis")
      assert.deepStrictEqual(yield* Fiber.join(first), Option.none())
      assert.deepStrictEqual(yield* one.get(server), Option.none())
      yield* one.set(server, "n-1")
      assert.deepStrictEqual(yield* one.get(server), Option.some("n-1"))
    }))

  it.scoped("proofs: accepted once by all processes together; a store that fails leaves each to itself", () =>
    Effect.gen(function*() {
      const { make, store } = yield* faulty
      const open = DPoPVerifier.make({ publicUrl: "https://api.test" }).pipe(
        Effect.provideService(TokenStore.TokenStore, store),
        Effect.provideService(Signer.Signer, webCrypto)
      )
      const verifiers = yield* Effect.all(numbers(3, () => open))
      const key = yield* SigningKey.generate()
      const sign = webCrypto.signing(key, { typ: "dpop+jwt", jwk: key.publicJwk })
      const request = Effect.map(
        Effect.suspend(() =>
          sign(JSON.stringify({ htm: "GET", htu: "https://api.test/x", iat: 0, jti: webCrypto.random(16) }))
        ),
        (dpop) => ({ method: "GET", url: "/x", headers: Headers.fromInput({ dpop }) })
      )
      const accepted = (proven: Effect.Effect.Success<typeof request>) =>
        Effect.map(
          Effect.all(verifiers.map(({ verify }) => Effect.either(verify(proven))), { concurrency: "unbounded" }),
          (results) => results.filter(({ _tag }) => _tag === "Right").length
        )
      assert.strictEqual(yield* accepted(yield* request), 1)
      yield* make(down)
      const proven = yield* request
      assert.strictEqual(yield* accepted(proven), 3)
      assert.strictEqual(yield* accepted(proven), 0)
    }))
})
