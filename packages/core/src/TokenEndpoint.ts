/**
 * The wire: one grant in, one token or one typed error out; revocation and introspection beside it.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import { AccessToken } from "./AccessToken.ts"
import { AuthorizationServer } from "./AuthorizationServer.ts"
import { backchannel } from "./Backchannel.ts"
import * as ClientAuthentication from "./ClientAuthentication.ts"
import { type Answer, exchange } from "./internal/exchange.ts"
import { type From, isSendable, type Json, jsonObject, lifetime, refusal } from "./internal/tokenResponse.ts"
import { shown } from "./internal/url.ts"
import {
  type DiscoveryError,
  TokenClientInvalid,
  type TokenEndpointError,
  TokenRequestInvalid,
  TokenResponseInvalid,
  type TokenTransportError
} from "./OAuthError.ts"
import * as OAuthValues from "./OAuthValues.ts"
import type { TokenClient } from "./TokenClient.ts"
import * as TokenGrant from "./TokenGrant.ts"
import { type ParameterValue, resources, type TokenRequestParameters, validate } from "./TokenRequestParameters.ts"

/**
 * What a token request yields (RFC 6749 section 5.1). The server's other fields are in `raw`, redacted as a whole, since
 * nobody knows which of them is a secret.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenResponse {
  readonly accessToken: AccessToken
  readonly refreshToken: Redacted.Redacted<string> | undefined
  readonly idToken: Redacted.Redacted<string> | undefined
  readonly raw: Redacted.Redacted<Readonly<Record<string, unknown>>>
}

/**
 * What a server knows of a token (RFC 7662 section 2.2). `claims` is the whole answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Introspection {
  readonly active: boolean
  readonly claims: Readonly<Record<string, unknown>>
}

/**
 * @since 0.1.0
 * @category models
 */
export type ExchangeError =
  | TokenEndpointError
  | TokenResponseInvalid
  | TokenTransportError
  | TokenClientInvalid
  | DiscoveryError

/**
 * @since 0.1.0
 * @category models
 */
export interface RequestOptions {
  /** Further attempts after one that failed and may pass by itself. Default 2. */
  readonly retries?: number | undefined
}

/**
 * Takes a `TokenClient` as a value, so a request of its own needs neither registration nor cache.
 *
 * A transport error, a 5xx and a 429 are tried twice more, after 200 ms and 400 ms (with jitter), or after `Retry-After`
 * where that is 2 seconds at most; a longer one fails at once.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenEndpoint extends Context.Tag("@effect-oauth/core/TokenEndpoint")<TokenEndpoint, {
  readonly request: (
    client: TokenClient,
    grant: TokenGrant.TokenGrant,
    parameters?: TokenRequestParameters,
    options?: RequestOptions
  ) => Effect.Effect<TokenResponse, ExchangeError | TokenRequestInvalid>
  /** RFC 7009. A token that the server does not know counts as revoked. */
  readonly revoke: (
    client: TokenClient,
    token: Redacted.Redacted<string>,
    hint?: "access_token" | "refresh_token"
  ) => Effect.Effect<void, ExchangeError>
  /** RFC 7662. */
  readonly introspect: (
    client: TokenClient,
    token: Redacted.Redacted<string>,
    hint?: "access_token" | "refresh_token"
  ) => Effect.Effect<Introspection, ExchangeError>
}>() {}

type Form = Array<readonly [name: string, value: string]>

const valuesOf = (value: ParameterValue): ReadonlyArray<string> =>
  Redacted.isRedacted(value) ? [Redacted.value(value)] : typeof value === "string" ? [value] : value

const secretsOf = (parameters: Readonly<Record<string, ParameterValue>>): ReadonlyArray<string> =>
  Object.values(parameters).flatMap((value) => Redacted.isRedacted(value) ? [Redacted.value(value)] : [])

