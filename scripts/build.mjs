// Writes packages/*/dist. From scratch each time: a module that was removed must not stay in dist, and
// tsc's build info would call a dist that was deleted by hand up to date.
import { rmSync } from "node:fs"
import { join } from "node:path"
import { packages, runTool } from "./workspace.mjs"

for (const pkg of packages) rmSync(join(pkg.path, "dist"), { recursive: true, force: true })
process.exitCode = runTool("tsc", ["-b", "tsconfig.build.json", "--force"]) ? 0 : 1
