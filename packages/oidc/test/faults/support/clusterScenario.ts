/** Four processes refresh the tokens of many people while a master of their Redis Cluster is away. */
import { assert } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber } from "effect"
import type * as RedisServer from "../../../../platform-node/test/support/redis.ts"
import type * as RedisCluster from "../../../../platform-node/test/support/redisCluster.ts"
import * as WebApp from "./webApp.ts"

interface Fault {
  readonly name: string
  /** After so many milliseconds the other masters take a master for down. */
  readonly nodeTimeout: number
  /** Ends when the keys of the master are available again. */
  readonly inject: (cluster: RedisCluster.RedisCluster, master: RedisServer.RedisServer) => Effect.Effect<unknown>
  readonly heal?: (master: RedisServer.RedisServer) => Effect.Effect<unknown>
}

/** A key of the master that is meant; any one will do. */
const probe = "effect-oauth:{probe}:entry"

const soon = 1500

/** In this order, in one cluster: after the last one a node is missing. */
export const faults: ReadonlyArray<Fault> = [
  {
    name: "failed over",
    nodeTimeout: soon,
    inject: (cluster, master) =>
      Effect.flatMap(cluster.replicaOf(master), ({ admin }) => Effect.promise(() => admin.cluster("FAILOVER"))).pipe(
        Effect.zipRight(cluster.takeover(probe, master))
      )
  },
  {
    name: "hung for 3 seconds, and goes on as master",
    nodeTimeout: 30_000,
    inject: (_, master) =>
      master.signal("SIGSTOP").pipe(
        Effect.zipRight(Effect.sleep("3 seconds")),
        Effect.zipRight(master.signal("SIGCONT"))
      )
  },
  {
    name: "hung until after its replica has taken over",
    nodeTimeout: soon,
    inject: (cluster, master) => Effect.zipRight(master.signal("SIGSTOP"), cluster.takeover(probe, master)),
    heal: (master) => master.signal("SIGCONT")
  },
  {
    name: "killed",
    nodeTimeout: soon,
    inject: (cluster, master) => Effect.zipRight(master.kill, cluster.takeover(probe, master))
  }
]

interface Request {
  readonly began: number
  readonly ended: number
  readonly answer: WebApp.Answer
}

export interface Outcome {
  readonly refreshes: number
  readonly requests: number
  /** Requests that were answered with an error, by what it says. */
  readonly failed: Readonly<Record<string, number>>
  readonly presentedTwice: number
  readonly sessionsLost: number
  /** Of these, the sessions with a write that was acknowledged in the second before the fault, which a failover may lose. */
  readonly lostByFailover: number
  readonly longestMillis: number
}

/** The app and its people; what it gives lets one fault happen. */
export const start = (cluster: RedisCluster.RedisCluster, people: number) =>
  Effect.gen(function*() {
    const app = yield* WebApp.start({ store: { _tag: "redis cluster", ports: cluster.ports } })
    const processes = yield* Effect.all(Array.from({ length: 4 }, () => app.launch), { concurrency: 4 })
    const persons = yield* Effect.forEach(
      Array.from({ length: people }, (_, index) => `person${index}`),
      (name, index) => app.signIn(processes[index % 4]!, name),
      { concurrency: 8 }
    )

    const request = (person: WebApp.Person, process: WebApp.WebProcess) =>
      Effect.gen(function*() {
        const began = yield* Clock.currentTimeMillis
        const answer = yield* person.ask(process, "?force")
        return { began, ended: yield* Clock.currentTimeMillis, answer }
      })

    /** Two processes at once, and another pair each time. */
    const traffic = (ended: Deferred.Deferred<void>) => (person: WebApp.Person, index: number) =>
      Effect.gen(function*() {
        const requests: Array<ReadonlyArray<Request>> = []
        for (let round = 0; !(yield* Deferred.isDone(ended)); round++) {
          const pair = [processes[(index + round) % 4]!, processes[(index + round * 3 + 1) % 4]!]
          requests.push(yield* Effect.forEach(pair, (process) => request(person, process), { concurrency: 2 }))
          yield* Effect.sleep("100 millis")
        }
        return requests.flat()
      })

    /** Asked until the last result has been written, for as long as a process waits for another one. */
    const isSignedIn = (person: WebApp.Person, index: number) =>
      Effect.retry(
        Effect.filterOrFail(person.ask(processes[index % 4]!, "?force"), ({ status }) => status === 200),
        { times: 30, while: () => Effect.as(Effect.sleep("1 seconds"), true) }
      ).pipe(Effect.isSuccess)

    return ({ heal, inject, nodeTimeout }: Fault) =>
      Effect.gen(function*() {
        yield* cluster.setNodeTimeout(nodeTimeout)
        const before = app.server.refreshes().length
        const master = yield* cluster.masterOf(probe)
        const ended = yield* Deferred.make<void>()
        const running = yield* Effect.fork(Effect.forEach(persons, traffic(ended), { concurrency: "unbounded" }))
        yield* Effect.sleep("1 seconds")
        const faultAt = yield* Clock.currentTimeMillis
        yield* inject(cluster, master)
        yield* Effect.sleep("2 seconds")
        yield* heal?.(master) ?? Effect.void
        yield* Effect.sleep("1 seconds")
        yield* Deferred.succeed(ended, undefined)
        const byPerson = yield* Fiber.join(running)
        const stays = yield* Effect.forEach(persons, isSignedIn, { concurrency: "unbounded" })

        const refreshes = app.server.refreshes().slice(before)
        const exchanged = refreshes.filter(({ outcome }) => outcome === "ok").map(({ token }) => token)
        assert.strictEqual(new Set(exchanged).size, exchanged.length, "the server exchanged a refresh token twice")
        const mayBeLost = byPerson.filter((requests, index) =>
          !stays[index] &&
          requests.some(({ answer, ended }) => answer.status === 200 && faultAt - 1000 < ended && ended < faultAt + 100)
        )
        const failed: Record<string, number> = {}
        for (const { answer } of byPerson.flat()) {
          const text = `${answer.status} ${answer.error}: ${answer.message}`
          if (answer.status !== 200) failed[text] = (failed[text] ?? 0) + 1
        }
        const outcome: Outcome = {
          refreshes: exchanged.length,
          requests: byPerson.flat().length,
          failed,
          presentedTwice: refreshes.filter(({ reused }) => reused).length,
          sessionsLost: stays.filter((stay) => !stay).length,
          lostByFailover: mayBeLost.length,
          longestMillis: Math.max(...byPerson.flat().map(({ began, ended }) => ended - began))
        }
        return outcome
      })
  })
