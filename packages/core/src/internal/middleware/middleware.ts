/**
 * The middleware's inside: what every attempt carries, and what becomes of its answer.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { type AccessToken, expiryMillis, isSame } from "../../AccessToken.ts"
import { CredentialUnavailable, type KeyBindingMismatch, OriginNotAllowed } from "../../OAuthError.ts"
import * as OAuthMetrics from "../../OAuthMetrics.ts"
import type { RequestContext, TokenRetriever } from "../../TokenRetriever.ts"
import * as WwwAuthenticate from "../../WwwAuthenticate.ts"
import { currentTimeMillis } from "../clock.ts"
import { possessionOf } from "../dpop/possession.ts"
import * as Proving from "../dpop/proving.ts"
import { isKnown } from "../known.ts"
import { authorize, isBound, isToken, prove } from "./attaching.ts"
import { bare, bareFailure, type Call, withResponse } from "./call.ts"
import { beyond, type Policy } from "./destination.ts"
import * as Journeys from "./journeys.ts"
import { parts } from "./perAttempt.ts"
import { drained, isReplayable } from "./replay.ts"
import { guard, restore, withoutFetchRedirects } from "./sendingSettings.ts"
import * as Spans from "./spans.ts"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse
type Running = Fiber.RuntimeFiber<unknown, unknown>

/** Why a token that is there is not sent. */
type SendError = OriginNotAllowed | KeyBindingMismatch | CredentialUnavailable

/** @internal */
export interface Settings {
  readonly refusalOf: Policy
  readonly isHealable: ((response: Response) => boolean) | false
  readonly sendWithout: boolean
  /** No redirect is followed by the transport itself. */
  readonly followsNothing: boolean
  readonly optionsOf: (fiber: Running) => Call["options"]
}

const contextOf = (
  request: Request,
  options: Call["options"],
  rejected: AccessToken | undefined
): RequestContext => ({
  method: request.method,
  url: request.urlParams.length === 0 ? request.url : `${request.url}?${UrlParams.toString(request.urlParams)}`,
  headers: request.headers,
  forceRenewal: rejected !== undefined || options?.forceRenewal === true,
  parameters: options?.parameters,
  rejected
})

const noteUse = (token: AccessToken, fiber: Running): void => {
  OAuthMetrics.count(OAuthMetrics.used)
  if (token.expiresAt === undefined) return
  OAuthMetrics.observe(OAuthMetrics.secondsToExpiry, (expiryMillis(token) - currentTimeMillis(fiber)) / 1000)
}

const noToken = Effect.suspend(() =>
  new CredentialUnavailable({
    clientName: "",
    credential: "token",
    problem: "the retriever gave something that is no AccessToken"
  })
)

/** The token on the request of one attempt, proven if it is bound. */
const signed = (request: Request, token: AccessToken, call: Call, fiber: Running) => {
  if (!Spans.isTraced(fiber)) return attached(request, token, call)
  call.isGuarded = true
  return Effect.zipRight(Spans.guard(call), attached(request, token, call))
}

const attached = (request: Request, token: AccessToken, call: Call) => {
  if (!isBound(token)) {
    if (token.allowedOrigins === undefined) return Effect.succeed(authorize(request, token))
    call.isGuarded = true
    return Effect.as(guard, authorize(request, token))
  }
  call.isGuarded = true
  const healing = call.healing ??= Proving.healing()
  return Effect.zipRight(guard, prove(request, token, healing, call.options?.proofClaims))
}

