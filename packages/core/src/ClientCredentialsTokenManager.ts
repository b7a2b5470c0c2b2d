/**
 * Tokens of a program's own authority, by the name of a client (RFC 6749 section 4.4).
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type { AccessToken } from "./AccessToken.ts"
import { Backchannel } from "./Backchannel.ts"
import { ClientCertificate } from "./ClientCertificate.ts"
import * as DPoPKeyStores from "./DPoPKeyStore.ts"
import { DPoPKeyStore } from "./DPoPKeyStore.ts"
import { DPoPProofs } from "./DPoPProofs.ts"
import { clockOf } from "./internal/clock.ts"
import { TokenRequestCustomizer } from "./internal/customizer.ts"
import { possessionOf } from "./internal/dpop/possession.ts"
import { foreign, foreignClients } from "./internal/foreign.ts"
import { isKnown } from "./internal/known.ts"
import { found, nameOf } from "./internal/problem.ts"
import { shown } from "./internal/url.ts"
import { certificateOf } from "./internal/wire/certificate.ts"
import { notApplicable, refused } from "./internal/wire/notApplicable.ts"
import {
  type AccessTokenError,
  CredentialUnavailable,
  type TokenClientNotFound,
  TokenRequestInvalid
} from "./OAuthError.ts"
import * as OAuthLogging from "./OAuthLogging.ts"
import * as OptionalServices from "./OptionalServices.ts"
import { Signer } from "./Signer.ts"
import { TokenCache, type TokenCacheAddress, type TokenCacheRequest } from "./TokenCache.ts"
import * as TokenCacheKey from "./TokenCacheKey.ts"
import type { TokenClient } from "./TokenClient.ts"
import { TokenClients } from "./TokenClients.ts"
import { TokenEndpoint } from "./TokenEndpoint.ts"
import * as TokenGrant from "./TokenGrant.ts"
import { freeze, type TokenRequestParameters, validate } from "./TokenRequestParameters.ts"
import type { Customize } from "./TokenRetriever.ts"

/**
 * Without a name, the only client is meant.
 *
 * @since 0.1.0
 * @category tags
 */
export class ClientCredentialsTokenManager
  extends Context.Tag("@effect-oauth/core/ClientCredentialsTokenManager")<ClientCredentialsTokenManager, {
    /** A token that is good now. */
    readonly get: (
      name?: string,
      parameters?: TokenRequestParameters
    ) => Effect.Effect<AccessToken, AccessTokenError>
    /** Another token than the one that an API has rejected. */
    readonly renew: (
      name: string | undefined,
      rejected: AccessToken,
      parameters?: TokenRequestParameters
    ) => Effect.Effect<AccessToken, AccessTokenError>
    /** Forgets the token. */
    readonly remove: (name?: string, parameters?: TokenRequestParameters) => Effect.Effect<void, AccessTokenError>
    /** Forgets all tokens of a client, or of all clients. */
    readonly removeAll: (name?: string) => Effect.Effect<void>
    /** Revokes the token at the server, if there is one, and forgets it, also when revoking fails (RFC 7009). */
    readonly revoke: (name?: string, parameters?: TokenRequestParameters) => Effect.Effect<void, AccessTokenError>
    /** Fails for a name that no client can have; a client that is resolved later passes. */
    readonly check: (name?: string) => Effect.Effect<void, TokenClientNotFound>
    /** The `TokenRequestCustomizer` that it was built with, if any: retrievers ask it, the methods of this service do not. */
    readonly customizer?: Customize<AccessTokenError> | undefined
  }>()
{}

type Address = Either.Either<TokenCacheAddress, AccessTokenError>

/** Where the tokens of one client are kept, found again by the identity of their parameters. */
interface Addresses {
  /** The certificate that the client shows, and what it was when these were made. */
  readonly certificate: ClientCertificate["Type"] | undefined
  readonly thumbprint: string | undefined
  readonly plain: Address
  readonly byParameters: WeakMap<TokenRequestParameters, Address>
}

const none: TokenRequestParameters = {}

const isReady = (found: Exit.Exit<AccessToken>): boolean =>
  found._tag === "Failure" || found.value.keyThumbprint === undefined || possessionOf(found.value) !== undefined

