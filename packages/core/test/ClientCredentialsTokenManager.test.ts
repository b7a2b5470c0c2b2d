import {
  ClientCredentialsTokenManager,
  TokenCache,
  TokenCacheKey,
  type TokenRequestParameters
} from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Layer, Redacted, TestClock } from "effect"
import { structural } from "../src/TokenCacheKey.ts"
import * as TokenClient from "../src/TokenClient.ts"
import { field, json, options, services, stub, token } from "./support/StubServer.ts"

const Manager = ClientCredentialsTokenManager.ClientCredentialsTokenManager

const counting = () => stub((_, number) => token(number))

const get = (parameters?: TokenRequestParameters.TokenRequestParameters, name = "worker") =>
  Effect.map(ClientCredentialsTokenManager.get(name, parameters), (token) => Redacted.value(token.value))

describe("ClientCredentialsTokenManager", () => {
  it.effect("two calls, one request", () => {
    const server = counting()
    return Effect.gen(function*() {
      assert.strictEqual(yield* get(), "token-1")
      assert.strictEqual(yield* get(), "token-1")
      assert.strictEqual(server.seen.length, 1)
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("the lifetime of each token counts from its first use on, nothing is learned [parity 3, changed]", () => {
    const lifetimes = [20, 40, 40]
    const server = stub((_, number) => token(number, { expires_in: lifetimes[number - 1] }))
    return Effect.gen(function*() {
      assert.strictEqual(yield* get(), "token-1")
      yield* TestClock.adjust("17999 millis")
      assert.strictEqual(yield* get(), "token-1")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* get(), "token-2")
      yield* TestClock.adjust("35999 millis")
      assert.strictEqual(yield* get(), "token-2")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* get(), "token-3")
    }).pipe(Effect.provide(services(server, { worker: { ...options, refreshAhead: false } })))
  })

  it.effect("every function gives an Effect, whose interruption is its cancellation [parity 56]", () =>
    Effect.gen(function*() {
      const manager = yield* Manager
      const cache = yield* TokenCache.TokenCache
      const held = yield* manager.get()
      const { hit: _, ...async } = cache
      for (const [name, call] of Object.entries({ ...async, ...manager })) {
        const effect = (call as (...args: ReadonlyArray<unknown>) => unknown)("worker", held)
        assert.isTrue(Effect.isEffect(effect), name)
      }
    }).pipe(Effect.provide(services(counting()))))

  it.effect("different scopes are different tokens, one after the other and at once [parity 13, 14]", () => {
    const server = counting()
    return Effect.gen(function*() {
      yield* get({ scope: "a" })
      yield* get({ scope: "b" })
      assert.strictEqual(server.seen.length, 2)
      yield* Effect.all([get({ scope: "c" }), get({ scope: "d" }), get({ scope: "d" })], { concurrency: "unbounded" })
      assert.strictEqual(server.seen.length, 4)
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("different extra parameters are different tokens [parity 15, changed]", () => {
    const server = counting()
    return Effect.gen(function*() {
      yield* Effect.all([get({ parameters: { x: "1" } }), get({ parameters: { x: "2" } })], {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(server.seen.flatMap((seen) => field(seen, "x")).sort(), ["1", "2"])
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("what means the same is the same token", () => {
    const server = counting()
    return Effect.gen(function*() {
      yield* get({ scope: "a b" })
      yield* get({ scope: "b a a" })
      yield* get({ scope: "a b", parameters: {}, resource: [] })
      yield* get({ scope: "a b", context: { anything: 1 } })
      assert.strictEqual(server.seen.length, 1)
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("partitions are apart and never sent", () => {
    const server = counting()
    return Effect.gen(function*() {
      assert.strictEqual(yield* get({ partition: "one" }), "token-1")
      assert.strictEqual(yield* get({ partition: "two" }), "token-2")
      assert.strictEqual(yield* get({ partition: "one" }), "token-1")
      assert.isFalse(JSON.stringify(server.seen).includes("one"))
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("a parameters object is remembered by identity, and frozen so that it stays what it was", () => {
    const server = counting()
    return Effect.gen(function*() {
      const parameters: { partition: string } = { partition: "one" }
      assert.strictEqual(yield* get(parameters), "token-1")
      assert.throws(() => {
        parameters.partition = "two"
      }, TypeError)
      assert.strictEqual(yield* get(parameters), "token-1")
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("a forced renewal always reaches the server [parity 44]", () => {
    const server = counting()
    return Effect.gen(function*() {
      yield* get()
      assert.strictEqual(yield* get({ forceRenewal: true }), "token-2")
      assert.strictEqual(yield* get({ forceRenewal: true }), "token-3")
      assert.strictEqual(yield* get(), "token-3")
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("remove and removeAll make the next call acquire", () => {
    const server = counting()
    return Effect.gen(function*() {
      const manager = yield* Manager
      yield* get()
      yield* manager.remove("worker")
      assert.strictEqual(yield* get(), "token-2")
      yield* manager.removeAll()
      assert.strictEqual(yield* get(), "token-3")
      yield* manager.removeAll("worker")
      assert.strictEqual(yield* get(), "token-4")
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("revoke tells the server, and forgets the token also if the server fails", () => {
    const server = stub((seen, number) =>
      seen.url.endsWith("/revoke") ? json({ error: "unsupported_token_type" }, { status: 400 }) : token(number)
    )
    const clients = { worker: { ...options, revocationEndpoint: "https://as.test/revoke" } }
    return Effect.gen(function*() {
      const manager = yield* Manager
      yield* manager.revoke("worker")
      assert.strictEqual(server.seen.length, 0)
      yield* get()
      assert.strictEqual((yield* Effect.flip(manager.revoke("worker")))._tag, "TokenEndpointError")
      assert.deepStrictEqual(field(server.seen[1], "token"), ["token-1"])
      assert.strictEqual(yield* get(), "token-3")
    }).pipe(Effect.provide(services(server, clients)))
  })

  it.effect("an unknown client is a typed error with the names that are known", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(ClientCredentialsTokenManager.get("unknown"))
      assert.strictEqual(error._tag, "TokenClientNotFound")
      assert.include(error.message, "no client \"unknown\"; defined are: \"worker\"")
    }).pipe(Effect.provide(services(counting()))))

  it.effect("parameters that are not usable are a typed error that names the field", () => {
    const server = counting()
    return Effect.gen(function*() {
      const rows: ReadonlyArray<readonly [unknown, string]> = [
        [{ scope: "a\tb" }, "scope"],
        [{ scope: 7 }, "scope"],
        [{ resource: "no uri" }, "resource"],
        [{ resource: ["https://r.test/#fragment"] }, "resource"],
        [{ partition: 7 }, "partition"],
        [{ parameters: { client_id: "x" } }, "parameters.client_id"],
        [{ parameters: { x: 7 } }, "parameters.x"],
        ["nonsense", "parameters"]
      ]
      for (const [parameters, name] of rows) {
        const error = yield* Effect.flip(get(parameters as never))
        assert.strictEqual(error._tag === "TokenRequestInvalid" && error.field, name)
      }
      assert.strictEqual(server.seen.length, 0)
    }).pipe(Effect.provide(services(server)))
  })

  it.effect("another TokenCache is used in place of ours [parity 17]", () => {
    const server = counting()
    const keys: Array<string> = []
    const Own = Layer.succeed(TokenCache.TokenCache, {
      get: (request) => {
        keys.push(request.key)
        return request.acquire({ retries: true })
      },
      renew: (request) => request.acquire({ retries: true }),
      peek: () => Effect.succeed(undefined),
      remove: () => Effect.void,
      removeAll: () => Effect.void
    })
    return Effect.gen(function*() {
      yield* get()
      yield* get()
      assert.strictEqual(server.seen.length, 2)
      assert.strictEqual(keys.length, 2)
    }).pipe(Effect.provide(services(server).pipe(Layer.provide(Own))))
  })

  it.effect("a cache that breaks costs a request, not the token [parity 43]", () => {
    const server = counting()
    const broken = () => Effect.dieMessage("broken")
    const Broken = Layer.succeed(TokenCache.TokenCache, {
      hit: () => undefined,
      get: () => {
        throw new Error("broken")
      },
      renew: broken,
      peek: broken,
      remove: broken,
      removeAll: broken
    })
    return Effect.gen(function*() {
      assert.strictEqual(yield* get(), "token-1")
      assert.strictEqual(server.seen.length, 1)
    }).pipe(Effect.provide(services(server).pipe(Layer.provide(Broken))))
  })

  it.effect("a key of one's own is what the cache receives [parity 19]", () => {
    const server = counting()
    return Effect.gen(function*() {
      yield* get({ scope: "a" })
      yield* get({ scope: "b" })
      assert.strictEqual(server.seen.length, 1)
      assert.isDefined(
        yield* Effect.flatMap(TokenCache.TokenCache, (cache) => cache.peek({ key: "the key of worker" }))
      )
    }).pipe(
      Effect.provide(
        services(server).pipe(Layer.provide(TokenCacheKey.layer((client) => `the key of ${client.name}`)))
      )
    )
  })

  it.effect("a key of one's own has to be usable [parity 113, 114]", () =>
    Effect.gen(function*() {
      for (
        const [key, good] of [["k", true], ["", false], ["k".repeat(4096), true], ["k".repeat(4097), false]] as const
      ) {
        const result = yield* Effect.either(get()).pipe(
          Effect.provide(services(counting()).pipe(Layer.provide(TokenCacheKey.layer(() => key))))
        )
        assert.strictEqual(result._tag, good ? "Right" : "Left")
        if (result._tag === "Left") assert.strictEqual(result.left._tag, "TokenRequestInvalid")
      }
    }))

  describe("the built-in key", () => {
    const client = Effect.runSync(TokenClient.make("worker", { ...options, scope: "s", parameters: { p: "1" } }))
    const scope = FastCheck.constantFrom(undefined, "a", "b", "a b", "s")
    const resource = FastCheck.constantFrom<string | ReadonlyArray<string> | undefined>(
      undefined,
      "https://a.test/",
      ["https://a.test/"],
      ["https://a.test/", "https://b.test/"],
      "urn:a urn:b",
      ["urn:a", "urn:b"]
    )
    const parameters = FastCheck.option(
      FastCheck.dictionary(FastCheck.constantFrom("p", "q"), FastCheck.constantFrom("1", "2", "1\n")),
      { nil: undefined }
    )
    const partition = FastCheck.constantFrom(undefined, "", "t", "\n", "t\nx")
    const any = FastCheck.record({ scope, resource, parameters, partition })

    /** What the token depends on, spelled out. */
    const meaning = (of: TokenRequestParameters.TokenRequestParameters) =>
      JSON.stringify([
        (of.scope ?? "s").split(" ").sort(),
        typeof of.resource === "string" ? [of.resource] : of.resource ?? [],
        Object.entries({ p: "1", ...of.parameters }).sort(),
        of.partition ?? null
      ])

    it.prop("is the same exactly for requests that mean the same", [any, any], ([one, other]) => {
      assert.strictEqual(
        structural(client, one, undefined) === structural(client, other, undefined),
        meaning(one) === meaning(other)
      )
    }, { fastCheck: { numRuns: 2000 } })

    it("tells one resource with a space from two", () => {
      assert.notStrictEqual(
        structural(client, { resource: "urn:a urn:b" }, undefined),
        structural(client, { resource: ["urn:a", "urn:b"] }, undefined)
      )
    })
  })
})
