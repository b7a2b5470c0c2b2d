/**
 * The answer to a request with a token, in a form that does not remember the token: its `request`, and that of every error
 * that comes of reading it, is the request as it was before. The platform prints requests with their headers, and redacts
 * them only inside Effect's own loggers. Where it is printed, it repeats the token as little as the API may have done.
 */
import type * as Cookies from "@effect/platform/Cookies"
import type * as Headers from "@effect/platform/Headers"
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import type * as UrlParams from "@effect/platform/UrlParams"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import type * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { AccessToken } from "../../AccessToken.ts"
import * as OwnToken from "./ownToken.ts"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse

class BareResponse extends Inspectable.Class implements Response {
  readonly [HttpClientResponse.TypeId]: typeof HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly [HttpIncomingMessage.TypeId]: typeof HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly request: Request
  readonly #original: Response
  readonly #token: AccessToken | undefined

  constructor(original: Response, request: Request, token: AccessToken | undefined) {
    super()
    this.#original = original
    this.#token = token
    this.request = request
  }

  #bare<A, R>(effect: Effect.Effect<A, HttpClientError.ResponseError, R>) {
    return Effect.mapError(effect, (error) => this.#bareError(error))
  }

  #bareError(error: HttpClientError.ResponseError): HttpClientError.ResponseError {
    const cause = OwnToken.withoutToken(error.cause, this.#token)
    return new HttpClientError.ResponseError({ ...error, request: this.request, response: this, cause })
  }

  get status(): number {
    return this.#original.status
  }
  get headers(): Headers.Headers {
    return this.#original.headers
  }
  get cookies(): Cookies.Cookies {
    return this.#original.cookies
  }
  get remoteAddress(): Option.Option<string> {
    return this.#original.remoteAddress
  }
  get text(): Effect.Effect<string, HttpClientError.ResponseError> {
    return this.#bare(this.#original.text)
  }
  get json(): Effect.Effect<unknown, HttpClientError.ResponseError> {
    return this.#bare(this.#original.json)
  }
  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, HttpClientError.ResponseError> {
    return this.#bare(this.#original.urlParamsBody)
  }
  get formData(): Effect.Effect<FormData, HttpClientError.ResponseError> {
    return this.#bare(this.#original.formData)
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpClientError.ResponseError> {
    return this.#bare(this.#original.arrayBuffer)
  }
  get stream(): Stream.Stream<Uint8Array, HttpClientError.ResponseError> {
    return Stream.mapError(this.#original.stream, (error) => this.#bareError(error))
  }

  override toJSON(): unknown {
    const printed = HttpIncomingMessage.inspect(this, {
      _id: "@effect/platform/HttpClientResponse",
      request: this.request.toJSON(),
      status: this.status
    })
    return OwnToken.redactAll(printed, this.#token)
  }
}

/** @internal */
export const bareResponse = (response: Response, request: Request, token: AccessToken | undefined): Response =>
  new BareResponse(response, request, token)

/** @internal An error of the platform without the token; any other error as it is. */
export const bareError = <E>(error: E, request: Request, token: AccessToken | undefined): E => {
  if (error instanceof HttpClientError.RequestError) {
    return new HttpClientError.RequestError({ ...error, request }) as E & HttpClientError.RequestError
  }
  if (error instanceof HttpClientError.ResponseError) {
    const response = bareResponse(error.response, request, token)
    const cause = OwnToken.withoutToken(error.cause, token)
    return new HttpClientError.ResponseError({ ...error, request, response, cause }) as
      & E
      & HttpClientError.ResponseError
  }
  return error
}
