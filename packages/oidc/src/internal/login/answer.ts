/**
 * The server's answer to an authorization request, as the browser brings it (RFC 6749 section 4.1.2, RFC 9207). Anybody can
 * make a browser bring one, so nothing of it is quoted in a problem.
 */
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"

/** @internal */
export interface Code {
  readonly _tag: "Code"
  readonly code: Redacted.Redacted<string>
  readonly state: Redacted.Redacted<string>
  readonly issuer: string | undefined
}

/** @internal */
export interface Refused {
  readonly _tag: "Refused"
  readonly error: string
  readonly errorDescription: string | undefined
  readonly state: Redacted.Redacted<string> | undefined
  readonly issuer: string | undefined
}

/** @internal */
export type Answer = Code | Refused

/** @internal */
export interface Malformed {
  readonly reason: "form"
  readonly problem: string
}

const malformed = (problem: string): Either.Either<never, Malformed> => Either.left({ reason: "form", problem })

const known = ["code", "state", "iss", "error", "error_description", "error_uri"] as const

/** By RFC 6749 appendix A.11, A.5 and A.7; an issuer is a URL. Each at least one character long. */
const forms = {
  code: { maxLength: 8192, characters: /^[\x20-\x7e]+$/ },
  state: { maxLength: 1024, characters: /^[\x20-\x7e]+$/ },
  error: { maxLength: 256, characters: /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/ },
  iss: { maxLength: 2048, characters: /^[\x21-\x7e]+$/ }
} as const

const descriptionLength = 500

/** Controls of all kinds, invisible characters, halves of pairs, and what separates lines. */
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/gu

/** @internal Text of a stranger as it may be shown: one line of at most 500 characters, all of them printable. */
export const scrubDescription = (text: string): string =>
  [...text.slice(0, 8 * descriptionLength).replace(unprintable, " ").replace(/ {2,}/g, " ").trim()]
    .slice(0, descriptionLength).join("").trim()

type Values = Readonly<Partial<Record<(typeof known)[number], string>>>

const valuesOf = (parameters: URLSearchParams): Either.Either<Values, Malformed> => {
  const values: Partial<Record<(typeof known)[number], string>> = {}
  for (const name of known) {
    const [value, ...others] = parameters.getAll(name)
    if (others.length > 0) return malformed(`${name} is there more than once`)
    if (value !== undefined) values[name] = value
  }
  return Either.right(values)
}

const formProblem = (values: Values): string | undefined => {
  for (const name of ["code", "state", "error", "iss"] as const) {
    const value = values[name]
    const { characters, maxLength } = forms[name]
    if (value === undefined) continue
    if (value.length > maxLength) return `${name} is longer than ${maxLength} characters`
    if (!characters.test(value)) return `${name} is empty or has characters that it cannot have`
  }
  return undefined
}

/** Servers write more into a description than the grammar has, and that is no reason to lose the error. */
const descriptionOf = ({ error_description, state }: Values): string | undefined => {
  if (error_description === undefined) return undefined
  const text = state === undefined ? error_description : error_description.replaceAll(state, " ")
  return scrubDescription(text) || undefined
}

/** @internal Every known parameter at most once (RFC 6749 section 3.1); others are passed over. */
export const parseAnswer = (parameters: URLSearchParams): Either.Either<Answer, Malformed> =>
  Either.flatMap(valuesOf(parameters), (values): Either.Either<Answer, Malformed> => {
    const problem = formProblem(values)
    if (problem !== undefined) return malformed(problem)
    const { code, error, iss: issuer, state: text } = values
    const state = text === undefined ? undefined : Redacted.make(text)
    if (code !== undefined && error !== undefined) return malformed("it has both a code and an error")
    if (error !== undefined) {
      return Either.right({ _tag: "Refused", error, errorDescription: descriptionOf(values), state, issuer })
    }
    if (code === undefined) return malformed("it has neither a code nor an error")
    if (state === undefined) return malformed("it has no state")
    return Either.right({ _tag: "Code", code: Redacted.make(code), state, issuer })
  })

/**
 * @internal Whether the answer is of the server that the login was sent to (RFC 9207 section 2.4). `supported`: the server's
 * metadata has `authorization_response_iss_parameter_supported`.
 */
export const issuerProblem = (
  issuer: string | undefined,
  expected: { readonly issuer: string; readonly supported: boolean }
): string | undefined => {
  if (issuer === expected.issuer) return undefined
  if (issuer !== undefined) return "its iss is another server than the login was sent to"
  return expected.supported ? "it has no iss, which this server always sends" : undefined
}
