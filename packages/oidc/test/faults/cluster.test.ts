/** Sessions of several processes over a Redis Cluster that loses a master: real processes, a real authorization server. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import * as RedisServer from "../../../platform-node/test/support/redis.ts"
import * as RedisCluster from "../../../platform-node/test/support/redisCluster.ts"
import * as ClusterScenario from "./support/clusterScenario.ts"

/**
 * A request waits for the result of another process (5 seconds), for the lease of a lock whose holder is cut off (2 seconds in
 * these processes), and for the time-outs of its own commands (1 second each): the session, the lock, the announcement, and the
 * tokens before and after the exchange.
 */
const longestWait = Duration.seconds(5 + 2 + 6)

const print = (text: string) => Effect.sync(() => void process.stdout.write(`${text}\n`))

describe.skipIf(!RedisServer.available)("over a Redis Cluster (skipped where there is no redis-server)", () => {
  it.scopedLive(
    "a master is away while four processes refresh: no refresh token presented twice, no session lost",
    () =>
      Effect.gen(function*() {
        const cluster = yield* RedisCluster.start(1500)
        const round = yield* ClusterScenario.start(cluster, 12)
        for (const fault of ClusterScenario.faults) {
          const outcome = yield* round(fault)
          yield* print(`a master is ${fault.name}: ${JSON.stringify(outcome, null, 1)}`)
          assert.isAbove(outcome.refreshes, 0)
          assert.isAtMost(outcome.longestMillis, Duration.toMillis(longestWait))
          assert.strictEqual(outcome.presentedTwice, 0, "presented twice")
          assert.strictEqual(outcome.sessionsLost - outcome.lostByFailover, 0, "sessions lost")
        }
      }),
    240_000
  )
})
