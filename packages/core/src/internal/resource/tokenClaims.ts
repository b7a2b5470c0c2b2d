/**
 * What is said of an access token, by the token itself (RFC 9068) or by the server that gave it (RFC 7662), judged without any
 * effect. Problems are sentences that quote nothing of the token.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Jwt from "../../Jwt.ts"

/** @internal */
export type Claims = Readonly<Record<string, unknown>>

/** @internal */
export type Reason = "claims" | "issuer" | "audience" | "expired" | "notYet" | "binding"

/** @internal */
export interface Refused {
  readonly reason: Reason
  readonly problem: string
}

/** @internal Times are in milliseconds since 1970. */
export interface Read {
  readonly sub: string | undefined
  readonly clientId: string | undefined
  readonly scope: ReadonlyArray<string>
  readonly audience: ReadonlyArray<string>
  readonly expiresAt: number | undefined
  readonly authTime: number | undefined
  readonly acr: string | undefined
  readonly keyThumbprint: string | undefined
  readonly certificateThumbprint: string | undefined
}

/** @internal */
export interface Expected {
  /** Of these, one has to be among those that the token names; with none, it may be for anybody. */
  readonly audience: ReadonlyArray<string>
  readonly now: number
  /** In milliseconds. */
  readonly clockTolerance: number
  /** Claims that have to be there. */
  readonly required: ReadonlyArray<"exp" | "iat" | "sub" | "client_id">
}

const refused = (reason: Reason, problem: string) => Either.left<Refused>({ reason, problem })

const isText = (value: unknown): value is string => typeof value === "string" && value !== ""

const textOf = (value: unknown): string | undefined => isText(value) ? value : undefined

const listOf = (value: unknown): ReadonlyArray<string> =>
  isText(value) ? [value] : Array.isArray(value) ? value.filter(isText) : []

/** Scopes are one text (RFC 9068 section 2.2.3); `scp`, and an array, are what some servers write. */
const scopeOf = ({ scope, scp }: Claims): ReadonlyArray<string> => [
  ...new Set(listOf(scope ?? scp).flatMap((text) => text.split(" ")).filter((item) => item !== ""))
]

/** Of which a wrong one makes a token no good; what else is wrong counts as absent. */
const nameProblem = (claims: Claims, required: Expected["required"]): string | undefined => {
  for (const name of ["sub", "client_id"] as const) {
    const value = claims[name]
    if (value === undefined || value === null) {
      if (required.includes(name)) return `it has no ${name}`
    } else if (!isText(value)) return `its ${name} is not of the right type`
  }
  return undefined
}

const isTime = (name: Expected["required"][number]): name is "exp" | "iat" => name === "exp" || name === "iat"

/** Some servers write `null` for what they do not know. */
const timesOf = ({ exp, iat, nbf }: Claims): Claims => ({
  exp: exp ?? undefined,
  iat: iat ?? undefined,
  nbf: nbf ?? undefined
})

const timeProblem = (
  claims: Claims,
  { clockTolerance, now, required }: Expected
): { readonly problem: string; readonly reason: Reason } | undefined =>
  Option.getOrUndefined(Option.map(
    Jwt.timeProblem(timesOf(claims), { now, clockTolerance, required: required.filter(isTime) }),
    ({ kind, problem }) => ({
      problem,
      reason: kind === "over" ? "expired" : kind === "early" ? "notYet" : "claims"
    })
  ))

const dateOf = (value: unknown): number | undefined => typeof value === "number" ? value * 1000 : undefined

/** What binds a token in a way that nobody here can check makes it useless here (RFC 7800 section 3.1). */
const bindingProblem = ({ cnf, token_type: type }: Claims): string | undefined => {
  const bound = Predicate.isReadonlyRecord(cnf) ? cnf : {}
  if (cnf !== undefined && !isText(bound.jkt) && !isText(bound["x5t#S256"])) {
    return "it is bound to something that is not known here"
  }
  return isText(type) && type.toLowerCase() === "dpop" && !isText(bound.jkt)
    ? "it is a DPoP token, and nobody says of which key"
    : undefined
}

/** @internal */
export const read = (claims: Claims, expected: Expected): Either.Either<Read, Refused> => {
  const name = nameProblem(claims, expected.required)
  if (name !== undefined) return refused("claims", name)
  const audience = listOf(claims.aud)
  if (expected.audience.length > 0 && !expected.audience.some((one) => audience.includes(one))) {
    return refused("audience", "it is for another audience")
  }
  const time = timeProblem(claims, expected)
  if (time !== undefined) return refused(time.reason, time.problem)
  const binding = bindingProblem(claims)
  if (binding !== undefined) return refused("binding", binding)
  const cnf = Predicate.isReadonlyRecord(claims.cnf) ? claims.cnf : {}
  return Either.right({
    sub: textOf(claims.sub),
    clientId: textOf(claims.client_id) ?? textOf(claims.azp),
    scope: scopeOf(claims),
    audience,
    expiresAt: dateOf(claims.exp),
    authTime: dateOf(claims.auth_time),
    acr: textOf(claims.acr),
    keyThumbprint: textOf(cnf.jkt),
    certificateThumbprint: textOf(cnf["x5t#S256"])
  })
}
