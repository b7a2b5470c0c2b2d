import { OAuthError } from "@effect-oauth/core"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { every } from "./support/errors.ts"

describe("OAuthError", () => {
  for (const error of every) {
    it(`${error._tag} says whether and when to try again, and survives the way to another process`, () => {
      assert.instanceOf(error, Error)
      assert.isTrue(OAuthError.isAccessTokenError(error))
      assert.isBoolean(error.retryable)
      assert.isAbove(error.message.length, 20)
      const encoded = JSON.parse(JSON.stringify(Schema.encodeSync(OAuthError.AccessTokenError)(error)))
      const decoded = Schema.decodeSync(OAuthError.AccessTokenError)(encoded)
      assert.strictEqual(decoded.message, error.message)
      assert.strictEqual(decoded.retryable, error.retryable)
    })

    it(`${error._tag} can be told to be worth another try later, where it is`, () => {
      const later = OAuthError.withRetryAfter(error, Duration.seconds(7))
      assert.strictEqual(later._tag, error._tag)
      assert.strictEqual(later.retryable, error.retryable)
      if (later !== error) {
        assert.deepStrictEqual(later.retryAfter, Duration.seconds(7))
        assert.include(later.message, "7s")
      } else assert.isFalse(error.retryable)
    })

    it(`${error._tag} as an error of the platform is transient exactly if it is retryable`, () => {
      const platform = OAuthError.toRequestError(error, HttpClientRequest.get("https://api.test/"))
      assert.strictEqual(platform.reason, error.retryable ? "Transport" : "Encode")
      assert.strictEqual(platform.cause, error)
      assert.include(platform.message, error.message)
    })
  }

  it("TokenTransportError: what is wrong with a certificate, and what to do; it does not pass by itself", () => {
    const error = (code: string) =>
      new OAuthError.TokenTransportError({
        clientName: "worker",
        endpoint: "https://as.test",
        reason: "Connection",
        code
      })
    const rows = [
      ["CERT_HAS_EXPIRED", "renew it there"],
      ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "let the server send its whole chain"],
      ["ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "does not know the authority of the client certificate"],
      ["ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", "the client certificate has expired"]
    ] as const
    for (const [code, advice] of rows) {
      assert.include(error(code).message, `could not be reached (${code}): it`)
      assert.include(error(code).message, advice)
      assert.isFalse(error(code).retryable)
    }
    for (const code of ["ECONNREFUSED", "ECONNRESET", "ENOTFOUND", "UND_ERR_CONNECT_TIMEOUT"]) {
      assert.isTrue(error(code).message.endsWith(`could not be reached (${code})`))
      assert.isTrue(error(code).retryable)
    }
  })

  it("tells its own errors from others", () => {
    assert.isFalse(OAuthError.isAccessTokenError(new Error("x")))
    assert.isFalse(OAuthError.isAccessTokenError({ _tag: "TokenEndpointError" }))
    assert.isFalse(OAuthError.isAccessTokenError(undefined))
  })
})
