import { existsSync, readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { defineProject } from "vitest/config"

const root = fileURLToPath(new URL(".", import.meta.url))

// Packages of this repository are read from their src; the rest are vitest's own defaults for Node.
const conditions = ["@effect-oauth/source", "node", "development|production"]

const project = (folder: string, include: Array<string>) =>
  defineProject({
    resolve: { conditions },
    ssr: { resolve: { conditions } },
    test: {
      name: folder.replace(/^packages\//, ""),
      root: `${root}${folder}`,
      include,
      setupFiles: [`${root}vitest.setup.ts`],
      // Effect's TestClock is the clock of our tests; vitest's fake timers would stop its scheduler.
      fakeTimers: { toFake: undefined },
      sequence: { concurrent: false },
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
    .map((name) => `packages/${name}`)
    .filter(hasTests)
    .map((folder) => project(folder, ["test/**/*.test.ts"])),
  project("examples", ["**/*.test.ts"])
]
