/**
 * Text that a server, a browser or an API wrote, as it may be shown in an error, a log line or a span: one bounded line of
 * printable characters, without the secrets that were sent.
 *
 * @since 0.1.0
 */
import { encodingsOf, occurrences, type Range } from "./internal/echoes.ts"

/**
 * @since 0.1.0
 * @category models
 */
export interface ShowOptions {
  /**
   * Values that must not be shown. They are found as they are, and percent-, form-, HTML-, JSON-, base64- and
   * hex-encoded, also in combination. Values of up to 3 characters are not looked for.
   */
  readonly secrets?: ReadonlyArray<string> | undefined
  /** In characters. Default 500. */
  readonly maxLength?: number | undefined
}

/** Controls of all kinds, bidirectional and invisible characters, halves of pairs, and what separates lines. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/gu

const replacement = "<redacted>"

/** No encoding writes one character of a secret with more. */
const longestEncoding = 12

const without = (text: string, ranges: ReadonlyArray<Range>): string => {
  let result = ""
  let position = 0
  for (const [start, end] of ranges) {
    if (start >= position) result += text.slice(position, start) + replacement
    position = Math.max(position, end)
  }
  return result + text.slice(position)
}

const longEnough = (secrets: ReadonlyArray<string>): ReadonlyArray<string> =>
  secrets.filter((secret) => secret.length > 3)

/**
 * The text with `<redacted>` in place of the secrets, in the encodings that `ShowOptions` lists. All else stays.
 *
 * @since 0.1.0
 * @category conversions
 */
export const redact = (text: string, secrets: ReadonlyArray<string>): string =>
  without(text, occurrences(text, encodingsOf(longEnough(secrets))))

/**
 * The text on one line: secrets become `<redacted>`; control, bidirectional and invisible characters become spaces; what
 * exceeds `maxLength` is cut off.
 *
 * @example
 * ```ts
 * import { UntrustedText } from "@effect-oauth/core"
 *
 * const text = "bad credentials: d29ya2VyOmh1bnRlcjI=\u0007"
 * console.log(UntrustedText.show(text, { secrets: ["hunter2"] })) // "bad credentials: d29ya2Vy<redacted>="
 * ```
 *
 * @since 0.1.0
 * @category conversions
 */
export const show = (text: string, options: ShowOptions = {}): string => {
  const { maxLength = 500 } = options
  const secrets = longEnough(options.secrets ?? [])
  // A secret that the cut would leave half of begins behind what is shown.
  const used = 8 * maxLength
  const longest = secrets.reduce((most, { length }) => Math.max(most, length), 0)
  const read = text.slice(0, used + longestEncoding * longest)
  const ranges = occurrences(read, encodingsOf(secrets)).filter(([start]) => start < used)
  const end = read.length < text.length ? Math.max(used, ranges.at(-1)?.[1] ?? 0) : read.length
  const line = without(read.slice(0, end), ranges).replace(unprintable, " ").replace(/ {2,}/g, " ").trim()
  return [...line].slice(0, maxLength).join("").trim()
}

/**
 * Like `show`, in double quotes: `"` and `\` are escaped, so that the end of the text cannot be forged.
 *
 * @since 0.1.0
 * @category conversions
 */
export const quote = (text: string, options: ShowOptions = {}): string =>
  `"${show(text, options).replace(/["\\]/g, "\\$&")}"`
