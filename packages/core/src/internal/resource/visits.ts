/**
 * What is found out about requests: who calls, what was wrong, and what the answers have to say of it. A request is remembered
 * for as long as it lives.
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Verifier } from "../../AccessTokenVerifier.ts"
import type { DPoPVerifier, PresentedToken, VerifiedProof } from "../../DPoPVerifier.ts"
import { Forbidden, type Refusal, Unauthorized, Unavailable } from "../../Refusal.ts"
import type { Caller, Options, ResourceServer } from "../../ResourceServer.ts"
import * as WwwAuthenticate from "../../WwwAuthenticate.ts"
import * as Challenges from "./challenges.ts"
import { type Credentials, credentialsOf, type Scheme } from "./credentials.ts"
import { lacking, type Wanted, wantedOf } from "./requirements.ts"

type Ending = Challenges.Ending
type Parameters = Challenges.Parameters

/** Who it is, before anything is wanted of them. */
type Known = Pick<Caller["Type"], "token" | "proof">

/** What is known of one request. */
interface Visit {
  readonly credentials: Credentials
  readonly turn: Effect.Semaphore
  outcome: Exit.Exit<Known, Refusal> | undefined
  ending: Ending | undefined
  /** What the last guard wanted. */
  scope: string | undefined
}

/** @internal */
export const errorOf = (
  what: "scope" | "authentication",
  { acrValues, maxAge, scope }: Wanted
): Unauthorized | Forbidden =>
  what === "scope"
    ? new Forbidden({ error: "insufficient_scope", scope })
    : new Unauthorized({
      error: "insufficient_user_authentication",
      problem: "this needs another sign-in of the user",
      acrValues: acrValues.length === 0 ? undefined : acrValues,
      maxAge
    })

const parametersOf = (error: Unauthorized | Forbidden): Parameters =>
  error._tag === "Forbidden"
    ? { error: error.error, error_description: error.message, scope: error.scope.join(" ") }
    : {
      error: error.error,
      error_description: error.problem,
      acr_values: error.acrValues?.join(" "),
      max_age: error.maxAge?.toString()
    }

