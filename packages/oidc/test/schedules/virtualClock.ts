/**
 * Time and execution of a simulated run. All timers are in one queue, and time moves only when no process has a task left:
 * no real timer is used, so an hour costs as much as a millisecond.
 */
import { Clock, Duration, Effect, type Scheduler, Supervisor } from "effect"
import type { Fiber } from "effect"

/** The wall clock of every process at the beginning of a run. */
export const epoch = Date.UTC(2030, 0, 1)

export interface Timer {
  readonly at: number
  readonly number: number
  readonly wake: () => void
  cancelled: boolean
}

/** The time of the simulated world, in milliseconds. Processes see it through clocks of their own. */
export class Timeline {
  now = 0
  #numbers = 0
  readonly #timers: Array<Timer> = []

  after(delay: number, wake: () => void): Timer {
    const timer: Timer = { at: this.now + Math.max(0, delay), number: ++this.#numbers, wake, cancelled: false }
    let low = 0
    let high = this.#timers.length
    // The latest is first: the next one is taken from the end.
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = this.#timers[middle]
      if (other !== undefined && (other.at > timer.at || (other.at === timer.at && other.number > timer.number))) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    this.#timers.splice(low, 0, timer)
    return timer
  }

  /** Moves to the next timer that is due by `limit`. False if there is none; the time is `limit` then. */
  step(limit: number): boolean {
    for (;;) {
      const timer = this.#timers.at(-1)
      if (timer === undefined || timer.at > limit) {
        if (Number.isFinite(limit)) this.now = Math.max(this.now, limit)
        return false
      }
      this.#timers.pop()
      if (timer.cancelled) continue
      this.now = Math.max(this.now, timer.at)
      timer.wake()
      return true
    }
  }
}

export class Livelock extends Error {}

/** Runs the fibers of one process, one task after the other, when the world says so. */
export class ProcessScheduler implements Scheduler.Scheduler {
  #tasks: Array<Scheduler.Task> = []
  isStopped = false
  /** Whether it runs only to be cleared away: nothing of it waits. */
  isBuried = false

  get isIdle(): boolean {
    return this.#tasks.length === 0
  }

  shouldYield(fiber: Fiber.RuntimeFiber<unknown, unknown>): number | false {
    return fiber.currentOpCount > 4096 ? 0 : false
  }

  scheduleTask(task: Scheduler.Task): void {
    if (!this.isStopped) this.#tasks.push(task)
  }

  /** Runs what is there and what comes of it. */
  drain(): void {
    for (let count = 0; this.#tasks.length > 0; count++) {
      if (this.isBuried && count > 100) return
      if (count > 100_000) throw new Livelock("a process runs without end")
      const tasks = this.#tasks
      this.#tasks = []
      for (const task of tasks) {
        if (!this.isStopped) task()
      }
    }
  }

  /** As if the process were killed: nothing of it runs any more. */
  stop(): void {
    this.isStopped = true
    this.#tasks = []
  }
}

/** The clock of one process: its wall time can be set, its monotonic time cannot. */
export class ProcessClock implements Clock.Clock {
  readonly [Clock.ClockTypeId]: Clock.ClockTypeId = Clock.ClockTypeId
  /** By how much its wall time is ahead. */
  offset = 0
  /** Until when it does not run, as if it were sent SIGSTOP. */
  pausedUntil = 0
  /** How long it has been paused for, in all. */
  pausedFor = 0
  /** By how much it is ahead of the world because nothing of it waits any more. */
  #slept = 0
  readonly #sleepers = new Set<() => void>()
  readonly currentTimeMillis = Effect.sync(() => this.unsafeCurrentTimeMillis())
  readonly currentTimeNanos = Effect.sync(() => this.unsafeCurrentTimeNanos())

  constructor(readonly timeline: Timeline, readonly scheduler: ProcessScheduler) {}

  get isPaused(): boolean {
    return this.pausedUntil > this.timeline.now
  }

  pause(millis: number): void {
    this.pausedUntil = this.timeline.now + millis
    this.pausedFor += millis
    // What it has to do by then is done at that moment.
    this.timeline.after(millis, () => undefined)
  }

  unsafeCurrentTimeMillis(): number {
    return epoch + this.timeline.now + this.#slept + this.offset
  }

  unsafeCurrentTimeNanos(): bigint {
    return BigInt(Math.round((this.timeline.now + this.#slept) * 1_000_000))
  }

  get sleeping(): number {
    return this.#sleepers.size
  }

  /** Ends all that sleep, whatever the time. */
  wakeAll(): void {
    for (const wake of [...this.#sleepers]) wake()
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    return Effect.async<void>((resume) => {
      if (this.scheduler.isBuried) {
        // What repeats something until a time has come has to get there.
        if (Number.isFinite(millis)) this.#slept += millis
        return resume(Effect.void)
      }
      const wake = () => {
        this.#sleepers.delete(wake)
        resume(Effect.void)
      }
      const due = () => {
        if (this.scheduler.isStopped) return
        if (this.isPaused) timer = this.timeline.after(this.pausedUntil - this.timeline.now, due)
        else wake()
      }
      this.#sleepers.add(wake)
      let timer = Number.isFinite(millis) ? this.timeline.after(millis, due) : undefined
      return Effect.sync(() => {
        this.#sleepers.delete(wake)
        if (timer !== undefined) timer.cancelled = true
      })
    })
  }
}

/** The fibers of a process that have begun and not ended. */
export class Fibers extends Supervisor.AbstractSupervisor<number> {
  readonly live = new Set<Fiber.RuntimeFiber<unknown, unknown>>()
  readonly value = Effect.sync(() => this.live.size)

  override onStart(_: unknown, __: unknown, ___: unknown, fiber: Fiber.RuntimeFiber<any, any>): void {
    this.live.add(fiber)
  }

  override onEnd(_: unknown, fiber: Fiber.RuntimeFiber<any, any>): void {
    this.live.delete(fiber)
  }
}
