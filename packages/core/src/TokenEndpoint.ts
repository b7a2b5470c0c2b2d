/**
 * The wire: one grant in, one token or one typed error out; revocation and introspection beside it.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import { AccessToken } from "./AccessToken.ts"
import { AuthorizationServer, type Endpoints } from "./AuthorizationServer.ts"
import { backchannel } from "./Backchannel.ts"
import { ClientAssertions } from "./ClientAssertions.ts"
import { ClientCertificate } from "./ClientCertificate.ts"
import { DPoPKeyStore } from "./DPoPKeyStore.ts"
import { DPoPNonceStore } from "./DPoPNonceStore.ts"
import { DPoPProofs } from "./DPoPProofs.ts"
import { certificateOf } from "./internal/certificate.ts"
import { confirmationOf } from "./internal/confirmation.ts"
import * as Credentials from "./internal/credentials.ts"
import { type Answer, exchange } from "./internal/exchange.ts"
import * as Proving from "./internal/proving.ts"
import * as ServerClocks from "./internal/serverClocks.ts"
import { errorOf, type From, isSendable, type Json, jsonObject, lifetime, refusal } from "./internal/tokenResponse.ts"
import { shown } from "./internal/url.ts"
import {
  type CredentialUnavailable,
  type DiscoveryError,
  KeyBindingMismatch,
  TokenClientInvalid,
  type TokenEndpointError,
  TokenRequestInvalid,
  TokenResponseInvalid,
  type TokenTransportError,
  TokenTypeMismatch
} from "./OAuthError.ts"
import * as OAuthValues from "./OAuthValues.ts"
import { Signer } from "./Signer.ts"
import type { SigningKey } from "./SigningKey.ts"
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
  | TokenTypeMismatch
  | KeyBindingMismatch
  | CredentialUnavailable
  | TokenClientInvalid
  | DiscoveryError

/**
 * What kind of token it is, which saves a server the search (RFC 7009 section 2.1).
 *
 * @since 0.1.0
 * @category models
 */
export type TokenHint = "access_token" | "refresh_token"

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
 * Every attempt that leaves the process carries its own assertion and its own DPoP proof. A nonce that the server demands,
 * and a clock that is not the server's, cost one more request each (RFC 9449 section 8).
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
    hint?: TokenHint,
    parameters?: Pick<TokenRequestParameters, "assertion" | "context">
  ) => Effect.Effect<void, ExchangeError>
  /** RFC 7662. */
  readonly introspect: (
    client: TokenClient,
    token: Redacted.Redacted<string>,
    hint?: TokenHint,
    parameters?: Pick<TokenRequestParameters, "assertion" | "context">
  ) => Effect.Effect<Introspection, ExchangeError>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export type Requirements =
  | AuthorizationServer
  | DPoPKeyStore
  | DPoPNonceStore
  | DPoPProofs
  | Signer
  | HttpClient.HttpClient

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

/** What a token is expected to be bound to. */
interface Binding {
  readonly key: SigningKey | undefined
  readonly certificate: string | undefined
}

/** A token that is bound to something else could be used by whoever has that, and not by us. */
const bindingProblem = (
  token: { readonly value: string; readonly type: string },
  { certificate, key }: Binding,
  client: TokenClient,
  from: From & { readonly status: number }
): TokenTypeMismatch | KeyBindingMismatch | undefined => {
  const { clientName, endpoint, status } = from
  const isBound = token.type === "DPoP"
  if (isBound !== (key !== undefined) && !(key !== undefined && client.allowDowngrade)) {
    const expected = key === undefined ? "Bearer" : "DPoP"
    return new TokenTypeMismatch({ clientName, endpoint, status, expected, found: token.type })
  }
  if (!isBound && certificate === undefined) return undefined
  const found = confirmationOf(token.value)
  if (isBound && found.jkt !== undefined && found.jkt !== key?.thumbprint) {
    return new KeyBindingMismatch({ clientName, binding: "key", expected: key?.thumbprint, found: found.jkt })
  }
  if (certificate !== undefined && found.certificate !== undefined && found.certificate !== certificate) {
    return new KeyBindingMismatch({
      clientName,
      binding: "certificate",
      expected: certificate,
      found: found.certificate
    })
  }
  return undefined
}

