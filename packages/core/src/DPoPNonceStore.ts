/**
 * The nonces that servers hand out for DPoP proofs (RFC 9449 sections 8 and 9).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as BoundedMap from "./internal/cache/boundedMap.ts"
import { clockOf } from "./internal/clock.ts"
import * as StoreGuard from "./internal/store/storeGuard.ts"
import * as OAuthLogging from "./OAuthLogging.ts"
import * as SteadyClock from "./SteadyClock.ts"
import { suspended, TokenStore } from "./TokenStore.ts"

/**
 * Who wants the nonce. The nonces of an authorization server and of an API are apart, even on one origin.
 *
 * @since 0.1.0
 * @category models
 */
export interface Server {
  readonly role: "authorizationServer" | "resourceServer"
  /** Scheme, host and port, such as `https://api.example.com`. */
  readonly origin: string
}

/**
 * @since 0.1.0
 * @category tags
 */
export class DPoPNonceStore extends Context.Tag("@effect-oauth/core/DPoPNonceStore")<DPoPNonceStore, {
  /** The newest nonce of a server. */
  readonly get: (server: Server) => Effect.Effect<Option.Option<string>>
  /** Keeps a nonce, which replaces the one before. */
  readonly set: (server: Server, nonce: string) => Effect.Effect<void>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How many servers' nonces are kept. Default 1,000. */
  readonly capacity?: number | undefined
  /** How long a nonce is kept after its server gave it. Default 1 hour. */
  readonly timeToLive?: Duration.DurationInput | undefined
}

interface Entry extends BoundedMap.Entry {
  nonce: string
  until: number
}

/**
 * In the memory of this process.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): DPoPNonceStore["Type"] => {
  const timeToLive = Duration.toMillis(options.timeToLive ?? "1 hour")
  const entries = BoundedMap.make<Entry>(options.capacity ?? 1000)
  const keyOf = ({ origin, role }: Server) => `${role} ${origin}`
  return {
    get: (server) =>
      Effect.withFiberRuntime((fiber) => {
        const entry = entries.get(keyOf(server))
        if (entry === undefined || entry.until <= SteadyClock.unsafeCurrentTimeMillis(clockOf(fiber))) {
          return Effect.succeedNone
        }
        entry.used = true
        return Effect.succeed(Option.some(entry.nonce))
      }),
    set: (server, nonce) =>
      Effect.withFiberRuntime((fiber) => {
        const key = keyOf(server)
        const until = SteadyClock.unsafeCurrentTimeMillis(clockOf(fiber)) + timeToLive
        const entry = entries.get(key)
        if (entry === undefined) {
          entries.add({ key, used: false, evicted: false, pinned: () => false, nonce, until })
        } else {
          entry.nonce = nonce
          entry.until = until
        }
        return Effect.void
      })
  }
}

/**
 * In the memory of this process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<DPoPNonceStore> => Layer.sync(DPoPNonceStore, () => make(options))

/** Nonces that change with every answer are written this often. */
const writeEvery = Duration.seconds(1)

const timeout = Duration.millis(500)

/**
 * Shared by all processes through the `TokenStore`, with the memory of this one in front: a process that starts, or one that
 * calls a server for the first time, begins with the newest nonce that another one was given. What is new here is written
 * within a second, in the background.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeShared = (
  options: Options = {}
): Effect.Effect<DPoPNonceStore["Type"], never, TokenStore | Scope.Scope> =>
  Effect.gen(function*() {
    const store = suspended(yield* TokenStore)
    const memory = make(options)
    const timeToLive = Duration.decode(options.timeToLive ?? "1 hour")
    const { quick } = StoreGuard.make(yield* OAuthLogging.make, timeout, {
      down: "nonces that it fails for are shared with no other process until it is back",
      up: "nonces are shared again"
    })
    const keyOf = ({ origin, role }: Server) => `nonce:${role}:${origin}`
    const unwritten = new Map<string, string>()

    const write = Effect.suspend(() => {
      const nonces = [...unwritten]
      unwritten.clear()
      return Effect.forEach(
        nonces,
        ([key, nonce]) => quick("write", "set", key, store.set(key, nonce, { timeToLive }), Option.none()),
        { discard: true }
      )
    })
    yield* Effect.forkScoped(Effect.repeat(write, Schedule.spaced(writeEvery)))

    const look = (server: Server) =>
      quick("read", "get", keyOf(server), store.get(keyOf(server)), Option.none()).pipe(
        Effect.map(Option.map(({ value }) => value)),
        Effect.tap((nonce) => Option.isSome(nonce) ? memory.set(server, nonce.value) : Effect.void)
      )

    return {
      get: (server) =>
        Effect.flatMap(memory.get(server), (nonce) => Option.isSome(nonce) ? Effect.succeed(nonce) : look(server)),
      set: (server, nonce) => {
        unwritten.set(keyOf(server), nonce)
        return memory.set(server, nonce)
      }
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layerShared = (options?: Options): Layer.Layer<DPoPNonceStore, never, TokenStore> =>
  Layer.scoped(DPoPNonceStore, makeShared(options))
