/**
 * Nonces that need no memory: each is the HMAC of a span of time, so that all who have the secret agree on it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { base64url } from "jose"

/** @internal */
export interface Nonces {
  readonly current: Effect.Effect<string>
  /** The current one; the one before, which clients still hold; the one after, which a host whose clock is ahead gave out. */
  readonly accepted: Effect.Effect<ReadonlyArray<string>>
}

interface Remembered {
  readonly step: number
  readonly nonces: readonly [current: string, previous: string, next: string]
}

const encoder = new TextEncoder()
const hmac = { name: "HMAC", hash: "SHA-256" }

/** @internal `rotateAfter` in milliseconds. */
export const make = (secret: Redacted.Redacted<string>, rotateAfter: number): Effect.Effect<Nonces> =>
  Effect.map(
    Effect.promise(() => crypto.subtle.importKey("raw", encoder.encode(Redacted.value(secret)), hmac, false, ["sign"])),
    (key) => {
      let remembered: Remembered | undefined

      const nonceOf = async (step: number): Promise<string> =>
        base64url.encode(new Uint8Array(await crypto.subtle.sign(hmac, key, encoder.encode(`DPoP-Nonce ${step}`))))

      const compute = async (step: number): Promise<Remembered["nonces"]> => {
        const nonces = await Promise.all([nonceOf(step), nonceOf(step - 1), nonceOf(step + 1)])
        remembered = { step, nonces }
        return nonces
      }

      const accepted = Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const step = Math.floor(now / rotateAfter)
        return remembered?.step === step ? Effect.succeed(remembered.nonces) : Effect.promise(() => compute(step))
      })

      return { accepted, current: Effect.map(accepted, ([current]) => current) }
    }
  )
