/**
 * Retrievers that are put together, and what becomes of one that does not do as it should.
 */
import {
  AccessToken,
  AccessTokenHttpClient,
  type ClientCredentialsTokenManager,
  OAuthError,
  OAuthValues,
  TokenRetriever
} from "@effect-oauth/core"
import type { TokenRequestParameters } from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, DateTime, Effect, Exit, Fiber, Layer, Option, Redacted, TestClock } from "effect"
import { field, json, options, services, stub, token } from "./support/StubServer.ts"

const made = (value: string, at = 0): AccessToken.AccessToken =>
  new AccessToken.AccessToken({
    value: Redacted.make(value),
    type: OAuthValues.TokenType.make("Bearer"),
    clientName: "mine",
    obtainedAt: DateTime.unsafeMake(at)
  })

class NoActiveUser {
  readonly _tag = "NoActiveUser"
}
class DatabaseDown {
  readonly _tag = "DatabaseDown"
}

const always = (value: string): TokenRetriever.TokenRetriever<never> => TokenRetriever.static(made(value))

/** An API that tells which tokens reached it, and rejects some. */
const apiThat = (rejects: (authorization: string) => boolean = () => false) => {
  const seen: Array<string | undefined> = []
  const server = stub(({ headers }) => {
    seen.push(headers.authorization)
    return new Response("{}", { status: rejects(headers.authorization ?? "") ? 401 : 200 })
  })
  return { client: server.client, seen }
}

describe("static", () => {
  it.effect("gives the first 401 back", () =>
    Effect.gen(function*() {
      const api = apiThat(() => true)
      const response = yield* AccessTokenHttpClient.make(always("t"))(api.client).get("https://api.test/")
      assert.strictEqual(response.status, 401)
      assert.deepStrictEqual(api.seen, ["Bearer t"])
    }))
})

describe("orElse", () => {
  const failing = <E>(error: E): TokenRetriever.TokenRetriever<E> => () => Effect.fail(error)
  const get = <E>(retriever: TokenRetriever.TokenRetriever<E>) =>
    Effect.gen(function*() {
      const api = apiThat()
      yield* AccessTokenHttpClient.make(retriever)(api.client).get("https://api.test/")
      return api.seen
    })

  it.effect("is the program where there is no user, and the user where there is one", () =>
    Effect.gen(function*() {
      const program = TokenRetriever.orElse(always("program"))
      assert.deepStrictEqual(yield* get(program(failing(new NoActiveUser()))), ["Bearer program"])
      assert.deepStrictEqual(yield* get(program(always("user"))), ["Bearer user"])
    }))

  const others: ReadonlyArray<unknown> = [
    new DatabaseDown(),
    new OAuthError.TokenEndpointError({
      clientName: "c",
      endpoint: "https://as.test",
      status: 400,
      error: "invalid_grant"
    }),
    new OAuthError.TokenTransportError({ clientName: "c", endpoint: "https://as.test", reason: "Timeout" }),
    "NoActiveUser",
    null
  ]
  it.effect("is nobody else for any other failure", () =>
    Effect.gen(function*() {
      for (const error of others) {
        const failed = yield* Effect.flip(get(TokenRetriever.orElse(always("program"))(failing(error))))
        assert.strictEqual(failed, error)
      }
    }))

  it.effect("is nobody else after a defect, or an interruption", () =>
    Effect.gen(function*() {
      const program = TokenRetriever.orElse(always("program"))
      const dead = yield* Effect.flip(get(program(() => Effect.die("broken"))))
      assert.strictEqual(dead._tag, "CredentialUnavailable")
      const interrupted = yield* Effect.exit(get(program(() => Effect.interrupt)))
      assert.isTrue(Exit.isInterrupted(interrupted))
    }))

  it.effect("`when` decides otherwise, also against the rule", () =>
    Effect.gen(function*() {
      const program = TokenRetriever.orElse(always("program"), (error: DatabaseDown | NoActiveUser) =>
        error._tag === "DatabaseDown")
      assert.deepStrictEqual(yield* get(program(failing(new DatabaseDown()))), ["Bearer program"])
      const failed = yield* Effect.flip(get(program(failing(new NoActiveUser()))))
      assert.strictEqual(failed._tag, "NoActiveUser")
    }))

  it.effect("the second one is told of the same request", () =>
    Effect.gen(function*() {
      const told: Array<TokenRetriever.RequestContext> = []
      const second: TokenRetriever.TokenRetriever<never> = (request) => {
        told.push(request)
        return Effect.succeed(made(request.rejected === undefined ? "old" : "new"))
      }
      const api = apiThat((authorization) => authorization.endsWith("old"))
      const retriever = TokenRetriever.orElse(second)(failing(new NoActiveUser()))
      const response = yield* AccessTokenHttpClient.make(retriever)(api.client).get("https://api.test/a?b=c")
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(told.map(({ forceRenewal, url }) => [url, forceRenewal]), [
        ["https://api.test/a?b=c", false],
        ["https://api.test/a?b=c", true]
      ])
    }))
})

