/**
 * Public keys by which anybody can sign, or that are of another size than their kind: of servers, in proofs, and of clients.
 */
import { DPoPVerifier, JwtVerifier, Signer, SigningKey, TokenClient } from "@effect-oauth/core"
import * as Headers from "@effect/platform/Headers"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, FastCheck, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { createHash, generateKeyPairSync } from "node:crypto"
import * as PublicJwk from "../src/internal/publicJwk.ts"
import { json, services, stub } from "./support/StubServer.ts"

const issuer = "https://as.test"
const encode = jose.base64url.encode
const bytesOf = (hex: string) => encode(Buffer.from(hex, "hex"))

const { n: modulus = "" } = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey.export({ format: "jwk" })
const { n: shortModulus = "" } = generateKeyPairSync("rsa", { modulusLength: 2040 }).publicKey.export({ format: "jwk" })
const { privateKey: rsa } = generateKeyPairSync("rsa", { modulusLength: 2048 })

const sha256Info = Buffer.from("3031300d060960864801650304020105000420", "hex")

/** What RSA of exponent 1 has for a signature: the padded hash itself (RFC 8017 section 9.2). */
const paddedHash = (input: string): string => {
  const hash = Buffer.concat([sha256Info, createHash("sha256").update(input).digest()])
  return encode(Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(256 - 3 - hash.length, 255), Buffer.from([0]), hash]))
}

/** The point that adds nothing: with it for a key, one signature is that of every message (RFC 8032 section 5.1.7). */
const neutral = `01${"00".repeat(31)}`
const neutralSignature = bytesOf(`${neutral}${"00".repeat(32)}`)

