import { existsSync, readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineProject } from "vitest/config"

const root = fileURLToPath(new URL(".", import.meta.url))

// Packages of this repository are read from their src; the rest are vitest's own defaults for Node.
const conditions = ["@effect-oauth/source", "node", "development|production"]

/** What kills, stops and cuts off real processes: it measures them, and has the machine for itself. */
const measured = ["**/faults/**/*.test.ts", "**/*.{faults,cluster}.test.ts"]

interface Part {
  readonly include: Array<string>
  readonly exclude?: Array<string>
  /** After all others, one file at a time. */
  readonly alone?: boolean
}

const project = (folder: string, name: string, { alone = false, exclude = [], include }: Part) =>
  defineProject({
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      name,
      root: `${root}${folder}`,
      include,
      exclude: ["**/node_modules/**", ...exclude],
      setupFiles: [`${root}vitest.setup.ts`],
      // Effect's TestClock is the clock of our tests; vitest's fake timers would stop its scheduler.
      fakeTimers: { toFake: undefined },
      sequence: { concurrent: false },
      poolOptions: { forks: { singleFork: alone } },
      // Real servers and compilers run in some tests, on machines with two busy cores.
      testTimeout: 20_000,
      hookTimeout: 30_000
    }
  })

const hasTests = (folder: string) =>
  existsSync(`${root}${folder}/test`) &&
  readdirSync(`${root}${folder}/test`, { recursive: true }).some((file) => String(file).endsWith(".test.ts"))

export default [
  ...readdirSync(`${root}packages`)
    .filter((name) => hasTests(`packages/${name}`))
    .flatMap((name) => [
      project(`packages/${name}`, name, { include: ["test/**/*.test.ts"], exclude: measured }),
      project(`packages/${name}`, `${name} faults`, { include: measured, alone: true })
    ]),
  project("examples", "examples", { include: ["**/*.test.ts"] })
]
