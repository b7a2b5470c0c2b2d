import type { Scenario } from "../scenario.ts"
import { machineScenarios } from "./machine.ts"
import { userScenarios } from "./user.ts"

export const scenarios: ReadonlyArray<Scenario> = [...machineScenarios, ...userScenarios]

/** Scenarios in which the explorer still finds a fault, and which. `npm run test:schedules` runs them all the same. */
export const open: ReadonlyMap<string, string> = new Map([
  ["shared-force", "a get after a forced renewal returns the token from before it"],
  ["shared-remove", "a removal does not end after the Layers have closed"],
  ["shared-remove-elsewhere", "a token that was acquired without the store survives its removal elsewhere"],
  ["shared-remove-all", "a removal does not end after the Layers have closed"],
  ["shared-revoke", "a removal does not end after the Layers have closed"],
  ["cookies-refresh", "a jump of the clock interrupts a refresh under way"],
  ["cookies-refresh-early", "a jump of the clock interrupts a refresh under way"],
  ["server-refresh", "a jump of the clock interrupts a refresh under way"],
  ["server-refresh-early", "a jump of the clock interrupts a refresh under way"],
  ["server-shared-revoke", "a revoked token stays in a store that fails once"],
  ["cookies-shared-revoke", "a revoked token stays in a store that fails once"]
])
