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
const spaces = /[ \t]+/y
const separators = /[ \t,]*/y
const equals = /[ \t]*=[ \t]*/y
const endOfElement = /(?=[ \t]*(?:,|$))/y
const startOfParameter = /(?=[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=)/y
// Some APIs leave out the comma between two parameters, which have no other meaning then.
const endOfParameter = /(?=[ \t]*(?:,|$)|[ \t]+[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=)/y

/**
 * All challenges of one or several header fields joined by commas, in order. A text that leaves the grammar ends the
 * parse: the challenges and parameters that are complete until there are returned, nothing is thrown.
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

  /** `name = value`, up to where it ends. */
  const readParameter = (): readonly [name: string, value: string] | undefined => {
    const name = read(token)
    if (name === null || read(equals) === null) return undefined
    const text = read(quoted)
    const value = text === null ? read(token)?.[0] : text[1]!.replace(/\\([\s\S])/g, "$1")
    return value === undefined || read(endOfParameter) === null ? undefined : [name[0].toLowerCase(), value]
  }

  /** A scheme, with its token68 if it has one: `scheme token68` and `scheme name=value` look alike until the element ends. */
  const readScheme = (): typeof challenges[number] | undefined => {
    const scheme = read(token)?.[0].toLowerCase()
    if (scheme === undefined) return undefined
    const challenge = { scheme, token68: undefined, parameters: Object.create(null) as Record<string, string> }
    if (read(endOfElement) !== null) return challenge
    if (read(spaces) === null) return undefined
    const value = read(token68)?.[0]
    if (value !== undefined) return { ...challenge, token68: value }
    return read(startOfParameter) === null ? undefined : challenge
  }

  for (;;) {
    const between = read(separators)?.[0] ?? ""
    if (position >= header.length) return challenges
    const current = challenges.at(-1)
    if (current !== undefined && current.token68 === undefined && read(startOfParameter) !== null) {
      const parameter = readParameter()
      if (parameter === undefined) return challenges
      current.parameters[parameter[0]] ??= parameter[1]
      continue
    }
    const next = current === undefined || between.includes(",") ? readScheme() : undefined
    if (next === undefined) return challenges
    challenges.push(next)
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
