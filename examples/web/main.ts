/**
 * A web app that users sign in to, with the OpenID provider and the APIs that it needs: `npm run demo:web`, and a browser at
 * the address that it prints. Read on in `app.ts`, `clients.ts`, `routes.ts` and `calls.ts`; the flags are in `flags.ts`.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import * as Telling from "../servers/telling.ts"
import * as App from "./app.ts"
import * as Flags from "./flags.ts"
import * as Journal from "./journal.ts"
import * as Surroundings from "./surroundings.ts"
import * as Walk from "./walk.ts"

const greeting = ({ publicUrl, site }: App.Settings) =>
  Console.log(`
  Open  ${publicUrl}  in a browser, and sign in: any user name works.

  ${site.providers.map(({ issuer, title }) => `${title.padEnd(20)} ${issuer}`).join("\n  ")}
  ${site.notes.join(", ")}

  Ctrl-C ends it.
`)

const program = Effect.gen(function*() {
  const flags = yield* Flags.read
  const journal = yield* Journal.make
  const { servers, settings } = yield* Surroundings.start(flags, journal)
  const app = Layer.provide(App.layer(settings), journal.layer)
  if (flags.check) return yield* Effect.provide(Walk.walk(settings, servers), app)
  return yield* Effect.zipRight(greeting(settings), Layer.launch(app))
})

program.pipe(
  Effect.scoped,
  Telling.reported,
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
