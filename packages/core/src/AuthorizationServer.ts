/**
 * What an authorization server says of itself: its metadata and its keys, discovered at first use and kept.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { backchannel } from "./Backchannel.ts"
import * as Remembered from "./internal/cache/remembered.ts"
import { shapeOf } from "./internal/problem.ts"
import * as PublicJwk from "./internal/publicJwk.ts"
import { isEndpointOf, shown } from "./internal/url.ts"
import type { Answer } from "./internal/wire/exchange.ts"
import { discovering, failure, fetchDocument, type Publisher } from "./internal/wire/publishedDocument.ts"
import { type Json, jsonObject } from "./internal/wire/tokenResponse.ts"
import { DiscoveryError } from "./OAuthError.ts"
import type { TokenClient } from "./TokenClient.ts"
import * as UntrustedText from "./UntrustedText.ts"

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
  /** RFC 8628. */
  readonly deviceAuthorizationEndpoint: URL | undefined
}

/**
 * Metadata of an authorization server (RFC 8414 section 2, OpenID Connect Discovery 1.0 section 3). Only what is used is
 * read; the rest is in `raw`. An address over plain `http:` counts as absent, except on loopback where the issuer is on
 * loopback, too, and with `allowInsecure`.
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
 * Public JWKs, as they were published. Nothing of them is checked yet, see `JwtVerifier`.
 *
 * @since 0.1.0
 * @category models
 */
export type Keys = ReadonlyArray<Readonly<Record<string, unknown>>>

/**
 * Where a JWT came from whose key is looked for. Each source has its own time in which keys are not read again, so what anybody
 * can send does not delay what users need.
 *
 * - `server`: an answer of the authorization server itself.
 * - `login`: a browser that came back from a login.
 * - `logout`: a request that says to be the authorization server's.
 * - `request`: any other request; the default.
 *
 * @since 0.1.0
 * @category models
 */
export type JwtSource = "server" | "login" | "logout" | "request"

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
  /**
   * The public keys of the client's issuer, as its `jwksUri` publishes them (RFC 7517 section 5); what is private or
   * symmetric there is left out. They are kept as metadata is. If the wanted `kid` is not among them, or if they are the ones
   * that were of no use (`otherThan`), they are read anew, at most once in 30 seconds for each issuer and source, since anybody can
   * name a `kid` that does not exist. Whether those that come are of use is for the caller to see.
   */
  readonly keys: (
    client: TokenClient,
    wanted?: {
      readonly kid?: string | undefined
      readonly otherThan?: Keys | undefined
      readonly source?: JwtSource | undefined
    }
  ) => Effect.Effect<Keys, DiscoveryError>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How long metadata and keys count as fresh; after that they are read again in the background. Default 1 hour. */
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

/** Between two readings of keys for the sake of a `kid`, in milliseconds. */
const coolDown = 30_000

const withoutIssuer = (
  { name, tokenEndpoint }: TokenClient,
  document: NonNullable<DiscoveryError["document"]>
): DiscoveryError =>
  new DiscoveryError({
    clientName: name,
    endpoint: tokenEndpoint === undefined ? "" : shown(tokenEndpoint),
    issuer: "",
    document,
    problem: "the client has no issuer",
    retryable: false
  })

type EndpointOf = (json: Json, name: string) => URL | undefined

const endpointsAt = (issuer: string, { allowInsecure }: TokenClient): EndpointOf => {
  const at = new URL(issuer)
  return (json, name) => {
    const value = json[name]
    if (typeof value !== "string" || !URL.canParse(value)) return undefined
    const url = new URL(value)
    return isEndpointOf(url, at, allowInsecure) ? url : undefined
  }
}

const endpointsOf = (json: Json, endpointOf: EndpointOf): Endpoints => ({
  tokenEndpoint: endpointOf(json, "token_endpoint"),
  revocationEndpoint: endpointOf(json, "revocation_endpoint"),
  introspectionEndpoint: endpointOf(json, "introspection_endpoint"),
  pushedAuthorizationRequestEndpoint: endpointOf(json, "pushed_authorization_request_endpoint"),
  deviceAuthorizationEndpoint: endpointOf(json, "device_authorization_endpoint")
})

/** @internal The metadata in an answer, or what is wrong with it. */
export const readMetadata = (answer: Answer, issuer: string, client: TokenClient): Metadata | string => {
  const json = jsonObject(answer.body)
  if (typeof json === "string") return json
  if (json.issuer !== issuer) {
    const found = typeof json.issuer === "string"
      ? UntrustedText.quote(json.issuer, { maxLength: 200 })
      : shapeOf(json.issuer)
    return `its issuer is ${found}, expected "${issuer}": write the issuer of the client exactly as the server does`
  }
  const { mtls_endpoint_aliases: aliases } = json
  const endpointOf = endpointsAt(issuer, client)
  return {
    issuer,
    ...endpointsOf(json, endpointOf),
    mtlsEndpointAliases: endpointsOf(Predicate.isReadonlyRecord(aliases) ? aliases : {}, endpointOf),
    authorizationEndpoint: endpointOf(json, "authorization_endpoint"),
    endSessionEndpoint: endpointOf(json, "end_session_endpoint"),
    userInfoEndpoint: endpointOf(json, "userinfo_endpoint"),
    jwksUri: endpointOf(json, "jwks_uri"),
    requiresPushedAuthorization: json.require_pushed_authorization_requests === true,
    issuerInAuthorizationResponse: json.authorization_response_iss_parameter_supported === true,
    raw: json
  }
}

