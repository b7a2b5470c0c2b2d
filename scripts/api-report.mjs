// The public API of each published package as a text that a review can read: packages/<package>/api.md.
//   node scripts/api-report.mjs [--check] [package folder…]
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import ts from "typescript"
import { parseConfig } from "./tsconfig.mjs"
import { packages, root, specifier } from "./workspace.mjs"

const check = process.argv.includes("--check")
const wanted = process.argv.slice(2).filter((arg) => !arg.startsWith("--"))
const published = packages.filter((pkg) => pkg.published)
const chosen = wanted.length === 0 ? published : published.filter((pkg) => wanted.includes(pkg.folder))

const unknown = wanted.filter((folder) => !published.some((pkg) => pkg.folder === folder))
if (unknown.length > 0) {
  console.error(`Not a published package with source files: ${unknown.join(", ")}`)
  process.exitCode = 1
}

for (const pkg of chosen) {
  const file = join(pkg.path, "api.md")
  const name = relative(root, file)
  const before = existsSync(file) ? readFileSync(file, "utf8") : ""
  const after = report(pkg)
  if (before === after) {
    console.log(`${name} is up to date`)
  } else if (check) {
    console.error(`${name} is not the public API of ${pkg.name}. If the change is meant: run npm run api\n`)
    console.error(difference(before, after))
    process.exitCode = 1
  } else {
    writeFileSync(file, after)
    console.log(`${name} written`)
  }
}

function report(pkg) {
  const program = createProgram(pkg)
  const modules = pkg.publicModules.map((module) => {
    const source = program.getSourceFile(join(pkg.path, "src", `${module}.ts`))
    return { path: specifier(pkg, module), names: exportedNames(program, source), text: declarations(program, source) }
  })
  const sections = [
    `# The public API of ${pkg.name}`,
    "Written by `npm run api`, compared by a test: a change here is a change of the public API.",
    "## Modules and their exports",
    modules.map(({ names, path }) => `- \`${path}\`: ${names.join(", ")}`).join("\n"),
    ...modules.map(({ path, text }) => `## ${path}\n\n\`\`\`ts\n${text}\`\`\``)
  ]
  return `${sections.join("\n\n")}\n`
}

function createProgram(pkg) {
  // one program over the sources, of this package and of those it imports; nothing is built before
  const { fileNames, options } = parseConfig(join(pkg.path, "tsconfig.src.json"), {
    composite: false,
    declarationMap: false,
    stripInternal: true
  })
  delete options.rootDir
  delete options.tsBuildInfoFile
  return ts.createProgram(fileNames, options)
}

function exportedNames(program, source) {
  const checker = program.getTypeChecker()
  const symbol = checker.getSymbolAtLocation(source)
  if (symbol === undefined) return []
  const exported = checker.getExportsOfModule(symbol).filter((name) => !isInternal(name))
  return exported.map(({ name }) => name).sort()
}

/** Marked with a JSDoc @internal, which is what stripInternal removes. */
function isInternal(symbol) {
  return symbol.getJsDocTags().some((tag) => tag.name === "internal")
}

function declarations(program, source) {
  let text
  const { diagnostics, emitSkipped } = program.emit(source, (_file, written) => (text = written), undefined, true)
  if (emitSkipped || text === undefined || diagnostics.length > 0) fail(diagnostics)
  // The printer drops the documentation, and the order of the imports is the formatter's: both may change without the
  // API changing.
  const printer = ts.createPrinter({ removeComments: true, newLine: ts.NewLineKind.LineFeed })
  const file = ts.createSourceFile("api.d.ts", text, ts.ScriptTarget.Latest)
  const print = (statement) => printer.printNode(ts.EmitHint.Unspecified, statement, file)
  const imports = file.statements.filter(ts.isImportDeclaration).map(print).sort()
  const rest = file.statements.filter((statement) => !ts.isImportDeclaration(statement)).map(print)
  return `${[...imports, ...rest].join("\n")}\n`
}

function fail(diagnostics) {
  console.error(ts.formatDiagnostics(diagnostics, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => root,
    getNewLine: () => "\n"
  }))
  process.exit(1)
}

/** The lines that only one side has: enough to see what changed. */
function difference(before, after) {
  const only = (these, those) => these.split("\n").filter((line) => line.trim() !== "" && !those.has(line))
  const removed = only(before, new Set(after.split("\n"))).map((line) => `- ${line}`)
  const added = only(after, new Set(before.split("\n"))).map((line) => `+ ${line}`)
  const lines = [...removed, ...added]
  const shown = lines.slice(0, 60)
  if (lines.length === 0) return "(the same lines in another order)"
  const rest = lines.length - shown.length
  return [...shown, ...(rest > 0 ? [`… and ${rest} more lines`] : [])].join("\n")
}
