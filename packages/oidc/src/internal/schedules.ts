/**
 * Schedules that end after a time of the monotonic clock. `Schedule.upTo` measures the wall clock, which can be set back.
 */
import * as SteadyClock from "@effect-oauth/core/SteadyClock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleInterval from "effect/ScheduleInterval"

const elapsed = Schedule.makeWithState<number | undefined, unknown, number>(
  undefined,
  (now, _, since) =>
    Effect.clockWith((clock) => {
      const at = SteadyClock.unsafeMonotonicMillis(clock)
      const start = since ?? at
      return Effect.succeed([start, at - start, ScheduleDecision.continueWith(ScheduleInterval.after(now))] as const)
    })
)

/** @internal */
export const within = (duration: Duration.DurationInput) => {
  const limit = Duration.toMillis(duration)
  return <Out, In, R>(schedule: Schedule.Schedule<Out, In, R>): Schedule.Schedule<Out, In, R> =>
    Schedule.zipLeft(schedule, Schedule.whileOutput(elapsed, (millis) => millis < limit))
}

/** @internal Soon at first, then every 2 seconds. */
export const persistently = (duration: Duration.DurationInput) =>
  Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("2 seconds")), within(duration))
