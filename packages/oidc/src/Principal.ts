/**
 * Who is signed in.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A user as one OpenID provider knows them (OpenID Connect Core 1.0 section 2).
 *
 * - `clientName`: of `OidcClients`, whose login it was.
 * - `issuer` and `sub` name the user, together and for ever; `name` is for people.
 * - `sid`: the session at the provider, where it says so.
 * - `claims`: of the ID token and of userinfo, by the names that the server uses.
 * - `name`, `roles`: read from the claims that the client names (`nameClaim`, `roleClaim`).
 *
 * @since 0.1.0
 * @category models
 */
export class Principal extends Schema.Class<Principal>("@effect-oauth/oidc/Principal")({
  clientName: Schema.String,
  issuer: Schema.String,
  sub: Schema.String,
  sid: Schema.optional(Schema.String),
  claims: Schema.Record({ key: Schema.String, value: Schema.Unknown }),
  name: Schema.optional(Schema.String),
  roles: Schema.Array(Schema.String)
}) {}

/**
 * Which claims to read name and roles from.
 *
 * @since 0.1.0
 * @category models
 */
export interface ClaimNames {
  readonly nameClaim: string
  readonly roleClaim: string
}

/** Claims that say something of the ID token, and nothing of the user. */
const ofTheToken: ReadonlySet<string> = new Set([
  "aud",
  "azp",
  "exp",
  "iat",
  "nbf",
  "jti",
  "nonce",
  "at_hash",
  "c_hash"
])

const rolesOf = (value: unknown): ReadonlyArray<string> =>
  typeof value === "string" ? [value] : Array.isArray(value) ? value.filter((item) => typeof item === "string") : []

/**
 * The user that claims tell of; `issuer` and `sub` are what was verified.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromClaims = (
  user: { readonly clientName: string; readonly issuer: string; readonly sub: string },
  claims: Readonly<Record<string, unknown>>,
  { nameClaim, roleClaim }: ClaimNames
): Principal => {
  const name = claims[nameClaim]
  return new Principal({
    ...user,
    sid: typeof claims.sid === "string" ? claims.sid : undefined,
    claims: Object.fromEntries(Object.entries(claims).filter(([claim]) => !ofTheToken.has(claim))),
    name: typeof name === "string" ? name : undefined,
    roles: rolesOf(claims[roleClaim])
  })
}

/**
 * Whether two principals are the same user.
 *
 * @since 0.1.0
 * @category comparisons
 */
export const isSameUser = (self: Principal, that: Principal): boolean =>
  self.issuer === that.issuer && self.sub === that.sub
