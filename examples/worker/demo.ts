/**
 * Runs a worker beside an authorization server and an API of this process, and tells what happens.
 *
 * `--json`: events as JSON lines, the last one being the totals. `--forever`: until it is interrupted.
 */
import {
  Cause,
  ConfigProvider,
  Console,
  Context,
  Data,
  Effect,
  HashMap,
  Logger,
  LogLevel,
  Option,
  Predicate
} from "effect"
import { randomUUID } from "node:crypto"
import { parseArgs } from "node:util"
import * as Api from "../servers/api.ts"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as BadDay from "./badDay.ts"
import * as Printer from "./printer.ts"
import { type ClientName, clientNames, Story, type Tell } from "./story.ts"

/** What the worker has of the demo: its calls are counted. */
export class Demo extends Context.Tag("examples/worker/Demo")<Demo, {
  readonly watch: <A, E, R>(client: ClientName, call: Effect.Effect<A, E, R>) => Effect.Effect<void, never, R>
}>() {}

class ArgumentsInvalid extends Data.TaggedError("ArgumentsInvalid")<{ readonly message: string }> {}

/** Its reasons are told by the summary. */
class StoryBroken extends Data.TaggedError("StoryBroken") {}

/** In seconds. */
const tokenLifetime = 15

const title = "A worker calls an API once a second, as two clients. This takes about 30 seconds."

const telling = (story: Story, printer: Printer.Printer): Effect.Effect<Tell> =>
  Effect.map(Effect.clock, (clock) => {
    const start = clock.unsafeCurrentTimeMillis()
    return (happening) => {
      const at = clock.unsafeCurrentTimeMillis() - start
      for (const event of story.next(happening, at)) printer.event(event, at)
    }
  })

/** An error's tag says enough, and nothing of what was in a request. */
const nameOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return Predicate.hasProperty(error, "_tag") ? String(error._tag) : error instanceof Error ? error.name : "unknown"
}

const watching = (tell: Tell): Demo["Type"] => ({
  watch: (client, call) =>
    Effect.sync(() => tell({ _tag: "CallBegan", client })).pipe(
      Effect.zipRight(call),
      Effect.sandbox,
      Effect.match({
        onFailure: (cause) => tell({ _tag: "CallEnded", client, failure: nameOf(cause) }),
        onSuccess: () => tell({ _tag: "CallEnded", client, failure: undefined })
      })
    )
})

/** Warnings of the library are part of the story. */
const logging = (tell: Tell) =>
  Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ annotations, logLevel, message }) => {
      if (LogLevel.lessThan(logLevel, LogLevel.Warning)) return
      const client = Option.getOrElse(HashMap.get(annotations, "oauth.client"), () => "worker")
      tell({ _tag: "Warned", client: String(client), message: String(message) })
    })
  )

const makeSecrets = Effect.sync(() => ({ "invoice.client": randomUUID(), "customer.client": randomUUID() }))
type Secrets = Effect.Effect.Success<typeof makeSecrets>

const startServer = (secrets: Secrets, tell: Tell) =>
  AuthorizationServer.start({
    tokenLifetime,
    clients: [
      { client_id: "invoice.client", client_secret: secrets["invoice.client"], scope: "invoices" },
      { client_id: "customer.client", client_secret: secrets["customer.client"], scope: "customers" }
    ],
    onAnswer: ({ clientId, path, status }) => {
      const client = clientNames.find((name) => name === clientId)
      if (path === "/token" && client !== undefined) tell({ _tag: "TokenAnswered", client, status })
    }
  })

/** It looks tokens up and does not ask for them, because it has to work while the authorization server does not. */
const startApi = (server: AuthorizationServer.AuthorizationServer, tell: Tell) =>
  Api.start({
    check: Api.byLookup(server),
    onAnswer: ({ path, status }) =>
      tell({ _tag: "ApiAnswered", client: path === "/invoices" ? "invoice.client" : "customer.client", status })
  })

const settings = (server: AuthorizationServer.AuthorizationServer, api: Api.Api, secrets: Secrets) =>
  ConfigProvider.fromMap(
    new Map([
      ["TOKEN_ENDPOINT", server.tokenEndpoint],
      ["API_URL", api.url],
      ["INVOICE_CLIENT_SECRET", secrets["invoice.client"]],
      ["CUSTOMER_CLIENT_SECRET", secrets["customer.client"]]
    ])
  )

const totalsOf = (story: Story, server: AuthorizationServer.AuthorizationServer): Printer.Totals => ({
  calls: story.sum("calls"),
  tokenRequests: server.tokenRequests(),
  renewals: Math.max(0, story.sum("tokens") - clientNames.length),
  failures: story.sum("failures")
})

const readArguments = Effect.try({
  try: () => parseArgs({ options: { json: { type: "boolean" }, forever: { type: "boolean" } } }).values,
  catch: (error) => new ArgumentsInvalid({ message: error instanceof Error ? error.message : "wrong arguments" })
})

const runScoped = <E>(worker: Effect.Effect<unknown, E, Demo>) =>
  Effect.gen(function*() {
    const { forever = false, json = false } = yield* readArguments
    const printer = yield* Printer.make({ json })
    printer.title(title)

    const story = new Story(tokenLifetime * 1000)
    const tell = yield* telling(story, printer)
    const secrets = yield* makeSecrets
    const server = yield* startServer(secrets, tell)
    const api = yield* startApi(server, tell)
    tell({ _tag: "ServerStarted" })

    const day = BadDay.live(server, story, tell)
    yield* worker.pipe(
      Effect.provideService(Demo, watching(tell)),
      Effect.withConfigProvider(settings(server, api, secrets)),
      Effect.provide(logging(tell)),
      Effect.raceFirst(forever ? Effect.forever(day) : day),
      Effect.onInterrupt(() => Effect.sync(() => printer.summary(story, totalsOf(story, server))))
    )

    const missing = yield* BadDay.missingFrom(story)
    printer.summary(story, totalsOf(story, server), missing)
    if (missing.length > 0) return yield* new StoryBroken()
  })

const report = (cause: Cause.Cause<unknown>) => {
  const error = Cause.squash(cause)
  if (Cause.isInterruptedOnly(cause) || error instanceof StoryBroken) return Effect.void
  return Console.error(error instanceof ArgumentsInvalid ? error.message : Cause.pretty(cause))
}

/** Fails if a call of the worker failed, or if something that the story is about did not happen. */
export const run = <E>(
  worker: Effect.Effect<unknown, E, Demo>
): Effect.Effect<void, E | ArgumentsInvalid | StoryBroken> =>
  runScoped(worker).pipe(Effect.scoped, Effect.tapErrorCause(report))
