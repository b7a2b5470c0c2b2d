// npm run docs-check: the code in the docs is code. Every ts block of a doc comment, a README or docs/*.md type-checks, every
// doc comment's example runs, and every relative link leads to a file.
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { filesBelow, root } from "./workspace.mjs"

// Below node_modules, so that imports resolve as in a program that has the packages installed.
const work = join(root, "node_modules", ".cache", "docs-check")
rmSync(work, { recursive: true, force: true })
mkdirSync(work, { recursive: true })

const modules = ["core", "oidc", "platform-node"].flatMap((name) =>
  filesBelow(join(root, "packages", name, "src"))
    .filter((file) => file.endsWith(".ts") && !file.startsWith("internal/"))
    .map((file) => `packages/${name}/src/${file}`)
)
const pages = ["README.md", "examples/README.md"]
  .concat(["core", "oidc", "platform-node"].map((name) => `packages/${name}/README.md`))
  .concat(filesBelow(join(root, "docs")).filter((file) => file.endsWith(".md")).map((file) => `docs/${file}`))
  .filter((file) => existsSync(join(root, file)))

const blocksOf = (file, text) =>
  [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => ({
    file,
    line: text.slice(0, match.index).split("\n").length + 1,
    code: match[1]
  }))

const read = (file) => readFileSync(join(root, file), "utf8")
const uncommented = (text) => text.replace(/^ \* ?/gm, "")
const examples = modules.flatMap((file) => blocksOf(file, uncommented(read(file))))
const blocks = [...examples, ...pages.flatMap((file) => blocksOf(file, read(file)))]
const nameOf = ({ file, line }) => `${file.replace(/[^A-Za-z0-9]+/g, "_")}_${line}.ts`

for (const block of blocks) writeFileSync(join(work, nameOf(block)), `${block.code}\nexport {}\n`)
writeFileSync(join(work, "package.json"), "{ \"type\": \"module\" }")
writeFileSync(
  join(work, "all.ts"),
  examples.map((block) => `await import("./${nameOf(block)}")\n`).join("") + "export {}\n"
)
writeFileSync(
  join(work, "tsconfig.json"),
  JSON.stringify({
    extends: "../../../tsconfig.noemit.json",
    compilerOptions: { incremental: false, noUnusedLocals: false, plugins: [] },
    include: ["*.ts"]
  })
)

const problems = []
const run = (what, args) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: work,
    encoding: "utf8",
    timeout: 120_000
  })
  if (status !== 0) problems.push(`${what}:\n${stdout}${stderr}`)
}
const source = (text) =>
  blocks.reduce(
    (named, block) =>
      named.replaceAll(new RegExp(`${nameOf(block)}\\((\\d+),`, "g"), (_, line) =>
        `${block.file}:${block.line + Number(line) - 1} (`),
    text
  )

run("types", [fileURLToPath(import.meta.resolve("typescript/bin/tsc")), "-p", "tsconfig.json", "--pretty", "false"])
run("examples", ["--conditions=@effect-oauth/source", "--import", "tsx", "all.ts"])

for (const file of pages) {
  for (const [, link] of read(file).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) {
    if (!existsSync(join(root, dirname(file), link))) problems.push(`${file}: the link ${link} leads nowhere`)
  }
}

for (const problem of problems) console.error(source(problem))
console.log(
  `${blocks.length} blocks of code, ${examples.length} of them examples that ran; ${problems.length} problems`
)
process.exitCode = problems.length === 0 ? 0 : 1