/** @internal */
export const middleware = <E2, R2>(retriever: TokenRetriever<E2, R2>, settings: Settings) => {
  const { isHealable, optionsOf, refusalOf, sendWithout } = settings
  const journeys = Journeys.make()

  /** What every attempt passes. */
  const prepare = (request: Request, call: Call, fiber: Running): Effect.Effect<Request, E2 | SendError, R2> => {
    call.request = request
    call.token = undefined
    const refused = refusalOf(request.url)
    if (refused !== undefined) return Effect.fail(refused)
    if (journeys.isAway(request)) {
      if (settings.followsNothing) return Effect.succeed(request)
      const refused = journeys.refusalOf(request)
      if (refused !== undefined) return Effect.fail(refused)
      if (!sendWithout) return Effect.succeed(request)
      // No token may have come so far, so none has said where the request may go.
      return Effect.matchEffect(retriever(contextOf(request, call.options, undefined)), {
        onFailure: (error) => error instanceof OriginNotAllowed ? Effect.fail(error) : Effect.succeed(request),
        onSuccess: () => Effect.succeed(request)
      })
    }
    const authorized = (token: AccessToken): Effect.Effect<Request, SendError> => {
      if (!isToken(token)) return noToken
      const refused = beyond(token.allowedOrigins, request.url)
      if (refused !== undefined) return Effect.fail(refused)
      call.token = token
      noteUse(token, fiber)
      return signed(request, token, call, fiber)
    }
    if (call.renewed !== undefined) return authorized(call.renewed)
    const ready = Effect.flatMap(retriever(contextOf(request, call.options, undefined)), authorized)
    if (!sendWithout) return ready
    return Effect.catchAll(ready, (error) => {
      if (error instanceof OriginNotAllowed) return Effect.fail(error)
      call.token = undefined
      return Effect.succeed(request)
    })
  }

  /** Every answer passes here, also that to a second sending: a redirect of either must not lead the token away. */
  const received = (signed: Response, call: Call): Response => {
    const response = bare(signed, call)
    if (call.request !== undefined) journeys.note(call.request, response, call.token)
    return response
  }

  /** Whether the API asks for another proof with the same token; its nonce is kept in any case. */
  const heard = (
    response: Response,
    { healing, request, token }: Call
  ): Effect.Effect<"again" | "enough" | "other"> => {
    const possession = token === undefined || healing === undefined ? undefined : possessionOf(token)
    if (possession === undefined || request === undefined) return Effect.succeed("other")
    const error = WwwAuthenticate.proofError(response)
    return Effect.map(
      possession.proving.heed({ url: request.url, headers: response.headers, error }, healing!),
      // Another token would be refused for the want of a nonce as well.
      (again) => again ? "again" : error === "use_dpop_nonce" ? "enough" : "other"
    )
  }

  /** Another token than the one that was refused. */
  const renewal = (
    request: Request,
    token: AccessToken,
    call: Call
  ): Effect.Effect<AccessToken | undefined, never, R2> =>
    Effect.match(retriever(contextOf(request, call.options, token)), {
      onFailure: () => undefined,
      onSuccess: (other) => !isToken(other) || isSame(other, token) ? undefined : other
    })

  return <E, R>(self: HttpClient.HttpClient.With<E, R>): HttpClient.HttpClient.With<E | E2 | SendError, R | R2> => {
    const { postprocess, preprocess } = parts(self)
    type Sent = Effect.Effect<Response, E | E2 | SendError, R | R2>

    const execute = (request: Effect.Effect<Request, E | E2 | SendError, R | R2>): Sent =>
      Effect.withFiberRuntime((fiber) => {
        const { currentContext } = fiber
        const call: Call = {
          options: optionsOf(fiber),
          request: undefined,
          token: undefined,
          renewed: undefined,
          healing: undefined,
          services: undefined,
          isGuarded: false
        }
        const restored = Effect.suspend(() => Effect.zipRight(restore(currentContext), Spans.restore(call)))
        const sent = postprocess<E2 | SendError, R2>(
          Effect.flatMap(request, (each) => prepare(each, call, fiber))
        )
        const attempt = settings.followsNothing ? withoutFetchRedirects(sent) : sent

        /** The answer to a sending with another token, or `otherwise` where there is none. */
        const renew = (response: Response, otherwise: (response: Response) => Sent): Sent => {
          const { renewed, request, token } = call
          if (isHealable === false || renewed !== undefined || token === undefined || request === undefined) {
            return otherwise(response)
          }
          if (response.status < 300 || !isHealable(response) || !isReplayable(request.body)) return otherwise(response)
          return Effect.flatMap(drained(response), (first) =>
            Effect.flatMap(renewal(request, token, call), (other) => {
              if (other === undefined) return otherwise(bare(first, call))
              call.renewed = other
              OAuthMetrics.count(OAuthMetrics.retried)
              return settle
            }))
        }

        /** What an API says of a proof comes first: another token would fare no better with it. */
        const heal = (response: Response, otherwise: (response: Response) => Sent): Sent =>
          Effect.flatMap(heard(response, call), (verdict) => {
            if (verdict === "other") return renew(response, otherwise)
            const mayRepeat = verdict === "again" && call.request !== undefined && isReplayable(call.request.body)
            return mayRepeat ? Effect.zipRight(drained(response), settle) : otherwise(response)
          })

        const settle: Sent = Effect.suspend(() =>
          Effect.matchEffect(attempt, {
            onSuccess: (signed) => {
              const response = received(signed, call)
              if (!call.isGuarded) {
                return response.status < 300 ? Effect.succeed(response) : renew(response, Effect.succeed)
              }
              return Effect.zipRight(restored, heal(response, Effect.succeed))
            },
            onFailure: (signed) => {
              const error = bareFailure(signed, call)
              const healed = error instanceof HttpClientError.ResponseError
                ? heal(error.response, (response) => Effect.fail(withResponse(error, response)))
                : Effect.fail(error)
              return call.isGuarded ? Effect.zipRight(restored, healed) : healed
            }
          })
        )
        return settle
      })

    return HttpClient.makeWith(execute, (request) => {
      const prepared = preprocess(request)
      return isKnown(prepared)
        ? Effect.succeed(Journeys.withOwnHeaders(prepared.value))
        : Effect.map(prepared, Journeys.withOwnHeaders)
    })
  }
}
