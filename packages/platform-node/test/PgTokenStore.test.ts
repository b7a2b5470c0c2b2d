/**
 * Against a real Postgres, on loopback.
 */
import { TokenStore } from "@effect-oauth/core"
import * as TokenStoreContract from "@effect-oauth/core/testing/TokenStoreContract"
import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
import * as PgClient from "@effect/sql-pg/PgClient"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type Postgres, startPostgres } from "./support/postgres.ts"

let postgres: Postgres
beforeAll(async () => {
  postgres = await startPostgres()
})
afterAll(() => postgres.end())

let tables = 0
const newTable = () => `tokens_${++tables}`

/** A process of its own, as far as Postgres can see. */
const open = (options: PgTokenStore.Options, config: PgClient.PgClientConfig = postgres.config) =>
  Effect.map(
    Layer.build(Layer.provide(PgTokenStore.layer(options), PgClient.layer(config))),
    (context) => Context.get(context, TokenStore.TokenStore)
  )

describe("PgTokenStore", () => {
  describe.concurrent("keeps to the contract", () => {
    for (const { name, run } of TokenStoreContract.cases) {
      it.scopedLive(name, () =>
        Effect.suspend(() => {
          const table = newTable()
          return run(open({ table }))
        }))
    }
  })
})
void assert
