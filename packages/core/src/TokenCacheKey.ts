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
import { parseField } from "./internal/problem.ts"
import { TokenRequestInvalid } from "./OAuthError.ts"
import * as OAuthValues from "./OAuthValues.ts"
import type { TokenClient } from "./TokenClient.ts"
import { type ParameterValue, resources, type TokenRequestParameters } from "./TokenRequestParameters.ts"

/**
 * Optional: replaces the built-in key. It must differ wherever the token does, above all by tenant.
 *
 * @since 0.1.0
 * @category tags
 */
export class TokenCacheKey extends Context.Tag("@effect-oauth/core/TokenCacheKey")<TokenCacheKey, {
  readonly make: (
    client: TokenClient,
    parameters: TokenRequestParameters
  ) => Either.Either<string, TokenRequestInvalid>
}>() {}

const plain = (value: ParameterValue): string | ReadonlyArray<string> =>
  Redacted.isRedacted(value) ? Redacted.value(value) : value

const sorted = (parameters: Readonly<Record<string, ParameterValue>>) =>
  Object.keys(parameters).sort().map((name) => [name, plain(parameters[name]!)])

/**
 * @internal Everything that changes the token, in one order. It may hold secrets (a subject token among the parameters, for
 * instance), so it stays in the memory of this process.
 */
export const structural = (client: TokenClient, parameters: TokenRequestParameters): string => {
  const scope = parameters.scope ?? client.scope
  return JSON.stringify([
    client.name,
    client.issuer ?? client.tokenEndpoint?.href,
    client.clientId,
    scope === undefined ? null : OAuthValues.normalizeScope(scope),
    [...(parameters.resource === undefined ? client.resource : resources(parameters.resource))].sort(),
    sorted(parameters.parameters === undefined ? client.parameters : { ...client.parameters, ...parameters.parameters }),
    parameters.partition ?? null
  ])
}

/**
 * Keys of your own, 1 to 4,096 characters; anything else fails the request with `TokenRequestInvalid`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  key: (client: TokenClient, parameters: TokenRequestParameters) => string
): Layer.Layer<TokenCacheKey> =>
  Layer.succeed(TokenCacheKey, {
    make: (client, parameters) =>
      Either.mapLeft(
        parseField(OAuthValues.CacheKey, key(client, parameters)),
        (problem) => new TokenRequestInvalid({ clientName: client.name, field: "cache key", problem })
      )
  })

/** @internal */
export const current: Effect.Effect<TokenCacheKey["Type"]> = Effect.map(
  Effect.serviceOption(TokenCacheKey),
  Option.getOrElse((): TokenCacheKey["Type"] => ({
    make: (client, parameters) => Either.right(structural(client, parameters))
  }))
)
