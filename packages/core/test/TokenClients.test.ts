import {
  ClientAuthentication,
  ClientCredentialsTokenManager,
  OAuthError,
  OAuthValues,
  TokenClients
} from "@effect-oauth/core"
import type { TokenClient } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Fiber, Layer, Option, Redacted, Ref, Schema, TestClock } from "effect"
import { json, options, secret, services, stub, token } from "./support/StubServer.ts"

const build = (layer: Layer.Layer<TokenClients.TokenClients, OAuthError.TokenClientInvalid>) =>
  Effect.scoped(Effect.map(Layer.build(layer), Context.get(TokenClients.TokenClients)))

const problems = (clients: Record<string, unknown>) =>
  Effect.map(
    Effect.flip(build(TokenClients.layer(clients as Record<string, TokenClient.TokenClientOptions>))),
    (error) => error.problems.map(({ client, field }) => `${client}.${field}`)
  )

const get = (name?: string) => Effect.flatMap(TokenClients.TokenClients, (clients) => clients.get(name))

describe("TokenClients", () => {
  describe("layer", () => {
    it.effect("one error names every problem of every client [parity 32, 34]", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* problems({
            "no id": { tokenEndpoint: "https://as.test/token" },
            "no endpoint": { clientId: "x" },
            "all wrong": {
              tokenEndpoint: "as.test/token",
              revocationEndpoint: "http://as.test/revoke",
              clientId: "",
              clientSecret: "plain text",
              scope: "a\tb",
              resource: ["https://r.test/", "no uri"],
              parameters: { grant_type: "x" },
              timeout: "soon",
              maxResponseSize: -1,
              refreshAhead: "yes"
            }
          }),
          [
            "no id.clientId",
            "no endpoint.tokenEndpoint",
            "all wrong.clientId",
            "all wrong.clientSecret",
            "all wrong.tokenEndpoint",
            "all wrong.revocationEndpoint",
            "all wrong.scope",
            "all wrong.resource",
            "all wrong.parameters.grant_type",
            "all wrong.timeout",
            "all wrong.maxResponseSize",
            "all wrong.refreshAhead"
          ]
        )
      }))

    it.effect("a message says what was found and what is expected, and shows no value", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(build(TokenClients.layer({
          bad: { tokenEndpoint: "https://user:pa55@as.test", clientId: "x", scope: "my\"scope" }
        })))
        assert.include(error.message, "client \"bad\", tokenEndpoint: expected a URL without user name and password")
        assert.include(error.message, "RFC 6749 section 3.3")
        assert.include(error.message, "found a string of 8 characters")
        assert.notInclude(error.message, "pa55")
        assert.notInclude(error.message, "my\"scope")
      }))

    it.effect("secret methods need a secret, public clients have none, one secret is enough", () =>
      Effect.gen(function*() {
        const base = { tokenEndpoint: "https://as.test", clientId: "x" }
        const basic = ClientAuthentication.clientSecretBasic(
          Schema.decodeUnknownSync(OAuthValues.ClientSecret)(Redacted.make("s"))
        )
        assert.deepStrictEqual(
          yield* problems({
            a: { ...base, authentication: "client_secret_basic" },
            b: { ...base, authentication: "client_secret_post" },
            c: { ...base, authentication: "none", clientSecret: secret },
            d: { ...base, authentication: basic, clientSecret: secret },
            e: { ...base, authentication: "password" }
          }),
          ["a.clientSecret", "b.clientSecret", "c.clientSecret", "d.clientSecret", "e.authentication"]
        )
      }))

    it.effect("a missing secret is a public client [parity 33]", () =>
      Effect.gen(function*() {
        const client = yield* get("x").pipe(
          Effect.provide(TokenClients.layer({ x: { tokenEndpoint: "https://as.test", clientId: "x" } }))
        )
        assert.strictEqual(client.authentication._tag, "None")
      }))

    it.effect("http: is for loopback, or where it is allowed", () =>
      Effect.gen(function*() {
        const at = (tokenEndpoint: string, allowInsecure?: boolean) => ({ tokenEndpoint, clientId: "x", allowInsecure })
        assert.deepStrictEqual(
          yield* problems({
            a: at("http://127.0.0.1:1/token"),
            b: at("http://as.test/token", true),
            c: at("http://as.test/token"),
            d: at("ftp://as.test/token", true),
            e: at("https://as.test/token#x")
          }),
          ["c.tokenEndpoint", "d.tokenEndpoint", "e.tokenEndpoint"]
        )
      }))

    it.effect("two modules' clients provided together are both there", () =>
      Effect.gen(function*() {
        const one = TokenClients.layer({ one: options })
        const two = TokenClients.layer({ two: options })
        for (const both of [Layer.merge(one, two), one.pipe(Layer.provideMerge(two)), Layer.mergeAll(two, one)]) {
          const names = yield* Effect.flatMap(TokenClients.TokenClients, (clients) => clients.names).pipe(
            Effect.provide(both)
          )
          assert.deepStrictEqual([...names].sort(), ["one", "two"])
          assert.strictEqual((yield* get("one").pipe(Effect.provide(both))).name, "one")
        }
      }))

    it.effect("a name defined twice is an error, and the Layers stay usable apart", () =>
      Effect.gen(function*() {
        const one = TokenClients.layer({ same: options })
        const two = TokenClients.layer({ same: options, other: options })
        const error = yield* Effect.flip(build(Layer.merge(one, two)))
        assert.strictEqual(error._tag, "TokenClientInvalid")
        assert.include(error.message, "\"same\", name: is defined twice")
        assert.strictEqual((yield* get("other").pipe(Effect.provide(two))).name, "other")
      }))

    it.effect("a name can be left out where exactly one client is", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* get().pipe(Effect.provide(TokenClients.layer({ only: options })))).name, "only")
        const error = yield* Effect.flip(
          get().pipe(Effect.provide(TokenClients.layer({ one: options, two: options })))
        )
        assert.include(error.message, "left out only where exactly one")
      }))

    it.effect("the clients of a Layer are gone when it closes", () =>
      Effect.gen(function*() {
        const clients = yield* build(TokenClients.layer({ only: options }))
        assert.deepStrictEqual(yield* clients.names, [])
      }))
  })

  describe("layerConfig", () => {
    const from = (entries: Record<string, string>) =>
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries))))

    const clients = TokenClients.layerConfig({
      "invoice.client": {
        tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
        clientId: Config.string("CLIENT_ID"),
        clientSecret: Config.redacted("CLIENT_SECRET"),
        scope: Config.succeed("invoice customers"),
        resource: Config.option(Config.string("RESOURCE")),
        timeout: Config.duration("TIMEOUT").pipe(Config.withDefault("5 seconds" as const)),
        parameters: { audience: "x" }
      }
    })

    it.effect("every field is a value or a Config of it", () =>
      Effect.gen(function*() {
        const client = yield* get("invoice.client").pipe(
          Effect.provide(clients),
          from({ TOKEN_ENDPOINT: "https://as.test/token", CLIENT_ID: "id", CLIENT_SECRET: "s3cret" })
        )
        assert.strictEqual(client.tokenEndpoint?.href, "https://as.test/token")
        assert.deepStrictEqual(client.resource, [])
        assert.strictEqual(
          client.authentication._tag === "ClientSecretBasic" && Redacted.value(client.authentication.secret),
          "s3cret"
        )
        assert.deepStrictEqual(client.parameters, { audience: "x" })
      }))

    it.effect("what cannot be read is named by its variable, all of it at once, no value shown", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(
          build(clients).pipe(from({ TOKEN_ENDPOINT: "not a url with pa55word", CLIENT_ID: "" }))
        )
        assert.deepStrictEqual(error.problems, [
          {
            client: "invoice.client",
            field: "tokenEndpoint",
            problem: "\"TOKEN_ENDPOINT\" has a value of the wrong form"
          },
          { client: "invoice.client", field: "clientSecret", problem: "\"CLIENT_SECRET\" is not set" },
          {
            client: "invoice.client",
            field: "clientId",
            problem:
              "expected a client identifier of 1 to 1,024 printable ASCII characters (RFC 6749 section 2.2), found an empty string"
          }
        ])
      }))

    it.effect("a whole client may be a Config", () =>
      Effect.gen(function*() {
        const whole = TokenClients.layerConfig({
          c: Config.map(Config.string("ID"), (clientId) => ({ clientId, tokenEndpoint: "https://as.test" }))
        })
        assert.strictEqual((yield* get().pipe(Effect.provide(whole), from({ ID: "me" }))).clientId, "me")
        const error = yield* Effect.flip(build(whole).pipe(from({})))
        assert.include(error.message, "\"ID\" is not set")
      }))
  })

  describe("layerResolver", () => {
    class Tenants extends Context.Tag("Tenants")<Tenants, Ref.Ref<Record<string, string>>>() {}
    class DatabaseDown {
      readonly _tag = "DatabaseDown"
      constructor(readonly password: string) {}
    }

    const make = () => {
      const calls: Array<string> = []
      const resolver = TokenClients.layerResolver((name) =>
        Effect.gen(function*() {
          calls.push(name)
          const clientSecret = (yield* Effect.flatMap(Tenants, Ref.get))[name]
          if (clientSecret === undefined) {
            return yield* new OAuthError.TokenClientNotFound({ clientName: name, known: [] })
          }
          if (clientSecret === "down") {
            return yield* Effect.fail(new DatabaseDown("pa55"))
          }
          return { ...options, clientSecret: Redacted.make(clientSecret) }
        }), { timeToLive: "1 minutes" })
      return { calls, resolver }
    }

    const tenants = (secrets: Record<string, string>) => Layer.effect(Tenants, Ref.make(secrets))

    it.effect("resolves once, keeps what it found, and renews it in the background", () => {
      const { calls, resolver } = make()
      return Effect.gen(function*() {
        const first = yield* get("t1")
        assert.strictEqual(yield* get("t1"), first)
        yield* Effect.all([get("t2"), get("t2"), get("t2")], { concurrency: "unbounded" })
        assert.deepStrictEqual(calls, ["t1", "t2"])
        yield* TestClock.adjust("61 seconds")
        assert.strictEqual(yield* get("t1"), first)
        yield* Effect.repeatN(Effect.yieldNow(), 50)
        assert.deepStrictEqual(calls, ["t1", "t2", "t1"])
      }).pipe(Effect.provide(resolver.pipe(Layer.provide(tenants({ t1: "s1", t2: "s2" })))))
    })

    it.effect("that takes too long has failed, also if it cannot be interrupted", () =>
      Effect.gen(function*() {
        const error = yield* Effect.fork(Effect.flip(get("slow")))
        yield* TestClock.adjust("4 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(error)))
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual((yield* Fiber.join(error))._tag, "TokenClientUnavailable")
      }).pipe(
        Effect.provide(
          TokenClients.layerResolver(() => Effect.uninterruptible(Effect.as(Effect.sleep("1 hours"), options)), {
            timeout: "5 seconds"
          })
        )
      ))

    it.effect("a name that it does not know, and a failure of its own", () => {
      const { resolver } = make()
      return Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(get("t9")))._tag, "TokenClientNotFound")
        const error = yield* Effect.flip(get("broken"))
        assert.strictEqual(error._tag, "TokenClientUnavailable")
        assert.isTrue(error.retryable)
        assert.include(error.message, "DatabaseDown")
        assert.notInclude(error.message + JSON.stringify(error), "pa55")
      }).pipe(Effect.provide(resolver.pipe(Layer.provide(tenants({ broken: "down" })))))
    })

    it.effect("adds to static clients, which win", () => {
      const { calls, resolver } = make()
      return Effect.gen(function*() {
        yield* get("fixed")
        yield* get("t1")
        assert.deepStrictEqual(calls, ["t1"])
        const clients = yield* TokenClients.TokenClients
        yield* clients.check("anything")
      }).pipe(
        Effect.provide(
          Layer.merge(TokenClients.layer({ fixed: options }), resolver).pipe(
            Layer.provide(tenants({ t1: "s1" }))
          )
        )
      )
    })

    it.effect("a client that its server refuses is resolved anew, and tried at once if it has changed", () => {
      const { resolver } = make()
      const server = stub((seen, number) =>
        seen.headers.authorization === `Basic ${btoa("worker:new")}`
          ? token(number)
          : json({ error: "invalid_client" }, { status: 401 })
      )
      return Effect.gen(function*() {
        const manager = yield* ClientCredentialsTokenManager.ClientCredentialsTokenManager
        const database = yield* Tenants
        const refused = yield* Effect.flip(manager.get("t1"))
        assert.strictEqual(refused._tag, "TokenEndpointError")
        assert.strictEqual(server.seen.length, 1)
        yield* Ref.set(database, { t1: "new" })
        yield* TestClock.adjust("13 seconds")
        assert.strictEqual(Redacted.value((yield* manager.get("t1")).value), "token-3")
        assert.strictEqual(server.seen.length, 3)
      }).pipe(
        Effect.provide(
          Layer.mergeAll(services(server, {}), resolver).pipe(Layer.provideMerge(tenants({ t1: "old" })))
        )
      )
    })
  })

  it("prints without its secrets", () => {
    const client = Effect.runSync(get("x").pipe(Effect.provide(TokenClients.layer({ x: options }))))
    assert.notInclude(JSON.stringify(client), Redacted.value(secret))
  })
})
