/**
 * Proofs of possession, as far as they can be judged without any cryptography (RFC 9449 section 4.3). Problems are sentences
 * that quote nothing a client sent.
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Jwt from "../../Jwt.ts"
import type { SigningAlgorithm } from "../../OAuthValues.ts"
import * as PublicJwk from "../publicJwk.ts"
import { normalize } from "./targetUri.ts"

/** @internal */
export const reasons = [
  "scheme",
  "missing",
  "malformed",
  "algorithm",
  "key",
  "signature",
  "method",
  "url",
  "time",
  "nonce",
  "token",
  "binding",
  "replayed",
  "overloaded"
] as const

/** @internal */
export interface Refused {
  readonly reason: typeof reasons[number]
  readonly problem: string
}

/** @internal */
export const refused = (reason: Refused["reason"], problem: string): Either.Either<never, Refused> =>
  Either.left({ reason, problem })

/** @internal */
export interface Proof {
  readonly jws: string
  readonly algorithm: SigningAlgorithm
  readonly key: PublicJwk.PublicJwk
  readonly jti: string
  readonly htm: string
  readonly htu: string
  /** In seconds since 1970, perhaps with a fraction. */
  readonly iat: number
  readonly claims: Readonly<Record<string, unknown>>
}

const maxLength = 8192
const maxJtiLength = 256

type Claims = Pick<Proof, "jti" | "htm" | "htu" | "iat" | "claims">

const claimsOf = (claims: Readonly<Record<string, unknown>>): Either.Either<Claims, Refused> => {
  const { htm, htu, iat, jti } = claims
  if (typeof jti !== "string" || jti === "" || jti.length > maxJtiLength) {
    return refused("malformed", `its jti is not a string of 1 to ${maxJtiLength} characters`)
  }
  if (typeof htm !== "string") return refused("malformed", "its htm is not a string")
  if (typeof htu !== "string") return refused("malformed", "its htu is not a string")
  if (typeof iat !== "number") return refused("malformed", "its iat is not a number")
  return Either.right({ jti, htm, htu, iat, claims })
}

const joseHeader = (
  header: Readonly<Record<string, unknown>>,
  algorithms: ReadonlyArray<SigningAlgorithm>
): Either.Either<Pick<Proof, "algorithm" | "key">, Refused> => {
  if (header.typ !== "dpop+jwt") return refused("malformed", "its typ is not dpop+jwt")
  if (header.crit !== undefined) return refused("malformed", "its header has a crit, and no extension is known")
  const algorithm = algorithms.find((name) => name === header.alg)
  if (algorithm === undefined) return refused("algorithm", `its alg is none of ${algorithms.join(", ")}`)
  return Either.mapBoth(PublicJwk.parse(header.jwk, algorithm), {
    onLeft: (problem): Refused => ({ reason: "key", problem: `its jwk ${problem}` }),
    onRight: (key) => ({ algorithm, key })
  })
}

/** @internal What the `DPoP` header field says, which is joined by commas where it was sent more than once. */
export const parse = (
  field: string | undefined,
  algorithms: ReadonlyArray<SigningAlgorithm>
): Either.Either<Proof, Refused> => {
  if (field === undefined || field === "") return refused("missing", "there is no DPoP header")
  if (field.length > maxLength) return refused("malformed", `it is longer than ${maxLength} characters`)
  if (field.includes(",")) return refused("malformed", "there is more than one DPoP header")
  return Option.match(Jwt.parse(field), {
    onNone: () => refused("malformed", "it is not a signed JWT"),
    onSome: ({ header, payload }) =>
      Either.flatMap(
        joseHeader(header, algorithms),
        (head) => Either.map(claimsOf(payload), (body) => ({ jws: field, ...head, ...body }))
      )
  })
}

/** @internal */
export interface Expected {
  readonly method: string
  /** Normalised: the names that the request's target has. */
  readonly uris: ReadonlyArray<string>
  /** In milliseconds since 1970. */
  readonly now: number
  /** In milliseconds, to either side. */
  readonly window: number
  /** Absent where no nonce is demanded. */
  readonly nonces: ReadonlyArray<string> | undefined
}

/** A proof is made for the moment in which it is sent. */
const untimely = ({ claims }: Proof, { now, window }: Expected): Refused | undefined =>
  Option.getOrUndefined(Option.map(
    Jwt.timeProblem(claims, { now, clockTolerance: window, maxAge: 0, required: ["iat"] }),
    ({ claim, kind, problem }): Refused => {
      if (kind === "malformed" || kind === "missing") return { reason: "malformed", problem }
      const side = kind === "over" ? "old" : "ahead of this server's clock"
      return { reason: "time", problem: claim === "iat" ? `it is more than ${window / 1000} s ${side}` : problem }
    }
  ))

/** @internal Whether a proof was made for this request, at this time. */
export const judge = (proof: Proof, expected: Expected): Either.Either<void, Refused> => {
  if (proof.htm !== expected.method) return refused("method", "its htm is not the method of this request")
  const htu = normalize(proof.htu)
  if (htu === undefined || !expected.uris.includes(htu)) {
    return refused("url", "its htu is not the public URL of this request")
  }
  const { nonce } = proof.claims
  if (expected.nonces !== undefined && !expected.nonces.some((one) => one === nonce)) {
    const how = nonce === undefined
      ? "it has no nonce, which this server wants"
      : "its nonce is not of this server's last"
    return refused("nonce", how)
  }
  const problem = untimely(proof, expected)
  return problem === undefined ? Either.void : Either.left(problem)
}
