/**
 * The tokens that one sign-in has: one refresh token, and an access token for each resource and scope that was asked for.
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
 * What tells the access tokens of a sign-in apart; neither resource nor scope means the token of the login.
 *
 * @since 0.1.0
 * @category models
 */
export interface Address {
  readonly scope?: string | undefined
  readonly resource?: string | ReadonlyArray<string> | undefined
}

/**
 * As a text. The order of resources and scopes does not matter, nor does saying one twice.
 *
 * @since 0.1.0
 * @category accessors
 */
export const addressOf = ({ resource, scope }: Address): string => {
  if (resource === undefined && scope === undefined) return ""
  const resources = resource === undefined ? [] : typeof resource === "string" ? [resource] : resource
  const sorted = (items: ReadonlyArray<string>) => [...new Set(items)].sort().join(" ")
  return `${sorted(resources)}\n${sorted(scope?.split(" ") ?? [])}`
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const empty: UserTokens = new UserTokens({ accessTokens: {} })

/**
 * The token for a resource and scope, if there is one.
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

/** So many resources and scopes are kept at once; a user's session must not grow with what is asked for. */
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
