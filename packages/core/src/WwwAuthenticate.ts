/**
 * What an API says when it refuses: the challenges of `WWW-Authenticate` (RFC 9110 section 11.6.1).
 *
 * @since 0.1.0
 */
import type * as Headers from "@effect/platform/Headers"
import * as Option from "effect/Option"

/**
 * One challenge. `scheme` and the names of `parameters` are in lower case; quoted values are without their quotes.
 *
 * @since 0.1.0
 * @category models
 */
export interface Challenge {
  readonly scheme: string
  readonly token68: string | undefined
  readonly parameters: Readonly<Record<string, string>>
}

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const token68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y
const quoted = /"((?:[^"\\]|\\[\s\S])*)"/y
const space = /[ \t]*/y
const separators = /[ \t,]*/y
const equals = /[ \t]*=[ \t]*/y

/**
 * All challenges of one or several header fields joined by commas, in order. A text that leaves the grammar ends the
 * parse: what was read until there is returned, nothing is thrown.
 *
 * @example
 * ```ts
 * import { WwwAuthenticate } from "@effect-oauth/core"
 *
 * const [challenge] = WwwAuthenticate.parse(`Bearer error="insufficient_scope", scope="invoice, customers"`)
 * console.log(challenge?.parameters.error) // "insufficient_scope"
 * ```
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (header: string): ReadonlyArray<Challenge> => {
  const challenges: Array<Challenge & { readonly parameters: Record<string, string> }> = []
  let position = 0

  const read = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position
    const match = pattern.exec(header)
    if (match !== null) position = pattern.lastIndex
    return match
  }

  /** `name = value`, or nothing read at all. */
  const readParameter = (): readonly [name: string, value: string] | undefined => {
    const start = position
    const name = read(token)
    if (name !== null && read(equals) !== null) {
      const text = read(quoted)
      if (text !== null) return [name[0].toLowerCase(), text[1]!.replace(/\\([\s\S])/g, "$1")]
      const value = read(token)
      if (value !== null) return [name[0].toLowerCase(), value[0]]
    }
    position = start
    return undefined
  }

  for (;;) {
    read(separators)
    if (position >= header.length) return challenges
    const current = challenges.at(-1)
    const parameter = current === undefined || current.token68 !== undefined ? undefined : readParameter()
    if (current !== undefined && parameter !== undefined) {
      current.parameters[parameter[0]] ??= parameter[1]
      continue
    }
    const scheme = read(token)
    if (scheme === null) return challenges
    read(space)
    // `scheme token68` and `scheme name=value` look alike until the end of the element.
    const value = header[position - 1] === " " || header[position - 1] === "\t" ? read(token68)?.[0] : undefined
    challenges.push({ scheme: scheme[0].toLowerCase(), token68: value, parameters: Object.create(null) })
  }
}

/** What a quoted text of a challenge may hold (RFC 6750 section 3). */
const quotable = (text: string): string => text.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "?")

/**
 * The header field that says these challenges, the other way round than `parse`. What a quoted text may not hold (RFC 6750
 * section 3) becomes `?`; parameters without a value are left out.
 *
 * @since 0.1.0
 * @category conversions
 */
export const format = (
  challenges: ReadonlyArray<{
    readonly scheme: string
    readonly parameters?: Readonly<Record<string, string | undefined>> | undefined
  }>
): string =>
  challenges.map(({ parameters = {}, scheme }) => {
    const said = Object.entries(parameters).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}="${quotable(value)}"`]
    )
    return said.length === 0 ? scheme : `${scheme} ${said.join(", ")}`
  }).join(", ")

const challengesOf = (response: { readonly headers: Headers.Headers }): ReadonlyArray<Challenge> => {
  const header = response.headers["www-authenticate"]
  return header === undefined ? [] : parse(header)
}

/** @internal */
export const withError = (response: { readonly headers: Headers.Headers }, error: string): Challenge | undefined =>
  challengesOf(response).find(({ parameters }) => parameters.error === error)

/** @internal What an API objects to in a proof of possession (RFC 9449 sections 7.1 and 9). */
export const proofError = (
  response: { readonly status: number; readonly headers: Headers.Headers }
): string | undefined =>
  response.status === 401
    ? challengesOf(response).find(({ scheme }) => scheme === "dpop")?.parameters.error
    : undefined

/**
 * The API wants more scope than the token has (403, RFC 6750 section 3.1). `scope` is what it asks for, if it says so.
 *
 * @since 0.1.0
 * @category accessors
 */
export const insufficientScope = (
  response: { readonly status: number; readonly headers: Headers.Headers }
): Option.Option<{ readonly scope: string | undefined }> => {
  const challenge = response.status === 403 ? withError(response, "insufficient_scope") : undefined
  return challenge === undefined ? Option.none() : Option.some({ scope: challenge.parameters.scope })
}

/**
 * The API wants its user to have signed in more strongly or more recently (401, RFC 9470 section 3). `maxAge` is in seconds.
 *
 * @since 0.1.0
 * @category accessors
 */
export const insufficientUserAuthentication = (
  response: { readonly status: number; readonly headers: Headers.Headers }
): Option.Option<{ readonly acrValues: ReadonlyArray<string>; readonly maxAge: number | undefined }> => {
  const challenge = response.status === 401 ? withError(response, "insufficient_user_authentication") : undefined
  if (challenge === undefined) return Option.none()
  const { acr_values: acrValues = "", max_age: maxAge = "" } = challenge.parameters
  return Option.some({
    acrValues: acrValues.split(" ").filter((value) => value !== ""),
    maxAge: /^\d{1,15}$/.test(maxAge) ? Number(maxAge) : undefined
  })
}
