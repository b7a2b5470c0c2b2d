/**
 * What an ID token whose signature is good has to say (OpenID Connect Core 1.0 sections 2, 3.1.3.7 and 12.2). Times are
 * seconds since 1970. Comparisons are written so that what is no number is refused.
 */
import * as Jwt from "@effect-oauth/core/Jwt"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type { IdTokenInvalid } from "../../OidcError.ts"

/** @internal */
export type Claims = Readonly<Record<string, unknown>>

/** @internal */
export interface IdTokenProblem {
  readonly reason: IdTokenInvalid["reason"]
  readonly problem: string
}

/** @internal */
export interface IdTokenExpectations {
  readonly issuer: string
  readonly clientId: string
  /**
   * Of a login, `null` for one without a browser, which none was sent for; `undefined` for a refresh, which has to have a
   * `previous`: with neither, every ID token is refused.
   */
  readonly nonce: string | null | undefined
  /** In seconds; what the login asked for. A refresh passes it over, since time has gone by. */
  readonly maxAge: number | undefined
  /** One of these is required. */
  readonly acrValues: ReadonlyArray<string> | undefined
  /** In seconds, to either side. */
  readonly clockTolerance: number
  /**
   * The ID token before this one, of which `sub` has to stay in any case, and the rest in a refresh (section 12.2). What is
   * `undefined` is unknown and not compared; `azp` is `null` where there was none.
   */
  readonly previous: {
    readonly sub: string
    readonly authTime?: number | undefined
    readonly azp?: string | null | undefined
    readonly nonce?: string | undefined
  } | undefined
}

type Check = (claims: Claims, expected: IdTokenExpectations, now: number) => string | IdTokenProblem | undefined

/** @internal */
export const isTime = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value)

/** @internal OpenID Connect Core 1.0 section 2; the controls of ASCII are not for names. */
export const isSubject = (value: unknown): value is string =>
  typeof value === "string" && /^[\x20-\x7e]{1,255}$/.test(value)

/** @internal Nothing, where the claim has no form it may have (RFC 7519 section 4.1.3). */
export const audiencesOf = (aud: unknown): ReadonlyArray<string> | undefined => {
  if (typeof aud === "string") return [aud]
  return Array.isArray(aud) && aud.every((one) => typeof one === "string") ? aud : undefined
}

/** @internal */
export const audienceProblem = ({ aud }: Claims, clientId: string): string | undefined => {
  const audiences = audiencesOf(aud)
  if (audiences === undefined) return "its aud is neither a string nor an array of strings"
  return audiences.includes(clientId) ? undefined : "its aud does not have this client"
}

const subProblem: Check = ({ sub }, { previous }) => {
  if (!isSubject(sub)) return "its sub is not a string of 1 to 255 ASCII characters"
  return previous === undefined || previous.sub === sub ? undefined : "its sub is another than before"
}

const beforeRefresh = ({ nonce, previous }: IdTokenExpectations): IdTokenExpectations["previous"] =>
  nonce === undefined ? previous : undefined

const azpProblem: Check = ({ aud, azp }, expected) => {
  if (azp === undefined && audiencesOf(aud)?.some((one) => one !== expected.clientId)) {
    return "it has other audiences than this client, and no azp"
  }
  if (azp !== undefined && azp !== expected.clientId) return "its azp is not this client"
  const before = beforeRefresh(expected)?.azp
  return before === undefined || before === (azp ?? null) ? undefined : "its azp is another than before the refresh"
}

/** @internal `now` and `clockTolerance` are in seconds, as in all of this file; `maxAge` too, of `iat`. */
export const timeProblem = (
  claims: Claims,
  expected: {
    readonly now: number
    readonly clockTolerance: number
    readonly maxAge?: number | undefined
    readonly required?: ReadonlyArray<"exp" | "iat"> | undefined
  }
): { readonly reason: Jwt.TimeProblem["claim"]; readonly problem: string } | undefined =>
  Option.getOrUndefined(Option.map(
    Jwt.timeProblem(claims, {
      now: expected.now * 1000,
      clockTolerance: expected.clockTolerance * 1000,
      maxAge: (expected.maxAge ?? Number.POSITIVE_INFINITY) * 1000,
      required: expected.required
    }),
    ({ claim, problem }) => ({ reason: claim, problem })
  ))

/**
 * A plain comparison: each guess would cost a signed token and a login of its own, and what its time tells is of a nonce that
 * is used up.
 */
