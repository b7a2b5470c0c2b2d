/**
 * Single flight: one acquisition that many callers wait for.
 *
 * A flight is a root fiber with the context of the Layer that owns it, not of the caller that started it, so it is not
 * interrupted with that caller and has no part in its span. It is interrupted when its owner's scope closes and when no
 * caller waits for it any more, unless it runs in the background.
 *
 * Some runtimes, Cloudflare Workers among them, stop the timers and the I/O of a request when the request ends, and let no
 * other request use them. So callers wait on promises and timers that are made in their own request, and a flight that has not
 * ended within its limit is abandoned: the next caller starts another one.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as OptionalServices from "./OptionalServices.ts"
import * as SteadyClock from "./SteadyClock.ts"

/**
 * - `join`: waits for the result. `otherwise` runs in its place if the flight is abandoned meanwhile.
 * - `isUnderWay`: whether it can be joined. One that is over its limit is abandoned here.
 *
 * @since 0.1.0
 * @category models
 */
export interface Flight<out A, out E> {
  readonly join: <B, E2>(otherwise: Effect.Effect<B, E2>) => Effect.Effect<A | B, E | E2>
  readonly isUnderWay: () => boolean
}

/**
 * - `work`: ends within `limit` where its timers run.
 * - `background`: whether it goes on when no caller waits.
 * - `ended`: called before the waiters are resumed, and when the flight is abandoned: the next caller starts another one. It
 *   may be called twice.
 * - `interrupted`: the error for the waiters of a flight that was interrupted.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options<A, E> {
  readonly work: Effect.Effect<A, E>
  readonly background: boolean
  readonly limit: Duration.DurationInput
  /** Whether the work goes on where it can, once it is abandoned: what has sent a one-time grant must. Default: it is interrupted. */
  readonly isKept?: boolean | undefined
  readonly ended: () => void
  readonly interrupted: () => E
}

/**
 * - `run`: starts a flight.
 * - `isClosed`: whether the scope of its owner has closed, so that no flight may be started.
 *
 * @since 0.1.0
 * @category models
 */
export interface SingleFlight {
  readonly run: <A, E>(options: Options<A, E>) => Flight<A, E>
  readonly isClosed: () => boolean
}

/**
 * Optional, for runtimes that stop what a request has started when it ends: keeps the request that starts a flight in the
 * background until the promise settles. On Cloudflare Workers it is `waitUntil` of `cloudflare:workers`. Without it such a
 * flight ends there with its request.
 *
 * @since 0.1.0
 * @category tags
 */
export class WaitUntil extends Context.Tag("@effect-oauth/core/WaitUntil")<
  WaitUntil,
  (promise: Promise<unknown>) => void
>() {}

/**
 * The flight, if it can be joined.
 *
 * @since 0.1.0
 * @category accessors
 */
export const underWay = <A, E>(flight: Flight<A, E> | undefined): Flight<A, E> | undefined =>
  flight?.isUnderWay() === true ? flight : undefined

/** What interrupting the work may take after its own time-out, in milliseconds. */
const grace = 2000

/** Callers that began to wait in one turn of the event loop, which belongs to one request. */
interface Group<A, E> {
  readonly waiters: Set<(exit: Exit.Exit<A, E> | undefined) => void>
  readonly timer: Fiber.RuntimeFiber<void>
  /** Resumes the waiters in the request in which they began to wait. */
  readonly settle: () => void
}

