/**
 * The public keys that proofs bring along. A client uses one key for many requests, so those that have verified a signature
 * are kept, with their thumbprint.
 */
import * as Effect from "effect/Effect"
import * as jose from "jose"
import type { Signer } from "../../Signer.ts"
import * as BoundedMap from "../cache/boundedMap.ts"
import * as PublicJwk from "../publicJwk.ts"
import type { Proof, Refused } from "./dpopProof.ts"

/** @internal */
export interface VerificationKeys {
  readonly thumbprintOf: (proof: Proof) => Effect.Effect<string>
  readonly verify: (proof: Proof, thumbprint: string) => Effect.Effect<void, Refused>
}

interface Entry extends BoundedMap.Entry {
  readonly thumbprint: string
  readonly publicKey: jose.CryptoKey
}

const never = () => false

const importKey = ({ algorithm, key }: Proof): Effect.Effect<jose.CryptoKey, Refused> =>
  Effect.mapError(
    PublicJwk.importKey(key, algorithm),
    (problem): Refused => ({ reason: "key", problem: `its jwk ${problem}` })
  )

const verifyWith = (publicKey: jose.CryptoKey, { algorithm, jws }: Proof): Effect.Effect<unknown, Refused> =>
  Effect.tryPromise({
    try: () => jose.compactVerify(jws, publicKey, { algorithms: [algorithm] }),
    catch: (): Refused => ({ reason: "signature", problem: "its signature is not of its key" })
  })

/** @internal */
export const make = (signer: Signer["Type"], capacity: number): VerificationKeys => {
  const entries = BoundedMap.make<Entry>(capacity)
  const nameOf = ({ algorithm, key }: Proof) => `${algorithm} ${key.canonical}`

  const find = (proof: Proof): Entry | undefined => {
    const entry = entries.get(nameOf(proof))
    if (entry !== undefined) entry.used = true
    return entry
  }

  /** Only now: a key that anybody can write into a header does not push out one that works. */
  const keep = (proof: Proof, thumbprint: string, publicKey: jose.CryptoKey): void => {
    const key = nameOf(proof)
    if (entries.get(key) !== undefined) return
    entries.add({ key, thumbprint, publicKey, used: false, evicted: false, pinned: never })
  }

  return {
    thumbprintOf: (proof) => {
      const known = find(proof)
      return known === undefined ? signer.sha256(proof.key.canonical) : Effect.succeed(known.thumbprint)
    },
    verify: (proof, thumbprint) => {
      const known = find(proof)
      return known !== undefined
        ? Effect.asVoid(verifyWith(known.publicKey, proof))
        : Effect.flatMap(
          importKey(proof),
          (publicKey) => Effect.map(verifyWith(publicKey, proof), () => keep(proof, thumbprint, publicKey))
        )
    }
  }
}
