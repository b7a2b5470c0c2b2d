/**
 * What exactly is allowed, where scopes are too coarse (RFC 9396): a payment of this amount, an account.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"

/**
 * One thing that is asked for or granted: what it is, and what its type says of it (RFC 9396 section 2).
 *
 * @since 0.1.0
 * @category models
 */
export interface AuthorizationDetail {
  readonly type: string
  readonly [field: string]: unknown
}

const isDetail = (value: unknown): value is AuthorizationDetail =>
  Predicate.isReadonlyRecord(value) && typeof value.type === "string" && value.type !== ""

/**
 * What was granted, as a server says it: of `TokenResponse.raw` to a client, of `VerifiedToken.claims` to an API. Empty where
 * it says nothing; what is not of the form of RFC 9396 is left out.
 *
 * @example
 * ```ts
 * import { AuthorizationDetails, ResourceServer } from "@effect-oauth/core"
 * import { Effect } from "effect"
 *
 * export const mayPay = (amount: number) =>
 *   Effect.map(ResourceServer.Caller, ({ token }) =>
 *     AuthorizationDetails.granted(token.claims).some((detail) => detail.type === "payment" && detail.amount === amount))
 * ```
 *
 * @since 0.1.0
 * @category accessors
 */
export const granted = (
  said: Redacted.Redacted<Readonly<Record<string, unknown>>>
): ReadonlyArray<AuthorizationDetail> => {
  const details = Redacted.value(said).authorization_details
  return Array.isArray(details) ? details.filter(isDetail) : []
}

/** @internal As JSON text, or `undefined` where it cannot be said in JSON. */
export const encode = (details: ReadonlyArray<AuthorizationDetail>): string | undefined => {
  try {
    return JSON.stringify(details)
  } catch {
    return undefined
  }
}

/** @internal */
export const problemOf = (details: unknown): string | undefined => {
  if (!Array.isArray(details) || details.length === 0) return "expected one detail or more"
  if (!details.every(isDetail)) return "expected details with a type (RFC 9396 section 2)"
  return encode(details) === undefined ? "expected what can be said in JSON" : undefined
}

/** @internal Details are remembered by identity, so they stay what they were. They can be said in JSON: there is no circle. */
export const freeze = (value: unknown): void => {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  for (const item of Object.values(value)) freeze(item)
}