/** Tokens that are bound to a certificate end with it. */
const isOutdated = ({ certificate, thumbprint }: Addresses): boolean =>
  certificate !== undefined && certificate.thumbprint() !== thumbprint

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<
  ClientCredentialsTokenManager["Type"],
  never,
  TokenClients | TokenCache | TokenEndpoint | DPoPProofs | DPoPKeyStore | Signer
> = Effect.gen(function*() {
  const clients = foreignClients(yield* TokenClients)
  const proofs = yield* DPoPProofs
  const keys = DPoPKeyStores.guarded(yield* DPoPKeyStore)
  const signer = yield* Signer
  const commonCertificate = yield* OptionalServices.get(ClientCertificate, Backchannel)
  const customizer = Option.getOrUndefined(yield* OptionalServices.get(TokenRequestCustomizer))
  const cache = yield* TokenCache
  const endpoint = yield* TokenEndpoint
  const cacheKey = yield* TokenCacheKey.current
  const log = yield* OAuthLogging.make

  const request = (client: TokenClient, parameters: TokenRequestParameters, retries: boolean) => {
    const { grant = TokenGrant.clientCredentials, ...rest } = parameters
    return Effect.flatMap(
      endpoint.request(client, grant, rest, retries ? undefined : { retries: 0 }),
      ({ accessToken }) => accessToken.type === notApplicable ? refused(client) : Effect.succeed(accessToken)
    )
  }

  /** A client that its server refuses may have another secret by now. */
  const acquire = (client: TokenClient, parameters: TokenRequestParameters) => ({ retries }: { retries: boolean }) =>
    Effect.catchTag(
      request(client, parameters, retries),
      "TokenEndpointError",
      (error) =>
        error.error !== "invalid_client"
          ? Effect.fail(error)
          : Effect.flatMap(
            clients.changed(client),
            Option.match({
              onNone: () => Effect.fail(error),
              onSome: (changed) =>
                Effect.zipRight(
                  log.debug(
                    client.name,
                    "the server refused the client, its definition has changed: trying the new one"
                  ),
                  request(changed, parameters, retries)
                )
            })
          )
    )

  const addressOf = (
    client: TokenClient,
    parameters: TokenRequestParameters,
    thumbprint: string | undefined
  ): Address => {
    const invalid = validate(client.name, parameters)
    if (invalid !== undefined) return Either.left(invalid)
    return Either.map(
      cacheKey.make(client, parameters, thumbprint),
      (key) => ({ key: cacheKey.isCustom ? key + TokenCacheKey.subjectOf(parameters.grant) : key, found: undefined })
    )
  }

  const known = new WeakMap<TokenClient, Addresses>()

  const addressesOf = (client: TokenClient): Addresses => {
    const addresses = known.get(client)
    if (addresses !== undefined && !isOutdated(addresses)) return addresses
    const certificate = certificateOf(client, commonCertificate)
    const thumbprint = certificate?.thumbprint()
    const plain = addressOf(client, none, thumbprint)
    const made: Addresses = { certificate, thumbprint, plain, byParameters: new WeakMap() }
    known.set(client, made)
    return made
  }

  const find = (
    client: TokenClient,
    addresses: Addresses,
    parameters: TokenRequestParameters | undefined
  ): Address => {
    if (parameters === undefined) return addresses.plain
    if (!Predicate.isObject(parameters)) {
      const problem = found("expected an object", parameters)
      return Either.left(new TokenRequestInvalid({ clientName: client.name, field: "parameters", problem }))
    }
    const remembered = addresses.byParameters.get(parameters)
    if (remembered !== undefined) return remembered
    freeze(parameters)
    const made = addressOf(client, parameters, addresses.thumbprint)
    addresses.byParameters.set(parameters, made)
    return made
  }

  /**
   * What all processes call this token. A key of the key store's is not everybody's, so tokens that are bound to it are
   * apart; the rest of the name is hashed, since it tells of tenants and may hold secrets.
   */
  const storeKeyOf = (
    client: TokenClient,
    key: string,
    grant: TokenGrant.TokenGrant | undefined
  ): Effect.Effect<string, AccessTokenError> => {
    if (cacheKey.isCustom) {
      const subject = TokenCacheKey.subjectOf(grant)
      if (subject === "") return Effect.succeed(key)
      return Effect.map(signer.sha256(subject), (hash) => `${key.slice(0, key.length - subject.length)}:${hash}`)
    }
    const thumbprint = client.dpop === true
      ? Effect.map(keys.get(client.name), ({ thumbprint }) => thumbprint)
      : Effect.succeed("")
    return thumbprint.pipe(
      // As JSON, which escapes lone surrogates: as UTF-8 they would all be the same character.
      Effect.flatMap((thumbprint) => signer.sha256(JSON.stringify([key, thumbprint]))),
      Effect.map((hash) => `${client.name}:${hash}`)
    )
  }

  const requestOf = (
    { key }: TokenCacheAddress,
    client: TokenClient,
    parameters: TokenRequestParameters = none
  ): TokenCacheRequest => ({
    key,
    storeKey: storeKeyOf(client, key, parameters.grant),
    clientName: client.name,
    endpoint: client.tokenEndpoint === undefined ? client.issuer ?? "" : shown(client.tokenEndpoint),
    expiryBuffer: client.expiryBuffer,
    refreshAhead: client.refreshAhead,
    acquireTimeout: client.acquireTimeout,
    acquire: acquire(client, parameters)
  })

  /** Runs `use` with the cache's request for a client. */
  const withRequest = <A>(
    name: string | undefined,
    parameters: TokenRequestParameters | undefined,
    use: (request: TokenCacheRequest, client: TokenClient) => Effect.Effect<A, AccessTokenError>
  ): Effect.Effect<A, AccessTokenError> =>
    Effect.flatMap(clients.get(name), (client) => {
      const address = foreign(
        () => find(client, addressesOf(client), parameters),
        // Nothing else that is called for it can throw.
        (defect) =>
          new CredentialUnavailable({ clientName: client.name, credential: "certificate", problem: nameOf(defect) })
      )
      return Effect.flatMap(address, (address) => use(requestOf(address, client, parameters), client))
    })

  /** The key of a token that was kept elsewhere and came back without it. */
  const keyOf = (client: TokenClient, thumbprint: string) =>
    client.dpop !== undefined && client.dpop !== true && client.dpop.thumbprint === thumbprint
      ? Effect.succeedSome(client.dpop)
      : keys.byThumbprint(thumbprint)

  /** A token that can be sent: one whose key is gone is of no use to anybody, and another one is acquired. */
  const usable = (
    token: AccessToken,
    request: TokenCacheRequest,
    client: TokenClient
  ): Effect.Effect<AccessToken, AccessTokenError> => {
    if (token.keyThumbprint === undefined || possessionOf(token) !== undefined) return Effect.succeed(token)
    return Effect.flatMap(
      keyOf(client, token.keyThumbprint),
      Option.match({
        onNone: () => cache.get(request, { forceRenewal: true }),
        onSome: (key) => proofs.bind(token, key)
      })
    )
  }

  /** A cache of somebody else that breaks costs a request to the server, not the token. */
  const withoutCache = (request: TokenCacheRequest) => () =>
    Effect.zipRight(
      log.warning(request.clientName, "the token cache failed: the token is acquired without it"),
      request.acquire({ retries: true })
    )

  const acquired = (
    name: string | undefined,
    parameters: TokenRequestParameters | undefined
  ): Effect.Effect<AccessToken, AccessTokenError> =>
    withRequest(name, parameters, (request, client) => {
      const options = parameters?.forceRenewal === true ? { forceRenewal: true } : undefined
      return Effect.suspend(() => cache.get(request, options)).pipe(
        Effect.catchAllDefect(withoutCache(request)),
        Effect.flatMap((token) => usable(token, request, client))
      )
    })

  interface Kept {
    readonly revision: number
    readonly client: TokenClient
    readonly addresses: Addresses
    /** Whether its tokens are sent with proofs. */
    readonly mayBeBound: boolean
  }

  /** By name, the clients that are defined, so there are no more of them than definitions. */
  const kept = new Map<string | undefined, Kept>()

  const keptOf = (name: string | undefined): Kept | undefined => {
    const { revision } = clients
    const known = kept.get(name)
    if (known !== undefined && known.revision === revision && !isOutdated(known.addresses)) return known
    const client = clients.get(name)
    if (revision === undefined || !isKnown(client)) return undefined
    const addresses = addressesOf(client.value)
    const made: Kept = { revision, client: client.value, addresses, mayBeBound: client.value.dpop !== undefined }
    kept.set(name, made)
    return made
  }

  /** A service of others that throws is asked again where that is an error. */
  const hitOr = (
    name: string | undefined,
    parameters: TokenRequestParameters | undefined,
    clock: Clock.Clock
  ): Exit.Exit<AccessToken> | undefined => {
    try {
      return hit(name, parameters, clock)
    } catch {
      return undefined
    }
  }

  /** The whole of a hit: a known client, a remembered address, a fresh token, and nothing run for it. */
  const hit = (
    name: string | undefined,
    parameters: TokenRequestParameters | undefined,
    clock: Clock.Clock
  ): Exit.Exit<AccessToken> | undefined => {
    if (cache.hit === undefined || parameters?.forceRenewal === true) return undefined
    const known = keptOf(name)
    if (known === undefined) return undefined
    const address = find(known.client, known.addresses, parameters)
    const found = Either.isRight(address) ? cache.hit(address.right, clock) : undefined
    // One that has just come from a shared store is bound to its key first. A look at the token would cost others a cache miss.
    return found === undefined || !known.mayBeBound || isReady(found) ? found : undefined
  }

  return {
    get: (name, parameters) =>
      Effect.withFiberRuntime((fiber) => hitOr(name, parameters, clockOf(fiber)) ?? acquired(name, parameters)),
    renew: (name, rejected, parameters) =>
      withRequest(
        name,
        parameters,
        (request, client) =>
          Effect.suspend(() => cache.renew(request, rejected)).pipe(
            Effect.catchAllDefect(withoutCache(request)),
            Effect.flatMap((token) => usable(token, request, client))
          )
      ),
    remove: (name, parameters) => withRequest(name, parameters, cache.remove),
    removeAll: (name) => cache.removeAll(name),
    revoke: (name, parameters) =>
      withRequest(
        name,
        parameters,
        (request, client) =>
          Effect.flatMap(cache.peek(request), (token) =>
            // One that is being acquired is not kept either.
            token === undefined
              ? cache.remove(request)
              : Effect.ensuring(
                endpoint.revoke(client, token.value, "access_token", parameters),
                Effect.ignore(cache.remove(request))
              ))
      ),
    check: clients.check,
    ...(customizer === undefined ? {} : { customizer })
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  ClientCredentialsTokenManager,
  never,
  TokenClients | TokenCache | TokenEndpoint | DPoPProofs | DPoPKeyStore | Signer
> = Layer.fresh(Layer.effect(ClientCredentialsTokenManager, make))

/**
 * A token that is good now.
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = (
  name?: string,
  parameters?: TokenRequestParameters
): Effect.Effect<AccessToken, AccessTokenError, ClientCredentialsTokenManager> =>
  Effect.flatMap(ClientCredentialsTokenManager, (manager) => manager.get(name, parameters))

/**
 * Another token than the one that an API has rejected.
 *
 * @since 0.1.0
 * @category accessors
 */
export const renew = (
  name: string | undefined,
  rejected: AccessToken,
  parameters?: TokenRequestParameters
): Effect.Effect<AccessToken, AccessTokenError, ClientCredentialsTokenManager> =>
  Effect.flatMap(ClientCredentialsTokenManager, (manager) => manager.renew(name, rejected, parameters))

/**
 * Revokes the token at the server and forgets it (RFC 7009).
 *
 * @since 0.1.0
 * @category accessors
 */
export const revoke = (
  name?: string,
  parameters?: TokenRequestParameters
): Effect.Effect<void, AccessTokenError, ClientCredentialsTokenManager> =>
  Effect.flatMap(ClientCredentialsTokenManager, (manager) => manager.revoke(name, parameters))

/**
 * Forgets the token.
 *
 * @since 0.1.0
 * @category accessors
 */
export const remove = (
  name?: string,
  parameters?: TokenRequestParameters
): Effect.Effect<void, AccessTokenError, ClientCredentialsTokenManager> =>
  Effect.flatMap(ClientCredentialsTokenManager, (manager) => manager.remove(name, parameters))
