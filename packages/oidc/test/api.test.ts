import { assert, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"

it("the public API and the list of its types are those in api.md [parity 71, 73]", () => {
  const script = fileURLToPath(new URL("../../../scripts/api-report.mjs", import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, [script, "--check", "oidc"], { encoding: "utf8" })
  assert.strictEqual(status, 0, stderr)
}, 60_000)