/** All encodings of the points of orders 1, 2, 4 and 8, without their sign bit. */
const smallOrder = [
  "00".repeat(32),
  neutral,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`
]

interface Forgery {
  readonly alg: "RS256" | "EdDSA"
  readonly jwk: jose.JWK
  readonly signature: (input: string) => string
}

const exponent = (hex: string): jose.JWK => ({ kty: "RSA", n: modulus, e: bytesOf(hex) })
const edwards = (hex: string): jose.JWK => ({ kty: "OKP", crv: "Ed25519", x: bytesOf(hex) })

const forgeries: ReadonlyArray<readonly [what: string, Forgery]> = [
  ["an RSA key of exponent 1", { alg: "RS256", jwk: exponent("01"), signature: paddedHash }],
  ["an Ed25519 key of order 1", { alg: "EdDSA", jwk: edwards(neutral), signature: () => neutralSignature }]
]

const jwtOf = ({ alg, signature }: Forgery, header: object, payload: object): string => {
  const input = `${encode(JSON.stringify({ alg, ...header }))}.${encode(JSON.stringify(payload))}`
  return `${input}.${signature(input)}`
}

const problemOf = (jwk: unknown, algorithm: SigningKey.SigningKey["algorithm"]) =>
  Either.match(PublicJwk.parse(jwk, algorithm), { onLeft: (problem) => problem, onRight: () => "" })

for (const [what, forgery] of forgeries) {
  describe(what, () => {
    it.effect("verifies no JWT, wherever the server published it", () =>
      Effect.gen(function*() {
        const verifier = yield* JwtVerifier.JwtVerifier
        const client = yield* TokenClient.make("app", { issuer, clientId: "app" })
        const jwt = jwtOf(forgery, {}, { iss: issuer, sub: "admin" })
        const error = yield* Effect.flip(verifier.verify(client, Redacted.make(jwt)))
        assert.strictEqual(error._tag === "JwtInvalid" ? error.reason : error._tag, "key")
      }).pipe(Effect.provide(services(
        stub(({ url }) =>
          json(url === `${issuer}/jwks` ? { keys: [forgery.jwk] } : { issuer, jwks_uri: `${issuer}/jwks` })
        ),
        { app: { issuer, clientId: "app" } }
      ))))

    it.effect("verifies no proof", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_700_000_000_000)
        const verifier = yield* DPoPVerifier.make({ publicUrl: "https://api.test" })
        const ath = encode(createHash("sha256").update("token").digest())
        const claims = { jti: "1", htm: "GET", htu: "https://api.test/", iat: 1_700_000_000, ath }
        const dpop = jwtOf(forgery, { typ: "dpop+jwt", jwk: forgery.jwk }, claims)
        const headers = Headers.fromInput({ authorization: "DPoP token", dpop })
        const error = yield* Effect.flip(verifier.verify({ method: "GET", url: "/", headers }))
        assert.strictEqual(error.reason, "key")
      }).pipe(Effect.provide(Signer.layer)))
  })
}

describe("an RSA key", () => {
  const exponents: ReadonlyArray<readonly [hex: string, isGood: boolean]> = [
    ["03", true],
    ["11", true],
    ["010001", true],
    ["00010001", true],
    ["ffffffff", true],
    ["00", false],
    ["01", false],
    ["0001", false],
    ["02", false],
    ["04", false],
    ["010000", false],
    ["fffffffe", false],
    ["0100000001", false]
  ]
  for (const [hex, isGood] of exponents) {
    it(`of the exponent 0x${hex} ${isGood ? "counts" : "does not count"} (RFC 8017 section 3.1)`, () => {
      for (const algorithm of ["RS256", "PS512"] as const) {
        assert.strictEqual(problemOf(exponent(hex), algorithm) === "", isGood)
      }
    })
  }

  it("of a modulus below 2048 bits, zeros before it not counted, or an even one does not count", () => {
    const of = (n: string) => problemOf({ kty: "RSA", n, e: "AQAB" }, "RS256")
    const bytes = Buffer.from(modulus, "base64url")
    assert.strictEqual(of(modulus), "")
    assert.strictEqual(of(encode(Buffer.concat([Buffer.alloc(1), bytes]))), "")
    assert.include(of(encode(Buffer.concat([Buffer.alloc(1), bytes.subarray(1)]))), "2048 bits")
    assert.include(of(encode(Buffer.concat([Buffer.from([bytes[0]! & 127]), bytes.subarray(1)]))), "2048 bits")
    assert.include(of(encode(Buffer.concat([Buffer.alloc(16), Buffer.from(shortModulus, "base64url")]))), "2048 bits")
    assert.include(of(encode(Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! & 254])]))), "even")
  })

  it.effect("of exponent 1 is none of a client's own either", () =>
    Effect.gen(function*() {
      const jwk = { ...rsa.export({ format: "jwk" }), alg: "RS256" }
      yield* SigningKey.make(Redacted.make(jwk))
      const { problem } = yield* Effect.flip(SigningKey.make(Redacted.make({ ...jwk, e: "AQ" })))
      assert.include(problem, "exponent")
    }))
})

describe("an Ed25519 key", () => {
  for (const hex of smallOrder) {
    it(`of small order does not count: ${hex.slice(0, 8)}`, () => {
      const negative = Buffer.from(hex, "hex")
      negative[31]! |= 128
      for (const x of [bytesOf(hex), encode(negative)]) {
        for (const algorithm of ["EdDSA", "Ed25519"] as const) {
          assert.include(problemOf({ kty: "OKP", crv: "Ed25519", x }, algorithm), "small order")
        }
      }
    })
  }
})

it.prop("a coordinate of another length than its curve has does not count", [
  FastCheck.constantFrom<readonly ["ES256" | "ES384" | "ES512" | "EdDSA", string, number]>(
    ["ES256", "P-256", 32],
    ["ES384", "P-384", 48],
    ["ES512", "P-521", 66],
    ["EdDSA", "Ed25519", 32]
  ),
  FastCheck.integer({ min: 1, max: 140 })
], ([[algorithm, crv, size], length]) => {
  const bytes = encode(Buffer.alloc(length, 7))
  const jwk = { kty: crv === "Ed25519" ? "OKP" : "EC", crv, x: bytes, y: encode(Buffer.alloc(size, 7)) }
  assert.strictEqual(problemOf(jwk, algorithm) === "", length === size)
})
