import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.ts"

// vitest 3 finds vitest.workspace.ts by itself, but calls that deprecated on every run.
export default defineConfig({ test: { projects } })
