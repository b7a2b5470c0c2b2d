import { AccessToken, OAuthValues } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Either, Redacted, Schema } from "effect"
import { createRequire } from "node:module"

const accepts = (schema: Schema.Schema.AnyNoContext, value: unknown) =>
  Either.isRight(Schema.decodeUnknownEither(schema)(value))

const message = (schema: Schema.Schema.AnyNoContext, value: unknown) =>
  Either.match(Schema.decodeUnknownEither(schema)(value), { onLeft: (error) => error.message, onRight: () => "" })

describe("OAuthValues", () => {
  it("scope: what the grammar allows [parity 117]", () => {
    for (
      const scope of [
        "scope",
        "!",
        "#",
        "$",
        "[]",
        "^",
        "~",
        "a/b",
        "<a>",
        "{a:b}",
        ":a.v1.b.{{c}}.*",
        "https://x/.default",
        "a b"
      ]
    ) assert.isTrue(accepts(OAuthValues.Scope, scope), scope)
  })

  it("scope: what it does not [parity 118]", () => {
    for (const scope of ["", " ", "a\tb", "a\nb", "a\"b", "a\\b", " a", "a ", "a  b", "ä", 7, undefined]) {
      assert.isFalse(accepts(OAuthValues.Scope, scope), String(scope))
    }
  })

  it("lengths: short enough is accepted, too long is refused with a message [parity 115, 116, 121, 122]", () => {
    const rows = [
      [OAuthValues.TokenClientName, 1024],
      [OAuthValues.ClientId, 1024],
      [OAuthValues.Scope, 1024],
      [OAuthValues.TokenType, 50],
      [OAuthValues.CacheKey, 4096]
    ] as const
    for (const [schema, max] of rows) {
      assert.isTrue(accepts(schema, "x"))
      assert.isTrue(accepts(schema, "x".repeat(max)))
      assert.isFalse(accepts(schema, "x".repeat(max + 1)))
      assert.isFalse(accepts(schema, ""))
      assert.include(message(schema, "x".repeat(max + 1)), "expected ")
    }
  })

  it("characters of a token type [parity 123, 124]", () => {
    assert.isTrue(accepts(OAuthValues.TokenType, "Bearer2"))
    assert.include(message(OAuthValues.TokenType, "Bear er"), "token characters")
  })

  it("characters of a client id [parity 125, 126]", () => {
    assert.isTrue(accepts(OAuthValues.ClientId, "a b:c/ä".replace("ä", "~")))
    assert.include(message(OAuthValues.ClientId, "ä"), "printable ASCII")
  })

  it("resources are absolute URIs without fragment [parity 127, 128]", () => {
    for (const uri of ["https://api.test", "https://api.test/x?y=z", "urn:example:api"]) {
      assert.isTrue(accepts(OAuthValues.Resource, uri), uri)
    }
    for (const no of ["api.test", "/path", "https://api.test/#", "https://api.test/#x", ""]) {
      assert.isFalse(accepts(OAuthValues.Resource, no), no)
    }
  })

  it("there is no way in without the check, and no way to change a value [parity 49, 50, 51, 52, 53]", () => {
    assert.throws(() => OAuthValues.Scope.make(" "))
    assert.throws(() => (OAuthValues.ClientId.make as () => unknown)())
    const scope: string = OAuthValues.Scope.make("a")
    assert.strictEqual(typeof scope, "string")
  })

  it("a value cannot be made around its check [parity 55]", () => {
    assert.throws(() =>
      new AccessToken.AccessToken({
        value: Redacted.make("x"),
        type: "no scheme" as never,
        clientName: "c",
        obtainedAt: DateTime.unsafeMake(0)
      })
    )
  })

  it("nothing internal can be imported [parity 54]", () => {
    const { resolve } = createRequire(import.meta.url)
    assert.throws(() => resolve("@effect-oauth/core/internal/slot"), /not defined by "exports"/)
  })

  it("secrets are refused without being shown", () => {
    const long = Redacted.make("s3cret".repeat(200))
    assert.isFalse(accepts(OAuthValues.ClientSecret, long))
    for (const value of [long, "s3cret", Redacted.make("")]) {
      assert.notInclude(message(OAuthValues.ClientSecret, value), "s3cret")
      assert.include(message(OAuthValues.ClientSecret, value), "1 to 1,024 characters")
    }
  })

  it("scopes compare without order and duplicates, token types without letter case", () => {
    assert.strictEqual(OAuthValues.normalizeScope("b a b"), "a b")
    assert.deepStrictEqual(["dpoP", "bEARER", "mac"].map(OAuthValues.normalizeTokenType), ["DPoP", "Bearer", "mac"])
  })
})
