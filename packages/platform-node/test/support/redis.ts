import { Effect, type Scope } from "effect"
import { Redis } from "ioredis"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { freePort } from "../../../../examples/servers/freePort.ts"
import { temporaryFolder } from "./temporaryFolder.ts"

/** Whether there is a redis-server on this machine; where there is none, its tests are skipped and say so. */
export const available = spawnSync("redis-server", ["--version"]).status === 0

export interface RedisServer {
  readonly port: number
  readonly url: string
  readonly signal: (signal: "SIGSTOP" | "SIGCONT") => Effect.Effect<void>
  readonly kill: Effect.Effect<void>
  /** With nothing in it, at the same port. */
  readonly restart: Effect.Effect<void>
  /** A connection of the test's own. */
  readonly admin: Redis
}

const spawnServer = (port: number, args: ReadonlyArray<string>) =>
  Effect.async<ChildProcess>((resume) => {
    const child = spawn(
      "redis-server",
      ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...args],
      { stdio: ["ignore", "pipe", "ignore"] }
    )
    let text = ""
    child.stdout!.on("data", (chunk) => {
      text += chunk
      if (text.includes("Ready to accept connections")) resume(Effect.succeed(child))
    })
    child.on("exit", () => resume(Effect.die(new Error(`redis-server has ended: ${text}`))))
  })

const end = (child: ChildProcess) =>
  Effect.async<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.removeAllListeners("exit")
    child.on("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** One that is all of a cluster, so that a command whose keys are on two nodes is refused. */
export const startCluster: Effect.Effect<RedisServer, never, Scope.Scope> = Effect.gen(function*() {
  const folder = yield* temporaryFolder
  const server = yield* start("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--dir", folder)
  yield* Effect.promise(() => server.admin.cluster("ADDSLOTSRANGE", 0, 16383))
  yield* Effect.repeat(
    Effect.zipRight(Effect.sleep("20 millis"), Effect.promise(() => server.admin.call("CLUSTER", "INFO"))),
    { until: (info) => String(info).includes("cluster_state:ok") }
  )
  return server
})

/** A redis-server of the test's own, with nothing in it. */
export const start = (...args: ReadonlyArray<string>): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const port = yield* freePort
    let child = yield* spawnServer(port, args)
    yield* Effect.addFinalizer(() => Effect.suspend(() => end(child)))
    const admin = yield* Effect.acquireRelease(
      Effect.sync(() => new Redis({ port, host: "127.0.0.1", retryStrategy: () => 50 })),
      (admin) => Effect.sync(() => admin.disconnect())
    )
    admin.on("error", () => {})
    return {
      port,
      url: `redis://127.0.0.1:${port}`,
      signal: (signal) => Effect.sync(() => void child.kill(signal)),
      kill: Effect.suspend(() => end(child)),
      restart: Effect.zipRight(
        Effect.suspend(() => end(child)),
        Effect.map(spawnServer(port, args), (next) => void (child = next))
      ),
      admin
    }
  })
