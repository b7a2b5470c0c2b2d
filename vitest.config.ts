import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.ts"

const processes = availableParallelism()

// vitest 3 finds vitest.workspace.ts by itself, but calls that deprecated on every run.
export default defineConfig({ test: { projects, minWorkers: processes, maxWorkers: processes } })
