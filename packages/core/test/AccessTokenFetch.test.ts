import { AccessToken, AccessTokenFetch, OAuth, OAuthError, OAuthValues, TokenClients } from "@effect-oauth/core"
import type { TokenRetriever } from "@effect-oauth/core"
import { FetchHttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Effect, Layer, ManagedRuntime, Redacted, type Scope } from "effect"
import { decodeJwt } from "jose"
import * as http from "node:http"
import { inspect } from "node:util"
import { listen, stop } from "../../../examples/servers/listening.ts"

interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

interface Answer {
  readonly status?: number
  readonly headers?: http.OutgoingHttpHeaders
  readonly body?: string
}

interface Server {
  readonly url: string
  readonly seen: Array<Seen>
}

const bodyOf = async (request: http.IncomingMessage): Promise<string> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

/** A real server on loopback; no answer at all where there is none. */
const serve = (answer: (seen: Seen, number: number) => Answer | undefined): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const seen: Array<Seen> = []
    const server = http.createServer(async (request, response) => {
      const one = {
        method: request.method!,
        path: request.url!,
        headers: request.headers,
        body: await bodyOf(request)
      }
      seen.push(one)
      const { body, headers, status = 200 } = answer(one, seen.length) ?? {}
      if (answer(one, seen.length) !== undefined) response.writeHead(status, headers).end(body)
    })
    const port = yield* Effect.acquireRelease(listen(server, 0), () => stop(server))
    return { url: `http://127.0.0.1:${port}`, seen }
  })

/** Gives out t1, t2, … */
const tokenServer = (type: string) => {
  let number = 0
  let asked = 0
  return serve((_, count) => {
    if (count > asked) {
      asked = count
      number++
    }
    return { body: JSON.stringify({ access_token: `t${number}`, token_type: type, expires_in: 60 }) }
  })
}

/** Tokens of a real token endpoint. */
const setUp = (answer: (seen: Seen, number: number) => Answer | undefined, options: {
  readonly dpop?: boolean
  readonly fetch?: AccessTokenFetch.Options
} = {}) =>
  Effect.gen(function*() {
    const dpop = options.dpop === true
    const tokens = yield* tokenServer(dpop ? "DPoP" : "Bearer")
    const clients = TokenClients.layer({
      api: { tokenEndpoint: `${tokens.url}/token`, clientId: "c", ...(dpop ? { dpop } : {}) }
    })
    const layer = OAuth.layer.pipe(Layer.provideMerge(clients), Layer.provideMerge(FetchHttpClient.layer))
    const runtime = yield* Effect.acquireRelease(
      Effect.sync(() => ManagedRuntime.make(layer)),
      (made) => Effect.promise(() => made.dispose())
    )
    const api = yield* serve(answer)
    const fetch = AccessTokenFetch.fromRuntime(
      runtime,
      AccessTokenFetch.clientCredentials("api", undefined, options.fetch)
    )
    return { api, fetch, runtime, tokens }
  })

const token = (value: string, type: "Bearer" | "DPoP" = "Bearer") =>
  new AccessToken.AccessToken({
    value: Redacted.make(value),
    type: OAuthValues.TokenType.make(type),
    clientName: "c",
    obtainedAt: DateTime.unsafeMake(0)
  })

const fixed = (value = "fixed", options?: AccessTokenFetch.Options) =>
  AccessTokenFetch.make(() => Effect.succeed(token(value)), options)

const run = <A>(promise: () => Promise<A>) => Effect.tryPromise({ try: promise, catch: (error) => error })
const failed = (promise: () => Promise<unknown>) => Effect.flip(run(promise))

const ok = () => ({ body: "ok" })
const not = (value: string) => ({ headers }: Seen): Answer =>
  headers.authorization === `Bearer ${value}` ? { status: 401, body: "no" } : { body: "ok" }
const sentOf = ({ seen }: Server) => seen.map(({ headers }) => headers.authorization)

