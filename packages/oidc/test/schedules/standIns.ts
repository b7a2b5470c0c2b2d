/**
 * Cryptography of the simulated processes: the same results in every run, and no task that the harness does not schedule.
 * The real services are tested elsewhere.
 */
import { JwtVerifier, OAuthError, Signer, TokenEncryption } from "@effect-oauth/core"
import { IdToken, OidcError } from "@effect-oauth/oidc"
import { Effect, Layer, Option, Redacted } from "effect"
import { createHash } from "node:crypto"
import { issuer } from "./scriptedServer.ts"
import * as Tokens from "./tokens.ts"
import type { ProcessClock } from "./virtualClock.ts"

const sha256 = (text: string): string => createHash("sha256").update(text).digest("base64url")

export const signer = (seed: string): Signer.Signer["Type"] => {
  let count = 0
  return {
    signing: () => () => Effect.succeed("header.claims.signature"),
    sealing: () => ({
      seal: (header, text) => Effect.succeed(Tokens.seal(JSON.stringify(header), text)),
      open: (sealed) => Effect.succeed(Option.some(Tokens.textIn(sealed)))
    }),
    sha256: (text) => Effect.sync(() => sha256(text)),
    random: (bytes) => {
      let text = ""
      while (text.length < Math.ceil(bytes * 4 / 3)) text += sha256(`${seed}:${count++}`)
      return text.slice(0, Math.ceil(bytes * 4 / 3))
    }
  }
}

export const encryption: TokenEncryption.TokenEncryption["Type"] = {
  seal: (key, text) => Effect.sync(() => Tokens.seal(key, text)),
  open: (key, sealed) => Effect.sync(() => Option.fromNullable(Tokens.open(key, sealed)))
}

/** Believes what ID tokens say, except for those that say that they cannot be verified. */
export const idTokens: IdToken.IdTokenVerifier["Type"] = {
  verify: ({ name: clientName }, idToken, { previous }) =>
    Effect.suspend(() => {
      const claims = Tokens.claimsOf(Redacted.value(idToken)) ?? {}
      const sub = String(claims.sub)
      const invalid = (reason: "key" | "sub", problem: string) =>
        Effect.fail(new OidcError.IdTokenInvalid({ clientName, reason, problem }))
      if (claims.isVerifiable !== true) return invalid("key", "the server has no such key")
      if (previous !== undefined && previous.sub !== sub) return invalid("sub", "it is of another user")
      return Effect.succeed({ issuer, sub, claims })
    })
}

/** Believes what logout tokens say. */
export const jwts = (clock: ProcessClock): JwtVerifier.JwtVerifier["Type"] => ({
  verify: ({ clientId, name: clientName }, jwt) =>
    Effect.suspend(() => {
      const claims = Tokens.claimsOf(Redacted.value(jwt))
      if (claims === undefined) {
        return new OAuthError.JwtInvalid({ clientName, reason: "form", problem: "it is no JWT" })
      }
      const now = Math.floor(clock.unsafeCurrentTimeMillis() / 1000)
      const payload = { ...claims, iss: issuer, aud: clientId, iat: now, exp: now + 60 }
      return Effect.succeed({ header: { alg: "ES256" }, payload })
    })
})

/** A logout token: of one user, with this identifier. */
export const logoutToken = (clientId: string, user: string, jti: string): Redacted.Redacted<string> => {
  const claims = {
    iss: issuer,
    aud: clientId,
    sub: user,
    jti,
    events: { "http://schemas.openid.net/event/backchannel-logout": {} }
  }
  return Redacted.make(`header.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.signature`)
}

export const layer = (seed: string, clock: ProcessClock) =>
  Layer.mergeAll(
    Layer.succeed(Signer.Signer, signer(seed)),
    Layer.succeed(TokenEncryption.TokenEncryption, encryption),
    Layer.succeed(IdToken.IdTokenVerifier, idTokens),
    Layer.succeed(JwtVerifier.JwtVerifier, jwts(clock))
  )
