import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Jwt from "../../Jwt.ts"

/** @internal What a token says it is bound to. */
export interface Confirmation {
  /** Of a key (RFC 9449 section 6.1). */
  readonly jkt: string | undefined
  /** Of a certificate (RFC 8705 section 3.1). */
  readonly certificate: string | undefined
}

const textOf = (value: unknown): string | undefined => typeof value === "string" ? value : undefined

/** @internal The `cnf` of a token that is a JWT; of any other token nothing is known. */
export const confirmationOf = (token: string): Confirmation => {
  const cnf = Option.getOrUndefined(Jwt.unverifiedClaims(token))?.cnf
  return Predicate.isReadonlyRecord(cnf)
    ? { jkt: textOf(cnf.jkt), certificate: textOf(cnf["x5t#S256"]) }
    : { jkt: undefined, certificate: undefined }
}
