/** What a JWT says of itself, and the one judgement of its times. */
import { Jwt } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck, Option } from "effect"
import * as jose from "jose"

const encoded = (text: string): string => jose.base64url.encode(text)
const jwtOf = (header: string, payload: string): string => `${encoded(header)}.${encoded(payload)}.AAAA`

const now = 1_700_000_000

const judge = (claims: Jwt.Claims, more: Partial<Jwt.TimeExpectations> = {}) =>
  Option.match(Jwt.timeProblem(claims, { now: now * 1000, clockTolerance: 60_000, ...more }), {
    onNone: () => "good",
    onSome: ({ claim, kind }) => `${claim} ${kind}`
  })

describe("parse", () => {
  it("reads header and claims", () => {
    assert.deepStrictEqual(
      Jwt.parse(jwtOf(`{"alg":"ES256"}`, `{"sub":"u"}`)),
      Option.some({ header: { alg: "ES256" }, payload: { sub: "u" } })
    )
  })

  const deep = `${"[".repeat(5000)}${"]".repeat(5000)}`
  const none: ReadonlyArray<readonly [what: string, jwt: string]> = [
    ["5,000 levels in its claims", jwtOf("{}", `{"a":${deep}}`)],
    ["5,000 levels in its header", jwtOf(`{"a":${deep}}`, "{}")],
    ["a claim twice", jwtOf("{}", `{"sub":"alice","sub":"mallory"}`)],
    ["an alg twice", jwtOf(`{"alg":"none","alg":"ES256"}`, "{}")],
    ["bytes that are not UTF-8", `${encoded("{}")}.${jose.base64url.encode(new Uint8Array([0x22, 0xff, 0x22]))}.AA`],
    ["claims that are a list", jwtOf("{}", "[]")],
    ["no signature", `${encoded("{}")}.${encoded("{}")}.`],
    ["five parts", `${jwtOf("{}", "{}")}.AA.AA`],
    ["padding", `${encoded("{}")}=.${encoded("{}")}.AA`]
  ]
  for (const [what, jwt] of none) {
    it(`${what}: none`, () => {
      assert.deepStrictEqual(Jwt.parse(jwt), Option.none())
    })
  }

  it.prop("never throws", [FastCheck.oneof(
    FastCheck.string({ unit: "binary" }),
    FastCheck.tuple(FastCheck.json(), FastCheck.json()).map(([header, payload]) => jwtOf(header, payload)),
    FastCheck.stringMatching(/^[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,9}$/)
  )], ([text]) => {
    assert.isTrue(Option.isOption(Jwt.parse(text)))
  }, { fastCheck: { numRuns: 1000 } })
})

describe("timeProblem", () => {
  const old = { maxAge: 600_000 }
  const rows: ReadonlyArray<readonly [claims: Jwt.Claims, more: Partial<Jwt.TimeExpectations>, expected: string]> = [
    [{}, {}, "good"],
    [{}, { required: ["exp"] }, "exp missing"],
    [{}, { required: ["iat"] }, "iat missing"],
    [{}, old, "good"],
    [{ exp: now - 59 }, {}, "good"],
    [{ exp: now - 59.5 }, {}, "good"],
    [{ exp: now - 60 }, {}, "exp over"],
    [{ exp: now }, { clockTolerance: 0 }, "exp over"],
    [{ exp: now + 0.5 }, { clockTolerance: 0 }, "good"],
    [{ nbf: now + 60 }, {}, "good"],
    [{ nbf: now + 61 }, {}, "nbf early"],
    [{ iat: now + 3600 }, {}, "good"],
    [{ iat: now + 60 }, old, "good"],
    [{ iat: now + 61 }, old, "iat early"],
    [{ iat: now - 660 }, old, "good"],
    [{ iat: now - 661 }, old, "iat over"],
    [{ iat: 0 }, { maxAge: Number.POSITIVE_INFINITY }, "good"],
    [{ exp: now - 3600, nbf: now + 3600 }, {}, "exp over"]
  ]
  for (const [claims, more, expected] of rows) {
    it(`${JSON.stringify(claims).replaceAll(`${now}`, "now")} ${Object.keys(more).join()}: ${expected}`, () => {
      assert.strictEqual(judge(claims, more), expected)
    })
  }

  it("what is no date is refused, also where it is not required", () => {
    for (const claim of ["exp", "nbf", "iat"]) {
      for (const value of [null, "", `${now}`, true, [now], { now }, Number.NaN, Infinity, -Infinity, 1e300]) {
        assert.strictEqual(judge({ [claim]: value }), `${claim} malformed`)
      }
    }
  })

  it("refuses everything when the time is unknown", () => {
    for (const claims of [{ exp: now + 60 }, { nbf: now - 60 }]) {
      assert.notStrictEqual(judge(claims, { now: Number.NaN }), "good")
    }
    assert.notStrictEqual(judge({ iat: now }, { now: Number.NaN, maxAge: Number.POSITIVE_INFINITY }), "good")
  })

  it.prop("gets no better with time, but for nbf and iat", [
    FastCheck.integer({ min: now - 100, max: now + 100 }),
    FastCheck.integer({ min: 0, max: 200 })
  ], ([exp, seconds]) => {
    if (judge({ exp }) !== "good") {
      assert.strictEqual(judge({ exp }, { now: (now + seconds) * 1000 }), "exp over")
    }
    if (judge({ nbf: exp }) === "good") {
      assert.strictEqual(judge({ nbf: exp }, { now: (now + seconds) * 1000 }), "good")
    }
  })
})
