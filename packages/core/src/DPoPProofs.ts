/**
 * Proofs of possession (RFC 9449): the signed statement, for one request, that whoever sends it holds the private key.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { AccessToken } from "./AccessToken.ts"
import { DPoPNonceStore } from "./DPoPNonceStore.ts"
import { currentTimeMillis } from "./internal/clock.ts"
import { htuOf } from "./internal/dpop/htu.ts"
import * as Possession from "./internal/dpop/possession.ts"
import * as Proving from "./internal/dpop/proving.ts"
import * as ServerClocks from "./internal/dpop/serverClocks.ts"
import { thumbprint } from "./internal/wire/fields.ts"
import { KeyBindingMismatch, SigningError } from "./OAuthError.ts"
import { type Sign, Signer } from "./Signer.ts"
import type { SigningKey } from "./SigningKey.ts"

/**
 * What a proof is for.
 *
 * @since 0.1.0
 * @category models
 */
export interface ProofOptions {
  readonly key: SigningKey
  readonly method: string
  /** Absolute; query and fragment are left out of the proof. */
  readonly url: string
  /** The token that is sent along; its hash becomes `ath`. */
  readonly accessToken?: Redacted.Redacted<string> | undefined
  readonly nonce?: string | undefined
  /** In seconds since 1970. Default: now. */
  readonly issuedAt?: number | undefined
  /** More claims; those of the protocol cannot be replaced. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class DPoPProofs extends Context.Tag("@effect-oauth/core/DPoPProofs")<DPoPProofs, {
  /** The value of one request's `DPoP` header (RFC 9449 section 4.2). Never send it twice. */
  readonly proof: (options: ProofOptions) => Effect.Effect<Redacted.Redacted<string>, SigningError>
  /**
   * The token, ready to be sent by `AccessTokenHttpClient`, which proves possession of this key with it. The tokens of a
   * manager are bound already; this is for one that was kept elsewhere, of which only its thumbprint names the key.
   */
  readonly bind: (token: AccessToken, key: SigningKey) => Effect.Effect<AccessToken, KeyBindingMismatch>
}>() {}

const claimsText = (
  options: ProofOptions,
  htu: string,
  own: { readonly jti: string; readonly iat: number; readonly ath: string | undefined }
): Either.Either<string, string> => {
  try {
    // Ours come last, so that no other claim replaces them; `undefined` is left out by JSON.
    return Either.right(
      JSON.stringify({ ...options.claims, htm: options.method, htu, nonce: options.nonce, ...own })
    )
  } catch {
    return Either.left("the further claims cannot be written as JSON")
  }
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<DPoPProofs["Type"], never, Signer | DPoPNonceStore> = Effect.gen(function*() {
  const signer = yield* Signer
  const nonces = yield* DPoPNonceStore
  // A key signs many proofs, a token is sent many times: what stays the same is made once.
  const signing = new WeakMap<SigningKey, Sign>()
  const hashes = new WeakMap<Redacted.Redacted<string>, string>()

  const signOf = (key: SigningKey): Sign => {
    const known = signing.get(key)
    if (known !== undefined) return known
    const sign = signer.signing(key, { typ: "dpop+jwt", jwk: key.publicJwk })
    signing.set(key, sign)
    return sign
  }

  const signed = (options: ProofOptions, ath: string | undefined) =>
    Effect.withFiberRuntime<Redacted.Redacted<string>, SigningError>((fiber) => {
      const failed = (problem: string) => Effect.fail(new SigningError({ algorithm: options.key.algorithm, problem }))
      const htu = htuOf(options.url)
      if (htu === undefined) return failed("a proof needs an absolute URL")
      const iat = options.issuedAt ?? Math.floor(currentTimeMillis(fiber) / 1000)
      const claims = claimsText(options, htu, { jti: signer.random(16), iat, ath })
      return Either.isRight(claims)
        ? Effect.map(signOf(options.key)(claims.right), Redacted.make)
        : failed(claims.left)
    })

  const hashed = (token: Redacted.Redacted<string>): Effect.Effect<string> =>
    Effect.map(signer.sha256(Redacted.value(token)), (hash) => {
      hashes.set(token, hash)
      return hash
    })

  const proof: DPoPProofs["Type"]["proof"] = (options) =>
    Effect.suspend(() => {
      const { accessToken } = options
      if (accessToken === undefined) return signed(options, undefined)
      const hash = hashes.get(accessToken)
      return hash === undefined
        ? Effect.flatMap(hashed(accessToken), (ath) => signed(options, ath))
        : signed(options, hash)
    })

  const proving = Proving.make({ proof, nonces, role: "resourceServer", clocks: ServerClocks.make() })

  return {
    proof,
    bind: (token, key) =>
      Effect.suspend(() => {
        const { clientName, keyThumbprint } = token
        if (keyThumbprint === key.thumbprint) return Effect.succeed(Possession.bind(token, { key, proving }))
        const found = thumbprint(keyThumbprint)
        return Effect.fail(new KeyBindingMismatch({ clientName, binding: "key", expected: key.thumbprint, found }))
      })
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<DPoPProofs, never, Signer | DPoPNonceStore> = Layer.effect(DPoPProofs, make)
