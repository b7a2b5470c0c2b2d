/**
 * A token that is in the cache, asked for inside a fiber.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Case, measure, repeat, repeatPromise } from "./measure.ts"
import * as Ours from "./ours.ts"
import * as Peers from "./peers.ts"
import { ratioRow, type Row, time, times } from "./table.ts"

/** The least that a cache with expiry can do: one lookup by the name of the client, one look at the clock. */
const floorOf = (names: ReadonlyArray<string>) => {
  const freshUntil = performance.timeOrigin + 36_000_000
  const tokens = new Map(
    names.map((name, index) => [name, { token: Effect.succeed(Ours.opaque(index)), freshUntil }])
  )
  const missing = Effect.dieMessage("no such token")
  return (name: string): Effect.Effect<string> =>
    Effect.clockWith((clock) => {
      const held = tokens.get(name)
      return held !== undefined && clock.unsafeCurrentTimeMillis() < held.freshUntil ? held.token : missing
    })
}

/** A manager of its own for each way to ask, so that each holds as many tokens as there are clients. */
const filled = (names: ReadonlyArray<string>, parameters?: { readonly scope: string }) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(Ours.layer(Ours.tokenServer().client, names))
    const manager = Context.get(context, Ours.Manager)
    for (const name of names) yield* Effect.orDie(manager.get(name, parameters))
    return manager
  })

const filledMsal = (held: number) =>
  Effect.promise(async () => {
    const app = Peers.msal(Peers.tokenFetch(0).fetch)
    for (let key = 0; key < held; key++) await Peers.msalToken(app, key)
    return app
  })

const cachedToken = (held: number) =>
  Effect.gen(function*() {
    const names = Ours.clientNames(held)
    const parameters = { scope: "invoice" }
    const floor = floorOf(names)
    const plain = yield* filled(names)
    const reused = yield* filled(names, parameters)
    const fresh = yield* filled(names, parameters)
    const msal = yield* filledMsal(held <= 1000 ? held : 0)
    const badgateway = Peers.badgateway(Peers.tokenFetch(0).fetch)
    const google = Peers.google(Peers.tokenFetch(0).fetch)

    const cases: ReadonlyArray<Case> = [
      { name: "floor", batch: repeat((index) => floor(names[index % held]!)) },
      { name: "name", floor: "floor", batch: repeat((index) => plain.get(names[index % held]!)) },
      { name: "reused", floor: "floor", batch: repeat((index) => reused.get(names[index % held]!, parameters)) },
      { name: "fresh", floor: "floor", batch: repeat((index) => fresh.get(names[index % held]!, { scope: "invoice" })) }
    ]
    const peers: ReadonlyArray<Case> = [
      ...(held <= 1000
        ? [{ name: "msal", floor: "name", batch: repeatPromise((index) => Peers.msalToken(msal, index % held)) }]
        : []),
      ...(held === 1
        ? [
          { name: "badgateway", batch: repeatPromise(() => badgateway.getAccessToken()) },
          { name: "google", batch: repeatPromise(() => google.getAccessToken()) }
        ]
        : [])
    ]
    // Long enough for a batch to go round all keys: the first round finds what others have pushed out of the processor.
    const result = yield* measure(
      [...cases, ...peers],
      held === 10_000 ? { batchTime: 20, rounds: 51, warmUp: 20 } : {}
    )

    const ofMsal = held <= 1000
      ? `@azure/msal-node ${time(result("msal").micros)} (${times(result("msal").ratio)} of ours)`
      : "@azure/msal-node not measured: each call looks through all tokens"
    const ofOthers = held === 1
      ? `; @badgateway/oauth2-client ${time(result("badgateway").micros)}, ` +
        `google-auth-library ${time(result("google").micros)} (one token in a variable, in a Promise); ` +
        "openid-client has no cache"
      : ""
    const title = `cached token, ${held.toLocaleString("en")} held`
    const row = (way: string, name: string, goal: number, peers: string): Row =>
      ratioRow(`${title}, ${way}`, result(name), result("floor"), goal, peers)
    return [
      row("by name", "name", 2, ofMsal + ofOthers),
      row("parameters used again", "reused", 2, ""),
      row("fresh parameters", "fresh", 6, "")
    ]
  }).pipe(Effect.scoped)

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.map(
  Effect.forEach([1, 1000, 10_000], cachedToken),
  (groups) => groups.flat()
)
