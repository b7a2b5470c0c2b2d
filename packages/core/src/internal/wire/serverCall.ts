/**
 * A call to an authorization server as one of its clients: each attempt is authenticated and proven anew, what the server
 * answers is heeded, and what may pass by itself is tried again.
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { AuthorizationServer, Endpoints } from "../../AuthorizationServer.ts"
import type { ClientCertificate } from "../../ClientCertificate.ts"
import { type DiscoveryError, TokenClientInvalid } from "../../OAuthError.ts"
import type { SigningKey } from "../../SigningKey.ts"
import type { TokenClient } from "../../TokenClient.ts"
import type { ExchangeError } from "../../TokenEndpoint.ts"
import { secretsOf, type TokenRequestParameters } from "../../TokenRequestParameters.ts"
import * as Proving from "../dpop/proving.ts"
import type { ServerClocks } from "../dpop/serverClocks.ts"
import { shown } from "../url.ts"
import { certificateOf } from "./certificate.ts"
import * as Credentials from "./credentials.ts"
import { type Answer, exchange } from "./exchange.ts"
import { errorOf, type From } from "./tokenResponse.ts"

/** @internal */
export type Form = ReadonlyArray<readonly [name: string, value: string]>

const longestWait = Duration.seconds(2)

/** Exponential from 200 ms, 20 % more or less, unless the server says when. */
const waitBefore = (retry: number, error: ExchangeError): Effect.Effect<Duration.Duration | undefined> => {
  if (!error.retryable) return Effect.succeed(undefined)
  const { retryAfter } = error
  if (retryAfter !== undefined) {
    return Effect.succeed(Duration.lessThanOrEqualTo(retryAfter, longestWait) ? retryAfter : undefined)
  }
  return Effect.map(Random.nextRange(0.8, 1.2), (jitter) => Duration.millis(200 * 2 ** retry * jitter))
}

/** Whether it is certain that the server has not seen the request. */
const isUnsent = (error: ExchangeError): boolean =>
  error._tag === "CredentialUnavailable" || (error._tag === "TokenTransportError" && !error.outcomeUnknown)

type EndpointField = keyof Endpoints

/** @internal One request with its retries. */
export interface Call<A> {
  readonly client: TokenClient
  readonly parameters: TokenRequestParameters
  readonly field: EndpointField
  readonly grant: string
  readonly form: Form
  readonly secrets: ReadonlyArray<string>
  readonly retries: number
  /** Whether a request that reached the server may have used something up, so that it is not repeated. */
  readonly oneTime: boolean
  /** The key that every attempt proves to have. */
  readonly key: SigningKey | undefined
  /** Makes a result or an error of an answer. */
  readonly read: (answer: Answer, from: From) => Effect.Effect<A, ExchangeError>
}

/** What all attempts of one call share. */
interface Journey {
  readonly url: URL
  readonly from: From
  readonly audience: string | undefined
  readonly healing: Proving.Healing
  /** What the attempts were signed with, which the server must not be quoted with either. */
  readonly signed: Array<string>
}

/** An answer that asks for another attempt, and says how to make it better. */
class Again {
  readonly _tag = "Again"
}

/** @internal */
export interface Services {
  readonly httpClient: HttpClient.HttpClient
  readonly server: AuthorizationServer["Type"]
  readonly certificate: Option.Option<ClientCertificate["Type"]>
  readonly credentials: Credentials.CredentialSource
  readonly proving: Proving.Proving
  readonly clocks: ServerClocks
}

/** @internal */
export interface ServerCall {
  <A>(call: Call<A>): Effect.Effect<A, ExchangeError>
}

