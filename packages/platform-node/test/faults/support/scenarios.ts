/** What holds for any store that processes share. */
import { assert } from "@effect/vitest"
import { Duration, Effect, Fiber, Schedule, type Scope } from "effect"
import * as FaultProxy from "./faultProxy.ts"
import type { Outcome, StoreSettings } from "./protocol.ts"
import { clientSecret, Fleet, newName, revoke, type Site, site } from "./site.ts"
import * as Workers from "./workers.ts"

/** A store server of a test. */
export interface Server {
  readonly port: number
  /** The store of this name, at this port, which may be a proxy's. */
  readonly store: (name: string, port?: number) => StoreSettings
  /** Everything that an onlooker can read of the store of this name. */
  readonly dump: (name: string) => Effect.Effect<ReadonlyArray<string>>
}

type Test = Effect.Effect<void, Workers.WorkerFailed, Scope.Scope | Fleet>

const everyone = <A, E, R, B>(all: ReadonlyArray<B>, what: (one: B) => Effect.Effect<A, E, R>) =>
  Effect.forEach(all, what, { concurrency: "unbounded" })

const onlyToken = ({ ends, tokens }: Outcome): string => {
  assert.deepStrictEqual(Object.keys(ends), ["token"])
  assert.strictEqual(tokens.length, 1)
  return tokens[0]!
}

/** Far more than a busy machine needs, far less than what would be wrong. */
const slack = Duration.seconds(6)

/** Looks until it is so. What does not become so in time is a failure. */
const eventually = <E, R>(
  what: string,
  isSo: Effect.Effect<boolean, E, R>,
  within: Duration.DurationInput = "40 seconds"
) =>
  isSo.pipe(
    Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced("100 millis") }),
    Effect.timeoutFail({
      duration: within,
      onTimeout: () => new Workers.WorkerFailed({ message: `it has not happened that ${what}` })
    }),
    Effect.asVoid
  )

/** Here nothing is wrong with the store; it only has to do with a busy machine. */
const patience = { storeTimeout: 15_000, lockWait: 30_000 }

const nothingWrong = (stacks: ReadonlyArray<Workers.Stack>) =>
  Effect.map(everyone(stacks, ({ log }) => log), (logs) => assert.deepStrictEqual(logs.flat(), []))

export const coldKey = (server: Server, callers: number): Test =>
  Effect.gen(function*() {
    const it = yield* site
    const store = server.store(newName())
    const stacks = yield* everyone(yield* Fleet, ({ open }) => open(it.settings(store, patience)))
    const outcomes = yield* everyone(stacks, ({ get }) => get({ count: callers }))
    assert.strictEqual(new Set(outcomes.map(onlyToken)).size, 1)
    assert.deepStrictEqual(outcomes.map(({ ends }) => ends), stacks.map(() => ({ token: callers })))
    yield* nothingWrong(stacks)
    assert.strictEqual(it.server.tokenRequests(), 1)
    yield* everyone(stacks, ({ close }) => close)
  })

export const revokedToken = (server: Server, callers: number): Test =>
  Effect.gen(function*() {
    const it = yield* site
    const store = server.store(newName())
    const stacks = yield* everyone(yield* Fleet, ({ open }) => open(it.settings(store, patience)))
    const [first, ...others] = (yield* everyone(stacks, ({ get }) => get())).map(onlyToken)
    assert.deepStrictEqual(others, [first, first, first])
    yield* revoke(it, first!)
    const outcomes = yield* everyone(stacks, ({ api }) => api({ url: it.api, count: callers }))
    assert.deepStrictEqual(outcomes.map(({ ends }) => ends), stacks.map(() => ({ 200: callers })))
    yield* nothingWrong(stacks)
    assert.strictEqual(it.server.tokenRequests(), 2)
    const renewed = (yield* everyone(stacks, ({ get }) => get())).map(onlyToken)
    assert.strictEqual(new Set(renewed).size, 1)
    assert.notStrictEqual(renewed[0], first)
    yield* everyone(stacks, ({ close }) => close)
  })

const lease = 1500

/** How the process that holds the lock gets lost, and comes back if it can. */
export interface Loss {
  readonly lose: Effect.Effect<void>
  readonly comeBack: Effect.Effect<void> | undefined
}

