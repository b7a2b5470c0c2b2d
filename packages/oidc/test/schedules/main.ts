/**
 * npm run test:schedules -- [--seed S] [--runs N] [--scenario NAME] [--exhaustive] [--replay TEXT]
 *
 * Runs random schedules, or all with one fault, and prints what was counted. A schedule that breaks an invariant is shortened
 * and printed with its trace; `--replay` runs it again. `--all` does not stop at the first violation.
 */
import { spawn } from "node:child_process"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import {
  add,
  type Counters,
  everySchedule,
  newCounters,
  randomSchedule,
  read,
  runOnce,
  type Schedule,
  shrink,
  written
} from "./explorer.ts"
import type { Scenario } from "./scenario.ts"
import { scenarios as all } from "./scenarios/index.ts"

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    runs: { type: "string", default: "10000" },
    scenario: { type: "string" },
    exhaustive: { type: "boolean", default: false },
    all: { type: "boolean", default: false },
    replay: { type: "string" },
    /** Used by this program itself: the result is written as JSON. */
    batch: { type: "boolean", default: false }
  }
})

interface Found {
  readonly invariant: string
  readonly problem: string
  readonly replay: string
}

interface Outcome {
  readonly counters: Counters
  readonly found: ReadonlyArray<Found>
}

const scenarios = all.filter(({ name }) => values.scenario === undefined || name.startsWith(values.scenario))

const explore = async (
  schedules: AsyncIterable<{ readonly scenario: Scenario; readonly schedule: Schedule }>
): Promise<Outcome> => {
  const counters = newCounters()
  const found = new Map<string, Found>()
  for await (const { scenario, schedule } of schedules) {
    for (const { invariant, problem } of (await runOnce(scenario, schedule, counters)).violations) {
      const name = `${scenario.name}: ${invariant}`
      if (found.has(name)) continue
      found.set(name, { invariant, problem, replay: written(scenario, await shrink(scenario, schedule, invariant)) })
    }
    if (found.size > 0 && !values.all) break
  }
  return { counters, found: [...found.values()] }
}

async function* random(seed: number, runs: number) {
  for (let number = 0; number < runs; number++) yield await randomSchedule(scenarios, seed + number)
}

async function* exhaustive() {
  for (const scenario of scenarios) {
    for (const schedule of await everySchedule(scenario)) yield { scenario, schedule }
  }
}

/** Long runs of a scheduler that other traces repeat are shown once. */
const folded = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const shown: Array<string> = []
  let repeated = 0
  let previous = ""
  for (const line of lines) {
    const text = line.replace(/^.*? ms {2}(?:#\d+ )?/, "")
    if (text === previous) {
      repeated++
      continue
    }
    if (repeated > 0) shown.push(`            … ${repeated} more`)
    repeated = 0
    previous = text
    shown.push(line)
  }
  return shown
}

/** Whether it broke an invariant. */
const replay = async (text: string): Promise<boolean> => {
  const replayed = read(text, all)
  if (replayed === undefined) throw new Error(`no such scenario; there are: ${all.map(({ name }) => name).join(", ")}`)
  const { trace, violations } = await runOnce(replayed.scenario, replayed.schedule, undefined, true)
  console.log(`\n${text}`)
  for (const line of folded(trace)) console.log(`  ${line}`)
  for (const { invariant, problem } of violations) console.log(`VIOLATED ${invariant}: ${problem}`)
  console.log(`npm run test:schedules -- --replay "${text}"`)
  return violations.length > 0
}

const print = (title: string, { faults, ...counters }: Counters, startedAt: number): void => {
  const kinds = Object.entries(faults).sort(([one], [other]) => one < other ? -1 : 1)
  const total = kinds.reduce((sum, [, count]) => sum + count, 0)
  console.log(title)
  const line = (name: string, value: string | number) => console.log(`  ${name.padEnd(20)} ${value}`)
  line("schedules", counters.schedules)
  line("faults", `${total}: ${kinds.map(([kind, count]) => `${kind} ${count}`).join(", ")}`)
  line("sessions", counters.sessions)
  line("tokens acquired", counters.tokens)
  line("refreshes", counters.refreshes)
  line("unknown outcomes", counters.unknownOutcomes)
  line("double presentations", counters.doublePresentations)
  line("seconds", Math.round((performance.now() - startedAt) / 100) / 10)
}

/** The same program, for some of the schedules. */
const batch = (seed: number, runs: number): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const own = ["--batch", "--seed", String(seed), "--runs", String(runs)]
    const kept = values.scenario === undefined ? [] : ["--scenario", values.scenario]
    const child = spawn(
      process.execPath,
      [...process.execArgv, fileURLToPath(import.meta.url), ...own, ...kept, ...values.all ? ["--all"] : []],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    let text = ""
    child.stdout.on("data", (chunk) => text += String(chunk))
    child.on("error", reject)
    child.on("exit", (code) => {
      if (code === 0) resolve(JSON.parse(text) as Outcome)
      else reject(new Error(`a batch of schedules, from seed ${seed} on, ended with ${String(code)}`))
    })
  })

const batchSize = 2500

const inBatches = async (seed: number, runs: number): Promise<Outcome> => {
  const starts = Array.from({ length: Math.ceil(runs / batchSize) }, (_, index) => index * batchSize)
  const counters = newCounters()
  const found = new Map<string, Found>()
  const work = async () => {
    for (let start = starts.shift(); start !== undefined; start = starts.shift()) {
      const outcome = await batch(seed + start, Math.min(batchSize, runs - start))
      add(counters, outcome.counters)
      for (const one of outcome.found) found.set(`${one.replay.split("/")[0] ?? ""} ${one.invariant}`, one)
      if (found.size > 0 && !values.all) starts.length = 0
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), starts.length) }, work))
  return { counters, found: [...found.values()] }
}

const report = async (title: string, { counters, found }: Outcome, startedAt: number): Promise<number> => {
  print(title, counters, startedAt)
  if (found.length === 0) return 0
  console.log(`\n${found.length} violations:`)
  for (const { invariant, problem, replay } of found) {
    console.log(`  ${invariant}: ${problem}\n    npm run test:schedules -- --replay "${replay}"`)
  }
  const [first] = found
  if (first !== undefined && !values.all) await replay(first.replay)
  return 1
}

const main = async (): Promise<number> => {
  const startedAt = performance.now()
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed)
  const runs = Number(values.runs)
  if (values.replay !== undefined) return await replay(values.replay) ? 1 : 0
  if (values.batch) {
    console.log(JSON.stringify(await explore(random(seed, runs))))
    return 0
  }
  if (values.exhaustive) {
    return report("all schedules with one fault", await explore(exhaustive()), startedAt)
  }
  console.log(`seed ${seed}`)
  return report(`random schedules, seed ${seed}`, await inBatches(seed, runs), startedAt)
}

const code = await main()
// The runtime keeps timers of simulated processes that were killed.
process.stdout.write("", () => process.exit(code))
