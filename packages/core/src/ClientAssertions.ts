/**
 * Assertions that come from elsewhere: a platform that identifies its workloads, a key service that signs.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { nameOf } from "./internal/problem.ts"
import { CredentialUnavailable } from "./OAuthError.ts"
import type { TokenRequestParameters } from "./TokenRequestParameters.ts"

/**
 * A client assertion (RFC 7521 section 4.2). `type` is `urn:ietf:params:oauth:client-assertion-type:jwt-bearer` by default.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClientAssertion {
  readonly type?: string | undefined
  readonly value: Redacted.Redacted<string>
}

/**
 * Optional: asked for every client, and anew for every attempt of every request. `Some` replaces the authentication of the
 * client's definition, `None` keeps it; an assertion among the parameters of a request wins over both.
 *
 * @since 0.1.0
 * @category tags
 */
export class ClientAssertions extends Context.Tag("@effect-oauth/core/ClientAssertions")<ClientAssertions, {
  readonly get: (
    clientName: string,
    parameters: TokenRequestParameters
  ) => Effect.Effect<Option.Option<ClientAssertion>, CredentialUnavailable>
}>() {}

/**
 * Its failures become `CredentialUnavailable`, which carries the tag of the error only.
 *
 * @example
 * ```ts
 * import { ClientAssertions } from "@effect-oauth/core"
 * import { FileSystem } from "@effect/platform"
 * import { Effect, Option, Redacted } from "effect"
 *
 * // A workload's identity, which its platform writes anew before it expires.
 * export const Workload = ClientAssertions.layer(() =>
 *   Effect.gen(function*() {
 *     const files = yield* FileSystem.FileSystem
 *     const token = yield* files.readFileString("/var/run/secrets/tokens/identity")
 *     return Option.some({ value: Redacted.make(token.trim()) })
 *   })
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <E, R>(
  get: (
    clientName: string,
    parameters: TokenRequestParameters
  ) => Effect.Effect<Option.Option<ClientAssertion>, E, R>
): Layer.Layer<ClientAssertions, never, R> =>
  Layer.effect(
    ClientAssertions,
    Effect.map(Effect.context<R>(), (context) => ({
      get: (clientName, parameters) => {
        const failed = (error: unknown) =>
          new CredentialUnavailable({ clientName, credential: "assertion", problem: nameOf(error) })
        return Effect.suspend(() => get(clientName, parameters)).pipe(
          Effect.provide(context),
          Effect.mapError(failed),
          Effect.catchAllDefect((defect) => Effect.fail(failed(defect)))
        )
      }
    }))
  )
