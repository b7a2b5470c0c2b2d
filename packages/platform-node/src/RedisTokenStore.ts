/**
 * A `TokenStore` in Redis 6 or later (or what speaks its language), over ioredis 5, for processes on several machines that
 * share tokens. It has its own import, `@effect-oauth/platform-node/RedisTokenStore`, and asks for `ioredis` beside it.
 *
 * - Reads, writes on condition and locks are one step at Redis. What it has said yes to can get lost when it fails over to a
 *   replica that did not know of it yet: that is Redis.
 * - Everything has a time to live, so nothing has to be cleaned up.
 * - A cluster is fine (`cluster`): what has to be one step is on one node. Replicas must not be read from, since they may lag
 *   behind.
 * - An ACL user needs `~effect-oauth:*` and `&effect-oauth:*` (the `prefix`) and `+@hash +@sortedset +@string +@scripting
 *   +@pubsub +@connection +type +del +pexpire +pexpireat +time +info`.
 *
 * Nothing waits for Redis for long: a command ends within `commandTimeout`, at once while there is no connection, and then
 * it fails. Connections come back automatically. A command that failed for lack of an answer may have been carried out; one that
 * its client has not sent by then is not carried out later, whatever queues and repetitions the client has.
 *
 * @since 0.1.0
 */
import type { TokenStoreError } from "@effect-oauth/core/OAuthError"
import * as TokenStore from "@effect-oauth/core/TokenStore"
import * as TokenStoreEvents from "@effect-oauth/core/TokenStoreEvents"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from "ioredis"
import { randomInt } from "node:crypto"
import * as ConfigFields from "./internal/configFields.ts"
import * as Connection from "./internal/redis/redisConnection.ts"
import * as Driver from "./internal/redis/redisDriver.ts"
import * as Events from "./internal/redis/redisEvents.ts"
import * as RedisUrl from "./internal/redis/redisUrl.ts"
import type { Field } from "./NodeBackchannel.ts"

/**
 * - `prefix`: of every key, and of the channel of events. Stores with another one know nothing of each other. Default
 *   `effect-oauth:`.
 * - `commandTimeout`: how long one command may take, from the call to the answer. A write with tags, and a removal by tag, are
 *   several. Default 1 second.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientOptions {
  readonly prefix?: string | undefined
  readonly commandTimeout?: Duration.DurationInput | undefined
}

/**
 * The options of ioredis, without those that say how long commands wait and whether they are repeated.
 *
 * @since 0.1.0
 * @category models
 */
export type ClientSettings = Omit<
  RedisOptions,
  | "enableOfflineQueue"
  | "autoResendUnfulfilledCommands"
  | "maxRetriesPerRequest"
  | "autoResubscribe"
  | "enableReadyCheck"
  | "maxLoadingRetryTime"
  | "connectTimeout"
  | "commandTimeout"
  | "socketTimeout"
  | "lazyConnect"
>

/**
 * - `nodes`: to begin with, besides that of the `url`, in case it is down when the program starts.
 * - `slotsRefreshInterval`: milliseconds between two questions for the nodes of the cluster. A command that fails asks earlier.
 *   Default 5,000.
 * - `natMap`, `dnsLookup`: as in ioredis.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClusterSettings extends Pick<ClusterOptions, "slotsRefreshInterval" | "natMap" | "dnsLookup"> {
  readonly nodes?: ReadonlyArray<{ readonly host: string; readonly port: number }> | undefined
}

/**
 * - `url`: `redis://` or `rediss://` (TLS), `user:password@host:port/database`, percent-encoded. Default by `client`.
 * - `connectTimeout`: for TCP and TLS together, and how long the Layer waits for the first connection before it goes on
 *   without. Default 5 seconds.
 * - `client`: what else ioredis can be told, such as `tls` or `sentinels`; the `url` wins.
 * - `cluster`: the `url` is that of a node of a cluster. Default `false`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends ClientOptions {
  readonly url?: string | Redacted.Redacted<string> | undefined
  readonly connectTimeout?: Duration.DurationInput | undefined
  readonly client?: ClientSettings | undefined
  readonly cluster?: boolean | ClusterSettings | undefined
}

const limitsOf = (options: Options): Connection.Limits => ({
  commandTimeout: Duration.decode(options.commandTimeout ?? "1 seconds"),
  connectTimeout: Duration.decode(options.connectTimeout ?? "5 seconds")
})

/** Nodes of a cluster that do not answer are left when their socket times out: its next owner may be known by then. */
const connect = (settings: RedisOptions, { cluster = false }: Options): Connection.Client => {
  if (cluster === false) return new Redis({ ...settings, lazyConnect: true })
  const { nodes = [], ...more } = cluster === true ? {} : cluster
  const { host, port, retryStrategy: _, ...redisOptions } = settings
  return new Cluster([{ host, port }, ...nodes], {
    slotsRefreshInterval: 5000,
    ...more,
    lazyConnect: true,
    clusterRetryStrategy: Connection.pauseBefore,
    slotsRefreshTimeout: settings.commandTimeout,
    redisOptions
  })
}

