/**
 * npm run test:schedules:bugs
 *
 * Puts deliberate bugs into copies of the sources, and asks whether the explorer finds each.
 */
import { spawn } from "node:child_process"
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Bug, bugs } from "./patches.ts"

const root = fileURLToPath(new URL("../../../../", import.meta.url))
const packages = ["core", "oidc", "platform-node"]
const harness = "packages/oidc/test/schedules/main.ts"

/** Sources and harness of their own, and the packages of others as they are. */
const copy = async (folder: string): Promise<void> => {
  for (const name of packages) {
    await mkdir(join(folder, "packages", name), { recursive: true })
    await cp(join(root, "packages", name, "package.json"), join(folder, "packages", name, "package.json"))
    await cp(join(root, "packages", name, "src"), join(folder, "packages", name, "src"), { recursive: true })
  }
  for (const part of ["schedules", "support/browser.ts"]) {
    await cp(join(root, "packages/oidc/test", part), join(folder, "packages/oidc/test", part), { recursive: true })
  }
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }))
  await mkdir(join(folder, "node_modules/@effect-oauth"), { recursive: true })
  for (const name of packages) {
    await symlink(join(folder, "packages", name), join(folder, "node_modules/@effect-oauth", name))
  }
  for (const name of await readdir(join(root, "node_modules"))) {
    if (name === "@effect-oauth") continue
    await symlink(join(root, "node_modules", name), join(folder, "node_modules", name))
  }
}

const apply = async (folder: string, { name, patches }: Bug): Promise<void> => {
  for (const { file, find, replace } of patches) {
    const path = join(folder, file)
    const text = await readFile(path, "utf8")
    const parts = text.split(find)
    if (parts.length !== 2) {
      throw new Error(`the patch of "${name}" does not apply: ${file} has its text ${parts.length - 1} times, not once`)
    }
    await writeFile(path, parts.join(replace))
  }
}

const explore = (
  folder: string,
  args: ReadonlyArray<string>
): Promise<{ readonly code: number; readonly text: string }> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ["--max-semi-space-size=64", "--conditions=@effect-oauth/source", "--import", "tsx", harness, ...args],
      { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }
    )
    let text = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => text += String(chunk))
    child.on("error", reject)
    child.on("exit", (code) => resolve({ code: code ?? -1, text }))
  })

/** What was wrong with it, if it was not found. */
const problemOf = async (bug: Bug): Promise<string | undefined> => {
  const startedAt = performance.now()
  const folder = await mkdtemp(join(tmpdir(), "schedules-"))
  try {
    await copy(folder)
    await apply(folder, bug)
    const { code, text } = await explore(folder, ["--exhaustive", "--scenario", bug.scenario])
    const seconds = Math.round((performance.now() - startedAt) / 1000)
    const violations = [...text.matchAll(/^ {2}(.*)\n {4}npm run test:schedules -- --replay "(.*)"$/gm)]
    const [, violation, replay] = violations.find(([, text]) => text?.startsWith(bug.invariant)) ?? []
    if (code !== 1 || violation === undefined || replay === undefined) {
      return `not found in ${seconds} s: ${bug.name}: expected "${bug.invariant}", exit code ${code}\n${
        text.slice(0, 3000)
      }`
    }
    // It has to be the bug that is found.
    const { code: withoutBug } = await explore(root, ["--replay", replay])
    if (withoutBug !== 0) return `${bug.name}: ${replay} fails without the bug, too`
    console.log(`found in ${seconds} s: ${bug.name}\n  ${violation}\n  ${replay}`)
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const [only] = process.argv.slice(2)
const waiting = bugs.filter(({ name }) => only === undefined || name.includes(only))
const count = waiting.length
const problems: Array<string> = []
const work = async () => {
  for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
    const problem = await problemOf(bug)
    if (problem !== undefined) problems.push(problem)
  }
}
await Promise.all(Array.from({ length: availableParallelism() }, work))
for (const problem of problems) console.error(problem)
console.log(`${count - problems.length} of ${count} bugs were found`)
process.exitCode = count > 0 && problems.length === 0 ? 0 : 1
