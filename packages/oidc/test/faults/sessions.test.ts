/** Sessions of several processes, and what can happen to them: real processes, real stores, a real authorization server. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { password, startPostgres } from "../../../platform-node/test/support/postgres.ts"
import * as RedisServer from "../../../platform-node/test/support/redis.ts"
import * as Scenarios from "./support/scenarios.ts"
import type { Settings } from "./support/settings.ts"

type Run = <A, E>(
  use: (store: Settings["store"]) => Effect.Effect<A, E, Scope.Scope>
) => Effect.Effect<A, E>

const limit = 240_000

const all = (run: Run) => {
  it.live(
    "100 requests in four processes meet an expired token: each refresh token is exchanged once",
    () => run(Scenarios.expiry),
    limit
  )

  it.live(
    "tokens for different APIs, asked for at once: each caller gets its own",
    () => run(Scenarios.resources),
    limit
  )

  it.live(
    "the browser disconnects while a refresh is under way: the new refresh token is kept",
    () => run(Scenarios.disconnect),
    limit
  )

  it.live(
    "SIGTERM while a refresh is under way: the new refresh token is kept, and the process ends",
    () => run(Scenarios.terminated),
    limit
  )
}

describe.skipIf(!RedisServer.available)("over Redis (skipped where there is no redis-server)", () => {
  const run: Run = (use) => Effect.scoped(Effect.flatMap(RedisServer.start(), ({ url }) => use({ _tag: "redis", url })))
  all(run)

  it.live(
    "SIGKILL in the middle of 400 refreshes: lost is at most what the server had answered to the dead",
    () =>
      Effect.gen(function*() {
        const parts = yield* run((store) =>
          Effect.all(Array.from({ length: 4 }, () => Scenarios.killed(store, 100)), { concurrency: "unbounded" })
        )
        for (const { acknowledged, exchanged, interrupted, lost } of parts) {
          assert.isAbove(interrupted, 0)
          assert.isAtMost(lost, exchanged - acknowledged)
        }
      }),
    limit
  )
})

describe("over Postgres", () => {
  const postgres = Effect.acquireRelease(Effect.promise(startPostgres), ({ end }) => Effect.promise(end))
  all((use) => Effect.scoped(Effect.flatMap(postgres, ({ port }) => use({ _tag: "postgres", port, password }))))
})