/**
 * `drainTimeout`: how long flights are waited for when the scope closes, before they are interrupted. Default: not at all.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  { drainTimeout }: { readonly drainTimeout?: Duration.DurationInput | undefined } = {}
): Effect.Effect<SingleFlight, never, Scope.Scope> =>
  Effect.gen(function*() {
    const runtime = yield* Effect.runtime<never>()
    const clock = yield* Effect.clock
    const waitUntil = Option.getOrUndefined(yield* OptionalServices.get(WaitUntil))
    const fork = Runtime.runFork(Runtime.updateContext(runtime, Context.omit(Tracer.ParentSpan)))
    const fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
    let closed = false

    yield* Effect.addFinalizer(() => {
      closed = true
      // Interruptible, or a server that does not answer would hold up the end for ever.
      return drainTimeout === undefined
        ? Fiber.interruptAll([...fibers])
        : Effect.timeoutOption(Effect.interruptible(Fiber.awaitAll([...fibers])), drainTimeout).pipe(
          // What has not ended by then would go on using services that are closed, and keep its locks.
          Effect.zipRight(Effect.suspend(() => Effect.forEach([...fibers], Fiber.interruptFork, { discard: true })))
        )
    })

    const run = <A, E>(options: Options<A, E>): Flight<A, E> => {
      const groups = new Set<Group<A, E>>()
      // Of the monotonic clock: time that has passed on the wall clock only, by a jump, says nothing of a running fiber.
      const deadline = SteadyClock.unsafeMonotonicMillis(clock) + Duration.toMillis(options.limit) + grace
      let latest: Group<A, E> | undefined
      let settled: Exit.Exit<A, E> | undefined
      let isAbandoned = false

      // Not at once: the owner keeps the flight before it can end. Its exit is its value, since the runtime logs the failure
      // of a fiber that nobody joins.
      const fiber = fork(Effect.exit(options.work), { immediate: false })
      fibers.add(fiber)
      // An observer, not `onExit`: a fiber that is interrupted before its first step never runs its finalizers.
      fiber.addObserver((ended) => {
        fibers.delete(fiber)
        const exit = Exit.flatten(ended)
        const isInterrupted = Exit.isFailure(exit) && Cause.isInterrupted(exit.cause) &&
          Option.isNone(Cause.failureOption(exit.cause))
        settled = isInterrupted ? Exit.fail(options.interrupted()) : exit
        options.ended()
        for (const group of groups) group.settle()
      })

      if (options.background) waitUntil?.(new Promise((resolve) => fiber.addObserver(resolve)))

      const abandon = (): void => {
        isAbandoned = true
        options.ended()
        if (options.isKept !== true) fiber.unsafeInterruptAsFork(FiberId.none)
      }

      /** What has not ended within its limit may never end, so the end of the Layer does not wait for it. */
      const overdue = (): void => {
        if (isAbandoned) return
        fibers.delete(fiber)
        abandon()
      }

      const isUnderWay = (): boolean => {
        if (settled !== undefined || isAbandoned) return false
        if (SteadyClock.unsafeMonotonicMillis(clock) < deadline) return true
        overdue()
        return false
      }

      const resume = (group: Group<A, E>): void => {
        // The failure of a flight that was abandoned is its interruption.
        const exit = isAbandoned && settled?._tag === "Failure" ? undefined : settled
        groups.delete(group)
        group.timer.unsafeInterruptAsFork(FiberId.none)
        for (const waiter of group.waiters) waiter(exit)
        group.waiters.clear()
      }

      const makeGroup = (): Group<A, E> => {
        let settle = (): void => {}
        // Runtimes that keep requests apart run what follows a promise in the request that made the promise.
        const settling = new Promise<void>((resolve) => {
          settle = resolve
        })
        const left = deadline - SteadyClock.unsafeMonotonicMillis(clock)
        const group: Group<A, E> = {
          waiters: new Set(),
          settle,
          timer: fork(Effect.map(Effect.sleep(Duration.millis(left)), () => {
            if (settled !== undefined) return
            overdue()
            resume(group)
          }))
        }
        void settling.then(() => resume(group))
        void Promise.resolve().then(() => {
          if (latest === group) latest = undefined
        })
        groups.add(group)
        return group
      }

      const leave = (group: Group<A, E>): void => {
        if (group.waiters.size > 0 || !groups.delete(group)) return
        if (latest === group) latest = undefined
        group.timer.unsafeInterruptAsFork(FiberId.none)
        if (groups.size === 0 && !options.background && settled === undefined && !isAbandoned) abandon()
      }

      return {
        isUnderWay,
        join: <B, E2>(otherwise: Effect.Effect<B, E2>) =>
          Effect.async<A | B, E | E2>((done) => {
            if (!isUnderWay()) return done(settled ?? otherwise)
            const group = latest ??= makeGroup()
            const waiter = (exit: Exit.Exit<A, E> | undefined): void => done(exit ?? otherwise)
            group.waiters.add(waiter)
            return Effect.sync(() => {
              group.waiters.delete(waiter)
              leave(group)
            })
          })
      }
    }

    return { run, isClosed: () => closed }
  })
