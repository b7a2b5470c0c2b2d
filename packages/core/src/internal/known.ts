import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** @internal Whether an effect has its value already, so that there is nothing to run. */
export const isKnown = <A, E, R>(effect: Effect.Effect<A, E, R>): effect is Exit.Success<A, E> =>
  Exit.isExit(effect) && effect._tag === "Success"
