import { type OAuthError, SigningKey, TokenClients } from "@effect-oauth/core"
import { type OidcClient, OidcClients, OidcError } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Exit, Layer, Redacted, Scope } from "effect"

type Registrations = Layer.Layer<OidcClients.OidcClients | TokenClients.TokenClients, OAuthError.TokenClientInvalid>

const base: OidcClient.OidcClientOptions = { issuer: "https://login.example", clientId: "web" }

const get = (name?: string) => Effect.flatMap(OidcClients.OidcClients, (clients) => clients.get(name))

const of = (layer: Registrations, name?: string) => Effect.provide(get(name), layer)

const refused = (layer: Registrations) => Effect.flip(Effect.scoped(Layer.build(layer)))

/** By fields, of definitions that no compiler has seen. */
const problems = (clients: Record<string, unknown>) =>
  Effect.map(
    refused(OidcClients.layer(clients as Record<string, OidcClient.OidcClientOptions>)),
    (error) => error.problems.map(({ client, field }) => `${client}.${field}`)
  )

describe("a registration", () => {
  it.effect("has defaults", () =>
    Effect.gen(function*() {
      const client = yield* of(OidcClients.layer({ company: base }))
      assert.deepInclude({ ...client }, {
        name: "company",
        issuer: "https://login.example",
        isDefault: false,
        scope: "openid profile offline_access",
        resource: [],
        dpop: undefined,
        pushedAuthorization: "auto",
        requestKey: undefined,
        responseMode: "query",
        acrValues: undefined,
        maxAge: undefined,
        prompt: undefined,
        userInfo: false,
        authorizationParameters: {},
        callbackPath: "/auth/callback",
        postLogoutPath: "/",
        nameClaim: "name",
        roleClaim: "role",
        onMissingRefreshToken: "fail",
        revokeOnSignOut: "refresh"
      })
      assert.deepStrictEqual(client.idTokenAlgorithms, SigningKey.algorithms)
      assert.deepStrictEqual([String(client.clockTolerance), String(client.refreshBefore)], [
        "Duration(1m)",
        "Duration(1m)"
      ])
    }))

  it.effect("has the endpoints that it is given, for logins and for the program itself", () =>
    Effect.gen(function*() {
      const endpoints = {
        tokenEndpoint: "https://login.example/t",
        revocationEndpoint: "https://login.example/r",
        pushedAuthorizationRequestEndpoint: "https://login.example/p",
        deviceAuthorizationEndpoint: "https://login.example/d"
      }
      const client = yield* of(OidcClients.layer({ company: { ...base, ...endpoints } }))
      for (const [field, url] of Object.entries(endpoints)) {
        const name = field as keyof typeof endpoints
        assert.strictEqual(client.login[name]?.href, url)
        assert.strictEqual(client.machine[name], url)
      }
    }))

  it.effect("has all of its problems told at once, with those of the others", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(
        yield* problems({
          "no issuer": { clientId: "web", tokenEndpoint: "https://login.example/token" },
          "no id": { issuer: "https://login.example" },
          "all wrong": {
            ...base,
            issuer: "login.example",
            clientSecret: "plain text",
            default: "yes",
            scope: "profile",
            resource: "no uri",
            dpop: "plain text",
            pushedAuthorization: "sometimes",
            signedRequest: "plain text",
            responseMode: "fragment",
            acrValues: "",
            maxAge: "soon",
            prompt: 1,
            userInfo: "yes",
            authorizationParameters: { state: "x", claims: 1 },
            callbackPath: "https://evil.example/",
            postLogoutPath: "//evil.example",
            idTokenAlgorithms: ["HS256"],
            nameClaim: "",
            roleClaim: 7,
            clockTolerance: "a bit",
            refreshBefore: "Infinity",
            onMissingRefreshToken: "cry",
            revokeOnSignOut: "everything",
            clientCredentialsScope: "a\tb",
            clientCredentialsResource: "no uri"
          }
        }).pipe(Effect.map((found) => [...found].sort())),
        [
          ...[
            "authorizationParameters.claims",
            "authorizationParameters.state",
            "acrValues",
            "callbackPath",
            "clientCredentialsResource",
            "clientCredentialsScope",
            "clientSecret",
            "clockTolerance",
            "default",
            "dpop",
            "idTokenAlgorithms",
            "issuer",
            "maxAge",
            "nameClaim",
            "onMissingRefreshToken",
            "postLogoutPath",
            "prompt",
            "pushedAuthorization",
            "refreshBefore",
            "resource",
            "responseMode",
            "revokeOnSignOut",
            "roleClaim",
            "scope",
            "signedRequest",
            "userInfo"
          ].map((field) => `all wrong.${field}`),
          "no id.clientId",
          "no issuer.issuer"
        ].sort()
      )
    }))

  for (
    const [field, values] of [
      ["scope", ["", "profile", "openid  profile", "openid\tprofile", 7]],
      ["callbackPath", ["auth", "/a?b", "/a#b", "/:a", "/*", "//evil.example", "/\\evil.example", ""]],
      ["postLogoutPath", ["auth", "//evil.example", "https://evil.example"]],
      ["idTokenAlgorithms", [[], ["none"], ["HS256"], ["RS256", "none"]]],
      ["maxAge", ["Infinity", "soon", {}]],
      ["signedRequest", [true, "plain", Redacted.make("{}")]],
      ["dpop", ["plain", Redacted.make("{}")]]
    ] as ReadonlyArray<readonly [string, ReadonlyArray<unknown>]>
  ) {
    it.effect(`is refused for its ${field}, and shows no value`, () =>
      Effect.forEach(values, (value) =>
        Effect.gen(function*() {
          const error = yield* refused(
            OidcClients.layer({ web: { ...base, [field]: value } })
          )
          assert.deepStrictEqual(error.problems.map(({ client, field }) => [client, field]), [["web", field]])
          if (typeof value === "string" && value.length > 4) assert.notInclude(error.message, `"${value}"`)
        })))
  }

  for (
    const name of [
      "response_type",
      "response_mode",
      "client_id",
      "redirect_uri",
      "scope",
      "state",
      "nonce",
      "code_challenge",
      "code_challenge_method",
      "dpop_jkt",
      "request",
      "request_uri",
      "client_secret"
    ]
  ) {
    it.effect(`cannot replace the protocol's ${name}`, () =>
      Effect.map(
        problems({ web: { ...base, authorizationParameters: { [name]: "x" } } }),
        (found) => assert.deepStrictEqual(found, [`web.authorizationParameters.${name}`])
      ))
  }
})

