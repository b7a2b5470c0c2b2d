/** A Redis Cluster of three masters, each with a replica. */
import { Effect, type Scope } from "effect"
import { freePort } from "../../../../examples/servers/freePort.ts"
import * as RedisServer from "./redis.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

export interface RedisCluster {
  /** Of each of its nodes. */
  readonly urls: ReadonlyArray<string>
  readonly ports: ReadonlyArray<number>
  /** The master that has this key now, as long as one of the other nodes knows it. */
  readonly masterOf: (key: string) => Effect.Effect<RedisServer.RedisServer>
  readonly replicaOf: (master: RedisServer.RedisServer) => Effect.Effect<RedisServer.RedisServer>
  /** Waits until another node than this one is the master of the key; that one. */
  readonly takeover: (key: string, from: RedisServer.RedisServer) => Effect.Effect<RedisServer.RedisServer>
  readonly nodes: ReadonlyArray<RedisServer.RedisServer>
  /** After so many milliseconds without a word, a master counts as down. */
  readonly setNodeTimeout: (millis: number) => Effect.Effect<void>
}

const call = <A>(send: () => Promise<A>): Effect.Effect<A> => Effect.promise(send)

const until = <A>(what: string, ask: Effect.Effect<A>, isDone: (answer: A) => boolean): Effect.Effect<A> => {
  const asked: Effect.Effect<A> = Effect.flatMap(
    ask,
    (answer) => isDone(answer) ? Effect.succeed(answer) : Effect.zipRight(Effect.sleep("50 millis"), asked)
  )
  return Effect.timeoutFail(asked, {
    duration: "20 seconds",
    onTimeout: () => new Error(`the cluster did not come to: ${what}`)
  }).pipe(Effect.orDie)
}

/** `nodeTimeout`: see `setNodeTimeout`. */
export const start = (nodeTimeout: number): Effect.Effect<RedisCluster, never, Scope.Scope> =>
  Effect.gen(function*() {
    const startNode = Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const busPort = yield* freePort
      const server = yield* RedisServer.start(
        ...["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--dir", folder],
        ...["--cluster-port", `${busPort}`, "--cluster-node-timeout", `${nodeTimeout}`],
        // A replica takes over however old its data, and what is on the other masters can be had meanwhile.
        ...["--cluster-replica-validity-factor", "0", "--cluster-require-full-coverage", "no"],
        ...["--repl-diskless-sync-delay", "0"]
      )
      return { server, busPort }
    })
    const started = yield* Effect.all(Array.from({ length: 6 }, () => startNode), { concurrency: "unbounded" })
    const nodes = started.map(({ server }) => server)
    const [first, ...others] = started
    const ids = yield* Effect.forEach(nodes, ({ admin }) => call(() => admin.cluster("MYID") as Promise<string>))
    for (const [index, { admin }] of nodes.entries()) {
      yield* call(() => admin.cluster("SET-CONFIG-EPOCH", index + 1))
      const share = Math.ceil(16384 / 3)
      const range = [index * share, Math.min((index + 1) * share, 16384) - 1] as const
      if (index < 3) yield* call(() => admin.cluster("ADDSLOTSRANGE", ...range))
    }
    for (const { busPort, server } of others) {
      yield* call(() => first!.server.admin.call("CLUSTER", "MEET", "127.0.0.1", `${server.port}`, `${busPort}`))
    }
    const known = (admin: RedisServer.RedisServer["admin"]) =>
      call(async () =>
        String(await admin.cluster("NODES")).trim().split("\n").filter((line) => !line.includes("handshake"))
      )
    yield* Effect.forEach(nodes, ({ admin }) => until("knowing each other", known(admin), (all) => all.length === 6))
    for (const [index, { admin }] of nodes.slice(3).entries()) {
      yield* call(() => admin.cluster("REPLICATE", ids[index]!))
    }
    yield* Effect.forEach(
      nodes.slice(3),
      ({ admin }) =>
        until("replication", call(() => admin.info("replication")), (info) => info.includes("master_link_status:up"))
    )
    yield* Effect.forEach(
      nodes,
      ({ admin }) =>
        until("its ok", call(async () => String(await admin.cluster("INFO"))), (info) => info.includes("state:ok"))
    )

    const byPort = (port: number) => nodes.find((node) => node.port === port)!

    type Slots = ReadonlyArray<
      readonly [from: number, to: number, ...nodes: Array<readonly [host: string, port: number]>]
    >

    /** As it is seen by the first of these nodes that answers. */
    const slotsSeen = (except: RedisServer.RedisServer | undefined) =>
      Effect.firstSuccessOf(
        nodes.filter((node) => node !== except).map(({ admin }) =>
          Effect.timeout(
            Effect.tryPromise(() => admin.cluster("SLOTS") as Promise<unknown> as Promise<Slots>),
            "300 millis"
          )
        )
      ).pipe(Effect.orDie)

    const ownersOf = (key: string, except?: RedisServer.RedisServer) =>
      Effect.gen(function*() {
        const asked = nodes.find((node) => node !== except)!
        const slot = yield* call(() => asked.admin.cluster("KEYSLOT", key))
        const [, , ...owners] = (yield* slotsSeen(except)).find(([from, to]) => from <= slot && slot <= to)!
        return owners.map(([, port]) => byPort(port))
      })

    return {
      urls: nodes.map(({ url }) => url),
      ports: nodes.map(({ port }) => port),
      nodes,
      setNodeTimeout: (millis) =>
        Effect.forEach(nodes, ({ admin }) => call(() => admin.config("SET", "cluster-node-timeout", `${millis}`)), {
          discard: true
        }),
      masterOf: (key) => Effect.map(ownersOf(key), ([master]) => master!),
      replicaOf: (master) =>
        Effect.map(
          Effect.flatMap(
            slotsSeen(undefined),
            (slots) => Effect.succeed(slots.find(([, , owner]) => owner?.[1] === master.port))
          ),
          (range) => byPort(range![3]![1])
        ),
      takeover: (key, from) =>
        Effect.map(
          until("a takeover", ownersOf(key, from), ([master]) => master !== undefined && master !== from),
          ([master]) => master!
        )
    }
  })
