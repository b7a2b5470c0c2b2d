import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { crossSiteProblem } from "../../src/internal/browser/sameSite.ts"

const origin = "https://app.example"

type Headers = Readonly<Record<string, string | undefined>>

const problemOf = (headers: Headers, method = "POST") => crossSiteProblem({ method, headers }, origin)

describe("crossSiteProblem", () => {
  const accepted: ReadonlyArray<readonly [what: string, Headers]> = [
    ["both headers of this site", { "sec-fetch-site": "same-origin", origin }],
    ["a page of this site that tells nobody where it is", { "sec-fetch-site": "same-origin", origin: "null" }],
    ["Sec-Fetch-Site alone", { "sec-fetch-site": "same-origin" }],
    ["Origin alone, of an older browser", { origin }],
    ["Origin alone, the other one undefined", { origin, "sec-fetch-site": undefined }]
  ]
  for (const [what, headers] of accepted) {
    it(`accepts ${what}`, () => {
      assert.isUndefined(problemOf(headers))
    })
  }

  const notSame = "its Sec-Fetch-Site is not same-origin"
  const notOurs = "its Origin is not that of this site"
  const nulled = "its Origin is null, and it has no Sec-Fetch-Site"
  const refused: ReadonlyArray<readonly [what: string, Headers, problem: string]> = [
    ["neither header", {}, "it has neither Sec-Fetch-Site nor Origin"],
    ["neither header, but a Referer", { referer: `${origin}/` }, "it has neither Sec-Fetch-Site nor Origin"],
    ["another site", { "sec-fetch-site": "cross-site", origin: "https://evil.example" }, notSame],
    ["another site that says our origin", { "sec-fetch-site": "cross-site", origin }, notSame],
    ["a neighbouring subdomain", { "sec-fetch-site": "same-site", origin: "https://other.app.example" }, notSame],
    ["no page at all", { "sec-fetch-site": "none" }, notSame],
    ["no page at all, our origin", { "sec-fetch-site": "none", origin }, notSame],
    ["an unknown word", { "sec-fetch-site": "same-planet", origin }, notSame],
    ["an empty word", { "sec-fetch-site": "", origin }, notSame],
    ["the header twice", { "sec-fetch-site": "same-origin, cross-site", origin }, notSame],
    ["other letter case", { "sec-fetch-site": "Same-Origin", origin }, notSame],
    ["another origin alone", { origin: "https://evil.example" }, notOurs],
    ["another origin though same-origin", { "sec-fetch-site": "same-origin", origin: "https://evil.example" }, notOurs],
    ["another scheme", { origin: "http://app.example" }, notOurs],
    ["another port", { origin: "https://app.example:444" }, notOurs],
    ["ours as its beginning", { origin: "https://app.example.evil.example" }, notOurs],
    ["ours with a slash", { origin: `${origin}/` }, notOurs],
    ["ours among others", { origin: `${origin}, https://evil.example` }, notOurs],
    ["an empty origin", { origin: "" }, notOurs],
    ["a null origin", { origin: "null" }, nulled],
    ["a null origin of a sandboxed page", { "sec-fetch-site": "cross-site", origin: "null" }, notSame]
  ]
  for (const [what, headers, problem] of refused) {
    it(`refuses ${what}`, () => {
      assert.strictEqual(problemOf(headers), problem)
    })
  }

  it("refuses a null origin even where the site's own cannot be told", () => {
    assert.strictEqual(crossSiteProblem({ method: "POST", headers: { origin: "null" } }, "null"), nulled)
  })

  for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "post", ""]) {
    it(`refuses ${method === "" ? "no method" : method}`, () => {
      assert.strictEqual(problemOf({ "sec-fetch-site": "same-origin", origin }, method), "its method is not POST")
    })
  }

  const value = FastCheck.option(
    FastCheck.oneof(FastCheck.constantFrom("same-origin", "none", "same-site", "null", origin), FastCheck.string()),
    { nil: undefined }
  )
  it.prop("nothing else is accepted", [value, value, FastCheck.constantFrom("POST", "GET")], ([site, from, method]) => {
    const told = from === "null" && site !== undefined ? undefined : from
    const ours = method === "POST" && (site ?? "same-origin") === "same-origin" && (told ?? origin) === origin &&
      (site !== undefined || from !== undefined)
    assert.strictEqual(problemOf({ "sec-fetch-site": site, origin: from }, method) === undefined, ours)
  }, { fastCheck: { numRuns: 1000 } })
})
