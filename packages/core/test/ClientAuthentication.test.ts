import { ClientAuthentication, ClientCredentialsTokenManager, OAuthValues } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { services, stub, token } from "./support/StubServer.ts"

const secret = (value: string) => Schema.decodeUnknownSync(OAuthValues.ClientSecret)(Redacted.make(value))

/** The `Authorization` header of a token request. */
const header = (id: string, value: string, encoding: "form" | "raw" = "form") => {
  const server = stub(() => token(1))
  const authentication = ClientAuthentication.clientSecretBasic(secret(value), { encoding })
  return ClientCredentialsTokenManager.get().pipe(
    Effect.map(() => server.seen[0]?.headers.authorization),
    Effect.provide(
      services(server, { worker: { tokenEndpoint: "https://as.test/token", clientId: id, authentication } })
    )
  )
}

describe("ClientAuthentication", () => {
  it.effect("client_secret_basic: the examples of RFC 6749 sections 2.3.1 and 4.1.3", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* header("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw"),
        "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"
      )
      assert.strictEqual(yield* header("s6BhdRkqt3", "gX1fBat3bV"), "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW")
    }))

  it.effect("client_secret_basic: form encoding as in RFC 6749 appendix B, or raw", () =>
    Effect.gen(function*() {
      const text = " %&+£€"
      const decode = (value: string | undefined) =>
        new TextDecoder().decode(
          Uint8Array.from(atob(value!.slice("Basic ".length)), (character) => character.charCodeAt(0))
        )
      assert.strictEqual(decode(yield* header("id", text)), "id:+%25%26%2B%C2%A3%E2%82%AC")
      assert.strictEqual(decode(yield* header("i:d", "a:b")), "i%3Ad:a%3Ab")
      assert.strictEqual(decode(yield* header("id", text, "raw")), `id:${text}`)
    }))
})
