/**
 * Listening to the notifications of a channel, over a connection of its own.
 *
 * `PgClient.listen` neither ends nor fails when its connection is lost, and others that listen by the same client keep the lost
 * one alive. So there is a client for this alone, of the same configuration, whose sockets are watched; and when nothing was
 * heard for long a notification is sent, since a connection can be lost without a sign.
 */
import type { TokenStoreError } from "@effect-oauth/core/OAuthError"
import * as TokenStoreEvents from "@effect-oauth/core/TokenStoreEvents"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as RcRef from "effect/RcRef"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as Payload from "./pgPayload.ts"

/** @internal */
export interface Options {
  readonly config: PgClient.PgClientConfig
  readonly channel: string
  /** Notifies the channel over another connection. */
  readonly notify: (payload: string) => Effect.Effect<unknown, TokenStoreError>
  /** How long nothing is heard before a notification is sent. */
  readonly quiet: Duration.Duration
}

const patience = Duration.seconds(5)

/** The sockets of a client, which it does not show. */
const watchSockets = (create: () => Duplex) => {
  const open = new Set<Duplex>()
  let onCreate = (_socket: Duplex): void => {}
  return {
    create: (): Duplex => {
      const socket = create()
      open.add(socket)
      socket.once("close", () => open.delete(socket))
      onCreate(socket)
      return socket
    },
    /** Ends when one is lost that is opened from now on. */
    lost: Effect.async<void>((resume) => {
      onCreate = (socket) => socket.once("close", () => resume(Effect.void))
    }),
    destroy: Effect.sync(() => {
      for (const socket of open) socket.destroy()
    })
  }
}

/** With a farewell if Postgres answers. */
const close = (scope: Scope.CloseableScope, destroy: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.gen(function*() {
    const closing = yield* Effect.forkDaemon(Scope.close(scope, Exit.void))
    const closed = Effect.timeoutOption(Effect.interruptible(Fiber.await(closing)), "1 second")
    yield* closed
    yield* destroy
    yield* closed
  })

/** One connection, until it is lost. */
const connection = (
  { channel, config, notify, quiet }: Options,
  hub: TokenStoreEvents.TokenStoreEvents,
  onReady: () => void
) => {
  const heard = Effect.unsafeMakeLatch(false)

  const receive = (payload: string) =>
    Effect.sync(() => {
      heard.unsafeOpen()
      const event = Payload.decode(payload)
      if (event !== undefined) hub.publish(event)
    })

  const isHeard = (within: Duration.DurationInput) =>
    Effect.map(Effect.timeoutOption(heard.await, within), Option.isSome)

  const ready = Effect.gen(function*() {
    do yield* Effect.ignore(notify(Payload.probe))
    while (!(yield* isHeard("100 millis")))
    onReady()
    // Nobody knows what was notified before.
    hub.publish(TokenStoreEvents.gap)
  })

  const vigil = Effect.gen(function*() {
    for (;;) {
      heard.unsafeClose()
      const jitter = yield* Random.nextRange(0.75, 1.25)
      yield* Effect.sleep(Duration.times(quiet, jitter))
      if (yield* isHeard(0)) continue
      const sent = yield* Effect.isSuccess(notify(Payload.probe))
      if (sent && !(yield* isHeard(patience))) return
    }
  })

  const listen = (scope: Scope.Scope, sockets: ReturnType<typeof watchSockets>) =>
    Effect.gen(function*() {
      const layer = PgClient.layer({
        ...config,
        stream: sockets.create,
        // Its pool is used once, to see whether it can connect.
        maxConnections: 1,
        minConnections: 0,
        idleTimeout: "1 millis"
      })
      const context = yield* Effect.timeout(Effect.disconnect(Layer.buildWithScope(layer, scope)), patience)
      const client = Context.get(context, PgClient.PgClient)
      yield* sockets.lost.pipe(
        Effect.raceFirst(Effect.disconnect(Stream.runForEach(client.listen(channel), receive))),
        Effect.raceFirst(Effect.zipRight(Effect.timeout(ready, patience), vigil))
      )
    })

  return Effect.acquireUseRelease(
    Effect.map(Scope.make(), (scope) => ({ scope, sockets: watchSockets(config.stream ?? (() => new Socket())) })),
    ({ scope, sockets }) => listen(scope, sockets),
    ({ scope, sockets }) => close(scope, sockets.destroy)
  )
}

/** One connection after the other. */
const follow = (options: Options, hub: TokenStoreEvents.TokenStoreEvents): Effect.Effect<never> =>
  Effect.gen(function*() {
    let pause = 100
    for (;;) {
      yield* Effect.exit(connection(options, hub, () => {
        pause = 100
      }))
      const jitter = yield* Random.nextRange(0.5, 1)
      yield* Effect.sleep(Duration.millis(pause * jitter))
      pause = Math.min(pause * 2, 5000)
    }
  })

/** @internal There is a connection as long as somebody subscribes. */
export const make = (options: Options) =>
  Effect.map(
    RcRef.make({
      acquire: Effect.gen(function*() {
        const hub = TokenStoreEvents.make()
        yield* Effect.forkScoped(follow(options, hub))
        yield* Effect.addFinalizer(() => Effect.sync(hub.end))
        return hub
      })
    }),
    (listening) => Stream.unwrapScoped(Effect.map(RcRef.get(listening), (hub) => hub.events))
  )
