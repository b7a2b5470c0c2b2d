/**
 * A process with a store: `hold <lease>` takes a lock, says so, keeps it, and writes under it when it is told to;
 * `use` uses everything there is and ends. It never calls process.exit.
 */
import { TokenStore } from "@effect-oauth/core"
import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Option, Redacted, type Scope, Stream } from "effect"
import { once } from "node:events"
import { password } from "./postgres.ts"

const [port, table, mode, lease = "1000"] = process.argv.slice(2)

const say = (text: string) => Effect.sync(() => process.stdout.write(`${text}\n`))

const hold = (store: TokenStore.TokenStore["Type"]) =>
  store.withLock("a", { lease: Number(lease), wait: 0 }, ({ fence, lost }) =>
    Effect.gen(function*() {
      yield* say(`locked ${fence}`)
      yield* Effect.forkScoped(Effect.zipRight(lost, say("lost")))
      yield* Effect.promise(() => once(process.stdin, "data"))
      const written = yield* store.set("a", "by the one that was held up", { timeToLive: "1 minutes", fence })
      yield* say(Option.isSome(written) ? "written" : "refused")
    }))

const use = (store: TokenStore.TokenStore["Type"]) =>
  Effect.gen(function*() {
    yield* store.events.pipe(Stream.take(1), Stream.runDrain)
    yield* store.withLock("a", {}, ({ fence }) => store.set("a", "1", { timeToLive: "1 minutes", fence }))
    yield* Effect.forkScoped(Stream.runDrain(store.events))
    yield* Effect.sleep("300 millis")
    yield* say("used")
  })

const StoreLive = PgTokenStore.layer({ table }).pipe(Layer.provide(PgClient.layer({
  host: "127.0.0.1",
  port: Number(port),
  username: "postgres",
  password: Redacted.make(password),
  database: "postgres"
})))

await Effect.runPromise(
  Effect.flatMap(
    TokenStore.TokenStore,
    (store): Effect.Effect<unknown, unknown, Scope.Scope> => mode === "hold" ? hold(store) : use(store)
  ).pipe(Effect.scoped, Effect.provide(StoreLive))
)
process.stdin.destroy()
