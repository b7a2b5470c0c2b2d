/** The schedules with one fault. `npm run test:schedules` runs random ones with several. */
import { assert, describe, it } from "vitest"
import {
  add,
  everySchedule,
  interleavings,
  newCounters,
  read,
  runOnce,
  type Schedule,
  singleFaults,
  written
} from "./explorer.ts"
import type { Scenario } from "./scenario.ts"
import { scenarios } from "./scenarios/index.ts"
import type { Kind } from "./world.ts"

/** What differs most. */
const some: ReadonlyArray<Kind> = ["lost", "silent", "outage", "interrupt", "kill", "hold", "forward", "back", "pause"]

/** All of them for one process. For two, which have many yield points, each has its share of what differs most. */
const schedulesOf = async (scenario: Scenario): Promise<ReadonlyArray<Schedule>> => {
  if (scenario.processes === 1) return everySchedule(scenario)
  const isChosen = ({ decisions: [decision] }: Schedule): boolean => {
    if (decision === undefined) return false
    const { at, kind, points = 5 } = decision
    const index = some.indexOf(kind)
    return index >= 0 && index % some.length === (at * 2) % some.length && points === 5
  }
  const schedules = [...await singleFaults(scenario), ...await interleavings(scenario)]
  return [{ seed: 1, decisions: [] }, ...schedules.filter(isChosen)]
}

/** Random schedules that found a fault. */
const found = [
  "shared-force/1/6:interrupt",
  "shared-force/20269638/3:hold3,5:fail",
  "machine-force/20263729/0:late,1:forward",
  "adopt/1614591469/4:fail,18:back",
  "adopt/20265093/6:forward,9:lost,12:later",
  "server-shared-refresh-early/145493965/1:forward,14:kill,19:blackout",
  "server-shared-sign-out/145495591/3:close",
  "cookies-revoke/145499249/0:late,1:lost,2:forward",
  "named-keep/2014285911/6:pause,7:close",
  "named-keep/2014291377/0:hang,3:interrupt,6:back"
]

const total = newCounters()

describe("whatever fails at whichever step", () => {
  for (const scenario of scenarios) {
    it(scenario.name, { timeout: 120_000 }, async () => {
      const schedules = await schedulesOf(scenario)
      const counters = newCounters()
      for (const schedule of schedules) {
        // Vitest has to say now and then that it is there.
        await new Promise((resolve) => setImmediate(resolve))
        const { violations: [violation] } = await runOnce(scenario, schedule, counters)
        if (violation === undefined) continue
        const replay = `npm run test:schedules -- --replay "${written(scenario, schedule)}"`
        assert.fail(`${violation.invariant}: ${violation.problem}\n${replay}`)
      }
      assert.strictEqual(counters.schedules, schedules.length)
      assert.isAbove(Object.keys(counters.faults).length, 0)
      add(total, counters)
    })
  }

  for (const text of found) {
    it(`found before: ${text}`, async () => {
      const replayed = read(text, scenarios)
      if (replayed === undefined) throw new Error("there is no such scenario")
      assert.deepStrictEqual((await runOnce(replayed.scenario, replayed.schedule, undefined)).violations, [])
    })
  }

  it("happened, and was counted", () => {
    assert.isAbove(total.schedules, 300)
    assert.isAbove(total.sessions, 100)
    assert.isAbove(total.tokens, 1000)
    assert.isAbove(total.refreshes, 500)
    assert.isAbove(total.unknownOutcomes, 5)
    assert.strictEqual(total.doublePresentations, 0)
  })

  it("happens in the same way again", { timeout: 120_000 }, async () => {
    for (const scenario of scenarios.filter((_, index) => index % 4 === 0)) {
      const schedule: Schedule = { seed: 7, decisions: [{ at: 0, kind: "late" }, { at: 3, kind: "pause" }] }
      const { trace: one } = await runOnce(scenario, schedule, undefined, true)
      const { trace: other } = await runOnce(scenario, schedule, undefined, true)
      assert.isAbove(one.length, 3)
      assert.deepStrictEqual(one, other)
    }
  })
})
