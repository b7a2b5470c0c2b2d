/**
 * An API that says who calls it. It takes access tokens that are JWTs of the issuers it trusts, issued for it, and one that is
 * bound to a key (RFC 9449) only with a proof.
 */
import { DPoPVerifier, Signer } from "@effect-oauth/core"
import { FetchHttpClient, HttpMiddleware, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Option, type Scope } from "effect"
import * as AccessTokens from "./accessTokens.ts"
import * as Api from "./api.ts"
import type { AuthorizationServer } from "./authorizationServer.ts"

export interface Options extends Omit<Api.ListenOptions, "server"> {
  /** What it calls itself in its answers. */
  readonly name: string
  readonly issuers: ReadonlyArray<Pick<AuthorizationServer, "issuer" | "jwksUri">>
}

const answerTo = (api: string, { client_id, cnf, iss, scope, sub }: AccessTokens.Claims) =>
  HttpServerResponse.unsafeJson({
    api,
    caller: sub,
    client: client_id,
    issuer: iss,
    scope,
    boundTo: cnf?.jkt
  })

/** The claims of a token that one of the issuers has signed. */
const byAnyOf = (all: ReadonlyArray<AccessTokens.ClaimsOf>): AccessTokens.ClaimsOf => (token) =>
  Effect.map(Effect.forEach(all, (claimsOf) => claimsOf(token)), Option.firstSomeOf)

const guarded = (name: string, verifier: DPoPVerifier.DPoPVerifier["Type"], claimsOf: AccessTokens.ClaimsOf) =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const proven = DPoPVerifier.tokenOf(request.headers)
    const token = Option.orElse(proven, () => Api.bearerOf(request.headers))
    if (Option.isNone(token)) return Api.unauthorized("Bearer, DPoP")
    const claims = yield* claimsOf(token.value)
    if (Option.isNone(claims)) {
      return Option.isSome(proven)
        ? yield* verifier.refusal("invalid_token")
        : Api.unauthorized(`Bearer error="invalid_token"`)
    }
    const thumbprint = claims.value.cnf?.jkt
    if (Option.isNone(proven) && thumbprint === undefined) return answerTo(name, claims.value)
    return yield* verifier.verify(request, { value: token.value, thumbprint }).pipe(
      Effect.matchEffect({
        onFailure: verifier.refusal,
        onSuccess: () => verifier.withNonce(answerTo(name, claims.value))
      })
    )
  })

/** Starts it; the end of the scope stops it. */
export const start = (options: Options): Effect.Effect<Api.Api, never, Scope.Scope> =>
  Api.serve(options, (url) =>
    Effect.zipWith(
      DPoPVerifier.make({ publicUrl: url, nonces: { rotateAfter: "1 minute" } }),
      Effect.forEach(options.issuers, (issuer) => AccessTokens.claimsOf(issuer, url)),
      (verifier, all) => HttpMiddleware.make(() => guarded(options.name, verifier, byAnyOf(all)))
    ).pipe(Effect.provide([Signer.layer, FetchHttpClient.layer])))
