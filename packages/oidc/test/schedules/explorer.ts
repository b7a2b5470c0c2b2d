/** Runs a scenario under a schedule, enumerates schedules, draws them at random, and shortens those that fail. */
import { judge, type Violation } from "./invariants.ts"
import { type Operation, Process } from "./process.ts"
import type { Run, Scenario } from "./scenario.ts"
import { ScriptedServer } from "./scriptedServer.ts"
import { ScriptedStore } from "./scriptedStore.ts"
import { type Decision, type Kind, kinds, type Point, World } from "./world.ts"

export interface Schedule {
  readonly seed: number
  readonly decisions: ReadonlyArray<Decision>
}

export interface Counters {
  schedules: number
  readonly faults: Record<string, number>
  sessions: number
  tokens: number
  refreshes: number
  unknownOutcomes: number
  doublePresentations: number
}

export const newCounters = (): Counters => ({
  schedules: 0,
  faults: {},
  sessions: 0,
  tokens: 0,
  refreshes: 0,
  unknownOutcomes: 0,
  doublePresentations: 0
})

export const add = (total: Counters, { faults, ...counts }: Counters): void => {
  for (const [kind, count] of Object.entries(faults)) total.faults[kind] = (total.faults[kind] ?? 0) + count
  for (const [name, count] of Object.entries(counts) as Array<[keyof typeof counts, number]>) total[name] += count
}

export interface Result {
  readonly violations: ReadonlyArray<Violation>
  readonly points: ReadonlyArray<Point>
  readonly trace: ReadonlyArray<string>
}

/** Longer than any operation may take. */
const longestRun = 600_000
const settling = 60_000

/** A store that works takes a lock back in this time; a process may still wait for a server that does not answer. */
const unlocking = 13_000

const checkLocks = (store: ScriptedStore, violated: Run["violated"]): void => {
  for (const lock of store.heldLocks()) violated("nothing is left", `the lock ${lock.replace("\n", " ")} is held`)
}

const checkEnds = (operations: ReadonlyArray<Operation>, violated: Run["violated"]): void => {
  for (const { endedAt, limit, name, process, startedAt, wasInterrupted } of operations) {
    if (process.isKilled) continue
    const took = (endedAt ?? Number.POSITIVE_INFINITY) - startedAt - process.clock.pausedFor
    const problem = endedAt === undefined ? "it never ended" : `it took ${took} ms of at most ${limit}`
    if (took > limit) {
      violated("nothing hangs", `${process.name}, ${name}${wasInterrupted ? ", interrupted" : ""}: ${problem}`)
    }
  }
}

const checkLeaks = (processes: ReadonlyArray<Process>, violated: Run["violated"]): void => {
  for (const { baseline, clock, fibers, isAlive, name } of processes) {
    if (!isAlive) continue
    if (fibers.live.size > baseline.fibers) {
      violated("nothing is left", `${name} has ${fibers.live.size} fibers, at rest ${baseline.fibers}`)
    }
    if (clock.sleeping > baseline.sleeping) {
      violated("nothing is left", `${name} has ${clock.sleeping} timers, at rest ${baseline.sleeping}`)
    }
  }
}

const checkClosed = (processes: ReadonlyArray<Process>, violated: Run["violated"]): void => {
  for (const { clock, fibers, hasClosed, isKilled, name } of processes) {
    if (isKilled) continue
    if (!hasClosed) violated("nothing hangs", `the Layers of ${name} did not close`)
    if (fibers.live.size > 0) violated("nothing is left", `${name} has ${fibers.live.size} fibers after its end`)
    if (clock.sleeping > 0) violated("nothing is left", `${name} has ${clock.sleeping} timers after its end`)
  }
}

export const runOnce = async (
  scenario: Scenario,
  schedule: Schedule,
  counters?: Counters,
  isTracing = false
): Promise<Result> => {
  const world = new World(schedule.decisions, isTracing)
  const shared = { world, store: new ScriptedStore(world), server: new ScriptedServer(world), seed: schedule.seed }
  const violations: Array<Violation> = []
  const violated: Run["violated"] = (invariant, problem) => {
    violations.push({ invariant, problem })
    world.log(() => `VIOLATED: ${invariant}: ${problem}`)
  }
  const all: Array<Process> = []
  const newProcess = async (name: string) => {
    const process = new Process(name, scenario.app, shared)
    all.push(process)
    await process.start()
    return process
  }
  try {
    const processes = [await newProcess("P1"), ...scenario.processes === 2 ? [await newProcess("P2")] : []]
    const successors = new Map<Process, Process>()
    const run: Run = {
      ...shared,
      processes,
      violated,
      count: (name) => {
        if (counters !== undefined) counters[name]++
      },
      successor: async (process) => {
        if (process.isAlive) return process
        const known = successors.get(process) ?? await newProcess(`${process.name}'`)
        successors.set(process, known)
        return known
      }
    }
    const { check, steps } = await scenario.prepare(run)
    world.isExploring = true
    let left = steps.length
    for (const { at, begin } of steps) {
      world.timeline.after(at, () => {
        left--
        begin()
      })
    }
    const operations = () => all.flatMap((process) => process.operations)
    const isOver = () => left === 0 && all.every((process) => !process.isBusy)
    await world.run(isOver, world.now + longestRun)
    checkEnds(operations(), violated)
    world.endFaults()
    await world.advance(Math.max(0, ...all.map(({ clock }) => clock.pausedUntil - world.now)) + unlocking)
    if (!world.hasStoreFailed) checkLocks(shared.store, violated)
    await world.advance(settling)
    checkLeaks(all, violated)
    checkLocks(shared.store, violated)
    await check()
    for (const process of all) process.close()
    await world.advance(settling)
    checkClosed(all, violated)
    judge(shared, violated, counters)
  } catch (error) {
    violated("no defect of the harness", error instanceof Error ? error.stack ?? error.message : String(error))
  }
  for (const process of all) if (process.isKilled) process.bury()
  if (counters !== undefined) {
    counters.schedules++
    for (const [kind, count] of world.faults) counters.faults[kind] = (counters.faults[kind] ?? 0) + count
  }
  return { violations, points: world.points, trace: world.trace }
}