describe("byOrigin", () => {
  const both = TokenRetriever.byOrigin({
    "https://one.test": always("1"),
    "https://two.test:8443/": always("2"),
    "http://localhost:3000": always("3")
  })

  it.effect("gives each origin its own token, however it is written", () =>
    Effect.gen(function*() {
      const api = apiThat()
      const client = AccessTokenHttpClient.make(both)(api.client)
      const urls = ["https://one.test/a", "https://ONE.test:443/b", "https://two.test:8443/", "http://localhost:3000/x"]
      for (const url of urls) yield* client.get(url)
      assert.deepStrictEqual(api.seen, ["Bearer 1", "Bearer 1", "Bearer 2", "Bearer 3"])
    }))

  const unknown = [
    "https://three.test/",
    "https://two.test/",
    "http://one.test/",
    "https://one.test.evil.test/",
    "https://one.test@evil.test/",
    "/relative",
    "",
    "mailto:one.test"
  ]
  for (const onTokenFailure of ["fail", "sendWithout"] as const) {
    it.effect(`refuses any other: nothing is sent (${onTokenFailure})`, () =>
      Effect.gen(function*() {
        const api = apiThat()
        const client = AccessTokenHttpClient.make(both, { onTokenFailure })(api.client)
        for (const url of unknown) {
          const error = yield* Effect.flip(client.get(url))
          assert.strictEqual(error._tag, "OriginNotAllowed", url)
        }
        assert.strictEqual(api.seen.length, 0)
      }))
  }

  it.effect("refuses by itself too, without the middleware", () =>
    Effect.gen(function*() {
      for (const url of unknown) {
        const request = { method: "GET", url, headers: {}, forceRenewal: false } as TokenRetriever.RequestContext
        const error = yield* Effect.flip(both(request))
        assert.strictEqual(error._tag, "OriginNotAllowed", url)
      }
    }))

  const redirecting = (to: string) =>
    stub(({ url }) =>
      url === "https://one.test/" ? new Response(null, { status: 302, headers: { location: to } }) : json({})
    )

  it.effect("refuses a redirect to an unknown origin", () =>
    Effect.gen(function*() {
      const api = redirecting("https://evil.test/")
      const client = api.client.pipe(AccessTokenHttpClient.make(both), HttpClient.followRedirects())
      const error = yield* Effect.flip(client.get("https://one.test/"))
      assert.strictEqual(error._tag, "OriginNotAllowed")
      assert.deepStrictEqual(api.seen.map(({ url }) => url), ["https://one.test/"])
    }))

  it.effect("lets a redirect to a known one pass, without the token of the first", () =>
    Effect.gen(function*() {
      const api = redirecting("https://two.test:8443/")
      const client = api.client.pipe(AccessTokenHttpClient.make(both), HttpClient.followRedirects())
      yield* client.get("https://one.test/")
      assert.deepStrictEqual(api.seen.map(({ headers }) => headers.authorization), ["Bearer 1", undefined])
    }))

  it.effect("lets a redirect to one pass that allowedOrigins name, without a token", () =>
    Effect.gen(function*() {
      const api = redirecting("https://files.test/")
      const allowedOrigins = ["https://one.test", "https://files.test"]
      const client = api.client.pipe(AccessTokenHttpClient.make(both, { allowedOrigins }), HttpClient.followRedirects())
      yield* client.get("https://one.test/")
      assert.deepStrictEqual(api.seen.map(({ headers }) => headers.authorization), ["Bearer 1", undefined])
    }))

  it("takes origins only", () => {
    for (const name of ["api.test", "https://api.test/path", "urn:x", "", "https://u:p@api.test"]) {
      assert.throws(() => TokenRetriever.byOrigin({ [name]: always("x") }), TypeError)
    }
  })
})

