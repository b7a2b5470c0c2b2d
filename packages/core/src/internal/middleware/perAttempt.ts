/**
 * What an `HttpClient` is made of, and the one place in it that every attempt passes.
 *
 * A client executes `postprocess(preprocess(request))`. Retries, and redirects that are followed, live in `postprocess`
 * and run its request effect again for each attempt. So what must be made anew for every attempt, a token or a proof, is
 * put into that effect. (In `preprocess` it would be made once and replayed.) The two parts are no part of the public
 * type; a client that is made otherwise is taken as a whole.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse

/** @internal */
export interface Parts<E, R> {
  readonly preprocess: HttpClient.HttpClient.Preprocess<E, R>
  readonly postprocess: <E2, R2>(
    request: Effect.Effect<Request, E | E2, R | R2>
  ) => Effect.Effect<Response, E | E2, R | R2>
}

const hasParts = <E, R>(
  client: HttpClient.HttpClient.With<E, R>
): client is HttpClient.HttpClient.With<E, R> & Parts<E, R> =>
  Predicate.hasProperty(client, "preprocess") && typeof client.preprocess === "function" &&
  Predicate.hasProperty(client, "postprocess") && typeof client.postprocess === "function"

/** @internal */
export const parts = <E, R>(client: HttpClient.HttpClient.With<E, R>): Parts<E, R> =>
  hasParts(client)
    ? client
    : { preprocess: Effect.succeed, postprocess: (request) => Effect.flatMap(request, client.execute) }

/** @internal Executes one request, each attempt of which is prepared by `prepare`. */
export const execute = <E, R, E2, R2>(
  client: HttpClient.HttpClient.With<E, R>,
  request: Request,
  prepare: (request: Request) => Effect.Effect<Request, E2, R2>
): Effect.Effect<Response, E | E2, R | R2> => {
  const { postprocess, preprocess } = parts(client)
  return postprocess<E2, R2>(Effect.flatMap(preprocess(request), prepare))
}
