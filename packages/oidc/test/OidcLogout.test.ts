import { AuthorizationServer, JwtVerifier, Signer } from "@effect-oauth/core"
import {
  CurrentUser,
  OidcClients,
  OidcHooks,
  OidcLogout,
  Principal,
  Session,
  Sessions,
  UserTokenManager,
  UserTokens,
  UserTokenStore
} from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Redacted, TestClock } from "effect"

const principal = new Principal.Principal({
  clientName: "web",
  issuer: "https://login.example",
  sub: "alice",
  claims: {},
  roles: []
})

const tokens = new UserTokens.UserTokens({
  accessTokens: {},
  refreshToken: Redacted.make("refresh"),
  idToken: Redacted.make("id")
})

/** A session in the memory of a test. */
const makeSession = (names: ReadonlyArray<string>) => {
  let content: Session.SessionContent | undefined = new Session.SessionContent({
    signIns: Object.fromEntries(names.map((name) => [name, new Session.SignIn({ principal, tokens })])),
    primary: names[0] ?? "",
    startedAt: 0,
    seenAt: 0
  })
  let version = 0
  const session: Session.Session = {
    key: "key",
    get known() {
      return content
    },
    read: Effect.sync(() =>
      Option.map(Option.fromNullable(content), (content) => ({ content, version: String(version) }))
    ),
    write: (next, ifVersion) =>
      Effect.sync(() => {
        if (ifVersion !== String(version)) return false
        content = next
        version++
        return true
      }),
    start: () => Effect.void,
    end: () =>
      Effect.sync(() => {
        content = undefined
      }),
    ended: Effect.never,
    isWritable: true,
    cookies: { names: () => [], get: () => undefined, set: () => {}, remove: () => {} }
  }
  return session
}

interface World {
  readonly revoke: Effect.Effect<void>
  readonly metadata: AuthorizationServer.AuthorizationServer["Type"]["metadata"]
  readonly hooks?: OidcHooks.OidcHooks["Type"]
}

const signOutOf = (names: ReadonlyArray<string>, { hooks = {}, metadata, revoke }: World) => {
  const session = makeSession(names)
  const unused = () => Effect.dieMessage("unused")
  const client = { issuer: "https://login.example", clientId: "web" }
  const layer = OidcLogout.layer.pipe(
    Layer.provide(OidcClients.layer(Object.fromEntries(names.map((name) => [name, client])))),
    Layer.provide(Layer.mergeAll(
      Layer.succeed(AuthorizationServer.AuthorizationServer, { metadata, keys: unused }),
      Layer.succeed(JwtVerifier.JwtVerifier, { verify: unused }),
      Layer.succeed(Sessions.Sessions, {
        publicUrl: new URL("https://app.example"),
        program: "app",
        areStored: false,
        open: Effect.dieMessage("unused"),
        connect: Effect.dieMessage("unused"),
        byKey: unused,
        named: unused,
        keep: unused,
        endAt: unused
      }),
      Layer.succeed(UserTokenManager.UserTokenManager, {
        get: unused,
        renew: unused,
        clear: unused,
        revoke: () => revoke
      }),
      Layer.succeed(OidcHooks.OidcHooks, hooks),
      UserTokenStore.layer,
      Signer.layer
    ))
  )
  const signOut = Effect.flatMap(OidcLogout.OidcLogout, ({ signOut }) => signOut()).pipe(
    Effect.provideService(CurrentUser.CurrentUser, CurrentUser.ofSession(session)),
    Effect.provide(layer)
  )
  return { session, signOut }
}

describe("OidcLogout.signOut", () => {
  it.effect("waits 5 seconds for a provider that does not answer, however many clients there are", () =>
    Effect.gen(function*() {
      const { session, signOut } = signOutOf(["web", "other"], { revoke: Effect.never, metadata: () => Effect.never })
      const fiber = yield* Effect.fork(signOut)
      yield* TestClock.adjust("4999 millis")
      assert.isNull(fiber.unsafePoll())
      assert.isDefined(session.known)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(fiber), Option.none())
      assert.isUndefined(session.known)
    }))

  it.effect("goes on to its end if the browser goes away", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      const answered = yield* Deferred.make<void>()
      const revoke = Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(answered))
      const { session, signOut } = signOutOf(["web"], { revoke, metadata: () => Effect.never })
      const fiber = yield* Effect.fork(signOut)
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.isDefined(session.known)
      yield* Deferred.succeed(answered, undefined)
      yield* TestClock.adjust("5 seconds")
      assert.isUndefined(session.known)
    }))

  it.effect("tells the hook who leaves while they are there still, and goes on if it dies", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const { session, signOut } = signOutOf(["web"], {
        revoke: Effect.void,
        metadata: () => Effect.never,
        hooks: {
          onSigningOut: ({ sub }, session) => {
            told.push(`${sub} ${session.known === undefined ? "gone" : "here"}`)
            throw new Error("a hook that throws")
          }
        }
      })
      const fiber = yield* Effect.fork(signOut)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(told, ["alice here"])
      assert.isUndefined(session.known)
    }))
})
