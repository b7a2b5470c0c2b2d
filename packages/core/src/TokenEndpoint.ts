/**
 * The wire: one grant in, one token or one typed error out; revocation, introspection and pushed authorization requests
 * beside it.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { AccessToken } from "./AccessToken.ts"
import { AuthorizationServer } from "./AuthorizationServer.ts"
import { Backchannel, backchannel } from "./Backchannel.ts"
import { ClientAssertions } from "./ClientAssertions.ts"
import { ClientCertificate } from "./ClientCertificate.ts"
import * as DPoPKeyStores from "./DPoPKeyStore.ts"
import { DPoPKeyStore } from "./DPoPKeyStore.ts"
import { DPoPNonceStore } from "./DPoPNonceStore.ts"
import { DPoPProofs } from "./DPoPProofs.ts"
import * as Proving from "./internal/dpop/proving.ts"
import * as ServerClocks from "./internal/dpop/serverClocks.ts"
import { certificateOf } from "./internal/wire/certificate.ts"
import * as Credentials from "./internal/wire/credentials.ts"
import * as Device from "./internal/wire/deviceAuthorization.ts"
import * as Pushed from "./internal/wire/pushedAuthorization.ts"
import { readToken } from "./internal/wire/readToken.ts"
import * as ServerCall from "./internal/wire/serverCall.ts"
import { type Json, jsonObject, refusal } from "./internal/wire/tokenResponse.ts"
import {
  type CredentialUnavailable,
  type DiscoveryError,
  type KeyBindingMismatch,
  type TokenClientInvalid,
  type TokenEndpointError,
  TokenRequestInvalid,
  type TokenResponseInvalid,
  type TokenTransportError,
  type TokenTypeMismatch
} from "./OAuthError.ts"
import * as OptionalServices from "./OptionalServices.ts"
import { Signer } from "./Signer.ts"
import type { SigningKey } from "./SigningKey.ts"
import type { TokenClient } from "./TokenClient.ts"
import * as TokenGrant from "./TokenGrant.ts"
import {
  extrasOf,
  grantProblem,
  type ParameterValue,
  resources,
  secretsOf,
  type TokenRequestParameters,
  validate,
  valuesOf
} from "./TokenRequestParameters.ts"

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
  /** What an exchange has given, one of `TokenGrant.tokenTypes` for instance (RFC 8693 section 2.2.1). */
  readonly issuedTokenType: string | undefined
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
 * Where an authorization request lies that was pushed (RFC 9126 section 2.2): the value of `request_uri`, good for one
 * authorization, and for how long.
 *
 * @since 0.1.0
 * @category models
 */
export interface PushedAuthorization {
  readonly requestUri: string
  readonly expiresIn: Duration.Duration
}

/**
 * A login on another device (RFC 8628 section 3.2).
 *
 * - `userCode`: what the user types in at `verificationUri`. With `verificationUriComplete`, as a QR code for instance, there
 *   is nothing to type.
 * - `interval`: how long to wait between two questions whether it is done.
 *
 * @since 0.1.0
 * @category models
 */
export interface DeviceAuthorization {
  readonly deviceCode: Redacted.Redacted<string>
  readonly userCode: string
  readonly verificationUri: string
  readonly verificationUriComplete: string | undefined
  readonly expiresIn: Duration.Duration
  readonly interval: Duration.Duration
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
  /** Bind the token to this key, in place of the client's `dpop`: a user's session has a key of its own (RFC 9449). */
  readonly dpop?: SigningKey | undefined
}

/**
 * Takes a `TokenClient` as a value, so a request of its own needs neither registration nor cache.
 *
 * A transport error, a 5xx and a 429 are tried twice more, after 200 ms and 400 ms (with jitter), or after `Retry-After`
 * where that is 2 seconds at most; a longer one fails at once. A grant that is one-time, an authorization code or a refresh
 * token, is sent again only where it is certain that the server has not seen it (`outcomeUnknown` of `TokenTransportError` is
 * false), or has answered that its nonce or clock was not to its liking. That holds for a retry of the client's `httpClient`
 * or of `Backchannel` too: the second request that it asks for is refused, as a `TokenTransportError` with the reason
 * `Repeated`. Out of sight is only what repeats below `HttpClient.transform`, in a client that is not made by
 * `HttpClient.make` or has a `withTracerDisabledWhen` of its own.
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
    parameters?: Pick<TokenRequestParameters, "assertion" | "context" | "parameters">
  ) => Effect.Effect<void, ExchangeError | TokenRequestInvalid>
  /** RFC 7662. */
  readonly introspect: (
    client: TokenClient,
    token: Redacted.Redacted<string>,
    hint?: TokenHint,
    parameters?: Pick<TokenRequestParameters, "assertion" | "context">
  ) => Effect.Effect<Introspection, ExchangeError>
  /** RFC 8628 section 3.1: begins a login that the user finishes on another device, see `DeviceFlow`. */
  readonly authorizeDevice: (
    client: TokenClient,
    parameters?: TokenRequestParameters
  ) => Effect.Effect<DeviceAuthorization, ExchangeError | TokenRequestInvalid>
  /**
   * RFC 9126: the parameters of an authorization request, by the client that proves itself. `form` is sent as it is, but
   * for the fields by which a client is named and proven, such as `client_id`: those are this client's own. Its
   * `parameters` are those of token requests, and stay out of it.
   */
  readonly pushAuthorization: (
    client: TokenClient,
    form: Readonly<Record<string, ParameterValue>>,
    parameters?: Pick<TokenRequestParameters, "assertion" | "context">
  ) => Effect.Effect<PushedAuthorization, ExchangeError>
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

