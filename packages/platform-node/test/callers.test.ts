/** One channel, one transport, many users: each call carries the token of the user who makes it. */
import { type CallOptions as ConnectCallOptions, Code, ConnectError, createClient } from "@connectrpc/connect"
import { createGrpcTransport } from "@connectrpc/connect-node"
import { AccessToken, type OAuthError, OAuthValues, TokenClients, TokenRetriever } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as ConnectInterceptor from "@effect-oauth/platform-node/ConnectInterceptor"
import * as GrpcCredentials from "@effect-oauth/platform-node/GrpcCredentials"
import { assert, describe, it } from "@effect/vitest"
import { CallCredentials, type CallOptions, credentials, Metadata, status } from "@grpc/grpc-js"
import { Context, Data, DateTime, Effect, Layer, Redacted } from "effect"
import * as Certificates from "../../../examples/servers/certificates.ts"
import * as ConnectServer from "./support/connectServer.ts"
import * as GrpcServer from "./support/grpcServer.ts"
import { listen } from "./support/listen.ts"

class User extends Context.Tag("User")<User, { readonly name: string }>() {}

class NoActiveUser extends Data.TaggedError("NoActiveUser") {
  readonly retryable = false
}

const token = (value: string) =>
  new AccessToken.AccessToken({
    value: Redacted.make(value),
    type: OAuthValues.TokenType.make("Bearer"),
    clientName: "web",
    obtainedAt: DateTime.unsafeMake(0)
  })

/** Looks for its user as retrievers of users do: there may be none. */
const ofUser: TokenRetriever.TokenRetriever<NoActiveUser, User> = ({ rejected }) =>
  Effect.flatMap(
    Effect.serviceOption(User),
    (user) =>
      user._tag === "None"
        ? new NoActiveUser()
        : Effect.succeed(token(rejected === undefined ? user.value.name : `${user.value.name}-renewed`))
  )

/** Takes the services of its types for granted. */
const trusting: TokenRetriever.TokenRetriever<never, User> = () => Effect.map(User, ({ name }) => token(name))

/** Every third user's first token is refused. */
const isRefused = (sent: string): boolean => /^(?:Bearer )?user-\d*[147]$/.test(sent) || sent === ""

const expected = (name: string) => `Bearer ${isRefused(name) ? `${name}-renewed` : name}`

const users = Array.from({ length: 100 }, (_, index) => ({ name: `user-${index}` }))

const as = (name: string) => Effect.provideService(User, { name })

/** A server, and what asks it whose token it was sent, made by a user whose tokens no one else may send. */
const kinds = {
  GrpcCredentials: <E>(retriever: TokenRetriever.TokenRetriever<E, User>) =>
    Effect.gen(function*() {
      const authority = yield* Certificates.makeAuthority()
      const server = yield* GrpcServer.serve({ accepts: (sent) => !isRefused(sent) }, yield* authority.server())
      const grpc = yield* GrpcCredentials.make(retriever)
      const channel = yield* grpc.channel(credentials.createSsl(Buffer.from(authority.certificate)))
      const client = yield* GrpcServer.connect(server, channel, { interceptors: [grpc.interceptor] })
      const ask = (options: CallOptions) =>
        GrpcServer.answered((done) => client.Say(GrpcServer.whose, options, done)).pipe(
          Effect.mapError(({ cause, code }) => ({ code: status[code], cause }))
        )
      return { server, ask: Effect.flatMap(grpc.callOptions, ask), askAsNobody: ask({}) }
    }).pipe(as("maker")),

  ConnectInterceptor: <E>(retriever: TokenRetriever.TokenRetriever<E, User>) =>
    Effect.gen(function*() {
      const authority = yield* Certificates.makeAuthority()
      const refuses = ({ header }: ConnectServer.Seen) => isRefused(header.get("authorization") ?? "") ? {} : undefined
      const server = yield* ConnectServer.serve({ refuses }, yield* authority.server())
      const interceptor = yield* ConnectInterceptor.make(retriever)
      const client = createClient(
        ConnectServer.Echo,
        createGrpcTransport({
          baseUrl: server.url,
          interceptors: [interceptor],
          nodeOptions: { ca: authority.certificate }
        })
      )
      const ask = (options: ConnectCallOptions) =>
        Effect.tryPromise({
          try: async () => (await client.say({ value: ConnectServer.whose }, options)).value,
          catch: ConnectError.from
        }).pipe(Effect.mapError(({ cause, code }) => ({ code: Code[code].toUpperCase(), cause })))
      return {
        server,
        ask: Effect.flatMap(interceptor.contextValues, (contextValues) => ask({ contextValues })),
        askAsNobody: ask({})
      }
    }).pipe(as("maker"))
}

for (const [kind, make] of Object.entries(kinds)) {
  describe(kind, () => {
    it.scopedLive("100 users at once over one connection: each call carries the token of its own user", () =>
      Effect.gen(function*() {
        const { ask } = yield* make(ofUser)
        const answers = yield* Effect.forEach(users, ({ name }) => ask.pipe(as(name)), { concurrency: "unbounded" })
        assert.deepStrictEqual(answers, users.map(({ name }) => expected(name)))
      }))

    for (const [what, retriever] of Object.entries({ ofUser, trusting })) {
      it.scopedLive(`a call by nobody is refused with a status, and nothing is sent (${what})`, () =>
        Effect.gen(function*() {
          const { ask, askAsNobody, server } = yield* make<NoActiveUser>(retriever)
          const error = yield* Effect.flip(askAsNobody)
          const { _tag } = error.cause as NoActiveUser
          assert.deepStrictEqual(
            [error.code, _tag],
            what === "ofUser" ? ["UNAUTHENTICATED", "NoActiveUser"] : ["UNAVAILABLE", "CredentialUnavailable"]
          )
          assert.deepStrictEqual(server.seen, [])
          assert.strictEqual(yield* ask.pipe(as("user-2")), "Bearer user-2")
        }))
    }
  })
}

