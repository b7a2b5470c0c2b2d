/**
 * What a logout token whose signature is good has to say (OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6), and
 * what front-channel logout has to (OpenID Connect Front-Channel Logout 1.0 section 2). Times are seconds since 1970.
 */
import * as Predicate from "effect/Predicate"
import type { LogoutTokenInvalid } from "../../OidcError.ts"
import { audienceProblem, type Claims, isSubject, isTime, timeProblem } from "../token/idTokenClaims.ts"

/** @internal */
export interface LogoutProblem {
  readonly reason: LogoutTokenInvalid["reason"]
  readonly problem: string
}

/** @internal */
export interface LogoutExpectations {
  readonly issuer: string
  readonly clientId: string
  /** In seconds, to either side. */
  readonly clockTolerance: number
}

/** @internal */
export interface Logout {
  readonly issuer: string
  readonly sub: string | undefined
  readonly sid: string | undefined
  readonly jti: string
  readonly exp: number
  /** From then on, and the clock tolerance, it is refused for its age, and its `jti` need not be known any more. */
  readonly usableUntil: number
}

/** A logout is sent at once, if need be again. With a far `exp`, every `jti` would have to be remembered as long. */
const maxAge = 600

const event = "http://schemas.openid.net/event/backchannel-logout"

const maxJtiLength = 256
const maxSidLength = 1024

const isText = (value: unknown, maxLength: number): value is string =>
  typeof value === "string" && value !== "" && value.length <= maxLength

type Check = (claims: Claims, expected: LogoutExpectations, now: number) => string | LogoutProblem | undefined

const eventsProblem: Check = ({ events }) => {
  if (!Predicate.isReadonlyRecord(events)) return "its events is not an object"
  return Object.hasOwn(events, event) && Predicate.isReadonlyRecord(events[event])
    ? undefined
    : "its events does not have the event of a back-channel logout"
}

const subjectProblem: Check = ({ sid, sub }) => {
  if (sub === undefined && sid === undefined) return "it has neither sub nor sid"
  if (sub !== undefined && !isSubject(sub)) return "its sub is not a string of 1 to 255 ASCII characters"
  return sid === undefined || isText(sid, maxSidLength)
    ? undefined
    : `its sid is not a string of 1 to ${maxSidLength} characters`
}

/** A nonce is refused whatever its value, so that no ID token passes for a logout token. */
const checks: ReadonlyArray<readonly [reason: LogoutProblem["reason"], check: Check]> = [
  ["iss", ({ iss }, { issuer }) => iss === issuer ? undefined : "its iss is not the issuer of this client"],
  ["aud", (claims, { clientId }) => audienceProblem(claims, clientId)],
  ["nonce", (claims) => Object.hasOwn(claims, "nonce") ? "it has a nonce" : undefined],
  ["events", eventsProblem],
  [
    "exp",
    (claims, { clockTolerance }, now) => timeProblem(claims, { now, clockTolerance, maxAge, required: ["exp", "iat"] })
  ],
  [
    "jti",
    ({ jti }) => isText(jti, maxJtiLength) ? undefined : `its jti is not a string of 1 to ${maxJtiLength} characters`
  ],
  ["subject", subjectProblem]
]

/** @internal The first thing that is wrong, or `undefined`. Whether its `jti` was seen before is for others to know. */
export const logoutProblem = (
  claims: Claims,
  expected: LogoutExpectations,
  now: number
): LogoutProblem | undefined => {
  for (const [reason, check] of checks) {
    const problem = check(claims, expected, now)
    if (problem !== undefined) return typeof problem === "string" ? { reason, problem } : problem
  }
  return undefined
}

const textOf = (value: unknown): string | undefined => typeof value === "string" ? value : undefined
const timeOf = (value: unknown): number => isTime(value) ? value : 0

/** @internal Of claims in which `logoutProblem` finds nothing wrong; of others, what is unreadable is empty. */
export const readLogout = ({ exp, iat, iss, jti, sid, sub }: Claims): Logout => ({
  issuer: textOf(iss) ?? "",
  sub: textOf(sub),
  sid: textOf(sid),
  jti: textOf(jti) ?? "",
  exp: timeOf(exp),
  usableUntil: Math.min(timeOf(exp), timeOf(iat) + maxAge)
})

/** @internal `iss` and `sid`, both and once: a frame without them could end anybody's session. */
export const frontchannelProblem = (parameters: URLSearchParams, issuer: string): LogoutProblem | undefined => {
  const [iss, ...moreIss] = parameters.getAll("iss")
  const [sid, ...moreSid] = parameters.getAll("sid")
  if (moreIss.length > 0 || moreSid.length > 0) return { reason: "form", problem: "iss or sid is there more than once" }
  if (iss !== issuer) return { reason: "iss", problem: "its iss is not the issuer of this client" }
  return isText(sid, maxSidLength)
    ? undefined
    : { reason: "subject", problem: `its sid is not a string of 1 to ${maxSidLength} characters` }
}
