/**
 * Removal while a token is being acquired: two processes over one store, and the removal at every step of the acquisition.
 */
import {
  ClientCredentialsTokenManager,
  OAuth,
  OAuthError,
  Signer,
  TokenCache,
  TokenClients,
  TokenStore
} from "@effect-oauth/core"
import { webCrypto } from "@effect-oauth/core/Signer"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Redacted, TestClock } from "effect"
import { createHash } from "node:crypto"
import { options, type Stub, stub, token } from "./support/StubServer.ts"

type Store = TokenStore.TokenStore["Type"]

/** Hashes at once: a hash of WebCrypto takes real time, which the test clock does not know of. */
const signer = Layer.succeed(Signer.Signer, {
  ...webCrypto,
  sha256: (text) => Effect.sync(() => createHash("sha256").update(text).digest("base64url"))
})

/** How a token is asked for. */
type How = "get" | "force" | "renew"

/** A process, until the scope ends. */
const start = (server: Stub, store: Store) =>
  Effect.gen(function*() {
    const given = Layer.mergeAll(server.layer, signer, Layer.succeed(TokenStore.TokenStore, store))
    const context = yield* Layer.build(
      OAuth.layer.pipe(
        Layer.provideMerge(TokenClients.layer({
          worker: { ...options, revocationEndpoint: "https://as.test/revoke" }
        })),
        Layer.provideMerge(Layer.provide(TokenCache.layer(), given)),
        Layer.provideMerge(given)
      )
    )
    const manager = yield* Effect.provide(ClientCredentialsTokenManager.ClientCredentialsTokenManager, context)
    const get = (how: How = "get") =>
      Effect.map(
        how === "renew"
          ? Effect.flatMap(manager.get("worker"), (token) => manager.renew("worker", token))
          : manager.get("worker", { forceRenewal: how === "force" }),
        ({ value }) => Redacted.value(value)
      )
    return { manager, get }
  })

/** Answers after a second. A token has the number of its request. */
const slowServer = () => {
  let requests = 0
  const server = stub(({ url }) =>
    url.endsWith("/revoke")
      ? new Response()
      : Effect.suspend(() => Effect.delay(Effect.succeed(token(++requests)), "1 second"))
  )
  return { ...server, requests: () => requests }
}

/** The store as one process sees it: `before` runs before each of its commands, which are numbered from 1. */
const spied = (store: Store, before: (command: number) => Effect.Effect<void>): Store => {
  let commands = 0
  const first = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.zipRight(Effect.suspend(() => before(++commands)), effect)
  return {
    get: (key) => first(store.get(key)),
    set: (...args) => first(store.set(...args)),
    remove: (...args) => first(store.remove(...args)),
    removeByTag: (tag) => first(store.removeByTag(tag)),
    withLock: (...args) => first(store.withLock(...args)),
    events: store.events
  }
}

const quarter = TestClock.adjust("250 millis")

/** Lets time pass in steps, so that whatever waits goes on. */
const pass = (seconds: number) => Effect.repeatN(quarter, seconds * 4 - 1)

/** Lets time pass until it has ended. */
const ending = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.flatMap(Effect.fork(effect), (fiber) =>
    Effect.zipRight(
      Effect.iterate(0, {
        while: (steps) => steps < 40 && fiber.unsafePoll() === null,
        body: (steps) => Effect.as(quarter, steps + 1)
      }),
      Fiber.join(fiber)
    ))

const down = new OAuthError.TokenStoreError({ store: "test", operation: "any", problem: "ECONNREFUSED" })

type Process = Effect.Effect.Success<ReturnType<typeof start>>

const removals: Readonly<Record<string, (process: Process) => Effect.Effect<void>>> = {
  remove: ({ manager }) => Effect.orDie(manager.remove("worker")),
  revoke: ({ manager }) => Effect.orDie(manager.revoke("worker")),
  "removeAll of the client": ({ manager }) => manager.removeAll("worker"),
  removeAll: ({ manager }) => manager.removeAll()
}

const states = {
  "nothing is kept": { hasToken: false, how: "get" },
  "nothing is kept, by force": { hasToken: false, how: "force" },
  "a token is renewed by force": { hasToken: true, how: "force" },
  "a token was rejected": { hasToken: true, how: "renew" }
} as const

interface Case {
  readonly removal: (process: Process) => Effect.Effect<void>
  readonly by: "the same process" | "another process"
  readonly hasToken: boolean
  readonly how: How
}

/** An acquisition, with a removal before its command of this number or after it; how many commands it took. */
const run = ({ by, hasToken, how, removal }: Case, step: number) =>
  Effect.scoped(Effect.gen(function*() {
    const memory = yield* TokenStore.makeMemory
    const server = slowServer()
    const getting = (process: Process, how: How = "get") => ending(process.get(how))
    const other = yield* start(server, memory)
    if (hasToken) yield* getting(other)
    let asked: number | undefined
    let commands = 0
    const remove = Effect.suspend(() => {
      asked = server.requests()
      return removal(by === "another process" ? other : one)
    })
    const one: Process = yield* start(
      server,
      spied(memory, (command) => {
        if (asked !== undefined) return Effect.void
        commands = command
        return command === step ? remove : Effect.void
      })
    )
    yield* getting(one, how)
    if (asked === undefined) yield* Effect.zipRight(remove, pass(1))
    for (const process of [yield* start(server, memory), one, other]) {
      const number = Number((yield* getting(process)).slice("token-".length))
      assert.isAbove(number, asked ?? 0, `step ${step}: a token that was asked for before the removal`)
    }
    return commands
  }))

