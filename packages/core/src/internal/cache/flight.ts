/**
 * One piece of work that many callers wait for.
 *
 * A flight is a root fiber with the context of the Layer that owns it, not of the caller who happened to start it: his
 * interruption, span and annotations stay his. It is interrupted when nobody waits any more, unless it flies in the
 * background, and with its owner's scope.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"

/** @internal */
export interface Flight<out A, out E> {
  readonly join: Effect.Effect<A, E>
}

/** @internal */
export interface Launch<A, E> {
  readonly work: Effect.Effect<A, E>
  /** Whether it goes on when nobody waits. */
  readonly background: boolean
  /** Called once, before the waiters hear of it. */
  readonly landed: (exit: Exit.Exit<A, E>) => void
  /** Called when the last waiter has left, before the work is interrupted: whoever comes next starts anew. */
  readonly abandoned: () => void
  /** The error for waiters of a flight that was interrupted. */
  readonly interrupted: () => E
}

/** @internal */
export interface Airport {
  readonly launch: <A, E>(launch: Launch<A, E>) => Flight<A, E>
  readonly closed: () => boolean
}

/** @internal */
export const makeAirport: Effect.Effect<Airport, never, Scope.Scope> = Effect.gen(function*() {
  const runtime = yield* Effect.runtime<never>()
  const fork = Runtime.runFork(Runtime.updateContext(runtime, Context.omit(Tracer.ParentSpan)))
  const airborne = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  let closed = false

  yield* Effect.addFinalizer(() => {
    closed = true
    return Fiber.interruptAll([...airborne])
  })

  const launch = <A, E>(options: Launch<A, E>): Flight<A, E> => {
    const waiters = new Set<(exit: Exit.Exit<A, E>) => void>()
    let landed: Exit.Exit<A, E> | undefined

    // Not at once: the owner keeps the flight before it can land. Its exit is its value, since the runtime logs the
    // failure of a fiber that nobody joins.
    const fiber = fork(Effect.exit(options.work), { immediate: false })
    airborne.add(fiber)
    // An observer, not `onExit`: a fiber that is interrupted before its first step never runs its finalizers.
    fiber.addObserver((ended) => {
      airborne.delete(fiber)
      const exit = Exit.flatten(ended)
      landed = Exit.isFailure(exit) && Cause.isInterrupted(exit.cause) && Option.isNone(Cause.failureOption(exit.cause))
        ? Exit.fail(options.interrupted())
        : exit
      options.landed(landed)
      for (const resume of waiters) resume(landed)
      waiters.clear()
    })

    const join = Effect.async<A, E>((resume) => {
      if (landed !== undefined) return resume(landed)
      waiters.add(resume)
      return Effect.suspend(() => {
        waiters.delete(resume)
        if (waiters.size > 0 || options.background || landed !== undefined) return Effect.void
        options.abandoned()
        return Fiber.interruptFork(fiber)
      })
    })

    return { join }
  }

  return { launch, closed: () => closed }
})
