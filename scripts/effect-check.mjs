// The Effect language service's diagnostics as a gate: errors and warnings fail, by the severities that the
// plugin's configuration in the tsconfig gives them.
//
// Not by `effect-language-service diagnostics`: it takes over our NodeNext resolution, under which effect's types are
// CommonJS. TypeScript then makes copies of the members of `import * as Effect from "effect/Effect"`, the language
// service does not know the copies, and whatever it looks for inside Effect.gen goes unseen. So the programs made here
// are resolved like a bundler's; that they are right under NodeNext is for `npm run check` to say.
import transform from "@effect/language-service/transform.js"
import { join } from "node:path"
import ts from "typescript"
import { parseConfig } from "./tsconfig.mjs"
import { packages, root } from "./workspace.mjs"

const projects = [...packages.map((pkg) => `packages/${pkg.folder}/tsconfig.src.json`), "examples/tsconfig.json"]
const diagnostics = projects.flatMap(check)

if (diagnostics.length > 0) {
  const format = process.stdout.isTTY ? ts.formatDiagnosticsWithColorAndContext : ts.formatDiagnostics
  console.log(format(diagnostics, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => root,
    getNewLine: () => "\n"
  }))
}
console.log(`${diagnostics.length} Effect diagnostics in ${projects.join(", ")}`)
process.exitCode = diagnostics.length === 0 ? 0 : 1

function check(project) {
  const { fileNames, options } = parseConfig(join(root, project), {
    composite: false,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler
  })
  const plugin = options.plugins.find(({ name }) => name === "@effect/language-service")
  const program = ts.createProgram(fileNames, options)
  const found = []
  const visit = transform.default(program, plugin, { ts, addDiagnostic: (diagnostic) => found.push(diagnostic) })()
  for (const file of fileNames) visit(program.getSourceFile(file))
  return found
}
