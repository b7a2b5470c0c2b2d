import { AccessToken, AccessTokenHttpClient, OAuthError, TokenRetriever } from "@effect-oauth/core"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { TokenType } from "../src/OAuthValues.ts"
import type { Seen, Stub } from "./support/StubServer.ts"
import { field, json, options, services, stub, token } from "./support/StubServer.ts"

const accessToken = (value: string, type = "Bearer") =>
  new AccessToken.AccessToken({
    value: Redacted.make(value),
    type: Schema.decodeSync(TokenType)(type),
    clientName: "worker",
    obtainedAt: DateTime.unsafeMake(0),
    expiresAt: undefined
  })

/** Gives t1, and one more for each rejection of the current one. */
const retriever = () => {
  let number = 1
  const asked: Array<TokenRetriever.RequestContext> = []
  const retrieve: TokenRetriever.TokenRetriever<never> = (context) =>
    Effect.sync(() => {
      asked.push(context)
      if (context.rejected !== undefined && Redacted.value(context.rejected.value) === `t${number}`) number++
      return accessToken(`t${number}`)
    })
  return { asked, retrieve }
}

const authorization = (server: Stub) => server.seen.map(({ headers }) => headers.authorization)

const ok = () => json({ fine: true })
const unauthorized = (challenge = "Bearer error=\"invalid_token\"") =>
  json({ error: "invalid_token" }, { status: 401, headers: { "www-authenticate": challenge } })

const url = "https://api.test/invoices"

/** One server for tokens and API: token requests are numbered from 1, the API answers as `api` says. */
const both = (api: (seen: Seen, number: number) => Response) => {
  const tokens: Array<Seen> = []
  const calls: Array<Seen> = []
  const server = stub((seen) => {
    if (seen.url.startsWith("https://as.test/")) {
      tokens.push(seen)
      return token(tokens.length)
    }
    calls.push(seen)
    return api(seen, calls.length)
  })
  return { ...server, tokens, calls, bearers: () => calls.map(({ headers }) => headers.authorization) }
}

