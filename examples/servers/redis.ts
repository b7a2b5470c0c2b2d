/** A redis-server of one's own, if there is one on this machine: empty, on loopback, gone with the scope. */
import { Effect, type Scope } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { freePort } from "./freePort.ts"

export const isThere = spawnSync("redis-server", ["--version"]).status === 0

/** Its URL. */
export const start: Effect.Effect<string, never, Scope.Scope> = Effect.gen(function*() {
  const port = yield* freePort
  const options = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn("redis-server", options, { stdio: ["ignore", "pipe", "ignore"] })),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )
  yield* Effect.async<void>((resume) => {
    child.stdout.on("data", (text) => String(text).includes("Ready to accept") ? resume(Effect.void) : undefined)
    child.on("exit", () => resume(Effect.dieMessage("redis-server does not start")))
  })
  return `redis://127.0.0.1:${port}`
})