describe("GrpcCredentials.callOptions", () => {
  it.scopedLive("say who calls in all four kinds of calls, beside call credentials, and without the interceptor", () =>
    Effect.gen(function*() {
      const authority = yield* Certificates.makeAuthority()
      const server = yield* GrpcServer.serve({ accepts: (sent) => sent !== "" }, yield* authority.server())
      const grpc = yield* GrpcCredentials.make(ofUser)
      const channel = yield* grpc.channel(credentials.createSsl(Buffer.from(authority.certificate)))
      const more = CallCredentials.createFromMetadataGenerator((_, done) => done(null, new Metadata()))
      const seen = () => server.seen.splice(0).map(({ authorization }) => authorization.join())
      for (const interceptors of [[], [grpc.interceptor]]) {
        const client = yield* GrpcServer.connect(server, channel, { interceptors })
        const own = yield* grpc.callOptions.pipe(as("alice"))
        yield* GrpcServer.answered((done) => client.Say("hello", own, done))
        yield* GrpcServer.collected(client.Count("1", own))
        yield* GrpcServer.answered((done) => client.Collect(own, done).end())
        const talk = client.Talk(own)
        talk.end("x")
        yield* GrpcServer.collected(talk)
        const both = { ...own, credentials: own.credentials!.compose(more) }
        yield* GrpcServer.answered((done) => client.Say("hello", both, done))
        assert.deepStrictEqual(seen(), Array(5).fill("Bearer alice"))
      }
    }))

  it.scopedLive("say who calls where only the interceptor puts tokens on calls", () =>
    Effect.gen(function*() {
      const server = yield* GrpcServer.serve({ accepts: (sent) => sent !== "" })
      const grpc = yield* GrpcCredentials.make(ofUser, { allowInsecure: true })
      const channel = yield* grpc.channel(credentials.createInsecure())
      const client = yield* GrpcServer.connect(server, channel, { interceptors: [grpc.interceptor] })
      const own = yield* grpc.callOptions.pipe(as("alice"))
      assert.strictEqual(
        yield* GrpcServer.answered((done) => client.Say(GrpcServer.whose, own, done)),
        "Bearer alice"
      )
    }))
})

describe("customize", () => {
  class Tenant extends Context.Tag("Tenant")<Tenant, string>() {}
  const customize: TokenRetriever.Customize<never, Tenant> = (_, parameters) =>
    Effect.map(Tenant, (tenant) => ({ ...parameters, scope: tenant }))

  /** Gives out tokens that are their scopes. */
  const program = Effect.map(
    listen((request, response) => {
      let body = ""
      request.on("data", (chunk) => body += String(chunk))
      request.on("end", () => {
        const scope = new URLSearchParams(body).get("scope")
        response.end(JSON.stringify({ access_token: `scope-${scope}`, expires_in: 60 }))
      })
    }),
    (url): Layer.Layer<Layer.Layer.Success<typeof NodeOAuth.layer>, OAuthError.TokenClientInvalid> =>
      NodeOAuth.layer.pipe(
        Layer.provide(TokenClients.layer({ api: { tokenEndpoint: `${url}/token`, clientId: "c" } })),
        Layer.provide(
          Layer.succeed(
            TokenRetriever.TokenRequestCustomizer,
            (_, parameters) => Effect.succeed({ ...parameters, scope: "common" })
          )
        )
      )
  )

  for (const own of [true, false]) {
    const tenant = own ? "of-the-call" : "common"
    it.scopedLive(`of GrpcCredentials: ${own ? "its own, by the call" : "the one that is provided for all"}`, () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(yield* program)
        const authority = yield* Certificates.makeAuthority()
        const server = yield* GrpcServer.serve({ accepts: (sent) => sent !== "" }, yield* authority.server())
        const options = own ? { customize } : {}
        const grpc = yield* Effect.provide(GrpcCredentials.clientCredentials("api", undefined, options), context)
        const channel = yield* grpc.channel(credentials.createSsl(Buffer.from(authority.certificate)))
        const client = yield* GrpcServer.connect(server, channel, { interceptors: [grpc.interceptor] })
        const ofCall = yield* Effect.provideService(grpc.callOptions, Tenant, "of-the-call")
        const answer = yield* GrpcServer.answered((done) => client.Say(GrpcServer.whose, ofCall, done))
        assert.strictEqual(answer, `Bearer scope-${tenant}`)
      }))

    it.scopedLive(`of ConnectInterceptor: ${own ? "its own, by the call" : "the one that is provided for all"}`, () =>
      Effect.gen(function*() {
        const context = yield* Layer.build(yield* program)
        const authority = yield* Certificates.makeAuthority()
        const server = yield* ConnectServer.serve({ refuses: () => undefined }, yield* authority.server())
        const options = own ? { customize } : {}
        const interceptor = yield* Effect.provide(
          ConnectInterceptor.clientCredentials("api", undefined, options),
          context
        )
        const nodeOptions = { ca: authority.certificate }
        const transport = createGrpcTransport({ baseUrl: server.url, interceptors: [interceptor], nodeOptions })
        const client = createClient(ConnectServer.Echo, transport)
        const contextValues = yield* Effect.provideService(interceptor.contextValues, Tenant, "of-the-call")
        const { value } = yield* Effect.promise(() => client.say({ value: ConnectServer.whose }, { contextValues }))
        assert.strictEqual(value, `Bearer scope-${tenant}`)
      }))
  }
})
