/** JSON from outside, by the one function that reads it. */
import { StrictJson } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Either, FastCheck, Schema } from "effect"

const nested = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`

const outcome = (source: string | Uint8Array, options?: StrictJson.Options) =>
  Either.match(StrictJson.parse(source, options), { onLeft: ({ reason }) => reason, onRight: () => "read" })

const bytesOf = (text: string) => new TextEncoder().encode(text)

const runs = { fastCheck: { numRuns: 2000 } }

describe("StrictJson", () => {
  const rows: ReadonlyArray<readonly [what: string, source: string | Uint8Array, expected: string]> = [
    ["64 levels", nested(64), "read"],
    ["65 levels", nested(65), "depth"],
    ["65 levels of objects", `${"{\"a\":".repeat(65)}1${"}".repeat(65)}`, "depth"],
    ["a million levels that do not end", "[".repeat(1_000_000), "depth"],
    ["brackets in a string", JSON.stringify("[{".repeat(1000)), "read"],
    ["brackets after an escaped quote", `"\\"${"[".repeat(1000)}"`, "read"],
    ["brackets after an escaped backslash", `["\\\\",${nested(64)}]`, "depth"],
    ["many arrays beside each other", `[${Array(1000).fill("[]").join(",")}]`, "read"],
    ["a member twice", `{"a":1,"a":1}`, "duplicate"],
    ["a member twice, one of them escaped", `{"a":1,"\\u0061":2}`, "duplicate"],
    ["a member twice, far inside", `[{"x":[{"a":1,"b":[],"a":{}}]}]`, "duplicate"],
    ["__proto__ twice", `{"__proto__":1,"__proto__":2}`, "duplicate"],
    ["__proto__", `{"__proto__":{"a":1}}`, "read"],
    ["a name in two objects", `{"a":{"a":[{"a":1},{"a":1}]}}`, "read"],
    ["names that are numbers", `{"1":1,"0":{"1":1}}`, "read"],
    ["colons in strings", `{"a:b":":::","c\\"":":"}`, "read"],
    ["a string that does not end", `{"a":"b`, "syntax"],
    ["nothing", "", "syntax"],
    ["two values", "1 2", "syntax"],
    ["a colon that is no member", `["a":1]`, "syntax"],
    ["bytes", bytesOf(`{"a":"ä"}`), "read"],
    ["bytes with a byte order mark", new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), "read"],
    ["bytes in UTF-16", new Uint8Array([0xff, 0xfe, 0x7b, 0, 0x7d, 0]), "encoding"],
    ["bytes in Latin 1", new Uint8Array([0x22, 0xe4, 0x22]), "encoding"],
    ["a surrogate in UTF-8", new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22]), "encoding"],
    ["an overlong form", new Uint8Array([0x22, 0xc0, 0xa2, 0x22]), "encoding"]
  ]
  for (const [what, source, expected] of rows) {
    it(`${what}: ${expected}`, () => {
      assert.strictEqual(outcome(source), expected)
    })
  }

  it("counts bytes, not characters", () => {
    const text = JSON.stringify("ä€😀")
    const { byteLength } = bytesOf(text)
    assert.isAbove(byteLength, text.length)
    for (const source of [text, bytesOf(text)]) {
      assert.strictEqual(outcome(source, { maxSize: byteLength }), "read")
      assert.strictEqual(outcome(source, { maxSize: byteLength - 1 }), "size")
    }
    assert.strictEqual(outcome(`"${"a".repeat(1024 * 1024)}"`), "size")
  })

  it("wants an object where one has to be", () => {
    for (const text of ["[]", "1", "null", "\"{}\"", "true"]) {
      assert.deepStrictEqual(
        StrictJson.parseObject(text),
        Either.left({ reason: "kind", problem: "is JSON, but not an object" })
      )
    }
    assert.deepStrictEqual(StrictJson.parseObject(`{"a":1}`), Either.right({ a: 1 }))
  })

  it.prop(
    "reads what JSON.parse reads, from text and from bytes",
    [FastCheck.jsonValue({ maxDepth: 12 })],
    ([value]) => {
      const text = JSON.stringify(value)
      const expected = Either.right(JSON.parse(text) as unknown)
      assert.deepStrictEqual<unknown>(StrictJson.parse(text), expected)
      assert.deepStrictEqual<unknown>(StrictJson.parse(bytesOf(text)), expected)
      assert.deepStrictEqual<unknown>(StrictJson.parse(JSON.stringify(value, undefined, 2)), expected)
    },
    runs
  )

  /** A text of JSON, some characters of which were replaced, left out or put in twice. */
  const mutated = FastCheck.tuple(
    FastCheck.jsonValue({ maxDepth: 6 }),
    FastCheck.array(
      FastCheck.tuple(FastCheck.nat(), FastCheck.nat(2), FastCheck.constantFrom(..."{}[]\",:\\u0 e1-\u0000\ud800")),
      { maxLength: 4 }
    )
  ).map(([value, changes]) =>
    changes.reduce((text, [where, remove, added]) => {
      const at = where % (text.length + 1)
      return text.slice(0, at) + added + text.slice(at + remove)
    }, JSON.stringify(value))
  )
  it.prop("never throws, and reads nothing that JSON.parse does not", [
    FastCheck.oneof(mutated, FastCheck.string({ unit: "binary" }))
  ], ([text]) => {
    const read = StrictJson.parse(text)
    if (Either.isRight(read)) assert.deepStrictEqual(read.right, JSON.parse(text))
    else assert.include(["syntax", "duplicate"], read.left.reason)
  }, runs)

  it.prop("never throws at bytes", [FastCheck.uint8Array({ maxLength: 40 })], ([bytes]) => {
    const read = StrictJson.parse(bytes)
    const isText = Either.isRight(Either.try(() => new TextDecoder("utf-8", { fatal: true }).decode(bytes)))
    if (!isText) assert.deepStrictEqual(read, Either.left({ reason: "encoding", problem: "is not UTF-8" }))
    else assert.notInclude(["encoding", "size"], Either.isLeft(read) ? read.left.reason : "read")
  }, runs)

  it.prop("finds each member that is there twice", [
    FastCheck.dictionary(FastCheck.string({ maxLength: 4 }), FastCheck.jsonValue({ maxDepth: 2 }), { minKeys: 1 }),
    FastCheck.nat(),
    FastCheck.nat(20)
  ], ([object, index, depth]) => {
    const names = Object.keys(object)
    const name = names[index % names.length]!
    const text = JSON.stringify(object)
    const twice = `${text.slice(0, -1)},${JSON.stringify(name)}:0}`
    assert.strictEqual(outcome(text), "read")
    assert.strictEqual(outcome(`${"[".repeat(depth)}${twice}${"]".repeat(depth)}`), "duplicate")
  }, runs)

  it.prop(
    "reads exactly as many levels as it is told to",
    [FastCheck.nat(200), FastCheck.nat(200)],
    ([depth, levels]) => {
      const expected = levels === 0 ? "syntax" : levels <= depth ? "read" : "depth"
      assert.strictEqual(outcome(nested(levels), { maxDepth: depth }), expected)
    }
  )

  it("a schema of entries reads 128 levels, writes what it reads, and fails at what cannot be written", () => {
    const Entry = StrictJson.schema(Schema.Struct({ claims: Schema.Unknown }))
    const decode = Schema.decodeEither(Entry)
    const text = `{"claims":${nested(127)}}`
    assert.strictEqual(Either.getOrThrow(Either.flatMap(decode(text), Schema.encodeEither(Entry))), text)
    assert.isTrue(Either.isLeft(decode(`{"claims":${nested(128)}}`)))
    assert.isTrue(Either.isLeft(decode(`{"claims":1,"claims":2}`)))
    const circular: { self?: unknown } = {}
    circular.self = circular
    assert.isTrue(Either.isLeft(Schema.encodeEither(Entry)({ claims: circular })))
  })
})
