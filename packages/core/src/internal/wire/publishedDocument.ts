/**
 * What a server publishes of itself for everybody: its metadata and its keys.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { DiscoveryError } from "../../OAuthError.ts"
import type { TokenClient } from "../../TokenClient.ts"
import { shown } from "../url.ts"
import { type Answer, exchange } from "./exchange.ts"

/** @internal Whose documents are read, for whom and how. */
export interface Publisher {
  readonly client: TokenClient
  readonly issuer: string
  readonly httpClient: HttpClient.HttpClient
}

type Kind = NonNullable<DiscoveryError["document"]>

/** @internal */
export const failure = (
  { client, issuer }: Publisher,
  document: Kind,
  endpoint: string,
  problem: string,
  retryable: boolean,
  answer?: { readonly status: number; readonly retryAfter?: Duration.Duration | undefined }
): DiscoveryError =>
  new DiscoveryError({
    clientName: client.name,
    endpoint,
    issuer,
    document,
    problem,
    retryable,
    status: answer?.status,
    retryAfter: answer?.retryAfter
  })

/** @internal `read` makes of an answer what is in it, or a sentence about what is wrong with it. */
export const fetchDocument = <A extends object>(
  publisher: Publisher,
  document: Kind,
  url: URL,
  read: (answer: Answer) => A | string
): Effect.Effect<A, DiscoveryError> => {
  const { client, httpClient } = publisher
  const failed = (problem: string, retryable: boolean, answer?: Parameters<typeof failure>[5]) =>
    failure(publisher, document, shown(url), problem, retryable, answer)
  return exchange({
    clientName: client.name,
    httpClient,
    url,
    method: "GET",
    timeout: client.timeout,
    maxResponseSize: client.maxResponseSize,
    propagateTrace: client.propagateTrace,
    prepare: Effect.succeed
  }).pipe(
    Effect.mapError((error) =>
      error._tag === "TokenResponseInvalid"
        ? failed(error.problem, error.retryable, error)
        : failed(error.problem, error.retryable)
    ),
    Effect.flatMap((answer) => {
      const found = answer.status === 200 ? read(answer) : `it answered ${answer.status}`
      return typeof found === "string"
        ? Effect.fail(failed(found, answer.status === 429 || answer.status >= 500, answer))
        : Effect.succeed(found)
    })
  )
}

/** @internal */
export const discovering = ({ client, issuer }: Publisher, document: Kind) =>
  Effect.withSpan("oauth.discovery", {
    kind: "client",
    attributes: { "oauth.client": client.name, "oauth.issuer": issuer, "oauth.document": document }
  })
