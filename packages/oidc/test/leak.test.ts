/**
 * Nothing of this package shows a secret, in no form in which a program prints things: values, errors, log lines at every
 * level and spans of runs in which all secrets are marked.
 */
import { SigningKey, TokenStore } from "@effect-oauth/core"
import { OidcError, UserTokenManager } from "@effect-oauth/oidc"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Layer, Logger, LogLevel, Redacted, TestClock } from "effect"
import { inspect } from "node:util"
import { recordingTracer } from "../../core/test/support/recordingTracer.ts"
import { Browser } from "./support/browser.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

const mark = "5ecr3t"

const printed = (value: unknown): string =>
  [
    String(value),
    JSON.stringify(value),
    inspect(value, { depth: 20, showHidden: true }),
    value instanceof Error ? `${value.stack}${value.message}${inspect(value.cause, { depth: 20 })}` : "",
    Cause.pretty(Cause.fail(value))
  ].join("\n")

const recording = () => {
  const lines: Array<string> = []
  const tracer = recordingTracer()
  const logger = Logger.make((entry) => {
    lines.push(printed([entry.message, entry.cause, entry.annotations, entry.spans]), Logger.jsonLogger.log(entry))
  })
  return {
    layer: Layer.mergeAll(Logger.add(logger), Logger.minimumLogLevel(LogLevel.All), tracer.layer),
    lines: () => lines.length,
    everything: () => [...lines, ...tracer.ended.map((span) => inspect(span, { depth: 10 }))].join("\n")
  }
}

const login = {
  access: `${mark}-access`,
  refresh: `${mark}-refresh`,
  idToken: `id:${mark}`,
  key: Redacted.make(JSON.stringify({ kty: "EC", d: `${mark}-key` }))
}

const kinds = [
  ["in cookies", Effect.succeed(undefined)],
  ["in cookies, with a store", Effect.map(TokenStore.makeMemory, Web.sharing)],
  ["on the server", Effect.map(TokenStore.makeMemory, (store) => Web.stored(store))]
] as const

const answers: ReadonlyArray<Server.TokenServer["answer"]> = [
  (_, number) =>
    Effect.succeed({
      access: `${mark}-${number}`,
      lifetime: 100,
      refresh: `${mark}-r${number}`,
      idToken: `id:${mark}`
    }),
  (_, number) =>
    Effect.succeed({ access: `${mark}-${number}`, lifetime: 100, refresh: `${mark}-r${number}`, idToken: `id:other` }),
  () => Effect.fail(Server.refusal("temporarily_unavailable", 503)),
  () => Effect.fail(Server.unreachable),
  () => Effect.fail(Server.refusal("invalid_grant"))
]

for (const [kind, makeStore] of kinds) {
  describe(`secrets of sessions ${kind}`, () => {
    for (const [index, answer] of answers.entries()) {
      it.scoped(`do not show in values, errors, logs and spans, whatever the server answers (${index + 1})`, () => {
        const { everything, layer, lines } = recording()
        return Effect.gen(function*() {
          const server = Server.make()
          server.answer = answer
          server.revocation = () => Effect.fail(Server.refusal("x", 503))
          const web = yield* Web.start({ server, provide: yield* makeStore })
          const browser = new Browser()
          yield* web.signIn(browser, { ...login, principal: Web.principal("alice") })
          const cookies = [...browser.jar.values()]
          const secrets = [mark, ...cookies]
          const shows = (what: string, text: string) => {
            for (const one of secrets) assert.isFalse(text.includes(one), `${what}: ${text.slice(0, 1500)}`)
          }
          const printedUser = (user: unknown) => Effect.sync(() => shows("a user", printed(user)))
          yield* web.visit(browser.copy(), (user) =>
            Effect.gen(function*() {
              yield* printedUser(user)
              yield* printedUser(user.session)
              yield* printedUser(user.session.known)
              yield* printedUser(yield* user.session.read)
              const exit = yield* Effect.exit(UserTokenManager.get())
              assert.strictEqual(exit._tag, "Success")
              yield* printedUser(exit)
              yield* Effect.logInfo("a line of the program", user, exit)
            }))
          for (const wait of ["95 seconds", "6 seconds"] as const) {
            yield* TestClock.adjust(wait)
            const exit = yield* Effect.exit(web.get(browser, wait === "95 seconds" ? {} : { forceRenewal: true }))
            shows("an exit", printed(exit))
            yield* Effect.logError("a line of the program", exit)
          }
          const revoked = yield* Effect.exit(web.visit(browser, () => UserTokenManager.revoke({ token: "both" })))
          shows("a revocation", printed(revoked))
          yield* web.visit(browser, ({ session }) => session.end("SignedOut"))
          shows("logs and spans", everything())
          assert.isAbove(lines(), 2)
        }).pipe(Effect.provide(layer))
      })
    }
  })
}

