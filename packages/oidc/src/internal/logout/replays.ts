/**
 * What was taken once and is not taken again: in all processes where they share a store, else in this one.
 */
import type { Signer } from "@effect-oauth/core/Signer"
import * as SteadyClock from "@effect-oauth/core/SteadyClock"
import type { TokenStore } from "@effect-oauth/core/TokenStore"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SessionStoreError } from "../../OidcError.ts"
import * as GuardedStore from "../session/guardedStore.ts"

/** @internal */
export interface Replays {
  readonly wasUsed: (name: string) => Effect.Effect<boolean, SessionStoreError>
  readonly remember: (name: string, lifetime: Duration.Duration) => Effect.Effect<void, SessionStoreError>
}

const capacity = 10_000

/** A clock that is set forwards and back again does not make it forget. */
const inMemory = (): Replays => {
  const taken = new Map<string, number>()
  return {
    wasUsed: (hash) =>
      Effect.map(SteadyClock.monotonicMillis, (now) => (taken.get(hash) ?? Number.NEGATIVE_INFINITY) > now),
    remember: (hash, lifetime) =>
      Effect.map(SteadyClock.monotonicMillis, (now) => {
        for (const [other, until] of taken) if (until <= now) taken.delete(other)
        const [oldest] = taken.keys()
        if (taken.size >= capacity && oldest !== undefined) taken.delete(oldest)
        taken.set(hash, now + Duration.toMillis(lifetime))
      })
  }
}

const inStore = (tokenStore: TokenStore["Type"]): Replays => {
  const store = GuardedStore.make(tokenStore, "remember logout")
  return {
    wasUsed: (hash) => Effect.map(store.get(`logout:${hash}`), Option.isSome),
    remember: (hash, lifetime) => Effect.asVoid(store.set(`logout:${hash}`, "1", { timeToLive: lifetime }))
  }
}

/** @internal */
export const make = (signer: Signer["Type"], store: Option.Option<TokenStore["Type"]>): Replays => {
  const { remember, wasUsed } = Option.match(store, { onNone: inMemory, onSome: inStore })
  return {
    wasUsed: (name) => Effect.flatMap(signer.sha256(name), wasUsed),
    remember: (name, lifetime) => Effect.flatMap(signer.sha256(name), (hash) => remember(hash, lifetime))
  }
}
