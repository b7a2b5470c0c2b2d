/**
 * What an exchange can give that is no access token (RFC 8693 section 2.2.1).
 */
import { TokenTypeMismatch } from "../../OAuthError.ts"
import type { TokenClient } from "../../TokenClient.ts"
import { shown } from "../url.ts"

/** @internal Its type. */
export const notApplicable = "N_A"

/** @internal Where an access token is wanted. */
export const refused = (client: TokenClient): TokenTypeMismatch =>
  new TokenTypeMismatch({
    clientName: client.name,
    endpoint: client.tokenEndpoint === undefined ? client.issuer ?? "" : shown(client.tokenEndpoint),
    status: 200,
    expected: client.dpop === undefined ? "Bearer" : "DPoP",
    found: notApplicable
  })
