/**
 * Signed JWTs in compact form (RFC 7515 section 7.1, RFC 7519), before anything of them is believed, and the judgement of their
 * times. `JwtVerifier` checks signatures.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { base64url } from "jose"
import * as StrictJson from "./StrictJson.ts"

/**
 * @since 0.1.0
 * @category models
 */
export type Claims = Readonly<Record<string, unknown>>

/**
 * @since 0.1.0
 * @category models
 */
export interface Jwt {
  readonly header: Claims
  readonly payload: Claims
}

const compact = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+$/

const objectOf = (segment: string | undefined): Claims | undefined =>
  segment === undefined
    ? undefined
    : Either.try(() => base64url.decode(segment)).pipe(
      Either.flatMap((bytes) => StrictJson.parseObject(bytes)),
      Either.getOrUndefined
    )

/**
 * Header and claims of a signed JWT, as `StrictJson` reads them. None where the text is anything else, an unsigned or encrypted
 * JWT included. Nothing of it is verified.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string): Option.Option<Jwt> => {
  const [, first, second] = compact.exec(text) ?? []
  const header = objectOf(first)
  const payload = header === undefined ? undefined : objectOf(second)
  return header === undefined || payload === undefined ? Option.none() : Option.some({ header, payload })
}

/**
 * The claims of a text that may be a JWT, whatever its header and signature are: to find out whose it says to be. Nothing of them
 * is verified.
 *
 * @since 0.1.0
 * @category parsing
 */
export const unverifiedClaims = (text: string): Option.Option<Claims> =>
  Option.fromNullable(objectOf(text.split(".", 3)[1]))

/**
 * Times are in milliseconds, `now` since 1970.
 *
 * - `clockTolerance`: how far the clock of whoever wrote the claims may be from this one, to either side.
 * - `required`: what has to be there. Default: nothing.
 * - `maxAge`: how long ago `iat` may be, where it is there. With it, an `iat` in the future is refused; give
 *   `Number.POSITIVE_INFINITY` for that alone. Default: `iat` has to be a number, and no more.
 *
 * @since 0.1.0
 * @category models
 */
export interface TimeExpectations {
  readonly now: number
  readonly clockTolerance: number
  readonly required?: ReadonlyArray<TimeProblem["claim"]> | undefined
  readonly maxAge?: number | undefined
}

/**
 * - `missing`, `malformed`: the claim is not there, or is not a date.
 * - `over`: the time in which the JWT counts has passed.
 * - `early`: that time has not begun.
 *
 * @since 0.1.0
 * @category models
 */
export interface TimeProblem {
  readonly claim: "exp" | "nbf" | "iat"
  readonly kind: "missing" | "malformed" | "over" | "early"
  /** A sentence about the JWT, which quotes nothing of it. */
  readonly problem: string
}

/** Seconds since 1970, of a date that there can be (RFC 7519 section 2). */
const isDate = (value: unknown): value is number => typeof value === "number" && Math.abs(value) <= 8.64e12

const names = ["exp", "nbf", "iat"] as const

/**
 * What is wrong with the times of a JWT (RFC 7519 sections 4.1.4 to 4.1.6): it has expired, is not valid yet, or was issued in
 * the future or too long ago. What is not a date is refused, also where it is not required.
 *
 * @since 0.1.0
 * @category accessors
 */
export const timeProblem = (
  claims: Claims,
  { clockTolerance, maxAge, now, required = [] }: TimeExpectations
): Option.Option<TimeProblem> => {
  const found = (claim: TimeProblem["claim"], kind: TimeProblem["kind"], problem: string) =>
    Option.some<TimeProblem>({ claim, kind, problem })
  for (const name of names) {
    const value = claims[name]
    if (value === undefined) {
      if (required.includes(name)) return found(name, "missing", `it has no ${name}`)
    } else if (!isDate(value)) return found(name, "malformed", `its ${name} is not a number`)
  }
  const { exp, iat, nbf } = claims
  // Written so that a time that is no number refuses.
  if (isDate(exp) && !(now < exp * 1000 + clockTolerance)) return found("exp", "over", "it has expired")
  if (isDate(nbf) && !(nbf * 1000 <= now + clockTolerance)) return found("nbf", "early", "it is not valid yet")
  if (maxAge === undefined || !isDate(iat)) return Option.none()
  if (!(iat * 1000 <= now + clockTolerance)) return found("iat", "early", "its iat is in the future")
  return now - iat * 1000 <= maxAge + clockTolerance
    ? Option.none()
    : found("iat", "over", `it is older than ${maxAge / 1000} s`)
}
