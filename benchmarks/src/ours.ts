/**
 * The library as a program has it, and a token server without a network.
 */
import * as ClientCredentialsTokenManager from "@effect-oauth/core/ClientCredentialsTokenManager"
import * as OAuth from "@effect-oauth/core/OAuth"
import type * as TokenClient from "@effect-oauth/core/TokenClient"
import * as TokenClients from "@effect-oauth/core/TokenClients"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"

export const Manager = ClientCredentialsTokenManager.ClientCredentialsTokenManager

/** An opaque token of the usual length. */
export const opaque = (number: number): string => number.toString(36).padStart(43, "-")

export const tokenAnswer = (number: number) => ({
  access_token: opaque(number),
  token_type: "Bearer",
  expires_in: 36_000
})

export interface TokenServer {
  readonly client: HttpClient.HttpClient
  readonly requests: () => number
}

export const tokenServer = (delay: Duration.DurationInput = 0): TokenServer => {
  let requests = 0
  const client = HttpClient.make((request) =>
    Effect.delay(
      Effect.sync(() => HttpClientResponse.fromWeb(request, Response.json(tokenAnswer(++requests)))),
      delay
    )
  )
  return { client, requests: () => requests }
}

export const clientNames = (count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, index) => `client.${index}`)

export const clientOptions: TokenClient.TokenClientOptions = {
  tokenEndpoint: "https://as.example.com/token",
  clientId: "invoice",
  clientSecret: Redacted.make("secret"),
  scope: "invoice customers"
}

/** All names stand for the same client. */
export const layer = (
  httpClient: HttpClient.HttpClient,
  names: ReadonlyArray<string>,
  options: TokenClient.TokenClientOptions = clientOptions
): Layer.Layer<OAuth.Services> =>
  OAuth.layer.pipe(
    Layer.provide(TokenClients.layer(Object.fromEntries(names.map((name) => [name, options])))),
    Layer.provide(Layer.succeed(HttpClient.HttpClient, httpClient)),
    Layer.orDie
  )
