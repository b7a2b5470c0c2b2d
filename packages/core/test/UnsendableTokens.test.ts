/**
 * A token that no header can carry is refused where it comes in, and quoted nowhere.
 */
import {
  AccessToken,
  AccessTokenFetch,
  AccessTokenHttpClient,
  ClientCredentialsTokenManager,
  TokenRetriever
} from "@effect-oauth/core"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted, Schema } from "effect"
import { inspect } from "node:util"
import { services, stub, token } from "./support/StubServer.ts"

const values = [
  "5ecr3t\n5ecr3t",
  "5ecr3t\u00005ecr3t",
  "5ecr3t 5ecr3t",
  "5ecr3t\u007f",
  "5ecr3t\u00e9",
  "5ecr3t\u2028",
  "\r5ecr3t",
  ""
]

const printed = (value: unknown): string =>
  `${inspect(value, { depth: 20 })}\n${JSON.stringify(value)}\n${String(value)}`

const showsNone = (value: unknown) => {
  assert.notInclude(printed(value), "5ecr3t")
}

/** As a retriever may give it that makes its tokens by hand. */
const byHand = (value: string, type = "Bearer"): AccessToken.AccessToken =>
  Object.assign(Object.create(AccessToken.AccessToken.prototype), { value: Redacted.make(value), type, clientName: "" })

const retrievers = (value: string): ReadonlyArray<TokenRetriever.TokenRetriever<never>> => [
  () => Effect.succeed(byHand(value)),
  TokenRetriever.static(byHand(value)),
  TokenRetriever.byOrigin({ "https://api.test": () => Effect.succeed(byHand(value)) }) as TokenRetriever.TokenRetriever<
    never
  >,
  () => Effect.succeed(byHand("fine", value))
]

describe("a token that no header can carry", () => {
  it.effect("in the answer of a server is a typed error", () =>
    Effect.forEach(values, (value) =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(ClientCredentialsTokenManager.get("worker"))
        assert.strictEqual(error._tag, "TokenResponseInvalid")
        showsNone(error)
      }).pipe(Effect.provide(services(stub(() => token(1, { access_token: value })))))))

  it.effect("from a retriever is a typed error, and nothing is sent", () =>
    Effect.forEach(values, (value) =>
      Effect.gen(function*() {
        for (const retriever of retrievers(value)) {
          const api = stub(() => token(1))
          const error = yield* Effect.flip(
            api.client.pipe(AccessTokenHttpClient.make(retriever)).get("https://api.test")
          )
          assert.strictEqual(error._tag, "CredentialUnavailable")
          assert.include(error.message, "RFC 6750")
          assert.deepStrictEqual(api.seen, [])
          showsNone(error)
        }
        const attached = AccessTokenHttpClient.attach(byHand(value))(HttpClientRequest.get("https://api.test"))
        const error = yield* Effect.flip(attached)
        assert.strictEqual(error._tag, "CredentialUnavailable")
        showsNone(error)
      })))

  it.effect("from a renewal is not sent either", () =>
    Effect.gen(function*() {
      const api = stub(() => new Response(null, { status: 401 }))
      const retriever: TokenRetriever.TokenRetriever = ({ rejected }) =>
        Effect.succeed(byHand(rejected === undefined ? "fine" : "5ecr3t\n"))
      const exit = yield* Effect.exit(api.client.pipe(AccessTokenHttpClient.make(retriever)).get("https://api.test"))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(api.seen.length, 1)
      showsNone(exit)
    }))

  it.live("rejects a call of AccessTokenFetch", () =>
    Effect.gen(function*() {
      let sent = 0
      const fetch = () => {
        sent++
        return Promise.resolve(new Response())
      }
      for (const value of values) {
        const call = yield* AccessTokenFetch.make(() => Effect.succeed(byHand(value)), { fetch })
        const error = yield* Effect.flip(
          Effect.tryPromise({ try: () => call("https://api.test"), catch: (error) => error })
        )
        assert.propertyVal(error, "_tag", "CredentialUnavailable")
        showsNone(error)
      }
      assert.strictEqual(sent, 0)
    }))

  it("is no AccessToken, and the refusal does not quote it", () => {
    const fields = { type: "Bearer", clientName: "w", obtainedAt: 0 }
    for (const value of values) {
      const decoded = Schema.decodeUnknownEither(AccessToken.AccessToken)({ ...fields, value })
      assert.strictEqual(decoded._tag, "Left")
      showsNone(decoded._tag === "Left" ? decoded.left.message : undefined)
    }
    assert.strictEqual(Schema.decodeUnknownEither(AccessToken.AccessToken)({ ...fields, value: "fine" })._tag, "Right")
  })
})
