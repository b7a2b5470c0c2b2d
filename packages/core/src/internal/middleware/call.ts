/**
 * One call through the middleware, and what it leaves behind.
 */
import * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as Context from "effect/Context"
import type * as DefaultServices from "effect/DefaultServices"
import type { AccessToken } from "../../AccessToken.ts"
import type { TokenRequestParameters } from "../../TokenRequestParameters.ts"
import type { Healing } from "../dpop/proving.ts"
import { bareError, bareResponse } from "./bareResponse.ts"

type Request = HttpClientRequest.HttpClientRequest
type Response = HttpClientResponse.HttpClientResponse

/** @internal One call: what its attempts sent. */
export interface Call {
  /** Of this call alone. */
  readonly options: {
    readonly forceRenewal?: boolean | undefined
    readonly parameters?: TokenRequestParameters | undefined
    readonly proofClaims?: Readonly<Record<string, unknown>> | undefined
  } | undefined
  /** The request of the last attempt, as it was before the token. */
  request: Request | undefined
  token: AccessToken | undefined
  /** The token that a renewal gave for the next sending. */
  renewed: AccessToken | undefined
  /** What the API said of the proofs, if a bound token was sent. */
  healing: Healing | undefined
  /** What the fiber that sends it traces with, if it is not to hear of the token. */
  services: Context.Context<DefaultServices.DefaultServices> | undefined
  /** Whether the fiber that sends it was told what a proof, or a token that is bound to origins, needs. */
  isGuarded: boolean
}

/** @internal What leaves the middleware has forgotten the token. */
export const bare = (response: Response, { request, token }: Call): Response =>
  request === undefined ? response : bareResponse(response, request, token)

/** @internal */
export const bareFailure = <E>(error: E, { request, token }: Call): E =>
  request === undefined ? error : bareError(error, request, token)

/** @internal The error of an inner `filterStatusOk`, with the answer in the form in which it can still be read. */
export const withResponse = <E>(error: E & HttpClientError.ResponseError, response: Response): E =>
  new HttpClientError.ResponseError({ ...error, response }) as E & HttpClientError.ResponseError
