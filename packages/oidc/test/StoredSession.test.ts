/** Sessions of programs without a browser, at a real authorization server. */
import { OAuthError, OAuthLogging, Signer, SigningKey, TokenEndpoint, TokenGrant, TokenStore } from "@effect-oauth/core"
import {
  CurrentUser,
  IdToken,
  Oidc,
  type OidcClient,
  OidcClients,
  OidcError,
  Principal,
  Session,
  Sessions,
  SessionStore,
  StoredSession,
  UserAccessTokenHttpClient,
  UserTokenManager,
  UserTokenStore
} from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, LogLevel, Option, Redacted, TestClock } from "effect"
import { inspect } from "node:util"
import * as Api from "../../../examples/servers/api.ts"
import * as AuthorizationServer from "../../../examples/servers/authorizationServer.ts"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { encryption } from "./support/app.ts"

const scope = "openid offline_access invoices"

const startServer = (tokenLifetime = 3600) =>
  AuthorizationServer.start({
    users: true,
    deviceFlow: true,
    dpop: "accepted",
    tokenLifetime,
    clients: [{
      client_id: "cli",
      token_endpoint_auth_method: "none",
      grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
      scope
    }]
  })

/** One start of the program; what it keeps is in the store. */
const program = (
  server: AuthorizationServer.AuthorizationServer,
  store: TokenStore.TokenStore["Type"],
  client: Partial<OidcClient.OidcClientOptions> = {}
) =>
  Oidc.layerStored().pipe(
    Layer.provideMerge(SessionStore.layer),
    Layer.provideMerge(NodeOAuth.layer),
    Layer.provideMerge(OidcClients.layer({ cli: { issuer: server.issuer, clientId: "cli", scope, ...client } })),
    Layer.provide([encryption, Layer.succeed(TokenStore.TokenStore, store)])
  )

/** What a login on another device gives, without waiting for the next question. */
const login = (userName: string, key?: SigningKey.SigningKey) =>
  Effect.gen(function*() {
    const client = yield* Effect.flatMap(OidcClients.OidcClients, (clients) => clients.get())
    const { authorizeDevice, request } = yield* TokenEndpoint.TokenEndpoint
    const begun = yield* authorizeDevice(client.login, { scope, parameters: { prompt: "consent" } })
    const { deviceCode, userCode, verificationUri } = begun
    yield* Effect.promise(() => new UserAgent().enterCode(verificationUri, userCode, userName))
    return yield* request(client.login, TokenGrant.deviceCode(deviceCode), {}, { dpop: key })
  })

const opened = Effect.flatMap(
  StoredSession.open("me"),
  Option.match({
    onNone: () => Effect.die("there is no session"),
    onSome: Effect.succeed
  })
)

const outcomes = (server: AuthorizationServer.AuthorizationServer) => server.refreshes().map(({ outcome }) => outcome)

