import { Signer } from "@effect-oauth/core"
import { OidcClients, OidcSession, Sessions, SessionStore } from "@effect-oauth/oidc"
import { HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"

const site = "https://app.example"

const AppLive = Sessions.layer({ publicUrl: site }).pipe(
  Layer.provide([Signer.layer, SessionStore.layerMemory, OidcClients.layer({})])
)

/** What a request comes to, and whether it got as far as the app. */
const ask = (method: string, headers: Record<string, string> = {}) =>
  Effect.gen(function*() {
    let reached = false
    const app = Effect.sync(() => {
      reached = true
      return HttpServerResponse.empty({ status: 200 })
    })
    const request = HttpServerRequest.fromWeb(new Request(`${site}/orders`, { method, headers }))
    const response = yield* OidcSession.sameOrigin(app).pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, request),
      Effect.provide(AppLive)
    )
    return { status: response.status, reached, cacheControl: response.headers["cache-control"] ?? "" }
  })

const passed = { status: 200, reached: true, cacheControl: "" }
const refused = { status: 403, reached: false, cacheControl: "no-store" }

describe("OidcSession.sameOrigin", () => {
  for (const method of ["GET", "HEAD", "OPTIONS"]) {
    it.effect(`${method} passes from anywhere`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* ask(method, { "sec-fetch-site": "cross-site" }), passed)
        assert.deepStrictEqual(yield* ask(method), passed)
      }))
  }

  for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
    it.effect(`${method} passes from pages of this site only`, () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* ask(method, { "sec-fetch-site": "same-origin", origin: site }), passed)
        assert.deepStrictEqual(yield* ask(method, { origin: site }), passed)
        assert.deepStrictEqual(yield* ask(method, { "sec-fetch-site": "same-site" }), refused)
        assert.deepStrictEqual(yield* ask(method, { "sec-fetch-site": "cross-site", origin: site }), refused)
        assert.deepStrictEqual(yield* ask(method, { origin: "https://evil.example" }), refused)
        assert.deepStrictEqual(yield* ask(method), refused)
      }))
  }
})