const kindsAt = ({ service }: Point, scenario: Scenario): ReadonlyArray<Kind> =>
  (Object.keys(kinds) as Array<Kind>).filter((kind) =>
    kind !== "hold" && (kinds[kind] as ReadonlyArray<string>).includes(service) &&
    (kind !== "kill" || scenario.app.kind !== "machine" || scenario.processes > 1)
  )

/** All schedules with one fault. */
export const singleFaults = async (scenario: Scenario, seed = 1): Promise<ReadonlyArray<Schedule>> =>
  (await runOnce(scenario, { seed, decisions: [] })).points.flatMap((point) =>
    kindsAt(point, scenario).map((kind) => ({ seed, decisions: [{ at: point.number, kind }] }))
  )

/** All schedules in which one call of one process waits while the other one goes on. */
export const interleavings = async (scenario: Scenario, seed = 1): Promise<ReadonlyArray<Schedule>> => {
  if (scenario.processes === 1) return []
  const { points } = await runOnce(scenario, { seed, decisions: [] })
  const lengths = [1, 2, 3, 5, 8, 13].filter((length) => length < points.length)
  return points.flatMap(({ number }) =>
    lengths.map((length) => ({ seed, decisions: [{ at: number, kind: "hold", points: length }] }))
  )
}

/** Without faults, with one of each kind at each yield point, and with the other process ahead. */
export const everySchedule = async (scenario: Scenario): Promise<ReadonlyArray<Schedule>> => [
  { seed: 1, decisions: [] },
  ...await singleFaults(scenario),
  ...await interleavings(scenario)
]

/** Numbers that depend on their seed only (mulberry32). */
export const randomOf = (seed: number): () => number => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Lengths of the runs without faults. */
const lengths = new Map<string, number>()

const lengthOf = async (scenario: Scenario): Promise<number> => {
  const known = lengths.get(scenario.name)
  if (known !== undefined) return known
  const { points } = await runOnce(scenario, { seed: 1, decisions: [] })
  lengths.set(scenario.name, points.length)
  return points.length
}

/** A scenario and a schedule with one to four faults. */
export const randomSchedule = async (
  scenarios: ReadonlyArray<Scenario>,
  seed: number
): Promise<{ readonly scenario: Scenario; readonly schedule: Schedule }> => {
  const random = randomOf(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const scenario = scenarios[below(scenarios.length)]
  if (scenario === undefined) throw new Error("there is no scenario")
  const names = (Object.keys(kinds) as Array<Kind>).filter((kind) => kind !== "hold" || scenario.processes === 2)
  const usual = await lengthOf(scenario)
  // Faults make runs longer.
  const length = usual + Math.min(6, Math.ceil(usual / 2))
  const decisions = Array.from({ length: 1 + below(4) }, (): Decision => {
    const kind = names[below(names.length)] ?? "fail"
    return kind === "hold" ? { at: below(length), kind, points: 1 + below(15) } : { at: below(length), kind }
  })
  const first = new Map(decisions.map((decision) => [decision.at, decision]))
  return { scenario, schedule: { seed, decisions: [...first.values()].sort((one, other) => one.at - other.at) } }
}

/** Without the decisions that the violation does not need. */
export const shrink = async (scenario: Scenario, schedule: Schedule, invariant: string): Promise<Schedule> => {
  const stillFails = async (decisions: ReadonlyArray<Decision>) =>
    (await runOnce(scenario, { ...schedule, decisions })).violations
      .some((violation) => violation.invariant === invariant)
  let { decisions } = schedule
  for (let index = 0; index < decisions.length;) {
    const fewer = decisions.filter((_, other) => other !== index)
    if (await stillFails(fewer)) decisions = fewer
    else index++
  }
  return { ...schedule, decisions }
}

/** As it is given to `--replay`. */
export const written = (scenario: Scenario, { decisions, seed }: Schedule): string =>
  `${scenario.name}/${seed}/${decisions.map(({ at, kind, points }) => `${at}:${kind}${points ?? ""}`).join(",")}`

export const read = (
  text: string,
  scenarios: ReadonlyArray<Scenario>
): { readonly scenario: Scenario; readonly schedule: Schedule } | undefined => {
  const [name, seed, list = ""] = text.split("/")
  const scenario = scenarios.find((scenario) => scenario.name === name)
  const decisions = list.split(",").filter((part) => part !== "").map((part): Decision => {
    const [, at = "", kind = "", points] = /^(\d+):(bare40[01]|[a-zA-Z]+)(\d*)$/.exec(part) ?? []
    if (!Object.hasOwn(kinds, kind)) throw new Error(`"${part}" is no decision: expected <point>:<kind>`)
    return { at: Number(at), kind: kind as Kind, points: points === "" ? undefined : Number(points) }
  })
  return scenario === undefined ? undefined : { scenario, schedule: { seed: Number(seed), decisions } }
}
