/**
 * Proofs that have been accepted, so that none is accepted twice (RFC 9449 section 11.1).
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Log } from "../../OAuthLogging.ts"
import type { Signer } from "../../Signer.ts"
import * as SteadyClock from "../../SteadyClock.ts"
import type { TokenStore } from "../../TokenStore.ts"
import * as StoreGuard from "../store/storeGuard.ts"

/** @internal `full`: nobody can say whether the proof is new, since there is no room to remember it. */
export type Outcome = "new" | "known" | "full"

/** @internal Where proofs are remembered. Of any number of calls for one proof, at the same time too, one is told `new`. */
export interface ProofMemory {
  /** `lifetime`: how long the proof may be acceptable from now on, in milliseconds. */
  readonly remember: (thumbprint: string, jti: string, lifetime: number) => Effect.Effect<Outcome>
}

interface Entry {
  readonly thumbprint: string
  readonly name: string
}

const secondOf = (millis: number): number => Math.floor(millis / 1000)

/**
 * @internal In this process, by monotonic time: a wall clock that is set forwards and back again does not make it forget. It
 * forgets only what has ended, so that a flood cannot make it accept a proof again. What a flood
 * could do instead, filling it, one client cannot do to the others: the last quarter is for those who hold less than a
 * hundredth.
 */
export const make = (capacity: number): ProofMemory => {
  const names = new Set<string>()
  const held = new Map<string, number>()
  const endingIn = new Map<number, Array<Entry>>()
  let swept = Number.NEGATIVE_INFINITY

  const forget = ({ name, thumbprint }: Entry): void => {
    names.delete(name)
    const left = held.get(thumbprint)! - 1
    if (left === 0) held.delete(thumbprint)
    else held.set(thumbprint, left)
  }

  /** Once a second is enough: entries that end in the same second go together, after it. */
  const sweep = (second: number): void => {
    if (second === swept) return
    swept = second
    for (const [end, entries] of endingIn) {
      if (end >= second) continue
      entries.forEach(forget)
      endingIn.delete(end)
    }
  }

  const hasRoomFor = (thumbprint: string): boolean =>
    names.size < capacity * 0.75 || (names.size < capacity && (held.get(thumbprint) ?? 0) < capacity * 0.01)

  const add = (entry: Entry, second: number): void => {
    names.add(entry.name)
    held.set(entry.thumbprint, (held.get(entry.thumbprint) ?? 0) + 1)
    const others = endingIn.get(second)
    if (others === undefined) endingIn.set(second, [entry])
    else others.push(entry)
  }

  return {
    remember: (thumbprint, jti, lifetime) =>
      Effect.map(Effect.clock, (clock): Outcome => {
        const now = SteadyClock.unsafeMonotonicMillis(clock)
        sweep(secondOf(now))
        const name = `${thumbprint}.${jti}`
        if (names.has(name)) return "known"
        if (!hasRoomFor(thumbprint)) return "full"
        add({ thumbprint, name }, secondOf(now + lifetime))
        return "new"
      })
  }
}

/**
 * @internal Together with other processes: what is new here is new only if it is new in the store. A store that fails leaves
 * each process with what it knows itself.
 */
export const shared = (own: ProofMemory, store: TokenStore["Type"], log: Log, signer: Signer["Type"]): ProofMemory => {
  const { quick } = StoreGuard.make(log, Duration.millis(500), {
    down: "processes do not tell each other of the proofs that they have accepted until it is back",
    up: "they do again"
  })
  return {
    remember: (thumbprint, jti, lifetime) =>
      Effect.flatMap(own.remember(thumbprint, jti, lifetime), (outcome) => {
        if (outcome !== "new") return Effect.succeed(outcome)
        return Effect.flatMap(
          signer.sha256(`${thumbprint}.${jti}`),
          (name) => {
            const timeToLive = Duration.millis(Math.max(1, lifetime))
            const first = Effect.asSome(store.set(`proof:${name}`, "1", { timeToLive, ifVersion: null }))
            return Effect.map(
              quick("write", "set", name, first, Option.none()),
              (answer): Outcome => Option.isSome(answer) && Option.isNone(answer.value) ? "known" : "new"
            )
          }
        )
      })
  }
}
