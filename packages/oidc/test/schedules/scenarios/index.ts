import type { Scenario } from "../scenario.ts"
import { machineScenarios } from "./machine.ts"
import { userScenarios } from "./user.ts"

export const scenarios: ReadonlyArray<Scenario> = [...machineScenarios, ...userScenarios]

/** Scenarios in which the explorer still finds a fault, and which. `npm run test:schedules` runs them all the same. */
export const open: ReadonlyMap<string, string> = new Map([
  ["shared-force", "forced gets of two processes write without version or fence"],
  ["shared-remove", "a request in flight writes a removed token back"],
  ["shared-remove-elsewhere", "a request in flight writes a removed token back"],
  ["shared-remove-all", "a request in flight writes a removed token back"],
  ["shared-revoke", "revoke does not end while the store is silent"],
  ["cookies-refresh-early", "a token that has ended while the server was asked is handed out"],
  ["cookies-shared-refresh-early", "a token that has ended while the server was asked is handed out"],
  ["server-refresh-early", "a token that has ended while the server was asked is handed out"],
  ["server-shared-refresh-early", "a token that has ended while the server was asked is handed out"],
  ["named-refresh", "a token that has ended while the server was asked is handed out"],
  ["cookies-refresh", "a jump of the clock interrupts a refresh under way"],
  ["server-refresh", "a jump of the clock interrupts a refresh under way"],
  ["server-shared-revoke", "a revoked token stays in a store that fails once"],
  ["cookies-shared-revoke", "a revoked token stays in a store that fails once"]
])
