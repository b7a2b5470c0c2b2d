// What the other scripts need to know about this repository.
import { spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Every file below a folder, as paths relative to it with forward slashes, sorted. */
export const filesBelow = (folder) =>
  !existsSync(folder) ? [] : readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((file) => !file.split("/").includes("node_modules"))
    .sort()

const describePackage = (folder) => {
  const path = join(root, "packages", folder)
  const manifest = JSON.parse(readFileSync(join(path, "package.json"), "utf8"))
  const modules = filesBelow(join(path, "src"))
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -".ts".length))
    // the barrel first
    .sort((a, b) => Number(b === "index") - Number(a === "index"))
  return {
    folder,
    path,
    name: manifest.name,
    dependencies: Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }),
    published: manifest.private !== true,
    // src/internal is blocked by the package's exports; the rest is the public API
    publicModules: modules.filter((module) => !module.startsWith("internal/")),
    internalModules: modules.filter((module) => module.startsWith("internal/"))
  }
}

/** The packages that have source files. */
export const packages = readdirSync(join(root, "packages"))
  .map(describePackage)
  .filter((pkg) => pkg.publicModules.length > 0)

/** The import path of a public module: `@effect-oauth/core/TokenClients`. */
export const specifier = (pkg, module) => module === "index" ? pkg.name : `${pkg.name}/${module}`

/** Runs a tool of node_modules/.bin in the repository's root; true if it succeeded. */
export const runTool = (name, args) =>
  spawnSync(process.execPath, [join(root, "node_modules/.bin", name), ...args], { cwd: root, stdio: "inherit" })
    .status === 0
