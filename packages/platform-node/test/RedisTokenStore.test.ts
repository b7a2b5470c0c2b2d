import * as TokenStoreContract from "@effect-oauth/core/testing/TokenStoreContract"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import * as RedisServer from "./support/redis.ts"

describe.skipIf(!RedisServer.available)("RedisTokenStore", () => {
  describe.concurrent("keeps to the contract", () => {
    for (const { name, run } of TokenStoreContract.cases) {
      it.scopedLive(
        name,
        () =>
          Effect.flatMap(
            RedisServer.start(),
            ({ url }) => run(RedisTokenStore.make({ url, prefix: `${randomUUID()}:` }))
          )
      )
    }
  })
})