/** A server and an API in one: exchanges what it is given, for a token that names it. */
const exchanging = (
  accepts: (subject: string, actor: string | undefined) => boolean = () => true,
  code = "invalid_grant"
) => {
  let count = 0
  return stub((seen) => {
    if (!seen.url.startsWith("https://as.test/")) {
      return new Response("{}", { status: seen.headers.authorization?.includes("bad") === true ? 401 : 200 })
    }
    const [subject = ""] = field(seen, "subject_token")
    const [actor] = field(seen, "actor_token")
    if (!accepts(subject, actor)) {
      return json({ error: code, error_description: `no ${subject} ${actor}` }, { status: 400 })
    }
    const value = `for-${subject}${actor === undefined ? "" : `-by-${actor}`}-${++count}`
    return json({ access_token: value, token_type: "Bearer", expires_in: 3600 })
  })
}

/** Gives its values one after the other, the next one when the last was rejected. */
const renewable = (values: ReadonlyArray<string>, at = 0) => {
  const tokens = values.map((value) => made(value, at))
  const asked: Array<boolean> = []
  let current = 0
  const retriever: TokenRetriever.TokenRetriever<never> = ({ forceRenewal, rejected }) =>
    Effect.sync(() => {
      asked.push(forceRenewal)
      if (rejected === tokens[current]) current = Math.min(current + 1, tokens.length - 1)
      return tokens[current]!
    })
  return { retriever, asked }
}

const calls = <E, R>(
  server: ReturnType<typeof stub>,
  retriever: Effect.Effect<
    TokenRetriever.TokenRetriever<E, R>,
    OAuthError.TokenClientNotFound,
    ClientCredentialsTokenManager.ClientCredentialsTokenManager
  >
) => Effect.map(retriever, (retriever) => AccessTokenHttpClient.make(retriever)(server.client))

const subjects = (server: ReturnType<typeof stub>) =>
  server.seen.filter(({ url }) => url.startsWith("https://as.test/")).map((seen) => field(seen, "subject_token")[0])

const authorizations = (server: ReturnType<typeof stub>) =>
  server.seen.filter(({ url }) => url.startsWith("https://api.test")).map(({ headers }) => headers.authorization)

