/**
 * Where a text repeats a secret, in whatever encoding. Escapes are decoded in the text, since a server chooses how it writes
 * each character; base64 and hex are made of the secret, since a decoder would have to guess where they begin.
 */
import * as Encoding from "effect/Encoding"
import { formEncode } from "./wire/formEncode.ts"

/** @internal From the first character to the one behind the last. */
export type Range = readonly [start: number, end: number]

/** @internal What a secret looks like once escapes are decoded. */
export interface Encodings {
  /** To be found without line breaks, with the signs that encodings swap made the same. */
  readonly texts: ReadonlyArray<string>
  /** To be found without any separators. */
  readonly base64: ReadonlyArray<string>
  /** The same in any letter case. */
  readonly hex: ReadonlyArray<string>
  /** No text with fewer characters has any of it. */
  readonly shortest: number
}

/** A text, and of each of its UTF-16 units where it comes from. */
interface View {
  readonly text: string
  readonly starts: ReadonlyArray<number>
  readonly ends: ReadonlyArray<number>
}

const escapes = new RegExp(
  [
    "%[0-7][0-9a-f]|%[cd][0-9a-f]%[89ab][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f]){2}|%f[0-7](?:%[89ab][0-9a-f]){3}",
    "&#(?<decimal>\\d{1,7});?|&#x(?<hexadecimal>[0-9a-f]{1,6});?|&(?<name>amp|lt|gt|quot|apos);",
    "\\\\u(?<unit>[0-9a-f]{4})|\\\\x(?<byte>[0-9a-f]{2})|\\\\(?<sign>[\"'\\\\/nrt])"
  ].join("|"),
  "gi"
)

const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: "\"", apos: "'" }

const decoded = (escape: string, groups: Readonly<Record<string, string | undefined>>): string => {
  const { byte, decimal, hexadecimal, name, sign, unit } = groups
  if (name !== undefined) return named[name.toLowerCase()]!
  if (sign !== undefined) return /[a-z]/i.test(sign) ? " " : sign
  const hex = hexadecimal ?? unit ?? byte
  if (decimal === undefined && hex === undefined) {
    try {
      return decodeURIComponent(escape)
    } catch {
      return escape
    }
  }
  const code = decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal)
  return code > 0x10ffff ? escape : String.fromCodePoint(code)
}

/** Each match becomes `replace` of it, and its units come from all of the match. */
const mapped = (
  { ends, starts, text }: View,
  pattern: RegExp,
  replace: (match: string, groups: Readonly<Record<string, string | undefined>>) => string
): View => {
  if (text.search(pattern) === -1) return { ends, starts, text }
  let result = ""
  const from: Array<number> = []
  const to: Array<number> = []
  let position = 0
  const copyUntil = (end: number) => {
    result += text.slice(position, end)
    for (; position < end; position++) {
      from.push(starts[position]!)
      to.push(ends[position]!)
    }
  }
  for (const match of text.matchAll(pattern)) {
    copyUntil(match.index)
    const written = replace(match[0], match.groups ?? {})
    position += match[0].length
    result += written
    for (let unit = 0; unit < written.length; unit++) {
      from.push(starts[match.index]!)
      to.push(ends[position - 1]!)
    }
  }
  copyUntil(text.length)
  return { text: result, starts: from, ends: to }
}

const wrapping = /\p{C}/gu
const separating = /[\p{C}\s:]/gu

const nothing = () => ""

/** A space may be a plus, and the two alphabets of base64 differ in two signs. */
const folded = (text: string): string => text.replace(/[ +]/g, "-").replaceAll("/", "_")

const unwrapped = (text: string): string => folded(text.replace(wrapping, ""))

/** The signs of base64 that depend on `bytes` alone, whatever stands before and behind them. */
const base64In = (bytes: Uint8Array): ReadonlyArray<string> =>
  [0, 1, 2].map((offset) => {
    const padded = new Uint8Array(offset + bytes.length)
    padded.set(bytes, offset)
    return Encoding.encodeBase64Url(padded).slice(Math.ceil((offset * 8) / 6), Math.floor((padded.length * 8) / 6))
  })

/** The parts of a JWT are secrets too, but for its header: a server quotes the one that it could not read. */
const partsOf = (secret: string): ReadonlyArray<string> => {
  const [, ...parts] = secret.split(".")
  return parts.length < 2 ? [] : parts.filter(({ length }) => length > 15)
}

/** Lone surrogates can be encoded in no way. */
const wellFormed = (text: string): string => new TextDecoder().decode(new TextEncoder().encode(text))

/** @internal */
export const encodingsOf = (secrets: ReadonlyArray<string>): Encodings => {
  const whole = [...new Set(secrets.flatMap((secret) => [secret, ...partsOf(secret)]))]
  const written = new Set(
    whole.map(wellFormed).flatMap((secret) => [secret, formEncode(secret), encodeURIComponent(secret)])
  )
  const bytes = [...written].map((text) => new TextEncoder().encode(text))
  return {
    texts: whole.map(unwrapped).filter((text) => text !== ""),
    base64: bytes.flatMap(base64In).map(folded),
    hex: bytes.map((one) => Encoding.encodeHex(one)),
    shortest: whole.reduce((shortest, { length }) => Math.min(shortest, length), Infinity)
  }
}

const find = ({ ends, starts, text }: View, needles: ReadonlyArray<string>, ranges: Array<Range>): void => {
  for (const needle of needles) {
    for (let at = text.indexOf(needle); at !== -1; at = text.indexOf(needle, at + needle.length)) {
      ranges.push([starts[at]!, ends[at + needle.length - 1]!])
    }
  }
}

/** Percent encoding of percent encoding, JSON in HTML, ...: more layers than that have no use. */
const layers = 3

/** @internal In order. They may overlap. */
export const occurrences = (text: string, encodings: Encodings): ReadonlyArray<Range> => {
  if (text.length < encodings.shortest) return []
  const ranges: Array<Range> = []
  const starts = Array.from({ length: text.length }, (_, index) => index)
  let view: View = { text, starts, ends: starts.map((index) => index + 1) }
  for (let layer = 0; layer <= layers; layer++) {
    const line = mapped(view, wrapping, nothing)
    find({ ...line, text: folded(line.text) }, encodings.texts, ranges)
    const dense = mapped(view, separating, nothing)
    find({ ...dense, text: folded(dense.text) }, encodings.base64, ranges)
    find({ ...dense, text: dense.text.toLowerCase() }, encodings.hex, ranges)
    const next = mapped(view, escapes, decoded)
    if (next.text === view.text) break
    view = next
  }
  return ranges.sort(([a], [b]) => a - b)
}
