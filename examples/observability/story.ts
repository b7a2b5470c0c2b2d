/** The servers that the worker has to do with, and what was exported of it. */
import type { Headers } from "@effect/platform"
import { ConfigProvider, Effect, Redacted } from "effect"
import * as Api from "../servers/api.ts"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as Telling from "../servers/telling.ts"
import * as Telemetry from "./telemetry.ts"

export const exported = { spanProcessor: Telemetry.spanProcessor, metricReader: Telemetry.metricReader }

const clientId = "invoice.client"
const secret = "a-secret-of-the-example"

const setUp = Effect.gen(function*() {
  const issuer = yield* AuthorizationServer.start({
    clients: [{
      client_id: clientId,
      client_secret: secret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      scope: "invoices"
    }]
  })
  const tokens = new Set<string>()
  const onRequest = ({ authorization = "" }: Headers.Headers) => {
    tokens.add(authorization.replace(/^Bearer /, ""))
  }
  const api = yield* Api.start({ check: Api.byLookup(issuer), onRequest })
  return { api, issuer, telling: yield* Telling.make, tokens: () => [...tokens].map(Redacted.make) }
})

type Scene = Effect.Effect.Success<typeof setUp>

const settings = ({ api, issuer }: Scene) =>
  ConfigProvider.fromMap(
    new Map([["ISSUER", issuer.issuer], ["CLIENT_ID", clientId], ["CLIENT_SECRET", secret], ["API_URL", api.url]])
  )

const told = <E>(scene: Scene, call: (name: string) => Effect.Effect<unknown, E>) =>
  Effect.gen(function*() {
    const { issuer, telling: { end, line, step, title }, tokens } = scene
    yield* title("A worker exports what it does to OpenTelemetry.")
    yield* call("first call")
    yield* call("second call")
    yield* issuer.revokeAllTokens(clientId)
    yield* call("call with a revoked token")

    yield* step("Spans. Getting a token is one of its own, with a link to a call that wanted it: many may share it.")
    const spans = Telemetry.tree()
    for (const { attributes, depth, name } of spans) yield* line(`${"  ".repeat(depth)}${name}`, attributes)

    yield* step("Metrics of the library; of a histogram, how much was observed.")
    const metrics = yield* Telemetry.values
    for (const [name, value] of metrics) yield* line(name.padEnd(60), value)

    yield* step("No token and no secret is in any of it.")
    const secrets = [...tokens(), Redacted.make(secret)].map(Redacted.value)
    const leaked = secrets.filter((value) => Telemetry.everything().includes(value)).length
    yield* line("secrets looked for", secrets.length)
    yield* line("secrets found", leaked)

    const count = (wanted: string) => spans.filter(({ name }) => name === wanted).length
    yield* end([
      [count("oauth.token.acquire") === 2 && count("oauth.token.request") === 2, "a span for each of the two tokens"],
      [
        spans.some(({ depth, name }) => depth > 0 && name === "oauth.token.request"),
        "the request for a token is part of its acquisition"
      ],
      [metrics.get("oauth_access_token_used") === 4, "four requests with a token, one of them repeated"],
      [[...metrics.keys()].some((name) => name.startsWith("oauth_cache_hits")), "hits of the cache are counted"],
      [secrets.length === 3 && leaked === 0, "nothing secret is exported"]
    ])
  })

/** Runs the story of a worker; fails if something did not happen as it should. */
export const run = <E, E2>(
  working: (
    story: (call: (name: string) => Effect.Effect<unknown, E2>) => Effect.Effect<void, E2 | Telling.NotAsTold>
  ) => Effect.Effect<void, E>
) =>
  Effect.gen(function*() {
    const scene = yield* setUp
    yield* Effect.withConfigProvider(working((call) => told(scene, call)), settings(scene))
  }).pipe(Effect.scoped, Telling.reported)
