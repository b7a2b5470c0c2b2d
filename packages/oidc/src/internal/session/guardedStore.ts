/**
 * A `TokenStore` as users' sessions and logins ask it: each step answers in time or fails with `SessionStoreError`.
 */
import type { TokenStoreError } from "@effect-oauth/core/OAuthError"
import type { SetOptions, Stored, TokenStore } from "@effect-oauth/core/TokenStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { SessionStoreError } from "../../OidcError.ts"
import * as Guarding from "./guarding.ts"

/** @internal */
export interface GuardedStore {
  readonly get: (key: string) => Effect.Effect<Option.Option<Stored>, SessionStoreError>
  readonly set: (
    key: string,
    value: string,
    options: SetOptions
  ) => Effect.Effect<Option.Option<string>, SessionStoreError>
  readonly remove: (
    key: string,
    options?: { readonly ifVersion?: string | undefined }
  ) => Effect.Effect<boolean, SessionStoreError>
}

/** @internal `operation`: what the steps are for, in errors. */
export const make = (
  store: TokenStore["Type"],
  operation: string,
  timeout: Duration.Duration = Duration.seconds(5)
): GuardedStore => {
  const guard = Guarding.make(timeout)
  const step = <A>(run: () => Effect.Effect<A, TokenStoreError>): Effect.Effect<A, SessionStoreError> =>
    guard(operation, () =>
      Effect.mapError(
        run(),
        (error) => new SessionStoreError({ operation, problem: `${error.store}, ${error.operation}: ${error.problem}` })
      ))
  return {
    get: (key) => step(() => store.get(key)),
    set: (key, value, options) => step(() => store.set(key, value, options)),
    remove: (key, options) => step(() => store.remove(key, options))
  }
}
