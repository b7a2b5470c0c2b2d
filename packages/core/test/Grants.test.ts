/**
 * Tokens for other tokens and for signed statements: what is sent, what comes of it, and whose the cached ones are.
 */
import {
  AccessTokenHttpClient,
  ClientCredentialsTokenManager,
  OAuth,
  SigningKey,
  TokenCacheKey,
  TokenClient,
  TokenClients,
  TokenEncryption,
  TokenEndpoint,
  TokenGrant,
  TokenStore
} from "@effect-oauth/core"
import type { TokenRequestParameters } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FastCheck, Fiber, Layer, Redacted, TestClock } from "effect"
import { verified } from "./support/proofs.ts"
import { field, json, options, services, type Stub, stub, token } from "./support/StubServer.ts"

type Parameters = TokenRequestParameters.TokenRequestParameters

const { tokenTypes } = TokenGrant
const secretOf = (text: string) => Redacted.make(text)
const Manager = ClientCredentialsTokenManager.ClientCredentialsTokenManager

const exchangeOf = (subject: string, more: Omit<Partial<TokenGrant.Exchange>, "subjectToken"> = {}) =>
  TokenGrant.tokenExchange({ subjectToken: secretOf(subject), ...more })

const request = (
  server: Stub,
  grant: TokenGrant.TokenGrant,
  parameters?: Parameters,
  more: Partial<TokenClient.TokenClientOptions> = {}
) =>
  Effect.gen(function*() {
    const endpoint = yield* TokenEndpoint.TokenEndpoint
    return yield* endpoint.request(yield* TokenClient.make("worker", { ...options, ...more }), grant, parameters)
  }).pipe(Effect.provide(services(server)))

describe("what is sent", () => {
  it.effect("of an exchange: several audiences and resources, an actor, what is wanted (RFC 8693 section 2.1)", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      yield* request(
        server,
        TokenGrant.tokenExchange({
          subjectToken: secretOf("s"),
          subjectTokenType: tokenTypes.idToken,
          actorToken: secretOf("a"),
          actorTokenType: tokenTypes.jwt,
          audience: ["billing", "mail"],
          requestedTokenType: tokenTypes.accessToken
        }),
        { scope: "read", resource: ["https://one.test/", "https://two.test/"] }
      )
      assert.deepStrictEqual(server.seen[0]?.form, [
        ["subject_token", "s"],
        ["subject_token_type", "urn:ietf:params:oauth:token-type:id_token"],
        ["actor_token", "a"],
        ["actor_token_type", "urn:ietf:params:oauth:token-type:jwt"],
        ["audience", "billing"],
        ["audience", "mail"],
        ["requested_token_type", "urn:ietf:params:oauth:token-type:access_token"],
        ["grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"],
        ["scope", "read"],
        ["resource", "https://one.test/"],
        ["resource", "https://two.test/"]
      ])
      assert.isDefined(server.seen[0].headers.authorization)
    }))

  it.effect("of the smallest exchange: no actor type without an actor", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      yield* request(server, exchangeOf("s", { actorTokenType: tokenTypes.jwt }))
      assert.deepStrictEqual(server.seen[0]?.form, [
        ["subject_token", "s"],
        ["subject_token_type", "urn:ietf:params:oauth:token-type:access_token"],
        ["grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"]
      ])
    }))

  it.effect("of an actor whose type is not said: an access token", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      yield* request(server, exchangeOf("s", { actorToken: secretOf("a") }))
      assert.deepStrictEqual(field(server.seen[0], "actor_token_type"), [tokenTypes.accessToken])
    }))

  it.effect("of a signed statement (RFC 7523 section 2.1), with the client's own scope", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      yield* request(server, TokenGrant.jwtBearer(secretOf("x.y.z")), {}, { scope: "read" })
      assert.deepStrictEqual(server.seen[0]?.form, [
        ["assertion", "x.y.z"],
        ["grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        ["scope", "read"]
      ])
    }))

  it.effect("is not overridden by an extra parameter, of the request or of the client", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      const grant = exchangeOf("s", { audience: "billing" })
      for (const name of ["subject_token", "subject_token_type", "audience", "grant_type"]) {
        const error = yield* Effect.flip(request(server, grant, { parameters: { [name]: "mine" } }))
        assert.strictEqual(error._tag, "TokenRequestInvalid", name)
      }
      const error = yield* Effect.flip(request(server, grant, {}, { parameters: { audience: "mine" } }))
      assert.strictEqual(error._tag, "TokenRequestInvalid")
      assert.strictEqual(server.seen.length, 0)
    }))

  it.effect("is nothing where the grant is said twice, or is not one", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      const twice = yield* Effect.flip(request(server, TokenGrant.clientCredentials, { grant: exchangeOf("s") }))
      assert.strictEqual(twice._tag, "TokenRequestInvalid")
      const text = "a token that came as a string" as never
      const wrong: ReadonlyArray<TokenGrant.TokenGrant> = [
        TokenGrant.tokenExchange({ subjectToken: text }),
        TokenGrant.tokenExchange({ subjectToken: secretOf("s"), actorToken: text }),
        TokenGrant.tokenExchange({ subjectToken: secretOf("s"), audience: 5 as never }),
        TokenGrant.jwtBearer(text),
        TokenGrant.extension("urn:x:y", null as never),
        TokenGrant.extension(5 as never),
        {} as never,
        null as never,
        { _tag: "Nothing" } as never
      ]
      for (const grant of wrong) {
        const error = yield* Effect.flip(request(server, grant))
        assert.strictEqual(error._tag, "TokenRequestInvalid")
        assert.notInclude(error.message, "a token that came")
      }
      assert.strictEqual(server.seen.length, 0)
    }))
})