const nonceProblem: Check = (claims, expected) => {
  const before = beforeRefresh(expected)
  if (before === undefined) {
    // One that was not asked for is of another login.
    if (expected.nonce === null) return claims.nonce === undefined ? undefined : "it has a nonce, and none was sent"
    return expected.nonce !== undefined && claims.nonce === expected.nonce
      ? undefined
      : "its nonce is not that of this login"
  }
  if (claims.nonce === undefined || before.nonce === undefined) return undefined
  return claims.nonce === before.nonce ? undefined : "its nonce is another than before the refresh"
}

const authTimeProblem: Check = (claims, expected, now) => {
  const time = claims.auth_time
  const before = beforeRefresh(expected)
  if (before !== undefined) {
    return time === undefined || before.authTime === undefined || time === before.authTime
      ? undefined
      : "its auth_time is another than before the refresh"
  }
  const { clockTolerance, maxAge } = expected
  if (maxAge === undefined) return undefined
  if (time === undefined) return "it has no auth_time, though max_age was sent"
  if (!isTime(time)) return "its auth_time is not a number"
  if (!(time <= now + clockTolerance)) return "its auth_time is in the future"
  return now - time <= maxAge + clockTolerance ? undefined : "its auth_time is longer ago than max_age"
}

const acrProblem: Check = ({ acr }, { acrValues }) =>
  acrValues === undefined || (typeof acr === "string" && acrValues.includes(acr))
    ? undefined
    : "its acr is none of those that this client requires"

/**
 * How old `iat` is does not matter: a token with the nonce of a login is no older than that login, and an ID token of a
 * refresh comes over TLS from the server itself.
 */
const checks: ReadonlyArray<readonly [reason: IdTokenProblem["reason"], check: Check]> = [
  ["iss", ({ iss }, { issuer }) => iss === issuer ? undefined : "its iss is not the issuer of this client"],
  ["sub", subProblem],
  ["aud", (claims, { clientId }) => audienceProblem(claims, clientId)],
  ["azp", azpProblem],
  ["exp", (claims, { clockTolerance }, now) => timeProblem(claims, { now, clockTolerance, required: ["exp", "iat"] })],
  ["nonce", nonceProblem],
  ["auth_time", authTimeProblem],
  ["acr", acrProblem]
]

/** @internal The first thing that is wrong, or `undefined`. */
export const idTokenProblem = (
  claims: Claims,
  expected: IdTokenExpectations,
  now: number
): IdTokenProblem | undefined => {
  for (const [reason, check] of checks) {
    const problem = check(claims, expected, now)
    if (problem !== undefined) return typeof problem === "string" ? { reason, problem } : problem
  }
  return undefined
}

const hashOf = (alg: string): "SHA-256" | "SHA-384" | "SHA-512" | undefined => {
  if (alg === "EdDSA" || alg === "Ed25519") return "SHA-512"
  const bits = /^[A-Z]{2}(256|384|512)$/.exec(alg)?.[1]
  return bits === "256" ? "SHA-256" : bits === "384" ? "SHA-384" : bits === "512" ? "SHA-512" : undefined
}

/**
 * @internal The left half of an access token's hash (OpenID Connect Core 1.0 section 3.1.3.6), by the `alg` of the ID token;
 * nothing for an algorithm without a known hash. Never rejects.
 */
export const atHashOf = (accessToken: string, alg: string): Promise<string | undefined> => {
  const hash = hashOf(alg)
  if (hash === undefined) return Promise.resolve(undefined)
  return Promise.resolve()
    .then(() => crypto.subtle.digest(hash, new TextEncoder().encode(accessToken)))
    .then(
      (digest) => Encoding.encodeBase64Url(new Uint8Array(digest, 0, digest.byteLength / 2)),
      () => undefined
    )
}

/** @internal An absent `at_hash` is right: with a token from the token endpoint it is optional. */
export const atHashProblem = (
  { at_hash }: Claims,
  accessToken: string,
  alg: string
): Promise<IdTokenProblem | undefined> => {
  if (at_hash === undefined) return Promise.resolve(undefined)
  return atHashOf(accessToken, alg).then((hash) => {
    if (hash === undefined) return { reason: "at_hash", problem: "its at_hash cannot be computed for its alg" }
    if (hash === at_hash) return undefined
    return { reason: "at_hash", problem: "its at_hash is not that of the access token beside it" }
  })
}
