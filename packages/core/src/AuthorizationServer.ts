/**
 * What an authorization server says of itself: its metadata, discovered at first use and kept.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { backchannel } from "./Backchannel.ts"
import * as Remembered from "./internal/cache/remembered.ts"
import { insecure, shown } from "./internal/url.ts"
import { type Answer, exchange } from "./internal/wire/exchange.ts"
import { type Json, jsonObject } from "./internal/wire/tokenResponse.ts"
import { DiscoveryError } from "./OAuthError.ts"
import type { TokenClient } from "./TokenClient.ts"

/**
 * @since 0.1.0
 * @category models
 */
export interface Endpoints {
  readonly tokenEndpoint: URL | undefined
  readonly revocationEndpoint: URL | undefined
  readonly introspectionEndpoint: URL | undefined
  /** RFC 9126. */
  readonly pushedAuthorizationRequestEndpoint: URL | undefined
}

/**
 * Metadata of an authorization server (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3). Only what is used is
 * read; the rest is in `raw`. An address over plain `http:` counts as absent, except on loopback and with `allowInsecure`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Metadata extends Endpoints {
  readonly issuer: string
  /** Where clients go that show a certificate (RFC 8705 section 5). */
  readonly mtlsEndpointAliases: Endpoints
  readonly authorizationEndpoint: URL | undefined
  /** OpenID Connect RP-Initiated Logout 1.0 section 2.1. */
  readonly endSessionEndpoint: URL | undefined
  readonly userInfoEndpoint: URL | undefined
  /** Where its public keys are, see `keys`. */
  readonly jwksUri: URL | undefined
  /** It takes no authorization request that was not pushed (RFC 9126 section 5). */
  readonly requiresPushedAuthorization: boolean
  /** It says in every authorization response who it is (RFC 9207 section 3). */
  readonly issuerInAuthorizationResponse: boolean
  readonly raw: Readonly<Record<string, unknown>>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class AuthorizationServer extends Context.Tag("@effect-oauth/core/AuthorizationServer")<AuthorizationServer, {
  /**
   * The metadata of the client's issuer: OpenID Connect Discovery's address first, then that of RFC 8414. The issuer in it
   * has to be the same string (RFC 8414 section 3.3).
   */
  readonly metadata: (client: TokenClient) => Effect.Effect<Metadata, DiscoveryError>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long metadata counts as fresh; after that it is read again in the background. Default 1 hour. */
  readonly metadataLifetime?: Duration.DurationInput | undefined
}

/** @internal Where metadata may be found, in the order in which it is looked for. */
export const metadataUrls = (issuer: string): ReadonlyArray<URL> => {
  const url = new URL(issuer)
  const path = url.pathname.replace(/\/$/, "")
  return [
    new URL(`${path}/.well-known/openid-configuration`, url.origin),
    new URL(`/.well-known/oauth-authorization-server${path}`, url.origin)
  ]
}

const endpointOf = (json: Json, name: string, client: TokenClient): URL | undefined => {
  const value = json[name]
  if (typeof value !== "string" || !URL.canParse(value)) return undefined
  const url = new URL(value)
  return insecure(url, client.allowInsecure) === undefined ? url : undefined
}

const endpointsOf = (json: Json, client: TokenClient): Endpoints => ({
  tokenEndpoint: endpointOf(json, "token_endpoint", client),
  revocationEndpoint: endpointOf(json, "revocation_endpoint", client),
  introspectionEndpoint: endpointOf(json, "introspection_endpoint", client),
  pushedAuthorizationRequestEndpoint: endpointOf(json, "pushed_authorization_request_endpoint", client)
})

/** @internal The metadata in an answer, or what is wrong with it. */
export const readMetadata = (answer: Answer, issuer: string, client: TokenClient): Metadata | string => {
  if (answer.status !== 200) return `it answered ${answer.status}`
  const json = jsonObject(answer.body)
  if (typeof json === "string") return json
  if (json.issuer !== issuer) {
    return "its issuer is another one: the issuer of the client has to be written exactly as the server writes it"
  }
  const { mtls_endpoint_aliases: aliases } = json
  return {
    issuer,
    ...endpointsOf(json, client),
    mtlsEndpointAliases: endpointsOf(Predicate.isReadonlyRecord(aliases) ? aliases : {}, client),
    authorizationEndpoint: endpointOf(json, "authorization_endpoint", client),
    endSessionEndpoint: endpointOf(json, "end_session_endpoint", client),
    userInfoEndpoint: endpointOf(json, "userinfo_endpoint", client),
    jwksUri: endpointOf(json, "jwks_uri", client),
    requiresPushedAuthorization: json.require_pushed_authorization_requests === true,
    issuerInAuthorizationResponse: json.authorization_response_iss_parameter_supported === true,
    raw: json
  }
}

const discover = (
  client: TokenClient,
  issuer: string,
  httpClient: HttpClient.HttpClient
): Effect.Effect<Metadata, DiscoveryError> => {
  const ask = (url: URL) => {
    const failed = (
      problem: string,
      retryable: boolean,
      answer?: { readonly status: number; readonly retryAfter?: Duration.Duration | undefined }
    ) =>
      new DiscoveryError({
        clientName: client.name,
        endpoint: shown(url),
        issuer,
        problem,
        retryable,
        status: answer?.status,
        retryAfter: answer?.retryAfter
      })
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
        const metadata = readMetadata(answer, issuer, client)
        return typeof metadata === "string"
          ? Effect.fail(failed(metadata, answer.status === 429 || answer.status >= 500, answer))
          : Effect.succeed(metadata)
      })
    )
  }
  const [openId, oauth] = metadataUrls(issuer)
  return ask(openId!).pipe(
    // The first failure is the one to tell of, unless the second address is the one that answered.
    Effect.catchAll((first) => Effect.mapError(ask(oauth!), (second) => second.status === 404 ? first : second)),
    Effect.withSpan("oauth.discovery", {
      kind: "client",
      attributes: { "oauth.client": client.name, "oauth.issuer": issuer }
    })
  )
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<AuthorizationServer["Type"], never, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function*() {
    const common = yield* backchannel
    const known = yield* Remembered.make<Metadata, DiscoveryError>({
      timeToLive: options.metadataLifetime ?? "1 hour",
      capacity: 1000,
      mayPass: () => true
    })
    // A client's own way to its server may lead elsewhere, so what is found on it is kept apart.
    const ways = new WeakMap<HttpClient.HttpClient, number>()
    let count = 0
    const wayOf = (httpClient: HttpClient.HttpClient): number => {
      const way = ways.get(httpClient) ?? count++
      ways.set(httpClient, way)
      return way
    }

    return {
      metadata: (client) =>
        Effect.suspend(() => {
          const { issuer } = client
          if (issuer === undefined) return Effect.dieMessage("a client without issuer has no metadata")
          const httpClient = client.httpClient ?? common
          return known.get({
            key: `${wayOf(httpClient)} ${issuer}`,
            find: discover(client, issuer, httpClient),
            interrupted: () =>
              new DiscoveryError({
                clientName: client.name,
                endpoint: issuer,
                issuer,
                problem: "the lookup was cut short, the Layer is closing",
                retryable: false
              })
          })
        })
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<AuthorizationServer, never, HttpClient.HttpClient> =>
  Layer.scoped(AuthorizationServer, make(options))
