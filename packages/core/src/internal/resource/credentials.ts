import type * as Headers from "@effect/platform/Headers"
import * as Redacted from "effect/Redacted"

/** @internal The access token of a request, as its `Authorization` brought it. */
export type Credentials =
  /** None, or credentials of another scheme. */
  | { readonly _tag: "None" }
  | { readonly _tag: "Malformed"; readonly scheme: Scheme }
  | { readonly _tag: "Token"; readonly scheme: Scheme; readonly token: Redacted.Redacted<string> }

/** @internal */
export type Scheme = "Bearer" | "DPoP"

const ours = /^(bearer|dpop)(?: +(.*))?$/is

// token68 (RFC 9110 section 11.2)
const token68 = /^[A-Za-z0-9._~+/-]+=*$/

/** Of a token of any kind that there is. */
const maxLength = 32_768

/** @internal Only `Authorization` is looked at: tokens do not belong into addresses and bodies (RFC 9700 section 4.3.2). */
export const credentialsOf = ({ authorization }: Headers.Headers): Credentials => {
  const [, name, rest = ""] = ours.exec(authorization?.trim() ?? "") ?? []
  if (name === undefined) return { _tag: "None" }
  const scheme = name.toLowerCase() === "dpop" ? "DPoP" : "Bearer"
  return rest.length <= maxLength && token68.test(rest)
    ? { _tag: "Token", scheme, token: Redacted.make(rest) }
    : { _tag: "Malformed", scheme }
}
