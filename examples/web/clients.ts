/**
 * Who the app is at a provider. A real app has half of these fields; here the flags of the command line choose.
 */
import type { SigningKey } from "@effect-oauth/core"
import { type OidcClient } from "@effect-oauth/oidc"
import type { Redacted } from "effect"
import type { Flags } from "./flags.ts"

export interface Credentials {
  readonly secret: Redacted.Redacted<string>
  readonly key: SigningKey.SigningKey
}

export const scopes = "openid profile offline_access invoices reports"

export const registration = (options: {
  readonly issuer: string
  readonly credentials: Credentials
  readonly resources: ReadonlyArray<string>
  readonly isDefault: boolean
  readonly callbackPath: string
  readonly flags: Flags
}): OidcClient.OidcClientOptions => {
  const { callbackPath, credentials, flags, isDefault, issuer, resources } = options
  const shared = {
    issuer,
    clientId: "web",
    default: isDefault,
    callbackPath,
    postLogoutPath: "/signed-out",
    scope: scopes,
    // one sign-in, a token for each API
    resource: resources,
    // this provider gives a refresh token only to whom the user has consented
    prompt: "consent",
    // name and roles are not in the ID token
    userInfo: true,
    dpop: flags.dpop,
    pushedAuthorization: flags.par ? "always" : "never",
    signedRequest: flags.jar ? credentials.key : false,
    clientCredentialsScope: "invoices"
  } as const
  return flags.assertions
    ? { ...shared, privateKey: credentials.key }
    : { ...shared, clientSecret: credentials.secret }
}
