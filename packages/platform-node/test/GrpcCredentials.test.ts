import { AccessToken, OAuthError, OAuthValues, TokenClients, type TokenRetriever } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as GrpcCredentials from "@effect-oauth/platform-node/GrpcCredentials"
import { assert, describe, it } from "@effect/vitest"
import { CallCredentials, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js"
import { DateTime, Deferred, Effect, Layer, Redacted } from "effect"
import * as Certificates from "../../../examples/servers/certificates.ts"
import { answered, type Behaviour, collected, connect, serve } from "./support/grpcServer.ts"
import { listen } from "./support/listen.ts"
import { printed } from "./support/printed.ts"

/** Gives out t1, t2, … */
const tokenEndpoint = Effect.gen(function*() {
  const given = { number: 0 }
  const url = yield* listen((_, response) =>
    void response.end(JSON.stringify({ access_token: `t${++given.number}`, expires_in: 60 }))
  )
  return { given, url: `${url}/token` }
})

const program = (tokenEndpoint: string) =>
  NodeOAuth.layer.pipe(Layer.provideMerge(TokenClients.layer({ api: { tokenEndpoint, clientId: "c" } })))

const token = (value: string, type: "Bearer" | "DPoP" = "Bearer") =>
  new AccessToken.AccessToken({
    value: Redacted.make(value),
    type: OAuthValues.TokenType.make(type),
    clientName: "c",
    obtainedAt: DateTime.unsafeMake(0)
  })

/** A server over TLS, and a client of it whose tokens come from a real token endpoint. */
const setUp = (behaviour: Behaviour, options?: GrpcCredentials.Options) =>
  Effect.gen(function*() {
    const { given, url } = yield* tokenEndpoint
    const context = yield* Layer.build(program(url))
    const grpc = yield* Effect.provide(GrpcCredentials.clientCredentials("api", undefined, options), context)
    return { given, ...(yield* withCredentials(behaviour, grpc)) }
  })

const withCredentials = (behaviour: Behaviour, grpc: GrpcCredentials.GrpcCredentials) =>
  Effect.gen(function*() {
    const authority = yield* Certificates.makeAuthority()
    const server = yield* serve(behaviour, yield* authority.server())
    const tls = credentials.createSsl(Buffer.from(authority.certificate))
    const channel = yield* grpc.channel(tls)
    const client = yield* connect(server, channel, { interceptors: [grpc.interceptor] })
    return { grpc, server, tls, channel, client }
  })

const withRetriever = <E>(
  behaviour: Behaviour,
  retriever: TokenRetriever.TokenRetriever<E>,
  options?: GrpcCredentials.Options
) => Effect.flatMap(GrpcCredentials.make(retriever, options), (grpc) => withCredentials(behaviour, grpc))

const anything: Behaviour = { accepts: (value) => value !== "" }
const not = (...values: ReadonlyArray<string>): Behaviour => ({
  accepts: (value) => value !== "" && !values.includes(value)
})

const sentOf = (seen: ReadonlyArray<{ readonly authorization: ReadonlyArray<unknown> }>) =>
  seen.map(({ authorization }) => authorization.join())

describe("GrpcCredentials", () => {
  describe("puts a token on every call", () => {
    it.scopedLive("unary and streaming, in all four kinds", () =>
      Effect.gen(function*() {
        const { client, given, server } = yield* setUp(anything)
        assert.strictEqual(yield* answered((done) => client.Say("hello", done)), "you said hello")
        assert.deepStrictEqual(yield* collected(client.Count("3")), { words: ["1", "2", "3"], error: undefined })
        const collect = yield* answered((done) => {
          const call = client.Collect(done)
          call.write("a")
          call.write("b")
          call.end()
        })
        assert.strictEqual(collect, "a b")
        const talk = client.Talk()
        talk.write("who")
        talk.end("why")
        assert.deepStrictEqual((yield* collected(talk)).words, ["who?", "why?"])
        assert.deepStrictEqual(sentOf(server.seen), Array(4).fill("Bearer t1"))
        assert.strictEqual(given.number, 1)
      }))

    it.scopedLive("which an error does not show, though the server repeats it", () =>
      Effect.gen(function*() {
        const good = token("5ecr3t-token-of-the-call")
        const { client, server } = yield* withRetriever(
          { accepts: () => false, echoes: true },
          () => Effect.succeed(good)
        )
        const error = yield* Effect.flip(answered((done) => client.Say("hello", done)))
        const { error: streamed } = yield* collected(client.Count("3"))
        assert.deepStrictEqual(sentOf(server.seen), Array(2).fill("Bearer 5ecr3t-token-of-the-call"))
        assert.isDefined(streamed)
        for (const one of [error, streamed!]) {
          assert.include(printed(one), "not good: Bearer <redacted>")
          assert.notInclude(printed(one), "5ecr3t")
        }
      }))

    it.scopedLive("but one that no header can carry, which is quoted nowhere", () =>
      Effect.gen(function*() {
        const bad = Object.assign(Object.create(AccessToken.AccessToken.prototype), {
          ...token("t"),
          value: Redacted.make("5ecr3t\n5ecr3t")
        })
        const { client, server } = yield* withRetriever(anything, () => Effect.succeed(bad))
        const error = yield* Effect.flip(answered((done) => client.Say("hello", done)))
        assert.notInclude(printed(error), "5ecr3t")
        assert.include(printed(error), "RFC 6750")
        assert.deepStrictEqual(sentOf(server.seen), [])
      }))

    it.scopedLive("without the interceptor as well, beside other credentials", () =>
      Effect.gen(function*() {
        const { channel, server } = yield* setUp(anything)
        const more = new Metadata()
        more.set("tenant", "a")
        const both = credentials.combineChannelCredentials(
          channel,
          CallCredentials.createFromMetadataGenerator((_, done) => done(null, more))
        )
        const client = yield* connect(server, both)
        assert.strictEqual(yield* answered((done) => client.Say("hello", done)), "you said hello")
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1"])
      }))

    it.scopedLive("with the interceptor, beside credentials of the call and of the channel", () =>
      Effect.gen(function*() {
        const { grpc, server, tls } = yield* setUp(not("t1"))
        const named = (name: string) => {
          const metadata = new Metadata()
          metadata.set(name, "yes")
          return CallCredentials.createFromMetadataGenerator((_, done) => done(null, metadata))
        }
        const channel = yield* grpc.channel(credentials.combineChannelCredentials(tls, named("channel")))
        const client = yield* connect(server, channel, { interceptors: [grpc.interceptor] })
        assert.strictEqual(
          yield* answered((done) => client.Say("hello", { credentials: named("call") }, done)),
          "you said hello"
        )
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
      }))

    it.scopedLive("and shows its retriever the URL and the metadata of the call", () =>
      Effect.gen(function*() {
        const requests: Array<TokenRetriever.RequestContext> = []
        const { client } = yield* withRetriever(anything, (request) => {
          requests.push(request)
          return Effect.succeed(token("fixed"))
        })
        const metadata = new Metadata()
        metadata.set("tenant", "a")
        yield* answered((done) => client.Say("hello", metadata, {}, done))
        assert.deepStrictEqual(requests.map(({ headers, method, url }) => [method, url, headers.tenant]), [
          ["POST", "https://localhost/test.Echo/Say", "a"]
        ])
      }))
  })

  describe("UNAUTHENTICATED", () => {
    it.scopedLive("of a unary call is healed by another token, once", () =>
      Effect.gen(function*() {
        const { client, given, server } = yield* setUp(not("t1"))
        const received: Array<Metadata> = []
        const answer = yield* answered((done) =>
          client.Say("hello", done).on("metadata", (metadata: Metadata) => received.push(metadata))
        )
        assert.strictEqual(answer, "you said hello")
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
        assert.deepStrictEqual(received.map((metadata) => metadata.get("from")), [["server"]])
        assert.strictEqual(given.number, 2)
      }))

    it.scopedLive("that stays is returned as it came", () =>
      Effect.gen(function*() {
        const { client, server } = yield* setUp({ accepts: () => false })
        const error = yield* Effect.flip(answered((done) => client.Say("hello", done)))
        assert.deepStrictEqual([error.code, error.details], [status.UNAUTHENTICATED, "this token is not good"])
        assert.deepStrictEqual(error.metadata.get("reason"), ["revoked"])
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
      }))

    it.scopedLive("is returned where there is no other token, or none can be got", () =>
      Effect.gen(function*() {
        const same = yield* withRetriever({ accepts: () => false }, () => Effect.succeed(token("fixed")))
        assert.strictEqual(
          (yield* Effect.flip(answered((done) => same.client.Say("hello", done)))).details,
          "this token is not good"
        )
        const none = yield* withRetriever({ accepts: () => false }, (request) =>
          request.rejected === undefined
            ? Effect.succeed(token("fixed"))
            : Effect.fail(new OAuthError.TokenCacheClosed({ clientName: "c" })))
        const error = yield* Effect.flip(answered((done) => none.client.Say("hello", done)))
        assert.deepStrictEqual([error.details, error.cause], ["this token is not good", undefined])
        assert.deepStrictEqual([same.server.seen.length, none.server.seen.length], [1, 1])
      }))

    it.scopedLive("of many calls at once costs one token", () =>
      Effect.gen(function*() {
        const { client, given } = yield* setUp(not("t1"))
        const answers = yield* Effect.all(
          Array.from({ length: 200 }, (_, index) => answered((done) => client.Say(String(index), done))),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(answers, Array.from({ length: 200 }, (_, index) => `you said ${index}`))
        assert.strictEqual(given.number, 2)
      }))

    it.scopedLive("of a server stream that has not begun is healed", () =>
      Effect.gen(function*() {
        const { client, server } = yield* setUp(not("t1"))
        assert.deepStrictEqual(yield* collected(client.Count("3")), { words: ["1", "2", "3"], error: undefined })
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
      }))

    for (const early of [0, 2]) {
      const title = early === 0 ? "metadata" : "messages"
      it.scopedLive(`of a server stream that has sent ${title} is returned, and the next call succeeds`, () =>
        Effect.gen(function*() {
          const { client, given, server } = yield* setUp({ ...not("t1"), early })
          const { error, words } = yield* collected(client.Count("1"))
          assert.deepStrictEqual([words.length, error?.code], [early, status.UNAUTHENTICATED])
          assert.strictEqual(given.number, 2)
          assert.strictEqual(yield* answered((done) => client.Say("hello", done)), "you said hello")
          assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
        }))
    }

    it.scopedLive("of streams of the client is returned, and the next call succeeds", () =>
      Effect.gen(function*() {
        const { client, given, server } = yield* setUp(not("t1"))
        const talk = client.Talk()
        talk.write("who")
        assert.strictEqual((yield* collected(talk)).error?.code, status.UNAUTHENTICATED)
        assert.strictEqual(given.number, 2)
        const collect = yield* answered((done) => client.Collect(done).end("a"))
        assert.strictEqual(collect, "a")
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
      }))

    it.scopedLive("of a client stream without messages is a failure, and not an empty answer", () =>
      Effect.gen(function*() {
        const { client } = yield* setUp({ accepts: () => false })
        const error = yield* Effect.flip(answered((done) => client.Collect(done).end("a")))
        assert.strictEqual(error.code, status.UNAUTHENTICATED)
      }))

    it.scopedLive("is left alone where that is wanted, as is every other status", () =>
      Effect.gen(function*() {
        const left = yield* setUp({ accepts: () => false }, { retryUnauthenticated: false })
        const denied = yield* setUp({ accepts: () => false, refusal: status.PERMISSION_DENIED })
        const codes = yield* Effect.forEach([left, denied], ({ client }) =>
          Effect.map(Effect.flip(answered((done) => client.Say("hello", done))), ({ code }) => code))
        assert.deepStrictEqual(codes, [status.UNAUTHENTICATED, status.PERMISSION_DENIED])
        assert.deepStrictEqual([left.given.number, denied.given.number], [1, 1])
      }))
  })

  describe("never sends a token in clear", () => {
    it.scopedLive("insecure credentials are refused", () =>
      Effect.gen(function*() {
        const grpc = yield* GrpcCredentials.make(() => Effect.succeed(token("fixed")))
        const refused = yield* Effect.flip(grpc.channel(credentials.createInsecure()))
        assert.instanceOf(refused, GrpcCredentials.GrpcTokenRefused)
        assert.strictEqual(refused.reason, "InsecureChannel")
      }))

    it.scopedLive("the interceptor on an insecure channel sends nothing", () =>
      Effect.gen(function*() {
        const server = yield* serve({ accepts: () => true })
        const asked: Array<string> = []
        const grpc = yield* GrpcCredentials.make(({ url }) => {
          asked.push(url)
          return Effect.succeed(token("fixed"))
        })
        const client = yield* connect(server, credentials.createInsecure(), { interceptors: [grpc.interceptor] })
        const error = yield* Effect.flip(answered((done) => client.Say("hello", done)))
        const { error: streamError } = yield* collected(client.Count("1"))
        assert.deepStrictEqual([error.code, streamError?.code], Array(2).fill(status.UNAUTHENTICATED))
        assert.instanceOf(error.cause, GrpcCredentials.GrpcTokenRefused)
        assert.include(error.message, "no access token is sent with a gRPC call")
        assert.deepStrictEqual([server.seen, asked], [[], []])
      }))

    it.scopedLive("nor over a channel that other credentials made", () =>
      Effect.gen(function*() {
        const one = yield* setUp(anything)
        const other = yield* GrpcCredentials.make(() => Effect.succeed(token("other")))
        const client = yield* connect(one.server, one.tls, { interceptors: [other.interceptor] })
        const error = yield* Effect.flip(answered((done) => client.Say("hello", done)))
        assert.instanceOf(error.cause, GrpcCredentials.GrpcTokenRefused)
        const mixed = yield* connect(one.server, one.channel, { interceptors: [other.interceptor] })
        assert.instanceOf(
          (yield* Effect.flip(answered((done) => mixed.Say("hello", done)))).cause,
          GrpcCredentials.GrpcTokenRefused
        )
        assert.deepStrictEqual(one.server.seen, [])
      }))

    it.scopedLive("unless it is told to", () =>
      Effect.gen(function*() {
        const server = yield* serve(not("t1"))
        const { grpc } = yield* setUp(anything, { allowInsecure: true })
        const channel = yield* grpc.channel(credentials.createInsecure())
        const client = yield* connect(server, channel, { interceptors: [grpc.interceptor] })
        assert.strictEqual(yield* answered((done) => client.Say("hello", done)), "you said hello")
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer t1", "Bearer t2"])
      }))

    it.scopedLive("a token that is bound to a key is refused", () =>
      Effect.gen(function*() {
        const { client, server } = yield* withRetriever(anything, () => Effect.succeed(token("bound", "DPoP")))
        const error = yield* Effect.flip(answered((done) => client.Say("hello", done)))
        assert.strictEqual(error.code, status.UNAUTHENTICATED)
        assert.instanceOf(error.cause, GrpcCredentials.GrpcTokenRefused)
        assert.include(error.message, "DPoP")
        assert.notInclude(printed(error), "bound\"")
        assert.deepStrictEqual(server.seen, [])
      }))
  })

  describe("fails as gRPC does", () => {
    const failing = <E>(error: E, interceptors = true) =>
      Effect.gen(function*() {
        const { channel, client, server } = yield* withRetriever(anything, () => Effect.fail(error))
        const used = interceptors ? client : yield* connect(server, channel)
        return yield* Effect.flip(answered((done) => used.Say("hello", done)))
      })

    const from = { clientName: "c", endpoint: "https://as.test/token" }
    const passing = new OAuthError.TokenTransportError({ ...from, reason: "Timeout" })
    const lasting = new OAuthError.TokenEndpointError({ ...from, status: 400, error: "invalid_scope" })

    it.scopedLive("UNAVAILABLE for what may pass, else UNAUTHENTICATED, with the typed error as cause", () =>
      Effect.gen(function*() {
        const unavailable = yield* failing(passing)
        assert.deepStrictEqual([unavailable.code, unavailable.cause], [status.UNAVAILABLE, passing])
        const refused = yield* failing(lasting)
        assert.deepStrictEqual([refused.code, refused.cause], [status.UNAUTHENTICATED, lasting])
        assert.include(refused.details, "invalid_scope")
      }))

    it.scopedLive("with the same codes without the interceptor", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* failing(passing, false)).code, status.UNAVAILABLE)
        assert.strictEqual((yield* failing(lasting, false)).code, status.UNAUTHENTICATED)
      }))

    it.scopedLive("and tells of errors that are not ours only their names, also of those that die", () =>
      Effect.gen(function*() {
        const secret = "xyzzy"
        const errors = [
          yield* failing(new Error(secret), false),
          yield* Effect.flatMap(
            withRetriever(anything, () => Effect.die(new Error(secret))),
            ({ client }) => Effect.flip(answered((done) => client.Say("hello", done)))
          )
        ]
        assert.deepStrictEqual(errors.map(({ code }) => code), [status.UNAUTHENTICATED, status.UNAVAILABLE])
        for (const error of errors) assert.notInclude(printed(error), secret)
      }))

    it.scopedLive("no token is in what a refused call fails with", () =>
      Effect.gen(function*() {
        const { client, server } = yield* withRetriever({ accepts: () => false }, ({ rejected }) =>
          Effect.succeed(token(rejected === undefined ? "marked-first" : "marked-second")))
        const error: ServiceError = yield* Effect.flip(answered((done) =>
          client.Say("hello", done)
        ))
        assert.notInclude(printed(error), "marked")
        assert.deepStrictEqual(sentOf(server.seen), ["Bearer marked-first", "Bearer marked-second"])
      }))
  })

  describe("ends when its call does", () => {
    /** A retriever that never answers: at once, or only when it is asked for another token. */
    const hanging = (when: "first" | "renewal") =>
      Effect.gen(function*() {
        const asked = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const never = Effect.zipRight(Deferred.succeed(asked, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
        const { client } = yield* withRetriever({ accepts: () => false }, ({ rejected }) =>
          when === "renewal" && rejected === undefined ? Effect.succeed(token("fixed")) : never)
        return { asked, interrupted, client }
      })

    for (const when of ["first", "renewal"] as const) {
      it.scopedLive(`by cancellation, while a token is got (${when})`, () =>
        Effect.gen(function*() {
          const { asked, client, interrupted } = yield* hanging(when)
          const result = yield* Deferred.make<ServiceError | null>()
          const call = client.Say("hello", (error) => Deferred.unsafeDone(result, Effect.succeed(error)))
          yield* Deferred.await(asked)
          call.cancel()
          assert.strictEqual((yield* Deferred.await(result))?.code, status.CANCELLED)
          yield* Deferred.await(interrupted)
        }))

      it.scopedLive(`by its deadline, while a token is got (${when})`, () =>
        Effect.gen(function*() {
          const { client, interrupted } = yield* hanging(when)
          const error = yield* Effect.flip(
            answered((done) => client.Say("hello", { deadline: new Date(Date.now() + 1000) }, done))
          )
          assert.strictEqual(error.code, status.DEADLINE_EXCEEDED)
          yield* Deferred.await(interrupted)
        }))
    }

    it.scopedLive("by its deadline after it was healed", () =>
      Effect.gen(function*() {
        const { client, server } = yield* setUp({ ...not("t1"), hangs: true })
        const error = yield* Effect.flip(
          answered((done) => client.Say("hello", { deadline: Date.now() + 2000 }, done))
        )
        assert.strictEqual(error.code, status.DEADLINE_EXCEEDED)
        assert.strictEqual(server.seen.length, 2)
      }))
  })
})
