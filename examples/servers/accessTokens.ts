/**
 * What an API checks of an access token that is a JWT (RFC 9068): its signature, by the keys that its issuer publishes, its
 * issuer, its audience and its end.
 */
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { Effect, type Option, Redacted } from "effect"
import * as jose from "jose"

export interface Claims extends jose.JWTPayload {
  /** What the token is bound to: the thumbprint of a key (RFC 9449), or of a certificate (RFC 8705). */
  readonly cnf?: { readonly jkt?: string; readonly "x5t#S256"?: string }
}

/** The claims of a token that is good. */
export type ClaimsOf = (token: Redacted.Redacted<string>) => Effect.Effect<Option.Option<Claims>>

/** The keys are read once; an API that runs for longer would use `jose.createRemoteJWKSet`. */
export const claimsOf = (
  server: { readonly issuer: string; readonly jwksUri: string },
  audience: string
): Effect.Effect<ClaimsOf, unknown, HttpClient.HttpClient> =>
  Effect.gen(function*() {
    const response = yield* Effect.flatMap(HttpClient.get(server.jwksUri), HttpClientResponse.filterStatusOk)
    const keys = jose.createLocalJWKSet((yield* response.json) as jose.JSONWebKeySet)
    return (token) =>
      Effect.option(Effect.tryPromise(async () => {
        // clocks differ, and an end is in whole seconds
        const expected = { issuer: server.issuer, audience, typ: "at+jwt", clockTolerance: 2 }
        return (await jose.jwtVerify<Claims>(Redacted.value(token), keys, expected)).payload
      }))
  })
