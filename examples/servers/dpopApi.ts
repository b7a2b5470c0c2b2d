/**
 * The API of `api.ts` for tokens that are bound to a key (RFC 9449): it wants a proof with each request, and in each proof a
 * nonce, which changes all the time.
 */
import { DPoPVerifier, Signer } from "@effect-oauth/core"
import { FetchHttpClient, HttpMiddleware, HttpServerRequest } from "@effect/platform"
import { type Duration, Effect, Option, type Scope } from "effect"
import * as AccessTokens from "./accessTokens.ts"
import * as Api from "./api.ts"
import type { AuthorizationServer } from "./authorizationServer.ts"

export interface Options extends Omit<Api.ListenOptions, "server"> {
  readonly issuer: Pick<AuthorizationServer, "issuer" | "jwksUri">
  /** How long a nonce is the current one. */
  readonly rotateNonceAfter: Duration.DurationInput
  /** Sees what the tokens say that it accepts. */
  readonly onToken?: ((claims: AccessTokens.Claims) => void) | undefined
}

export interface DPoPApi extends Api.Api {
  /** How many nonces it has told its clients. */
  readonly nonces: () => number
  /** The thumbprints of the keys whose proofs it accepted. */
  readonly keys: () => ReadonlyArray<string>
}

/** Starts it; the end of the scope stops it. */
export const start = (options: Options): Effect.Effect<DPoPApi, never, Scope.Scope> =>
  Effect.gen(function*() {
    const keys = new Set<string>()
    let nonces = 0
    let told: string | undefined

    const guard = (verifier: DPoPVerifier.DPoPVerifier["Type"], claimsOf: AccessTokens.ClaimsOf): Api.Guard =>
      HttpMiddleware.make((app) =>
        Effect.gen(function*() {
          const request = yield* HttpServerRequest.HttpServerRequest
          const nonce = yield* verifier.currentNonce
          if (nonce !== told) nonces++
          told = nonce
          // a bound token that comes as a bearer token is judged too, so that the answer says what was wrong
          const token = Option.orElse(DPoPVerifier.tokenOf(request.headers), () => Api.bearerOf(request.headers))
          if (Option.isNone(token)) return yield* verifier.refusal()
          const claims = yield* claimsOf(token.value)
          if (Option.isNone(claims)) return yield* verifier.refusal("invalid_token")
          const presented = { value: token.value, thumbprint: claims.value.cnf?.jkt }
          return yield* verifier.verify(request, presented).pipe(
            Effect.matchEffect({
              onFailure: verifier.refusal,
              onSuccess: ({ thumbprint }) => {
                keys.add(thumbprint)
                options.onToken?.(claims.value)
                return Effect.flatMap(app, verifier.withNonce)
              }
            })
          )
        })
      )

    const api = yield* Api.serve(options, (url) =>
      Effect.zipWith(
        DPoPVerifier.make({ publicUrl: url, nonces: { rotateAfter: options.rotateNonceAfter } }),
        AccessTokens.claimsOf(options.issuer, url),
        guard
      ).pipe(Effect.provide([Signer.layer, FetchHttpClient.layer])))
    return { ...api, nonces: () => nonces, keys: () => [...keys] }
  })
