/**
 * Why a call has no token, for clients that know errors by codes.
 */
import { isAccessTokenError } from "@effect-oauth/core/OAuthError"
import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"

/**
 * @internal `passing` is a failure that the same call may not meet again, `lasting` is any other one, `defect` none that anybody
 * foresaw. `error` is the typed error, where there is one.
 */
export interface TokenFailure {
  readonly kind: "passing" | "lasting" | "interrupted" | "defect"
  readonly text: string
  readonly error: unknown
}

const nameOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string"
    ? error._tag
    : error instanceof Error
    ? error.name
    : "an error without a name"

/** @internal Nothing of an error that is not ours is told but its name: its text may hold anything. */
export const tokenFailure = (
  cause: Cause.Cause<unknown>,
  isOurs: (error: unknown) => error is Error = (_): _ is Error => false
): TokenFailure => {
  const failure = Cause.failureOption(cause)
  if (Option.isNone(failure)) {
    return Cause.isInterruptedOnly(cause)
      ? { kind: "interrupted", text: "cancelled while an access token was got", error: undefined }
      : { kind: "defect", text: `no access token: ${nameOf(Cause.squash(cause))}`, error: undefined }
  }
  const error = failure.value
  const mayPass = Predicate.hasProperty(error, "retryable") && error.retryable === true
  return {
    kind: mayPass ? "passing" : "lasting",
    text: isOurs(error)
      ? error.message
      : `no access token: ${isAccessTokenError(error) ? error.message : nameOf(error)}`,
    error
  }
}
