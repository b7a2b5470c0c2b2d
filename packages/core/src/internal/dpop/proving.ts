/**
 * The proofs of one call: each attempt signs its own, with the newest nonce and by the server's clock, and what the server
 * answers is heeded.
 */
import type * as Headers from "@effect/platform/Headers"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { DPoPNonceStore, Server } from "../../DPoPNonceStore.ts"
import type { ProofOptions } from "../../DPoPProofs.ts"
import { CredentialUnavailable, type SigningError } from "../../OAuthError.ts"
import * as OAuthMetrics from "../../OAuthMetrics.ts"
import { currentTimeMillis } from "../clock.ts"
import { foreign } from "../foreign.ts"
import { originOf } from "../middleware/destination.ts"
import type { ServerClocks } from "./serverClocks.ts"

/** @internal What one call has been told, and done about it: each remedy is tried once. */
export interface Healing {
  nonce: string | undefined
  nonceTaken: boolean
  clockCorrected: boolean
}

/** @internal */
export const healing = (): Healing => ({ nonce: undefined, nonceTaken: false, clockCorrected: false })

/** @internal */
export interface Subject extends Pick<ProofOptions, "key" | "method" | "url" | "accessToken" | "claims"> {
  readonly clientName: string
}

/** @internal */
export interface Heard {
  readonly url: string
  readonly headers: Headers.Headers
  /** The error code of a refusal. */
  readonly error: string | undefined
}

/** @internal */
export interface Proving {
  /** The value of the `DPoP` header. */
  readonly prove: (subject: Subject, healing: Healing) => Effect.Effect<string, CredentialUnavailable>
  /** Keeps the nonce of an answer; whether a refusal is worth another attempt with what it said. */
  readonly heed: (answer: Heard, healing: Healing) => Effect.Effect<boolean>
}

/** RFC 9449 section 8.1, in a bound of our own. */
const isNonce = (value: string | undefined): value is string =>
  value !== undefined && /^[\x21\x23-\x5b\x5d-\x7e]{1,4096}$/.test(value)

/** @internal */
export const make = (options: {
  readonly proof: (options: ProofOptions) => Effect.Effect<Redacted.Redacted<string>, SigningError>
  readonly nonces: DPoPNonceStore["Type"]
  readonly role: Server["role"]
  readonly clocks: ServerClocks
}): Proving => {
  const { clocks, nonces, proof, role } = options

  const sign = ({ clientName, ...subject }: Subject, nonce: string | undefined) =>
    Effect.withFiberRuntime<string, CredentialUnavailable>((fiber) => {
      const offset = clocks.offset(originOf(subject.url))
      const issuedAt = Math.floor((currentTimeMillis(fiber) + offset) / 1000)
      return Effect.mapBoth(proof({ ...subject, nonce, issuedAt }), {
        onSuccess: Redacted.value,
        onFailure: ({ message }) => new CredentialUnavailable({ clientName, credential: "key", problem: message })
      })
    })

  /** Which of the remedies that are left may help against a refusal. */
  const isWorthAnother = (answer: Heard, nonce: string | undefined, healing: Healing, now: number): boolean => {
    const { error, headers, url } = answer
    if (error !== "use_dpop_nonce" && error !== "invalid_dpop_proof") return false
    if (nonce !== undefined && !healing.nonceTaken) {
      OAuthMetrics.count(OAuthMetrics.nonceRetried)
      healing.nonceTaken = true
      return true
    }
    if (error !== "invalid_dpop_proof" || healing.clockCorrected) return false
    healing.clockCorrected = clocks.learn(originOf(url), headers.date, now)
    return healing.clockCorrected
  }

  return {
    prove: (subject, { nonce }) =>
      nonce === undefined
        ? Effect.flatMap(
          foreign(() => nonces.get({ role, origin: originOf(subject.url) }), () => Effect.succeedNone),
          (kept) => sign(subject, Option.getOrUndefined(kept))
        )
        : sign(subject, nonce),
    heed: (answer, healing) =>
      Effect.withFiberRuntime((fiber) => {
        const given = answer.headers["dpop-nonce"]
        const nonce = isNonce(given) ? given : undefined
        if (nonce !== undefined) healing.nonce = nonce
        const again = isWorthAnother(answer, nonce, healing, currentTimeMillis(fiber))
        return nonce === undefined
          ? Effect.succeed(again)
          : Effect.as(
            foreign(() => nonces.set({ role, origin: originOf(answer.url) }, nonce), () => Effect.void),
            again
          )
      })
  }
}