/** @internal Extra fields first, the grant's own last: `validate` made sure that they do not meet. */
export const formOf = (client: TokenClient, grant: TokenGrant.TokenGrant, parameters: TokenRequestParameters): Form => {
  const form: Form = []
  const add = (name: string, value: ParameterValue) => {
    for (const item of valuesOf(value)) form.push([name, item])
  }
  const own = TokenGrant.fieldsOf(grant)
  const extras = { ...client.parameters, ...parameters.parameters, ...own }
  for (const [name, value] of Object.entries(extras)) add(name, value)
  add("grant_type", TokenGrant.grantTypeOf(grant))
  const scope = parameters.scope ?? client.scope
  if (scope !== undefined) add("scope", scope)
  add("resource", parameters.resource === undefined ? client.resource : resources(parameters.resource))
  return form
}

/** @internal */
export const readToken = (
  answer: Answer,
  client: TokenClient,
  from: From
): TokenResponse | ReturnType<typeof refusal> => {
  const json = jsonObject(answer.body)
  const isResult = typeof json !== "string" && answer.status >= 200 && answer.status < 300 &&
    json.access_token !== undefined
  if (!isResult) return refusal(answer, json, from)
  const invalid = (problem: string) =>
    new TokenResponseInvalid({ clientName: from.clientName, endpoint: from.endpoint, status: answer.status, problem })
  const { access_token: value, token_type: type = "Bearer" } = json
  if (typeof value !== "string" || !isSendable(value)) {
    return invalid("its access_token is not a text of printable ASCII characters (RFC 6749 appendix A.12)")
  }
  const tokenType = typeof type === "string" ? OAuthValues.normalizeTokenType(type) : ""
  if (!OAuthValues.isTokenType(tokenType)) return invalid("its token_type is not a scheme (RFC 6749 section 7.1)")
  const life = lifetime(json.expires_in, client.defaultLifetime)
  const secret = (field: unknown) => typeof field === "string" && field !== "" ? Redacted.make(field) : undefined
  return {
    accessToken: new AccessToken({
      value: Redacted.make(value),
      type: tokenType,
      clientName: client.name,
      scope: typeof json.scope === "string" ? json.scope : undefined,
      obtainedAt: DateTime.unsafeMake(answer.sentAt),
      expiresAt: Duration.isFinite(life) ? DateTime.unsafeMake(answer.sentAt + Duration.toMillis(life)) : undefined
    }),
    refreshToken: secret(json.refresh_token),
    idToken: secret(json.id_token),
    raw: Redacted.make(json)
  }
}

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

