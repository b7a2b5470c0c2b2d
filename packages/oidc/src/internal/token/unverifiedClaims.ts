/**
 * What a JWT says of itself, before anything of it is believed: to find out whose keys to check it with.
 */
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** @internal */
export const unverifiedClaims = (jwt: Redacted.Redacted<string>): Readonly<Record<string, unknown>> | undefined => {
  const [, payload = ""] = Redacted.value(jwt).split(".", 3)
  const claims = Either.map(Encoding.decodeBase64UrlString(payload), parse)
  return Either.isRight(claims) && Predicate.isReadonlyRecord(claims.right) ? claims.right : undefined
}