/** `holder` begins to ask the server, and is lost before it has its answer; `way` leads it to the store. */
const takeOver = (
  server: Server,
  it: Site,
  holder: Workers.Worker,
  loss: (way: FaultProxy.FaultProxy) => Loss
): Test =>
  Effect.gen(function*() {
    const name = newName()
    const way = yield* FaultProxy.start(server.port)
    const { comeBack, lose } = loss(way)
    const limits = { lockLease: lease, lockWait: 30_000 }
    const [one, other] = yield* Fleet
    const lost = yield* holder.open(it.settings(server.store(name, way.port), limits))
    const next = yield* one!.open(it.settings(server.store(name), limits))

    const answer = yield* it.way.holdNextAnswer
    const losing = yield* Effect.fork(lost.get())
    yield* answer.held
    const waiting = yield* Effect.fork(next.get())
    // A holder that lives keeps its lease.
    yield* Effect.sleep(Duration.millis(2 * lease))
    assert.strictEqual(it.server.tokenRequests(), 1)

    yield* lose
    const [taken, token] = yield* Effect.timed(Effect.map(Fiber.join(waiting), onlyToken))
    assert.strictEqual(it.server.tokenRequests(), 2)
    assert.isBelow(Duration.toMillis(taken), lease + Duration.toMillis(slack))
    const written = yield* server.dump(name)

    if (comeBack !== undefined) {
      yield* comeBack
      yield* answer.release
      const late = onlyToken(yield* Fiber.join(losing))
      assert.strictEqual(late, token, "it takes what the other one has stored")
      assert.strictEqual(it.server.tokenRequests(), 2)
      yield* lost.close
    } else {
      yield* answer.release
      assert.isTrue((yield* Fiber.await(losing))._tag === "Failure")
    }
    const fresh = yield* other!.open(it.settings(server.store(name)))
    assert.strictEqual(onlyToken(yield* fresh.get()), token)
    assert.strictEqual(it.server.tokenRequests(), 2)
    const entriesOf = (dump: ReadonlyArray<string>) => dump.filter((text) => text.includes(token))
    assert.deepStrictEqual(entriesOf(yield* server.dump(name)), entriesOf(written))
    assert.isAbove(entriesOf(written).length, 0)
    yield* everyone([next, fresh], ({ close }) => close)
  })

export const killedHolder = (server: Server): Test =>
  Effect.gen(function*() {
    const holder = yield* Workers.start
    yield* takeOver(server, yield* site, holder, () => ({ lose: holder.signal("SIGKILL"), comeBack: undefined }))
  })

export const pausedHolder = (server: Server): Test =>
  Effect.gen(function*() {
    const holder = yield* Workers.start
    yield* takeOver(server, yield* site, holder, () => ({
      lose: holder.signal("SIGSTOP"),
      comeBack: holder.signal("SIGCONT")
    }))
  })

export const cutOffHolder = (server: Server): Test =>
  Effect.gen(function*() {
    const [, , , holder] = yield* Fleet
    yield* takeOver(server, yield* site, holder!, ({ become }) => ({ lose: become("hang"), comeBack: become("none") }))
  })

const storeTimeout = 500

const about = (log: ReadonlyArray<string>, what: string) => log.filter((line) => line.includes(what))

export interface Fault {
  readonly server: Server
  /** Where the workers find it: at a proxy, if it is a fault of the way. */
  readonly port: number
  readonly begin: Effect.Effect<void>
  readonly end: Effect.Effect<void>
  /** Makes the next step of the store of this name wait. Ends, inside, when one waits: then the fault begins. */
  readonly stepWaits?: ((name: string) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>) | undefined
}

/** A fault of a store: tokens come all the same, and when it is over they are shared again. */
export const outage = ({ begin, end, port, server, stepWaits }: Fault): Test =>
  Effect.gen(function*() {
    const it = yield* site
    const name = newName()
    const store = server.store(name, port)
    const workers = (yield* Fleet).slice(0, 2)
    const stacks = yield* everyone(workers, ({ open }) => open(it.settings(store, { storeTimeout })))
    const [one, other] = stacks as [Workers.Stack, Workers.Stack]
    const agree = (partition: string) =>
      Effect.gen(function*() {
        const { tokens: [renewed] } = yield* one.get({ partition, forceRenewal: true })
        // An event may be on its way; with the first call after it the store is asked.
        for (let look = 0; look < 20; look++) {
          if (onlyToken(yield* other.get({ partition })) === renewed) return true
          yield* Effect.sleep("50 millis")
        }
        return false
      })
    yield* eventually("one process sees the renewal of another", agree("kept"))
    assert.deepStrictEqual((yield* everyone(stacks, ({ log }) => log)).flat(), [])

    if (stepWaits === undefined) {
      yield* begin
    } else {
      const inTheMiddle = yield* workers[0]!.open(it.settings(store, patience))
      const oneWaits = yield* stepWaits(name)
      const call = yield* Effect.fork(inTheMiddle.get({ partition: "in the middle" }))
      yield* oneWaits
      yield* begin
      onlyToken(yield* Fiber.join(call))
      yield* inTheMiddle.close
    }
    let asked = 0
    for (let round = 0; round < 3; round++) {
      const outcomes = yield* everyone(stacks, ({ get }) =>
        everyone([
          get({ count: 20, partition: `${round}` }),
          get({ partition: `${round}`, forceRenewal: true }),
          get({ count: 20, partition: "kept" })
        ], (outcome) => outcome))
      for (const { ends, slowest } of outcomes.flat()) {
        assert.deepStrictEqual(Object.keys(ends), ["token"])
        assert.isBelow(slowest, storeTimeout + Duration.toMillis(slack))
      }
      asked += outcomes.length
      // Longer than the store is left alone after its first failure.
      yield* Effect.sleep("1200 millis")
    }
    assert.isAbove(asked, 0)
    for (const log of yield* everyone(stacks, ({ log }) => log)) {
      assert.strictEqual(about(log, "shared with no other process").length, 1, log.join("\n"))
      assert.strictEqual(about(log, "tokens are shared again").length, 0, log.join("\n"))
      assert.strictEqual(new Set(log).size, log.length, log.join("\n"))
    }

    yield* end
    yield* eventually(
      "the tiers agree again",
      Effect.zipWith(
        agree("kept"),
        Effect.flatMap(everyone(stacks, ({ log }) => log), (logs) =>
          Effect.succeed(logs.every((log) => about(log, "tokens are shared again").length > 0))),
        (agreed, told) =>
          agreed && told
      ).pipe(Effect.zipLeft(everyone(stacks, ({ get }) => get({ partition: newName() }))))
    )
    const before = it.server.tokenRequests()
    const fresh = newName()
    assert.strictEqual(
      onlyToken(yield* one.get({ partition: fresh })),
      onlyToken(yield* other.get({ partition: fresh }))
    )
    assert.strictEqual(it.server.tokenRequests(), before + 1)
    for (const log of yield* everyone(stacks, ({ log }) => log)) {
      assert.strictEqual(about(log, "shared with no other process").length, 1, log.join("\n"))
      assert.strictEqual(about(log, "tokens are shared again").length, 1, log.join("\n"))
      assert.strictEqual(about(log, "ERROR").length + about(log, "FATAL").length, 0, log.join("\n"))
    }
    yield* everyone(stacks, ({ close }) => close)
  })

