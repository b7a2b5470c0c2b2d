// docs/parity.md: which test covers which scenario, read from the titles of the tests.
//   it.effect("takes the nonce and retries [parity 46]")   one or several: [parity 1, 2-5]
//   it.effect("keeps the session [parity 139, changed]")   on purpose not as in the product compared with
//   node scripts/parity.mjs [--check]
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import ts from "typescript"
import { filesBelow, root } from "./workspace.mjs"

const output = join(root, "docs/parity.md")
const sections = JSON.parse(readFileSync(join(root, "scripts/parity-scenarios.json"), "utf8"))
const total = sections.reduce((sum, section) => sum + section.scenarios.length, 0)
const problems = []

const before = existsSync(output) ? readFileSync(output, "utf8") : ""
const after = page(coverage())
if (problems.length > 0) {
  console.error(problems.join("\n"))
  process.exitCode = 1
} else if (before === after) {
  console.log("docs/parity.md is up to date")
} else if (process.argv.includes("--check")) {
  console.error("docs/parity.md is not what the titles of the tests say: run npm run parity")
  process.exitCode = 1
} else {
  writeFileSync(output, after)
  console.log("docs/parity.md written")
}

/** Scenario number -> the tests that name it. */
function coverage() {
  const covered = new Map()
  const files = [
    ...filesBelow(join(root, "packages")).filter((file) => /^[^/]+\/test\/.*\.test\.ts$/.test(file)).map((file) =>
      `packages/${file}`
    ),
    ...filesBelow(join(root, "examples")).filter((file) => file.endsWith(".test.ts")).map((file) => `examples/${file}`)
  ]
  for (const file of files) {
    for (const title of titles(file)) {
      for (const { changed, number } of references(file, title)) {
        const tests = covered.get(number) ?? []
        covered.set(number, [...tests, { file, title: title.replace(/\s*\[parity [^\]]*\]/g, ""), changed }])
      }
    }
  }
  return covered
}

/** What looks like the title of a test that runs: the first argument of any call but `it.skip("…")` and the like. */
function titles(file) {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest)
  const found = []
  const visit = (node) => {
    if (ts.isCallExpression(node) && node.arguments.length > 0 && !isSkipped(node.expression)) {
      found.push(literalText(node.arguments[0], source))
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function literalText(node, source) {
  if (ts.isStringLiteralLike(node)) return node.text
  if (ts.isTemplateExpression(node)) return node.getText(source).slice(1, -1)
  if (ts.isBinaryExpression(node)) return literalText(node.left, source) + literalText(node.right, source)
  return ""
}

function isSkipped(callee) {
  if (ts.isCallExpression(callee)) return isSkipped(callee.expression)
  return ts.isPropertyAccessExpression(callee) &&
    (["skip", "todo", "fails"].includes(callee.name.text) || isSkipped(callee.expression))
}

function references(file, title) {
  return [...title.matchAll(/\[parity ([^\]]*)\]/g)].flatMap(([mark, list]) => {
    const parts = list.split(",").map((part) => part.trim())
    const changed = parts.includes("changed")
    return parts.filter((part) => part !== "changed").flatMap((part) => {
      const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? []
      const numbers = from === undefined ? [] : range(Number(from), Number(to))
      if (numbers.length === 0 || numbers.some((number) => number < 1 || number > total)) {
        problems.push(`${file}: "${part}" in ${mark} is not a scenario from 1 to ${total}`)
      }
      return numbers.map((number) => ({ number, changed }))
    })
  })
}

function range(from, to) {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)
}

function page(covered) {
  const changed = [...covered.values()].filter((tests) => tests.some((test) => test.changed)).length
  const intro = [
    "# Parity with Duende.AccessTokenManagement V4",
    "Written by `npm run parity` from the titles of the tests, never by hand. Each row is a scenario that the .NET library's " +
    "own tests go through, in this project's terms, with the tests here that go through it. *Changed* marks a behaviour " +
    "that is different on purpose; the test asserts ours.",
    `**${covered.size} of ${total} covered, ${changed} of them changed on purpose.**`
  ]
  return `${[...intro, ...sections.flatMap((section) => table(section, covered))].join("\n\n")}\n`
}

function table({ first, scenarios, section }, covered) {
  const rows = scenarios.map((scenario, index) =>
    `| ${first + index} | ${cell(scenario)} | ${tests(covered.get(first + index))} |`
  )
  return [`## ${section}`, ["| | scenario | test |", "|---:|---|---|", ...rows].join("\n")]
}

function tests(found) {
  if (found === undefined) return "not covered yet"
  return found.map(({ changed, file, title }) => `${changed ? "*Changed:* " : ""}[${cell(title)}](../${file})`)
    .join("<br>")
}

function cell(text) {
  return text.replace(/[\\|[\]<]/g, "\\$&").replace(/\s*\n\s*/g, " ")
}
