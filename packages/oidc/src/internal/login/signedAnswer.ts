/**
 * The server's answer to an authorization request as one signed JWT (JWT Secured Authorization Response Mode for OAuth 2.0).
 */
import * as Jwt from "@effect-oauth/core/Jwt"
import type { JwtVerifier } from "@effect-oauth/core/JwtVerifier"
import type { DiscoveryError } from "@effect-oauth/core/OAuthError"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { OidcClient } from "../../OidcClient.ts"
import { audienceProblem, timeProblem } from "../token/idTokenClaims.ts"

const longest = 32 * 1024

/** @internal The JWT, if the answer is one. */
export const of = (parameters: URLSearchParams): Either.Either<Redacted.Redacted<string> | undefined, string> => {
  const [response, ...others] = parameters.getAll("response")
  if (response === undefined) return Either.right(undefined)
  if (others.length > 0) return Either.left("it has response more than once")
  return response.length > longest ? Either.left("its response is too long") : Either.right(Redacted.make(response))
}

/** @internal What it says, not believed yet. */
export const parametersIn = (response: Redacted.Redacted<string>): URLSearchParams =>
  new URLSearchParams(
    Object.entries(Option.getOrElse(Jwt.unverifiedClaims(Redacted.value(response)), () => ({}))).filter((
      claim
    ): claim is [string, string] => typeof claim[1] === "string")
  )

/** @internal Why it must not be believed (section 2.4 there); also where it is plain and should not be, or the reverse. */
export const problemOf = (
  verifier: JwtVerifier["Type"],
  client: OidcClient,
  response: Redacted.Redacted<string> | undefined
): Effect.Effect<string | undefined, DiscoveryError> =>
  Effect.gen(function*() {
    const isExpected = client.responseMode.endsWith(".jwt")
    if (response === undefined) return isExpected ? "it is not signed, as the answers to this client are" : undefined
    if (!isExpected) return "it is signed, and the answers to this client are not"
    const verified = yield* Effect.either(
      verifier.verify(client.login, response, { algorithms: client.idTokenAlgorithms, source: "login" })
    )
    if (Either.isLeft(verified)) {
      return verified.left._tag === "JwtInvalid" ? verified.left.problem : yield* verified.left
    }
    const { payload } = verified.right
    const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    if (payload.iss !== client.issuer) return "its iss is another server than the login was sent to"
    return audienceProblem(payload, client.login.clientId) ??
      timeProblem(payload, { now, clockTolerance: Duration.toSeconds(client.clockTolerance), required: ["exp"] })
        ?.problem
  })
