import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { frontchannelProblem, logoutProblem, readLogout } from "../../src/internal/logout/logoutClaims.ts"

const now = 1_700_000_000
const issuer = "https://id.example"
const event = "http://schemas.openid.net/event/backchannel-logout"

const good = {
  iss: issuer,
  sub: "u1",
  aud: "client",
  iat: now,
  exp: now + 120,
  jti: "j-1",
  events: { [event]: {} },
  sid: "s-1"
}

const expected = { issuer, clientId: "client", clockTolerance: 60 }

type Members = Readonly<Record<string, unknown>>

/** A member that is `undefined` is left out, as JSON has no such thing. */
const claimsWith = (changes: Members): Members =>
  Object.fromEntries(Object.entries({ ...good, ...changes }).filter(([, value]) => value !== undefined))

const judge = (changes: Members) => logoutProblem(claimsWith(changes), expected, now)

describe("logoutClaims", () => {
  const accepted: ReadonlyArray<readonly [what: string, Members]> = [
    ["a user and a session", {}],
    ["a user only", { sid: undefined }],
    ["a session only", { sub: undefined }],
    ["several audiences", { aud: ["other", "client"] }],
    ["other events beside", { events: { [event]: {}, "urn:other": 1 } }],
    ["an event with members", { events: { [event]: { a: 1 } } }],
    ["a token as old as it may be", { iat: now - 660, exp: now - 59 }],
    ["a server whose clock is ahead", { iat: now + 60 }],
    ["an nbf within the tolerance", { nbf: now + 60 }]
  ]
  for (const [what, changes] of accepted) {
    it(`accepts ${what}`, () => {
      assert.isUndefined(judge(changes))
    })
  }

  const wrongIss = "its iss is not the issuer of this client"
  const wrongAud = "its aud is neither a string nor an array of strings"
  const noEvent = "its events does not have the event of a back-channel logout"
  const noObject = "its events is not an object"
  const wrongSub = "its sub is not a string of 1 to 255 ASCII characters"
  const wrongSid = "its sid is not a string of 1 to 1024 characters"
  const wrongJti = "its jti is not a string of 1 to 256 characters"
  const refused: ReadonlyArray<readonly [what: string, Members, reason: string, problem: string]> = [
    ["no iss", { iss: undefined }, "iss", wrongIss],
    ["the iss of another server", { iss: "https://evil.example" }, "iss", wrongIss],
    ["no aud", { aud: undefined }, "aud", wrongAud],
    ["the aud of another client", { aud: ["other"] }, "aud", "its aud does not have this client"],
    ["a nonce", { nonce: "n" }, "nonce", "it has a nonce"],
    ["a nonce of null", { nonce: null }, "nonce", "it has a nonce"],
    ["an ID token", { nonce: "n", events: undefined, jti: undefined }, "nonce", "it has a nonce"],
    ["an ID token without nonce", { events: undefined, jti: undefined }, "events", noObject],
    ["events that are an array", { events: [event] }, "events", noObject],
    ["events that are text", { events: event }, "events", noObject],
    ["events that are null", { events: null }, "events", noObject],
    ["no event", { events: {} }, "events", noEvent],
    ["another event", { events: { "urn:other": {} } }, "events", noEvent],
    ["an inherited event", { events: Object.create({ [event]: {} }) }, "events", noEvent],
    ["an event that is true", { events: { [event]: true } }, "events", noEvent],
    ["an event that is null", { events: { [event]: null } }, "events", noEvent],
    ["an event that is an array", { events: { [event]: [] } }, "events", noEvent],
    ["no iat", { iat: undefined }, "iat", "it has no iat"],
    ["an iat that is text", { iat: String(now) }, "iat", "its iat is not a number"],
    ["an iat in the future", { iat: now + 61 }, "iat", "its iat is in the future"],
    ["an old token that does not expire", { iat: now - 661, exp: now + 1e9 }, "iat", "it is older than 600 s"],
    ["no exp", { exp: undefined }, "exp", "it has no exp"],
    ["an exp of 1e999", { exp: Infinity }, "exp", "its exp is not a number"],
    ["an exp that is over", { exp: now - 60 }, "exp", "it has expired"],
    ["an nbf in the future", { nbf: now + 61 }, "nbf", "it is not valid yet"],
    ["an nbf that is text", { nbf: String(now) }, "nbf", "its nbf is not a number"],
    ["no jti", { jti: undefined }, "jti", wrongJti],
    ["an empty jti", { jti: "" }, "jti", wrongJti],
    ["a jti that is a number", { jti: 1 }, "jti", wrongJti],
    ["a jti that is too long", { jti: "j".repeat(257) }, "jti", wrongJti],
    ["neither sub nor sid", { sub: undefined, sid: undefined }, "subject", "it has neither sub nor sid"],
    ["an empty sub beside a sid", { sub: "" }, "subject", wrongSub],
    ["a sub that is null beside a sid", { sub: null }, "subject", wrongSub],
    ["an empty sid beside a sub", { sid: "" }, "subject", wrongSid],
    ["a sid that is a number", { sid: 1 }, "subject", wrongSid],
    ["a sid that is too long", { sid: "s".repeat(1025) }, "subject", wrongSid]
  ]
  for (const [what, changes, reason, problem] of refused) {
    it(`refuses ${what}`, () => {
      assert.deepStrictEqual<unknown>(judge(changes), { reason, problem })
    })
  }

  it("refuses everything when the time is unknown", () => {
    assert.strictEqual(logoutProblem(good, expected, NaN)?.reason, "exp")
  })

  describe("readLogout", () => {
    it("reads all of it", () => {
      assert.deepStrictEqual<unknown>(readLogout(good), {
        issuer,
        sub: "u1",
        sid: "s-1",
        jti: "j-1",
        exp: now + 120,
        usableUntil: now + 120
      })
    })

    it("is usable no longer than its age allows, however far its exp is", () => {
      const { exp, usableUntil } = readLogout(claimsWith({ exp: now + 1e9 }))
      assert.deepStrictEqual<unknown>([exp, usableUntil], [now + 1e9, now + 600])
    })

    it("is refused after usableUntil and the tolerance", () => {
      for (const exp of [now + 120, now + 1e9]) {
        const { usableUntil } = readLogout({ ...good, exp })
        assert.isUndefined(logoutProblem({ ...good, exp }, expected, usableUntil + 59))
        assert.isDefined(logoutProblem({ ...good, exp }, expected, usableUntil + 61))
      }
    })

    it("leaves out what is not there, and what cannot be read", () => {
      const { sid, sub } = readLogout(claimsWith({ sub: undefined, sid: undefined }))
      assert.deepStrictEqual<unknown>([sub, sid], [undefined, undefined])
      assert.deepStrictEqual<unknown>(readLogout({ iss: 1, sub: 2, sid: null, jti: [], exp: "4", iat: {} }), {
        issuer: "",
        sub: undefined,
        sid: undefined,
        jti: "",
        exp: 0,
        usableUntil: 0
      })
    })
  })

  it.prop("never throws, and its problems quote nothing", [
    FastCheck.dictionary(
      FastCheck.constantFrom(...Object.keys(good), "nonce"),
      FastCheck.oneof(FastCheck.jsonValue(), FastCheck.anything())
    )
  ], ([claims]) => {
    const { problem } = logoutProblem({ ...good, ...claims }, expected, now) ?? { problem: "it is accepted" }
    assert.match(problem, /^(?:it|its) [A-Za-z0-9 -]+$/)
    assert.strictEqual(typeof readLogout(claims).jti, "string")
  }, { fastCheck: { numRuns: 1000 } })

  describe("frontchannelProblem", () => {
    const problemOf = (query: string) => frontchannelProblem(new URLSearchParams(query), issuer)
    const iss = encodeURIComponent(issuer)

    it("accepts iss and sid, and what else there is", () => {
      assert.isUndefined(problemOf(`iss=${iss}&sid=s&x=1&x=2`))
    })

    const doubled = "iss or sid is there more than once"
    const rows: ReadonlyArray<readonly [what: string, query: string, reason: string, problem: string]> = [
      ["nothing", "", "iss", wrongIss],
      ["iss alone", `iss=${iss}`, "subject", wrongSid],
      ["sid alone", "sid=s", "iss", wrongIss],
      ["another iss", "iss=https://evil.example&sid=s", "iss", wrongIss],
      ["iss with a slash more", `iss=${iss}/&sid=s`, "iss", wrongIss],
      ["an empty sid", `iss=${iss}&sid=`, "subject", wrongSid],
      ["a long sid", `iss=${iss}&sid=${"s".repeat(1025)}`, "subject", wrongSid],
      ["iss twice", `iss=${iss}&iss=${iss}&sid=s`, "form", doubled],
      ["sid twice", `iss=${iss}&sid=s&sid=t`, "form", doubled]
    ]
    for (const [what, query, reason, problem] of rows) {
      it(`refuses ${what}`, () => {
        assert.deepStrictEqual<unknown>(problemOf(query), { reason, problem })
      })
    }
  })
})
