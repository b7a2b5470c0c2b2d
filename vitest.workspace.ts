import { existsSync, readdirSync } from "node:fs"
import { availableParallelism } from "node:os"
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
  /** Parts with a higher order begin when all others have ended. */
  readonly order: number
  readonly processes: number
}

const project = (folder: string, name: string, { exclude = [], include, order, processes }: Part) =>
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
      sequence: { concurrent: false, groupOrder: order },
      poolOptions: { forks: { minForks: 1, maxForks: processes } },
      // Real servers and compilers run in some tests, on machines with two busy cores.
      testTimeout: 20_000,
      hookTimeout: 30_000
    }
  })

const hasTests = (folder: string) =>
  existsSync(`${root}${folder}/test`) &&
  readdirSync(`${root}${folder}/test`, { recursive: true }).some((file) => String(file).endsWith(".test.ts"))

const processes = availableParallelism()

export default [
  ...readdirSync(`${root}packages`)
    .filter((name) => hasTests(`packages/${name}`))
    .flatMap((name) => [
      project(`packages/${name}`, name, { include: ["test/**/*.test.ts"], exclude: measured, order: 0, processes }),
      project(`packages/${name}`, `${name} faults`, { include: measured, order: 1, processes: 1 })
    ]),
  project("examples", "examples", { include: ["**/*.test.ts"], order: 0, processes })
]
