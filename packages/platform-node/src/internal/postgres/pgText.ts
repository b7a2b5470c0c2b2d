/**
 * Texts as Postgres can keep them: it has neither U+0000 nor lone surrogates, and an index takes no more than 2700 bytes.
 * What is neither special nor long stays as it is, for whoever looks into the table.
 */
import { createHash } from "node:crypto"

const special = /[\0\\]|\p{Surrogate}/gu
const escaped = /\\(?:(\\)|u([0-9a-f]{4}))?/g

const escapeOne = (character: string): string =>
  character === "\\" ? "\\\\" : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`

/** @internal Another text for every other text, and the way back is `unescape`. */
export const escape = (text: string): string => text.replace(special, escapeOne)

/** @internal `undefined` for what `escape` cannot have written. */
export const unescape = (text: string): string | undefined => {
  if (!text.includes("\\")) return text
  let readable = true
  const unescaped = text.replace(escaped, (_, backslash: string | undefined, code: string | undefined) => {
    if (backslash === undefined && code === undefined) readable = false
    return backslash ?? String.fromCharCode(Number.parseInt(code ?? "0", 16))
  })
  return readable ? unescaped : undefined
}

const longest = 1000

/** @internal For what has an index: a long one is told by its hash. No escaped text begins with the mark of a hash. */
export const indexed = (text: string): string => {
  const kept = escape(text)
  return Buffer.byteLength(kept) <= longest ? kept : `\\h${createHash("sha256").update(kept).digest("hex")}`
}