/** A connection for events: like the client's, of a cluster to any of its nodes, as all of them pass on what is published. */
const duplicate = (client: Connection.Client, limits: Connection.Limits): Redis => {
  const nodes = "nodes" in client ? client.nodes() : [client]
  if (nodes.length === 0) throw new Error("no node is known")
  return nodes[randomInt(nodes.length)]!.duplicate({
    ...Connection.ownOptions(limits),
    lazyConnect: true,
    // Whether commands can be had is all the same to events, and the user may not be allowed to ask.
    enableReadyCheck: false,
    reconnectOnError: null,
    retryStrategy: null
  })
}

const over = (
  client: Connection.Client,
  options: Options,
  own: boolean
): Effect.Effect<TokenStore.TokenStore["Type"], never, Scope.Scope> =>
  Effect.gen(function*() {
    const limits = limitsOf(options)
    const prefix = options.prefix ?? "effect-oauth:"
    const channel = `${client.options.keyPrefix ?? ""}${prefix}events`
    const connection = yield* Connection.make(client, { limits, own })
    const hub = TokenStoreEvents.make()
    yield* Effect.addFinalizer(() => Effect.sync(hub.end))
    // A program has to start while Redis is down; the first warning has been written by then.
    yield* Effect.all([
      Effect.ignore(connection.ready),
      Events.subscribe({ channel, connect: () => duplicate(client, limits), hub, limits })
    ], { concurrency: "unbounded" }).pipe(Effect.timeoutOption(limits.connectTimeout))
    return yield* TokenStore.make(Driver.make(connection, { channel, events: hub.events, prefix }))
  })

/**
 * The end of the scope closes both connections, the one for commands and the one for events. A Redis that cannot be reached
 * is not an error, a warning says so.
 *
 * Fails with `TokenStoreError` if `url` cannot be used; that shows nothing of it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<TokenStore.TokenStore["Type"], TokenStoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const url = options.url === undefined ? {} : yield* Effect.mapError(
      RedisUrl.parse(Redacted.isRedacted(options.url) ? Redacted.value(options.url) : options.url),
      (problem) => Connection.failure("connect", problem)
    )
    const settings: RedisOptions = {
      keepAlive: 10_000,
      retryStrategy: Connection.pauseBefore,
      reconnectOnError: Connection.reconnectOnError,
      ...options.client,
      ...url,
      ...(options.client?.tls === undefined ? {} : { tls: options.client.tls }),
      ...Connection.ownOptions(limitsOf(options))
    }
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => connect(settings, options)),
      (client) => Effect.sync(() => client.disconnect())
    )
    return yield* over(client, options, true)
  })

/**
 * Over a client of your own, `Redis` or `Cluster`, which stays yours: it is not closed, its errors are not listened to. The
 * connection for events is another one, made like it.
 *
 * Its options decide how soon it notices that a server is gone: without `socketTimeout` (`redisOptions.socketTimeout` of a
 * cluster, with `slotsRefreshInterval`) a server that hangs is asked again and again. They do not decide whether a command is
 * carried out after the store has given it up: it is not.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeFromClient = (
  client: Redis | Cluster,
  options: ClientOptions = {}
): Effect.Effect<TokenStore.TokenStore["Type"], never, Scope.Scope> => over(client, options, false)

/**
 * @example
 * ```ts
 * import { TokenStore } from "@effect-oauth/core"
 * import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
 * import { Effect } from "effect"
 *
 * export const program = Effect.gen(function*() {
 *   const store = yield* TokenStore.TokenStore
 *   yield* store.set("greeting", "hello", { timeToLive: "1 minutes" })
 *   return yield* store.get("greeting")
 * }).pipe(Effect.provide(RedisTokenStore.layer({ url: "redis://localhost:6379" })))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<TokenStore.TokenStore, TokenStoreError> =>
  Layer.scoped(TokenStore.TokenStore, make(options))

/**
 * `Options` whose fields may each be a `Config`.
 *
 * @since 0.1.0
 * @category models
 */
export type OptionsConfig = { readonly [K in keyof Options]: Field<Options[K]> }

/**
 * The same, its fields by configuration.
 *
 * @example
 * ```ts
 * import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
 * import { Config } from "effect"
 *
 * export const TokenStoreLive = RedisTokenStore.layerConfig({
 *   url: Config.redacted("REDIS_URL"),
 *   prefix: "billing:"
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: OptionsConfig | Config.Config<Options>
): Layer.Layer<TokenStore.TokenStore, TokenStoreError | ConfigError.ConfigError> =>
  Layer.scoped(
    TokenStore.TokenStore,
    Effect.flatMap(
      Config.isConfig(config) ? config : ConfigFields.readFields(config) as Config.Config<Options>,
      make
    )
  )

/**
 * Over a client of your own.
 *
 * @example
 * ```ts
 * import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
 * import { Effect, Layer } from "effect"
 * import { Redis } from "ioredis"
 *
 * const client = Effect.acquireRelease(
 *   Effect.sync(() => new Redis({ lazyConnect: true, socketTimeout: 2000 })),
 *   (client) => Effect.sync(() => client.disconnect())
 * )
 *
 * export const TokenStoreLive = Layer.unwrapScoped(Effect.map(client, (client) => RedisTokenStore.layerFromClient(client)))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFromClient = (
  client: Redis | Cluster,
  options?: ClientOptions
): Layer.Layer<TokenStore.TokenStore> => Layer.scoped(TokenStore.TokenStore, makeFromClient(client, options))
