/**
 * The ID token that comes with a refresh (OpenID Connect Core 1.0 section 12.2). Only proof that it is about another identity
 * ends a sign-in; one that cannot be checked, or breaks a minor rule, is left aside.
 */
import * as Jwt from "@effect-oauth/core/Jwt"
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import type { TokenResponse } from "@effect-oauth/core/TokenEndpoint"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { IdTokenVerifier } from "../../IdToken.ts"
import type { OidcClient } from "../../OidcClient.ts"
import type { IdTokenInvalid } from "../../OidcError.ts"
import type { Principal } from "../../Principal.ts"
import { audienceProblem, isSubject } from "../token/idTokenClaims.ts"

/**
 * @internal
 *
 * - `Same`: of the same user; `identity` is absent where no ID token came or it is not used.
 * - `Other`: signed by the issuer, and about another user, issuer or client.
 * - `Unverified`: names another one, and its signature could not be verified.
 */
export type Judgement =
  | { readonly _tag: "Same"; readonly identity: Identity | undefined }
  | { readonly _tag: "Other" }
  | { readonly _tag: "Unverified" }

/** @internal */
export interface Identity {
  readonly idToken: Redacted.Redacted<string>
  readonly claims: Readonly<Record<string, unknown>>
}

const beforeClaims: ReadonlySet<IdTokenInvalid["reason"]> = new Set(["form", "algorithm", "type", "key", "signature"])

/** The new refresh token is in the memory of this process only: keys that have to be fetched are not waited for. */
const longestCheck = Duration.seconds(2)

/** Whether it is about another user, issuer or client; `undefined` if it says neither this nor that. */
const namesAnother = (
  idToken: Redacted.Redacted<string>,
  client: OidcClient,
  previous: Principal | undefined
): boolean | undefined => {
  const claims = Option.getOrUndefined(Jwt.unverifiedClaims(Redacted.value(idToken)))
  if (claims === undefined) return undefined
  const { aud, iss, sub } = claims
  return (typeof iss === "string" && iss !== client.issuer) ||
    (isSubject(sub) && previous !== undefined && sub !== previous.sub) ||
    (aud !== undefined && audienceProblem(claims, client.login.clientId) !== undefined)
}

/** @internal */
export const make = (idTokens: IdTokenVerifier["Type"], log: OAuthLogging.Log) =>
(
  client: OidcClient,
  { accessToken, idToken }: TokenResponse,
  previous: Principal | undefined
): Effect.Effect<Judgement> => {
  if (idToken === undefined) return Effect.succeed({ _tag: "Same", identity: undefined })

  const leftAside = (why: string): Effect.Effect<Judgement> =>
    Effect.as(
      log.warning(client.name, `the ID token of a refresh is not used: ${why}`),
      { _tag: "Same", identity: undefined }
    )

  const unverified = (why: string): Effect.Effect<Judgement> =>
    namesAnother(idToken, client, previous) === true ? Effect.succeed({ _tag: "Unverified" }) : leftAside(why)

  const refused = ({ message, reason }: IdTokenInvalid): Effect.Effect<Judgement> => {
    if (beforeClaims.has(reason)) return unverified(message)
    const isAnother = namesAnother(idToken, client, previous) ??
      (reason === "iss" || reason === "sub" || reason === "aud")
    return isAnother ? Effect.succeed({ _tag: "Other" }) : leftAside(message)
  }

  return idTokens.verify(client, idToken, {
    accessToken: accessToken.value,
    previous: previous === undefined ? undefined : { ...previous.claims, sub: previous.sub }
  }).pipe(
    Effect.map(({ claims }): Judgement => ({ _tag: "Same", identity: { idToken, claims } })),
    Effect.timeout(longestCheck),
    Effect.catchTags({
      DiscoveryError: ({ message }) => unverified(message),
      TimeoutException: () => unverified("the server's keys did not come in time"),
      IdTokenInvalid: refused
    })
  )
}
