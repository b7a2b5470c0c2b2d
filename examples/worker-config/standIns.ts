import { Config, ConfigProvider, Effect, Option, Redacted, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import * as Api from "../servers/api.ts"
import * as AuthorizationServer from "../servers/authorizationServer.ts"

const variables = ["TOKEN_ENDPOINT", "CLIENT_ID", "CLIENT_SECRET", "API_URL"]

const isAnySet = Effect.map(
  Effect.forEach(variables, (name) => Config.option(Config.redacted(name))),
  (values) => values.some(Option.isSome)
).pipe(Effect.orDie)

/** An authorization server and an API, and the variables that lead to them. */
const start: Effect.Effect<ConfigProvider.ConfigProvider, never, Scope.Scope> = Effect.gen(function*() {
  const clientSecret = randomUUID()
  const apiSecret = randomUUID()
  const server = yield* AuthorizationServer.start({
    clients: [
      { client_id: "invoice.client", client_secret: clientSecret, scope: "invoices" },
      { client_id: "invoice.api", client_secret: apiSecret }
    ]
  })
  const api = yield* Api.start({
    check: Api.byIntrospection(server, { id: "invoice.api", secret: Redacted.make(apiSecret) })
  })
  return ConfigProvider.fromMap(
    new Map([
      ["TOKEN_ENDPOINT", server.tokenEndpoint],
      ["CLIENT_ID", "invoice.client"],
      ["CLIENT_SECRET", clientSecret],
      ["API_URL", api.url]
    ])
  )
})

/** Runs a program with the user's variables, or with servers of its own where none is set. */
export const withStandIns = <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.gen(function*() {
    if (yield* isAnySet) return yield* program
    yield* Effect.log("TOKEN_ENDPOINT is not set: an authorization server and an API of this process stand in")
    return yield* Effect.withConfigProvider(program, yield* start)
  }).pipe(Effect.scoped)
