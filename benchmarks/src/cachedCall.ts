/**
 * A call with a cached token through the middleware, over a transport that answers at once.
 */
import * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import { measure, repeat } from "./measure.ts"
import * as Ours from "./ours.ts"
import { ratioRow, type Row, time } from "./table.ts"

const answer = new Response(null, { status: 200 })
const text = { value: Effect.succeed("") }

/** Its answer can be read without a Promise, which would cost more than all the rest. */
const transport = HttpClient.make((request) =>
  Effect.succeed<HttpClientResponse.HttpClientResponse>(
    Object.create(HttpClientResponse.fromWeb(request, answer), { text })
  )
)

const request = HttpClientRequest.get("https://api.example.com/invoices")

const cachedCall = (tracing: boolean) =>
  Effect.gen(function*() {
    const middleware = yield* AccessTokenHttpClient.clientCredentials("client.0")
    const ours = middleware(transport)
    const constant = HttpClient.mapRequest(transport, HttpClientRequest.bearerToken(Ours.opaque(1)))
    const call = <E>(client: HttpClient.HttpClient.With<E>) => {
      // An answer that nobody reads is aborted when it is collected as garbage, at the expense of whoever runs then.
      const batch = repeat(() => Effect.flatMap(client.execute(request), (response) => response.text))
      return (count: number) => Effect.withTracerEnabled(batch(count), tracing)
    }
    const result = yield* measure([
      { name: "bare", batch: call(transport) },
      { name: "constant", floor: "bare", batch: call(constant) },
      { name: "ours", floor: "constant", batch: call(ours) }
    ])
    const note = `no peer has an Effect client; the constant header itself costs ${time(result("constant").added)}, ` +
      `the token ${time(result("ours").added)} more`
    return ratioRow(
      `cached call, stub transport, tracer ${tracing ? "on" : "off"}`,
      result("ours"),
      result("constant"),
      tracing ? 1.15 : 1.35,
      note
    )
  }).pipe(
    Effect.provide(Ours.layer(Ours.tokenServer().client, ["client.0"])),
    Effect.orDie
  )

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.forEach([true, false], cachedCall)
