/** Which refresh tokens an authorization server was shown, and what came of it. */
import { createHash } from "node:crypto"
import type Provider from "oidc-provider"
import type { KoaContextWithOIDC } from "oidc-provider"

export interface Refresh {
  /** SHA-256 of the refresh token that was shown, base64url: tells it from another, and is nothing to send. */
  readonly token: string
  readonly clientId: string | undefined
  /** Where the server got so far as to know. */
  readonly user: string | undefined
  /** "ok", and then the token is used up; or the code of the error. */
  readonly outcome: string
  /** It had been used up before, so the server has revoked the grant. */
  readonly reused: boolean
}

export const hashOf = (refreshToken: string): string => createHash("sha256").update(refreshToken).digest("base64url")

const refreshOf = (ctx: KoaContextWithOIDC, error: { readonly error: string; readonly error_detail?: unknown }) => {
  const { account, body, client } = ctx.oidc
  if (body?.grant_type !== "refresh_token" || typeof body.refresh_token !== "string") return undefined
  return {
    token: hashOf(body.refresh_token),
    clientId: client?.clientId,
    user: account?.accountId,
    outcome: error.error,
    reused: error.error_detail === "refresh token already used"
  }
}

/** Written before the answer is. */
export const record = (into: Array<Refresh>, provider: Provider): void => {
  const add = (refresh: Refresh | undefined) => {
    if (refresh !== undefined) into.push(refresh)
  }
  provider.on("grant.success", (ctx) => add(refreshOf(ctx, { error: "ok" })))
  provider.on("grant.error", (ctx, error) => add(refreshOf(ctx, error)))
  provider.on("server_error", (ctx) => add(refreshOf(ctx, { error: "server_error" })))
}
