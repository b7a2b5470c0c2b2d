/**
 * Fields that a server wrote, as an error may show them: in the form that each has. Anything else may be a token that stands
 * in the wrong place.
 */

/** @internal SHA-256, base64url (RFC 9449 section 6.1, RFC 8705 section 3.1). */
export const thumbprint = (value: string | undefined): string | undefined =>
  value !== undefined && /^[A-Za-z0-9_-]{43}$/.test(value) ? value : undefined

/** In the spelling of `OAuthValues.normalizeTokenType`. */
const tokenTypes: ReadonlySet<string> = new Set(["Bearer", "DPoP", "N_A"])

/** @internal Whether this is the name of a type, in the usual spelling. */
export const isTokenType = (value: string): boolean => tokenTypes.has(value)

/** @internal */
export const tokenType = (value: string): string => isTokenType(value) ? value : `unknown (${value.length} characters)`

/** @internal An absolute URI (RFC 8693 section 3). */
export const uri = (value: unknown): string | undefined =>
  typeof value === "string" && /^[\x21-\x7e]{1,255}$/.test(value) && URL.canParse(value) ? value : undefined
