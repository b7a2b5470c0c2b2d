import { OAuth, TokenClients } from "@effect-oauth/core"
import type { OAuthError, TokenClient } from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import type * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import { Effect, Layer, Redacted } from "effect"

/** What a stub saw of one request. */
export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly form: ReadonlyArray<readonly [string, string]>
}

export interface Stub {
  readonly client: HttpClient.HttpClient
  readonly seen: Array<Seen>
  readonly layer: Layer.Layer<HttpClient.HttpClient>
}

type Answer = Response | Effect.Effect<Response, HttpClientError.HttpClientError>

const formOf = (request: HttpClientRequest.HttpClientRequest): ReadonlyArray<readonly [string, string]> =>
  request.body._tag === "Uint8Array" ? [...new URLSearchParams(new TextDecoder().decode(request.body.body))] : []

/** An `HttpClient` without a network: `answer` is asked with what was sent and the number of the request, from 1. */
export const stub = (
  answer: (seen: Seen, number: number, request: HttpClientRequest.HttpClientRequest) => Answer
): Stub => {
  const seen: Array<Seen> = []
  const client = HttpClient.make((request, url) => {
    const one: Seen = { method: request.method, url: url.href, headers: { ...request.headers }, form: formOf(request) }
    seen.push(one)
    const answered = answer(one, seen.length, request)
    return Effect.map(
      Effect.isEffect(answered) ? answered : Effect.succeed(answered),
      (response) => HttpClientResponse.fromWeb(request, response)
    )
  })
  return { client, seen, layer: Layer.succeed(HttpClient.HttpClient, client) }
}

export const json = (body: unknown, init?: ResponseInit): Response => new Response(JSON.stringify(body), init)

/** A token answer: the token's value is `token-` and its number. */
export const token = (number: number, fields: Record<string, unknown> = { expires_in: 3600 }): Response =>
  json({ access_token: `token-${number}`, token_type: "Bearer", ...fields })

export const secret = Redacted.make("the-secret-of-the-client")

export const options: TokenClient.TokenClientOptions = {
  tokenEndpoint: "https://as.test/token",
  clientId: "worker",
  clientSecret: secret
}

type Services = OAuth.Services | TokenClients.TokenClients | HttpClient.HttpClient

/** All services over a stub, with the clients given. */
export const services = (
  server: Stub,
  clients: Readonly<Record<string, TokenClient.TokenClientOptions>> = { worker: options }
): Layer.Layer<Services, OAuthError.TokenClientInvalid> =>
  OAuth.layer.pipe(Layer.provideMerge(TokenClients.layer(clients)), Layer.provideMerge(server.layer))

export const field = (seen: Seen | undefined, name: string): ReadonlyArray<string> =>
  (seen?.form ?? []).filter(([key]) => key === name).map(([, value]) => value)