/** @internal */
export const make = (services: Services): ServerCall => {
  const { certificate, clocks, credentials, httpClient: common, proving, server } = services

  const endpointOf = (
    client: TokenClient,
    field: EndpointField
  ): Effect.Effect<URL, TokenClientInvalid | DiscoveryError> => {
    const given = client[field]
    if (given !== undefined) return Effect.succeed(given)
    const missing = (problem: string) => new TokenClientInvalid({ problems: [{ client: client.name, field, problem }] })
    if (client.issuer === undefined) {
      return Effect.fail(missing("is needed for this and neither it nor issuer is given"))
    }
    const usesCertificate = client.authentication._tag === "TlsClientAuth" ||
      certificateOf(client, certificate) !== undefined
    return Effect.flatMap(server.metadata(client), (metadata) => {
      const alias = usesCertificate ? metadata.mtlsEndpointAliases[field] : undefined
      const found = alias ?? metadata[field]
      return found === undefined
        ? Effect.fail(missing(`the metadata of issuer ${client.issuer} names none that is usable: give it here`))
        : Effect.succeed(found)
    })
  }

  const audienceOf = (client: TokenClient): Effect.Effect<string | undefined, TokenClientInvalid | DiscoveryError> => {
    const audience = Credentials.audienceOf(client)
    if (audience === "issuer") return Effect.succeed(client.issuer)
    return audience === "tokenEndpoint"
      ? Effect.map(endpointOf(client, "tokenEndpoint"), ({ href }) => href)
      : Effect.succeed(audience)
  }

  const proofOf = ({ client, key }: Call<unknown>, { healing, url }: Journey) =>
    key === undefined
      ? Effect.succeed(undefined)
      : proving.prove({ clientName: client.name, key, method: "POST", url: url.href }, healing)

  /** Made for every attempt, whoever repeats it. */
  const prepare = (call: Call<unknown>, journey: Journey) => (request: HttpClientRequest.HttpClientRequest) => {
    const { client, parameters } = call
    const { audience, signed, url } = journey
    const attempt = { client, parameters, audience, clockOffset: clocks.offset(url.origin) }
    return Effect.zipWith(credentials.credentials(attempt), proofOf(call, journey), ({ form, headers }, proof) => {
      // The credentials of a header without its scheme are a secret too.
      signed.push(...Object.values(headers).flatMap((value) => [value, value.slice(value.indexOf(" ") + 1)]))
      signed.push(...Object.values(form).filter((value) => value !== client.clientId))
      if (proof !== undefined) signed.push(proof)
      return request.pipe(
        HttpClientRequest.setHeaders(proof === undefined ? headers : { ...headers, dpop: proof }),
        // A form may name its client already.
        HttpClientRequest.bodyUrlParams([
          ...call.form.filter(([name]) => !Object.hasOwn(form, name)),
          ...Object.entries(form)
        ])
      )
    })
  }

  /** An assertion that is refused, as a proof is, may have come from a clock that is not the server's. */
  const isLate = (answer: Answer, error: string | undefined, { audience, healing, url }: Journey) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      if (error !== "invalid_client" || audience === undefined || healing.clockCorrected) return false
      healing.clockCorrected = clocks.learn(url.origin, answer.headers.date, now)
      return healing.clockCorrected
    })

  const heed = (answer: Answer, { key }: Call<unknown>, journey: Journey): Effect.Effect<boolean> => {
    if (key === undefined && journey.audience === undefined) return Effect.succeed(false)
    const error = errorOf(answer)
    const late = isLate(answer, error, journey)
    return key === undefined
      ? late
      : Effect.zipWith(
        proving.heed({ url: journey.url.href, headers: answer.headers, error }, journey.healing),
        late,
        (again, isLate) => again || isLate
      )
  }

  /** One request and its answer, in a span of its own. */
  const once = <A>(call: Call<A>, journey: Journey, number: number): Effect.Effect<A, ExchangeError | Again> =>
    exchange({
      clientName: call.client.name,
      httpClient: call.client.httpClient ?? common,
      url: journey.url,
      method: "POST",
      timeout: call.client.timeout,
      maxResponseSize: call.client.maxResponseSize,
      propagateTrace: call.client.propagateTrace,
      oneTime: call.oneTime,
      prepare: prepare(call, journey)
    }).pipe(
      Effect.tap((answer) => Effect.annotateCurrentSpan("http.response.status_code", answer.status)),
      Effect.flatMap((answer) =>
        Effect.flatMap(
          heed(answer, call, journey),
          (again): Effect.Effect<A, ExchangeError | Again> =>
            again ? Effect.fail(new Again()) : call.read(answer, journey.from)
        )
      ),
      Effect.tapError((error) =>
        error._tag === "Again" ? Effect.void : Effect.annotateCurrentSpan("error.type", error._tag)
      ),
      Effect.withSpan("oauth.token.request", {
        kind: "client",
        captureStackTrace: false,
        attributes: {
          "oauth.client": call.client.name,
          "oauth.grant": call.grant,
          "oauth.attempt": number,
          "server.address": journey.url.host
        }
      })
    )

  const attempt = <A>(call: Call<A>, journey: Journey, number: number): Effect.Effect<A, ExchangeError> =>
    Effect.catchAll(once(call, journey, number), (error) => {
      if (error._tag === "Again") return attempt(call, journey, number)
      if (number > call.retries || (call.oneTime && !isUnsent(error))) return Effect.fail(error)
      return Effect.flatMap(
        waitBefore(number - 1, error),
        (wait) => wait === undefined ? Effect.fail(error) : Effect.delay(attempt(call, journey, number + 1), wait)
      )
    })

  return (call) =>
    Effect.flatMap(
      Effect.zip(endpointOf(call.client, call.field), audienceOf(call.client)),
      ([url, audience]) => {
        const { client } = call
        const signed: Array<string> = []
        const from: From = {
          clientName: client.name,
          endpoint: shown(url),
          secrets: () => [
            ...call.secrets,
            ...secretsOf(client.parameters),
            ...Credentials.secretsOf(client.authentication),
            ...signed
          ]
        }
        return attempt(call, { url, from, audience, healing: Proving.healing(), signed }, 1)
      }
    )
}