/** @internal Extra fields first, the grant's own last: `validate` made sure that they do not meet. */
export const formOf = (
  client: TokenClient,
  grant: TokenGrant.TokenGrant,
  parameters: TokenRequestParameters
): ServerCall.Form => {
  const form: Array<readonly [string, string]> = []
  const add = (name: string, value: ParameterValue) => {
    for (const item of valuesOf(value)) form.push([name, item])
  }
  const extras = { ...extrasOf(client.parameters, parameters), ...TokenGrant.fieldsOf(grant) }
  for (const [name, value] of Object.entries(extras)) add(name, value)
  add("grant_type", TokenGrant.grantTypeOf(grant))
  // The client's own are for its own tokens: what a user allowed is another matter (RFC 6749 section 6).
  const own = TokenGrant.isRepeatable(grant) ? client : undefined
  const scope = parameters.scope ?? own?.scope
  if (scope !== undefined) add("scope", scope)
  add("resource", parameters.resource === undefined ? own?.resource ?? [] : resources(parameters.resource))
  return form
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<TokenEndpoint["Type"], never, Requirements> = Effect.gen(function*() {
  const proofs = yield* DPoPProofs
  const keys = DPoPKeyStores.guarded(yield* DPoPKeyStore)
  const certificate = yield* OptionalServices.get(ClientCertificate, Backchannel)
  const clocks = ServerClocks.make()
  const nonces = yield* DPoPNonceStore
  const run = ServerCall.make({
    httpClient: yield* backchannel,
    server: yield* AuthorizationServer,
    certificate,
    credentials: Credentials.make(yield* Signer, yield* OptionalServices.get(ClientAssertions)),
    proving: Proving.make({ proof: proofs.proof, nonces, role: "authorizationServer", clocks }),
    clocks
  })

  const keyOf = ({ dpop, name }: TokenClient): Effect.Effect<SigningKey | undefined, CredentialUnavailable> =>
    dpop === true ? keys.get(name) : Effect.succeed(dpop)

  const aboutToken = (token: Redacted.Redacted<string>, hint: TokenHint | undefined): ServerCall.Form => [
    ["token", Redacted.value(token)],
    ...(hint === undefined ? [] : [["token_type_hint", hint] as const])
  ]

  /** A key of the store is kept there for as long as its token lives. */
  const retain = ({ thumbprint }: SigningKey, { expiresAt }: AccessToken) =>
    keys.retain?.(thumbprint, expiresAt) ?? Effect.void

  /** The token as it can be sent: bound to the key that it was given for. */
  const bound = (response: TokenResponse, key: SigningKey | undefined, own: boolean) => {
    const { accessToken } = response
    if (key === undefined || accessToken.keyThumbprint === undefined) return Effect.succeed(response)
    const retained = own ? retain(key, accessToken) : Effect.void
    return Effect.as(Effect.zipRight(retained, proofs.bind(accessToken, key)), response)
  }

  return {
    request: (client, grant, parameters = {}, options = {}) =>
      Effect.suspend((): Effect.Effect<TokenResponse, ExchangeError | TokenRequestInvalid> => {
        const invalid = validate(client.name, parameters) ?? problemOf(client, grant, parameters)
        if (invalid !== undefined) return Effect.fail(invalid)
        const { dpop, retries = 2 } = options
        return Effect.flatMap(dpop === undefined ? keyOf(client) : Effect.succeed(dpop), (key) =>
          run({
            client,
            parameters,
            field: "tokenEndpoint",
            grant: TokenGrant.grantTypeOf(grant),
            form: formOf(client, grant, parameters),
            secrets: [...secretsOf(parameters.parameters ?? {}), ...secretsOf(TokenGrant.fieldsOf(grant))],
            retries,
            oneTime: TokenGrant.isOneTime(grant),
            key,
            read: (answer, from) => {
              const binding = {
                key,
                certificate: certificateOf(client, certificate)?.thumbprint(),
                grantType: TokenGrant.grantTypeOf(grant)
              }
              const result = readToken(answer, client, binding, from)
              return result instanceof Error ? Effect.fail(result) : bound(result, key, dpop === undefined)
            }
          }))
      }),

    revoke: (client, token, hint, parameters = {}) =>
      Effect.suspend((): Effect.Effect<void, ExchangeError | TokenRequestInvalid> => {
        const { parameters: extras = {}, ...proof } = parameters
        const invalid = validate(client.name, parameters) ?? revocationProblem(client, extras)
        if (invalid !== undefined) return Effect.fail(invalid)
        return run({
          client,
          parameters: proof,
          field: "revocationEndpoint",
          grant: "revocation",
          form: [
            ...Object.entries(extras).flatMap(([name, value]) => valuesOf(value).map((item) => [name, item] as const)),
            ...aboutToken(token, hint)
          ],
          secrets: [...secretsOf(extras), Redacted.value(token)],
          retries: 2,
          oneTime: false,
          key: undefined,
          read: (answer, from) =>
            answer.status >= 200 && answer.status < 300
              ? Effect.void
              : Effect.fail(refusal(answer, jsonObject(answer.body), from))
        })
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
        oneTime: false,
        key: undefined,
        read: (answer, from) => {
          const json: Json | string = jsonObject(answer.body)
          return answer.status === 200 && typeof json !== "string" && typeof json.active === "boolean"
            ? Effect.succeed({ active: json.active, claims: json })
            : Effect.fail(refusal(answer, json, from))
        }
      }),

    authorizeDevice: (client, parameters = {}) =>
      Effect.suspend((): Effect.Effect<DeviceAuthorization, ExchangeError | TokenRequestInvalid> => {
        const invalid = validate(client.name, parameters)
        if (invalid !== undefined) return Effect.fail(invalid)
        return run({
          client,
          parameters,
          field: "deviceAuthorizationEndpoint",
          grant: "device_authorization",
          form: Device.formOf(client, parameters),
          secrets: secretsOf(parameters.parameters ?? {}),
          retries: 2,
          oneTime: false,
          key: undefined,
          read: (answer, from) => {
            const result = Device.read(answer, from)
            return result instanceof Error ? Effect.fail(result) : Effect.succeed(result)
          }
        })
      }),

    pushAuthorization: (client, form, parameters = {}) =>
      run({
        client,
        parameters,
        field: "pushedAuthorizationRequestEndpoint",
        grant: "pushed_authorization",
        form: Pushed.formOf(client, form),
        secrets: Pushed.secretsOf(form),
        retries: 2,
        oneTime: false,
        key: undefined,
        read: (answer, from) => {
          const result = Pushed.read(answer, from)
          return result instanceof Error ? Effect.fail(result) : Effect.succeed(result)
        }
      })
  }
})

const revocationProblem = (
  client: TokenClient,
  extras: Readonly<Record<string, ParameterValue>>
): TokenRequestInvalid | undefined => {
  const name = ["token", "token_type_hint"].find((name) => name in extras)
  return name === undefined ? undefined : new TokenRequestInvalid({
    clientName: client.name,
    field: `parameters.${name}`,
    problem: `"${name}" belongs to the protocol, an extra parameter cannot override it`
  })
}

const problemOf = (
  client: TokenClient,
  grant: TokenGrant.TokenGrant,
  parameters: TokenRequestParameters
): TokenRequestInvalid | undefined => {
  const invalid = (field: string, problem: string) =>
    new TokenRequestInvalid({ clientName: client.name, field, problem })
  const wrong = grantProblem(grant)
  if (wrong !== undefined) return invalid(wrong.field, wrong.problem)
  if (parameters.grant !== undefined) {
    return invalid("grant", "is for tokens that are kept: here the grant is an argument of its own")
  }
  const extras = extrasOf(client.parameters, parameters)
  for (const name of Object.keys(TokenGrant.fieldsOf(grant))) {
    if (name in extras) {
      return invalid(`parameters.${name}`, `"${name}" is given by the grant, an extra parameter cannot override it`)
    }
  }
  return undefined
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<TokenEndpoint, never, Requirements> = Layer.fresh(Layer.effect(TokenEndpoint, make))
