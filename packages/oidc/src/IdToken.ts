/**
 * ID tokens, checked in full (OpenID Connect Core 1.0 sections 3.1.3.7 and 12.2).
 *
 * @since 0.1.0
 */
import { JwtVerifier } from "@effect-oauth/core/JwtVerifier"
import type { DiscoveryError } from "@effect-oauth/core/OAuthError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { atHashProblem, idTokenProblem } from "./internal/token/idTokenClaims.ts"
import type { OidcClient } from "./OidcClient.ts"
import { IdTokenInvalid } from "./OidcError.ts"

/**
 * What an ID token says.
 *
 * @since 0.1.0
 * @category models
 */
export interface IdToken {
  readonly issuer: string
  readonly sub: string
  readonly claims: Readonly<Record<string, unknown>>
}

/**
 * What an ID token has to say.
 *
 * - `nonce`: of the login it answers; `null` where none was sent, because no browser took part (RFC 8628); absent for the one of
 *   a refresh.
 * - `accessToken`: which came with it, for `at_hash`.
 * - `maxAge`, in seconds, and `acrValues`: as the login asked for them.
 * - `previous`: the claims of the one before, for the one of a refresh.
 *
 * @since 0.1.0
 * @category models
 */
export interface Expected {
  readonly nonce?: string | null | undefined
  readonly accessToken?: Redacted.Redacted<string> | undefined
  readonly maxAge?: number | undefined
  readonly acrValues?: ReadonlyArray<string> | undefined
  readonly previous?: Readonly<Record<string, unknown>> | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class IdTokenVerifier extends Context.Tag("@effect-oauth/oidc/IdTokenVerifier")<IdTokenVerifier, {
  readonly verify: (
    client: OidcClient,
    idToken: Redacted.Redacted<string>,
    expected: Expected
  ) => Effect.Effect<IdToken, IdTokenInvalid | DiscoveryError>
}>() {}

const previousOf = (claims: Expected["previous"]) =>
  claims === undefined ? undefined : {
    sub: String(claims.sub),
    authTime: typeof claims.auth_time === "number" ? claims.auth_time : undefined,
    azp: typeof claims.azp === "string" ? claims.azp : undefined
  }

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<IdTokenVerifier["Type"], never, JwtVerifier> = Effect.map(
  JwtVerifier,
  (verifier) => ({
    verify: (client, idToken, expected) =>
      Effect.gen(function*() {
        const invalid = (reason: IdTokenInvalid["reason"], problem: string) =>
          new IdTokenInvalid({ clientName: client.name, reason, problem })
        const { header, payload } = yield* Effect.catchTag(
          verifier.verify(client.login, idToken, {
            algorithms: client.idTokenAlgorithms,
            types: ["JWT"],
            source: "server"
          }),
          "JwtInvalid",
          ({ problem, reason }) => Effect.fail(invalid(reason, problem))
        )
        const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
        const problem = idTokenProblem(payload, {
          issuer: client.issuer,
          clientId: client.login.clientId,
          nonce: expected.nonce,
          maxAge: expected.maxAge,
          acrValues: expected.acrValues,
          clockTolerance: Duration.toSeconds(client.clockTolerance),
          previous: previousOf(expected.previous)
        }, now)
        if (problem !== undefined) return yield* invalid(problem.reason, problem.problem)
        const { accessToken } = expected
        const hash = accessToken === undefined ?
          undefined :
          yield* Effect.promise(() => atHashProblem(payload, Redacted.value(accessToken), String(header.alg)))
        if (hash !== undefined) return yield* invalid(hash.reason, hash.problem)
        return { issuer: client.issuer, sub: String(payload.sub), claims: payload }
      })
  })
)

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<IdTokenVerifier, never, JwtVerifier> = Layer.effect(IdTokenVerifier, make)
