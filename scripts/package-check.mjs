// What a user installs: every published package is built, packed, and looked at from outside.
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { packages, root, runTool, specifier } from "./workspace.mjs"

const published = packages.filter((pkg) => pkg.published)
const temporary = mkdtempSync(join(tmpdir(), "package-check-"))
const modulesOutside = join(temporary, "node_modules")
const distsBefore = new Set(published.filter((pkg) => existsSync(join(pkg.path, "dist"))))
let failures = 0

try {
  step("build", () => execFileSync(process.execPath, [join(root, "scripts/build.mjs")], { stdio: "inherit" }))
  if (failures === 0) {
    for (const pkg of published) checkTarball(pkg)
    checkFromOutside()
  }
} finally {
  rmSync(temporary, { recursive: true, force: true })
  for (const pkg of published) {
    if (!distsBefore.has(pkg)) rmSync(join(pkg.path, "dist"), { recursive: true, force: true })
  }
}
console.log(failures === 0 ? "\npackage-check: all good" : `\npackage-check: ${failures} failed`)
process.exitCode = failures === 0 ? 0 : 1

function checkTarball(pkg) {
  const folder = join(temporary, pkg.folder)
  mkdirSync(folder)
  step(
    `npm pack ${pkg.name}`,
    () => execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: pkg.path, stdio: "inherit" })
  )
  const tarball = join(folder, readdirSync(folder)[0])

  step(`publint ${pkg.name}`, () => assert(runTool("publint", [tarball, "--strict"])))
  // attw leaves out "./*" of the exports, so the modules are named.
  const entrypoints = pkg.publicModules.map((module) => module === "index" ? "." : module)
  step(
    `attw ${pkg.name}`,
    () =>
      assert(
        runTool("attw", [
          tarball,
          "--profile",
          "esm-only",
          "--format",
          "table-flipped",
          "--entrypoints",
          ...entrypoints
        ])
      )
  )

  const installed = join(modulesOutside, pkg.name)
  mkdirSync(installed, { recursive: true })
  execFileSync("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"])
}

/** A project that has the packed packages and what they depend on installed, and nothing else of this repository. */
function checkFromOutside() {
  const ours = new Set(published.map((pkg) => pkg.name))
  const installed = new Set(["@types/node", ...published.flatMap((pkg) => pkg.dependencies)])
  for (const name of installed) {
    // an optional peer may be missing here as well
    if (ours.has(name) || !existsSync(join(root, "node_modules", name))) continue
    mkdirSync(dirname(join(modulesOutside, name)), { recursive: true })
    symlinkSync(join(root, "node_modules", name), join(modulesOutside, name))
  }
  writeFileSync(join(temporary, "package.json"), JSON.stringify({ type: "module" }))

  const specifiers = published.flatMap((pkg) => pkg.publicModules.map((module) => specifier(pkg, module)))
  const imports = specifiers.map((path, index) => `import * as _${index} from "${path}"`)
  const uses = `export const all = [${specifiers.map((_, index) => `_${index}`).join(", ")}]`
  writeFileSync(join(temporary, "consumer.ts"), [...imports, uses, ""].join("\n"))
  writeFileSync(
    join(temporary, "tsconfig.json"),
    JSON.stringify({
      files: ["consumer.ts"],
      compilerOptions: {
        target: "ES2022",
        lib: ["ES2022", "DOM", "DOM.Iterable"],
        module: "NodeNext",
        strict: true,
        exactOptionalPropertyTypes: true,
        // our declarations are what is checked here
        skipLibCheck: false,
        types: ["node"]
      }
    })
  )
  step("types of every module, without skipLibCheck", () => assert(runTool("tsc", ["-p", temporary])))
  step(
    "import of every module",
    () => execFileSync(process.execPath, ["consumer.js"], { cwd: temporary, stdio: "inherit" })
  )

  for (const pkg of published) {
    step(`no internal module of ${pkg.name} can be imported`, () => {
      // a module that exists, else the test would pass by a missing file
      for (const module of [...pkg.internalModules, "internal/x"]) {
        const code = `import("${pkg.name}/${module}").then(() => process.exit(1), (e) => { console.log(e.code) })`
        const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", code], {
          cwd: temporary,
          encoding: "utf8"
        })
        assert(printed.trim() === "ERR_PACKAGE_PATH_NOT_EXPORTED", `${module}: ${printed}`)
      }
    })
  }
}

function step(title, run) {
  console.log(`\n— ${title}`)
  try {
    run()
  } catch (error) {
    failures++
    console.error(`FAILED: ${title}: ${error.message}`)
  }
}

function assert(condition, message = "see above") {
  if (!condition) throw new Error(message)
}