describe("what comes back", () => {
  it.effect("says what kind of token it is", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number, { issued_token_type: tokenTypes.jwt }))
      const { accessToken, issuedTokenType } = yield* request(server, exchangeOf("s"))
      assert.strictEqual(issuedTokenType, tokenTypes.jwt)
      assert.strictEqual(accessToken.type, "Bearer")
    }))

  for (const type of ["N_A", "n_a"]) {
    for (const dpop of [false, true]) {
      it.effect(`${type} is no access token: usable by itself, and an error of the manager (bound: ${dpop})`, () =>
        Effect.gen(function*() {
          const issued = { token_type: type, issued_token_type: tokenTypes.refreshToken, expires_in: 60 }
          const server = stub((_, number) => token(number, issued))
          const more = dpop ? { dpop: yield* SigningKey.generate() } : {}
          const response = yield* request(server, exchangeOf("s"), {}, more)
          assert.strictEqual(response.accessToken.type, "N_A")
          assert.strictEqual(response.issuedTokenType, tokenTypes.refreshToken)
          assert.strictEqual(Redacted.value(response.accessToken.value), "token-1")
          const error = yield* ClientCredentialsTokenManager.get("worker", { grant: exchangeOf("s") }).pipe(
            Effect.provide(services(server, { worker: { ...options, ...more } })),
            Effect.flip
          )
          assert.deepInclude(error, { _tag: "TokenTypeMismatch", found: "N_A", expected: dpop ? "DPoP" : "Bearer" })
          assert.notInclude(error.message, "token-2")
        }))
    }
  }
})

