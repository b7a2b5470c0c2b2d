/** The calls that the app makes. Tokens come along by themselves, and are renewed when they have to be. */
import { AccessTokenHttpClient } from "@effect-oauth/core"
import { OidcClients, UserAccessTokenHttpClient } from "@effect-oauth/oidc"
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { Effect, Schema } from "effect"
import type { Api } from "./site.ts"

/** What the APIs of this example say of who called them. */
export class Answer extends Schema.Class<Answer>("Answer")({
  api: Schema.String,
  caller: Schema.String,
  client: Schema.String,
  issuer: Schema.String,
  scope: Schema.optional(Schema.String),
  boundTo: Schema.optional(Schema.String)
}) {}

const answer = HttpClientResponse.schemaBodyJson(Answer)

/** On behalf of the user of this request, signed in with the named client. */
export const asUser = (client: string, api: Api) =>
  Effect.gen(function*() {
    const http = (yield* HttpClient.HttpClient).pipe(
      yield* UserAccessTokenHttpClient.make({ client, resource: api.url }),
      HttpClient.filterStatusOk
    )
    return yield* Effect.flatMap(http.get(api.url), answer)
  })

/** On the app's own behalf: the same registration, no user. */
export const asApp = (client: string, api: Api) =>
  Effect.gen(function*() {
    const http = (yield* HttpClient.HttpClient).pipe(
      yield* AccessTokenHttpClient.clientCredentials(OidcClients.tokenClientName(client), { resource: api.url }),
      HttpClient.filterStatusOk
    )
    return yield* Effect.flatMap(http.get(api.url), answer)
  })
