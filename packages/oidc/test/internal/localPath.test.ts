import { assert, describe, it } from "@effect/vitest"
import { FastCheck } from "effect"
import { localPath } from "../../src/internal/browser/localPath.ts"

const site = "https://app.example"

describe("localPath", () => {
  const accepted: ReadonlyArray<readonly [value: string, path: string]> = [
    ["/", "/"],
    ["/a/b?c=d&e=//f#g", "/a/b?c=d&e=//f#g"],
    ["/?next=https://evil.example", "/?next=https://evil.example"],
    ["/#//evil.example", "/#//evil.example"],
    ["/a//b", "/a//b"],
    ["/a/../b/./c", "/b/c"],
    ["/../../a", "/a"],
    ["/%2e%2e/a", "/a"],
    ["/a\\b", "/a/b"],
    ["/a?b=\\\\evil#\\c", "/a?b=%5C%5Cevil#%5Cc"],
    ["/@evil.example", "/@evil.example"],
    ["/:80/a", "/:80/a"],
    ["/https://evil.example", "/https://evil.example"],
    ["/javascript:alert(1)", "/javascript:alert(1)"],
    ["/a b?c d#e f", "/a%20b?c%20d#e%20f"],
    ["/ü?ü#ü", "/%C3%BC?%C3%BC#%C3%BC"],
    ["/\ud800", "/%EF%BF%BD"],
    ["/\u2028/evil", "/%E2%80%A8/evil"],
    ["/a/%2f/b", "/a/%2f/b"],
    ["/a?b=%2f%0d%0a", "/a?b=%2f%0d%0a"],
    [`/${"a".repeat(2047)}`, `/${"a".repeat(2047)}`]
  ]
  for (const [value, path] of accepted) {
    it(`${JSON.stringify(value).slice(0, 50)} leads to ${path.slice(0, 50)}`, () => {
      assert.strictEqual(localPath(value), path)
    })
  }

  const refused: ReadonlyArray<readonly [what: string, value: unknown]> = [
    ["another origin", "https://evil.example/"],
    ["even this site's own", `${site}/a`],
    ["a scheme without slashes", "https:evil.example"],
    ["a scheme with a path", "https:/evil.example"],
    ["a script", "javascript:alert(1)"],
    ["data", "data:text/html,x"],
    ["two slashes", "//evil.example"],
    ["two slashes and the name that paths are tried with", "//local.invalid/a"],
    ["three slashes", "///evil.example"],
    ["two slashes and a user", "//app.example@evil.example"],
    ["a slash and a backslash", "/\\evil.example"],
    ["a backslash and a slash", "\\/evil.example"],
    ["two backslashes", "\\\\evil.example"],
    ["one backslash", "\\evil.example"],
    ["a tab between slashes", "/\t/evil.example"],
    ["a tab before them", "\t//evil.example"],
    ["a line feed between slashes", "/\n/evil.example"],
    ["a carriage return between slashes", "/\r/evil.example"],
    ["a line feed that would start a header", "/a\r\nSet-Cookie: a=b"],
    ["a tab far behind", "/a?b=\t"],
    ["a NUL", "/\0/evil.example"],
    ["a DEL", "/\x7f"],
    ["a space before", " //evil.example"],
    ["a space before a good path", " /a"],
    ["dots that leave two slashes", "/..//evil.example"],
    ["a dot that leaves two slashes", "/.//evil.example"],
    ["a folder left that leaves two slashes", "/a/..//evil.example"],
    ["escaped dots that leave two slashes", "/%2E%2e//evil.example"],
    ["half escaped dots that leave two slashes", "/.%2e//evil.example"],
    ["dots and backslashes", "/..\\\\evil.example"],
    ["dots between backslashes", "/a\\..\\\\evil.example"],
    ["an escaped slash", "/%2f/evil.example"],
    ["an escaped slash alone", "/%2Fevil.example"],
    ["an escaped backslash", "/%5cevil.example"],
    ["dots before an escaped slash", "/../%2fevil.example"],
    ["a relative path", "a/b"],
    ["dots only", "../a"],
    ["a query only", "?a=b"],
    ["a fragment only", "#a"],
    ["nothing", ""],
    ["a path too long", `/${"a".repeat(2048)}`],
    ["a path that is too long before it is resolved", `/${"a/../".repeat(450)}`],
    ["a path that is too long when escaped", `/${"ü".repeat(400)}`],
    ["undefined", undefined],
    ["null", null],
    ["a number", 1],
    ["an array of a path", ["/a"]],
    ["an object that prints a path", { toString: () => "/a" }],
    ["a String object", Object("/a")]
  ]
  for (const [what, value] of refused) {
    it(`refuses ${what}`, () => {
      assert.isUndefined(localPath(value))
    })
  }

  const piece = FastCheck.constantFrom(
    ..."/\\.@:?#%;&=[]|^ \t\n\r\0aZ2fF5cCeE0dD",
    "//",
    "/\\",
    "..",
    "%2e",
    "%2f",
    "%5C",
    "%09",
    "evil.example",
    "https:",
    "javascript:",
    "\u3002",
    "\uff0f",
    "\u2215",
    "\u00a0",
    "\ud800",
    "\udfff"
  )
  const hostile = FastCheck.string({ unit: piece, maxLength: 12 })

  const keepsToThisSite = (value: string) => {
    const path = localPath(value)
    if (path === undefined) return
    const url = new URL(path, site)
    assert.strictEqual(url.origin, site)
    assert.strictEqual(new URL(url.href).origin, site)
    assert.strictEqual(new URL(`${url.pathname}${url.search}${url.hash}`, site).href, url.href)
    assert.strictEqual(`${site}${path}`, url.href)
    assert.strictEqual(localPath(path), path)
    assert.match(path, /^\/(?![/\\])[\x21-\x7e]*$/)
    assert.notInclude(path, "\\")
  }

  it.prop("keeps to this site, and to what it gave", [hostile], ([value]) => {
    keepsToThisSite(value)
    keepsToThisSite(`/${value}`)
    keepsToThisSite(`/..${value}`)
  }, { fastCheck: { numRuns: 3000 } })

  it.prop("never throws", [FastCheck.anything()], ([value]) => {
    assert.include(["string", "undefined"], typeof localPath(value))
  })
})
