/**
 * Values that are looked up at first use and kept for a while: one lookup at a time for each key, a stale value while its
 * successor is looked up in the background, and for as long as the lookup fails for a reason that may pass.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as SingleFlight from "../../SingleFlight.ts"
import * as SteadyClock from "../../SteadyClock.ts"
import * as BoundedMap from "./boundedMap.ts"

interface Slot<A, E> extends BoundedMap.Entry {
  value: { readonly found: A; readonly exit: Exit.Exit<A, never>; readonly since: number } | undefined
  flight: SingleFlight.Flight<A, E> | undefined
  /** When it was looked up last for a caller that missed something, by the budget of that caller. */
  readonly replaced: Map<string, number>
}

/** @internal */
export interface Lookup<A, E> {
  readonly key: string
  readonly find: Effect.Effect<A, E>
  /** How long it takes at most. */
  readonly limit: Duration.DurationInput
  /** The error of a lookup that was cut short. */
  readonly interrupted: () => E
}

/** @internal */
export interface Remembered<A, E> {
  readonly get: (lookup: Lookup<A, E>) => Effect.Effect<A, E>
  /** Looks up anew, or joins the lookup that is under way. */
  readonly renew: (lookup: Lookup<A, E>) => Effect.Effect<A, E>
  /** What is known already. */
  readonly peek: (key: string) => A | undefined
  /**
   * For a caller that was given `value` and misses something in it: another value, if there is one by now or if a lookup finds
   * one. It joins the lookup that is under way, and starts one at most once in `coolDown` milliseconds for each budget.
   */
  readonly replace: (
    lookup: Lookup<A, E>,
    value: A,
    options: { readonly coolDown: number; readonly budget: string }
  ) => Effect.Effect<A, E>
}

/** @internal */
export const make = <A, E>(options: {
  readonly timeToLive: Duration.DurationInput
  readonly capacity: number
  /** Whether a stale value may stand in for this failure. */
  readonly mayPass: (error: E) => boolean
}): Effect.Effect<Remembered<A, E>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const flights = yield* SingleFlight.make()
    const timeToLive = Duration.toMillis(options.timeToLive)
    const slots = BoundedMap.make<Slot<A, E>>(options.capacity)

    const slotOf = (key: string): Slot<A, E> => {
      const known = slots.get(key)
      if (known !== undefined) return known
      const slot: Slot<A, E> = {
        key,
        used: false,
        evicted: false,
        pinned: () => SingleFlight.underWay(slot.flight) !== undefined,
        value: undefined,
        flight: undefined,
        replaced: new Map()
      }
      slots.add(slot)
      return slot
    }

    const keep = (slot: Slot<A, E>, find: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.zipWith(find, SteadyClock.currentTimeMillis, (value, since) => {
        slot.value = { found: value, exit: Exit.succeed(value), since }
        return value
      }).pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            if (!options.mayPass(error)) slot.value = undefined
          })
        )
      )

    const start = (slot: Slot<A, E>, lookup: Lookup<A, E>, background: boolean): SingleFlight.Flight<A, E> => {
      const current = SingleFlight.underWay(slot.flight)
      if (current !== undefined) return current
      const ended = () => {
        if (slot.flight === flight) slot.flight = undefined
      }
      const flight: SingleFlight.Flight<A, E> = flights.run({
        work: keep(slot, lookup.find),
        background,
        limit: lookup.limit,
        ended,
        interrupted: lookup.interrupted
      })
      slot.flight = flight
      return flight
    }

    const obtain = (slot: Slot<A, E>, lookup: Lookup<A, E>, isAgain = false): Effect.Effect<A, E> =>
      flights.isClosed()
        ? Effect.fail(lookup.interrupted())
        // A lookup of a request that has ended never comes back: it is made once more.
        : start(slot, lookup, false).join(
          Effect.suspend(() => isAgain ? Effect.fail(lookup.interrupted()) : obtain(slot, lookup, true))
        )

    return {
      get: (lookup) =>
        Effect.clockWith((clock) => {
          const slot = slotOf(lookup.key)
          slot.used = true
          if (slot.value === undefined) return obtain(slot, lookup)
          const { exit, since } = slot.value
          const age = SteadyClock.unsafeCurrentTimeMillis(clock) - since
          if (age < timeToLive) return exit
          if (age < 2 * timeToLive) {
            if (!flights.isClosed()) start(slot, lookup, true)
            return exit
          }
          return Effect.catchAll(
            obtain(slot, lookup),
            (error) => options.mayPass(error) ? exit : Effect.fail(error)
          )
        }),
      renew: (lookup) => Effect.suspend(() => obtain(slotOf(lookup.key), lookup)),
      peek: (key) => slots.get(key)?.value?.found,
      replace: (lookup, value, { budget, coolDown }) =>
        Effect.clockWith((clock) => {
          const slot = slotOf(lookup.key)
          if (slot.value !== undefined && slot.value.found !== value) return slot.value.exit
          if (SingleFlight.underWay(slot.flight) !== undefined) return obtain(slot, lookup)
          const now = SteadyClock.unsafeCurrentTimeMillis(clock)
          if (now - (slot.replaced.get(budget) ?? Number.NEGATIVE_INFINITY) < coolDown) return Effect.succeed(value)
          slot.replaced.set(budget, now)
          return obtain(slot, lookup)
        })
    }
  })
