import { packages, runTool } from "./workspace.mjs"
const sources = packages.map((pkg) => `packages/${pkg.folder}/src`)
process.exitCode = runTool("madge", ["--circular", "--no-spinner", ...sources]) ? 0 : 1