describe("a session without a browser", () => {
  it.scopedLive("is there at the next start, and its refresh token is exchanged once at a time", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const store = yield* TokenStore.makeMemory
      yield* Effect.gen(function*() {
        assert.isTrue(Option.isNone(yield* StoredSession.open("me")))
        const session = yield* StoredSession.keep("me", yield* login("alice"))
        assert.strictEqual(Option.getOrThrow(CurrentUser.ofSession(session).principal).sub, "alice")
      }).pipe(Effect.provide(program(server, store)))
      for (let starts = 0; starts < 3; starts++) {
        yield* Effect.gen(function*() {
          const session = yield* opened
          assert.strictEqual(Option.getOrThrow(CurrentUser.ofSession(session).principal).sub, "alice")
          const manager = yield* UserTokenManager.UserTokenManager
          const { accessToken } = yield* manager.get({ session })
          const others = yield* Effect.all(
            Array.from({ length: 5 }, () => manager.renew(accessToken, { session })),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(new Set(others.map((token) => Redacted.value(token.accessToken.value))).size, 1)
        }).pipe(Effect.provide(program(server, store)))
      }
      assert.deepStrictEqual(outcomes(server), ["ok", "ok", "ok"])
      assert.strictEqual(new Set(server.refreshes().map(({ token }) => token)).size, 3)
    }))

  it.scopedLive("calls an API as its user", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const api = yield* Api.start({ check: Api.byLookup(server) })
      yield* Effect.gen(function*() {
        const session = yield* StoredSession.keep("me", yield* login("alice"))
        yield* server.revokeAllTokens("nobody")
        const client = (yield* HttpClient.HttpClient).pipe(yield* UserAccessTokenHttpClient.make())
        const response = yield* Effect.provideService(
          client.get(`${api.url}/invoices`),
          CurrentUser.CurrentUser,
          CurrentUser.ofSession(session)
        )
        assert.strictEqual(response.status, 200)
      }).pipe(Effect.provide(program(server, yield* TokenStore.makeMemory)))
    }))

  it.scopedLive("begins with a refresh token from elsewhere", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const store = yield* TokenStore.makeMemory
      yield* Effect.gen(function*() {
        const { refreshToken } = yield* login("alice")
        yield* StoredSession.adopt("me", refreshToken!)
        const session = yield* opened
        const { accessToken } = yield* UserTokenManager.get({ session })
        yield* Effect.flatMap(UserTokenManager.UserTokenManager, (manager) => manager.renew(accessToken, { session }))
        // It has been used up: the server is not asked again, and the session that came of it is there.
        assert.strictEqual((yield* StoredSession.adopt("me", refreshToken!)).key, session.key)
        const other = yield* Effect.flip(StoredSession.adopt("me", Redacted.make("made up")))
        assert.deepInclude(other, { _tag: "TokenEndpointError", error: "invalid_grant" })
        assert.strictEqual((yield* opened).key, session.key)
      }).pipe(Effect.provide(program(server, store)))
      assert.deepStrictEqual(outcomes(server), ["ok", "ok", "invalid_grant"])
    }))

  it.scopedLive("wants no nonce of a login, and of a refresh token that the ID token is of its own user", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const asked: Array<IdToken.Expected> = []
      const verifier = Layer.succeed(IdToken.IdTokenVerifier, {
        verify: (client, _, { accessToken, ...expected }) => {
          assert.isDefined(accessToken)
          asked.push(expected)
          return Effect.succeed({ issuer: client.issuer, sub: "alice", claims: {} })
        }
      })
      yield* Effect.gen(function*() {
        const response = yield* login("alice")
        yield* StoredSession.keep("me", response)
        yield* StoredSession.adopt("me", response.refreshToken!)
        assert.deepStrictEqual(asked, [{ nonce: null }, { previous: { sub: "alice" } }])
      }).pipe(Effect.provide(program(server, yield* TokenStore.makeMemory).pipe(Layer.provide(verifier))))
    }))

  it.scoped("lasts as long as it is opened from time to time, and no longer than it may", () =>
    Effect.gen(function*() {
      const sessions = yield* Sessions.make({
        publicUrl: "http://localhost",
        idleLifetime: "10 days",
        absoluteLifetime: "30 days"
      })
      const principal = new Principal.Principal({
        clientName: "cli",
        issuer: "https://i.test",
        sub: "s",
        claims: {},
        roles: []
      })
      const signIns = { cli: new Session.SignIn({ principal }) }
      yield* sessions.keep("me", new Session.SessionContent({ signIns, primary: "cli", startedAt: 0, seenAt: 0 }))
      yield* sessions.keep("you", new Session.SessionContent({ signIns, primary: "cli", startedAt: 0, seenAt: 0 }))
      const found: Array<boolean> = []
      for (let weeks = 1; weeks <= 5; weeks++) {
        yield* TestClock.adjust("7 days")
        found.push(Option.isSome(yield* sessions.named("me")))
      }
      assert.deepStrictEqual(found, [true, true, true, true, false])
      assert.isTrue(Option.isNone(yield* sessions.named("you")))
    }).pipe(Effect.provide([
      SessionStore.layerMemory,
      Signer.layer,
      OidcClients.layer({ cli: { issuer: "https://i.test", clientId: "cli" } })
    ])))

  it.scopedLive("gives its place to the next one of that name, and knows no other name", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const store = yield* TokenStore.makeMemory
      yield* Effect.gen(function*() {
        yield* StoredSession.keep("me", yield* login("alice"))
        yield* StoredSession.keep("you", yield* login("carol"))
        yield* StoredSession.keep("me", yield* login("bob"))
        const subOf = (name: string) =>
          Effect.map(
            StoredSession.open(name),
            Option.flatMap((session) => Option.map(CurrentUser.ofSession(session).principal, ({ sub }) => sub))
          )
        assert.deepStrictEqual(yield* Effect.forEach(["me", "you", "named:me"], subOf), [
          Option.some("bob"),
          Option.some("carol"),
          Option.none()
        ])
        const session = yield* opened
        yield* session.end("SignedOut")
        assert.isTrue(Option.isNone(yield* StoredSession.open("me")))
      }).pipe(Effect.provide(program(server, store)))
    }))

  it.scopedLive("has a key of its own where the client wants one", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const store = yield* TokenStore.makeMemory
      const key = yield* SigningKey.generate("ES256", { extractable: true })
      const text = Redacted.make(JSON.stringify(Redacted.value(yield* SigningKey.exportJwk(key))))
      yield* Effect.flatMap(login("alice", key), (response) => StoredSession.keep("me", response, { key: text })).pipe(
        Effect.provide(program(server, store, { dpop: true }))
      )
      const { accessToken } = yield* Effect.gen(function*() {
        const session = yield* opened
        return yield* UserTokenManager.get({ session, forceRenewal: true })
      }).pipe(Effect.provide(program(server, store, { dpop: true })))
      assert.strictEqual(accessToken.keyThumbprint, key.thumbprint)
    }))

  it.scopedLive("is not kept for a user who is not the one, or not known", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      yield* Effect.gen(function*() {
        const response = yield* login("alice")
        const idToken = Redacted.make(Redacted.value(response.idToken!).replace(/.{20}$/, "A".repeat(20)))
        const wrong = [
          StoredSession.keep("me", response, { sub: "bob" }),
          StoredSession.keep("me", { ...response, idToken: undefined }),
          StoredSession.keep("me", { ...response, idToken })
        ]
        for (const one of wrong) {
          const error = yield* Effect.flip(one)
          assert.strictEqual(error._tag, "IdTokenInvalid")
          assert.notInclude(inspect(error, { depth: 10 }), Redacted.value(response.accessToken.value))
        }
        assert.isTrue(Option.isNone(yield* StoredSession.open("me")))
        const session = yield* StoredSession.keep("me", { ...response, idToken: undefined }, { sub: "alice" })
        assert.strictEqual(Option.getOrThrow(CurrentUser.ofSession(session).principal).sub, "alice")
        yield* UserTokenManager.get({ session, forceRenewal: true })
      }).pipe(Effect.provide(program(server, yield* TokenStore.makeMemory)))
    }))

  /** Tokens in memory, with versions. */
  const tokenStore = (): UserTokenStore.UserTokenStore["Type"] => {
    const entries = new Map<string, UserTokenStore.KeptTokens>()
    let versions = 0
    return {
      get: (session) => Effect.sync(() => Option.fromNullable(entries.get(session.key!))),
      set: (session, _clientName, tokens, ifVersion) =>
        Effect.sync(() => {
          if (ifVersion !== null && entries.get(session.key!)?.version !== ifVersion) return false
          entries.set(session.key!, { tokens, version: `${versions++}` })
          return true
        }),
      clear: (session) => Effect.sync(() => void entries.delete(session.key!))
    }
  }

  for (const place of ["session", "store of their own"]) {
    it.scopedLive(`does not lose renewed tokens to a second try, kept in a ${place}`, () =>
      Effect.gen(function*() {
        const server = yield* startServer()
        const memory = yield* TokenStore.makeMemory
        const own = tokenStore()
        const isOwn = place !== "session"
        let isLost = false
        let renewed: Effect.Effect<unknown, unknown> = Effect.void
        /** The store has the entry, its writer gets an error, and another caller renews the tokens before the writer retries. */
        const lost = <E>(error: E) =>
          Effect.suspend(() => {
            isLost = true
            return Effect.zipRight(Effect.orDie(renewed), Effect.fail(error))
          })
        const store: TokenStore.TokenStore["Type"] = {
          ...memory,
          set: (key, ...options) =>
            Effect.tap(memory.set(key, ...options), () =>
              isLost || isOwn || !key.startsWith("session:")
                ? Effect.void
                : lost(new OAuthError.TokenStoreError({ store: "memory", operation: "set", problem: "gone" })))
        }
        const tokens: UserTokenStore.UserTokenStore["Type"] = {
          ...own,
          set: (...options) =>
            Effect.tap(own.set(...options), () =>
              isLost ? Effect.void : lost(new OidcError.SessionStoreError({ operation: "set", problem: "gone" })))
        }
        yield* Effect.gen(function*() {
          const services = yield* Effect.context<UserTokenManager.UserTokenManager | Sessions.Sessions>()
          const newest = Effect.flatMap(opened, (session) =>
            UserTokenManager.get({ session, forceRenewal: true }))
          let first = ""
          renewed = Effect.tap(newest, ({ accessToken }) => {
            first = Redacted.value(accessToken.value)
          }).pipe(Effect.provide(services))
          const session = yield* StoredSession.keep("me", yield* login("alice"))
          const { accessToken } = yield* UserTokenManager.get({ session })
          assert.isTrue(isLost)
          assert.strictEqual(Redacted.value(accessToken.value), first)
          yield* newest
        }).pipe(
          Effect.provide(
            isOwn
              ? Layer.provide(program(server, store), Layer.succeed(UserTokenStore.UserTokenStore, tokens))
              : program(server, store)
          )
        )
        assert.deepStrictEqual(outcomes(server), ["ok", "ok"])
      }))
  }

  it.scopedLive("is sealed in the store, under a name that does not tell", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const memory = yield* TokenStore.makeMemory
      const written: Array<string> = []
      const store: TokenStore.TokenStore["Type"] = {
        ...memory,
        set: (key, value, options) => {
          written.push(key, value, JSON.stringify(options))
          return memory.set(key, value, options)
        }
      }
      yield* Effect.gen(function*() {
        const response = yield* login("alice")
        yield* StoredSession.keep("the-name-of-it", response)
        const all = written.join("\n")
        assert.isAbove(written.length, 0)
        const secrets = [response.accessToken.value, response.refreshToken!, response.idToken!].map(Redacted.value)
        for (const text of [...secrets, "the-name-of-it", "alice"]) assert.isFalse(all.includes(text))
      }).pipe(Effect.provide(program(server, store)))
    }))

  it.scopedLive("is for sessions on the server", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      yield* Effect.gen(function*() {
        assert.strictEqual((yield* Effect.flip(StoredSession.open("me")))._tag, "SessionsInvalid")
        const error = yield* Effect.flip(StoredSession.keep("me", yield* login("alice")))
        assert.strictEqual(error._tag, "SessionsInvalid")
      }).pipe(
        Effect.provide(
          Oidc.layer({ publicUrl: "http://localhost" }).pipe(
            Layer.provideMerge(NodeOAuth.layer),
            Layer.provideMerge(OidcClients.layer({ cli: { issuer: server.issuer, clientId: "cli", scope } })),
            Layer.provide([encryption, OAuthLogging.layer(LogLevel.None)])
          )
        )
      )
    }))
})
