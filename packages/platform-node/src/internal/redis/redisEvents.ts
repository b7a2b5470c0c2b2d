/**
 * What happens in Redis, told by publish and subscribe to everybody who listens in this process.
 */
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as StrictJson from "@effect-oauth/core/StrictJson"
import type { TokenStoreEvent } from "@effect-oauth/core/TokenStore"
import { gap, type TokenStoreEvents } from "@effect-oauth/core/TokenStoreEvents"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import type { Redis } from "ioredis"
import * as Connection from "./redisConnection.ts"

/** @internal */
export const encode = (event: TokenStoreEvent): string => {
  switch (event._tag) {
    case "Written":
      return JSON.stringify(["w", event.key, event.version])
    case "Removed":
      return JSON.stringify(["r", event.key])
    case "TagRemoved":
      return JSON.stringify(["t", event.tag])
    case "Gap":
      return "[]"
  }
}

/** @internal What cannot be read may have been anything. */
export const decode = (message: string): TokenStoreEvent => {
  const parsed = Either.getOrUndefined(StrictJson.parse(message))
  if (!Array.isArray(parsed)) return gap
  const [kind, name, version] = parsed as ReadonlyArray<unknown>
  if (typeof name !== "string") return gap
  if (kind === "w" && typeof version === "string") return { _tag: "Written", key: name, version }
  if (kind === "r") return { _tag: "Removed", key: name }
  return kind === "t" ? { _tag: "TagRemoved", tag: name } : gap
}

/** A lost connection that nobody has closed shows only by a question that is not answered. */
const pingEvery = Duration.seconds(10)

const ask = <A>(limit: Duration.Duration, send: () => Promise<A>): Effect.Effect<A, string> =>
  Effect.tryPromise({ try: send, catch: Connection.problemOf }).pipe(
    Effect.timeoutFail({ duration: limit, onTimeout: () => "no answer in time" })
  )

/** @internal */
export interface Subscription {
  readonly channel: string
  /** A new client for each connection, not yet connected: of a cluster it may be another node each time. */
  readonly connect: () => Redis
  readonly limits: Connection.Limits
  readonly hub: TokenStoreEvents
}

/** One connection, from its first moment to its last. */
const session = ({ channel, connect, hub, limits }: Subscription, onSubscribed: Effect.Effect<void>) =>
  Effect.gen(function*() {
    const redis = yield* Effect.acquireRelease(
      Effect.try({ try: connect, catch: Connection.problemOf }),
      (redis) => Effect.sync(() => redis.disconnect())
    )
    const closed = yield* Deferred.make<never, string>()
    let problem: string | undefined
    redis.on("error", (error) => problem = Connection.problemOf(error))
    redis.on("end", () => Deferred.unsafeDone(closed, Exit.fail(problem ?? "there is no connection")))
    redis.on("message", (from, message) => from === channel ? hub.publish(decode(message)) : undefined)
    // The connection fails with more words than the command that it was opened for.
    const opened = Effect.zipRight(
      ask(limits.connectTimeout, () => redis.connect()),
      ask(limits.commandTimeout, () => redis.subscribe(channel))
    )
    yield* Effect.mapError(opened, (own) => problem ?? own)
    yield* onSubscribed
    const pings = Effect.forever(
      Effect.zipRight(Effect.sleep(pingEvery), ask(limits.commandTimeout, () => redis.ping()))
    )
    return yield* Effect.raceFirst(Deferred.await(closed), pings)
  }).pipe(Effect.scoped, Effect.flip)

/** @internal Keeps a subscription as long as the scope lasts; comes back with the first one, or its failure. */
export const subscribe = (subscription: Subscription) =>
  Effect.gen(function*() {
    const log = yield* OAuthLogging.make
    const first = yield* Deferred.make<void>()
    let attempt = 0
    let complained = false

    const onSubscribed = Effect.suspend(() => {
      attempt = 0
      // Whoever listens already may have missed something: since the last connection, or since it began to listen.
      subscription.hub.publish(gap)
      const again = complained ? log.info(undefined, "the token store hears of changes in Redis again") : Effect.void
      complained = false
      return Effect.zipRight(Deferred.succeed(first, undefined), again)
    })
    const onEnd = (problem: string) =>
      Effect.suspend(() => {
        attempt++
        const text = `${Connection.failure("events", problem).message}; it goes on trying`
        // A connection that comes back at once is not worth a word.
        const complain = complained || attempt < 2 ? Effect.void : log.warning(undefined, text)
        complained ||= attempt >= 2
        return Effect.zipRight(Deferred.succeed(first, undefined), complain)
      })
    const pause = Effect.suspend(() => Effect.sleep(Duration.millis(Connection.pauseBefore(attempt))))

    yield* session(subscription, onSubscribed).pipe(
      Effect.flatMap(onEnd),
      Effect.zipRight(pause),
      Effect.forever,
      Effect.forkScoped
    )
    yield* Deferred.await(first)
  })
