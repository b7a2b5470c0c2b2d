// npm run example <folder> [-- args]: runs examples/<folder>/main.ts from source.
import { spawn } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { constants } from "node:os"
import { join } from "node:path"
import { root } from "./workspace.mjs"

const examples = readdirSync(join(root, "examples"))
  .filter((folder) => existsSync(join(root, "examples", folder, "main.ts")))
  .sort()
const list = examples.map((folder) => `  ${folder}`).join("\n")
const [folder, ...args] = process.argv.slice(2)

if (folder === undefined) {
  console.log(`Usage: npm run example <folder> [-- arguments]\n\nFolders:\n${list}`)
} else if (!examples.includes(folder)) {
  console.error(`There is no example "${folder}" (looked for examples/${folder}/main.ts). Folders:\n${list}`)
  process.exitCode = 1
} else {
  run(folder, args)
}

function run(folder, args) {
  const main = join(root, "examples", folder, "main.ts")
  // process.execPath instead of a "tsx" on the PATH: one process below this one, so that a signal reaches it
  const child = spawn(process.execPath, ["--conditions=@effect-oauth/source", "--import", "tsx", main, ...args], {
    cwd: root,
    stdio: "inherit"
  })

  const forward = (signal) => child.kill(signal)
  process.on("SIGTERM", forward)
  // A terminal sends these to the whole process group; the program would take a copy for the second, impatient Ctrl-C.
  const atTerminal = process.stdin.isTTY === true
  for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, atTerminal ? () => {} : forward)

  child.on("error", (error) => {
    console.error(error.message)
    process.exit(1)
  })
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}
