/**
 * What a server has said of tokens, for a short time: one question at a time for each token, and answers that are never used
 * beyond their time.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as SingleFlight from "../../SingleFlight.ts"
import * as SteadyClock from "../../SteadyClock.ts"
import * as BoundedMap from "../cache/boundedMap.ts"

interface Entry<A> extends BoundedMap.Entry {
  kept: { readonly value: A; readonly until: number } | undefined
}

interface Asked {
  readonly wall: number
  readonly steady: number
}

const now: Effect.Effect<Asked> = Effect.clockWith((clock) =>
  Effect.succeed({
    wall: clock.unsafeCurrentTimeMillis(),
    steady: SteadyClock.unsafeCurrentTimeMillis(clock)
  })
)

/** @internal */
export interface Introspections<A, E> {
  readonly get: (key: string, ask: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

/** @internal */
export const make = <A, E>(options: {
  readonly capacity: number
  /** How long an answer to a question of that time (in milliseconds since 1970) may be used, in milliseconds. */
  readonly lifetime: (value: A, asked: number) => number
  /** Answers that anybody can provoke are kept apart, so that they do not push out the others. */
  readonly isProvoked: (value: A) => boolean
  /** The error of a question that was cut short. */
  readonly interrupted: () => E
  /** How long a question takes at most. */
  readonly limit: Duration.DurationInput
}): Effect.Effect<Introspections<A, E>, never, Scope.Scope> =>
  Effect.map(SingleFlight.make(), (flights) => {
    const provoked = BoundedMap.make<Entry<A>>(Math.ceil(options.capacity / 10))
    const others = BoundedMap.make<Entry<A>>(options.capacity)
    const questions = new Map<string, SingleFlight.Flight<A, E>>()

    const keep = (key: string, value: A, asked: Asked) => {
      const map = options.isProvoked(value) ? provoked : others
      const kept = { value, until: asked.steady + options.lifetime(value, asked.wall) }
      const known = map.get(key)
      if (known !== undefined) known.kept = kept
      else map.add({ key, used: false, evicted: false, pinned: () => false, kept })
    }

    const known = (key: string, now: number) => {
      for (const entry of [others.get(key), provoked.get(key)]) {
        if (entry?.kept === undefined) continue
        if (now < entry.kept.until) {
          entry.used = true
          return entry.kept
        }
        entry.kept = undefined
      }
      return undefined
    }

    // What is known counts from when it was asked for: the answer may be older than its arrival.
    const asking = (key: string, ask: Effect.Effect<A, E>) =>
      Effect.flatMap(now, (asked) => Effect.tap(ask, (value) => Effect.sync(() => keep(key, value, asked))))

    const flightOf = (key: string, ask: Effect.Effect<A, E>): SingleFlight.Flight<A, E> => {
      const current = SingleFlight.underWay(questions.get(key))
      if (current !== undefined) {
        return current
      }
      const ended = () => {
        if (questions.get(key) === flight) {
          questions.delete(key)
        }
      }
      const flight: SingleFlight.Flight<A, E> = flights.run({
        work: asking(key, ask),
        background: false,
        limit: options.limit,
        ended,
        interrupted: options.interrupted
      })
      questions.set(key, flight)
      return flight
    }

    const get = (key: string, ask: Effect.Effect<A, E>, isAgain: boolean): Effect.Effect<A, E> =>
      Effect.flatMap(SteadyClock.currentTimeMillis, (now) => {
        const kept = known(key, now)
        if (kept !== undefined) {
          return Effect.succeed(kept.value)
        }
        const cutShort = Effect.suspend(() => Effect.fail(options.interrupted()))
        if (flights.isClosed()) return cutShort
        // A question of a request that has ended is never answered: it is asked once more.
        return flightOf(key, ask).join(isAgain ? cutShort : Effect.suspend(() => get(key, ask, true)))
      })

    return { get: (key, ask) => get(key, ask, false) }
  })
