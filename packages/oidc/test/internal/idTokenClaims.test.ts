import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, FastCheck } from "effect"
import {
  atHashOf,
  atHashProblem,
  type IdTokenExpectations,
  idTokenProblem
} from "../../src/internal/token/idTokenClaims.ts"

const now = 1_700_000_000

const good = { iss: "https://id.example", sub: "u1", aud: "client", exp: now + 300, iat: now, nonce: "n-1" }

const login: IdTokenExpectations = {
  issuer: "https://id.example",
  clientId: "client",
  nonce: "n-1",
  maxAge: undefined,
  acrValues: undefined,
  clockTolerance: 60,
  previous: undefined
}

const refresh: IdTokenExpectations = { ...login, nonce: undefined, previous: { sub: "u1" } }

type Members = Readonly<Record<string, unknown>>

/** A member that is `undefined` is left out, as JSON has no such thing. */
const claimsWith = (changes: Members): Members =>
  Object.fromEntries(Object.entries({ ...good, ...changes }).filter(([, value]) => value !== undefined))

const judge = (changes: Members, expected: Partial<IdTokenExpectations> = {}) =>
  idTokenProblem(claimsWith(changes), { ...login, ...expected }, now)

describe("idTokenClaims", () => {
  const accepted: ReadonlyArray<readonly [what: string, Members, Partial<IdTokenExpectations>]> = [
    ["the claims that have to be there", {}, {}],
    ["an array of this client alone", { aud: ["client"] }, {}],
    ["this client as azp", { azp: "client" }, {}],
    ["other audiences with an azp", { aud: ["api", "client"], azp: "client" }, {}],
    ["this client as audience twice", { aud: ["client", "client"] }, {}],
    ["a sub of 255 characters", { sub: "s".repeat(255) }, {}],
    ["an exp within the tolerance", { exp: now - 59 }, {}],
    ["an iat within the tolerance", { iat: now + 60 }, {}],
    ["an old iat", { iat: now - 100_000 }, {}],
    ["times with a fraction", { exp: now + 0.5, iat: now - 0.5 }, {}],
    ["an nbf within the tolerance", { nbf: now + 60 }, {}],
    ["a sign-in as old as it may be", { auth_time: now - 360 }, { maxAge: 300 }],
    ["a sign-in just now, by a server whose clock is ahead", { auth_time: now + 60 }, { maxAge: 0 }],
    ["an auth_time that nobody looks at", { auth_time: "yesterday" }, {}],
    ["an acr that is required", { acr: "b" }, { acrValues: ["a", "b"] }],
    ["an acr that nobody asked for", { acr: 5 }, {}],
    ["a login that has to be of the same user", {}, { previous: { sub: "u1" } }],
    ["claims that are unknown", { at_hash: "x", amr: ["pwd"], toString: 1 }, {}]
  ]
  for (const [what, changes, expected] of accepted) {
    it(`accepts ${what}`, () => {
      assert.isUndefined(judge(changes, expected))
    })
  }

  const wrongSub = "its sub is not a string of 1 to 255 ASCII characters"
  const wrongIss = "its iss is not the issuer of this client"
  const wrongAud = "its aud is neither a string nor an array of strings"
  const notForUs = "its aud does not have this client"
  const noAzp = "it has other audiences than this client, and no azp"
  const wrongAzp = "its azp is not this client"
  const wrongNonce = "its nonce is not that of this login"
  const noNumber = (claim: string) => `its ${claim} is not a number`
  const wrongAcr = "its acr is none of those that this client requires"
  const refused: ReadonlyArray<
    readonly [what: string, Members, reason: string, problem: string, expected?: Partial<IdTokenExpectations>]
  > = [
    ["no iss", { iss: undefined }, "iss", wrongIss],
    ["the iss of another server", { iss: "https://evil.example" }, "iss", wrongIss],
    ["an iss with a slash more", { iss: "https://id.example/" }, "iss", wrongIss],
    ["an array of iss", { iss: ["https://id.example"] }, "iss", wrongIss],
    ["no sub", { sub: undefined }, "sub", wrongSub],
    ["an empty sub", { sub: "" }, "sub", wrongSub],
    ["a sub that is too long", { sub: "s".repeat(256) }, "sub", wrongSub],
    ["a sub beyond ASCII", { sub: "ü" }, "sub", wrongSub],
    ["a sub with a line feed", { sub: "u1\n" }, "sub", wrongSub],
    ["a sub that is a number", { sub: 1 }, "sub", wrongSub],
    ["another user than has to be", { sub: "u2" }, "sub", "its sub is another than before", {
      previous: { sub: "u1" }
    }],
    ["no aud", { aud: undefined }, "aud", wrongAud],
    ["an aud of numbers", { aud: ["client", 1] }, "aud", wrongAud],
    ["an aud that is an object", { aud: { client: true } }, "aud", wrongAud],
    ["the aud of another client", { aud: "other" }, "aud", notForUs],
    ["an aud that has this client within", { aud: "client2" }, "aud", notForUs],
    ["an empty array of aud", { aud: [] }, "aud", notForUs],
    ["other audiences with an azp, and not this client", { aud: ["other"], azp: "client" }, "aud", notForUs],
    ["other audiences without an azp", { aud: ["client", "other"] }, "azp", noAzp],
    ["the azp of another client", { azp: "other" }, "azp", wrongAzp],
    ["the azp of another client among audiences", { aud: ["client", "other"], azp: "other" }, "azp", wrongAzp],
    ["an azp that is null", { azp: null }, "azp", wrongAzp],
    ["an azp that is an array", { azp: ["client"] }, "azp", wrongAzp],
    ["no exp", { exp: undefined }, "exp", "it has no exp"],
    ["an exp that is text", { exp: String(now + 300) }, "exp", noNumber("exp")],
    ["an exp of 1e999", { exp: Infinity }, "exp", noNumber("exp")],
    ["an exp that is over", { exp: now - 60 }, "exp", "it has expired"],
    ["no iat", { iat: undefined }, "iat", "it has no iat"],
    ["an iat that is text", { iat: String(now) }, "iat", noNumber("iat")],
    ["an iat of -1e999", { iat: -Infinity }, "iat", noNumber("iat")],
    ["an iat in the future", { iat: now + 61 }, "iat", "its iat is in the future"],
    ["an nbf in the future", { nbf: now + 61 }, "nbf", "it is not valid yet"],
    ["an nbf that is null", { nbf: null }, "nbf", noNumber("nbf")],
    ["no nonce", { nonce: undefined }, "nonce", wrongNonce],
    ["another nonce", { nonce: "n-2" }, "nonce", wrongNonce],
    ["an array of the nonce", { nonce: ["n-1"] }, "nonce", wrongNonce],
    ["no nonce where none is known", { nonce: undefined }, "nonce", wrongNonce, { nonce: undefined }],
    ["a nonce where none is known", {}, "nonce", wrongNonce, { nonce: undefined }],
    ["a nonce where none was sent", {}, "nonce", "it has a nonce, and none was sent", { nonce: null }],
    ["null for a nonce where none was sent", { nonce: null }, "nonce", "it has a nonce, and none was sent", {
      nonce: null
    }],
    ["no auth_time, though it was asked for", {}, "auth_time", "it has no auth_time, though max_age was sent", {
      maxAge: 300
    }],
    ["an auth_time that is text", { auth_time: String(now) }, "auth_time", noNumber("auth_time"), { maxAge: 300 }],
    ["an auth_time too long ago", { auth_time: now - 361 }, "auth_time", "its auth_time is longer ago than max_age", {
      maxAge: 300
    }],
    ["an auth_time in the future", { auth_time: now + 61 }, "auth_time", "its auth_time is in the future", {
      maxAge: 300
    }],
    [
      "an old sign-in of the same user",
      { auth_time: now - 61 },
      "auth_time",
      "its auth_time is longer ago than max_age",
      {
        maxAge: 0,
        previous: { sub: "u1", authTime: now - 61 }
      }
    ],
    ["no acr", {}, "acr", wrongAcr, { acrValues: ["a"] }],
    ["another acr", { acr: "c" }, "acr", wrongAcr, { acrValues: ["a", "b"] }],
    ["an array of acr", { acr: ["a"] }, "acr", wrongAcr, { acrValues: ["a"] }]
  ]
  for (const [what, changes, reason, problem, expected] of refused) {
    it(`refuses ${what}`, () => {
      assert.deepStrictEqual<unknown>(judge(changes, expected), { reason, problem })
    })
  }

  it("refuses everything when the time is unknown", () => {
    assert.strictEqual(idTokenProblem(good, login, NaN)?.reason, "exp")
  })

  describe("of a refresh", () => {
    const known = { sub: "u1", authTime: now - 5000, azp: "client", nonce: "n-1" }
    const none = { sub: "u1", azp: null }
    type Previous = IdTokenExpectations["previous"]

    const same: ReadonlyArray<readonly [what: string, Members, Previous]> = [
      ["no nonce", { nonce: undefined, azp: "client" }, known],
      ["the same nonce", { azp: "client" }, known],
      ["any nonce, where the one before is unknown", { nonce: "n-2" }, { sub: "u1" }],
      ["the same auth_time, older than max_age", { auth_time: now - 5000, azp: "client" }, known],
      ["no auth_time", { azp: "client" }, known],
      ["an auth_time, where the one before is unknown", { auth_time: now }, { sub: "u1" }],
      ["an azp, where the one before is unknown", { azp: "client" }, { sub: "u1" }],
      ["no azp, as before", {}, none]
    ]
    for (const [what, changes, previous] of same) {
      it(`accepts ${what}`, () => {
        assert.isUndefined(judge(changes, { ...refresh, maxAge: 300, previous }))
      })
    }

    const another: ReadonlyArray<readonly [reason: string, Members, Previous]> = [
      ["sub", { sub: "u2", azp: "client" }, known],
      ["nonce", { nonce: "n-2", azp: "client" }, known],
      ["nonce", { nonce: null, azp: "client" }, known],
      ["auth_time", { auth_time: now, azp: "client" }, known],
      ["auth_time", { auth_time: String(known.authTime), azp: "client" }, known],
      ["azp", {}, known],
      ["azp", { azp: "client" }, none]
    ]
    for (const [reason, changes, previous] of another) {
      it(`refuses another ${reason}: ${JSON.stringify(changes)}`, () => {
        assert.deepStrictEqual<unknown>(
          judge(changes, { ...refresh, previous }),
          { reason, problem: `its ${reason} is another than before${reason === "sub" ? "" : " the refresh"}` }
        )
      })
    }

    for (const [reason, changes] of [["iss", { iss: "x" }], ["aud", { aud: "x" }], ["exp", { exp: 1 }]] as const) {
      it(`refuses a wrong ${reason}, as in a login`, () => {
        assert.strictEqual(judge(changes, refresh)?.reason, reason)
      })
    }
  })

  describe("properties", () => {
    const claim = FastCheck.constantFrom("iss", "sub", "aud", "exp", "iat", "nonce")
    const junk = FastCheck.oneof(FastCheck.jsonValue(), FastCheck.anything())

    it.prop("a claim that has to be there cannot be replaced", [claim, FastCheck.jsonValue()], ([name, value]) => {
      FastCheck.pre(typeof value !== "number" && !(name === "sub" && typeof value === "string"))
      assert.strictEqual(judge({ [name]: value })?.reason, name)
    }, { fastCheck: { numRuns: 300 } })

    it.prop("never throws, and its problems quote nothing", [
      FastCheck.dictionary(
        FastCheck.constantFrom(...Object.keys(good), "azp", "nbf", "auth_time", "acr"),
        junk
      ),
      FastCheck.boolean()
    ], ([claims, again]) => {
      const expected = { ...again ? refresh : login, maxAge: 1, acrValues: ["a"] }
      const { problem } = idTokenProblem({ ...good, ...claims }, expected, now) ?? { problem: "it is accepted" }
      assert.match(problem, /^(?:it|its) [A-Za-z0-9_ ,]+$/)
    }, { fastCheck: { numRuns: 1000 } })
  })

  describe("at_hash", () => {
    // OpenID Connect Core 1.0 appendix A.4; the longer hashes by openssl.
    const token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    const hash = "77QmUPtjPfzWtF2AnpK9RQ"
    const sha384 = "jtAeDp945y1dDqU3nkIVGNZP1HjH_MFs"
    const sha512 = "q7nS86GgvvFaZkzALLWqJYaJIKw2wCDAVfCAsm5CrBM"

    const rows: ReadonlyArray<readonly [alg: string, hash: string | undefined]> = [
      ...["RS256", "ES256", "PS256"].map((alg) => [alg, hash] as const),
      ...["RS384", "ES384", "PS384"].map((alg) => [alg, sha384] as const),
      ...["RS512", "ES512", "PS512", "EdDSA", "Ed25519"].map((alg) => [alg, sha512] as const),
      ...["none", "", "256", "RS1", "Ed448", "toString"].map((alg) => [alg, undefined] as const)
    ]
    for (const [alg, expected] of rows) {
      it.effect(`by ${alg === "" ? "no algorithm" : alg}`, () =>
        Effect.gen(function*() {
          assert.strictEqual(yield* Effect.promise(() => atHashOf(token, alg)), expected)
        }))
    }

    it.effect("is nothing where the runtime has no WebCrypto", () =>
      Effect.gen(function*() {
        vi.stubGlobal("crypto", undefined)
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.unstubAllGlobals()))
        assert.isUndefined(yield* Effect.promise(() => atHashOf(token, "RS256")))
      }).pipe(Effect.scoped))

    const mismatch = { reason: "at_hash", problem: "its at_hash is not that of the access token beside it" }
    const unknown = { reason: "at_hash", problem: "its at_hash cannot be computed for its alg" }
    const checks: ReadonlyArray<readonly [what: string, Members, token: string, alg: string, problem: unknown]> = [
      ["accepts the right one", { at_hash: hash }, token, "RS256", undefined],
      ["accepts none", {}, token, "RS256", undefined],
      ["accepts none for an algorithm without a hash", {}, token, "none", undefined],
      ["refuses that of another token", { at_hash: hash }, `${token}x`, "RS256", mismatch],
      ["refuses that of another algorithm", { at_hash: hash }, token, "RS512", mismatch],
      ["refuses padding", { at_hash: `${hash}==` }, token, "RS256", mismatch],
      ["refuses an empty one", { at_hash: "" }, token, "RS256", mismatch],
      ["refuses null", { at_hash: null }, token, "RS256", mismatch],
      ["refuses an array of it", { at_hash: [hash] }, token, "RS256", mismatch],
      ["refuses what it cannot compute", { at_hash: hash }, token, "none", unknown],
      [
        "refuses text like the result of no hash",
        { at_hash: "undefined" },
        token,
        "none",
        unknown
      ]
    ]
    for (const [what, claims, accessToken, alg, problem] of checks) {
      it.effect(what, () =>
        Effect.gen(function*() {
          assert.deepStrictEqual<unknown>(yield* Effect.promise(() => atHashProblem(claims, accessToken, alg)), problem)
        }))
    }
  })
})
