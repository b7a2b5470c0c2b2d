import { WwwAuthenticate } from "@effect-oauth/core"
import * as Headers from "@effect/platform/Headers"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck, Option } from "effect"

const parsed = (header: string) =>
  WwwAuthenticate.parse(header).map(({ parameters, scheme, token68 }) => [scheme, token68 ?? { ...parameters }])

describe("WwwAuthenticate", () => {
  const rows: ReadonlyArray<readonly [header: string, challenges: ReadonlyArray<unknown>]> = [
    ["Bearer", [["bearer", {}]]],
    ["Bearer realm=\"x\"", [["bearer", { realm: "x" }]]],
    ["BEARER ERROR=invalid_token", [["bearer", { error: "invalid_token" }]]],
    ["Bearer a=\"1, 2\", b=\"say \\\"hi\\\"\" , c = d", [["bearer", { a: "1, 2", b: "say \"hi\"", c: "d" }]]],
    ["Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"", [
      ["newauth", { realm: "apps", type: "1", title: "Login to \"apps\"" }],
      ["basic", { realm: "simple" }]
    ]],
    ["Negotiate, Bearer error=\"x\"", [["negotiate", {}], ["bearer", { error: "x" }]]],
    ["Negotiate YII==, DPoP algs=\"ES256 PS256\"", [["negotiate", "YII=="], ["dpop", { algs: "ES256 PS256" }]]],
    [",, Bearer ,, a=1,,", [["bearer", { a: "1" }]]],
    ["Bearer a=1, a=2", [["bearer", { a: "1" }]]],
    ["Bearer error=\"unterminated", [["bearer", {}]]],
    ["Basic realm=\"basic", [["basic", {}]]],
    ["Basic realm=\"a\\", [["basic", {}]]],
    ["Basic realm=", [["basic", "realm="]]],
    ["Basic realm=;", [["basic", {}]]],
    ["Basic realm=,charset=\"UTF-8\"", [["basic", "realm="]]],
    ["Basic realm=\"a\"b", [["basic", {}]]],
    ["Basic realm=\"a\"b=c", [["basic", {}]]],
    ["Basic realm=a b", [["basic", {}]]],
    ["Basic a=\"1\" b=\"2\", c=3", [["basic", { a: "1", b: "2", c: "3" }]]],
    ["Bearer a=\"1\", realm=\"x, Basic realm=\"y\"", [["bearer", { a: "1" }]]],
    ["Bearer a=\"1\", realm =\"x", [["bearer", { a: "1" }]]],
    ["Bearer a=\"1\", realm =", [["bearer", { a: "1" }]]],
    ["Bearer a=\"1\", realm \"x\"", [["bearer", { a: "1" }]]],
    ["Bearer a=\"1\", type==, Basic", [["bearer", { a: "1" }]]],
    ["Bearer a=\"1\" Basic b=\"2\"", [["bearer", {}]]],
    ["Bearer a=\"1\", Basic b=\"2", [["bearer", { a: "1" }], ["basic", {}]]],
    ["Bearer abc def", []],
    ["OAuth \"Platform\" \"invalid_token\"", []],
    ["Bearer\"x\"", []],
    ["realm=\"x\"", []],
    ["Negotiate YII==, realm=\"x\"", [["negotiate", "YII=="]]],
    ["Negotiate YII=x", [["negotiate", { yii: "x" }]]],
    ["Bearer __proto__=\"x\"", [["bearer", { ["__proto__"]: "x" }]]],
    ["", []],
    ["\"", []]
  ]
  for (const [header, challenges] of rows) {
    it(`reads ${header === "" ? "nothing" : header}`, () => {
      assert.strictEqual(JSON.stringify(parsed(header)), JSON.stringify(challenges))
    })
  }

  const name = FastCheck.string({ unit: FastCheck.constantFrom("a", "B", "-", "7"), minLength: 1, maxLength: 5 })
  const value = FastCheck.string({ maxLength: 10 }).filter((text) => !/[\r\n]/.test(text))

  it.prop("reads back what the grammar can write", [
    FastCheck.array(
      FastCheck.tuple(
        name,
        FastCheck.uniqueArray(FastCheck.tuple(name, value), { selector: ([key]) => key.toLowerCase() })
      ),
      { maxLength: 4 }
    )
  ], ([challenges]) => {
    const quote = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`
    const header = challenges.map(([scheme, parameters]) =>
      `${scheme} ${parameters.map(([key, text]) => `${key}=${quote(text)}`).join(", ")}`.trim()
    ).join(", ")
    assert.deepStrictEqual(
      WwwAuthenticate.parse(header).map(({ parameters, scheme }) => [scheme, Object.entries(parameters)]),
      challenges.map(([scheme, parameters]) => [
        scheme.toLowerCase(),
        Object.entries(Object.fromEntries(parameters.map(([key, text]) => [key.toLowerCase(), text])))
      ])
    )
  })

  const sound = FastCheck.array(
    FastCheck.tuple(
      FastCheck.constantFrom("Bearer", "DPoP", "Basic"),
      FastCheck.uniqueArray(FastCheck.tuple(FastCheck.constantFrom("realm", "error", "scope", "nonce"), value), {
        selector: ([key]) => key,
        minLength: 1
      })
    ),
    { minLength: 1, maxLength: 3 }
  )
  /** A quoted text that does not end, or after which something comes that cannot be there. */
  const broken = FastCheck.oneof(
    FastCheck.tuple(
      FastCheck.string({ unit: FastCheck.constantFrom("a", " ", ",", "=", "\\") }),
      FastCheck.constant("")
    ),
    FastCheck.tuple(
      value,
      FastCheck.constantFrom(
        "b",
        "\"\"",
        "=",
        ";",
        " b",
        " Fake",
        " \"x\"",
        "b=c",
        " Fake, Other",
        "Fake realm=\"x\"",
        " ="
      )
    )
  )

  it.prop(
    "gives nothing that is not there, where a text breaks off",
    [sound, FastCheck.nat(), FastCheck.nat(), broken],
    (
      [challenges, which, where, [text, junk]]
    ) => {
      const quote = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`
      const last = which % challenges.length
      const [scheme, parameters] = challenges[last]!
      const kept = where % parameters.length
      const before = challenges.slice(0, last)
      const write = ([scheme, parameters]: typeof challenges[number], more: ReadonlyArray<string> = []) =>
        `${scheme} ${[...parameters.map(([key, text]) => `${key}=${quote(text)}`), ...more].join(", ")}`
      const end = junk === "" ? `"${text}` : quote(text) + junk
      const header = [
        ...before.map((one) => write(one)),
        write([scheme, parameters.slice(0, kept)], [`${parameters[kept]![0]}=${end}`])
      ].join(", ")
      assert.deepStrictEqual(
        WwwAuthenticate.parse(header).map((
          { parameters, scheme, token68 }
        ) => [scheme, Object.entries(parameters), token68]),
        [...before, [scheme, parameters.slice(0, kept)] as const].map(([scheme, parameters]) => [
          scheme.toLowerCase(),
          parameters,
          undefined
        ])
      )
    },
    { fastCheck: { numRuns: 2000 } }
  )

  it.prop("never throws, whatever an API sends", [FastCheck.string({ unit: "binary" })], ([header]) => {
    assert.isArray(WwwAuthenticate.parse(header))
    assert.isArray(WwwAuthenticate.parse(`Bearer ${header}`))
  }, { fastCheck: { numRuns: 1000 } })

  const answer = (status: number, header: string) => ({
    status,
    headers: Headers.fromInput({ "www-authenticate": header })
  })

  it("insufficient scope is a value (RFC 6750)", () => {
    const header = "Bearer realm=\"x\", error=\"insufficient_scope\", scope=\"a b\""
    assert.deepStrictEqual(WwwAuthenticate.insufficientScope(answer(403, header)), Option.some({ scope: "a b" }))
    assert.deepStrictEqual(WwwAuthenticate.insufficientScope(answer(401, header)), Option.none())
    assert.deepStrictEqual(WwwAuthenticate.insufficientScope({ status: 403, headers: Headers.empty }), Option.none())
  })

  it("insufficient user authentication is a value (RFC 9470 section 3)", () => {
    const header = "Bearer error=\"insufficient_user_authentication\", acr_values=\"gold silver\", max_age=\"5\""
    assert.deepStrictEqual(
      WwwAuthenticate.insufficientUserAuthentication(answer(401, header)),
      Option.some({ acrValues: ["gold", "silver"], maxAge: 5 })
    )
    assert.deepStrictEqual(
      WwwAuthenticate.insufficientUserAuthentication(answer(401, "Bearer error=\"insufficient_user_authentication\"")),
      Option.some({ acrValues: [], maxAge: undefined })
    )
  })
})

it("what format says is what parse reads", () => {
  const name = FastCheck.stringMatching(/^[a-z_]{1,8}$/)
  const value = FastCheck.stringMatching(/^[\x20\x21\x23-\x5b\x5d-\x7e]{0,20}$/)
  const challenge = FastCheck.record({
    scheme: name,
    parameters: FastCheck.dictionary(name, value, { noNullPrototype: true })
  })
  FastCheck.assert(FastCheck.property(FastCheck.array(challenge), (challenges) => {
    const read = WwwAuthenticate.parse(WwwAuthenticate.format(challenges))
    assert.deepStrictEqual(
      read.map(({ parameters, scheme }) => ({ scheme, parameters: { ...parameters } })),
      challenges
    )
  }))
  const format = (error: string) =>
    WwwAuthenticate.format([{ scheme: "Bearer", parameters: { error, scope: undefined } }])
  assert.strictEqual(format(`a"\\\r\nb`), `Bearer error="a????b"`)
})
