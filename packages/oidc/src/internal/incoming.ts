/**
 * Customizing a request for a token that is made by hand: inside a web request, by what came in.
 */
import type { AccessTokenError } from "@effect-oauth/core/OAuthError"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import { type Customize, customizer, type RequestContext } from "@effect-oauth/core/TokenRetriever"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

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

/** What the customizer leaves out is left out. */
const leftOut: { readonly [K in keyof TokenRequestParameters]-?: undefined } = {
  forceRenewal: undefined,
  scope: undefined,
  resource: undefined,
  parameters: undefined,
  authorizationDetails: undefined,
  assertion: undefined,
  grant: undefined,
  partition: undefined,
  context: undefined
}

const ask = <P extends TokenRequestParameters>(
  customize: Customize<AccessTokenError>,
  request: HttpServerRequest.HttpServerRequest,
  parameters: P
): Effect.Effect<P, AccessTokenError> =>
  Effect.map(customize(contextOf(request, parameters), parameters), (wanted) => ({
    ...parameters,
    ...leftOut,
    ...wanted,
    forceRenewal: parameters.forceRenewal === true || wanted.forceRenewal === true
  }))

/** @internal */
export const customized = <P extends TokenRequestParameters>(
  manager: Parameters<typeof customizer>[2],
  parameters: P | undefined
): Effect.Effect<P | undefined, AccessTokenError> =>
  Effect.gen(function*() {
    const customize = yield* customizer(undefined, undefined, manager)
    const request = yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest)
    if (customize === undefined || Option.isNone(request)) return parameters
    return yield* ask(customize, request.value, parameters ?? ({} as P))
  })
