import {
  type CallOptions,
  type Client,
  Code,
  type ConnectError,
  createClient,
  type Interceptor
} from "@connectrpc/connect"
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node"
import { AccessToken, OAuthError, OAuthValues, TokenClients, type TokenRetriever } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as ConnectInterceptor from "@effect-oauth/platform-node/ConnectInterceptor"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Deferred, Effect, Layer, Redacted } from "effect"
import { calculateJwkThumbprint, decodeJwt, decodeProtectedHeader } from "jose"
import * as Certificates from "../../../examples/servers/certificates.ts"
import { type Behaviour, Echo, serve } from "./support/connectServer.ts"
import { listen } from "./support/listen.ts"
import { printed } from "./support/printed.ts"

type Protocol = "Connect over HTTP/1.1" | "Connect over HTTP/2" | "gRPC" | "gRPC-Web"
const protocols: ReadonlyArray<Protocol> = ["Connect over HTTP/1.1", "Connect over HTTP/2", "gRPC", "gRPC-Web"]

type EchoClient = Client<typeof Echo>

/** Gives out t1, t2, … */
const tokenEndpoint = (type = "Bearer") =>
  Effect.gen(function*() {
    const given = { number: 0 }
    const url = yield* listen((_, response) =>
      void response.end(JSON.stringify({ access_token: `t${++given.number}`, token_type: type, expires_in: 60 }))
    )
    return { given, url: `${url}/token` }
  })

const token = (value: string, type: "Bearer" | "DPoP" = "Bearer") =>
  new AccessToken.AccessToken({
    value: Redacted.make(value),
    type: OAuthValues.TokenType.make(type),
    clientName: "c",
    obtainedAt: DateTime.unsafeMake(0)
  })

const transportOf = (protocol: Protocol, baseUrl: string, ca: string, interceptor: Interceptor) => {
  const options = { baseUrl, interceptors: [interceptor], nodeOptions: { ca } }
  switch (protocol) {
    case "Connect over HTTP/1.1":
      return createConnectTransport({ baseUrl, interceptors: [interceptor], httpVersion: "1.1" })
    case "Connect over HTTP/2":
      return createConnectTransport({ ...options, httpVersion: "2" })
    case "gRPC":
      return createGrpcTransport(options)
    case "gRPC-Web":
      return createGrpcWebTransport({ ...options, httpVersion: "2" })
  }
}

const connect = (behaviour: Behaviour, interceptor: Interceptor, protocol: Protocol) =>
  Effect.gen(function*() {
    const authority = yield* Certificates.makeAuthority()
    const certificate = protocol === "Connect over HTTP/1.1" ? undefined : yield* authority.server()
    const server = yield* serve(behaviour, certificate)
    return { server, client: createClient(Echo, transportOf(protocol, server.url, authority.certificate, interceptor)) }
  })

/** A server, and a client of it whose tokens come from a real token endpoint. */
const setUp = (
  behaviour: Behaviour,
  protocol: Protocol = "Connect over HTTP/2",
  options?: ConnectInterceptor.Options,
  dpop = false
) =>
  Effect.gen(function*() {
    const { given, url } = yield* tokenEndpoint(dpop ? "DPoP" : "Bearer")
    const clients = TokenClients.layer({ api: { tokenEndpoint: url, clientId: "c", ...(dpop ? { dpop } : {}) } })
    const context = yield* Layer.build(NodeOAuth.layer.pipe(Layer.provideMerge(clients)))
    const interceptor = yield* Effect.provide(ConnectInterceptor.clientCredentials("api", undefined, options), context)
    return { given, ...(yield* connect(behaviour, interceptor, protocol)) }
  })

const withRetriever = <E>(behaviour: Behaviour, retriever: TokenRetriever.TokenRetriever<E>) =>
  Effect.flatMap(
    ConnectInterceptor.make(retriever),
    (interceptor) => connect(behaviour, interceptor, "Connect over HTTP/2")
  )

const anything: Behaviour = {
  refuses: ({ header }) => header.has("authorization") ? undefined : {}
}
const not = (value: string): Behaviour => ({
  refuses: ({ header }) => header.get("authorization") === `Bearer ${value}` ? {} : undefined
})
const never: Behaviour = { refuses: () => ({ reason: "revoked" }) }

