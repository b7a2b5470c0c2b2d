/**
 * Refreshes that no caller can interrupt: each runs to its end, callers that want the same share it, and the Layer waits for
 * those under way when it closes.
 */
import * as SingleFlight from "@effect-oauth/core/SingleFlight"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** @internal */
export interface Voyages<A, E> {
  /** Joins the refresh of this name, or starts it. The caller may leave; the refresh goes on. */
  readonly join: (name: string, work: Effect.Effect<A, E>, closed: () => E) => Effect.Effect<A, E>
  readonly isUnderWay: (name: string) => boolean
}

/** Longer than all that a refresh waits for: the lock, the server, the store. */
const limit: Duration.DurationInput = "2 minutes"

/** @internal */
export const make = <A, E>(
  awaitAtEnd: Duration.DurationInput
): Effect.Effect<Voyages<A, E>, never, Scope.Scope> =>
  Effect.map(SingleFlight.make({ drainTimeout: awaitAtEnd }), (flights) => {
    const byName = new Map<string, SingleFlight.Flight<A, E>>()
    const current = (name: string) => SingleFlight.underWay(byName.get(name))

    const start = (name: string, work: Effect.Effect<A, E>, closed: () => E): SingleFlight.Flight<A, E> => {
      const ended = () => {
        if (byName.get(name) === flight) byName.delete(name)
      }
      const flight = flights.run({ work, background: true, isKept: true, limit, ended, interrupted: closed })
      byName.set(name, flight)
      return flight
    }

    const join = (name: string, work: Effect.Effect<A, E>, closed: () => E, isAgain: boolean): Effect.Effect<A, E> =>
      Effect.suspend(() => {
        const fail = Effect.suspend(() => Effect.fail(closed()))
        const flight = current(name)
        // A refresh whose request has ended may never come back: it is started once more.
        if (flight !== undefined) return flight.join(isAgain ? fail : join(name, work, closed, true))
        return flights.isClosed() ? fail : start(name, work, closed).join(fail)
      })

    return {
      isUnderWay: (name) => current(name) !== undefined,
      join: (name, work, closed) => join(name, work, closed, false)
    }
  })
