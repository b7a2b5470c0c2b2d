/**
 * An API that repeats the token it was sent: nothing that is printed of a call shows it.
 */
import {
  AccessToken,
  AccessTokenHttpClient,
  OAuthValues,
  TokenClient,
  TokenEndpoint,
  TokenGrant,
  TokenRetriever
} from "@effect-oauth/core"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { Cause, DateTime, Effect, Exit, Redacted } from "effect"
import { inspect } from "node:util"
import { recordingTracer } from "./support/recordingTracer.ts"
import { json, options, services, stub } from "./support/StubServer.ts"

const value = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI1ZWNyM3QgdXNlciJ9.NWVjcjN0IHNpZ25hdHVyZQ"

const token = new AccessToken.AccessToken({
  value: Redacted.make(value),
  type: OAuthValues.TokenType.make("Bearer"),
  clientName: "c",
  obtainedAt: DateTime.unsafeMake(0)
})

const url = "https://api.test/x"

const echoes: Readonly<Record<string, string>> = {
  plain: value,
  scheme: `Bearer ${value}`,
  percent: encodeURIComponent(value).replaceAll(".", "%2E"),
  base64: btoa(`Bearer ${value}`),
  hex: Buffer.from(value).toString("hex"),
  signature: value.split(".")[2]!
}

const shows = (text: string): string | undefined => {
  const secrets = [value, ...value.split(".").slice(1), ...Object.values(echoes).map((echo) => echo.slice(8, -4))]
  return secrets.find((secret) => text.includes(secret))
}

const showsNone = (what: string, printed: string) => {
  const shown = shows(printed)
  const at = shown === undefined ? 0 : printed.indexOf(shown)
  assert.isUndefined(shown, `${what} shows ${shown}: ${printed.slice(Math.max(0, at - 300), at + 300)}`)
}

const printed = (one: unknown): string =>
  [
    inspect(one, { depth: 20, showHidden: true }),
    JSON.stringify(one, (_, value: unknown) => typeof value === "bigint" ? String(value) : value),
    one instanceof Error ? `${one.message}\n${inspect(one.cause, { depth: 20 })}\n${Cause.pretty(Cause.fail(one))}` : ""
  ].join("\n")

const echoing = (status: number, body: string, type = "text/plain") =>
  stub(() =>
    new Response(body, {
      status,
      headers: { "content-type": type, ...Object.fromEntries(Object.entries(echoes).map(([k, v]) => [`x-${k}`, v])) }
    })
  )

describe("a token that an API repeats", () => {
  for (const status of [200, 401, 500]) {
    for (const names of [["authorization"], []]) {
      it.effect(`is in no span of a ${status}, with the redacted names ${JSON.stringify(names)}`, () => {
        const tracer = recordingTracer()
        const server = echoing(status, value)
        const api = server.client.pipe(AccessTokenHttpClient.make(TokenRetriever.static(token)))
        return Effect.gen(function*() {
          const before = yield* Effect.tracer
          const response = yield* Effect.withSpan(api.get(url), "around")
          assert.strictEqual(yield* Effect.tracer, before)
          // The program has what the API says.
          assert.strictEqual(response.headers["x-plain"], value)
          assert.strictEqual(yield* response.text, value)
          assert.deepStrictEqual(tracer.ended.map(({ name }) => name), ["http.client GET", "around"])
          const [span] = tracer.ended
          assert.strictEqual(span?.attributes.get("http.response.header.x-plain"), "<redacted>")
          assert.strictEqual(span?.status._tag, "Ended")
          showsNone("spans", printed(tracer.ended) + printed(tracer.ended.map(({ attributes }) => [...attributes])))
        }).pipe(Effect.provide(tracer.layer), Effect.locally(Headers.currentRedactedNames, names))
      })
    }
  }

  it.effect("is in no span of a request that fails", () => {
    const tracer = recordingTracer()
    const broken = HttpClient.make((request) =>
      Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport" }))
    )
    const api = broken.pipe(AccessTokenHttpClient.make(TokenRetriever.static(token)))
    return Effect.gen(function*() {
      const exit = yield* Effect.exit(api.get(url))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(tracer.ended.length, 1)
      showsNone("spans", printed(tracer.ended))
      showsNone("exit", printed(exit))
    }).pipe(Effect.provide(tracer.layer))
  })

  it.effect("is in no error of the platform, and no printed response", () =>
    Effect.gen(function*() {
      for (const type of ["text/plain", "application/json"]) {
        for (const body of [value, JSON.stringify({ token: value, deep: [{ value }] })]) {
          const server = echoing(500, body, type)
          const api = server.client.pipe(AccessTokenHttpClient.make(TokenRetriever.static(token)))
          const response = yield* api.get(url)
          yield* Effect.ignore(response.text)
          showsNone("response", printed(response))
          const read = yield* Effect.either(response.json)
          if (read._tag === "Left") showsNone("body", printed(read.left))
          const refused = yield* Effect.flip(HttpClient.filterStatusOk(api).get(url))
          showsNone("status", printed(refused))
          const inner = yield* Effect.flip(
            server.client.pipe(HttpClient.filterStatusOk, AccessTokenHttpClient.make(TokenRetriever.static(token))).get(
              url
            )
          )
          showsNone("status, inside", printed(inner))
        }
      }
    }))

  it.effect("is in no span of a token request, where trace headers are propagated to the server", () => {
    const tracer = recordingTracer()
    return Effect.forEach([{ access_token: value }, { error: "invalid_grant" }], (answer) => {
      const server = stub(({ form, headers }) =>
        json(answer, {
          status: "error" in answer ? 400 : 200,
          headers: { "x-form": JSON.stringify(form), "x-credentials": headers.authorization ?? "" }
        })
      )
      return Effect.gen(function*() {
        const client = yield* TokenClient.make("worker", { ...options, propagateTrace: true })
        const endpoint = yield* TokenEndpoint.TokenEndpoint
        yield* Effect.exit(endpoint.request(client, TokenGrant.refreshToken(Redacted.make(value))))
        assert.include(tracer.ended.map(({ name }) => name), "http.client POST")
        const text = printed(tracer.ended) + printed(tracer.ended.map(({ attributes }) => [...attributes]))
        showsNone("spans", text)
        assert.notInclude(text, server.seen[0]!.headers.authorization!.slice("Basic ".length))
      }).pipe(Effect.provide(services(server)), Effect.provide(tracer.layer))
    })
  })

  it.effect("leaves the tracer of the fiber as it was, whatever comes of the call", () => {
    const tracer = recordingTracer()
    const server = stub((_, number) => new Response(null, { status: number === 1 ? 401 : 200 }))
    const other = new AccessToken.AccessToken({ ...token, value: Redacted.make("another-token-of-the-same") })
    const api = server.client.pipe(
      AccessTokenHttpClient.make(({ rejected }) => Effect.succeed(rejected === undefined ? token : other))
    )
    return Effect.gen(function*() {
      const before = yield* Effect.tracer
      assert.strictEqual((yield* api.execute(HttpClientRequest.get(url))).status, 200)
      assert.strictEqual(yield* Effect.tracer, before)
      assert.strictEqual(tracer.ended.length, 2)
    }).pipe(Effect.provide(tracer.layer))
  })
})
