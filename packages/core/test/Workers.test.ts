import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { ServerResponse } from "node:http"
import { run, serving } from "./support/workers/workerd.ts"

const json = (response: ServerResponse, body: unknown, status = 200): void => {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
}

interface Options {
  /** How many milliseconds the first token takes; the others take half a second. */
  readonly first?: number
  /** Variables of the worker. */
  readonly variables?: Readonly<Record<string, string>>
}

/** An authorization server whose tokens live for 5 seconds, and an API that answers with the token that it was sent. */
const server = (requests: Array<string>, { first = 500 }: Options) =>
  serving((request, response, origin) => {
    requests.push(request.url ?? "")
    switch (request.url) {
      case "/.well-known/openid-configuration":
        return json(response, { issuer: origin, token_endpoint: `${origin}/token` })
      case "/token": {
        const number = requests.filter((url) => url === "/token").length
        const answer = { access_token: `token-${number}`, token_type: "Bearer", expires_in: 5 }
        return void setTimeout(() => json(response, answer), number === 1 ? first : 500)
      }
      case "/api":
        return void response.end(request.headers.authorization ?? "no token")
      default:
        return json(response, {}, 404)
    }
  })

const start = (options: Options = {}) =>
  Effect.gen(function*() {
    const requests: Array<string> = []
    const worker = yield* run({ ...options.variables, SERVER: yield* server(requests, options) })
    const callAt = (path: string) =>
      Effect.promise(async (signal) => {
        const response = await fetch(`${worker}${path}`, { signal })
        return `${response.status} ${await response.text()}`
      })
    const call = callAt("/")
    const tokenRequests = () => requests.filter((url) => url === "/token").length
    return { call, callAt, tokenRequests, threeCalls: Effect.all([call, call, call], { concurrency: "unbounded" }) }
  })

describe("Cloudflare Workers, one runtime for all requests", () => {
  it.scopedLive("answers every request that meets a cold cache", () =>
    Effect.gen(function*() {
      const { threeCalls, tokenRequests } = yield* start()
      const expected = "200 Bearer token-1"
      assert.deepStrictEqual(yield* threeCalls, [expected, expected, expected])
      assert.strictEqual(tokenRequests(), 1)
    }))

  it.scopedLive(
    "answers every request after a renewal in the background has ended with its request",
    () =>
      Effect.gen(function*() {
        const { call, threeCalls, tokenRequests } = yield* start()
        assert.strictEqual(yield* call, "200 Bearer token-1")
        // From 80 % of its lifetime on, a call renews the token in the background.
        yield* Effect.sleep("3700 millis")
        assert.strictEqual(yield* call, "200 Bearer token-1")
        yield* Effect.sleep("6 seconds")
        const expected = `200 Bearer token-${tokenRequests() + 1}`
        assert.deepStrictEqual(yield* threeCalls, [expected, expected, expected])
      }),
    30_000
  )

  it.scopedLive("renews in the background where waitUntil is provided", () =>
    Effect.gen(function*() {
      const { call, threeCalls, tokenRequests } = yield* start({ variables: { WAIT_UNTIL: "yes" } })
      assert.strictEqual(yield* call, "200 Bearer token-1")
      yield* Effect.sleep("3700 millis")
      assert.strictEqual(yield* call, "200 Bearer token-1")
      yield* Effect.sleep("2 seconds")
      const expected = "200 Bearer token-2"
      assert.deepStrictEqual(yield* threeCalls, [expected, expected, expected])
      assert.strictEqual(tokenRequests(), 2)
    }), 30_000)

  it.scopedLive("answers those who wait for an acquisition whose own request has ended", () =>
    Effect.gen(function*() {
      const { callAt, threeCalls, tokenRequests } = yield* start({ first: 60_000 })
      const first = yield* Effect.fork(callAt("/impatient"))
      yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => tokenRequests() === 1 })
      const others = yield* Effect.fork(threeCalls)
      assert.strictEqual(yield* Fiber.join(first), "200 too late")
      const expected = "200 Bearer token-2"
      assert.deepStrictEqual(yield* Fiber.join(others), [expected, expected, expected])
    }), 30_000)
})
