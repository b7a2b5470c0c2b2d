/**
 * The API of `loopbackApi.ts`, which a benchmark calls over HTTP, in a process of its own.
 */
import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"

export const start = Effect.acquireRelease(
  Effect.promise(async () => {
    const child = fork(fileURLToPath(new URL("loopbackApi.ts", import.meta.url)), { execArgv: ["--import", "tsx"] })
    const [port] = await once(child, "message")
    return { child, url: `http://127.0.0.1:${port}/invoices` }
  }),
  ({ child }) => Effect.sync(() => child.disconnect())
)