/** @internal */
export const readToken = (
  answer: Answer,
  client: TokenClient,
  binding: Binding,
  from: From
): TokenResponse | ReturnType<typeof refusal> | TokenTypeMismatch | KeyBindingMismatch => {
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
  const problem = bindingProblem({ value, type: tokenType }, binding, client, { ...from, status: answer.status })
  if (problem !== undefined) return problem
  const life = lifetime(json.expires_in, client.defaultLifetime)
  const secret = (field: unknown) => typeof field === "string" && field !== "" ? Redacted.make(field) : undefined
  return {
    accessToken: new AccessToken({
      value: Redacted.make(value),
      type: tokenType,
      clientName: client.name,
      scope: typeof json.scope === "string" ? json.scope : undefined,
      obtainedAt: DateTime.unsafeMake(answer.sentAt),
      expiresAt: Duration.isFinite(life) ? DateTime.unsafeMake(answer.sentAt + Duration.toMillis(life)) : undefined,
      keyThumbprint: tokenType === "DPoP" ? binding.key?.thumbprint : undefined
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

type EndpointField = keyof Endpoints

/** One request with its retries. */
interface Call<A> {
  readonly client: TokenClient
  readonly parameters: TokenRequestParameters
  readonly field: EndpointField
  readonly grant: string
  readonly form: Form
  readonly secrets: ReadonlyArray<string>
  readonly retries: number
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

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<TokenEndpoint["Type"], never, Requirements> = Effect.gen(function*() {
  const common = yield* backchannel
  const server = yield* AuthorizationServer
  const proofs = yield* DPoPProofs
  const keys = yield* DPoPKeyStore
  const certificate = yield* Effect.serviceOption(ClientCertificate)
  const credentials = Credentials.make(yield* Signer, yield* Effect.serviceOption(ClientAssertions))
  const clocks = ServerClocks.make()
  const proving = Proving.make({
    proof: proofs.proof,
    nonces: yield* DPoPNonceStore,
    role: "authorizationServer",
    clocks
  })

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

  const keyOf = ({ dpop, name }: TokenClient): Effect.Effect<SigningKey | undefined, CredentialUnavailable> =>
    dpop === true ? keys.get(name) : Effect.succeed(dpop)

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
      signed.push(...Object.values(headers), ...Object.values(form).filter((value) => value !== client.clientId))
      if (proof !== undefined) signed.push(proof)
      return request.pipe(
        HttpClientRequest.setHeaders(proof === undefined ? headers : { ...headers, dpop: proof }),
        HttpClientRequest.bodyUrlParams([...call.form, ...Object.entries(form)])
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
      if (number > call.retries) return Effect.fail(error)
      return Effect.flatMap(
        waitBefore(number - 1, error),
        (wait) => wait === undefined ? Effect.fail(error) : Effect.delay(attempt(call, journey, number + 1), wait)
      )
    })

  const run = <A>(call: Call<A>): Effect.Effect<A, ExchangeError> =>
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

  const aboutToken = (token: Redacted.Redacted<string>, hint: TokenHint | undefined): Form => [
    ["token", Redacted.value(token)],
    ...(hint === undefined ? [] : [["token_type_hint", hint] as const])
  ]

  /** The token as it can be sent: bound to the key that it was given for. */
  const bound = (response: TokenResponse, key: SigningKey | undefined) => {
    const { accessToken } = response
    if (key === undefined || accessToken.keyThumbprint === undefined) return Effect.succeed(response)
    const retained = keys.retain?.(key.thumbprint, accessToken.expiresAt) ?? Effect.void
    return Effect.as(Effect.zipRight(retained, proofs.bind(accessToken, key)), response)
  }

  return {
    request: (client, grant, parameters = {}, options) =>
      Effect.suspend((): Effect.Effect<TokenResponse, ExchangeError | TokenRequestInvalid> => {
        const invalid = validate(client.name, parameters) ?? grantProblem(client, grant, parameters)
        if (invalid !== undefined) return Effect.fail(invalid)
        return Effect.flatMap(keyOf(client), (key) =>
          run({
            client,
            parameters,
            field: "tokenEndpoint",
            grant: TokenGrant.grantTypeOf(grant),
            form: formOf(client, grant, parameters),
            secrets: [...secretsOf(parameters.parameters ?? {}), ...secretsOf(TokenGrant.fieldsOf(grant))],
            retries: options?.retries ?? 2,
            key,
            read: (answer, from) => {
              const binding = { key, certificate: certificateOf(client, certificate)?.thumbprint() }
              const result = readToken(answer, client, binding, from)
              return result instanceof Error ? Effect.fail(result) : bound(result, key)
            }
          }))
      }),

    revoke: (client, token, hint, parameters = {}) =>
      run({
        client,
        parameters,
        field: "revocationEndpoint",
        grant: "revocation",
        form: aboutToken(token, hint),
        secrets: [Redacted.value(token)],
        retries: 2,
        key: undefined,
        read: (answer, from) =>
          answer.status >= 200 && answer.status < 300
            ? Effect.void
            : Effect.fail(refusal(answer, jsonObject(answer.body), from))
      }),

    introspect: (client, token, hint, parameters = {}) =>
      run({
        client,
        parameters,
        field: "introspectionEndpoint",
        grant: "introspection",
        form: aboutToken(token, hint),
        secrets: [Redacted.value(token)],
        retries: 2,
        key: undefined,
        read: (answer, from) => {
          const json: Json | string = jsonObject(answer.body)
          return answer.status === 200 && typeof json !== "string" && typeof json.active === "boolean"
            ? Effect.succeed({ active: json.active, claims: json })
            : Effect.fail(refusal(answer, json, from))
        }
      })
  }
})

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
export const layer: Layer.Layer<TokenEndpoint, never, Requirements> = Layer.effect(TokenEndpoint, make)
