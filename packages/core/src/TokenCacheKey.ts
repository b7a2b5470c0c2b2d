/**
 * What tells two tokens apart in the cache.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { nameOf, parseField } from "./internal/problem.ts"
import { TokenRequestInvalid } from "./OAuthError.ts"
import * as OAuthValues from "./OAuthValues.ts"
import * as OptionalServices from "./OptionalServices.ts"
import type { TokenClient } from "./TokenClient.ts"
import * as TokenGrant from "./TokenGrant.ts"
import { extrasOf, type ParameterValue, type TokenRequestParameters } from "./TokenRequestParameters.ts"

/**
 * Optional: replaces the built-in key. It must differ wherever the token does, above all by tenant. Whose authority a `grant`
 * brings is told apart beside it, whatever it says.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenCacheKey extends Context.Tag("@effect-oauth/core/TokenCacheKey")<TokenCacheKey, {
  readonly make: (
    client: TokenClient,
    parameters: TokenRequestParameters,
    /** The thumbprint of the certificate that the client shows: tokens that are bound to it die with it. */
    certificate: string | undefined
  ) => Either.Either<string, TokenRequestInvalid>
}>() {}

const plain = (value: ParameterValue): string | ReadonlyArray<string> =>
  Redacted.isRedacted(value) ? Redacted.value(value) : value

const parametersKey = (parameters: Readonly<Record<string, ParameterValue>>): string =>
  JSON.stringify(Object.keys(parameters).sort().map((name) => [name, plain(parameters[name]!)]))

const scopeKey = (scope: string | undefined): string => scope === undefined ? "" : OAuthValues.normalizeScope(scope)

const resourceKey = (resource: string | ReadonlyArray<string>): string => {
  if (typeof resource === "string") return JSON.stringify(resource)
  const [first] = resource
  return JSON.stringify(first !== undefined && resource.length === 1 ? first : [...resource].sort())
}

/** Whose authority: subjects are told apart by their tokens. */
const grantKey = (grant: TokenGrant.TokenGrant): string =>
  JSON.stringify([TokenGrant.grantTypeOf(grant), parametersKey(TokenGrant.fieldsOf(grant))])

/** @internal What a key of the user's own ends with: it need not know of subjects, and two of them must not share a token. */
export const subjectOf = (grant: TokenGrant.TokenGrant | undefined): string =>
  grant === undefined ? "" : `\n${grantKey(grant)}`

interface ClientKey {
  readonly identity: string
  readonly scope: string
  readonly resource: string
  readonly parameters: string
}

const clientKeys = new WeakMap<TokenClient, ClientKey>()

/** The part that is the same for all requests of a client. */
const clientKeyOf = (client: TokenClient): ClientKey => {
  const known = clientKeys.get(client)
  if (known !== undefined) return known
  const key: ClientKey = {
    identity: JSON.stringify([
      client.name,
      client.issuer ?? client.tokenEndpoint?.href,
      client.clientId,
      // A token of a key store's earlier key stays good, since it is sent with proofs of its own key.
      ...(client.dpop === undefined ? [] : [client.dpop === true ? "dpop" : client.dpop.thumbprint])
    ]),
    scope: scopeKey(client.scope),
    resource: resourceKey(client.resource),
    parameters: parametersKey(client.parameters)
  }
  clientKeys.set(client, key)
  return key
}

/**
 * @internal Everything that changes the token, in one order and on lines of their own: none of the parts can hold a line
 * break, but for the partition, which stands last. It may hold secrets (a subject token among the parameters, for
 * instance), so it stays in the memory of this process.
 */
export const structural = (
  client: TokenClient,
  parameters: TokenRequestParameters,
  certificate: string | undefined
): string => {
  const own = clientKeyOf(client)
  const scope = parameters.scope === undefined ? own.scope : scopeKey(parameters.scope)
  const resource = parameters.resource === undefined ? own.resource : resourceKey(parameters.resource)
  const extra = parameters.parameters === undefined && parameters.authorizationDetails === undefined
    ? own.parameters
    : parametersKey(extrasOf(client.parameters, parameters))
  const partition = parameters.partition === undefined ? "" : `=${parameters.partition}`
  const identity = certificate === undefined ? own.identity : own.identity + certificate
  const grant = parameters.grant === undefined ? "" : grantKey(parameters.grant)
  return `${identity}\n${scope}\n${resource}\n${extra}\n${grant}\n${partition}`
}

/**
 * Keys of your own, 1 to 4,096 characters; anything else fails the request with `TokenRequestInvalid`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  key: (client: TokenClient, parameters: TokenRequestParameters, certificate: string | undefined) => string
): Layer.Layer<TokenCacheKey> =>
  Layer.succeed(TokenCacheKey, {
    make: (client, parameters, certificate) =>
      Either.mapLeft(
        parseField(OAuthValues.CacheKey, key(client, parameters, certificate)),
        (problem) => new TokenRequestInvalid({ clientName: client.name, field: "cache key", problem })
      )
  })

/** What a key of the user's own throws is an error of the request. */
const guarded = (make: TokenCacheKey["Type"]["make"]): TokenCacheKey["Type"]["make"] => (client, ...rest) => {
  try {
    return make(client, ...rest)
  } catch (defect) {
    const problem = `the TokenCacheKey broke off with a defect: ${nameOf(defect)}`
    return Either.left(new TokenRequestInvalid({ clientName: client.name, field: "cache key", problem }))
  }
}

/** @internal */
export const current: Effect.Effect<TokenCacheKey["Type"] & { readonly isCustom: boolean }> = Effect.map(
  OptionalServices.get(TokenCacheKey),
  Option.match({
    onSome: ({ make }) => ({ make: guarded(make), isCustom: true }),
    onNone: () => ({
      isCustom: false,
      make: (client, parameters, certificate) => Either.right(structural(client, parameters, certificate))
    })
  })
)
