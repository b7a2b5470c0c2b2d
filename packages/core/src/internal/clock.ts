import * as Clock from "effect/Clock"
import type * as Fiber from "effect/Fiber"

/** @internal The clock of a fiber without an effect around it, as `Effect.clockWith` finds it. */
export const clockOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>): Clock.Clock =>
  fiber.currentDefaultServices.unsafeMap.get(Clock.Clock.key)

/** @internal The wall time of a fiber. */
export const currentTimeMillis = (fiber: Fiber.RuntimeFiber<unknown, unknown>): number =>
  clockOf(fiber).unsafeCurrentTimeMillis()
