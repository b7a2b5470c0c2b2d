import { assert } from "@effect/vitest"
import { Effect } from "effect"
import * as jose from "jose"
import type { Seen } from "./StubServer.ts"

/** The proof of a request, its signature verified by the key in its header. */
export interface Proof {
  readonly header: jose.ProtectedHeaderParameters
  readonly claims: jose.JWTPayload
}

export const verified = (proof: string | undefined): Effect.Effect<Proof> =>
  Effect.promise(async () => {
    assert.isDefined(proof, "a request without a proof")
    const { payload, protectedHeader } = await jose.compactVerify(proof!, jose.EmbeddedJWK)
    return { header: protectedHeader, claims: JSON.parse(new TextDecoder().decode(payload)) }
  })

export const proofs = (seen: ReadonlyArray<Seen>): Effect.Effect<ReadonlyArray<Proof>> =>
  Effect.forEach(seen, ({ headers }) => verified(headers.dpop))

/** What a server reads without verifying. */
export const claimsOf = (jwt: string | undefined): jose.JWTPayload => jose.decodeJwt(jwt ?? "")

export const allDifferent = (values: ReadonlyArray<unknown>): void => {
  assert.strictEqual(new Set(values).size, values.length, `not all different: ${values.join(", ")}`)
}
