/**
 * What a login asks the server for (OpenID Connect Core 1.0 section 3.1.2.1), plain, signed or pushed.
 */
import type { Metadata } from "@effect-oauth/core/AuthorizationServer"
import { DiscoveryError, type SigningError } from "@effect-oauth/core/OAuthError"
import type { Signer } from "@effect-oauth/core/Signer"
import type { ExchangeError, TokenEndpoint } from "@effect-oauth/core/TokenEndpoint"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { LoginState } from "../../LoginStateStore.ts"
import { type OidcClient, reserved } from "../../OidcClient.ts"
import type { LoginOptions } from "../../OidcLogin.ts"

/** @internal */
export type Parameters = Readonly<Record<string, string | ReadonlyArray<string>>>

const present = (parameters: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>): Parameters =>
  Object.fromEntries(
    Object.entries(parameters).flatMap(([name, value]) =>
      value === undefined || value.length === 0 ? [] : [[name, value]]
    )
  )

const detailsOf = (details: LoginOptions["authorizationDetails"]): string | undefined =>
  details === undefined ? undefined : JSON.stringify(details)

/** @internal */
export const parametersOf = (
  client: OidcClient,
  login: LoginState,
  secrets: {
    readonly state: Redacted.Redacted<string>
    readonly challenge: string
    readonly thumbprint: string | undefined
  },
  wishes: LoginOptions
): Parameters =>
  present({
    ...client.authorizationParameters,
    ...Object.fromEntries(Object.entries(wishes.parameters ?? {}).filter(([name]) => !reserved.has(name))),
    prompt: wishes.prompt ?? client.prompt,
    login_hint: wishes.loginHint,
    acr_values: login.acrValues,
    max_age: login.maxAge === undefined ? undefined : String(login.maxAge),
    resource: wishes.resource ?? client.resource,
    authorization_details: detailsOf(wishes.authorizationDetails ?? client.authorizationDetails),
    scope: wishes.scope ?? client.scope,
    response_type: "code",
    response_mode: client.responseMode === "query" ? undefined : client.responseMode,
    client_id: client.login.clientId,
    redirect_uri: login.redirectUri,
    state: Redacted.value(secrets.state),
    nonce: Redacted.value(login.nonce),
    code_challenge: secrets.challenge,
    code_challenge_method: "S256",
    dpop_jkt: secrets.thumbprint
  })

/** A signed request is good for as long as a user may look at a page before it is sent. */
const goodFor = 300

/** @internal As a request object (RFC 9101 section 4). */
export const signed = (
  signer: Signer["Type"],
  client: OidcClient,
  parameters: Parameters
): Effect.Effect<Parameters, SigningError> => {
  const { requestKey: key } = client
  if (key === undefined) return Effect.succeed(parameters)
  const header = { typ: "oauth-authz-req+jwt", ...(key.keyId === undefined ? {} : { kid: key.keyId }) }
  return Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const iat = Math.floor(now / 1000)
    const claims = {
      ...parameters,
      // As JSON it is a number (OpenID Connect Core 1.0 section 3.1.2.1).
      ...(parameters.max_age === undefined ? {} : { max_age: Number(parameters.max_age) }),
      // And this an array (RFC 9396 section 3).
      ...(typeof parameters.authorization_details === "string"
        ? { authorization_details: JSON.parse(parameters.authorization_details) as unknown }
        : {}),
      iss: client.login.clientId,
      aud: client.issuer,
      iat,
      nbf: iat,
      exp: iat + goodFor,
      jti: signer.random(16)
    }
    return Effect.map(signer.signing(key, header)(JSON.stringify(claims)), (request) => ({
      client_id: client.login.clientId,
      request
    }))
  })
}

/** Whether the parameters go to the server directly (RFC 9126). */
const isPushed = ({ pushedAuthorization }: OidcClient, metadata: Metadata): boolean =>
  pushedAuthorization === "always" || metadata.requiresPushedAuthorization ||
  (pushedAuthorization === "auto" && metadata.pushedAuthorizationRequestEndpoint !== undefined)

const withParameters = (endpoint: URL, parameters: Parameters): URL => {
  const url = new URL(endpoint)
  for (const [name, value] of Object.entries(parameters)) {
    for (const item of typeof value === "string" ? [value] : value) url.searchParams.append(name, item)
  }
  return url
}

/** @internal Where the browser is sent, with the parameters or with a reference to them. */
export const addressOf = (
  endpoint: TokenEndpoint["Type"],
  client: OidcClient,
  metadata: Metadata,
  parameters: Parameters
): Effect.Effect<URL, ExchangeError | DiscoveryError> =>
  Effect.gen(function*() {
    const { authorizationEndpoint } = metadata
    if (authorizationEndpoint === undefined) {
      return yield* new DiscoveryError({
        clientName: client.name,
        endpoint: client.issuer,
        issuer: client.issuer,
        document: "metadata",
        problem: "it names no authorization_endpoint",
        retryable: false
      })
    }
    if (!isPushed(client, metadata)) return withParameters(authorizationEndpoint, parameters)
    const { requestUri } = yield* endpoint.pushAuthorization(client.login, parameters)
    return withParameters(authorizationEndpoint, { client_id: client.login.clientId, request_uri: requestUri })
  })
