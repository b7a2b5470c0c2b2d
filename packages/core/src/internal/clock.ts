import * as Clock from "effect/Clock"
import type * as Fiber from "effect/Fiber"

/** @internal The time of a fiber without an effect around it, as `Effect.clockWith` finds it. */
export const currentTimeMillis = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number => {
  const clock: Clock.Clock = fiber.currentDefaultServices.unsafeMap.get(Clock.Clock.key)
  return clock.unsafeCurrentTimeMillis()
}