describe("registrations", () => {
  it.effect("are found by name; without one, the default or the only one is meant", () =>
    Effect.gen(function*() {
      const two = OidcClients.layer({ one: base, other: { ...base, default: true } })
      assert.strictEqual((yield* of(two)).name, "other")
      assert.strictEqual((yield* of(two, "one")).name, "one")
      assert.strictEqual((yield* of(OidcClients.layer({ one: base }))).name, "one")
      const missing = yield* Effect.flip(of(two, "third"))
      assert.deepInclude({ ...missing }, { _tag: "OidcClientNotFound", clientName: "third" })
      assert.include(missing.message, `"one", "other"`)
      const undecided = yield* Effect.flip(of(OidcClients.layer({ one: base, other: base })))
      assert.include(undecided.message, "only if one is the default")
      assert.include((yield* Effect.flip(of(OidcClients.layer({})))).message, "none is defined")
    }))

  it.effect("of several Layers add up, and none is there twice", () =>
    Effect.gen(function*() {
      const one = OidcClients.layer({ one: base })
      const other = OidcClients.layer({ other: { ...base, default: true } })
      for (const both of [Layer.merge(one, other), one.pipe(Layer.provideMerge(other)), Layer.mergeAll(other, one)]) {
        const names = yield* Effect.flatMap(OidcClients.OidcClients, (clients) => clients.all).pipe(
          Effect.map((all) => all.map(({ name }) => name).sort()),
          Effect.provide(both)
        )
        assert.deepStrictEqual(names, ["one", "other"])
        assert.strictEqual((yield* of(both)).name, "other")
      }
      const twice = yield* refused(Layer.merge(one, OidcClients.layer({ one: base })))
      assert.deepStrictEqual(twice.problems.map(({ client, field }) => `${client}.${field}`), ["one.name"])
      const defaults = yield* refused(Layer.merge(other, OidcClients.layer({ third: { ...base, default: true } })))
      assert.deepStrictEqual(defaults.problems.map(({ field }) => field), ["default"])
    }))

  it.effect("do not count as unknown where their Layer has been closed", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const layer = Layer.merge(
        OidcClients.layer({ one: base, other: base }),
        OidcClients.layerResolver((clientName) => new OidcError.OidcClientNotFound({ clientName, known: [] }))
      )
      const clients = Context.get(yield* Layer.buildWithScope(layer, scope), OidcClients.OidcClients)
      assert.strictEqual((yield* Effect.flip(clients.get("stranger")))._tag, "OidcClientNotFound")
      yield* Scope.close(scope, Exit.void)
      for (const name of ["one", "of the resolver"]) {
        const error = yield* Effect.flip(clients.get(name))
        assert.strictEqual(error._tag, "TokenClientUnavailable")
        assert.include(error.message, "LayerClosed")
        assert.propertyVal(error, "retryable", false)
      }
    }))

  it.effect("are clients for calls of the program's own authority too", () =>
    Effect.gen(function*() {
      const clients = yield* TokenClients.TokenClients
      const client = yield* clients.get(OidcClients.tokenClientName("web"))
      assert.deepStrictEqual([client.name, client.clientId, client.scope].map(String), ["oidc:web", "web", "invoices"])
    }).pipe(Effect.provide(OidcClients.layer({ web: { ...base, clientCredentialsScope: "invoices" } }))))

  it.effect("are read from configuration, field by field or as a whole", () =>
    Effect.gen(function*() {
      const layer = OidcClients.layerConfig({
        web: {
          issuer: Config.string("ISSUER"),
          clientId: Config.string("CLIENT_ID"),
          clientSecret: Config.redacted("CLIENT_SECRET"),
          scope: Config.option(Config.string("SCOPE"))
        },
        whole: Config.map(Config.string("CLIENT_ID"), (clientId) => ({ ...base, clientId, default: true }))
      })
      const values = new Map([["ISSUER", "https://i.example"], ["CLIENT_ID", "id"], ["CLIENT_SECRET", "s3cret"]])
      const provider = Layer.setConfigProvider(ConfigProvider.fromMap(values))
      const client = yield* of(Layer.provide(layer, provider), "web")
      assert.deepInclude({ ...client }, { issuer: "https://i.example", scope: "openid profile offline_access" })
      assert.strictEqual(client.login.clientId, "id")
      assert.strictEqual((yield* of(Layer.provide(layer, provider))).name, "whole")
    }))

  it.effect("name the variables that are missing, and show no value", () =>
    Effect.gen(function*() {
      const error = yield* refused(Layer.provide(
        OidcClients.layerConfig({
          web: {
            issuer: Config.string("ISSUER"),
            clientId: Config.string("CLIENT_ID"),
            clientSecret: Config.redacted("CLIENT_SECRET"),
            scope: Config.string("SCOPE"),
            userInfo: Config.boolean("USER_INFO")
          }
        }),
        Layer.setConfigProvider(ConfigProvider.fromMap(
          new Map([["CLIENT_SECRET", "s3cret"], ["SCOPE", "pr0file"], ["USER_INFO", "perhaps-n0t"]])
        ))
      ))
      assert.deepStrictEqual(
        error.problems.map(({ field }) => field).sort(),
        ["clientId", "issuer", "scope", "userInfo"]
      )
      for (const name of ["ISSUER", "CLIENT_ID", "USER_INFO"]) assert.include(error.message, `"${name}"`)
      for (const value of ["s3cret", "pr0file", "perhaps-n0t"]) assert.notInclude(error.message, value)
    }))
})
