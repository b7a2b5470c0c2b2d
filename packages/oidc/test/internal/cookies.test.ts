import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck } from "effect"
import { type CookieValues, join, namesOf, parse, split, totalLimit } from "../../src/internal/browser/cookies.ts"

const name = "__Host-session"

const sent = (cookies: Iterable<readonly [name: string, value: string]>): CookieValues =>
  parse([...cookies].map(([one, value]) => `${one}=${value}`).join("; "))

/** One value with chunks that differ from each other. */
const valueOf = (length: number) => Array.from({ length }, (_, index) => "abcdefg"[index % 7]).join("")

const letters = [..."ABCxyz019-_."]
const text = FastCheck.string({ unit: FastCheck.constantFrom(...letters), minLength: 1, maxLength: 40 })

describe("cookies", () => {
  describe("parse", () => {
    const rows: ReadonlyArray<
      readonly [what: string, header: string | undefined, Readonly<Record<string, ReadonlyArray<string>>>]
    > = [
      ["no header", undefined, {}],
      ["an empty header", "", {}],
      ["cookies in their order", "a=1; b=2", { a: ["1"], b: ["2"] }],
      ["several of one name in their order", "a=2; b=0; a=1; a=3", { a: ["2", "1", "3"], b: ["0"] }],
      ["no space, more space and tabs", "a=1;b=2;\t c \t= 3 ;", { a: ["1"], b: ["2"], c: ["3"] }],
      ["an equals sign in a value", "a=b=c==", { a: ["b=c=="] }],
      ["an empty value", "a=; b=\"\"", { a: [""], b: [""] }],
      ["quotes around a value, and none within", "a=\"1\"; b=\"; c=x\"y; d=\"", {
        a: ["1"],
        b: ["\""],
        c: ["x\"y"],
        d: ["\""]
      }],
      ["a quote that would swallow another cookie", "a=\"x; s=1; b=y\"", { a: ["\"x"], s: ["1"], b: ["y\""] }],
      ["escapes as they are, be they right or not", "a=%41; b=%; c=%E0%A4%A", {
        a: ["%41"],
        b: ["%"],
        c: ["%E0%A4%A"]
      }],
      ["neither nameless cookies nor those without =", "=x; yes; ; ==; a=1", { a: ["1"] }],
      ["commas and $Version as nothing special", "$Version=1, s=evil; a=1,b=2", {
        $Version: ["1, s=evil"],
        a: ["1,b=2"]
      }],
      ["letter case as it is", "A=1; a=2", { A: ["1"], a: ["2"] }],
      ["names of objects", "__proto__=1; constructor=2", { ["__proto__"]: ["1"], constructor: ["2"] }]
    ]
    for (const [what, header, expected] of rows) {
      it(what, () => {
        assert.deepStrictEqual([...parse(header)], Object.entries(expected).map(([key, values]) => [key, values]))
      })
    }

    for (const space of ["\u00a0", "\u0085", "\u2000", "\u3000", "\ufeff", "\u000b", "\f"]) {
      it(`a name does not lose the space U+${space.charCodeAt(0).toString(16).padStart(4, "0")}`, () => {
        const cookies = parse(`${space}${name}=evil; ${name}${space}=evil; ${name}=good`)
        assert.deepStrictEqual(cookies.get(name), ["good"])
      })
    }

    const costs: ReadonlyArray<readonly [what: string, header: string, size: number]> = [
      ["of separators", ";".repeat(100_000), 0],
      ["of one name", "a=1;".repeat(25_000), 1],
      ["of spaces", `a${" ".repeat(100_000)}b=${" ".repeat(100_000)}"c`, 1],
      ["of quotes", `a=${"\"".repeat(100_000)}`, 1]
    ]
    for (const [what, header, size] of costs) {
      it(`a long header ${what}`, () => {
        assert.strictEqual(parse(header).size, size)
        assert.isTrue(Either.isEither(join(parse(header), "a")))
      })
    }

    it.prop("reads back what browsers write", [FastCheck.array(FastCheck.tuple(text, text))], ([cookies]) => {
      const expected = new Map<string, Array<string>>()
      for (const [key, value] of cookies) expected.set(key, [...expected.get(key) ?? [], value])
      assert.deepStrictEqual([...sent(cookies)], [...expected])
    })

    it.prop("never throws", [FastCheck.string({ unit: "binary" })], ([header]) => {
      assert.instanceOf(parse(header), Map)
    })
  })

  describe("split", () => {
    it("leaves what fits in one cookie", () => {
      const value = valueOf(3899 - name.length)
      assert.deepStrictEqual(split(name, value), [[name, value]])
      assert.deepStrictEqual(split(name, ""), [[name, ""]])
    })

    it("makes chunks of one character more, and says how many they are", () => {
      const chunks = split(name, valueOf(3900 - name.length))
      assert.deepStrictEqual(chunks.map(([one]) => one), [`${name}.0`, `${name}.1`])
      assert.match(chunks[0]![1], /^2\.abc/)
    })

    it("is four cookies at most for what sessions may have", () => {
      assert.strictEqual(split(name, valueOf(totalLimit)).length, 4)
    })

    it("ends for a name that leaves no room", () => {
      assert.strictEqual(split("n".repeat(5000), "abc").length, 3)
    })

    it.prop(
      "every cookie is small enough, and they read back",
      [text, FastCheck.integer({ min: 0, max: totalLimit }), FastCheck.boolean()],
      ([cookie, length, reversed]) => {
        const chunks = split(cookie, valueOf(length))
        for (const [one, value] of chunks) assert.isBelow(one.length + value.length, 3900)
        const cookies = sent(reversed ? [...chunks].reverse() : chunks)
        assert.deepStrictEqual(join(cookies, cookie), Either.right(valueOf(length)))
        assert.sameMembers([...namesOf(cookies, cookie)], chunks.map(([one]) => one))
      }
    )
  })

  describe("join", () => {
    const [first, second, third] = split(name, valueOf(9000)) as [
      readonly [string, string],
      readonly [string, string],
      readonly [string, string]
    ]
    const start = first[1].slice(2)

    const missing = "a chunk of a cookie is missing"
    const doubled = "a cookie is there more than once"
    const uncounted = "a chunked cookie does not say how many chunks it has"
    const rows: ReadonlyArray<readonly [what: string, ReadonlyArray<readonly [string, string]>, problem: string]> = [
      ["the first chunk missing", [second, third], missing],
      ["a chunk missing between", [first, third], missing],
      ["the last chunk missing", [first, second], missing],
      ["the one cookie twice", [[name, "a"], [name, "b"]], doubled],
      ["the one cookie twice with one value", [[name, "a"], [name, "a"]], doubled],
      ["the first chunk twice", [first, second, third, first], doubled],
      ["another chunk twice", [first, second, second, third], doubled],
      [
        "a whole cookie beside chunks",
        [[name, "a"], first, second, third],
        "a cookie is there both whole and in chunks"
      ],
      ["no count", [[`${name}.0`, start], second, third], uncounted],
      ["a count of nothing", [[`${name}.0`, `0.${start}`], second, third], uncounted],
      ["a count of too many", [[`${name}.0`, `100.${start}`], second, third], uncounted],
      ["a count that is no number", [[`${name}.0`, `3e1.${start}`], second, third], uncounted],
      ["a count that is higher", [[`${name}.0`, `4.${start}`], second, third], missing],
      ["first and second chunk swapped", [[`${name}.0`, second[1]], [`${name}.1`, first[1]], third], uncounted],
      ["a cookie that is too long", [[name, valueOf(totalLimit + 1)]], "a cookie is longer than 12288 bytes"],
      ["chunks that are too long", split(name, valueOf(totalLimit + 1)), "a cookie is longer than 12288 bytes"]
    ]
    for (const [what, cookies, problem] of rows) {
      it(`refuses ${what}`, () => {
        assert.deepStrictEqual(join(sent(cookies), name), Either.left(problem))
      })
    }

    it("finds nothing where there is nothing of the name", () => {
      const others = sent([["a", "1"], [`${name}.x`, "1"], [`${name}2`, "1"], [`${name}.00`, "1"], [`x${name}`, "1"]])
      assert.deepStrictEqual(join(others, name), Either.right(undefined))
      assert.deepStrictEqual(namesOf(others, name), [])
    })

    it("passes over the leftover of a longer value, and names it", () => {
      const cookies = sent([...split(name, valueOf(5000)), third, [`${name}.17`, "x"]])
      assert.deepStrictEqual(join(cookies, name), Either.right(valueOf(5000)))
      assert.deepStrictEqual(namesOf(cookies, name), [`${name}.0`, `${name}.1`, `${name}.2`, `${name}.17`])
    })

    const part = FastCheck.tuple(
      FastCheck.constantFrom(name, `${name}.0`, `${name}.1`, `${name}.2`, `${name}.x`),
      FastCheck.oneof(
        FastCheck.string({ unit: "binary", maxLength: 5 }),
        FastCheck.constantFrom("1.a", "2.b", "3.c", "9")
      )
    )
    it.prop("never throws, and its problems quote nothing", [FastCheck.array(part, { maxLength: 6 })], ([parts]) => {
      const result = join(sent(parts), name)
      if (Either.isLeft(result)) assert.match(result.left, /^a (?:chunk|chunked cookie|cookie) [a-z ]+$/)
      else assert.isTrue(result.right === undefined || typeof result.right === "string")
    })
  })
})