describe("N_A, which is for exchanges only (RFC 8693 section 2.2.1), is refused", () => {
  const secret = Redacted.make("a-code")
  const grants: ReadonlyArray<readonly [what: string, grant: TokenGrant.TokenGrant]> = [
    ["for client credentials", TokenGrant.clientCredentials],
    [
      "for a login",
      TokenGrant.authorizationCode({ code: secret, redirectUri: "https://app.test/cb", codeVerifier: secret })
    ],
    ["for a refresh", TokenGrant.refreshToken(secret)],
    ["for a device code", TokenGrant.deviceCode(secret)],
    ["for an assertion", TokenGrant.jwtBearer(secret)],
    ["for another grant", TokenGrant.extension("urn:test:grant")]
  ]
  for (const [what, grant] of grants) {
    for (const dpop of [false, true]) {
      it.effect(`${what} (bound: ${dpop})`, () =>
        Effect.gen(function*() {
          const more = dpop ? { dpop: yield* SigningKey.generate(), allowDowngrade: true } : {}
          for (const type of ["N_A", "n_a"]) {
            const server = stub((_, number) => token(number, { token_type: type, refresh_token: "r", expires_in: 60 }))
            const error = yield* Effect.flip(request(server, grant, {}, more))
            assert.deepInclude(error, { _tag: "TokenTypeMismatch", found: "N_A", expected: dpop ? "DPoP" : "Bearer" })
            assert.isFalse(error.retryable)
          }
        }))
    }
  }

  it.effect("but not for an exchange that is written as another grant", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number, { token_type: "N_A" }))
      const grant = TokenGrant.extension("urn:ietf:params:oauth:grant-type:token-exchange", { subject_token: "s" })
      assert.strictEqual((yield* request(server, grant)).accessToken.type, "N_A")
    }))
})

/** Answers with a token that names what was asked. */
const echoing = () => {
  const asked = new Map<string, number>()
  return stub(({ form, url }) => {
    if (!url.startsWith("https://as.test/")) return json({})
    const text = JSON.stringify(form)
    asked.set(text, (asked.get(text) ?? 0) + 1)
    return json({
      access_token: `${encodeURIComponent(text)}#${asked.get(text)}`,
      token_type: "Bearer",
      expires_in: 3600
    })
  })
}