const keyOf = (fill: number): string => Buffer.alloc(32, fill).toString("base64url")
const ring = (...keys: ReadonlyArray<readonly [id: string, fill: number]>): string =>
  keys.map(([id, fill]) => `${id}:${keyOf(fill)}`).join(",")

/** What a text says to somebody who knows base64 and hexadecimal digits. */
const readings = (text: string): ReadonlyArray<string> => [
  text,
  ...text.split(/[^A-Za-z0-9_+/=-]/).flatMap((part) => [
    Buffer.from(part, "base64url").toString("latin1"),
    Buffer.from(part, "hex").toString("latin1")
  ])
]

export const sealed = (server: Server): Test =>
  Effect.gen(function*() {
    const it = yield* site
    const [one, other] = yield* Fleet
    const name = newName()
    const settings = it.settings(server.store(name), { encryptionKeys: ring(["k1", 7]) })
    const first = yield* one!.open(settings)
    const second = yield* other!.open(settings)
    const partition = "tenant-of-a-secret-name"
    const token = onlyToken(yield* first.get({ partition }))
    assert.strictEqual(onlyToken(yield* second.get({ partition })), token)
    // Also while somebody holds a lock.
    const answer = yield* it.way.holdNextAnswer
    const renewing = yield* Effect.fork(first.get({ partition: `${partition}-2` }))
    yield* answer.held
    const dump = yield* server.dump(name)
    yield* answer.release
    yield* Fiber.join(renewing)
    const text = dump.flatMap(readings).join("\n")
    assert.isTrue(dump.some((entry) => entry.includes("eyJ")), "there is a sealed entry")
    for (const secret of [token, clientSecret, partition, "Bearer", keyOf(7), Buffer.alloc(32, 7).toString("latin1")]) {
      assert.isFalse(text.includes(secret), secret)
    }
    yield* everyone([first, second], ({ close }) => close)
  })

export const removedKey = (server: Server): Test =>
  Effect.gen(function*() {
    const it = yield* site
    const [one, other] = yield* Fleet
    const store = server.store(newName())
    const open = (worker: Workers.Worker, encryptionKeys: string) => worker.open(it.settings(store, { encryptionKeys }))
    const before = yield* open(one!, ring(["k1", 1]))
    const token = onlyToken(yield* before.get())
    const rotated = yield* open(other!, ring(["k2", 2], ["k1", 1]))
    assert.strictEqual(onlyToken(yield* rotated.get()), token)
    const removed = yield* open(other!, ring(["k2", 2]))
    const next = onlyToken(yield* removed.get())
    assert.notStrictEqual(next, token)
    assert.strictEqual(it.server.tokenRequests(), 2)
    const later = yield* open(one!, ring(["k2", 2]))
    assert.strictEqual(onlyToken(yield* later.get()), next)
    const stacks = [before, rotated, removed, later]
    assert.deepStrictEqual((yield* everyone(stacks, ({ log }) => log)).flat(), [])
    yield* everyone(stacks, ({ close }) => close)
  })

/** A process that has used the store ends by itself when its services are closed. */
export const exits = (server: Server, between: Effect.Effect<void>, port = server.port): Test =>
  Effect.gen(function*() {
    const it = yield* site
    const worker = yield* Workers.start
    const stack = yield* worker.open(it.settings(server.store(newName(), port)))
    onlyToken(yield* stack.get())
    yield* between
    onlyToken(yield* stack.get({ partition: "another" }))
    const code = yield* Effect.timeoutFail(worker.end, {
      duration: "15 seconds",
      onTimeout: () => new Workers.WorkerFailed({ message: "the process has not ended" })
    })
    assert.strictEqual(code, 0)
  })