const call = <A>(run: () => Promise<A>): Effect.Effect<A, ConnectError> =>
  Effect.tryPromise({ try: run, catch: (error) => error as ConnectError })

const say = (client: EchoClient, text: string, options?: CallOptions) =>
  Effect.map(call(() => client.say({ value: text }, options)), ({ value }) => value)

/** What a stream gave until its end. */
const collected = (stream: AsyncIterable<{ readonly value: string }>) =>
  Effect.gen(function*() {
    const words: Array<string> = []
    const error = yield* call(async () => {
      for await (const { value } of stream) words.push(value)
    }).pipe(Effect.flip, Effect.option, Effect.map((option) => option._tag === "Some" ? option.value : undefined))
    return { words, error }
  })

async function* texts(...values: ReadonlyArray<string>) {
  for (const value of values) yield { value }
}

const sentOf = (seen: ReadonlyArray<{ readonly header: Headers }>) =>
  seen.map(({ header }) => header.get("authorization"))

describe("a token that the server repeats", () => {
  it.scopedLive("is in no error", () =>
    Effect.gen(function*() {
      const echoing: Behaviour = { refuses: ({ header }) => ({ echo: header.get("authorization") ?? "" }) }
      const { client } = yield* withRetriever(echoing, () => Effect.succeed(token("5ecr3t-token-of-the-call")))
      const error = yield* Effect.flip(say(client, "hello"))
      const { error: streamed } = yield* collected(client.count({ value: "3" }))
      assert.isDefined(streamed)
      for (const one of [error, streamed!]) {
        assert.strictEqual(one.rawMessage, "Bearer <redacted>")
        assert.strictEqual(one.metadata.get("echo"), "Bearer <redacted>")
        assert.notInclude(printed(one), "5ecr3t")
      }
    }))
})