describe("tokenExchange", () => {
  it.effect("sends what the subject's token was exchanged for, and exchanges it once", () =>
    Effect.gen(function*() {
      const server = exchanging()
      yield* Effect.gen(function*() {
        const api = yield* calls(
          server,
          TokenRetriever.tokenExchange(always("s"), "worker", {
            actor: always("a"),
            audience: "billing",
            parameters: { scope: "read", resource: "https://api.test/" }
          })
        )
        yield* api.get("https://api.test/")
        yield* api.get("https://api.test/")
        assert.deepStrictEqual(authorizations(server), ["Bearer for-s-by-a-1", "Bearer for-s-by-a-1"])
        const form = server.seen[0]?.form ?? []
        assert.deepStrictEqual(Object.fromEntries(form), {
          audience: "billing",
          subject_token: "s",
          subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
          actor_token: "a",
          actor_token_type: "urn:ietf:params:oauth:token-type:access_token",
          grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
          scope: "read",
          resource: "https://api.test/"
        })
        assert.strictEqual(form.length, 8)
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("of a client that is not known fails where it is made", () =>
    Effect.gen(function*() {
      const server = exchanging()
      const error = yield* TokenRetriever.tokenExchange(always("s"), "nobody").pipe(
        Effect.provide(services(server)),
        Effect.flip
      )
      assert.strictEqual(error._tag, "TokenClientNotFound")
    }))

  it.effect("gives each subject their own, whoever comes in between", () =>
    Effect.gen(function*() {
      const server = exchanging()
      class User extends Context.Tag("User")<User, AccessToken.AccessToken>() {}
      yield* Effect.gen(function*() {
        const api = yield* calls(server, TokenRetriever.tokenExchange(() => User, "worker"))
        const users = ["alice", "bob"].map((name) => made(name))
        for (const user of [...users, ...users]) {
          yield* Effect.provideService(api.get("https://api.test/"), User, user)
        }
        // The same secret in another object is the same subject.
        yield* Effect.provideService(api.get("https://api.test/"), User, made("alice"))
        const [alice, bob] = ["Bearer for-alice-1", "Bearer for-bob-2"]
        assert.deepStrictEqual(authorizations(server), [alice, bob, alice, bob, alice])
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("renews what an API rejects by the same exchange, and asks the subject for nothing new", () =>
    Effect.gen(function*() {
      const server = exchanging()
      const { asked, retriever } = renewable(["s"])
      let rejected = true
      const api = stub((seen, number, request) => {
        if (seen.url.startsWith("https://api.test/") && rejected) {
          rejected = false
          return new Response(null, { status: 401 })
        }
        return server.client.execute(request).pipe(Effect.map(() => json({})), Effect.orDie)
      })
      yield* Effect.gen(function*() {
        const client = yield* calls(api, TokenRetriever.tokenExchange(retriever, "worker"))
        const response = yield* client.get("https://api.test/")
        assert.strictEqual(response.status, 200)
        assert.deepStrictEqual(subjects(server), ["s", "s"])
        assert.deepStrictEqual(authorizations(api), ["Bearer for-s-1", "Bearer for-s-2"])
        assert.deepStrictEqual(asked, [false, false])
      }).pipe(Effect.provide(services(server)))
    }))

  for (const code of ["invalid_grant", "invalid_request"]) {
    it.effect(`asks for another token of the subject, once, when the server says ${code}`, () =>
      Effect.gen(function*() {
        yield* TestClock.adjust("1 minutes")
        const server = exchanging((subject) => subject === "new", code)
        const { asked, retriever } = renewable(["old", "new"])
        yield* Effect.gen(function*() {
          const api = yield* calls(server, TokenRetriever.tokenExchange(retriever, "worker"))
          yield* api.get("https://api.test/")
          assert.deepStrictEqual(subjects(server), ["old", "new"])
          assert.deepStrictEqual(asked, [false, true])
        }).pipe(Effect.provide(services(server)))
      }))
  }

  it.effect("asks only once, and says what the server said last", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 minutes")
      const server = exchanging(() => false)
      yield* Effect.gen(function*() {
        const { retriever } = renewable(["the-first", "the-second", "the-third"])
        const api = yield* calls(server, TokenRetriever.tokenExchange(retriever, "worker"))
        const error = yield* Effect.flip(api.get("https://api.test/"))
        assert.deepInclude(error, { _tag: "TokenEndpointError", error: "invalid_grant" })
        assert.include(error.message, "no <redacted>")
        assert.deepStrictEqual(subjects(server), ["the-first", "the-second"])
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("does not ask a subject who has no other token twice of the server", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 minutes")
      const server = exchanging(() => false)
      yield* Effect.gen(function*() {
        const api = yield* calls(server, TokenRetriever.tokenExchange(always("one"), "worker"))
        const error = yield* Effect.flip(api.get("https://api.test/"))
        assert.strictEqual(error._tag, "TokenEndpointError")
        assert.deepStrictEqual(subjects(server), ["one"])
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("does not ask for another one of a token that is younger than a minute", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("10 minutes")
      const now = yield* Clock.currentTimeMillis
      const server = exchanging((subject) => subject === "new")
      const { asked, retriever } = renewable(["old", "new"], now - 59_999)
      yield* Effect.gen(function*() {
        const api = yield* calls(server, TokenRetriever.tokenExchange(retriever, "worker"))
        const error = yield* Effect.flip(api.get("https://api.test/"))
        assert.strictEqual(error._tag, "TokenEndpointError")
        assert.deepStrictEqual(asked, [false])
        yield* TestClock.adjust("1 minutes")
        yield* api.get("https://api.test/")
        assert.deepStrictEqual(subjects(server), ["old", "old", "new"])
      }).pipe(Effect.provide(services(server)))
    }))

  for (const code of ["invalid_target", "invalid_scope", "unauthorized_client"]) {
    it.effect(`asks for nothing when the server says ${code}: no other token would do`, () =>
      Effect.gen(function*() {
        yield* TestClock.adjust("1 minutes")
        const server = exchanging(() => false, code)
        const { asked, retriever } = renewable(["old", "new"])
        yield* Effect.gen(function*() {
          const api = yield* calls(server, TokenRetriever.tokenExchange(retriever, "worker"))
          yield* Effect.flip(api.get("https://api.test/"))
          assert.deepStrictEqual(asked, [false])
        }).pipe(Effect.provide(services(server)))
      }))
  }

  it.effect("asks the actor for another token too", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("1 minutes")
      const server = exchanging((_, actor) => actor === "new")
      const actor = renewable(["old", "new"])
      yield* Effect.gen(function*() {
        const api = yield* calls(
          server,
          TokenRetriever.tokenExchange(always("s"), "worker", { actor: actor.retriever })
        )
        yield* api.get("https://api.test/")
        assert.deepStrictEqual(authorizations(server), ["Bearer for-s-by-new-1"])
        assert.deepStrictEqual(actor.asked, [false, true])
      }).pipe(Effect.provide(services(server)))
    }))

  it.effect("passes on what one call asks for, but not to the subject", () =>
    Effect.gen(function*() {
      const server = exchanging()
      const told: Array<TokenRetriever.RequestContext> = []
      const subject: TokenRetriever.TokenRetriever<never> = (request) => {
        told.push(request)
        return Effect.succeed(made("s"))
      }
      yield* Effect.gen(function*() {
        const api = yield* calls(
          server,
          TokenRetriever.tokenExchange(subject, "worker", { parameters: { scope: "a" } })
        )
        yield* api.get("https://api.test/").pipe(
          AccessTokenHttpClient.withRequestOptions({ forceRenewal: true, parameters: { scope: "b" } })
        )
        assert.deepStrictEqual(field(server.seen[0], "scope"), ["b"])
        assert.deepStrictEqual(told.map(({ forceRenewal, parameters }) => [forceRenewal, parameters]), [[
          false,
          undefined
        ]])
      }).pipe(Effect.provide(services(server)))
    }))

  const customizer: TokenRetriever.Customize = (request) =>
    Effect.succeed({ scope: new URL(request.url).pathname.slice(1), grant: undefined })
  for (const where of ["option", "layer"] as const) {
    it.effect(`asks a customizer (${where}), who cannot change whose authority it is`, () =>
      Effect.gen(function*() {
        const server = exchanging()
        const layer = where === "layer" ? Layer.succeed(TokenRetriever.TokenRequestCustomizer, customizer) : Layer.empty
        yield* Effect.gen(function*() {
          const api = yield* calls(
            server,
            TokenRetriever.tokenExchange(always("s"), "worker", where === "option" ? { customize: customizer } : {})
          )
          yield* api.get("https://api.test/one")
          yield* api.get("https://api.test/two")
          const asked = server.seen.filter(({ url }) => url.startsWith("https://as.test/"))
          assert.deepStrictEqual(asked.map((seen) => [field(seen, "scope"), field(seen, "subject_token")]), [
            [["one"], ["s"]],
            [["two"], ["s"]]
          ])
        }).pipe(Effect.provide(Layer.merge(services(server), layer)))
      }))
  }
})

describe("what does not do as it should", () => {
  type Outcome = "typed" | "timeout" | "defect"
  const broken: ReadonlyArray<readonly [what: string, result: () => Effect.Effect<never, unknown>, outcome: Outcome]> =
    [
      ["fails", () => Effect.fail(new DatabaseDown()), "typed"],
      ["hangs", () => Effect.never, "timeout"],
      ["dies", () => Effect.die(new Error("broken")), "typed"],
      [
        "throws",
        () => {
          throw new Error("broken")
        },
        "typed"
      ],
      ["gives no effect", () => undefined as never, "typed"],
      ["gives undefined", () => Effect.succeed(undefined as never), "typed"],
      ["gives null", () => Effect.succeed(null as never), "typed"],
      ["gives a text", () => Effect.succeed("token" as never), "typed"]
    ]
  const objects: ReadonlyArray<readonly [what: string, value: unknown]> = [
    ["gives a plain object", {}],
    ["gives an object with a token in clear", { value: "t", type: "Bearer" }],
    ["gives a list", []]
  ]

  const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Outcome | "success" => {
    if (Exit.isSuccess(exit)) return "success"
    const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
    if (error === undefined) return "defect"
    return (error as { readonly _tag: string })._tag === "TimeoutException" ? "timeout" : "typed"
  }

  /** One call that meets it, with a time-out of the caller's own, and one call after it. */
  const twice = <E>(client: HttpClient.HttpClient.With<E, never>, repair: () => void) =>
    Effect.gen(function*() {
      const first = yield* Effect.fork(Effect.exit(Effect.timeout(client.get("https://api.test/"), "5 seconds")))
      yield* TestClock.adjust("6 seconds")
      const outcome = outcomeOf(yield* Fiber.join(first))
      repair()
      const second = yield* Effect.fork(Effect.exit(Effect.timeout(client.get("https://api.test/"), "30 seconds")))
      yield* TestClock.adjust("31 seconds")
      return [outcome, outcomeOf(yield* Fiber.join(second))] as const
    })

  const places = {
    retriever: (mine: TokenRetriever.TokenRetriever<unknown>) => Effect.succeed(mine),
    "retriever of an origin": (mine: TokenRetriever.TokenRetriever<unknown>) =>
      Effect.succeed(TokenRetriever.byOrigin({ "https://api.test": mine })),
    subject: (mine: TokenRetriever.TokenRetriever<unknown>) => TokenRetriever.tokenExchange(mine, "worker"),
    actor: (mine: TokenRetriever.TokenRetriever<unknown>) =>
      TokenRetriever.tokenExchange(always("s"), "worker", { actor: mine })
  }
  const bad = [
    ...broken,
    ...objects.map(([what, value]) => [what, () => Effect.succeed(value as never), "typed"] as const)
  ]

  for (const [place, build] of Object.entries(places)) {
    for (const [what, result, expected] of bad) {
      it.effect(`a ${place} that ${what}: ${expected}, and the next call is as ever`, () =>
        Effect.gen(function*() {
          const server = exchanging()
          let isBroken = true
          const mine: TokenRetriever.TokenRetriever<unknown> = () => isBroken ? result() : Effect.succeed(made("good"))
          const outcome = yield* Effect.gen(function*() {
            const client = AccessTokenHttpClient.make(yield* build(mine))(server.client)
            return yield* twice(client, () => {
              isBroken = false
            })
          }).pipe(Effect.provide(services(server)))
          assert.deepStrictEqual(outcome, [expected, "success"])
          assert.strictEqual(authorizations(server).length, 1)
          assert.include(authorizations(server)[0], "good")
        }))
    }
  }

  it.effect("a retriever or a customizer that hangs is given up after a minute, with an error that says so", () =>
    Effect.gen(function*() {
      const server = exchanging()
      const hang = () => Effect.never
      const errors = yield* Effect.gen(function*() {
        const clients = [
          AccessTokenHttpClient.make(hang),
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, { customize: hang })
        ]
        const calls = yield* Effect.fork(
          Effect.forEach(clients, (withToken) => Effect.flip(withToken(server.client).get("https://api.test/")), {
            concurrency: "unbounded"
          })
        )
        yield* TestClock.adjust("1 minute")
        return yield* Fiber.join(calls)
      }).pipe(Effect.provide(services(server)))
      for (const error of errors) {
        assert.strictEqual(error._tag, "CredentialUnavailable")
        assert.include(error.message, "took longer than 1m")
      }
      assert.deepStrictEqual(authorizations(server), [])
    }))

  for (const [what, result, expected] of broken) {
    for (const where of ["client credentials", "exchange"] as const) {
      it.effect(`a customizer of ${where} that ${what}: ${expected}, and the next call is as ever`, () =>
        Effect.gen(function*() {
          const server = exchanging()
          let isBroken = true
          const customize: TokenRetriever.Customize<unknown> = (_, parameters) =>
            isBroken ? result() : Effect.succeed(parameters)
          const outcome = yield* Effect.gen(function*() {
            const retriever = where === "exchange"
              ? yield* TokenRetriever.tokenExchange(always("s"), "worker", { customize })
              : yield* TokenRetriever.clientCredentials("worker", undefined, customize)
            return yield* twice(AccessTokenHttpClient.make(retriever)(server.client), () => {
              isBroken = false
            })
          }).pipe(Effect.provide(services(server)))
          assert.deepStrictEqual(outcome, [expected, "success"])
          assert.strictEqual(server.seen.length, 2, "only the second call asks for a token, and is sent")
        }))
    }
  }

  for (const [what, result, expected] of bad) {
    it.effect(`a retriever that ${what} when it is asked for another token`, () =>
      Effect.gen(function*() {
        const api = apiThat(() => true)
        let isBroken = true
        const mine: TokenRetriever.TokenRetriever<unknown> = ({ rejected }) =>
          rejected !== undefined && isBroken ? result() : Effect.succeed(made("bad"))
        const client = AccessTokenHttpClient.make(mine)(api.client)
        const [first, second] = yield* twice(client, () => {
          isBroken = false
        })
        // The first 401 is an answer; who cannot say more is not heard.
        assert.deepStrictEqual([first, second], [expected === "typed" ? "success" : expected, "success"])
      }))
  }

  it.effect("says whose fault it was, and nothing of what was given", () =>
    Effect.gen(function*() {
      const api = apiThat()
      const wrong: TokenRetriever.TokenRetriever<never> = () =>
        Effect.succeed({ value: "s3cr3t", type: "Bearer" } as never)
      const error = yield* Effect.flip(AccessTokenHttpClient.make(wrong)(api.client).get("https://api.test/"))
      assert.deepInclude(error, { _tag: "CredentialUnavailable", credential: "token" })
      assert.notInclude(error.message, "s3cr3t")
    }))

  it.effect("a customizer's answer of another kind is an error, not a request without its wishes", () =>
    Effect.gen(function*() {
      const server = exchanging()
      const wrong: ReadonlyArray<unknown> = [undefined, null, "x", 5]
      yield* Effect.gen(function*() {
        for (const value of wrong) {
          const customize: TokenRetriever.Customize = () =>
            Effect.succeed(value as TokenRequestParameters.TokenRequestParameters)
          const retriever = yield* TokenRetriever.clientCredentials("worker", { partition: "tenant" }, customize)
          const client = AccessTokenHttpClient.make(retriever)(server.client)
          const error = yield* Effect.flip(client.get("https://api.test/"))
          assert.deepInclude(error, { _tag: "TokenRequestInvalid", clientName: "worker", field: "parameters" })
        }
        assert.strictEqual(server.seen.length, 0)
      }).pipe(Effect.provide(services(server)))
    }))
})

describe("retrievers together", () => {
  it.effect("the user's token exchanged for one API, the program's own for another", () =>
    Effect.gen(function*() {
      const server = stub((seen, number) => seen.url.startsWith("https://as.test/") ? token(number) : json({}))
      yield* Effect.gen(function*() {
        const own = yield* TokenRetriever.clientCredentials("worker")
        const user = TokenRetriever.orElse(own)(always("user"))
        const retriever = TokenRetriever.byOrigin({
          "https://one.test": yield* TokenRetriever.tokenExchange(user, "worker"),
          "https://two.test": own
        })
        const client = AccessTokenHttpClient.make(retriever)(server.client)
        yield* client.get("https://one.test/")
        yield* client.get("https://two.test/")
        const granted = server.seen.flatMap((seen) => field(seen, "grant_type"))
        assert.deepStrictEqual(granted, ["urn:ietf:params:oauth:grant-type:token-exchange", "client_credentials"])
      }).pipe(Effect.provide(services(server, { worker: options })))
    }))
})
