import { TokenClients } from "@effect-oauth/core"
import { type OidcClient, OidcClients, OidcError } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Context, Data, Deferred, Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { go, isRefused, isSomebody, login, registration, start } from "./support/attack.ts"
import * as Provider from "./support/provider.ts"
import * as WebApp from "./support/webApp.ts"

type Resolved = ReturnType<typeof OidcClients.layerResolver<never, never>>

const base: OidcClient.OidcClientOptions = { issuer: "https://login.example", clientId: "web" }

const get = (name?: string) => Effect.flatMap(OidcClients.OidcClients, (clients) => clients.get(name))

const of = (layer: Resolved, name?: string) => Effect.provide(get(name), layer)

class DatabaseDown extends Data.TaggedError("DatabaseDown")<{ readonly password: string }> {}

describe("a resolver", () => {
  const resolved = (name: string, calls: Array<string> = []) =>
    Effect.suspend(() => {
      calls.push(name)
      return name.startsWith("tenant")
        ? Effect.succeed({ ...base, clientId: name })
        : Effect.fail(new OidcError.OidcClientNotFound({ clientName: name, known: [] }))
    })

  it.effect("is asked for names that nobody defined, once for as long as they are kept", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      const layer = Layer.merge(
        OidcClients.layer({ web: { ...base, default: true } }),
        OidcClients.layerResolver((name) => resolved(name, calls), { timeToLive: "1 minute" })
      )
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* get()).name, "web")
        assert.strictEqual((yield* get("web")).name, "web")
        assert.strictEqual((yield* get("tenant-1")).login.clientId, "tenant-1")
        yield* get("tenant-1")
        yield* get("tenant-2")
        assert.deepStrictEqual(calls, ["tenant-1", "tenant-2"])
        yield* TestClock.adjust("61 seconds")
        yield* get("tenant-1")
        assert.deepStrictEqual(calls, ["tenant-1", "tenant-2", "tenant-1"])
        const missing = yield* Effect.flip(get("nobody"))
        assert.deepInclude({ ...missing }, { _tag: "OidcClientNotFound", clientName: "nobody", known: ["web"] })
      }).pipe(Effect.provide(layer))
    }))

  it.effect("has the time that it is given, and no more (timeout)", () =>
    Effect.gen(function*() {
      const slow = (name: string, timeout?: string) =>
        OidcClients.layerResolver(
          () => Effect.delay(Effect.succeed({ ...base, clientId: name }), "12 seconds"),
          timeout === undefined ? {} : { timeout: "15 seconds" }
        )
      const asked = (layer: Resolved) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.fork(Effect.either(of(layer, "tenant-1")))
          yield* TestClock.adjust("15 seconds")
          return yield* Fiber.join(fiber)
        })
      const inTime = yield* asked(slow("tenant-1", "15 seconds"))
      assert.strictEqual(inTime._tag === "Right" && inTime.right.name, "tenant-1")
      const late = yield* asked(slow("tenant-1"))
      assert.strictEqual(late._tag === "Left" && late.left._tag, "TokenClientUnavailable")
      assert.include(late._tag === "Left" ? late.left.message : "", "a timeout")
    }))

  it.effect("keeps a number of clients only", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      yield* Effect.gen(function*() {
        for (let tenant = 0; tenant < 20; tenant++) yield* get(`tenant-${tenant}`)
        const { all } = yield* OidcClients.OidcClients
        assert.isAtMost((yield* all).length, 3)
        yield* get("tenant-0")
        assert.strictEqual(calls.length, 21)
      }).pipe(Effect.provide(OidcClients.layerResolver((name) => resolved(name, calls), { capacity: 3 })))
    }))

  it.effect("is asked once by many, and goes on if the first of them goes away", () =>
    Effect.gen(function*() {
      const answered = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const calls: Array<string> = []
      const layer = OidcClients.layerResolver((name) =>
        Effect.zipRight(
          Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(answered)),
          resolved(name, calls)
        )
      )
      yield* Effect.gen(function*() {
        const first = yield* Effect.fork(get("tenant"))
        yield* Deferred.await(begun)
        const others = yield* Effect.fork(Effect.all([get("tenant"), get("tenant")], { concurrency: "unbounded" }))
        yield* Effect.yieldNow()
        yield* Effect.fork(Fiber.interrupt(first))
        yield* Deferred.succeed(answered, undefined)
        assert.deepStrictEqual((yield* Fiber.join(others)).map(({ name }) => name), ["tenant", "tenant"])
        assert.deepStrictEqual(calls, ["tenant"])
      }).pipe(Effect.provide(layer))
    }))

  for (
    const [what, resolve, cause] of [
      ["fails", () => Effect.fail(new DatabaseDown({ password: "pa55" })), "DatabaseDown"],
      ["dies", () => Effect.die(new Error("pa55")), "Error"],
      ["throws", () => {
        throw new Error("pa55")
      }, "Error"],
      ["is interrupted", () => Effect.interrupt, "an interruption"],
      ["gives nothing", () => Effect.succeed(null as unknown as OidcClient.OidcClientOptions), "TypeError"]
    ] as ReadonlyArray<
      readonly [string, (name: string) => Effect.Effect<OidcClient.OidcClientOptions, DatabaseDown>, string]
    >
  ) {
    it.effect(`that ${what} is a typed error without its text, and is asked again`, () =>
      Effect.gen(function*() {
        let isDown = true
        const layer = OidcClients.layerResolver((name) => isDown ? resolve(name) : Effect.succeed(base))
        yield* Effect.gen(function*() {
          const error = yield* Effect.flip(get("tenant"))
          assert.strictEqual(error._tag, "TokenClientUnavailable")
          assert.propertyVal(error, "clientName", "tenant")
          assert.propertyVal(error, "cause", cause)
          assert.notInclude(`${error.message} ${JSON.stringify(error)}`, "pa55")
          isDown = false
          assert.strictEqual((yield* get("tenant")).name, "tenant")
        }).pipe(Effect.provide(layer))
      }))
  }

  it.effect("has its definitions checked, their callback among them", () =>
    Effect.gen(function*() {
      const layer = OidcClients.layerResolver((name) =>
        Effect.succeed({ ...base, scope: "x", callbackPath: `/${name}` })
      )
      const error = yield* Effect.flip(of(layer, "elsewhere"))
      assert.strictEqual(error._tag === "TokenClientInvalid" ? error.problems[0]?.field : "", "scope")
      const callback = OidcClients.layerResolver((name) => Effect.succeed({ ...base, callbackPath: `/${name}` }), {
        callbackPaths: ["/here"]
      })
      const wrong = yield* Effect.flip(of(callback, "elsewhere"))
      assert.strictEqual(wrong._tag === "TokenClientInvalid" ? wrong.problems[0]?.field : "", "callbackPath")
      assert.strictEqual((yield* of(callback, "here")).callbackPath, "/here")
    }))

  it.effect("resolves the clients for the program's own calls, with what it needs itself", () =>
    Effect.gen(function*() {
      class Tenants extends Context.Tag("Tenants")<Tenants, { readonly secret: string }>() {}
      const layer = OidcClients.layerResolver((name) =>
        Effect.map(Tenants, ({ secret }) => ({ ...base, clientId: name, clientSecret: Redacted.make(secret) }))
      ).pipe(Layer.provide(Layer.succeed(Tenants, { secret: "s" })))
      yield* Effect.gen(function*() {
        const clients = yield* TokenClients.TokenClients
        assert.strictEqual((yield* clients.get(OidcClients.tokenClientName("tenant"))).clientId, "tenant")
        assert.strictEqual((yield* get("tenant")).login.clientId, "tenant")
        const foreign = yield* Effect.flip(clients.get("tenant"))
        assert.strictEqual(foreign._tag, "TokenClientNotFound")
      }).pipe(Effect.provide(layer))
    }))

  it.effect("resolves such a client anew after the server has refused it", () =>
    Effect.gen(function*() {
      let secret = "old"
      const layer = OidcClients.layerResolver(() =>
        Effect.sync(() => ({ ...base, clientSecret: Redacted.make(secret) }))
      )
      yield* Effect.gen(function*() {
        const clients = yield* TokenClients.TokenClients
        const before = yield* clients.get("oidc:tenant")
        secret = "new"
        assert.isTrue(Option.isSome(yield* clients.changed(before)))
      }).pipe(Effect.provide(layer))
    }))

  it.scopedLive("signs users of its clients in and out, at the callback that it names", () =>
    Effect.gen(function*() {
      const provider = yield* Provider.start
      const registrations = OidcClients.layerResolver(
        (name) =>
          name === "tenant"
            ? Effect.succeed({ ...registration(provider), callbackPath: "/auth/callback/tenants" })
            : Effect.fail(new OidcError.OidcClientNotFound({ clientName: name, known: [] })),
        { callbackPaths: ["/auth/callback/tenants"] }
      )
      const app = yield* WebApp.serve({ registrations })
      const browser = new UserAgent()
      yield* login(app, browser, "?client=tenant")
      yield* isSomebody(app, browser)
      const { body } = yield* go(browser, `${app.url}/sign-out`)
      assert.strictEqual(new URL(JSON.parse(body).goTo).origin, provider.issuer)
      yield* isRefused(app, browser, yield* login(app, browser, "?client=nobody"), "OidcClientNotFound")
      yield* isRefused(app, browser, yield* login(app, browser), "OidcClientNotFound")
    }))

  it.scopedLive("of names is not a way around: nobody signs in with a client of the core", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start()
      yield* isRefused(app, browser, yield* login(app, browser, "?client=oidc:web"), "OidcClientNotFound")
      yield* isRefused(app, browser, yield* login(app, browser, "?client=__proto__"), "OidcClientNotFound")
      yield* isRefused(app, browser, yield* login(app, browser, "?client="), "OidcClientNotFound")
    }))
})