const discover = (publisher: Publisher): Effect.Effect<Metadata, DiscoveryError> => {
  const { client, issuer } = publisher
  const ask = (url: URL) => fetchDocument(publisher, "metadata", url, (answer) => readMetadata(answer, issuer, client))
  const [openId, oauth] = metadataUrls(issuer)
  return ask(openId!).pipe(
    // The first failure is the one to tell of, unless the second address is the one that answered.
    Effect.catchAll((first) => Effect.mapError(ask(oauth!), (second) => second.status === 404 ? first : second)),
    discovering(publisher, "metadata")
  )
}

/** @internal The public keys in an answer, or what is wrong with it (RFC 7517 section 5). */
export const readKeys = (answer: Answer): Keys | string => {
  const json = jsonObject(answer.body)
  if (typeof json === "string") return json
  if (!Array.isArray(json.keys)) return "its JSON has no keys (RFC 7517 section 5)"
  const keys: ReadonlyArray<unknown> = json.keys
  return keys.filter(Predicate.isReadonlyRecord).filter(PublicJwk.isPublic)
}

const fetchKeys = (publisher: Publisher, { jwksUri }: Metadata): Effect.Effect<Keys, DiscoveryError> =>
  jwksUri === undefined
    ? Effect.fail(failure(publisher, "keys", publisher.issuer, "its metadata names no jwks_uri that is usable", false))
    : discovering(publisher, "keys")(fetchDocument(publisher, "keys", jwksUri, readKeys))

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<AuthorizationServer["Type"], never, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function*() {
    const common = yield* backchannel
    const remembering = { timeToLive: options.metadataLifetime ?? "1 hour", capacity: 1000, mayPass: () => true }
    const known = yield* Remembered.make<Metadata, DiscoveryError>(remembering)
    const knownKeys = yield* Remembered.make<Keys, DiscoveryError>(remembering)
    // A client's own way to its server may lead elsewhere, so what is found on it is kept apart.
    const ways = new WeakMap<HttpClient.HttpClient, number>()
    let count = 0
    const wayOf = (httpClient: HttpClient.HttpClient): number => {
      const way = ways.get(httpClient) ?? count++
      ways.set(httpClient, way)
      return way
    }

    const publisherOf = (client: TokenClient): Publisher | undefined =>
      client.issuer === undefined
        ? undefined
        : { client, issuer: client.issuer, httpClient: client.httpClient ?? common }

    const lookup = <A>(
      publisher: Publisher,
      document: "metadata" | "keys",
      find: Effect.Effect<A, DiscoveryError>
    ) => ({
      key: `${wayOf(publisher.httpClient)} ${publisher.issuer}`,
      find,
      // Two addresses of the metadata, and the keys.
      limit: Duration.times(publisher.client.timeout, 3),
      interrupted: () =>
        failure(publisher, document, publisher.issuer, "the lookup was cut short, the Layer is closing", false)
    })

    const metadata = (publisher: Publisher) => known.get(lookup(publisher, "metadata", discover(publisher)))

    const keys = (
      publisher: Publisher,
      { kid, otherThan, source = "request" }: NonNullable<Parameters<AuthorizationServer["Type"]["keys"]>[1]>
    ): Effect.Effect<Keys, DiscoveryError> => {
      const find = Effect.flatMap(metadata(publisher), (metadata) => fetchKeys(publisher, metadata))
      const wanted = lookup(publisher, "keys", find)
      const before = knownKeys.peek(wanted.key)
      return Effect.flatMap(knownKeys.get(wanted), (found) => {
        const isThere = found !== otherThan && (kid === undefined || found.some((key) => key.kid === kid))
        // What was fetched a moment ago is not fetched again.
        return isThere || found !== before
          ? Effect.succeed(found)
          : knownKeys.replace(wanted, found, { coolDown, budget: source })
      })
    }

    return {
      metadata: (client) =>
        Effect.suspend(() => {
          const publisher = publisherOf(client)
          return publisher === undefined ? Effect.fail(withoutIssuer(client, "metadata")) : metadata(publisher)
        }),
      keys: (client, wanted) =>
        Effect.suspend(() => {
          const publisher = publisherOf(client)
          return publisher === undefined ? Effect.fail(withoutIssuer(client, "keys")) : keys(publisher, wanted ?? {})
        })
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<AuthorizationServer, never, HttpClient.HttpClient> =>
  Layer.scoped(AuthorizationServer, make(options))
