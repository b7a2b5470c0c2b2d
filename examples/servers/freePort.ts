import { Effect } from "effect"
import { randomInt } from "node:crypto"
import { createServer } from "node:net"

/** Below those that the system gives away by itself, to connections too: nobody else comes by this one meanwhile. */
const candidate = (): number => randomInt(20_000, 32_000)

/** A port of loopback that nobody listens on. */
export const freePort: Effect.Effect<number> = Effect.async((resume) => {
  const attempt = (): void => {
    const port = candidate()
    const server = createServer()
    server.once("error", attempt)
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(port))))
  }
  attempt()
})