type EndpointField = "tokenEndpoint" | "revocationEndpoint" | "introspectionEndpoint"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<TokenEndpoint["Type"], never, AuthorizationServer | HttpClient.HttpClient> = Effect
  .gen(
    function*() {
      const common = yield* backchannel
      const server = yield* AuthorizationServer

      const endpointOf = (
        client: TokenClient,
        field: EndpointField
      ): Effect.Effect<URL, TokenClientInvalid | DiscoveryError> => {
        const given = client[field]
        if (given !== undefined) return Effect.succeed(given)
        const missing = (problem: string) =>
          new TokenClientInvalid({ problems: [{ client: client.name, field, problem }] })
        if (client.issuer === undefined) {
          return Effect.fail(missing("is needed for this and neither it nor issuer is given"))
        }
        return Effect.flatMap(server.metadata(client), (metadata) => {
          const found = metadata[field]
          return found === undefined
            ? Effect.fail(missing(`the metadata of issuer ${client.issuer} names none that is usable: give it here`))
            : Effect.succeed(found)
        })
      }

      /** One request with its retries: `read` makes a result or an error of each answer. */
      const call = <A>(options: {
        readonly client: TokenClient
        readonly field: EndpointField
        readonly grant: string
        readonly form: Form
        readonly secrets: ReadonlyArray<string>
        readonly retries: number
        readonly read: (answer: Answer, from: From) => Effect.Effect<A, ExchangeError>
      }): Effect.Effect<A, ExchangeError> =>
        Effect.flatMap(endpointOf(options.client, options.field), (url) => {
          const { client } = options
          const from: From = {
            clientName: client.name,
            endpoint: shown(url),
            secrets: [
              ...options.secrets,
              ...secretsOf(client.parameters),
              ...ClientAuthentication.secrets(client.authentication)
            ]
          }
          const attempt = (number: number): Effect.Effect<A, ExchangeError> =>
            exchange({
              clientName: client.name,
              httpClient: client.httpClient ?? common,
              url,
              method: "POST",
              timeout: client.timeout,
              maxResponseSize: client.maxResponseSize,
              propagateTrace: client.propagateTrace,
              prepare: (request) =>
                Effect.map(
                  ClientAuthentication.credentials(client.authentication, client.clientId),
                  ({ form, headers }) =>
                    request.pipe(
                      HttpClientRequest.setHeaders(headers),
                      HttpClientRequest.bodyUrlParams([...options.form, ...Object.entries(form)])
                    )
                )
            }).pipe(
              Effect.tap((answer) => Effect.annotateCurrentSpan("http.response.status_code", answer.status)),
              Effect.flatMap((answer) => options.read(answer, from)),
              Effect.tapError((error) => Effect.annotateCurrentSpan("error.type", error._tag)),
              Effect.withSpan("oauth.token.request", {
                kind: "client",
                captureStackTrace: false,
                attributes: {
                  "oauth.client": client.name,
                  "oauth.grant": options.grant,
                  "oauth.attempt": number,
                  "server.address": url.host
                }
              }),
              Effect.catchAll((error) =>
                number > options.retries
                  ? Effect.fail(error)
                  : Effect.flatMap(waitBefore(number - 1, error), (wait) =>
                    wait === undefined ? Effect.fail(error) : Effect.delay(attempt(number + 1), wait))
              )
            )
          return attempt(1)
        })

      const aboutToken = (token: Redacted.Redacted<string>, hint: string | undefined): Form => [
        ["token", Redacted.value(token)],
        ...(hint === undefined ? [] : [["token_type_hint", hint] as const])
      ]

      return {
        request: (client, grant, parameters = {}, options) =>
          Effect.suspend((): Effect.Effect<TokenResponse, ExchangeError | TokenRequestInvalid> => {
            const invalid = validate(client.name, parameters) ?? grantProblem(client, grant, parameters)
            if (invalid !== undefined) return Effect.fail(invalid)
            return call({
              client,
              field: "tokenEndpoint",
              grant: TokenGrant.grantTypeOf(grant),
              form: formOf(client, grant, parameters),
              secrets: [...secretsOf(parameters.parameters ?? {}), ...secretsOf(TokenGrant.fieldsOf(grant))],
              retries: options?.retries ?? 2,
              read: (answer, from) => {
                const result = readToken(answer, client, from)
                return result instanceof Error ? Effect.fail(result) : Effect.succeed(result)
              }
            })
          }),

        revoke: (client, token, hint) =>
          call({
            client,
            field: "revocationEndpoint",
            grant: "revocation",
            form: aboutToken(token, hint),
            secrets: [Redacted.value(token)],
            retries: 2,
            read: (answer, from) =>
              answer.status >= 200 && answer.status < 300
                ? Effect.void
                : Effect.fail(refusal(answer, jsonObject(answer.body), from))
          }),

        introspect: (client, token, hint) =>
          call({
            client,
            field: "introspectionEndpoint",
            grant: "introspection",
            form: aboutToken(token, hint),
            secrets: [Redacted.value(token)],
            retries: 2,
            read: (answer, from) => {
              const json: Json | string = jsonObject(answer.body)
              return answer.status === 200 && typeof json !== "string" && typeof json.active === "boolean"
                ? Effect.succeed({ active: json.active, claims: json })
                : Effect.fail(refusal(answer, json, from))
            }
          })
      }
    }
  )

const grantProblem = (
  client: TokenClient,
  grant: TokenGrant.TokenGrant,
  parameters: TokenRequestParameters
): TokenRequestInvalid | undefined => {
  const invalid = (field: string, problem: string) =>
    new TokenRequestInvalid({ clientName: client.name, field, problem })
  if (grant._tag === "Extension" && !URL.canParse(grant.grantType)) {
    return invalid("grantType", "expected an absolute URI (RFC 6749 section 4.5)")
  }
  for (const name of Object.keys(TokenGrant.fieldsOf(grant))) {
    if (name in client.parameters || name in (parameters.parameters ?? {})) {
      return invalid(`parameters.${name}`, `"${name}" is given by the grant, an extra parameter cannot override it`)
    }
  }
  return undefined
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<TokenEndpoint, never, AuthorizationServer | HttpClient.HttpClient> = Layer.effect(
  TokenEndpoint,
  make
)
