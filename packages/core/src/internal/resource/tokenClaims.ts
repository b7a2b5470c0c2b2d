/**
 * What is said of an access token, by the token itself (RFC 9068) or by the server that gave it (RFC 7662), judged without any
 * effect. Problems are sentences that quote nothing of the token.
 */
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"

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

/** Seconds since 1970, of a date that there can be (RFC 7519 section 2). */
const isDate = (value: unknown): value is number => typeof value === "number" && Math.abs(value) <= 8.64e12

/** Of which a wrong one makes a token no good; what else is wrong counts as absent. */
const types = {
  exp: isDate,
  iat: isDate,
  nbf: isDate,
  sub: isText,
  client_id: isText
}

const shapeProblem = (claims: Claims, required: ReadonlyArray<string>): string | undefined => {
  for (const [name, isGood] of Object.entries(types)) {
    const value = claims[name]
    if (value === undefined || value === null) {
      if (required.includes(name)) return `it has no ${name}`
    } else if (!isGood(value)) return `its ${name} is not of the right type`
  }
  return undefined
}

const dateOf = (value: unknown): number | undefined => isDate(value) ? value * 1000 : undefined

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
  const shape = shapeProblem(claims, expected.required)
  if (shape !== undefined) return refused("claims", shape)
  const audience = listOf(claims.aud)
  if (expected.audience.length > 0 && !expected.audience.some((one) => audience.includes(one))) {
    return refused("audience", "it is for another audience")
  }
  const expiresAt = dateOf(claims.exp)
  if (expiresAt !== undefined && expected.now >= expiresAt + expected.clockTolerance) {
    return refused("expired", "it has expired")
  }
  const notBefore = dateOf(claims.nbf)
  if (notBefore !== undefined && expected.now < notBefore - expected.clockTolerance) {
    return refused("notYet", "it is not valid yet")
  }
  const binding = bindingProblem(claims)
  if (binding !== undefined) return refused("binding", binding)
  const cnf = Predicate.isReadonlyRecord(claims.cnf) ? claims.cnf : {}
  return Either.right({
    sub: textOf(claims.sub),
    clientId: textOf(claims.client_id) ?? textOf(claims.azp),
    scope: scopeOf(claims),
    audience,
    expiresAt,
    authTime: dateOf(claims.auth_time),
    acr: textOf(claims.acr),
    keyThumbprint: textOf(cnf.jkt),
    certificateThumbprint: textOf(cnf["x5t#S256"])
  })
}
