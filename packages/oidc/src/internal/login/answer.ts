/**
 * The server's answer to an authorization request, as the browser brings it (RFC 6749 section 4.1.2, RFC 9207). Anybody can
 * make a browser bring one, so nothing of it is quoted in a problem.
 */
import * as UntrustedText from "@effect-oauth/core/UntrustedText"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import { LoginRefused } from "../../OidcError.ts"

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
const shown = (text: string | undefined, state: string | undefined): string | undefined =>
  text === undefined
    ? undefined
    : UntrustedText.show(text, { secrets: state === undefined ? [] : [state] }) || undefined

/** @internal Every known parameter at most once (RFC 6749 section 3.1); others are passed over. */
export const parseAnswer = (parameters: URLSearchParams): Either.Either<Answer, Malformed> =>
  Either.flatMap(valuesOf(parameters), (values): Either.Either<Answer, Malformed> => {
    const problem = formProblem(values)
    if (problem !== undefined) return malformed(problem)
    const { code, error, iss: issuer, state: text } = values
    const state = text === undefined ? undefined : Redacted.make(text)
    if (code !== undefined && error !== undefined) return malformed("it has both a code and an error")
    if (error !== undefined) {
      const errorDescription = shown(values.error_description, text)
      return Either.right({ _tag: "Refused", error: shown(error, text) ?? "?", errorDescription, state, issuer })
    }
    if (code === undefined) return malformed("it has neither a code nor an error")
    if (state === undefined) return malformed("it has no state")
    return Either.right({ _tag: "Code", code: Redacted.make(code), state, issuer })
  })

/** @internal The error for the program. The server knows the nonce too, and may repeat it. */
export const refusalOf = (
  { error, errorDescription }: Refused,
  { clientName, nonce, returnTo }: {
    readonly clientName: string
    readonly nonce: Redacted.Redacted<string>
    readonly returnTo: string
  }
): LoginRefused => {
  const show = (text: string) => UntrustedText.show(text, { secrets: [Redacted.value(nonce)] })
  return new LoginRefused({
    clientName,
    error: show(error),
    errorDescription: errorDescription === undefined ? undefined : show(errorDescription),
    returnTo
  })
}

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
