/**
 * A redis-server of the benchmark's own, if there is one on this machine.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"

export const isThere = spawnSync("redis-server", ["--version"]).status === 0

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** Its URL. */
export const start: Effect.Effect<string, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      const port = await freePort()
      const child = spawn("redis-server", [
        "--port",
        `${port}`,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no"
      ])
      for await (const text of child.stdout) if (`${text}`.includes("Ready to accept connections")) break
      child.stdout.resume()
      return { child, url: `redis://127.0.0.1:${port}` }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  ),
  ({ url }) => url
)