it("every error of the package says what it is, and can be printed", () => {
  const errors = [
    new OidcError.NoActiveUser({ clientName: "web" }),
    new OidcError.RefreshTokenMissing({ clientName: "web" }),
    new OidcError.SessionEnded({ reason: "Refused" }),
    new OidcError.ResponseStarted({ clientName: "web" }),
    new OidcError.SessionStoreError({ operation: "get", problem: "down" }),
    new OidcError.SessionTooLarge({ size: 20_000, limit: 12_288 }),
    new OidcError.NotSignedIn()
  ]
  for (const error of errors) {
    assert.isNotEmpty(error.message)
    assert.include(printed(error), error._tag)
    assert.strictEqual(error.retryable, error._tag === "SessionStoreError")
  }
})

describe("the key of a session", () => {
  const bound = Effect.gen(function*() {
    const key = yield* SigningKey.generate("ES256", { extractable: true })
    const jwk = Redacted.value(yield* SigningKey.exportJwk(key))
    const server = Server.make()
    server.answer = (_, number) =>
      Effect.succeed({ access: `access-${number}`, type: "DPoP", lifetime: 100, refresh: `refresh-${number}` })
    return {
      jwk,
      server,
      key,
      login: { type: "DPoP", key: Redacted.make(JSON.stringify(jwk)), keyThumbprint: key.thumbprint }
    }
  })

  it.scoped("is in another process the same one, which uses and renews the session's tokens with it", () =>
    Effect.gen(function*() {
      const { key, login, server } = yield* bound
      const provide = Web.stored(yield* TokenStore.makeMemory)
      const [one, two] = [
        yield* Web.start({ server, provide, client: { dpop: true } }),
        yield* Web.start({ server, provide, client: { dpop: true } })
      ]
      const browser = new Browser()
      yield* one.signIn(browser, login)
      assert.strictEqual((yield* two.get(browser)).accessToken.keyThumbprint, key.thumbprint)
      const renewed = yield* two.get(browser, { forceRenewal: true })
      assert.strictEqual(server.asked[0]?.key?.thumbprint, key.thumbprint)
      assert.strictEqual(renewed.accessToken.keyThumbprint, key.thumbprint)
      assert.strictEqual(Server.valueOf(yield* one.get(browser)), "access-1")
    }))

  it.scoped("leaves the server sealed only, in the cookie as in the store", () =>
    Effect.gen(function*() {
      const { jwk, login, server } = yield* bound
      const memory = yield* TokenStore.makeMemory
      const values: Array<string> = []
      const store: TokenStore.TokenStore["Type"] = {
        ...memory,
        set: (key, value, options) => {
          values.push(value)
          return memory.set(key, value, options)
        }
      }
      for (const provide of [Web.stored(store), Web.sharing(store)]) {
        const web = yield* Web.start({ server, provide, client: { dpop: true } })
        const browser = new Browser()
        yield* web.signIn(browser, { ...login, refresh: `refresh-of-${values.length}` })
        yield* web.get(browser, { forceRenewal: true })
        values.push(browser.header)
        server.answer = () => Effect.succeed({ access: "a", type: "DPoP", lifetime: 100 })
      }
      assert.isAbove(values.length, 3)
      const secret = String(jwk.d)
      for (const value of values) {
        const inside = value.split(/[.=]/).map((part) => Buffer.from(part, "base64url").toString("latin1")).join("")
        assert.isFalse(value.includes(secret) || inside.includes(secret) || inside.includes("access-"))
      }
    }))
})
