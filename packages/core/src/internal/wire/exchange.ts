/**
 * One request to an authorization server and its whole answer: credentials made for each attempt, no redirect followed, a
 * bounded body, a bounded time, and every error of the platform turned into one of ours, since theirs print requests and
 * bodies.
 */
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { type TokenEndpointError, TokenResponseInvalid, TokenTransportError } from "../../OAuthError.ts"
import { execute } from "../middleware/perAttempt.ts"
import { withoutFetchRedirects } from "../middleware/sendingSettings.ts"
import { withoutContents } from "../tracing.ts"
import { shown } from "../url.ts"
import { parseRetryAfter } from "./retryAfter.ts"
import * as SentOnce from "./sentOnce.ts"

/** @internal */
export interface Answer {
  readonly status: number
  readonly headers: Headers.Headers
  readonly body: Uint8Array
  readonly retryAfter: Duration.Duration | undefined
  /** When the request was sent, in milliseconds since 1970. */
  readonly sentAt: number
}

/** @internal */
export interface Exchange<E> {
  readonly clientName: string
  readonly httpClient: HttpClient.HttpClient
  readonly url: URL
  readonly method: "GET" | "POST"
  readonly timeout: Duration.Duration
  readonly maxResponseSize: number
  readonly propagateTrace: boolean
  /** The request may use something up: no retry of the client's sends it again. */
  readonly oneTime?: boolean | undefined
  /** What every attempt carries, made anew for each. */
  readonly prepare: (
    request: HttpClientRequest.HttpClientRequest
  ) => Effect.Effect<HttpClientRequest.HttpClientRequest, E>
}

/** @internal */
export type ExchangeError = TokenResponseInvalid | TokenTransportError

/** What `prepare` failed with, on its way through a client whose errors are all taken for those of the transport. */
class NotPrepared<E> {
  readonly _tag = "NotPrepared"
  constructor(readonly error: E) {}
}

class BodyTooLarge {
  readonly _tag = "BodyTooLarge"
}

/** The code of a system or TLS error, from wherever the platform put it; its text stays behind. */
const codeOf = (error: unknown, depth = 0): string | undefined => {
  if (!Predicate.isObject(error) || depth > 5) return undefined
  if (
    Predicate.hasProperty(error, "code") && typeof error.code === "string" && /^[A-Z][A-Z0-9_]{1,60}$/.test(error.code)
  ) {
    return error.code
  }
  return Predicate.hasProperty(error, "cause") ? codeOf(error.cause, depth + 1) : undefined
}

const joined = (chunks: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const [first] = chunks
  if (first !== undefined && chunks.length === 1) return first
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.byteLength
  }
  return bytes
}

const readBody = (
  response: HttpClientResponse.HttpClientResponse,
  limit: number
): Effect.Effect<Uint8Array, HttpClientError.ResponseError | BodyTooLarge> => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  return Stream.runForEach(response.stream, (chunk) => {
    size += chunk.byteLength
    chunks.push(chunk)
    return size > limit ? Effect.fail(new BodyTooLarge()) : Effect.void
  }).pipe(
    Effect.catchIf((error) => error._tag === "ResponseError" && error.reason === "EmptyBody", () => Effect.void),
    Effect.map(() => joined(chunks, size))
  )
}

/** @internal */
export const exchange = <E = never>(options: Exchange<E>): Effect.Effect<Answer, ExchangeError | E> =>
  Effect.clockWith((clock) => {
    const { clientName, maxResponseSize, method, url } = options
    const endpoint = shown(url)
    const sentAt = clock.unsafeCurrentTimeMillis()
    const transport = (reason: TokenTransportError["reason"], error?: unknown) =>
      new TokenTransportError({ clientName, endpoint, reason, code: codeOf(error) })
    const { preparing, sending } = options.oneTime === true ? SentOnce.make() : SentOnce.unbounded

    const request = HttpClientRequest.make(method)(url).pipe(HttpClientRequest.acceptJson)

    const prepare = (request: HttpClientRequest.HttpClientRequest) =>
      Effect.mapError(preparing(options.prepare(request)), (error) => new NotPrepared(error))

    return execute(options.httpClient, request, prepare).pipe(
      Effect.mapError((error) => error instanceof NotPrepared ? error.error : transport("Connection", error)),
      Effect.flatMap((response) => {
        const retryAfter = parseRetryAfter(response.headers["retry-after"], clock.unsafeCurrentTimeMillis())
        const invalid = (problem: string) =>
          new TokenResponseInvalid({ clientName, endpoint, status: response.status, problem, retryAfter })
        // A fetch that was told not to follow a redirect answers with status 0 in browsers.
        if (response.status === 0 || (response.status >= 300 && response.status < 400)) {
          return Effect.zipRight(
            Effect.ignore(readBody(response, maxResponseSize)),
            Effect.fail(invalid("a redirect is not followed: name the endpoint it leads to"))
          )
        }
        return readBody(response, maxResponseSize).pipe(
          Effect.mapBoth({
            onSuccess: (body): Answer => ({
              status: response.status,
              headers: response.headers,
              body,
              retryAfter,
              sentAt
            }),
            onFailure: (error) =>
              error._tag === "BodyTooLarge"
                ? invalid(`its body is larger than maxResponseSize, ${maxResponseSize} bytes`)
                : transport("BodyIncomplete", error)
          })
        )
      }),
      // A client of the user's own, or the platform's, may throw at what a server sends.
      Effect.catchAllDefect((defect) =>
        Effect.fail(defect instanceof SentOnce.Repeated ? transport("Repeated") : transport("Connection", defect))
      ),
      Effect.timeoutFail({ duration: options.timeout, onTimeout: () => transport("Timeout") }),
      withoutFetchRedirects,
      sending,
      // `oauth.token.request` is the span of this exchange; the platform's adds nothing but the trace headers.
      options.propagateTrace ? withoutContents : Effect.locally(HttpClient.currentTracerDisabledWhen, constTrue),
      // The runtime logs a failure of its own helper fibers, and those fail with the platform's errors.
      Effect.withUnhandledErrorLogLevel(Option.none()),
      Effect.locallyWith(Headers.currentRedactedNames, (names) => [...names, "dpop", "dpop-nonce"])
    )
  })

/** @internal */
export type TokenEndpointFailure = ExchangeError | TokenEndpointError
