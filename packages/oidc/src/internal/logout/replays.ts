/**
 * What was taken once and is not taken again: in all processes where they share a store, else in this one.
 */
import type { Signer } from "@effect-oauth/core/Signer"
import type { TokenStore } from "@effect-oauth/core/TokenStore"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { SessionStoreError } from "../../OidcError.ts"

/** @internal */
export interface Replays {
  readonly isFirst: (name: string, lifetime: Duration.Duration) => Effect.Effect<boolean, SessionStoreError>
}

const capacity = 10_000

/** @internal */
export const make = (signer: Signer["Type"], store: Option.Option<TokenStore["Type"]>): Replays => {
  const taken = new Map<string, number>()

  const here = (hash: string, lifetime: Duration.Duration) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      for (const [other, until] of taken) if (until <= now) taken.delete(other)
      if (taken.has(hash)) return false
      const [oldest] = taken.keys()
      if (taken.size >= capacity && oldest !== undefined) taken.delete(oldest)
      taken.set(hash, now + Duration.toMillis(lifetime))
      return true
    })

  return {
    isFirst: (name, lifetime) =>
      Effect.flatMap(signer.sha256(name), (hash) =>
        Option.match(store, {
          onNone: () => here(hash, lifetime),
          onSome: (store) =>
            store.set(`logout:${hash}`, "1", { ifVersion: null, timeToLive: lifetime }).pipe(
              Effect.map(Option.isSome),
              Effect.mapError(({ problem, store }) =>
                new SessionStoreError({ operation: "remember logout", problem: `${store}: ${problem}` })
              )
            )
        }))
  }
}
