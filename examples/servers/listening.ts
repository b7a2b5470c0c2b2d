/** A server of Node on loopback, that can be stopped and started again. */
import { Effect, Schedule } from "effect"
import http from "node:http"
import type https from "node:https"
import type { AddressInfo } from "node:net"

/** Another socket may hold the port for a moment after a restart. */
const patiently = Schedule.spaced("100 millis").pipe(Schedule.intersect(Schedule.recurs(50)))

/** Gives its port; 0 takes a free one. */
export const listen = (server: http.Server | https.Server, port: number): Effect.Effect<number> =>
  Effect.async<number, Error>((resume) => {
    const onError = (error: Error) => resume(Effect.fail(error))
    server.once("error", onError).listen(port, "127.0.0.1", () => {
      server.off("error", onError)
      resume(Effect.sync(() => (server.address() as AddressInfo).port))
    })
  }).pipe(Effect.retry(patiently), Effect.orDie)

/** Kills its connections too. */
export const stop = (server: http.Server | https.Server): Effect.Effect<void> =>
  Effect.async((resume) => {
    // an error here says that it was not listening
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

/** A browser keeps connections open that it may need later; this server does not wait for them when it is closed. */
export class ImpatientServer extends http.Server {
  override close(done?: (error?: Error) => void): this {
    super.close(done)
    this.closeAllConnections()
    return this
  }
}
