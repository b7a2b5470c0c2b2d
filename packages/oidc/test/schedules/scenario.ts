/** What a scenario is made of, and what it is judged by. */
import type { App, Operation, Process } from "./process.ts"
import type { ScriptedServer } from "./scriptedServer.ts"
import type { ScriptedStore } from "./scriptedStore.ts"
import type { World } from "./world.ts"

export interface Run {
  readonly world: World
  readonly store: ScriptedStore
  readonly server: ScriptedServer
  /** Those that the scenario began with; a process that has ended is followed by `successor`. */
  readonly processes: ReadonlyArray<Process>
  readonly seed: number
  /** A process like this one, with a memory of its own. */
  readonly successor: (process: Process) => Promise<Process>
  /** Says that something must not be as it is. */
  readonly violated: (invariant: string, problem: string) => void
  /** Of the counters that are printed. */
  readonly count: (name: "sessions" | "tokens") => void
}

/**
 * - `prepare`: what is there before; runs without faults. Gives what the rest needs.
 * - `begin`: starts the operations that are explored, at their times in milliseconds.
 * - `check`: after all have ended and everything works again; may run more, without faults.
 */
export interface Scenario {
  readonly name: string
  readonly app: App
  readonly processes: 1 | 2
  readonly prepare: (run: Run) => Promise<Prepared>
}

export interface Step {
  readonly at: number
  readonly begin: () => Operation
}

export interface Prepared {
  readonly steps: ReadonlyArray<Step>
  readonly check: () => Promise<void>
}
