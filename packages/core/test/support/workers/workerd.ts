/** The real runtime of Cloudflare Workers, with a worker of this folder and the server that it talks to. */
import { Effect, type Scope } from "effect"
import { build } from "esbuild"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"

/** Where the package has the program. */
const workerd: { readonly default: string } = createRequire(import.meta.url)("workerd")

/** Starts a server on a free port of this machine. */
export const serving = (
  answer: (request: IncomingMessage, response: ServerResponse, origin: string) => void
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = createServer((request, response) => answer(request, response, originOf(server.address())))
        await once(server.listen(0, "127.0.0.1"), "listening")
        return server
      }),
      (server) =>
        Effect.promise(async () => {
          server.closeAllConnections()
          await new Promise((resolve) => server.close(resolve))
        })
    ),
    (server) => originOf(server.address())
  )

const originOf = (address: AddressInfo | string | null): string =>
  `http://127.0.0.1:${typeof address === "object" ? address?.port : address}`

const config = (variables: Readonly<Record<string, string>>) => {
  const bindings = Object.entries(variables).map(([name, value]) =>
    `(name = ${JSON.stringify(name)}, text = ${JSON.stringify(value)})`
  )
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-11-01",
      bindings = [${bindings.join(", ")}],
      globalOutbound = "network"
    )),
    (name = "network", network = (allow = ["public", "private"]))
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);`
}

/** Bundles `worker.ts` from the sources, runs it, and gives its address. */
export const run = (variables: Readonly<Record<string, string>>): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "workerd-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    )
    yield* Effect.promise(() =>
      build({
        entryPoints: [fileURLToPath(new URL("worker.ts", import.meta.url))],
        outfile: join(folder, "worker.js"),
        bundle: true,
        format: "esm",
        target: "es2022",
        platform: "neutral",
        external: ["cloudflare:*"],
        mainFields: ["module", "main"],
        conditions: ["@effect-oauth/source", "workerd", "worker"]
      })
    )
    yield* Effect.promise(() => writeFile(join(folder, "config.capnp"), config(variables)))
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(workerd.default, ["serve", "--control-fd=3", join(folder, "config.capnp")], {
          stdio: ["ignore", "ignore", "pipe", "pipe"]
        })
      ),
      (child) =>
        Effect.promise(async () => {
          if (child.exitCode !== null) return
          child.kill("SIGKILL")
          await once(child, "exit")
        })
    )
    const [line] = yield* Effect.promise(() =>
      Promise.race([
        once(child.stdio[3]!, "data"),
        text(child.stderr!).then((problem) => Promise.reject(new Error(`workerd did not start: ${problem}`)))
      ])
    )
    const { port } = JSON.parse(String(line).split("\n")[0]!)
    return `http://127.0.0.1:${port}`
  })
