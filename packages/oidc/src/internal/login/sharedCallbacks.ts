/**
 * Whether answers of different servers arrive at one callback and cannot be told apart there (RFC 9207, RFC 9700 section
 * 4.4.2): a mixed-up answer would carry one server's code to the other one.
 */
import type { AuthorizationServer, Metadata } from "@effect-oauth/core/AuthorizationServer"
import { DiscoveryError, TokenClientInvalid } from "@effect-oauth/core/OAuthError"
import * as Effect from "effect/Effect"
import type { OidcClient } from "../../OidcClient.ts"
import type { OidcClients } from "../../OidcClients.ts"
import { plainPath } from "../browser/callbackPath.ts"

/** @internal Whether every answer to a login with this client says which server it is of. */
export const namesIssuer = ({ responseMode }: OidcClient, metadata: Metadata): boolean =>
  metadata.issuerInAuthorizationResponse || responseMode.endsWith(".jwt")

const remedy = "give each of them a callbackPath of its own"

/** @internal For a login whose answer may come without `iss`. */
export const refuse = (
  client: OidcClient,
  { clients, server }: { readonly clients: OidcClients["Type"]; readonly server: AuthorizationServer["Type"] }
): Effect.Effect<void, TokenClientInvalid | DiscoveryError> => {
  const path = plainPath(client.callbackPath)

  const unclear = (other: OidcClient) => (error: DiscoveryError) =>
    new DiscoveryError({
      ...error,
      problem:
        `${error.problem}. It is needed for logins with client "${client.name}", which has the same callbackPath ` +
        `"${client.callbackPath}" as client "${other.name}": ${remedy}`
    })

  const shared = (other: OidcClient) =>
    new TokenClientInvalid({
      problems: [{
        client: client.name,
        field: "callbackPath",
        problem:
          `"${client.callbackPath}" is also that of client "${other.name}", and neither of the two servers sends iss ` +
          `with its answers (RFC 9207), so they cannot be told apart: ${remedy}`
      }]
    })

  // Signed answers to the other client do not help: an attacker can request a plain answer from its server.
  const refuseWith = (other: OidcClient) =>
    Effect.flatMap(
      Effect.mapError(server.metadata(other.login), unclear(other)),
      ({ issuerInAuthorizationResponse }) => issuerInAuthorizationResponse ? Effect.void : shared(other)
    )

  return Effect.flatMap(clients.all, (all) =>
    Effect.forEach(
      all.filter(({ callbackPath, issuer }) => issuer !== client.issuer && plainPath(callbackPath) === path),
      refuseWith,
      { concurrency: 8, discard: true }
    ))
}
