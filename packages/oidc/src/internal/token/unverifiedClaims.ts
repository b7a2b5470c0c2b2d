/**
 * What a JWT says of itself, before anything of it is believed: to find out whose keys to check it with. Its header and signature
 * may be anything.
 */
import * as StrictJson from "@effect-oauth/core/StrictJson"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as Redacted from "effect/Redacted"

/** @internal */
export const unverifiedClaims = (jwt: Redacted.Redacted<string>): Readonly<Record<string, unknown>> | undefined => {
  const [, payload = ""] = Redacted.value(jwt).split(".", 3)
  const bytes = Encoding.decodeBase64Url(payload)
  return Either.isRight(bytes) ? Either.getOrUndefined(StrictJson.parseObject(bytes.right)) : undefined
}
