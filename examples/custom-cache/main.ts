/**
 * Two workers with a cache and a store of the user's own in place of the library's: `npm run example custom-cache`.
 */
import { ClientCredentialsTokenManager, type TokenCache, TokenClients, TokenStore } from "@effect-oauth/core"
import { cases } from "@effect-oauth/core/testing/TokenStoreContract"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Redacted } from "effect"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as Telling from "../servers/telling.ts"
import * as MapStore from "./mapStore.ts"
import * as TellingCache from "./tellingCache.ts"

/** Whatever is provided to `NodeOAuth.layer` is used in place of what it has. */
const worker = (cache: Layer.Layer<TokenCache.TokenCache>, tokenEndpoint: string) =>
  NodeOAuth.layer.pipe(
    Layer.provide(cache),
    Layer.provideMerge(TokenClients.layer({
      "invoice.client": { tokenEndpoint, clientId: "invoice.client", clientSecret: Redacted.make("secret") }
    }))
  )

const program = Effect.gen(function*() {
  const { end, line, step, title } = yield* Telling.make
  const server = yield* AuthorizationServer.start({
    clients: [{ client_id: "invoice.client", client_secret: "secret" }]
  })
  yield* title("A store and a cache of one's own. This takes about 3 seconds.")

  yield* step("Is the store one that the library can rely on? It ships the cases to find out.")
  const kept = yield* Effect.forEach(
    cases,
    ({ run }) => Effect.isSuccess(Effect.flatMap(MapStore.make, (store) => run(Effect.succeed(store)))),
    { concurrency: "unbounded" }
  )
  yield* line("cases of the contract", `${kept.filter((each) => each).length} of ${cases.length} kept`)

  yield* step("Two workers over that store, each with a cache that tells what it is asked.")
  const store = yield* MapStore.make
  const shared = Layer.succeed(TokenStore.TokenStore, store)
  const tallies = yield* Effect.forEach(["first", "second"], (name) =>
    Effect.gen(function*() {
      const tally = { asked: 0, acquired: 0 }
      const cache = Layer.provide(TellingCache.layer(tally), shared)
      yield* Effect.replicateEffect(ClientCredentialsTokenManager.get("invoice.client"), 10).pipe(
        Effect.provide(worker(cache, server.tokenEndpoint))
      )
      yield* line(`the ${name} worker's cache`, `asked ${tally.asked} times, acquired ${tally.acquired} tokens`)
      return tally
    }))
  yield* line("requests for tokens", server.tokenRequests())

  yield* end([
    [kept.every((each) => each), "the store does not keep to the contract"],
    [server.tokenRequests() === 1, `there were ${server.tokenRequests()} requests for tokens, not one`],
    [tallies.every(({ asked }) => asked === 10), "a cache was passed by"]
  ])
})

program.pipe(
  Effect.scoped,
  Telling.reported,
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
