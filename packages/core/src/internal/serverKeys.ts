/**
 * Signatures by the keys that a server publishes. A key is made ready when it is first used, and stays so for as long as the
 * object in which it was published does.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as jose from "jose"
import type { SigningAlgorithm } from "../OAuthValues.ts"
import * as PublicJwk from "./publicJwk.ts"

type Jwk = Readonly<Record<string, unknown>>

/** @internal */
export interface Refused {
  readonly reason: "key" | "signature"
  readonly problem: string
}

/** @internal What a JWT says of its signature. */
export interface Signed {
  readonly algorithm: SigningAlgorithm
  readonly kid: string | undefined
}

/** @internal */
export interface ServerKeys {
  readonly verify: (jws: string, keys: ReadonlyArray<Jwk>, signed: Signed) => Effect.Effect<void, Refused>
}

const refused = (reason: Refused["reason"], problem: string): Refused => ({ reason, problem })

/** How many keys are tried for a JWT that names none: a signature by each costs as much. */
const mostTried = 10

/** `EdDSA` is the older name of `Ed25519`. */
const nameOf = (algorithm: unknown): unknown => algorithm === "EdDSA" ? "Ed25519" : algorithm

/** Whether a key is for this, as far as it says so (RFC 7517 sections 4.2 to 4.4). */
const isFor = ({ alg, key_ops, use }: Jwk, algorithm: SigningAlgorithm): boolean =>
  (use === undefined || use === "sig") &&
  (alg === undefined || nameOf(alg) === nameOf(algorithm)) &&
  (!Array.isArray(key_ops) || key_ops.includes("verify"))

interface Candidate {
  readonly jwk: Jwk
  readonly key: PublicJwk.PublicJwk
}

/** The keys that a JWT may be signed with; the left side says why there is none. */
const candidates = (
  keys: ReadonlyArray<Jwk>,
  { algorithm, kid }: Signed
): Either.Either<ReadonlyArray<Candidate>, string> => {
  const named = kid === undefined ? keys : keys.filter((key) => key.kid === kid)
  if (named.length === 0) {
    return Either.left(kid === undefined ? "the server has no keys" : "the server has no such key")
  }
  const meant = named.filter((key) => isFor(key, algorithm))
  if (meant.length === 0) return Either.left("no key of the server is for signatures of its alg")
  const parsed = meant.map((jwk) => Either.map(PublicJwk.parse(jwk, algorithm), (key) => ({ jwk, key })))
  const usable = parsed.filter(Either.isRight).map(({ right }) => right)
  const [first] = parsed.filter(Either.isLeft)
  return usable.length === 0 && first !== undefined
    ? Either.left(`the server's key for it ${first.left}`)
    : Either.right(usable)
}

/** @internal */
export const make = (): ServerKeys => {
  const imported = new WeakMap<Jwk, Map<SigningAlgorithm, jose.CryptoKey>>()

  const keyOf = ({ jwk, key }: Candidate, algorithm: SigningAlgorithm): Effect.Effect<jose.CryptoKey, Refused> =>
    Effect.suspend(() => {
      const ready = imported.get(jwk) ?? new Map<SigningAlgorithm, jose.CryptoKey>()
      imported.set(jwk, ready)
      const known = ready.get(algorithm)
      if (known !== undefined) return Effect.succeed(known)
      return PublicJwk.importKey(key, algorithm).pipe(
        Effect.tap((publicKey) => Effect.sync(() => ready.set(algorithm, publicKey))),
        Effect.mapError((problem) => refused("key", `the server's key for it ${problem}`))
      )
    })

  const verifyWith = (jws: string, candidate: Candidate, algorithm: SigningAlgorithm): Effect.Effect<void, Refused> =>
    Effect.flatMap(keyOf(candidate, algorithm), (publicKey) =>
      Effect.tryPromise({
        try: () => jose.compactVerify(jws, publicKey, { algorithms: [algorithm] }),
        catch: () => refused("signature", "its signature is not of the server's key")
      }))

  return {
    verify: (jws, keys, signed) => {
      const found = candidates(keys, signed)
      if (Either.isLeft(found)) return Effect.fail(refused("key", found.left))
      const [first, ...others] = found.right.slice(0, mostTried).map((one) => verifyWith(jws, one, signed.algorithm))
      return first === undefined
        ? Effect.fail(refused("key", "the server has no keys"))
        : others.reduce((tried, next) => Effect.catchAll(tried, () => next), first)
    }
  }
}
