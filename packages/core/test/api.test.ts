import { assert, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

it("the public API is the one in api.md [parity 70, 72]", () => {
  const script = fileURLToPath(new URL("../../../scripts/api-report.mjs", import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, [script, "--check", "core"], { encoding: "utf8" })
  assert.strictEqual(status, 0, stderr)
}, 60_000)
