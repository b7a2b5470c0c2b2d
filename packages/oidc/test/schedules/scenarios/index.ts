import type { Scenario } from "../scenario.ts"
import { machineScenarios } from "./machine.ts"
import { userScenarios } from "./user.ts"

export const scenarios: ReadonlyArray<Scenario> = [...machineScenarios, ...userScenarios]