describe("AccessTokenHttpClient", () => {
  describe("clientCredentials", () => {
    it.effect("puts a token on the request and uses it again [parity 1, 2]", () => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
        assert.strictEqual((yield* api.get(url)).status, 200)
        yield* api.get(url)
        assert.deepStrictEqual(server.bearers(), ["Bearer token-1", "Bearer token-1"])
        assert.strictEqual(server.tokens.length, 1)
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("needs no name where there is one client", () => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials())
        yield* api.get(url)
        assert.deepStrictEqual(server.bearers(), ["Bearer token-1"])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("an unknown static name fails where the middleware is made [parity 31, changed]", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(AccessTokenHttpClient.clientCredentials("nobody"))
        assert.strictEqual(error._tag, "TokenClientNotFound")
        assert.include(error.message, "nobody")
        assert.include(error.message, "\"worker\"")
      }).pipe(Effect.provide(services(both(ok)))))

    it.effect("heals a 401 with another token [parity 4]", () => {
      const server = both((_, number) => number === 1 ? unauthorized() : ok())
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
        assert.strictEqual((yield* api.get(url)).status, 200)
        yield* api.get(url)
        assert.deepStrictEqual(server.bearers(), ["Bearer token-1", "Bearer token-2", "Bearer token-2"])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("a second 401 is the caller's [parity 5]", () => {
      const server = both(() => unauthorized())
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
        assert.strictEqual((yield* api.get(url)).status, 401)
        assert.deepStrictEqual(server.bearers(), ["Bearer token-1", "Bearer token-2"])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("brings Bearer and DPoP to their usual spelling [parity 7]", () =>
      Effect.forEach(["beareR", "BEARER", "bearer"], (type) => {
        const server = stub((seen) => seen.url.startsWith("https://as.test/") ? token(1, { token_type: type }) : ok())
        return Effect.gen(function*() {
          const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
          yield* api.get(url)
          assert.strictEqual(server.seen[1]?.headers.authorization, "Bearer token-1")
        }).pipe(Effect.provide(services(server)))
      }))

    it.effect("one call can force a renewal; later calls use its token [parity 8]", () => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
        yield* api.get(url)
        yield* api.get(url).pipe(AccessTokenHttpClient.withRequestOptions({ forceRenewal: true }))
        yield* api.get(url)
        assert.deepStrictEqual(server.bearers(), ["Bearer token-1", "Bearer token-2", "Bearer token-2"])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("one call can ask for other parameters", () => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", { scope: "a", partition: "p" })
        )
        yield* api.get(url).pipe(AccessTokenHttpClient.withRequestOptions({ parameters: { scope: "b" } }))
        assert.deepStrictEqual(field(server.tokens[0], "scope"), ["b"])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("without a token nothing is sent; the typed error is in the error channel", () => {
      const server = stub((seen) =>
        seen.url.startsWith("https://as.test/") ? json({ error: "invalid_client" }, { status: 401 }) : ok()
      )
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
        const error = yield* Effect.flip(api.get(url))
        assert.strictEqual(error._tag, "TokenEndpointError")
        assert.strictEqual(server.seen.length, 1)
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("sends without a token where that is asked for", () => {
      const server = stub((seen) =>
        seen.url.startsWith("https://as.test/") ? json({ error: "invalid_client" }, { status: 401 }) : ok()
      )
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, { onTokenFailure: "sendWithout" })
        )
        assert.strictEqual((yield* api.get(url)).status, 200)
        assert.isUndefined(server.seen[1]?.headers.authorization)
      }).pipe(Effect.provide(services(server)))
    })
  })

  describe("customizers", () => {
    const scopeOf = (customize: TokenRetriever.Customize) => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", { scope: "base" }, { customize })
        )
        yield* api.get(`${url}?of=may`, { headers: { "x-tenant": "one" } })
        return field(server.tokens[0], "scope")
      }).pipe(Effect.provide(services(server)))
    }

    it.effect("one for all is a Layer [parity 89]", () => {
      const server = both(ok)
      const Customizer = Layer.succeed(
        TokenRetriever.TokenRequestCustomizer,
        (_, parameters) => Effect.succeed({ ...parameters, scope: "for-all" })
      )
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials("worker"))
        yield* api.get(url)
        const own = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, {
            customize: () => Effect.succeed({ scope: "own" })
          })
        )
        yield* own.get(url)
        assert.deepStrictEqual(server.tokens.flatMap((seen) => field(seen, "scope")), ["for-all", "own"])
      }).pipe(Effect.provide(Layer.merge(services(server), Customizer)))
    })

    it.effect("one of a middleware is an option [parity 90]", () =>
      Effect.map(
        scopeOf((_, parameters) => Effect.succeed({ ...parameters, scope: `${parameters.scope} more` })),
        (scope) => assert.deepStrictEqual(scope, ["base more"])
      ))

    it.effect("its requirements become the middleware's [parity 91]", () => {
      class Tenant extends Context.Tag("Tenant")<Tenant, string>() {}
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, {
            customize: () => Effect.map(Tenant, (tenant) => ({ scope: tenant }))
          })
        )
        yield* Effect.provideService(api.get(url), Tenant, "tenant-7")
        assert.deepStrictEqual(field(server.tokens[0], "scope"), ["tenant-7"])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("sees the headers of the request [parity 92]", () =>
      Effect.map(
        scopeOf(({ headers }) => Effect.succeed({ scope: headers["x-tenant"] })),
        (scope) => assert.deepStrictEqual(scope, ["one"])
      ))

    it.effect("sees the URL of the request, query included [parity 61, 93]", () =>
      Effect.map(
        scopeOf(({ method, url }) => Effect.succeed({ scope: `${method}:${url}` })),
        (scope) => assert.deepStrictEqual(scope, ["GET:https://api.test/invoices?of=may"])
      ))

    it.effect("its parameters reach the token request unchanged [parity 109]", () => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, {
            customize: () =>
              Effect.succeed({
                scope: "s",
                resource: ["https://r.test/1", "https://r.test/2"],
                parameters: { audience: "a" },
                partition: "never sent",
                context: "neither"
              })
          })
        )
        yield* api.get(url)
        assert.deepStrictEqual(server.tokens[0]?.form, [
          ["audience", "a"],
          ["grant_type", "client_credentials"],
          ["scope", "s"],
          ["resource", "https://r.test/1"],
          ["resource", "https://r.test/2"]
        ])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("cannot lose a forced renewal", () => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, {
            customize: () => Effect.succeed({ scope: "s" })
          })
        )
        yield* api.get(url)
        yield* api.get(url).pipe(AccessTokenHttpClient.withRequestOptions({ forceRenewal: true }))
        assert.deepStrictEqual(server.bearers(), ["Bearer token-1", "Bearer token-2"])
      }).pipe(Effect.provide(services(server)))
    })

    it.effect("one that fails fails the call with its own error [parity 81, changed]", () => {
      const server = both(ok)
      return Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, {
            customize: () => Effect.fail("no tenant" as const)
          })
        )
        assert.strictEqual(yield* Effect.flip(api.get(url)), "no tenant")
        assert.strictEqual(server.calls.length, 0)
      }).pipe(Effect.provide(services(server)))
    })
  })

  describe("a 401", () => {
    it.effect("that an inner filterStatusOk has made an error of is healed just the same", () => {
      const server = stub((_, number) => number === 1 ? unauthorized() : ok())
      const api = server.client.pipe(HttpClient.filterStatusOk, AccessTokenHttpClient.make(retriever().retrieve))
      return Effect.gen(function*() {
        assert.strictEqual((yield* api.get(url)).status, 200)
        assert.deepStrictEqual(authorization(server), ["Bearer t1", "Bearer t2"])
      })
    })

    it.effect("that stays is the error of an inner filterStatusOk, its body still to be read", () => {
      const server = stub(() => unauthorized())
      const api = server.client.pipe(
        HttpClient.filterStatusOk,
        AccessTokenHttpClient.make(() => Effect.succeed(accessToken("the-only-one")))
      )
      return Effect.gen(function*() {
        const error = yield* Effect.flip(api.get(url))
        assert.instanceOf(error, HttpClientError.ResponseError)
        assert.deepStrictEqual(yield* error.response.json, { error: "invalid_token" })
        assert.strictEqual(server.seen.length, 1)
      })
    })

    it.effect("is returned with its body if renewing yields no other token, and sent once", () => {
      const server = stub(() => unauthorized())
      const api = server.client.pipe(AccessTokenHttpClient.make(() => Effect.succeed(accessToken("the-only-one"))))
      return Effect.gen(function*() {
        const response = yield* api.get(url)
        assert.strictEqual(response.status, 401)
        assert.strictEqual(response.headers["www-authenticate"], "Bearer error=\"invalid_token\"")
        assert.deepStrictEqual(yield* response.json, { error: "invalid_token" })
        assert.strictEqual(server.seen.length, 1)
      })
    })

    it.effect("is returned if renewing fails", () => {
      const server = stub(() => unauthorized())
      const api = server.client.pipe(
        AccessTokenHttpClient.make(({ rejected }) =>
          rejected === undefined ? Effect.succeed(accessToken("t")) : Effect.fail("down" as const)
        )
      )
      return Effect.map(api.get(url), (response) => assert.strictEqual(response.status, 401))
    })

    it.effect("tells the retriever which token was rejected", () => {
      const server = stub((_, number) => number === 1 ? unauthorized() : ok())
      const { asked, retrieve } = retriever()
      return Effect.gen(function*() {
        yield* server.client.pipe(AccessTokenHttpClient.make(retrieve)).get(url)
        assert.deepStrictEqual(
          asked.map(({ forceRenewal, rejected }) => [forceRenewal, rejected && Redacted.value(rejected.value)]),
          [[false, undefined], [true, "t1"]]
        )
      })
    })

    it.effect("that asks for a stronger sign-in is not retried", () => {
      const server = stub(() => unauthorized("Bearer error=\"insufficient_user_authentication\", acr_values=\"gold\""))
      return Effect.gen(function*() {
        const response = yield* server.client.pipe(AccessTokenHttpClient.make(retriever().retrieve)).get(url)
        assert.strictEqual(response.status, 401)
        assert.strictEqual(server.seen.length, 1)
      })
    })

    it.effect("is not healed where that is switched off, and what is healed can be chosen", () => {
      const server = stub((seen) => seen.headers.authorization === "Bearer t1" ? json({}, { status: 419 }) : ok())
      return Effect.gen(function*() {
        const off = server.client.pipe(
          AccessTokenHttpClient.make(retriever().retrieve, { retryUnauthorized: false })
        )
        assert.strictEqual((yield* off.get(url)).status, 419)
        const own = server.client.pipe(
          AccessTokenHttpClient.make(retriever().retrieve, {
            retryUnauthorized: (response) =>
              response.status === 419 || AccessTokenHttpClient.retryUnauthorized(response)
          })
        )
        assert.strictEqual((yield* own.get(url)).status, 200)
      })
    })

    it.effect("of a request whose body can be read only once is returned as it is", () => {
      const server = stub(() => unauthorized())
      const body = () => HttpBody.stream(Stream.fromIterable([new TextEncoder().encode("once")]))
      return Effect.gen(function*() {
        const api = server.client.pipe(AccessTokenHttpClient.make(retriever().retrieve))
        const response = yield* api.post(url, { body: body() })
        assert.strictEqual(response.status, 401)
        assert.deepStrictEqual(yield* response.json, { error: "invalid_token" })
        assert.strictEqual(server.seen.length, 1)
        yield* api.post(url, { body: AccessTokenHttpClient.replayable(body()) })
        assert.strictEqual(server.seen.length, 3)
      })
    })

    for (
      const [name, body, resent] of [
        ["text", HttpBody.text("x"), true],
        ["JSON", HttpBody.unsafeJson({ a: 1 }), true],
        ["bytes", HttpBody.uint8Array(new Uint8Array(3)), true],
        ["form data", HttpBody.formData(new FormData()), true],
        ["a raw string", HttpBody.raw("x"), true],
        ["a raw stream", HttpBody.raw(new ReadableStream()), false],
        ["a raw object of another kind", HttpBody.raw({ read: () => undefined }), false]
      ] as const
    ) {
      it.effect(`of a request with ${name} is ${resent ? "healed" : "returned"}`, () => {
        const server = stub((_, number) => number === 1 ? unauthorized() : ok())
        return Effect.gen(function*() {
          const api = server.client.pipe(AccessTokenHttpClient.make(retriever().retrieve))
          assert.strictEqual((yield* api.post(url, { body })).status, resent ? 200 : 401)
        })
      })
    }
  })

  describe("where a token may go", () => {
    const send = (to: string, middleware: AccessTokenHttpClient.Options = {}) => {
      const server = stub(ok)
      const api = server.client.pipe(AccessTokenHttpClient.make(retriever().retrieve, middleware))
      return Effect.map(Effect.either(api.get(to)), (result) => ({ result, sent: authorization(server) }))
    }

    it.effect("not over http:, but on loopback and where it is allowed", () =>
      Effect.gen(function*() {
        const refused = yield* send("http://api.test/x")
        assert.strictEqual(refused.result._tag === "Left" && refused.result.left._tag, "OriginNotAllowed")
        assert.deepStrictEqual(refused.sent, [])
        for (const host of ["localhost", "127.0.0.1", "127.8.9.1:8080", "[::1]:80", "app.localhost"]) {
          assert.deepStrictEqual((yield* send(`http://${host}/x`)).sent, ["Bearer t1"])
        }
        for (const host of ["localhost.evil.test", "127.0.0.1.evil.test", "evil.test"]) {
          assert.deepStrictEqual((yield* send(`http://${host}/x`)).sent, [])
        }
        assert.deepStrictEqual((yield* send("http://api.test/x", { allowInsecure: true })).sent, ["Bearer t1"])
      }))

    it.effect("only to allowedOrigins where they are named", () =>
      Effect.gen(function*() {
        const allowedOrigins = ["https://api.test", "https://other.test:8443/"]
        assert.deepStrictEqual((yield* send(url, { allowedOrigins })).sent, ["Bearer t1"])
        assert.deepStrictEqual((yield* send("https://other.test:8443/x", { allowedOrigins })).sent, ["Bearer t1"])
        for (const to of ["https://other.test/x", "https://api.test.evil.test/", "https://api.test@evil.test/"]) {
          assert.deepStrictEqual((yield* send(to, { allowedOrigins })).sent, [])
        }
      }))

    it("says at once which of allowedOrigins is no origin [parity 129, 130]", () => {
      for (const origin of ["https://api.test/path", "api.test", "https://api.test?x", "ftp://api.test"]) {
        assert.throws(
          () => AccessTokenHttpClient.make(retriever().retrieve, { allowedOrigins: ["https://a.test/", origin] }),
          /allowedOrigins\[1\]: expected an origin/
        )
      }
    })
  })

  // Every order in which the combinators of the platform can stand around the middleware, and what the server saw.
  describe("order of combinators", () => {
    type Transform = (client: HttpClient.HttpClient) => HttpClient.HttpClient
    const retry: Transform = HttpClient.retry({ times: 2 })
    const retryTransient: Transform = HttpClient.retryTransient({ times: 2 })
    const redirects: Transform = HttpClient.followRedirects(5)
    const prepend: Transform = HttpClient.mapRequest(HttpClientRequest.prependUrl("https://a.test"))
    const filter: Transform = HttpClient.filterStatusOk
    const transform: Transform = HttpClient.transform((effect) => effect)
    const retryingTransform: Transform = HttpClient.transform((effect) => Effect.retry(effect, { times: 2 }))

    /** Every retrieval gives another value, as every attempt needs its own proof. */
    const counting = (): Transform => {
      let count = 0
      const middleware = AccessTokenHttpClient.make(() => Effect.sync(() => accessToken(`p${count++}`)))
      return (client) => middleware(client) as HttpClient.HttpClient
    }

    type Script = "503, 503, 200" | "down, down, 200" | "302 to b" | "302 to a, 302 to b, 302 to a"
    const server = (script: Script) =>
      stub((seen, number, request) => {
        const to = (location: string) => new Response(null, { status: 302, headers: { location } })
        const { host } = new URL(seen.url)
        switch (script) {
          case "503, 503, 200":
            return number < 3 ? json({}, { status: 503 }) : ok()
          case "down, down, 200":
            return number < 3 ? Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport" })) : ok()
          case "302 to b":
            return host === "a.test" ? to("https://b.test/y") : ok()
          case "302 to a, 302 to b, 302 to a":
            return number === 1
              ? to("https://a.test/second")
              : number === 2
              ? to("https://b.test/y")
              : number === 3
              ? to("https://a.test/third")
              : ok()
        }
      })

    const rows: ReadonlyArray<
      readonly [name: string, script: Script, around: (ours: Transform) => ReadonlyArray<Transform>, saw: string]
    > = [
      ["retryTransient, ours", "503, 503, 200", (ours) => [prepend, retryTransient, ours], "p0@a p1@a p2@a"],
      ["ours, retryTransient", "503, 503, 200", (ours) => [prepend, ours, retryTransient], "p0@a p1@a p2@a"],
      ["retryTransient, ours", "down, down, 200", (ours) => [prepend, retryTransient, ours], "p0@a p1@a p2@a"],
      ["ours, retryTransient", "down, down, 200", (ours) => [prepend, ours, retryTransient], "p0@a p1@a p2@a"],
      ["filter, ours, retry", "503, 503, 200", (ours) => [prepend, filter, ours, retry], "p0@a p1@a p2@a"],
      ["ours, filter, retry", "503, 503, 200", (ours) => [prepend, ours, filter, retry], "p0@a p1@a p2@a"],
      ["filter, retry, ours", "503, 503, 200", (ours) => [prepend, filter, retry, ours], "p0@a p1@a p2@a"],
      ["retry, ours, filter", "down, down, 200", (ours) => [prepend, retry, ours, filter], "p0@a p1@a p2@a"],
      ["ours, retrying transform", "down, down, 200", (ours) => [prepend, ours, retryingTransform], "p0@a p1@a p2@a"],
      ["ours, transform, retry", "down, down, 200", (ours) => [prepend, ours, transform, retry], "p0@a p1@a p2@a"],
      ["transform, ours, retry", "down, down, 200", (ours) => [prepend, transform, ours, retry], "p0@a p1@a p2@a"],
      ["ours, prepend", "302 to b", (ours) => [ours, prepend], "p0@a"],
      ["prepend, ours", "302 to b", (ours) => [prepend, ours], "p0@a"],
      ["ours, redirects", "302 to b", (ours) => [prepend, ours, redirects], "p0@a -@b"],
      ["ours, prepend, redirects", "302 to b", (ours) => [ours, prepend, redirects], "p0@a -@b"],
      ["ours, redirects, prepend", "302 to b", (ours) => [ours, redirects, prepend], "p0@a -@b"],
      ["ours, retry, redirects", "302 to b", (ours) => [prepend, ours, retry, redirects], "p0@a -@b"],
      ["ours, redirects, retry", "302 to b", (ours) => [prepend, ours, redirects, retry], "p0@a -@b"],
      ["ours, transform, redirects", "302 to b", (ours) => [prepend, ours, transform, redirects], "p0@a -@b"],
      ["ours, filter, redirects", "302 to b", (ours) => [prepend, ours, redirects, filter], "p0@a -@b"],
      // A new proof for the new URL of the same origin; no way back once an execution has left its origin.
      [
        "ours, redirects",
        "302 to a, 302 to b, 302 to a",
        (ours) => [prepend, ours, redirects],
        "p0@a p1@a -@b -@a"
      ]
    ]

    for (const [name, script, around, saw] of rows) {
      it.effect(`${name}: ${script}`, () => {
        const target = server(script)
        const api = around(counting()).reduce((client, apply) => apply(client), target.client)
        const words = (seen: Seen) =>
          `${seen.headers.authorization?.replace("Bearer ", "") ?? "-"}@${new URL(seen.url).host.replace(".test", "")}`
        return Effect.gen(function*() {
          // One request value, executed again: an execution does not learn from the one before.
          const request = HttpClientRequest.get("/x")
          yield* Effect.ignore(api.execute(request))
          assert.strictEqual(target.seen.map(words).join(" "), saw)
          const before = target.seen.length
          yield* Effect.ignore(api.execute(request))
          assert.notStrictEqual(target.seen[before]?.headers.authorization, undefined)
        })
      })
    }

    it.effect("a redirect that answers a healed call goes without the token, too", () => {
      const target = stub((seen) =>
        seen.url === "https://a.test/x"
          ? seen.headers.authorization === "Bearer t1"
            ? unauthorized()
            : new Response(null, { status: 302, headers: { location: "https://b.test/y" } })
          : ok()
      )
      const api = target.client.pipe(AccessTokenHttpClient.make(retriever().retrieve), HttpClient.followRedirects())
      return Effect.gen(function*() {
        yield* api.get("https://a.test/x")
        assert.deepStrictEqual(authorization(target), ["Bearer t1", "Bearer t2", undefined])
      })
    })

    it.effect("a redirect out of allowedOrigins is refused", () => {
      const target = server("302 to b")
      const api = target.client.pipe(
        AccessTokenHttpClient.make(retriever().retrieve, { allowedOrigins: ["https://a.test"] }),
        HttpClient.followRedirects()
      )
      return Effect.gen(function*() {
        const error = yield* Effect.flip(api.get("https://a.test/x"))
        assert.strictEqual(error._tag, "OriginNotAllowed")
        assert.strictEqual(target.seen.length, 1)
      })
    })

    it.effect("a call elsewhere with the same headers is no redirect", () => {
      const target = server("302 to b")
      const api = target.client.pipe(AccessTokenHttpClient.make(retriever().retrieve), HttpClient.followRedirects())
      return Effect.gen(function*() {
        yield* api.get("https://a.test/x")
        yield* api.get("https://c.test/x")
        assert.deepStrictEqual(authorization(target), ["Bearer t1", undefined, "Bearer t1"])
      })
    })
  })

  describe("asHttpClient", () => {
    const failing = (error: OAuthError.AccessTokenError) => {
      let asked = 0
      const server = stub(ok)
      const client = server.client.pipe(
        AccessTokenHttpClient.make(() =>
          Effect.suspend(() => {
            asked++
            return Effect.fail(error)
          })
        ),
        AccessTokenHttpClient.asHttpClient,
        HttpClient.retryTransient({ times: 2 })
      )
      return Effect.map(Effect.flip(client.get(url)), (failure) => ({ failure, asked, error }))
    }

    it.effect("is repeated by retryTransient when it is transient", () =>
      Effect.gen(function*() {
        const { asked, error, failure } = yield* failing(
          new OAuthError.TokenTransportError({ clientName: "worker", endpoint: "as", reason: "Connection" })
        )
        assert.strictEqual(failure._tag, "RequestError")
        assert.strictEqual(failure.cause, error)
        assert.strictEqual(failure.request.url, url)
        assert.strictEqual(asked, 3)
      }))

    it.effect("is not repeated when it is permanent", () =>
      Effect.gen(function*() {
        const { asked, failure } = yield* failing(new OAuthError.TokenClientNotFound({ clientName: "x", known: [] }))
        assert.strictEqual(failure._tag === "RequestError" && failure.reason, "Encode")
        assert.strictEqual(asked, 1)
      }))
  })

  it.effect("layer puts tokens on the HttpClient of a program", () => {
    const server = both(ok)
    return Effect.gen(function*() {
      yield* HttpClient.get(url)
      assert.deepStrictEqual(server.bearers(), ["Bearer token-1"])
    }).pipe(
      Effect.provide(AccessTokenHttpClient.layer("worker", { scope: "s" }).pipe(Layer.provide(services(server))))
    )
  })

  it.effect("attach puts a token that was got by hand on one request", () =>
    Effect.gen(function*() {
      const request = yield* AccessTokenHttpClient.attach(accessToken("by-hand"))(HttpClientRequest.get(url))
      assert.strictEqual(request.headers.authorization, "Bearer by-hand")
      const refused = yield* Effect.flip(
        AccessTokenHttpClient.attach(accessToken("by-hand"))(HttpClientRequest.get("http://api.test"))
      )
      assert.strictEqual(refused._tag, "OriginNotAllowed")
    }))

  it.effect("a token type becomes a scheme without error [parity 112]", () =>
    Effect.gen(function*() {
      const request = yield* AccessTokenHttpClient.attach(accessToken("x", "MAC"))(HttpClientRequest.get(url))
      assert.strictEqual(request.headers.authorization, "MAC x")
    }))

  it.effect("a client that is not made by the platform is wrapped as a whole", () => {
    const server = stub(ok)
    const foreign: HttpClient.HttpClient = { ...server.client, execute: server.client.execute } as HttpClient.HttpClient
    delete (foreign as { postprocess?: unknown }).postprocess
    return Effect.gen(function*() {
      yield* AccessTokenHttpClient.make(retriever().retrieve)(foreign).execute(HttpClientRequest.get(url))
      assert.deepStrictEqual(authorization(server), ["Bearer t1"])
    })
  })

  it.effect("keeps the tokens of two clients apart", () => {
    const server = both(ok)
    return Effect.gen(function*() {
      const http = yield* HttpClient.HttpClient
      const one = http.pipe(yield* AccessTokenHttpClient.clientCredentials("one"))
      const two = http.pipe(yield* AccessTokenHttpClient.clientCredentials("two"))
      yield* one.get(url)
      yield* two.get(url)
      yield* one.get(url)
      assert.deepStrictEqual(server.bearers(), ["Bearer token-1", "Bearer token-2", "Bearer token-1"])
    }).pipe(Effect.provide(services(server, { one: options, two: options })))
  })
})
