/**
 * A process that gets tokens over a shared store, and does what its parent says. It can have several stacks of services, each
 * like a process of its own but for the time that it takes to start one.
 */
import {
  AccessTokenHttpClient,
  ClientCredentialsTokenManager,
  TokenCache,
  TokenClients,
  TokenEncryption,
  type TokenStore
} from "@effect-oauth/core"
import { NodeOAuth, NodeSigner } from "@effect-oauth/platform-node"
import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Undici from "@effect/platform-node/Undici"
import * as HttpClient from "@effect/platform/HttpClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import {
  Cause,
  Clock,
  Config,
  ConfigProvider,
  Context,
  Effect,
  Exit,
  Layer,
  Logger,
  LogLevel,
  ManagedRuntime,
  Option,
  Redacted
} from "effect"
import type { Calls, Get, Outcome, Reply, Request, Settings, StoreSettings } from "./protocol.ts"

const storeLayer = (store: StoreSettings): Layer.Layer<TokenStore.TokenStore, unknown> =>
  store._tag === "redis"
    ? RedisTokenStore.layer({ url: store.url, prefix: store.prefix })
    : Layer.provide(
      PgTokenStore.layer({ table: store.table }),
      PgClient.layer({
        host: "127.0.0.1",
        port: store.port,
        username: "postgres",
        password: Redacted.make(store.password),
        database: "postgres",
        maxConnections: 4
      })
    )

const encryptionLayer = (keys: string | undefined) =>
  keys === undefined ? Layer.empty : TokenEncryption.layerConfig(Config.redacted("KEYS")).pipe(
    Layer.provide(NodeSigner.layer),
    Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["KEYS", keys]]))))
  )

/** For calls to the API: all callers at once, over a few connections. */
class Api extends Context.Tag("Api")<Api, HttpClient.HttpClient>() {}

const apiLayer = Layer.effect(Api, HttpClient.HttpClient).pipe(
  Layer.provide(NodeHttpClient.layerUndiciWithoutDispatcher),
  Layer.provide(Layer.scoped(
    NodeHttpClient.Dispatcher,
    Effect.acquireRelease(
      Effect.sync(() => new Undici.Agent({ connections: 20 })),
      (agent) => Effect.promise(() => agent.destroy())
    )
  ))
)

const layer = (settings: Settings, log: Array<string>) => {
  const { clientId, clientSecret, encryptionKeys, lockLease, lockWait, store, storeTimeout, tokenEndpoint } = settings
  const logger = Logger.make(({ logLevel, message }) => void log.push(`${logLevel.label} ${message}`))
  const cache = TokenCache.layer({ storeTimeout, lockLease, lockWait }).pipe(
    Layer.provide([storeLayer(store), encryptionLayer(encryptionKeys)])
  )
  return NodeOAuth.layer.pipe(
    Layer.provide(cache),
    Layer.provideMerge(TokenClients.layer({
      worker: {
        tokenEndpoint,
        clientId,
        clientSecret: Redacted.make(clientSecret),
        // Whatever a slow machine takes, an answer that is held back is waited for.
        timeout: "60 seconds",
        acquireTimeout: "60 seconds"
      }
    })),
    Layer.merge(apiLayer),
    Layer.provide([Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.Info)])
  )
}

/** What became of calls that all begin at once. */
const outcome = <E, R>(
  count: number,
  tokens: ReadonlySet<string>,
  call: Effect.Effect<string, E, R>
): Effect.Effect<Outcome, never, R> =>
  Effect.gen(function*() {
    const began = yield* Clock.currentTimeMillis
    const ended = Effect.map(
      Effect.zip(Effect.exit(call), Clock.currentTimeMillis),
      ([exit, now]): readonly [string, number] => [Exit.match(exit, { onSuccess: (end) => end, onFailure: tagOf }), now]
    )
    const all = yield* Effect.all(Array.from({ length: count }, () => ended), { concurrency: "unbounded" })
    const ends: Record<string, number> = {}
    let slowest = 0
    for (const [end, now] of all) {
      ends[end] = (ends[end] ?? 0) + 1
      slowest = Math.max(slowest, now - began)
    }
    return { tokens: [...tokens], ends, slowest }
  })

const tagOf = (cause: Cause.Cause<unknown>): string => {
  const error = Option.getOrUndefined(Cause.failureOption(cause))
  return typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "defect"
}

const get = ({ count = 1, forceRenewal, partition }: Get) =>
  Effect.suspend(() => {
    const tokens = new Set<string>()
    const one = ClientCredentialsTokenManager.get("worker", { forceRenewal, partition })
    return outcome(count, tokens, Effect.map(one, ({ value }) => (tokens.add(Redacted.value(value)), "token")))
  })

const api = ({ count = 1, partition, url }: Calls) =>
  Effect.gen(function*() {
    const client = (yield* Api).pipe(yield* AccessTokenHttpClient.clientCredentials("worker", { partition }))
    return yield* outcome(count, new Set(), Effect.map(client.get(url), ({ status }) => `${status}`))
  })

const makeStack = (settings: Settings) => {
  const log: Array<string> = []
  return { log, runtime: ManagedRuntime.make(layer(settings, log)) }
}

const stacks = new Map<string, ReturnType<typeof makeStack>>()

const stackOf = (name: string) => {
  const stack = stacks.get(name)
  if (stack === undefined) throw new Error(`there is no stack ${name}`)
  return stack
}

const close = async (name: string) => {
  const { runtime } = stackOf(name)
  stacks.delete(name)
  await runtime.dispose()
}

const obey = async ({ argument, command, stack }: Request): Promise<unknown> => {
  switch (command) {
    case "open": {
      const opened = makeStack(argument as Settings)
      await opened.runtime.runtime()
      return void stacks.set(stack, opened)
    }
    case "get":
      return stackOf(stack).runtime.runPromise(get(argument as Get))
    case "api":
      return stackOf(stack).runtime.runPromise(api(argument as Calls))
    case "log":
      return stackOf(stack).log
    case "close":
      return close(stack)
    case "end":
      return void await Promise.all([...stacks.keys()].map(close))
  }
}

const say = (reply: Reply, then: () => void = () => {}) => process.send!(reply, then)

process.on("message", (request: Request) => {
  const { command, id } = request
  obey(request).then(
    (result) => say({ id, result }, command === "end" ? () => process.disconnect() : undefined),
    (error) => say({ id, problem: error instanceof Error ? error.message : String(error) })
  )
})
