/**
 * A way to a TCP server on loopback that can go wrong at any time, for connections that are open too.
 */
import { Effect, type Scope } from "effect"
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

/**
 * - `refuse`: nobody listens, and connections are closed.
 * - `hang`: nothing arrives, in either direction, until the fault is over.
 * - `reset`: each connection ends in a reset.
 * - `garbage`: answers are something else.
 * - `slow`: each piece takes so many milliseconds, in either direction.
 * - `cut`: a connection ends after so many bytes of answers.
 */
export type Fault =
  | { readonly _tag: "none" | "refuse" | "hang" | "reset" | "garbage" }
  | { readonly _tag: "slow"; readonly millis: number }
  | { readonly _tag: "cut"; readonly bytes: number }

export interface FaultProxy {
  readonly port: number
  readonly become: (fault: Fault["_tag"] | Fault) => Effect.Effect<void>
  /** The next answer waits here. Ends when it has come, and gives what lets it go on. */
  readonly holdNextAnswer: Effect.Effect<{ readonly held: Effect.Effect<void>; readonly release: Effect.Effect<void> }>
}

const signal = () => {
  let give = (): void => {}
  const given = new Promise<void>((resolve) => give = resolve)
  return { give, given }
}

const noise = Buffer.from("HTTP/1.1 418 I'm a teapot\r\n\r\n\0\xff\xfe{]", "latin1")

const make = (upstreamPort: number) => {
  let fault: Fault = { _tag: "none" }
  let over = signal()
  let hold: { readonly come: () => void; readonly released: Promise<void> } | undefined
  const sockets = new Set<net.Socket>()

  const pass = async (from: net.Socket, to: net.Socket, isAnswer: boolean) => {
    let bytes = 0
    for await (const chunk of from as AsyncIterable<Buffer>) {
      if (isAnswer && hold !== undefined) {
        const { come, released } = hold
        hold = undefined
        come()
        await released
      }
      while (fault._tag === "hang") await over.given
      if (fault._tag === "slow") await Promise.race([sleep(fault.millis), over.given])
      bytes += chunk.length
      if (isAnswer && fault._tag === "cut" && bytes >= fault.bytes) {
        to.end(chunk.subarray(0, Math.max(0, fault.bytes - (bytes - chunk.length))))
        return from.destroy()
      }
      to.write(isAnswer && fault._tag === "garbage" ? noise : chunk)
    }
    to.end()
  }

  const server = net.createServer((client) => {
    if (fault._tag === "reset") return void client.resetAndDestroy()
    const upstream = net.connect(upstreamPort, "127.0.0.1")
    for (const [one, other] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(one)
      one.on("error", () => {})
      one.on("close", () => {
        sockets.delete(one)
        other.destroy()
      })
      void pass(one, other, one === upstream).catch(() => {})
    }
  })

  const listen = (port: number) =>
    Effect.async<number>((resume) => {
      server.listen(port, "127.0.0.1", () => resume(Effect.succeed((server.address() as net.AddressInfo).port)))
    })
  const end = (how: "destroy" | "resetAndDestroy") => {
    for (const socket of sockets) socket[how]()
  }
  const close = Effect.async<void>((resume) => {
    server.close(() => resume(Effect.void))
    end("destroy")
  })

  return {
    listen,
    close,
    become: (port: number) => (next: Fault["_tag"] | Fault) =>
      Effect.suspend(() => {
        const wasRefusing = fault._tag === "refuse"
        fault = typeof next === "string" ? { _tag: next } as Fault : next
        over.give()
        over = signal()
        if (fault._tag === "reset") end("resetAndDestroy")
        if (fault._tag === "refuse") return wasRefusing ? Effect.void : close
        return wasRefusing ? Effect.asVoid(listen(port)) : Effect.void
      }),
    holdNextAnswer: Effect.sync(() => {
      const come = signal()
      const released = signal()
      hold = { come: come.give, released: released.given }
      return {
        held: Effect.promise(() => come.given),
        release: Effect.sync(released.give)
      }
    })
  }
}

/** To a port of this machine, until the scope ends. */
export const start = (upstreamPort: number): Effect.Effect<FaultProxy, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { become, close, holdNextAnswer, listen } = make(upstreamPort)
    const port = yield* Effect.acquireRelease(listen(0), () => close)
    // What hangs would be there for ever.
    yield* Effect.addFinalizer(() => become(port)("none"))
    return { port, become: become(port), holdNextAnswer }
  })
