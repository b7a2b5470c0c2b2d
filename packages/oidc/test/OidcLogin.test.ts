import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { start } from "./support/app.ts"

describe("a login at a real provider", () => {
  it.scopedLive("signs in, gives the user's token, and signs out", () =>
    Effect.gen(function*() {
      const { server, url } = yield* start()
      const browser = new UserAgent()
      const anonymous = yield* Effect.promise(() => browser.go(`${url}/auth/me`))
      assert.deepStrictEqual(JSON.parse(anonymous.body), { signedIn: false })
      const home = yield* Effect.promise(() => browser.signIn(`${url}/auth/login?returnTo=/auth/me`, "alice"))
      assert.strictEqual(home.url, `${url}/auth/me`)
      assert.deepInclude(JSON.parse(home.body), { signedIn: true, sub: "alice", issuer: server.issuer })
      const first = JSON.parse((yield* Effect.promise(() => browser.go(`${url}/token`))).body)
      assert.strictEqual(first.type, "Bearer")
    }))
})
