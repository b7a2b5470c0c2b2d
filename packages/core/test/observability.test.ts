import {
  AccessTokenHttpClient,
  Backchannel,
  ClientCredentialsTokenManager,
  OAuthLogging,
  OAuthMetrics
} from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, HashMap, Layer, Logger, LogLevel, Metric, Option, TestClock } from "effect"
import { recordingTracer } from "./support/recordingTracer.ts"
import { json, options, services, stub, token } from "./support/StubServer.ts"

describe("observability", () => {
  it.effect("a span around an acquisition and each exchange, linked to the caller's; none on a hit", () => {
    const { ended, layer } = recordingTracer()
    const server = stub((_, number) => number === 1 ? json({ error: "server_error" }, { status: 500 }) : token(number))
    return Effect.gen(function*() {
      const call = Effect.withSpan(ClientCredentialsTokenManager.get("worker"), "caller")
      const fiber = yield* Effect.fork(call)
      yield* TestClock.adjust("1 seconds")
      yield* fiber
      assert.deepStrictEqual(
        ended.map(({ attributes, name }) => [name, attributes.get("oauth.attempt"), attributes.get("error.type")]),
        [
          ["oauth.token.request", 1, "TokenEndpointError"],
          ["oauth.token.request", 2, undefined],
          ["oauth.token.acquire", undefined, undefined],
          ["caller", undefined, undefined]
        ]
      )
      const [request, , acquire] = ended
      assert.strictEqual(acquire?.links[0]?.span._tag === "Span" && acquire.links[0].span.name, "caller")
      assert.strictEqual(acquire?.parent._tag, "None")
      assert.deepStrictEqual(Object.fromEntries(request!.attributes), {
        "oauth.client": "worker",
        "oauth.grant": "client_credentials",
        "oauth.attempt": 1,
        "server.address": "as.test",
        "http.response.status_code": 500,
        "error.type": "TokenEndpointError"
      })
      ended.length = 0
      yield* ClientCredentialsTokenManager.get("worker")
      assert.deepStrictEqual(ended, [])
    }).pipe(Effect.provide(Layer.provideMerge(services(server), layer)))
  })

  it.effect("trace context goes to the server only if that is asked for", () => {
    const server = stub((_, number) => token(number))
    return Effect.gen(function*() {
      yield* ClientCredentialsTokenManager.get("quiet")
      yield* ClientCredentialsTokenManager.get("open")
      assert.deepStrictEqual(server.seen.map(({ headers }) => "traceparent" in headers), [false, true])
    }).pipe(
      Effect.provide(services(server, { quiet: options, open: { ...options, propagateTrace: true } }))
    )
  })

  it.effect("counts each event once", () => {
    const server = stub((seen, number) =>
      seen.url.startsWith("https://as.test/")
        ? token(number)
        : json({}, { status: number === 2 ? 401 : 200 })
    )
    const read = Effect.map(
      Effect.all({
        used: Metric.value(OAuthMetrics.used),
        retrieved: Metric.value(OAuthMetrics.retrieved),
        retried: Metric.value(OAuthMetrics.retried),
        hit: Metric.value(OAuthMetrics.cacheHit),
        miss: Metric.value(OAuthMetrics.cacheMiss)
      }),
      (states): Record<string, number> =>
        Object.fromEntries(Object.entries(states).map(([name, { count }]) => [name, count]))
    )
    return Effect.gen(function*() {
      const before = yield* read
      const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
      // Acquired, sent, refused, renewed, sent again; then twice from the cache.
      yield* api.get("https://api.test/")
      yield* api.get("https://api.test/")
      yield* api.get("https://api.test/")
      const after = yield* read
      assert.deepStrictEqual(
        Object.fromEntries(Object.keys(after).map((name) => [name, after[name]! - before[name]!])),
        { used: 4, retrieved: 2, retried: 1, hit: 2, miss: 1 }
      )
    }).pipe(Effect.provide(services(server)))
  })

  const logged = <E>(level: Layer.Layer<never, E>, least: LogLevel.LogLevel) => {
    const lines: Array<string> = []
    const logger = Logger.make(({ annotations, logLevel, message }) => {
      lines.push(`${logLevel.label} ${HashMap.unsafeGet(annotations, "oauth.client")}: ${String(message)}`)
    })
    const server = stub((_, number) => number === 1 ? token(number) : json({ error: "invalid_scope" }, { status: 400 }))
    return Effect.gen(function*() {
      yield* ClientCredentialsTokenManager.get("worker")
      yield* Effect.flip(ClientCredentialsTokenManager.get("worker", { scope: "s" }))
      return lines
    }).pipe(
      Effect.provide(
        services(server).pipe(
          Layer.provide(level),
          Layer.provideMerge(Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(least)))
        )
      )
    )
  }

  const debug = "DEBUG worker: a new access token"
  const warning =
    "WARN worker: no new access token: client \"worker\": https://as.test/token answered 400 invalid_scope"

  it.effect("a renewal is Debug, a failed one Warning, with the client's name", () =>
    Effect.map(logged(Layer.empty, LogLevel.Debug), (lines) => assert.deepStrictEqual(lines, [debug, warning])))

  it.effect("the program's level decides where nothing else is said", () =>
    Effect.map(logged(Layer.empty, LogLevel.Info), (lines) => assert.deepStrictEqual(lines, [warning])))

  it.effect("OAuthLogging decides for this library alone, up and down", () =>
    Effect.gen(function*() {
      const loud = yield* logged(OAuthLogging.layer(LogLevel.Debug), LogLevel.Info)
      assert.deepStrictEqual(loud, [debug, warning])
      const quiet = yield* logged(OAuthLogging.layer(LogLevel.None), LogLevel.All)
      assert.deepStrictEqual(quiet, [])
    }))

  it.effect("OAuthLogging by configuration leaves the program's level where nothing is set, and fails by what it cannot read", () =>
    Effect.gen(function*() {
      const configured = (...entries: ReadonlyArray<readonly [string, string]>) =>
        Layer.provide(OAuthLogging.layerConfig(), Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries))))
      assert.deepStrictEqual(yield* logged(configured(), LogLevel.Info), [warning])
      assert.deepStrictEqual(yield* logged(configured(["OAUTH_LOG_LEVEL", "Debug"]), LogLevel.Info), [debug, warning])
      const unknown = yield* Effect.flip(logged(configured(["OAUTH_LOG_LEVEL", "loud"]), LogLevel.Info))
      assert.include(String(unknown), "OAUTH_LOG_LEVEL")
    }))

  it.effect("the log of one service keeps the level that it was made with, whatever the program's is", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ annotations, logLevel, message }) => {
      const client = Option.getOrElse(HashMap.get(annotations, "oauth.client"), () => "none")
      lines.push(`${logLevel.label} ${String(client)}: ${String(message)}`)
    })
    const layer = Layer.merge(Logger.replace(Logger.defaultLogger, logger), Logger.minimumLogLevel(LogLevel.Warning))
    return Effect.gen(function*() {
      const log = yield* Effect.provide(OAuthLogging.make, OAuthLogging.layer(LogLevel.Info))
      yield* log.debug("worker", "one")
      yield* log.info("worker", "two")
      yield* log.info(undefined, "three")
      yield* log.warning("worker", "four")
      assert.deepStrictEqual(lines, ["INFO worker: two", "INFO none: three", "WARN worker: four"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("the way to authorization servers is Backchannel, or else the HttpClient", () =>
    Effect.gen(function*() {
      const [common, own] = [stub(() => json({})), stub(() => json({}))]
      const found = Effect.provide(Backchannel.backchannel, common.layer)
      assert.strictEqual(yield* found, common.client)
      assert.strictEqual(yield* Effect.provideService(found, Backchannel.Backchannel, own.client), own.client)
    }))
})
