/**
 * What a JWT says of itself, before anything of it is believed: to find out whose keys to check it with.
 */
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import { decodeJwt } from "jose"

/** @internal */
export const unverifiedClaims = (jwt: Redacted.Redacted<string>): Readonly<Record<string, unknown>> | undefined => {
  try {
    const claims: unknown = decodeJwt(Redacted.value(jwt))
    return Predicate.isReadonlyRecord(claims) ? claims : undefined
  } catch {
    return undefined
  }
}
