/**
 * Customizing a request for a token that is made by hand: inside a web request, by what came in.
 */
import { type AccessTokenError, CredentialUnavailable } from "@effect-oauth/core/OAuthError"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import { type Customize, type RequestContext, TokenRequestCustomizer } from "@effect-oauth/core/TokenRetriever"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { nameOf } from "./nameOf.ts"

const contextOf = (
  request: HttpServerRequest.HttpServerRequest,
  parameters: TokenRequestParameters
): RequestContext => ({
  method: request.method,
  url: Option.match(HttpServerRequest.toURL(request), { onNone: () => request.url, onSome: ({ href }) => href }),
  headers: request.headers,
  forceRenewal: parameters.forceRenewal === true,
  parameters,
  rejected: undefined
})

const unavailable = (problem: string) =>
  new CredentialUnavailable({ clientName: "", credential: "token", problem: `the customizer ${problem}` })

/** Whatever it does, it comes to an end, and not to a defect. */
const asked = (
  customize: Customize<AccessTokenError>,
  context: RequestContext,
  parameters: TokenRequestParameters
): Effect.Effect<TokenRequestParameters, AccessTokenError> =>
  Effect.suspend(() => customize(context, parameters)).pipe(
    Effect.timeoutFail({ duration: "1 minute", onTimeout: () => unavailable("took longer than a minute") }),
    Effect.filterOrFail(Predicate.isReadonlyRecord, () => unavailable("gave no parameters")),
    Effect.catchAllDefect((defect) => unavailable(`broke off with a defect: ${nameOf(defect)}`))
  )

const ask = <P extends TokenRequestParameters>(
  customize: Customize<AccessTokenError>,
  request: HttpServerRequest.HttpServerRequest,
  parameters: P
): Effect.Effect<P, AccessTokenError> =>
  Effect.map(asked(customize, contextOf(request, parameters), parameters), (wanted) => ({
    ...parameters,
    // What the customizer leaves out is left out.
    scope: undefined,
    resource: undefined,
    parameters: undefined,
    assertion: undefined,
    partition: undefined,
    context: undefined,
    ...wanted,
    forceRenewal: parameters.forceRenewal === true || wanted.forceRenewal === true
  }))

/** @internal */
export const customized = <P extends TokenRequestParameters>(
  parameters: P | undefined
): Effect.Effect<P | undefined, AccessTokenError> =>
  Effect.gen(function*() {
    const customize = yield* Effect.serviceOption(TokenRequestCustomizer)
    const request = yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest)
    if (Option.isNone(customize) || Option.isNone(request)) return parameters
    return yield* ask(customize.value, request.value, parameters ?? ({} as P))
  })
