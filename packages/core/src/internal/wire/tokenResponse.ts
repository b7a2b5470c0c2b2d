/**
 * What an authorization server says, read leniently: unknown fields, unknown token types, any letter case and a number as
 * text are accepted; what cannot be read never throws.
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { TokenEndpointError, TokenResponseInvalid } from "../../OAuthError.ts"
import * as StrictJson from "../../StrictJson.ts"
import * as UntrustedText from "../../UntrustedText.ts"
import type { Answer } from "./exchange.ts"

/** @internal */
export type Json = Readonly<Record<string, unknown>>

/** @internal */
export interface From {
  readonly clientName: string
  readonly endpoint: string
  /** Values that were sent and must not come back in an error. */
  readonly secrets: () => ReadonlyArray<string>
}

const textOf = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

/** What a body that is not read begins with, whatever its encoding is. */
const startOf = (body: Uint8Array): string => new TextDecoder().decode(body.subarray(0, 1024)).trimStart()

/** @internal The JSON object of an answer, or what is there instead. Its size was bounded as it came. */
export const jsonObject = (body: Uint8Array): Json | string => {
  const json = StrictJson.parseObject(body, { maxSize: Number.POSITIVE_INFINITY })
  if (Either.isRight(json)) return json.right
  const { problem, reason } = json.left
  if (reason !== "syntax" && reason !== "encoding") return `its body ${problem}`
  const start = startOf(body)
  if (start === "") return "its body is empty"
  return start.startsWith("<") ? "its body is HTML or XML, not JSON" : `its body ${problem}`
}

/** @internal The error code of an answer, if it has one. */
export const errorOf = ({ body, status }: Answer): string | undefined => {
  if (status < 400) return undefined
  const json = jsonObject(body)
  return typeof json === "string" ? undefined : textOf(json.error)
}

/** What a server gives, and may repeat in an error beside it. */
const given = ["access_token", "refresh_token", "id_token", "device_code"]

/** By RFC 6749 appendix A.7 and A.9. */
const notInCode = /[^\x20\x21\x23-\x5b\x5d-\x7e]/gu
const uri = /^[\x21\x23-\x5b\x5d-\x7e]+$/

const maxCodeLength = 100

/** @internal The error object of an answer, whatever its status (RFC 6749 section 5.2); else what is wrong with it. */
export const refusal = (answer: Answer, json: Json | string, from: From): TokenEndpointError | TokenResponseInvalid => {
  const { clientName, endpoint, secrets } = from
  const { retryAfter, status } = answer
  const error = typeof json === "string" ? undefined : textOf(json.error)
  if (typeof json === "string" || error === undefined) {
    const problem = typeof json === "string" ? json : "its JSON has neither a result nor an error"
    return new TokenResponseInvalid({ clientName, endpoint, status, problem, retryAfter })
  }
  const hidden = [...secrets(), ...given.flatMap((name) => textOf(json[name]) ?? [])]
  const shown = (value: unknown, maxLength?: number) => {
    const text = textOf(value)
    return text === undefined ? undefined : UntrustedText.show(text, { secrets: hidden, maxLength })
  }
  const errorUri = shown(json.error_uri)
  return new TokenEndpointError({
    clientName,
    endpoint,
    status,
    error: shown(error, maxCodeLength)!.replace(notInCode, "?"),
    errorDescription: shown(json.error_description),
    errorUri: errorUri !== undefined && uri.test(errorUri) ? errorUri : undefined,
    retryAfter
  })
}

/** A lifetime above this, a hundred years, is told apart from "never" by nobody. */
const longest = 100 * 365 * 24 * 3600

/**
 * @internal Seconds of `expires_in` (RFC 6749 section 5.1), also where it came as text. Absent: `defaultLifetime`. Zero,
 * negative or unreadable: zero, a token that serves the request it was asked for and is not kept.
 */
export const lifetime = (expiresIn: unknown, defaultLifetime: Duration.Duration): Duration.Duration => {
  if (expiresIn === undefined || expiresIn === null) return defaultLifetime
  const seconds = typeof expiresIn === "string" && /^\s*\d+(?:\.\d+)?\s*$/.test(expiresIn)
    ? Number(expiresIn)
    : expiresIn
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds <= 0) return Duration.zero
  return seconds > longest ? Duration.infinity : Duration.seconds(seconds)
}

/** @internal The characters that a header can carry (RFC 6749 appendix A.12). */
export const isSendable = (token: string): boolean => /^[\x20-\x7e]+$/.test(token)