describe("ConnectInterceptor", () => {
  for (const protocol of protocols) {
    describe(protocol, () => {
      it.scopedLive("puts a token on every call", () =>
        Effect.gen(function*() {
          const { client, given, server } = yield* setUp(anything, protocol)
          assert.strictEqual(yield* say(client, "hello"), "you said hello")
          assert.deepStrictEqual(yield* collected(client.count({ value: "3" })), {
            words: ["1", "2", "3"],
            error: undefined
          })
          assert.strictEqual((yield* call(() => client.collect(texts("a", "b")))).value, "a b")
          if (protocol !== "Connect over HTTP/1.1") {
            assert.deepStrictEqual((yield* collected(client.talk(texts("who", "why")))).words, ["who?", "why?"])
          }
          assert.deepStrictEqual(new Set(sentOf(server.seen)), new Set(["Bearer t1"]))
          assert.strictEqual(given.number, 1)
        }))

      it.scopedLive("heals Unauthenticated of unary calls, once", () =>
        Effect.gen(function*() {
          const { client, given, server } = yield* setUp(not("t1"), protocol)
          assert.strictEqual(yield* say(client, "hello"), "you said hello")
          assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
          assert.strictEqual(given.number, 2)
          const refused = yield* setUp(never, protocol)
          const error = yield* Effect.flip(say(refused.client, "hello"))
          assert.deepStrictEqual([error.code, error.rawMessage], [Code.Unauthenticated, "this token is not good"])
          assert.strictEqual(error.metadata.get("reason"), "revoked")
          assert.deepStrictEqual(sentOf(refused.server.seen), ["Bearer t1", "Bearer t2"])
        }))

      it.scopedLive("heals it of server streams that have not begun, and of no others", () =>
        Effect.gen(function*() {
          const { client, server } = yield* setUp(not("t1"), protocol)
          assert.deepStrictEqual(yield* collected(client.count({ value: "3" })), {
            words: ["1", "2", "3"],
            error: undefined
          })
          assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])

          const begun = yield* setUp({ ...not("t1"), early: 2 }, protocol)
          const { error, words } = yield* collected(begun.client.count({ value: "1" }))
          assert.deepStrictEqual([words, error?.code], [["early 0", "early 1"], Code.Unauthenticated])
          assert.strictEqual(begun.given.number, 2)
          assert.strictEqual(yield* say(begun.client, "hello"), "you said hello")
          assert.deepStrictEqual(sentOf(begun.server.seen), ["Bearer t1", "Bearer t2"])
        }))

      it.scopedLive("does not send streams of the client again, and the next call succeeds", () =>
        Effect.gen(function*() {
          const { client, given, server } = yield* setUp(not("t1"), protocol)
          const error = yield* Effect.flip(call(() => client.collect(texts("a"))))
          assert.deepStrictEqual([error.code, given.number], [Code.Unauthenticated, 2])
          assert.strictEqual((yield* call(() => client.collect(texts("a")))).value, "a")
          assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
        }))

      it.scopedLive("sends DPoP tokens with proofs, and takes up nonces", () =>
        Effect.gen(function*() {
          const { client, server } = yield* setUp(
            {
              refuses: ({ header }) => {
                const proof = header.get("dpop")
                const isGood = proof !== null && decodeJwt(proof).nonce === "n1"
                return isGood ? undefined : { "www-authenticate": `DPoP error="use_dpop_nonce"`, "dpop-nonce": "n1" }
              }
            },
            protocol,
            {},
            true
          )
          assert.strictEqual(yield* say(client, "hello"), "you said hello")
          assert.strictEqual(yield* say(client, "again"), "you said again")
          assert.deepStrictEqual(sentOf(server.seen), Array(3).fill("DPoP t1"))
          const proofs = server.seen.map(({ header }) => header.get("dpop")!)
          assert.deepStrictEqual(proofs.map((proof) => decodeJwt(proof).nonce), [undefined, "n1", "n1"])
          for (const proof of proofs) {
            const { htm, htu } = decodeJwt(proof)
            assert.deepStrictEqual([htm, htu], ["POST", `${server.url}/test.Echo/Say`])
          }
          assert.strictEqual(new Set(proofs.map((proof) => decodeJwt(proof).jti)).size, 3)
          const thumbprints = yield* Effect.promise(() =>
            Promise.all(proofs.map((proof) => calculateJwkThumbprint(decodeProtectedHeader(proof).jwk!)))
          )
          assert.strictEqual(new Set(thumbprints).size, 1)
        }))
    })
  }

  it.scopedLive("streams of the client that a gateway refuses with 401 are not sent again either", () =>
    Effect.gen(function*() {
      const seen: Array<string | undefined> = []
      const baseUrl = yield* listen((request, response) => {
        seen.push(request.headers.authorization)
        request.resume().on("end", () => void response.writeHead(401).end())
      })
      const { given, url } = yield* tokenEndpoint()
      const clients = TokenClients.layer({ api: { tokenEndpoint: url, clientId: "c" } })
      const context = yield* Layer.build(NodeOAuth.layer.pipe(Layer.provideMerge(clients)))
      const interceptor = yield* Effect.provide(ConnectInterceptor.clientCredentials("api"), context)
      const client = createClient(
        Echo,
        createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors: [interceptor] })
      )
      const error = yield* Effect.flip(call(() => client.collect(texts("a"))))
      assert.deepStrictEqual([error.code, seen, given.number], [Code.Unauthenticated, ["Bearer t1"], 2])
    }))

  describe("where a token may go", () => {
    it.scopedLive("not beyond loopback in clear, nor to other origins than those that are allowed", () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        const retriever: TokenRetriever.TokenRetriever = ({ url }) => {
          asked.push(url)
          return Effect.succeed(token("fixed"))
        }
        const to = (baseUrl: string, options: ConnectInterceptor.Options) =>
          Effect.flatMap(ConnectInterceptor.make(retriever, options), (interceptor) =>
            Effect.flip(say(
              createClient(Echo, createConnectTransport({ baseUrl, httpVersion: "1.1", interceptors: [interceptor] })),
              "hello"
            )))
        const errors = [
          yield* to("http://api.test", {}),
          yield* to("https://api.test", { allowedOrigins: ["https://other.test"] })
        ]
        assert.deepStrictEqual(errors.map(({ code }) => code), Array(2).fill(Code.Unauthenticated))
        for (const { cause } of errors) assert.instanceOf(cause, OAuthError.OriginNotAllowed)
        assert.deepStrictEqual(asked, [])
      }))

    it.scopedLive("and not at all if it is bound to a key that is not at hand", () =>
      Effect.gen(function*() {
        const { client, server } = yield* withRetriever(anything, () => Effect.succeed(token("bound", "DPoP")))
        const error = yield* Effect.flip(say(client, "hello"))
        assert.strictEqual(error.code, Code.Unauthenticated)
        assert.instanceOf(error.cause, OAuthError.KeyBindingMismatch)
        assert.deepStrictEqual(server.seen, [])
      }))
  })

  describe("fails as Connect does", () => {
    const from = { clientName: "c", endpoint: "https://as.test/token" }

    it.scopedLive("Unavailable for what may pass, else Unauthenticated, with the typed error as cause", () =>
      Effect.gen(function*() {
        const passing = new OAuthError.TokenTransportError({ ...from, reason: "Timeout" })
        const lasting = new OAuthError.TokenEndpointError({ ...from, status: 400, error: "invalid_scope" })
        const errors = yield* Effect.forEach(
          [passing, lasting],
          (error) =>
            Effect.flatMap(
              withRetriever(anything, () => Effect.fail(error)),
              ({ client }) => Effect.flip(say(client, "hello"))
            )
        )
        assert.deepStrictEqual(errors.map(({ cause, code }) => [code, cause]), [
          [Code.Unavailable, passing],
          [Code.Unauthenticated, lasting]
        ])
      }))

    it.scopedLive("and tells neither of tokens nor of the texts of errors that are not ours", () =>
      Effect.gen(function*() {
        const dead = yield* withRetriever(anything, () => Effect.die(new Error("marked")))
        const refused = yield* withRetriever(
          never,
          ({ rejected }) => Effect.succeed(token(rejected === undefined ? "marked-1" : "marked-2"))
        )
        const errors = [
          yield* Effect.flip(say(dead.client, "hello")),
          yield* Effect.flip(say(refused.client, "hello")),
          (yield* collected(refused.client.count({ value: "1" }))).error!
        ]
        assert.deepStrictEqual(errors.map(({ code }) => code), [
          Code.Unavailable,
          Code.Unauthenticated,
          Code.Unauthenticated
        ])
        for (const error of errors) assert.notInclude(printed(error), "marked")
        assert.deepStrictEqual(sentOf(refused.server.seen).slice(0, 2), ["Bearer marked-1", "Bearer marked-2"])
      }))

    it.scopedLive("leaves other errors alone, and all of them if it is told to", () =>
      Effect.gen(function*() {
        const denied = yield* setUp({ ...never, code: Code.PermissionDenied })
        const left = yield* setUp(never, "gRPC", { retryUnauthenticated: false })
        const codes = yield* Effect.forEach([denied, left], ({ client }) =>
          Effect.map(Effect.flip(say(client, "hello")), ({ code }) => code))
        yield* Effect.flip(call(() =>
          left.client.collect(texts("a"))
        ))
        assert.deepStrictEqual(codes, [Code.PermissionDenied, Code.Unauthenticated])
        assert.deepStrictEqual([denied.given.number, left.given.number], [1, 1])
      }))
  })

  describe("ends when its call does", () => {
    for (const when of ["first", "renewal"] as const) {
      it.scopedLive(`by its signal or its deadline, while a token is got (${when})`, () =>
        Effect.gen(function*() {
          const asked = yield* Deferred.make<void>()
          let interruptions = 0
          const hanging = Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Effect.sync(() => interruptions++))
          )
          const { client } = yield* withRetriever(never, ({ rejected }) =>
            when === "renewal" && rejected === undefined ? Effect.succeed(token("fixed")) : hanging)
          const controller = new AbortController()
          const [error] = yield* Effect.all([
            Effect.flip(say(client, "hello", { signal: controller.signal })),
            Effect.map(Deferred.await(asked), () =>
              controller.abort())
          ], { concurrency: 2 })
          assert.strictEqual(error.code, Code.Canceled)
          const late = yield* Effect.flip(say(client, "hello", { timeoutMs: 500 }))
          assert.strictEqual(late.code, Code.DeadlineExceeded)
          assert.strictEqual(interruptions, 2)
        }))
    }

    it.scopedLive("by its deadline after it was healed", () =>
      Effect.gen(function*() {
        const { client, server } = yield* setUp({ ...not("t1"), hangs: true })
        const error = yield* Effect.flip(say(client, "hello", { timeoutMs: 2000 }))
        assert.strictEqual(error.code, Code.DeadlineExceeded)
        assert.strictEqual(server.seen.length, 2)
      }))
  })
})
