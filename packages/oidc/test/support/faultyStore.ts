/** A `TokenStore` that one process sees through a broken line. */
import { OAuthError } from "@effect-oauth/core"
import type { TokenStore } from "@effect-oauth/core"
import { Effect } from "effect"

type Store = TokenStore.TokenStore["Type"]

/** One step of the store, as it is told of: `set rotation`, `get session`, `lock refresh`. */
export interface Step {
  readonly operation: "get" | "set" | "remove" | "removeByTag" | "lock"
  readonly key: string
  readonly number: number
}

/**
 * - `fail`: it is refused, and nothing was done.
 * - `lose`: it is done, and the answer does not come.
 * - `hang`: nothing is done, and no answer comes.
 */
export type Fault = "fail" | "lose" | "hang"

export const make = (store: Store) => {
  const steps: Array<Step> = []
  const line = {
    steps,
    /** What becomes of a step. */
    fault: (_: Step): Fault | undefined => undefined
  }
  const through = <A, E, R>(operation: Step["operation"], key: string, effect: Effect.Effect<A, E, R>) =>
    Effect.suspend((): Effect.Effect<A, E | OAuthError.TokenStoreError, R> => {
      const step: Step = { operation, key: key.split(":")[0] ?? "", number: steps.length }
      steps.push(step)
      switch (line.fault(step)) {
        case undefined:
          return effect
        case "fail":
          return Effect.fail(new OAuthError.TokenStoreError({ store: "test", operation, problem: "it is away" }))
        case "lose":
          return Effect.zipRight(effect, Effect.never)
        case "hang":
          return Effect.never
      }
    })
  const seen: Store = {
    get: (key) => through("get", key, store.get(key)),
    set: (key, value, options) => through("set", key, store.set(key, value, options)),
    remove: (key, options) => through("remove", key, store.remove(key, options)),
    removeByTag: (tag) => through("removeByTag", tag, store.removeByTag(tag)),
    withLock: (key, options, use) =>
      Effect.zipRight(through("lock", key, Effect.void), store.withLock(key, options, use)),
    events: store.events
  }
  return Object.assign(line, { store: seen })
}

export type Line = ReturnType<typeof make>