describe("AccessTokenFetch", () => {
  it.scopedLive("puts the token of the named client on what the caller sends", () =>
    Effect.gen(function*() {
      const { api, fetch, tokens } = yield* setUp(ok)
      const response = yield* run(() =>
        fetch(new URL(`${api.url}/a?b=c#d`), {
          method: "post",
          headers: { "x-own": "1", authorization: "Basic mine" },
          body: "text"
        })
      )
      yield* run(() => fetch(`${api.url}/plain`))
      assert.deepStrictEqual([response.status, yield* run(() => response.text())], [200, "ok"])
      assert.deepStrictEqual([response.url, response.redirected], [`${api.url}/a?b=c`, false])
      const [first] = api.seen
      assert.deepStrictEqual([first?.method, first?.path, first?.body, first?.headers["x-own"]], [
        "POST",
        "/a?b=c",
        "text",
        "1"
      ])
      assert.deepStrictEqual(sentOf(api), ["Bearer t1", "Bearer t1"])
      assert.strictEqual(tokens.seen.length, 1)
    }))

  it.scopedLive("takes a Request, and what comes beside it wins", () =>
    Effect.gen(function*() {
      const { api, fetch } = yield* setUp(ok)
      const request = new Request(`${api.url}/r`, { method: "PUT", headers: { "x-own": "1" }, body: "text" })
      yield* run(() => fetch(request))
      yield* run(() =>
        fetch(new Request(`${api.url}/s`, { method: "PUT" }), { method: "DELETE", body: undefined as never })
      )
      assert.deepStrictEqual(
        api.seen.map(({ body, headers, method, path }) => [method, path, body, headers["x-own"]]),
        [
          ["PUT", "/r", "text", "1"],
          ["DELETE", "/s", "", undefined]
        ]
      )
    }))

  describe("a 401", () => {
    const bodies: ReadonlyArray<readonly [string, BodyInit | undefined, string]> = [
      ["no body", undefined, ""],
      ["a string", "text", "text"],
      ["bytes", new TextEncoder().encode("text"), "text"],
      ["URLSearchParams", new URLSearchParams({ a: "b" }), "a=b"],
      ["a Blob", new Blob(["text"]), "text"]
    ]
    for (const [what, body, expected] of bodies) {
      it.scopedLive(`is healed once, with ${what}`, () =>
        Effect.gen(function*() {
          const { api, fetch, tokens } = yield* setUp(not("t1"))
          const response = yield* run(() => fetch(api.url, body === undefined ? {} : { method: "POST", body }))
          assert.deepStrictEqual([response.status, yield* run(() => response.text())], [200, "ok"])
          assert.deepStrictEqual(sentOf(api), ["Bearer t1", "Bearer t2"])
          assert.deepStrictEqual(api.seen.map((seen) => seen.body), [expected, expected])
          assert.strictEqual(tokens.seen.length, 2)
        }))
    }

    it.scopedLive("that stays is returned, and can be read", () =>
      Effect.gen(function*() {
        const { api, fetch } = yield* setUp(() => ({ status: 401, body: "no", headers: { "x-why": "revoked" } }))
        const response = yield* run(() => fetch(`${api.url}/x`))
        assert.deepStrictEqual([response.status, response.headers.get("x-why"), yield* run(() => response.text())], [
          401,
          "revoked",
          "no"
        ])
        assert.deepStrictEqual(sentOf(api), ["Bearer t1", "Bearer t2"])
      }))

    it.scopedLive("for which there is no other token is the first one, and can be read", () =>
      Effect.gen(function*() {
        const api = yield* serve(() => ({ status: 401, body: "no", headers: { "x-why": "revoked" } }))
        const fetch = yield* fixed()
        const response = yield* run(() => fetch(`${api.url}/x`))
        assert.deepStrictEqual(
          [response.status, response.url, response.headers.get("x-why"), yield* run(() => response.text())],
          [401, `${api.url}/x`, "revoked", "no"]
        )
        assert.strictEqual(api.seen.length, 1)
      }))

    for (const kind of ["a stream", "a Request"] as const) {
      it.scopedLive(`is returned where the body is that of ${kind}`, () =>
        Effect.gen(function*() {
          const { api, fetch } = yield* setUp(not("t1"))
          const body = new Blob(["text"]).stream()
          const response = yield* run(() =>
            kind === "a stream"
              ? fetch(api.url, { method: "POST", body })
              : fetch(new Request(api.url, { method: "POST", body: "text" }))
          )
          assert.deepStrictEqual([response.status, yield* run(() => response.text())], [401, "no"])
          assert.deepStrictEqual(api.seen.map((seen) => seen.body), ["text"])
        }))
    }

    it.scopedLive("of a hundred calls at once costs one token", () =>
      Effect.gen(function*() {
        const { api, fetch, tokens } = yield* setUp(not("t1"))
        const responses = yield* run(() => Promise.all(Array.from({ length: 100 }, () => fetch(api.url))))
        assert.deepStrictEqual(new Set(responses.map(({ status }) => status)), new Set([200]))
        assert.strictEqual(tokens.seen.length, 2)
      }))
  })

  describe("a redirect", () => {
    const leading = (location: string, status = 302) => ({ path }: Seen): Answer =>
      path === "/from" ? { status, headers: { location } } : { body: "there" }

    it.scopedLive("is followed with the token within the origin", () =>
      Effect.gen(function*() {
        const { api, fetch } = yield* setUp(leading("/to?a=b"))
        const response = yield* run(() => fetch(`${api.url}/from`))
        assert.deepStrictEqual([response.redirected, response.url, yield* run(() => response.text())], [
          true,
          `${api.url}/to?a=b`,
          "there"
        ])
        assert.deepStrictEqual(sentOf(api), ["Bearer t1", "Bearer t1"])
      }))

    it.scopedLive("to another origin is followed without anything that is secret, and does not get it back", () =>
      Effect.gen(function*() {
        let home = ""
        const other = yield* serve(({ path }) =>
          path === "/to" ? { status: 302, headers: { location: `${home}/back` } } : ok()
        )
        const { api, fetch } = yield* setUp(leading(`${other.url}/to`))
        home = api.url
        yield* run(() => fetch(`${api.url}/from`, { headers: { cookie: "mine", "x-own": "1" } }))
        const [away] = other.seen
        assert.deepStrictEqual([away?.headers.authorization, away?.headers.cookie, away?.headers["x-own"]], [
          undefined,
          undefined,
          "1"
        ])
        assert.deepStrictEqual(api.seen.map(({ path }) => path), ["/from", "/back"])
        assert.deepStrictEqual(sentOf(api), ["Bearer t1", undefined])
      }))

    it.scopedLive("is not followed to where tokens are not allowed", () =>
      Effect.gen(function*() {
        const other = yield* serve(ok)
        const api = yield* serve(leading(`${other.url}/to`))
        const fetch = yield* fixed("fixed", { allowedOrigins: [api.url] })
        const error = yield* failed(() => fetch(`${api.url}/from`))
        assert.instanceOf(error, OAuthError.OriginNotAllowed)
        assert.deepStrictEqual(other.seen, [])
      }))

    const methods: ReadonlyArray<readonly [number, string, string, string]> = [
      [301, "POST", "GET", ""],
      [302, "POST", "GET", ""],
      [302, "PUT", "PUT", "text"],
      [303, "PUT", "GET", ""],
      [307, "POST", "POST", "text"],
      [308, "POST", "POST", "text"]
    ]
    for (const [status, method, then, body] of methods) {
      it.scopedLive(`of status ${status} makes of ${method} a ${then}`, () =>
        Effect.gen(function*() {
          const { api, fetch } = yield* setUp(leading("/to", status))
          yield* run(() => fetch(`${api.url}/from`, { method, body: "text", headers: { "content-type": "text/x" } }))
          const last = api.seen[1]
          assert.deepStrictEqual([last?.method, last?.body, last?.headers["content-type"] !== undefined], [
            then,
            body,
            body !== ""
          ])
        }))
    }

    it.scopedLive("is an error where it cannot be followed", () =>
      Effect.gen(function*() {
        const streamed = yield* setUp(leading("/to", 307))
        const strange = yield* setUp(leading("ftp://127.0.0.1/to"))
        const endless = yield* setUp(leading("/from"))
        const unwanted = yield* setUp(leading("/to"))
        const errors = [
          yield* failed(() =>
            streamed.fetch(`${streamed.api.url}/from`, { method: "POST", body: new Blob(["text"]).stream() })
          ),
          yield* failed(() => strange.fetch(`${strange.api.url}/from`)),
          yield* failed(() => endless.fetch(`${endless.api.url}/from`)),
          yield* failed(() => unwanted.fetch(`${unwanted.api.url}/from`, { redirect: "error" }))
        ]
        for (const error of errors) assert.instanceOf(error, TypeError)
        assert.deepStrictEqual([streamed, strange, endless, unwanted].map(({ api }) => api.seen.length), [1, 1, 21, 1])
      }))

    it.scopedLive("is returned where that is wanted", () =>
      Effect.gen(function*() {
        const { api, fetch } = yield* setUp(leading("/to"))
        const response = yield* run(() => fetch(`${api.url}/from`, { redirect: "manual" }))
        assert.deepStrictEqual([response.status, response.headers.get("location")], [302, "/to"])
        assert.strictEqual(api.seen.length, 1)
      }))

    it.scopedLive("of a transport that hides where it leads is an error", () =>
      Effect.gen(function*() {
        const hidden = Object.defineProperties(Response.error(), { type: { value: "opaqueredirect" } })
        const fetch = yield* fixed("fixed", { fetch: () => Promise.resolve(hidden) })
        assert.instanceOf(yield* failed(() => fetch("https://api.test/")), TypeError)
      }))

    it.scopedLive("that ends in a 401 twice costs one other token", () =>
      Effect.gen(function*() {
        const { api, fetch, tokens } = yield* setUp(({ headers, path }) => {
          if (headers.authorization === "Bearer t1" || path === "/to") return { status: 401 }
          return { status: 302, headers: { location: "/to" } }
        })
        assert.strictEqual((yield* run(() => fetch(`${api.url}/from`))).status, 401)
        assert.deepStrictEqual(sentOf(api), ["Bearer t1", "Bearer t2", "Bearer t2"])
        assert.strictEqual(tokens.seen.length, 2)
      }))
  })

  it.scopedLive("sends DPoP tokens with a proof for each attempt and hop, and takes up nonces", () =>
    Effect.gen(function*() {
      const proofOf = ({ headers }: Seen) => decodeJwt(String(headers.dpop))
      const { api, fetch } = yield* setUp((seen) => {
        if (proofOf(seen).nonce !== "n1") {
          return { status: 401, headers: { "www-authenticate": `DPoP error="use_dpop_nonce"`, "dpop-nonce": "n1" } }
        }
        return seen.path === "/from" ? { status: 302, headers: { location: "/to?a=b" } } : ok()
      }, { dpop: true })
      assert.strictEqual((yield* run(() => fetch(`${api.url}/from`))).status, 200)
      assert.deepStrictEqual(sentOf(api), Array(3).fill("DPoP t1"))
      assert.deepStrictEqual(
        api.seen.map((seen) => [proofOf(seen).htm, proofOf(seen).htu, proofOf(seen).nonce]),
        [
          ["GET", `${api.url}/from`, undefined],
          ["GET", `${api.url}/from`, "n1"],
          ["GET", `${api.url}/to`, "n1"]
        ]
      )
    }))

  describe("rejects with", () => {
    it.scopedLive("the typed error of the retriever, and sends nothing", () =>
      Effect.gen(function*() {
        const lasting = new OAuthError.TokenEndpointError({
          clientName: "c",
          endpoint: "https://as.test/token",
          status: 400,
          error: "invalid_scope"
        })
        const api = yield* serve(ok)
        const fetch = yield* AccessTokenFetch.make(() => Effect.fail(lasting))
        assert.strictEqual(yield* failed(() => fetch(api.url)), lasting)
        assert.deepStrictEqual(api.seen, [])
      }))

    it.scopedLive("OriginNotAllowed and KeyBindingMismatch", () =>
      Effect.gen(function*() {
        const fetch = yield* fixed("fixed", { allowedOrigins: ["https://api.test"] })
        assert.instanceOf(yield* failed(() => fetch("https://other.test/")), OAuthError.OriginNotAllowed)
        const open = yield* fixed()
        assert.instanceOf(yield* failed(() => open("http://api.test/")), OAuthError.OriginNotAllowed)
        assert.instanceOf(yield* failed(() => open("data:text/plain,x")), OAuthError.OriginNotAllowed)
        const bound = yield* AccessTokenFetch.make(() => Effect.succeed(token("bound", "DPoP")))
        assert.instanceOf(yield* failed(() => bound("https://api.test/")), OAuthError.KeyBindingMismatch)
      }))

    it.scopedLive("what fetch rejects with, which knows nothing of the token", () =>
      Effect.gen(function*() {
        const fetch = yield* fixed("marked")
        const error = yield* failed(() => fetch("http://127.0.0.1:9/"))
        assert.instanceOf(error, TypeError)
        assert.notInclude(inspect(error, { depth: 20, showHidden: true }), "marked")
        assert.instanceOf(yield* failed(() => fetch("no url")), TypeError)
      }))

    it.scopedLive("what making it fails with, and is made by the next call", () =>
      Effect.gen(function*() {
        const { api, runtime } = yield* setUp(ok)
        let attempts = 0
        const fetch = AccessTokenFetch.fromRuntime(
          runtime,
          Effect.suspend(() => AccessTokenFetch.clientCredentials(attempts++ === 0 ? "unknown" : "api"))
        )
        assert.instanceOf(yield* failed(() => fetch(api.url)), OAuthError.TokenClientNotFound)
        assert.strictEqual((yield* run(() => fetch(api.url))).status, 200)
        yield* run(() => fetch(api.url))
        assert.strictEqual(attempts, 2)
      }))

    it.scopedLive("a typed error when its runtime is gone", () =>
      Effect.gen(function*() {
        const { api, fetch, runtime } = yield* setUp(ok)
        yield* run(() => fetch(api.url))
        yield* run(() => runtime.dispose())
        assert.isTrue(OAuthError.isAccessTokenError(yield* failed(() => fetch(api.url))))
        assert.strictEqual(api.seen.length, 1)
      }))
  })

  describe("the signal", () => {
    const reason = new Error("enough")

    it.scopedLive("ends the wait for a token", () =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const retriever: TokenRetriever.TokenRetriever = () =>
          Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
          )
        const fetch = yield* AccessTokenFetch.make(retriever)
        const controller = new AbortController()
        const [error] = yield* Effect.all([
          failed(() => fetch("https://api.test/", { signal: controller.signal })),
          Effect.map(Deferred.await(asked), () => controller.abort(reason))
        ], { concurrency: 2 })
        assert.strictEqual(error, reason)
        yield* Deferred.await(interrupted)
        assert.strictEqual(yield* failed(() => fetch("https://api.test/", { signal: controller.signal })), reason)
      }))

    it.scopedLive("ends the request", () =>
      Effect.gen(function*() {
        const controller = new AbortController()
        const api = yield* serve(() => {
          setImmediate(() => controller.abort(reason))
          return undefined
        })
        const fetch = yield* fixed()
        assert.strictEqual(
          yield* failed(() => fetch(new Request(api.url, { signal: controller.signal }))),
          reason
        )
      }))

    it.scopedLive("ends the reading of the answer", () =>
      Effect.gen(function*() {
        const controller = new AbortController()
        const api = yield* serve(() => ({ headers: { "content-length": 10 }, body: "half" }))
        const fetch = yield* fixed()
        const response = yield* run(() => fetch(api.url, { signal: controller.signal }))
        const reading = failed(() => response.text())
        const [error] = yield* Effect.all([reading, Effect.sync(() => controller.abort(reason))], { concurrency: 2 })
        assert.strictEqual(error, reason)
      }))
  })
})
