/**
 * The tokens that one sign-in has: one refresh token, and an access token for each address (resource, scope, parameters,
 * partition) that was asked for.
 *
 * @since 0.1.0
 */
import * as AccessToken from "@effect-oauth/core/AccessToken"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/**
 * What a `UserTokenStore` keeps for a session and a client.
 *
 * - `accessTokens`: by address, see `addressOf`.
 * - `key`: the private JWK, as JSON text, that the session's DPoP tokens are bound to. It is encoded in clear, as the tokens
 *   are: whoever writes this down has to seal it.
 *
 * @since 0.1.0
 * @category models
 */
export class UserTokens extends Schema.Class<UserTokens>("@effect-oauth/oidc/UserTokens")({
  accessTokens: Schema.Record({ key: Schema.String, value: AccessToken.AccessToken }),
  refreshToken: Schema.optional(Schema.Redacted(Schema.String)),
  idToken: Schema.optional(Schema.Redacted(Schema.String)),
  key: Schema.optional(Schema.Redacted(Schema.String))
}) {}

/**
 * One access token with what belongs to all of the sign-in.
 *
 * @since 0.1.0
 * @category models
 */
export interface UserToken {
  readonly accessToken: AccessToken.AccessToken
  readonly refreshToken: Option.Option<Redacted.Redacted<string>>
  readonly idToken: Option.Option<Redacted.Redacted<string>>
}

/**
 * Extra form parameters of a refresh. They are part of an address, so none of them can be a secret.
 *
 * @since 0.1.0
 * @category models
 */
export type Parameters = Readonly<Record<string, string | ReadonlyArray<string>>>

/**
 * Everything that tells the access tokens of a sign-in apart. Where it asks for nothing, it means the token of the login.
 *
 * - `scope` (RFC 6749 section 3.3), `resource` (RFC 8707), `parameters`: what the refresh is sent with.
 * - `partition`: keeps tokens apart and is never sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Address {
  readonly scope?: string | undefined
  readonly resource?: string | ReadonlyArray<string> | undefined
  readonly parameters?: Parameters | undefined
  readonly partition?: string | undefined
}

const sorted = (items: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(items)].sort()

const listOf = (value: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  value === undefined ? [] : typeof value === "string" ? [value] : value

/**
 * As a text: JSON, so that no two addresses have the same one, whatever characters are in them. The order of resources, of
 * scopes and of the names of parameters does not matter, nor does a repeated resource or scope.
 *
 * @since 0.1.0
 * @category accessors
 */
export const addressOf = ({ parameters, partition, resource, scope }: Address): string => {
  const resources = sorted(listOf(resource))
  const scopes = scope === undefined ? [] : sorted(scope.split(" "))
  const extras = parameters === undefined
    ? []
    : Object.keys(parameters).sort().map((name) => [name, listOf(parameters[name])])
  if (partition === undefined && resources.length + scopes.length + extras.length === 0) return ""
  return JSON.stringify([resources, scopes, extras, ...(partition === undefined ? [] : [partition])])
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const empty: UserTokens = new UserTokens({ accessTokens: {} })

/**
 * The token of an address, if there is one.
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = (self: UserTokens, address: Address): Option.Option<UserToken> => {
  const accessToken = self.accessTokens[addressOf(address)]
  return accessToken === undefined ? Option.none() : Option.some({
    accessToken,
    refreshToken: Option.fromNullable(self.refreshToken),
    idToken: Option.fromNullable(self.idToken)
  })
}

/** So many access tokens are kept at once; a user's session must not grow with what is asked for. */
const capacity = 20

/**
 * With this access token. Of further tokens, those that have ended at `now` go, and of too many the one that ends first.
 *
 * @since 0.1.0
 * @category combinators
 */
export const set = (
  self: UserTokens,
  address: Address,
  accessToken: AccessToken.AccessToken,
  now: number
): UserTokens => {
  const own = addressOf(address)
  const others = Object.entries(self.accessTokens)
    .filter(([other, token]) => other !== own && AccessToken.expiryMillis(token) > now)
    .sort(([, one], [, other]) => AccessToken.expiryMillis(other) - AccessToken.expiryMillis(one))
    .slice(0, capacity - 1)
  return new UserTokens({ ...self, accessTokens: Object.fromEntries([...others, [own, accessToken]]) })
}

/**
 * Without this access token; everything else stays.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withoutAccessToken = (self: UserTokens, address: Address): UserTokens => {
  const { [addressOf(address)]: _, ...accessTokens } = self.accessTokens
  return new UserTokens({ ...self, accessTokens })
}

/**
 * Without this access token. With the last one, refresh token, ID token and key go too.
 *
 * @since 0.1.0
 * @category combinators
 */
export const remove = (self: UserTokens, address: Address): UserTokens => {
  const rest = withoutAccessToken(self, address)
  return Object.keys(rest.accessTokens).length === 0 ? empty : rest
}

/**
 * Without the refresh token.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withoutRefreshToken = (self: UserTokens): UserTokens =>
  new UserTokens({ ...self, refreshToken: undefined })
