/**
 * Retrievers that are bound to origins stay so behind whatever function asks them.
 */
import {
  AccessToken,
  AccessTokenFetch,
  AccessTokenHttpClient,
  OAuthError,
  OAuthValues,
  TokenRetriever
} from "@effect-oauth/core"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Headers from "@effect/platform/Headers"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, Redacted } from "effect"
import { json, stub } from "./support/StubServer.ts"

const always = (value: string): TokenRetriever.TokenRetriever<never> =>
  TokenRetriever.static(
    new AccessToken.AccessToken({
      value: Redacted.make(value),
      type: OAuthValues.TokenType.make("Bearer"),
      clientName: "mine",
      obtainedAt: DateTime.unsafeMake(0)
    })
  )

/** What an API was sent, one address of which redirects. */
const redirecting = (to: string) =>
  stub(({ url }) =>
    url === "https://one.test/" ? new Response(null, { status: 302, headers: { location: to } }) : json({})
  )

describe("byOrigin", () => {
  const both = TokenRetriever.byOrigin({ "https://one.test": always("1"), "https://two.test:8443/": always("2") })

  /** Ways in which another function comes between. */
  const wrappers: Readonly<
    Record<
      string,
      (
        self: typeof both
      ) => TokenRetriever.TokenRetriever<OAuthError.OriginNotAllowed | OAuthError.CredentialUnavailable>
    >
  > = {
    orElse: TokenRetriever.orElse(always("program")),
    guarded: TokenRetriever.guarded,
    "a function": (self) => (request) => self(request),
    "a function that makes the request anew": (self) => ({ method, url }) =>
      self({
        method,
        url,
        headers: Headers.empty,
        forceRenewal: false,
        parameters: undefined,
        rejected: undefined
      }),
    "a function that keeps what it gave": (self) => {
      const kept = new Map<string, AccessToken.AccessToken>()
      return (request) => {
        const known = kept.get(new URL(request.url).origin)
        return known === undefined
          ? Effect.tap(self(request), (token) => void kept.set(new URL(request.url).origin, token))
          : Effect.succeed(known)
      }
    },
    "a function that asks for another address": (self) => (request) => self({ ...request, url: "https://one.test/" }),
    byOrigin: (self) => TokenRetriever.byOrigin({ "https://one.test": self, "https://evil.test": self })
  }

  for (const [what, wrap] of Object.entries(wrappers)) {
    it.effect(`refuses a redirect to an unknown origin behind ${what}`, () =>
      Effect.gen(function*() {
        const api = redirecting("https://evil.test/")
        const client = api.client.pipe(AccessTokenHttpClient.make(wrap(both)), HttpClient.followRedirects())
        for (const _ of [1, 2]) {
          const error = yield* Effect.flip(client.get("https://one.test/"))
          assert.strictEqual(error._tag, "OriginNotAllowed")
        }
        assert.deepStrictEqual(api.seen.map(({ headers, url }) => [url, headers.authorization]), [
          ["https://one.test/", "Bearer 1"],
          ["https://one.test/", "Bearer 1"]
        ])
      }))

    it.effect(`refuses it in a fetch as well, behind ${what}`, () =>
      Effect.gen(function*() {
        const asked: Array<string> = []
        const apiFetch = yield* AccessTokenFetch.make(wrap(both), {
          fetch: (input) => {
            asked.push(String(input))
            return Promise.resolve(new Response(null, { status: 302, headers: { location: "https://evil.test/" } }))
          }
        })
        const error = yield* Effect.flip(Effect.tryPromise({
          try: () => apiFetch("https://one.test/"),
          catch: (error) => error as OAuthError.OriginNotAllowed
        }))
        assert.strictEqual(error._tag, "OriginNotAllowed")
        assert.deepStrictEqual(asked, ["https://one.test/"])
      }))

    it.effect(`lets fetch follow nothing by itself, behind ${what}`, () =>
      Effect.gen(function*() {
        const modes: Array<unknown> = []
        const fetching: typeof fetch = (_, init) => {
          modes.push(init?.redirect)
          return Promise.resolve(new Response("{}"))
        }
        const client = (yield* HttpClient.HttpClient).pipe(AccessTokenHttpClient.make(wrap(both)))
        yield* Effect.provideService(client.get("https://one.test/"), FetchHttpClient.Fetch, fetching)
        assert.deepStrictEqual(modes, ["manual"])
      }).pipe(Effect.provide(FetchHttpClient.layer)))

    it.effect(`refuses an unknown origin behind ${what}, also where requests may go without a token`, () =>
      Effect.gen(function*() {
        const api = redirecting("https://evil.test/")
        const client = AccessTokenHttpClient.make(wrap(both), { onTokenFailure: "sendWithout" })(api.client)
        const error = yield* Effect.flip(client.get("https://three.test/"))
        assert.strictEqual(error._tag, "OriginNotAllowed")
        assert.strictEqual(api.seen.length, 0)
      }))
  }

  it.effect("refuses a redirect of a request that went without a token", () =>
    Effect.gen(function*() {
      const api = redirecting("https://evil.test/")
      const failing = TokenRetriever.byOrigin({
        "https://one.test": () => new OAuthError.TokenCacheClosed({ clientName: "" })
      })
      const withoutToken = AccessTokenHttpClient.make((request) => failing(request), { onTokenFailure: "sendWithout" })
      const client = api.client.pipe(withoutToken, HttpClient.followRedirects())
      const error = yield* Effect.flip(client.get("https://one.test/"))
      assert.strictEqual((error as OAuthError.OriginNotAllowed)._tag, "OriginNotAllowed")
      assert.deepStrictEqual(api.seen.map(({ url }) => url), ["https://one.test/"])
    }))

  it.effect("a token of it is put on no request to another origin by hand", () =>
    Effect.gen(function*() {
      const token = yield* both({
        method: "GET",
        url: "https://one.test/",
        headers: Headers.empty,
        forceRenewal: false,
        parameters: undefined,
        rejected: undefined
      })
      const error = yield* Effect.flip(
        AccessTokenHttpClient.attach(token)(HttpClientRequest.get("https://two.test:9/"))
      )
      assert.strictEqual(error._tag, "OriginNotAllowed")
    }))
})
