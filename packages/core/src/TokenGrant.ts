/**
 * What is exchanged for a token at the token endpoint (RFC 6749 section 1.3).
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type { ParameterValue } from "./TokenRequestParameters.ts"

/**
 * - `ClientCredentials`: the client's own authority (RFC 6749 section 4.4).
 * - `Extension`: any grant that is named by an absolute URI (RFC 6749 section 4.5), with its own form fields.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenGrant = Data.TaggedEnum<{
  ClientCredentials: {}
  Extension: { readonly grantType: string; readonly parameters: Readonly<Record<string, ParameterValue>> }
}>

const { ClientCredentials, Extension } = Data.taggedEnum<TokenGrant>()

/**
 * @since 0.1.0
 * @category constructors
 */
export const clientCredentials: TokenGrant = ClientCredentials()

/**
 * @since 0.1.0
 * @category constructors
 */
export const extension = (
  grantType: string,
  parameters: Readonly<Record<string, ParameterValue>> = {}
): TokenGrant => Extension({ grantType, parameters })

/** @internal */
export const grantTypeOf = (grant: TokenGrant): string =>
  grant._tag === "ClientCredentials" ? "client_credentials" : grant.grantType

/** @internal */
export const fieldsOf = (grant: TokenGrant): Readonly<Record<string, ParameterValue>> =>
  grant._tag === "ClientCredentials" ? {} : grant.parameters