describe("a token that is acquired while it is removed", () => {
  for (const [name, removal] of Object.entries(removals)) {
    for (const [state, conditions] of Object.entries(states)) {
      for (const by of ["the same process", "another process"] as const) {
        it.effect(
          `${name} by ${by} where ${state}: it is given to nobody later, whenever that comes`,
          () =>
            Effect.gen(function*() {
              const steps = yield* run({ removal, by, ...conditions }, Number.POSITIVE_INFINITY)
              assert.isAtLeast(steps, 1)
              for (let step = 1; step <= steps; step++) yield* run({ removal, by, ...conditions }, step)
            }),
          60_000
        )
      }
    }
  }
})

const kept = (process: Process) => ending(process.get())

describe("a removal that the store has not done", () => {
  for (const [name, removal] of Object.entries(removals)) {
    it.scoped(`${name}: is tried again until it is, and the entry is not read back meanwhile`, () => {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${message}`))
      return Effect.gen(function*() {
        const memory = yield* TokenStore.makeMemory
        const server = slowServer()
        let isDown = false
        const one = yield* start(server, spied(memory, () => isDown ? Effect.die(down) : Effect.void))
        assert.strictEqual(yield* kept(one), "token-1")
        isDown = true
        yield* removal(one)
        assert.strictEqual(yield* kept(one), "token-2")
        isDown = false
        // As other processes are restarted: all that is known is in the store.
        yield* pass(60)
        assert.notStrictEqual(yield* kept(yield* start(server, memory)), "token-1")
        assert.notStrictEqual(yield* kept(one), "token-1")
        assert.strictEqual(lines.filter((line) => line.includes("could not be removed")).length, 1)
        assert.strictEqual(lines.filter((line) => line.includes("was removed")).length, 1)
      }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
    })

    it.scoped(`${name}: the entry is not read back while the store can be read and not be written to`, () =>
      Effect.gen(function*() {
        const memory = yield* TokenStore.makeMemory
        const server = slowServer()
        let isReadOnly = false
        const refuse = Effect.suspend(() => isReadOnly ? Effect.fail(down) : Effect.void)
        const one = yield* start(server, {
          ...memory,
          set: (...args) => Effect.zipRight(refuse, memory.set(...args)),
          remove: (...args) => Effect.zipRight(refuse, memory.remove(...args)),
          removeByTag: (tag) => Effect.zipRight(refuse, memory.removeByTag(tag))
        })
        assert.strictEqual(yield* kept(one), "token-1")
        isReadOnly = true
        yield* removal(one)
        assert.strictEqual(yield* kept(one), "token-2")
        yield* pass(60)
        assert.strictEqual(yield* kept(one), "token-2")
        isReadOnly = false
        yield* pass(60)
        assert.notStrictEqual(yield* kept(yield* start(server, memory)), "token-1")
      }))
  }
})

describe("what is announced", () => {
  it.scoped("of two forced renewals the later one is kept, whichever is answered first", () =>
    Effect.gen(function*() {
      for (const [earlier, later] of [["4 seconds", "1 second"], ["2 seconds", "4 seconds"]] as const) {
        const memory = yield* TokenStore.makeMemory
        let requests = 0
        const server = stub(() =>
          Effect.suspend(() => {
            requests++
            return Effect.delay(Effect.succeed(token(requests)), requests === 1 ? earlier : later)
          })
        )
        const one = yield* start(server, memory)
        const two = yield* start(server, memory)
        const first = yield* Effect.fork(one.get("force"))
        yield* pass(1)
        const second = yield* Effect.fork(two.get("force"))
        yield* pass(8)
        assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second)], ["token-1", "token-2"])
        assert.strictEqual(yield* kept(yield* start(server, memory)), "token-2")
        assert.strictEqual(yield* kept(one), "token-2")
      }
    }))

  it.scoped(
    "costs one command for a token, none on a hit, and no requests at a server that is down",
    () =>
      Effect.gen(function*() {
        const memory = yield* TokenStore.makeMemory
        let commands = 0
        const server = slowServer()
        const one = yield* start(server, spied(memory, (number) => Effect.sync(() => void (commands = number))))
        yield* kept(one)
        // Two looks, the lock, the announcement, the token.
        assert.strictEqual(commands, 5)
        yield* kept(one)
        assert.strictEqual(commands, 5)

        const failing = stub(() => new Response("", { status: 503 }))
        const shared = yield* TokenStore.makeMemory
        const processes = [yield* start(failing, shared), yield* start(failing, shared)]
        for (let quarter = 0; quarter < 240; quarter++) {
          for (const { get } of processes) yield* Effect.fork(Effect.ignore(get()))
          yield* TestClock.adjust("250 millis")
        }
        assert.isAtMost(failing.seen.length, 24)
      }),
    60_000
  )
})
