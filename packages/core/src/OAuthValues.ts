/**
 * The branded values of this library. What a developer writes is parsed by these schemas once, at the edge; nothing
 * deeper checks it again. What an authorization server sends is read leniently instead, see `TokenEndpoint`.
 *
 * No schema here quotes the value it refuses, so that its message can be logged.
 *
 * @since 0.1.0
 */
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { isOrigin } from "./internal/url.ts"

const says = (expected: string) => ({
  description: expected,
  message: () => ({ message: `expected ${expected}`, override: true })
})

const text = (max: number) => Schema.String.pipe(Schema.filter((value) => value.length >= 1 && value.length <= max))

/**
 * The name under which a program registers a client, 1 to 1,024 characters.
 *
 * @since 0.1.0
 * @category schemas
 */
export const TokenClientName = text(1024).pipe(Schema.brand("TokenClientName")).annotations({
  identifier: "TokenClientName",
  ...says("a name of 1 to 1,024 characters")
})

/**
 * @since 0.1.0
 * @category models
 */
export type TokenClientName = typeof TokenClientName.Type

/**
 * A client identifier, 1 to 1,024 printable ASCII characters (RFC 6749 section 2.2, appendix A.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientId = Schema.String.pipe(
  Schema.filter((value) => /^[\x20-\x7e]{1,1024}$/.test(value)),
  Schema.brand("ClientId")
).annotations({
  identifier: "ClientId",
  ...says("a client identifier of 1 to 1,024 printable ASCII characters (RFC 6749 section 2.2)")
})

/**
 * @since 0.1.0
 * @category models
 */
export type ClientId = typeof ClientId.Type

/**
 * A client secret, 1 to 1,024 characters, `Redacted` from here to the wire (RFC 6749 section 2.3.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const ClientSecret = Schema.RedactedFromSelf(Schema.String).pipe(
  Schema.filter((secret) => {
    const length = Redacted.value(secret).length
    return length >= 1 && length <= 1024
  }),
  Schema.brand("ClientSecret")
).annotations({
  identifier: "ClientSecret",
  ...says("a client secret of 1 to 1,024 characters as a Redacted<string>")
})

/**
 * @since 0.1.0
 * @category models
 */
export type ClientSecret = typeof ClientSecret.Type

/**
 * One or more scope tokens, separated by single spaces, 1 to 1,024 characters (RFC 6749 section 3.3).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Scope = text(1024).pipe(
  Schema.filter((value) => /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/.test(value)),
  Schema.brand("Scope")
).annotations({
  identifier: "Scope",
  ...says(
    "scope tokens separated by single spaces, 1 to 1,024 printable ASCII characters without quote or backslash " +
      "(RFC 6749 section 3.3)"
  )
})

/**
 * @since 0.1.0
 * @category models
 */
export type Scope = typeof Scope.Type

/**
 * @since 0.1.0
 * @category guards
 */
export const isScope = Schema.is(Scope)

/**
 * A resource indicator: an absolute URI without fragment, 1 to 1,024 characters (RFC 8707 section 2).
 *
 * @since 0.1.0
 * @category schemas
 */
export const Resource = text(1024).pipe(
  Schema.filter((value) => URL.canParse(value) && !value.includes("#")),
  Schema.brand("Resource")
).annotations({
  identifier: "Resource",
  ...says("an absolute URI without fragment, 1 to 1,024 characters (RFC 8707 section 2)")
})

/**
 * @since 0.1.0
 * @category models
 */
export type Resource = typeof Resource.Type

/**
 * The origin of an API: scheme, host and port, nothing behind them.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Origin = Schema.String.pipe(Schema.filter(isOrigin), Schema.brand("Origin")).annotations({
  identifier: "Origin",
  ...says("an origin such as https://api.example.com, without path, query or fragment")
})

/**
 * @since 0.1.0
 * @category models
 */
export type Origin = typeof Origin.Type

/**
 * The type of an access token, and so the scheme of the `Authorization` header: 1 to 50 token characters. `Bearer` and
 * `DPoP` are brought to this spelling from any letter case by `normalizeTokenType` (RFC 6749 section 7.1).
 *
 * @since 0.1.0
 * @category schemas
 */
export const TokenType = Schema.String.pipe(
  Schema.filter((value) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,50}$/.test(value)),
  Schema.brand("TokenType")
).annotations({
  identifier: "TokenType",
  ...says("a token type of 1 to 50 token characters, such as Bearer")
})

/**
 * @since 0.1.0
 * @category models
 */
export type TokenType = typeof TokenType.Type

/**
 * @since 0.1.0
 * @category guards
 */
export const isTokenType = Schema.is(TokenType)

/**
 * An asymmetric signature algorithm (RFC 7518 section 3.1, RFC 9864). `EdDSA` is the older name of `Ed25519`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SigningAlgorithm = Schema.Literal(
  "ES256",
  "ES384",
  "ES512",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "Ed25519",
  "EdDSA"
)

/**
 * @since 0.1.0
 * @category models
 */
export type SigningAlgorithm = typeof SigningAlgorithm.Type

/**
 * Where a token is cached: 1 to 4,096 characters that tell apart everything that makes another token. The built-in
 * `TokenCacheKey` is not bound by this length, since it is hashed before it leaves the process.
 *
 * @since 0.1.0
 * @category schemas
 */
export const CacheKey = text(4096).pipe(Schema.brand("CacheKey")).annotations({
  identifier: "CacheKey",
  ...says("a cache key of 1 to 4,096 characters")
})

/**
 * @since 0.1.0
 * @category models
 */
export type CacheKey = typeof CacheKey.Type

/**
 * A token type in its usual spelling: servers answer `bearer`, `BEARER` and `dpop` as well.
 *
 * @since 0.1.0
 * @category conversions
 */
export const normalizeTokenType = (type: string): string => {
  switch (type.toLowerCase()) {
    case "bearer":
      return "Bearer"
    case "dpop":
      return "DPoP"
    case "n_a":
      return "N_A"
    default:
      return type
  }
}

/**
 * A scope in the form in which two scopes compare: order and duplicates do not matter (RFC 6749 section 3.3).
 *
 * @since 0.1.0
 * @category conversions
 */
export const normalizeScope = (scope: string): string =>
  scope.includes(" ") ? [...new Set(scope.split(" "))].sort().join(" ") : scope
