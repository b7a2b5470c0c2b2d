import { UntrustedText } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"

const printable = /^[^\p{C}\p{Zl}\p{Zp}]*$/u

describe("UntrustedText.show", () => {
  it("is one bounded line without control, C1, bidirectional and invisible characters", () => {
    const rows = [
      ["a\u001b[31mred\u001b[0m", "a [31mred [0m"],
      ["one\r\ntwo\u2028three\u2029four", "one two three four"],
      ["\u009b31m \u0085 C1", "31m C1"],
      ["\u202eevil\u2066\u200b\ufeff", "evil"],
      ["half \ud800 of a pair", "half of a pair"],
      ["", ""],
      ["😀".repeat(600), "😀".repeat(500)],
      ["a".repeat(1_000_000), "a".repeat(500)]
    ] as const
    for (const [text, expected] of rows) assert.strictEqual(UntrustedText.show(text), expected)
    assert.strictEqual(UntrustedText.show("abcdef", { maxLength: 3 }), "abc")
  })

  it("cuts nothing of a secret into sight, however often it is repeated", () => {
    const secret = "0123456789abcdef".repeat(64)
    const text = `${secret} `.repeat(500)
    assert.match(UntrustedText.show(text, { secrets: [secret] }), /^(?:<redacted> ?)+(?:<[redact]*)?$/)
  })

  it("finds secrets that touch, overlap, or are wrapped over lines", () => {
    const secrets = ["first-secret", "secret-second"]
    assert.strictEqual(UntrustedText.show("a first-secret-second b", { secrets }), "a <redacted> b")
    assert.strictEqual(UntrustedText.show("first-secretsecret-second", { secrets }), "<redacted><redacted>")
    assert.strictEqual(UntrustedText.show("first-\r\n\u200bsecret", { secrets }), "<redacted>")
  })

  it("finds each part of a JWT", () => {
    const jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIHVzZXIifQ.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
    const text = "no key for c2lnbmF0dXJlLXNpZ25hdHVyZQ, claims eyJzdWIiOiJhIHVzZXIifQ"
    assert.strictEqual(UntrustedText.show(text, { secrets: [jwt] }), "no key for <redacted>, claims <redacted>")
  })

  it("leaves other words alone", () => {
    const text = "the client is not known: check client_id & secret (100%), then \\try\\ again"
    assert.strictEqual(UntrustedText.show(text, { secrets: ["another-secret", "abc", ""] }), text)
  })

  it("takes any text and any secret", () => {
    FastCheck.assert(FastCheck.property(
      FastCheck.string({ unit: "binary", maxLength: 300 }),
      FastCheck.string({ unit: "binary", minLength: 4, maxLength: 40 }).filter((text) => !"<redacted>".includes(text)),
      (text, secret) => {
        const shown = UntrustedText.show(`${text}${secret}${text}`, { secrets: [secret] })
        assert.match(shown, printable)
        assert.isAtMost([...shown].length, 500)
        if (printable.test(secret)) assert.isFalse(shown.includes(secret))
      }
    ))
  })
})

describe("UntrustedText.quote", () => {
  it("has one end", () => {
    assert.strictEqual(UntrustedText.quote("a\" \\ b\n"), "\"a\\\" \\\\ b\"")
    assert.strictEqual(UntrustedText.quote("the-secret", { secrets: ["the-secret"] }), "\"<redacted>\"")
  })
})
