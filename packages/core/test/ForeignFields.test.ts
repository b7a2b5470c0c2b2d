/**
 * Fields that a server wrote are shown in the form that each has, and otherwise not at all.
 */
import {
  AccessToken,
  AccessTokenHttpClient,
  ClientCertificate,
  DPoPProofs,
  SigningKey,
  TokenClient,
  TokenEndpoint,
  TokenGrant
} from "@effect-oauth/core"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Layer, Redacted } from "effect"
import * as jose from "jose"
import { inspect } from "node:util"
import { json, options, services, stub, token } from "./support/StubServer.ts"

const opaque = "dGhlLW9wYXF1ZS10b2tlbi1vZi00MC1jaGFyYWN0"

const ugly = `\u001b[31m\u009b\u202e${"x".repeat(50_000)}\u2066\r\nforged line`

const printed = (value: unknown): string =>
  value instanceof Error ? `${inspect(value)}\n${JSON.stringify(value)}\n${value.message}` : inspect(value)

const showsNone = (text: string) => {
  assert.isFalse(text.includes(opaque), text.slice(0, 2000))
  assert.notMatch(text.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u)
  assert.notMatch(text, /\\u|\\x|\\r/)
  assert.isBelow(text.length, 12_000)
}

const certificate = Layer.succeed(ClientCertificate.ClientCertificate, { thumbprint: () => "c".repeat(43) })

const ask = (answer: () => Response, more: Partial<TokenClient.TokenClientOptions> = {}) =>
  Effect.gen(function*() {
    const client = yield* TokenClient.make("worker", { ...options, ...more })
    const endpoint = yield* TokenEndpoint.TokenEndpoint
    return yield* endpoint.request(client, TokenGrant.clientCredentials)
  }).pipe(Effect.provide(services(stub(answer)).pipe(Layer.provide(certificate))))

describe("what a server wrote into a field", () => {
  it.effect("a token in place of its type, where proofs are used: the type is not quoted", () =>
    Effect.gen(function*() {
      const dpop = yield* SigningKey.generate()
      const error = yield* Effect.flip(ask(() => json({ access_token: "t", token_type: opaque }), { dpop }))
      assert.deepInclude(error, { _tag: "TokenTypeMismatch", expected: "DPoP", found: "unknown (40 characters)" })
      showsNone(printed(error))
    }))

  it.effect("token and type in each other's place: nothing of them is used", () =>
    Effect.gen(function*() {
      for (const type of ["Bearer", "bearer", "DPoP"]) {
        const error = yield* Effect.flip(ask(() => json({ access_token: type, token_type: opaque })))
        assert.strictEqual(error._tag, "TokenResponseInvalid")
        assert.include(error.message, "access_token")
        showsNone(printed(error))
      }
    }))

  it.effect("the thumbprint of a key or certificate: shown where it has the form of one", () =>
    Effect.gen(function*() {
      const dpop = yield* SigningKey.generate()
      const jwt = (cnf: unknown) => new jose.UnsecuredJWT({ cnf }).encode()
      for (const found of [ugly, opaque, "a b", "a".repeat(44)]) {
        const byKey = yield* Effect.flip(
          ask(() => token(1, { access_token: jwt({ jkt: found }), token_type: "DPoP" }), { dpop })
        )
        assert.deepInclude(byKey, { _tag: "KeyBindingMismatch", binding: "key", found: undefined })
        const byCertificate = yield* Effect.flip(ask(() => token(1, { access_token: jwt({ "x5t#S256": found }) })))
        assert.deepInclude(byCertificate, { _tag: "KeyBindingMismatch", binding: "certificate", found: undefined })
        for (const error of [byKey, byCertificate]) showsNone(printed(error))
      }
      const good = "g".repeat(43)
      const error = yield* Effect.flip(
        ask(() => token(1, { access_token: jwt({ jkt: good }), token_type: "DPoP" }), { dpop })
      )
      assert.deepInclude(error, { _tag: "KeyBindingMismatch", found: good })
    }))

  it.effect("the thumbprint of a token that comes from elsewhere", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate()
      const obtainedAt = yield* DateTime.now
      const elsewhere = (keyThumbprint: string) =>
        new AccessToken.AccessToken({
          value: Redacted.make("t"),
          type: "DPoP" as AccessToken.AccessToken["type"],
          clientName: "w",
          obtainedAt,
          keyThumbprint
        })
      const proofs = yield* DPoPProofs.DPoPProofs
      for (const found of [ugly, opaque]) {
        const bound = yield* Effect.flip(proofs.bind(elsewhere(found), key))
        const attached = yield* Effect.flip(
          AccessTokenHttpClient.attach(elsewhere(found))(HttpClientRequest.get("https://api.test"))
        )
        for (const error of [bound, attached]) {
          assert.deepInclude(error, { _tag: "KeyBindingMismatch", found: undefined })
          showsNone(printed(error))
        }
      }
    }).pipe(Effect.provide(services(stub(() => token(1))))))

  it.effect("the issuer in metadata that is not the one of the client: quoted, escaped and bounded", () =>
    Effect.gen(function*() {
      const rows = [
        ["https://as.test/", "its issuer is \"https://as.test/\", expected \"https://as.test\": "],
        ["a\"b\u001b[31m", "its issuer is \"a\\\"b [31m\", expected"],
        [ugly, `its issuer is "[31m ${"x".repeat(195)}", expected`],
        [["https://as.test"], "its issuer is an array, expected"],
        [undefined, "its issuer is nothing, expected"]
      ] as const
      for (const [issuer, problem] of rows) {
        const metadata = () => json({ issuer, token_endpoint: "https://as.test/token" })
        const error = yield* Effect.flip(ask(metadata, { tokenEndpoint: undefined, issuer: "https://as.test" }))
        assert.strictEqual(error._tag, "DiscoveryError")
        assert.include(error.message, problem)
        showsNone(error.message)
      }
    }))

  it.effect("an error code and an address: by their grammar", () =>
    Effect.gen(function*() {
      const rows = [
        [{ error: ugly }, `[31m ${"x".repeat(95)}`, undefined],
        [{ error: "inválid \"grant\"" }, "inv?lid ?grant?", undefined],
        [{ error: "invalid_grant", error_uri: ugly }, "invalid_grant", undefined],
        [{ error: "invalid_grant", error_uri: "https://as.test/e#1" }, "invalid_grant", "https://as.test/e#1"]
      ] as const
      for (const [body, error, errorUri] of rows) {
        const refused = yield* Effect.flip(ask(() => json(body, { status: 400 })))
        assert.deepInclude(refused, { _tag: "TokenEndpointError", error, errorUri })
        showsNone(printed(refused))
      }
    }))

  it.effect("the scope and the type of an issued token: on one line, without what was sent or given", () =>
    Effect.gen(function*() {
      const secret = Redacted.value(options.clientSecret as Redacted.Redacted<string>)
      const good = yield* ask(() =>
        token(1, {
          access_token: opaque,
          scope: `read\u202e ${encodeURIComponent(opaque)} \u001b[31m${btoa(secret)}`,
          issued_token_type: ugly
        })
      )
      assert.match(good.accessToken.scope ?? "", /^read <redacted> \[31m<redacted>.?=*$/)
      assert.isUndefined(good.issuedTokenType)
      showsNone(printed(good))
      const usual = "urn:ietf:params:oauth:token-type:access_token"
      assert.strictEqual((yield* ask(() => token(1, { issued_token_type: usual }))).issuedTokenType, usual)
    }))
})