/** @internal */
export const make = (
  verifier: Verifier,
  dpop: DPoPVerifier["Type"] | undefined,
  options: Options
): ResourceServer["Type"] => {
  const requireDPoP = options.requireDPoP === true
  const challenges = Challenges.make({
    schemes: requireDPoP ? ["DPoP"] : dpop === undefined ? ["Bearer"] : ["Bearer", "DPoP"],
    common: {
      realm: options.realm,
      resource_metadata: options.resourceMetadata === undefined ? undefined : String(options.resourceMetadata)
    },
    dpop
  })
  const visits = new WeakMap<object, Visit>()

  const visitOf = (request: HttpServerRequest.HttpServerRequest): Visit => {
    // A router that shortens the URL makes another request of the same source.
    const key = typeof request.source === "object" && request.source !== null ? request.source : request
    const known = visits.get(key)
    if (known !== undefined) return known
    const visit: Visit = {
      credentials: credentialsOf(request.headers),
      turn: Effect.unsafeMakeSemaphore(1),
      outcome: undefined,
      ending: undefined,
      scope: undefined
    }
    visits.set(key, visit)
    return visit
  }

  /** Refuses: what the answer will have to say is noted, the error says the rest. */
  const refuse = <E extends Refusal>(
    visit: Visit,
    error: E,
    ending: Ending
  ): Effect.Effect<never, E> =>
    Effect.suspend(() => {
      visit.ending = ending
      return Effect.fail(error)
    })

  const unauthorized = (visit: Visit, scheme: Scheme, problem: string, error = "invalid_token", others?: boolean) => {
    const refusal = new Unauthorized({ error, problem })
    return refuse(visit, refusal, challenges.one(401, scheme, parametersOf(refusal), others))
  }

  const unavailable = (visit: Visit, retryAfter: number) =>
    refuse(
      visit,
      new Unavailable({ retryAfter }),
      { status: 503, headers: () => Effect.succeed({ "retry-after": `${retryAfter}` }) }
    )

  const proofOf = (
    verifier: DPoPVerifier["Type"],
    request: HttpServerRequest.HttpServerRequest,
    visit: Visit,
    token: PresentedToken
  ): Effect.Effect<VerifiedProof, Refusal> =>
    Effect.catchAll(
      verifier.verify(request, token),
      (error) =>
        Effect.flatMap(verifier.refusal(error), ({ headers, status }): Effect.Effect<never, Refusal> => {
          if (status === 503) return unavailable(visit, Number(headers["retry-after"]) || 1)
          const [said] = WwwAuthenticate.parse(headers["www-authenticate"] ?? "")
          return unauthorized(visit, "DPoP", error.problem, said?.parameters.error ?? "invalid_dpop_proof")
        })
    )

  /** Whoever has the token has to have the other end of it, too. */
  const possession = (
    request: HttpServerRequest.HttpServerRequest,
    visit: Visit,
    scheme: Scheme,
    token: PresentedToken & { readonly certificate: string | undefined }
  ): Effect.Effect<VerifiedProof | undefined, Refusal> =>
    Effect.gen(function*() {
      const wrong = (problem: string, others?: boolean) =>
        unauthorized(visit, scheme, `the access token is ${problem}`, "invalid_token", others)
      if (token.certificate !== undefined) {
        const shown = options.certificate === undefined ? undefined : yield* options.certificate(request)
        if (shown !== token.certificate) return yield* wrong("bound to a certificate that was not shown")
      }
      if (token.thumbprint !== undefined && scheme === "Bearer") {
        return yield* wrong("bound to a key: it has to come as DPoP, with a proof", true)
      }
      if (token.thumbprint === undefined && scheme === "DPoP") return yield* wrong("bound to no key", true)
      if (token.thumbprint === undefined) {
        return requireDPoP ? yield* wrong("bound to no key, and nothing else is taken here") : undefined
      }
      return dpop === undefined
        ? yield* wrong("bound to a key, which is not taken here")
        : yield* proofOf(dpop, request, visit, token)
    })

  const judge = (request: HttpServerRequest.HttpServerRequest, visit: Visit): Effect.Effect<Known, Refusal> =>
    Effect.gen(function*() {
      const { credentials } = visit
      if (credentials._tag === "None") {
        return yield* refuse(visit, new Unauthorized({ problem: "this needs an access token" }), challenges.all)
      }
      const { scheme } = credentials
      if (credentials._tag === "Malformed") {
        return yield* unauthorized(visit, scheme, "the credentials are no access token")
      }
      const token = yield* verifier.verify(credentials.token).pipe(
        Effect.catchAll((error): Effect.Effect<never, Refusal> =>
          error._tag === "TokenRefused"
            ? unauthorized(visit, scheme, `the access token is refused: ${error.problem}`)
            : unavailable(visit, Math.ceil(Duration.toSeconds(error.retryAfter ?? "5 seconds")))
        )
      )
      const { certificateThumbprint: certificate, keyThumbprint: thumbprint } = token
      const proof = yield* possession(request, visit, scheme, { value: credentials.token, thumbprint, certificate })
      return { token, proof }
    })

  // A proof is good once, so what came of it is kept; one that was cut short has come to nothing.
  const known = (request: HttpServerRequest.HttpServerRequest, visit: Visit): Effect.Effect<Known, Refusal> =>
    visit.turn.withPermits(1)(
      Effect.suspend(() =>
        visit.outcome ?? Effect.onExit(judge(request, visit), (exit) =>
          Effect.sync(() => {
            if (!Exit.isInterrupted(exit)) visit.outcome = exit
          }))
      )
    )

  const callerAt = (visit: Visit, { proof, token }: Known): Caller["Type"] => ({
    token,
    proof,
    require: (requirements) => {
      const wanted = wantedOf(requirements)
      return Effect.flatMap(lacking(token, wanted), (what) => {
        if (what === undefined) return Effect.void
        const error = errorOf(what, wanted)
        const scheme = proof === undefined ? "Bearer" : "DPoP"
        return refuse(visit, error, challenges.one(what === "scope" ? 403 : 401, scheme, parametersOf(error)))
      })
    }
  })

  const isProving = ({ credentials }: Visit): boolean => credentials._tag !== "None" && credentials.scheme === "DPoP"

  return {
    authenticate: (request, requirements = {}) =>
      Effect.suspend(() => {
        const visit = visitOf(request)
        visit.scope = wantedOf(requirements).scope.join(" ") || undefined
        return Effect.flatMap(known(request, visit), (found) => {
          const caller = callerAt(visit, found)
          return Effect.as(caller.require(requirements), caller)
        })
      }),
    finish: (request, response) =>
      Effect.suspend(() => {
        const visit = visitOf(request)
        const { ending } = visit
        const finished = ending === undefined || ending.status !== response.status
          ? Effect.succeed(response)
          : Effect.map(
            ending.headers(visit.scope),
            (headers) => HttpServerResponse.setHeaders(response, { ...headers, "cache-control": "no-store" })
          )
        return dpop !== undefined && isProving(visit) ? Effect.flatMap(finished, dpop.withNonce) : finished
      })
  }
}
