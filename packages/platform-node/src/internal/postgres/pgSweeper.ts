/**
 * Deleting what has expired, in the background.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Run } from "./pgRun.ts"
import type { Statements } from "./pgTables.ts"

/** So many rows at once that nobody waits long for one of them. */
const batch = 1000

/** @internal Never ends. What fails is tried again the next time; that it fails is said once. */
export const sweep = (run: Run, { sweep }: Statements, every: Duration.Duration): Effect.Effect<never> => {
  const all = Effect.forEach(
    sweep,
    (statement) => Effect.repeat(run("sweep", statement, [batch]), { while: (rows) => rows.length === batch }),
    { discard: true }
  )

  return Effect.gen(function*() {
    if (!Duration.isFinite(every)) return yield* Effect.never
    for (let failing = false;;) {
      const jitter = yield* Random.nextRange(0.5, 1.5)
      yield* Effect.sleep(Duration.times(every, jitter))
      const swept = yield* Effect.either(all)
      if (swept._tag === "Left" && !failing) yield* Effect.logWarning(swept.left.message)
      failing = swept._tag === "Left"
    }
  })
}
