/**
 * The DPoP keys of sessions. They are kept as text with the session's tokens; to be used they are imported, once for each
 * key as long as it is in use.
 */
import { CredentialUnavailable } from "@effect-oauth/core/OAuthError"
import * as SigningKey from "@effect-oauth/core/SigningKey"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { OidcClient } from "../../OidcClient.ts"
import type { UserTokens } from "../../UserTokens.ts"

/** @internal */
export interface SessionKeys {
  /** The key that tokens of this sign-in are bound to; `undefined` where they are bound to none. */
  readonly of: (
    client: OidcClient,
    tokens: UserTokens
  ) => Effect.Effect<SigningKey.SigningKey | undefined, CredentialUnavailable>
}

const unusable = (clientName: string) => ({ problem }: { readonly problem: string }) =>
  new CredentialUnavailable({ clientName, credential: "key", problem })

/** @internal A key for a new session, and as it is kept. */
export const generate = (
  clientName: string
): Effect.Effect<
  { readonly key: SigningKey.SigningKey; readonly text: Redacted.Redacted<string> },
  CredentialUnavailable
> =>
  Effect.gen(function*() {
    const key = yield* SigningKey.generate("ES256", { extractable: true })
    const jwk = yield* SigningKey.exportJwk(key)
    return { key, text: Redacted.make(JSON.stringify(Redacted.value(jwk))) }
  }).pipe(Effect.mapError(unusable(clientName)))

/** @internal */
export const make = (capacity: number): SessionKeys => {
  const imported = new Map<string, SigningKey.SigningKey>()

  const remember = (text: string, key: SigningKey.SigningKey): void => {
    const [oldest] = imported.keys()
    if (imported.size >= capacity && oldest !== undefined) imported.delete(oldest)
    imported.set(text, key)
  }

  return {
    of: (client, tokens) => {
      if (client.dpop !== "session") return Effect.succeed(client.dpop)
      if (tokens.key === undefined) return Effect.succeed(undefined)
      const text = Redacted.value(tokens.key)
      const known = imported.get(text)
      if (known !== undefined) return Effect.succeed(known)
      return SigningKey.make(tokens.key).pipe(
        Effect.tap((key) => Effect.sync(() => remember(text, key))),
        Effect.mapError(unusable(client.name))
      )
    }
  }
}