describe("the cache", () => {
  it.effect("keeps an exchanged token for the same question, however it is put together", () =>
    Effect.gen(function*() {
      const server = echoing()
      yield* Effect.gen(function*() {
        const ask = (scope: string) =>
          ClientCredentialsTokenManager.get("worker", { grant: exchangeOf("s", { audience: ["b"] }), scope })
        const first = yield* ask("a b")
        assert.strictEqual(yield* ask("b a"), first)
        assert.strictEqual(server.seen.length, 1)
      }).pipe(Effect.provide(services(server)))
    }))

  const differing: ReadonlyArray<Parameters> = [
    {},
    { grant: TokenGrant.clientCredentials, partition: "x" },
    { grant: exchangeOf("s") },
    { grant: exchangeOf("other") },
    { grant: exchangeOf("s", { subjectTokenType: tokenTypes.jwt }) },
    { grant: exchangeOf("s", { actorToken: secretOf("a") }) },
    { grant: exchangeOf("s", { actorToken: secretOf("other") }) },
    { grant: exchangeOf("s", { audience: "one" }) },
    { grant: exchangeOf("s", { audience: "two" }) },
    { grant: exchangeOf("s", { audience: ["one", "two"] }) },
    { grant: exchangeOf("s", { requestedTokenType: tokenTypes.jwt }) },
    { grant: exchangeOf("s"), scope: "one" },
    { grant: exchangeOf("s"), resource: "https://one.test/" },
    { grant: exchangeOf("s"), resource: ["https://one.test/", "https://two.test/"] },
    { grant: exchangeOf("s"), partition: "tenant" },
    { grant: exchangeOf("s"), parameters: { extra: "1" } },
    { grant: TokenGrant.jwtBearer(secretOf("s")) },
    { grant: TokenGrant.extension("urn:x:y", { subject_token: secretOf("s") }) }
  ]

  it.effect("tells subjects, actors, audiences, scopes and resources apart", () =>
    Effect.gen(function*() {
      const server = echoing()
      yield* Effect.gen(function*() {
        for (let round = 0; round < 2; round++) {
          for (const parameters of differing) yield* ClientCredentialsTokenManager.get("worker", parameters)
        }
        assert.strictEqual(server.seen.length, differing.length)
      }).pipe(Effect.provide(services(server)))
    }))

  const text = FastCheck.oneof(
    FastCheck.string({ minLength: 1, maxLength: 6 }),
    FastCheck.constantFrom("a", "\n", "a\n", "\"", "[]", "=", "a\",\"b", "\\")
  )
  const exchanges = FastCheck.record({
    subject: text,
    actor: FastCheck.option(text, { nil: undefined }),
    audience: FastCheck.option(FastCheck.array(text, { maxLength: 2 }), { nil: undefined }),
    partition: FastCheck.option(text, { nil: undefined })
  })

  it.effect.prop(
    "never shares a token between two subjects",
    [exchanges, exchanges],
    ([one, other]) =>
      Effect.gen(function*() {
        const server = echoing()
        const parametersOf = ({ actor, audience, partition, subject }: typeof one): Parameters => ({
          grant: exchangeOf(subject, { audience, actorToken: actor === undefined ? undefined : secretOf(actor) }),
          partition
        })
        yield* Effect.gen(function*() {
          for (const  of of[one, other]) {
            const { value } = yield* ClientCredentialsTokenManager.get("worker", parametersOf(of))
            const form: ReadonlyArray<readonly [string, string]> = JSON.parse(
              decodeURIComponent(Redacted.value(value).replace(/#\d+$/, ""))
            )
            const sent = (name: string) => form.filter(([key]) => key === name).map(([, value]) => value)
            // What a form can hold of a text is what the subject is told apart by.
            const carried = (value: string) =>
              new URLSearchParams(new URLSearchParams({ x: value }).toString()).get("x")
            assert.deepStrictEqual(sent("subject_token"), [carried(of.subject)])
            assert.deepStrictEqual(sent("actor_token"), of.actor === undefined ? [] : [carried(of.actor)])
          }
          assert.isAtMost(server.seen.length, 2)
        }).pipe(Effect.provide(services(server)))
      })
  )

  it.effect("keeps two subjects apart by a key of the user's own that knows nothing of them", () =>
    Effect.gen(function*() {
      const server = echoing()
      const { entries, store } = yield* recorded
      const custom = TokenCacheKey.layer((client) => `mine:${client.name}`)
      yield* Effect.gen(function*() {
        const tokens = yield* Effect.forEach(
          [{}, { grant: exchangeOf("the-subject-1") }, { grant: exchangeOf("the-subject-2") }],
          (parameters) => ClientCredentialsTokenManager.get("worker", parameters)
        )
        assert.strictEqual(new Set(tokens.map(({ value }) => Redacted.value(value))).size, 3)
      }).pipe(Effect.provide(shared(server, store, custom)))
      const ends = new Set(entries.map((entry) => entry.slice(entry.indexOf("mine:worker") + "mine:worker".length)))
      assert.strictEqual(ends.size, 3)
      assert.isTrue(ends.has(""), "one without a grant has the name that it always had")
      assert.isFalse(entries.join().includes("the-subject"))
    }))

  it.effect("tells a shared store no subject token, in no name and in no entry", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      const { entries, store, values } = yield* recorded
      const sealing = TokenEncryption.layer([{ id: "k", key: secretOf(Buffer.alloc(32, 7).toString("base64url")) }])
      yield* Effect.gen(function*() {
        const grant = exchangeOf("the-subject-token", { actorToken: secretOf("the-actor-token") })
        yield* ClientCredentialsTokenManager.get("worker", { grant })
        yield* ClientCredentialsTokenManager.get("worker", { grant: TokenGrant.jwtBearer(secretOf("the-assertion")) })
      }).pipe(Effect.provide(shared(server, store, sealing)))
      assert.isAbove(entries.length, 1)
      assert.isAtLeast(values.length, 2)
      const all = [...entries, ...values].join("\n")
      for (const secret of ["the-subject-token", "the-actor-token", "the-assertion", "token-1"]) {
        assert.isFalse(all.includes(secret), secret)
      }
    }))

  it.effect("shares an exchanged token between processes", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      const { store } = yield* recorded
      const get = (subject: string) =>
        Effect.map(
          Effect.provide(
            ClientCredentialsTokenManager.get("worker", { grant: exchangeOf(subject) }),
            shared(server, store, Layer.empty)
          ),
          ({ value }) => Redacted.value(value)
        )
      assert.deepStrictEqual([yield* get("s"), yield* get("s"), yield* get("t")], ["token-1", "token-1", "token-2"])
    }))

  it.effect("refuses a grant that can be used once only", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => token(number))
      yield* Effect.gen(function*() {
        const once = [
          TokenGrant.refreshToken(secretOf("r")),
          TokenGrant.deviceCode(secretOf("d")),
          TokenGrant.authorizationCode({
            code: secretOf("c"),
            redirectUri: "https://a.test",
            codeVerifier: secretOf("v")
          })
        ]
        for (const grant of once) {
          const error = yield* Effect.flip(ClientCredentialsTokenManager.get("worker", { grant }))
          assert.strictEqual(error._tag, "TokenRequestInvalid")
        }
        assert.strictEqual(server.seen.length, 0)
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("is not told lies by what is changed later", () =>
    Effect.gen(function*() {
      const server = echoing()
      yield* Effect.gen(function*() {
        const audience = ["one"]
        const extra = { ticket: ["one"] }
        const exchange = { grant: exchangeOf("s", { audience }) }
        const extension = { grant: TokenGrant.extension("urn:x:y", extra) }
        yield* ClientCredentialsTokenManager.get("worker", exchange)
        yield* ClientCredentialsTokenManager.get("worker", extension)
        assert.throws(() => audience.push("two"), TypeError)
        assert.throws(() => extra.ticket.push("two"), TypeError)
        assert.throws(() => Object.assign(extra, { more: "x" }), TypeError)
        assert.throws(() => Object.assign(exchange.grant, { audience: "two" }), TypeError)
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect.prop(
    "takes any nonsense for parameters without a defect, and keeps working",
    // One of them at a time, so that none hides behind another.
    [FastCheck.oneof(
      FastCheck.record({
        grant: FastCheck.oneof(
          FastCheck.anything(),
          FastCheck.record({
            _tag: FastCheck.constantFrom(
              "TokenExchange",
              "JwtBearer",
              "Extension",
              "ClientCredentials",
              "RefreshToken"
            ),
            subjectToken: FastCheck.anything(),
            assertion: FastCheck.anything(),
            parameters: FastCheck.anything(),
            grantType: FastCheck.anything()
          })
        )
      }),
      FastCheck.record({ scope: FastCheck.anything() }),
      FastCheck.record({ resource: FastCheck.anything() }),
      FastCheck.record({ parameters: FastCheck.anything() }),
      FastCheck.record({ assertion: FastCheck.anything() }),
      FastCheck.record({ partition: FastCheck.anything() })
    )],
    ([parameters]) =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        yield* Effect.gen(function*() {
          const exit = yield* Effect.exit(ClientCredentialsTokenManager.get("worker", parameters as Parameters))
          assert.isTrue(Exit.isSuccess(exit) || exit.cause._tag === "Fail", String(exit))
          yield* ClientCredentialsTokenManager.get("worker", { grant: exchangeOf("s") })
        }).pipe(Effect.provide(services(server)))
      })
  )
})

describe("an exchanged token", () => {
  it.effect("that is bound to a key is sent with proofs of it", () =>
    Effect.gen(function*() {
      const server = stub((seen, number) =>
        seen.url.includes("api") ? json({}) : token(number, { token_type: "DPoP", expires_in: 60 })
      )
      const key = yield* SigningKey.generate()
      yield* Effect.gen(function*() {
        const api = yield* AccessTokenHttpClient.clientCredentials("worker", { grant: exchangeOf("s") })
        yield* api(server.client).get("https://api.test/")
        const [asked, called] = server.seen
        for (const seen of [asked, called]) {
          assert.deepStrictEqual((yield* verified(seen?.headers.dpop)).header.jwk, key.publicJwk)
        }
        assert.strictEqual(called?.headers.authorization, "DPoP token-1")
      }).pipe(Effect.provide(services(server, { worker: { ...options, dpop: key } })))
    }))

  it.effect("that an API rejects is renewed by the same exchange", () =>
    Effect.gen(function*() {
      const server = stub((seen, number) =>
        seen.url.includes("api")
          ? new Response("{}", { status: seen.headers.authorization === "Bearer token-1" ? 401 : 200 })
          : token(number)
      )
      yield* Effect.gen(function*() {
        const api = yield* AccessTokenHttpClient.clientCredentials("worker", { grant: exchangeOf("s") })
        const response = yield* api(server.client).get("https://api.test/")
        assert.strictEqual(response.status, 200)
        const asked = server.seen.filter(({ url }) => url.includes("as.test"))
        assert.deepStrictEqual(asked.map((seen) => field(seen, "subject_token")), [["s"], ["s"]])
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("is asked for once by many who want the same", () =>
    Effect.gen(function*() {
      const server = stub((_, number) => Effect.delay(Effect.succeed(token(number)), "1 seconds"))
      yield* Effect.gen(function*() {
        const one = Effect.suspend(() => ClientCredentialsTokenManager.get("worker", { grant: exchangeOf("s") }))
        const all = yield* Effect.fork(Effect.all(Array.from({ length: 100 }, () => one), { concurrency: "unbounded" }))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual((yield* Fiber.join(all)).length, 100)
        assert.strictEqual(server.seen.length, 1)
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("is revoked at the server and forgotten, that of another subject is not", () =>
    Effect.gen(function*() {
      const server = stub(({ url }, number) => url.includes("revoke") ? new Response() : token(number))
      yield* Effect.gen(function*() {
        const manager = yield* Manager
        const [one, other] = [{ grant: exchangeOf("s") }, { grant: exchangeOf("t") }]
        for (const parameters of [one, other]) yield* manager.get("worker", parameters)
        yield* manager.revoke("worker", one)
        assert.deepStrictEqual(field(server.seen[2], "token"), ["token-1"])
        assert.strictEqual(Redacted.value((yield* manager.get("worker", other)).value), "token-2")
        assert.strictEqual(Redacted.value((yield* manager.get("worker", one)).value), "token-4")
      }).pipe(
        Effect.provide(services(server, { worker: { ...options, revocationEndpoint: "https://as.test/revoke" } }))
      )
    }))
})

/** A shared store that remembers what it was told. */
const recorded = Effect.gen(function*() {
  const memory = yield* TokenStore.makeMemory
  const entries: Array<string> = []
  const values: Array<string> = []
  const store: TokenStore.TokenStore["Type"] = {
    ...memory,
    get: (key) => {
      entries.push(key)
      return memory.get(key)
    },
    set: (key, value, options) => {
      entries.push(key)
      values.push(value, JSON.stringify(options.tags ?? []))
      return memory.set(key, value, options)
    },
    withLock: (key, options, use) => {
      entries.push(key)
      return memory.withLock(key, options, use)
    }
  }
  return { entries, values, store }
})

const shared = <A, E>(server: Stub, store: TokenStore.TokenStore["Type"], more: Layer.Layer<A, E>) => {
  const given = Layer.mergeAll(server.layer, Layer.succeed(TokenStore.TokenStore, store), more)
  return OAuth.layer.pipe(Layer.provideMerge(TokenClients.layer({ worker: options })), Layer.provideMerge(given))
}
