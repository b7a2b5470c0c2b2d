/** What an example tells on its way, in numbered steps, and whether all of it happened as told. */
import { Cause, Console, Data, Effect, Schedule } from "effect"

/** Something that has to be so at the end, and the sentence to say if it is not. */
export type Fact = readonly [holds: boolean, otherwise: string]

export interface Telling {
  readonly title: (text: string) => Effect.Effect<void>
  readonly step: (text: string) => Effect.Effect<void>
  /** Below a step: who did what, and what came of it. */
  readonly line: (what: string, outcome?: string | number) => Effect.Effect<void>
  readonly heading: (text: string) => Effect.Effect<void>
  readonly end: (facts: ReadonlyArray<Fact>) => Effect.Effect<void, NotAsTold>
}

export class NotAsTold extends Data.TaggedError("NotAsTold")<{ readonly message: string }> {}

export const make: Effect.Effect<Telling> = Effect.sync(() => {
  let steps = 0
  const heading = (text: string) => Console.log(`\n${text}`)
  return {
    title: Console.log,
    heading,
    step: (text) => Effect.suspend(() => heading(`${++steps}. ${text}`)),
    line: (what, outcome) => Console.log(outcome === undefined ? `   ${what}` : `   ${what.padEnd(34)} ${outcome}`),
    end: (facts) => {
      const broken = facts.find(([holds]) => !holds)
      return broken === undefined
        ? Console.log("\nAll happened as it should.")
        : Effect.fail(new NotAsTold({ message: `This did not happen as it should: ${broken[1]}.` }))
    }
  }
})

/** Waits for something to happen; what does not happen in time is found out by the facts at the end. */
export const until = (happened: () => boolean): Effect.Effect<void> =>
  Effect.sync(happened).pipe(
    Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced("20 millis") }),
    Effect.timeoutOption("20 seconds"),
    Effect.asVoid
  )

/** Says in one sentence what went wrong. For a `runMain` without a report of its own. */
export const reported = <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.tapErrorCause(program, (cause) => {
    if (Cause.isInterruptedOnly(cause)) return Effect.void
    const error = Cause.squash(cause)
    return Console.error(`\n${error instanceof Error ? error.message : String(error)}`)
  })
