/**
 * A store of somebody else's may be slow or die.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { SessionStoreError } from "../../OidcError.ts"

/** @internal One step of a store: it answers in time or fails, and never takes anybody along. */
export interface Guard {
  <A>(operation: string, step: () => Effect.Effect<A, SessionStoreError>): Effect.Effect<A, SessionStoreError>
}

/** @internal */
export const make = (timeout: Duration.Duration): Guard => (operation, step) => {
  const failed = (problem: string) => new SessionStoreError({ operation, problem })
  // Servers run requests uninterruptibly, and there no time-out would end a step that does not end by itself.
  return Effect.interruptible(Effect.suspend(step)).pipe(
    Effect.timeoutFail({
      duration: timeout,
      onTimeout: () => failed(`it took longer than ${Duration.format(timeout)}`)
    }),
    Effect.catchAllDefect(() => Effect.fail(failed("it broke off with a defect")))
  )
}
