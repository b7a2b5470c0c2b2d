import { Effect } from "effect"
import { type AddressInfo, createServer } from "node:net"

/** A port of loopback that nobody listens on, for a server that cannot look for one itself. */
export const freePort: Effect.Effect<number> = Effect.async((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})
