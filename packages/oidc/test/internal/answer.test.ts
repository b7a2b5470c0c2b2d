import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck, Redacted } from "effect"
import { inspect } from "node:util"
import { issuerProblem, parseAnswer } from "../../src/internal/login/answer.ts"

const issuer = "https://id.example"

const parsed = (query: string) => parseAnswer(new URLSearchParams(query))

const problemOf = (query: string) =>
  Either.match(parsed(query), { onLeft: ({ problem }) => problem, onRight: () => "" })

const shown = (query: string) =>
  Either.map(parsed(query), (answer) => ({
    ...answer,
    ...(answer._tag === "Code" ? { code: Redacted.value(answer.code) } : {}),
    state: answer.state === undefined ? undefined : Redacted.value(answer.state)
  }))

const refusal = { _tag: "Refused", error: "access_denied", errorDescription: undefined, state: "s", issuer: undefined }

describe("answer", () => {
  describe("parseAnswer", () => {
    const accepted: ReadonlyArray<readonly [what: string, query: string, answer: Readonly<Record<string, unknown>>]> = [
      ["a code", "code=c&state=s", { _tag: "Code", code: "c", state: "s", issuer: undefined }],
      ["a code with its issuer", "code=c&state=s&iss=https%3A%2F%2Fid.example", {
        _tag: "Code",
        code: "c",
        state: "s",
        issuer
      }],
      ["every character that a code may have", "code=%20!%22%5C~%2B&state=%7B%22a%22%3A1%7D", {
        _tag: "Code",
        code: " !\"\\~+",
        state: "{\"a\":1}",
        issuer: undefined
      }],
      ["unknown parameters, also twice", "code=c&state=s&session_state=x&scope=a&scope=b&hd=", {
        _tag: "Code",
        code: "c",
        state: "s",
        issuer: undefined
      }],
      ["an error", "error=access_denied&state=s", refusal],
      ["an error without state", "error=access_denied", { ...refusal, state: undefined }],
      [
        "an error with all it may have",
        "error=access_denied&error_description=not+you&error_uri=x&state=s&iss=https:%2F%2Fid.example",
        {
          ...refusal,
          errorDescription: "not you",
          issuer
        }
      ],
      [
        "a description beyond the grammar",
        "error=access_denied&state=s&error_description=AADSTS%3A%0D%0A%22%C3%BC%22%00",
        {
          ...refusal,
          errorDescription: "AADSTS: \"ü\""
        }
      ],
      ["a description of nothing", "error=access_denied&state=s&error_description=%0A", refusal],
      [
        "a description that repeats the state",
        "error=access_denied&state=secret&error_description=bad+secret,+secret",
        {
          ...refusal,
          errorDescription: "bad <redacted>, <redacted>",
          state: "secret"
        }
      ]
    ]
    for (const [what, query, answer] of accepted) {
      it(`reads ${what}`, () => {
        assert.deepStrictEqual<unknown>(shown(query), Either.right(answer))
      })
    }

    const charset = (name: string) => `${name} is empty or has characters that it cannot have`
    const refused: ReadonlyArray<readonly [what: string, query: string, problem: string]> = [
      ["nothing", "", "it has neither a code nor an error"],
      ["a state only", "state=s", "it has neither a code nor an error"],
      ["a code without state", "code=c", "it has no state"],
      ["a code and an error", "code=c&state=s&error=access_denied", "it has both a code and an error"],
      ["two codes", "code=c&code=d&state=s", "code is there more than once"],
      ["one code twice", "code=c&code=c&state=s", "code is there more than once"],
      ["two states", "code=c&state=s&state=t", "state is there more than once"],
      ["a state and an empty one", "code=c&state=s&state=", "state is there more than once"],
      ["two issuers", "code=c&state=s&iss=a&iss=b", "iss is there more than once"],
      ["two errors", "error=a&error=b&state=s", "error is there more than once"],
      [
        "two descriptions",
        "error=a&error_description=b&error_description=c",
        "error_description is there more than once"
      ],
      ["two error URIs", "error=a&error_uri=b&error_uri=c", "error_uri is there more than once"],
      [
        "two descriptions beside a code",
        "code=c&state=s&error_description=b&error_description=c",
        "error_description is there more than once"
      ],
      ["an empty code", "code=&state=s", charset("code")],
      ["an empty code beside an error", "code=&error=access_denied&state=s", charset("code")],
      ["an empty state", "code=c&state=", charset("state")],
      ["an empty error", "error=&state=s", charset("error")],
      ["an empty issuer", "code=c&state=s&iss=", charset("iss")],
      ["a line feed in a code", "code=c%0Ad&state=s", charset("code")],
      ["a line feed after a code", "code=c%0A&state=s", charset("code")],
      ["a NUL in a state", "code=c&state=s%00", charset("state")],
      ["more than ASCII in a code", "code=%C3%BC&state=s", charset("code")],
      ["a quote in an error", "error=a%22b&state=s", charset("error")],
      ["a backslash in an error", "error=a%5Cb&state=s", charset("error")],
      ["a space in an issuer", "code=c&state=s&iss=a+b", charset("iss")],
      ["a long code", `code=${"c".repeat(8193)}&state=s`, "code is longer than 8192 characters"],
      ["a long state", `code=c&state=${"s".repeat(1025)}`, "state is longer than 1024 characters"],
      ["a long error", `error=${"e".repeat(257)}&state=s`, "error is longer than 256 characters"],
      ["a long issuer", `code=c&state=s&iss=${"i".repeat(2049)}`, "iss is longer than 2048 characters"]
    ]
    for (const [what, query, problem] of refused) {
      it(`refuses ${what}`, () => {
        assert.deepStrictEqual<unknown>(parsed(query), Either.left({ reason: "form", problem }))
      })
    }

    it("shows neither code nor state", () => {
      const text = inspect([parsed("code=secret-c&state=secret-s"), parsed("error=a&state=secret-s")], { depth: 9 })
      assert.include(text, "redacted")
      assert.notInclude(text, "secret")
    })

    const name = FastCheck.constantFrom("code", "state", "iss", "error", "error_description", "error_uri", "x")
    const value = FastCheck.oneof(FastCheck.constantFrom("c", "s", issuer, ""), FastCheck.string({ unit: "binary" }))
    it.prop(
      "never throws, and its problems quote nothing",
      [FastCheck.array(FastCheck.tuple(name, value))],
      ([pairs]) => {
        const query = String(new URLSearchParams(pairs))
        assert.match(problemOf(query), /^(?:(?:code|state|iss|error|error_description|error_uri|it) [a-z0-9 ]+)?$/)
        const answer = Either.getOrUndefined(parsed(query))
        if (answer?._tag !== "Refused") return
        assert.match(answer.error, /^[\x20-\x7e]{1,256}$/)
        assert.notMatch(answer.errorDescription ?? "", /\p{C}/u)
      },
      { fastCheck: { numRuns: 1000 } }
    )
  })

  describe("issuerProblem", () => {
    const wrong = "its iss is another server than the login was sent to"
    const rows: ReadonlyArray<
      readonly [what: string, iss: string | undefined, supported: boolean, string | undefined]
    > = [
      ["the right one", issuer, true, undefined],
      ["the right one of a server that does not say so", issuer, false, undefined],
      ["none of a server that does not send it", undefined, false, undefined],
      ["none of a server that sends it", undefined, true, "it has no iss, which this server always sends"],
      ["another one", "https://evil.example", true, wrong],
      ["another one of a server that does not say so", "https://evil.example", false, wrong],
      ["an empty one", "", false, wrong],
      ["a slash more", `${issuer}/`, true, wrong],
      ["other letter case", "https://ID.example", true, wrong],
      ["the default port", `${issuer}:443`, true, wrong]
    ]
    for (const [what, iss, supported, problem] of rows) {
      it(what, () => {
        assert.strictEqual(issuerProblem(iss, { issuer, supported }), problem)
      })
    }
  })
})
