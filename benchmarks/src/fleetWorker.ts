/**
 * One process of a fleet, started by fork: at a word it has 2,500 callers at once, and tells how long they took.
 */
import * as ClientCredentialsTokenManager from "@effect-oauth/core/ClientCredentialsTokenManager"
import * as TokenClients from "@effect-oauth/core/TokenClients"
import * as NodeOAuth from "@effect-oauth/platform-node/NodeOAuth"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { once } from "node:events"

const Live = NodeOAuth.layer.pipe(
  Layer.provide(RedisTokenStore.layerConfig({ url: Config.redacted("REDIS_URL") })),
  Layer.provide(TokenClients.layerConfig({
    "client.0": {
      tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
      clientId: "invoice",
      clientSecret: Redacted.make("secret")
    }
  }))
)

const program = Effect.gen(function*() {
  const { get } = yield* ClientCredentialsTokenManager.ClientCredentialsTokenManager
  yield* Effect.promise(() => {
    const word = once(process, "message")
    process.send?.("ready")
    return word
  })
  const [time] = yield* Effect.timed(
    Effect.all(Array.from({ length: 2500 }, () => get("client.0")), { concurrency: "unbounded", discard: true })
  )
  process.send?.(Number(time.value._tag === "Nanos" ? time.value.nanos / 1_000_000n : 0))
})

program.pipe(Effect.provide(Live), NodeRuntime.runMain)
