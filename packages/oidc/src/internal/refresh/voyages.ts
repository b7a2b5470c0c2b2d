/**
 * Work that nobody can call back: it runs to its end whoever leaves, those who want the same share it, and the Layer closes
 * after the last one has come home.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"

/** @internal */
export interface Voyages<A, E> {
  /** Joins the voyage of this name, or begins it. The caller may leave; the voyage goes on. */
  readonly join: (name: string, work: Effect.Effect<A, E>, closed: () => E) => Effect.Effect<A, E>
  readonly isUnderWay: (name: string) => boolean
}

/** @internal */
export const make = <A, E>(
  awaitAtEnd: Duration.DurationInput
): Effect.Effect<Voyages<A, E>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const runtime = yield* Effect.runtime<never>()
    // A voyage belongs to nobody's request, so it is in nobody's span.
    const fork = Runtime.runFork(Runtime.updateContext(runtime, Context.omit(Tracer.ParentSpan)))
    const underWay = new Map<string, Deferred.Deferred<A, E>>()
    const fibers = new Set<Fiber.RuntimeFiber<A, E>>()
    let isClosed = false

    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        isClosed = true
        // Interruptible, or a server that does not answer would hold up the end for ever.
        const done = Effect.timeoutOption(Effect.interruptible(Fiber.awaitAll([...fibers])), awaitAtEnd)
        // What has not ended by then would go on using services that are closed, and keep its lock.
        return Effect.zipRight(
          done,
          Effect.suspend(() => Effect.forEach([...fibers], Fiber.interruptFork, { discard: true }))
        )
      })
    )

    const begin = (name: string, work: Effect.Effect<A, E>): Deferred.Deferred<A, E> => {
      const landed = Deferred.unsafeMake<A, E>(FiberId.none)
      underWay.set(name, landed)
      const fiber = fork(work)
      fibers.add(fiber)
      fiber.addObserver((exit) => {
        fibers.delete(fiber)
        underWay.delete(name)
        Deferred.unsafeDone(landed, exit)
      })
      return landed
    }

    return {
      isUnderWay: (name) => underWay.has(name),
      join: (name, work, closed) =>
        Effect.suspend(() => {
          const landed = underWay.get(name)
          if (landed !== undefined) return Deferred.await(landed)
          return isClosed ? Effect.fail(closed()) : Deferred.await(begin(name, work))
        })
    }
  })
