import { type Signer, SigningKey } from "@effect-oauth/core"
import { webCrypto } from "@effect-oauth/core/Signer"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Equal, FastCheck, Hash, Redacted } from "effect"
import * as jose from "jose"
import { inspect } from "node:util"

const generated = (algorithm: SigningKey.Algorithm, options?: jose.GenerateKeyPairOptions) =>
  Effect.promise(async () => {
    const { privateKey } = await jose.generateKeyPair(algorithm, { extractable: true, ...options })
    return { ...await jose.exportJWK(privateKey), alg: algorithm }
  })

const problemOf = (jwk: unknown) => Effect.map(Effect.flip(SigningKey.make(jwk)), ({ message }) => message)

const signOnce = (key: SigningKey.SigningKey, signer: Signer.Signer["Type"] = webCrypto) =>
  signer.signing(key, { typ: "test" })(JSON.stringify({ text: "grüße" }))

describe("SigningKey", () => {
  describe("thumbprints", () => {
    it("of RFC 7638 section 3.1", async () => {
      const n =
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ" +
        "CiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c" +
        "7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-" +
        "csFCur-kEgU8awapJzKnqDKgw"
      const thumbprint = await jose.calculateJwkThumbprint({
        kty: "RSA",
        n,
        e: "AQAB",
        alg: "RS256",
        kid: "2011-04-29"
      })
      assert.strictEqual(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
    })

    it.effect("of RFC 8037 appendix A.3, from its private key of appendix A.1", () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.make({
          kty: "OKP",
          crv: "Ed25519",
          d: "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
          x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        })
        assert.strictEqual(key.thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
      }))
  })

  for (const algorithm of SigningKey.algorithms) {
    it.effect(`${algorithm}: from a JWK, from its text, generated; its public half verifies`, () =>
      Effect.gen(function*() {
        const jwk = yield* generated(algorithm)
        const keys = [
          yield* SigningKey.make({ ...jwk, kid: "k1" }),
          yield* SigningKey.make(Redacted.make(JSON.stringify(jwk)), { keyId: "k1" }),
          yield* SigningKey.generate(algorithm, { keyId: "k1" })
        ]
        assert.isTrue(Equal.equals(keys[0], keys[1]))
        assert.strictEqual(Hash.hash(keys[0]), Hash.hash(keys[1]))
        assert.isFalse(Equal.equals(keys[0], keys[2]))
        for (const key of keys) {
          assert.strictEqual(key.keyId, "k1")
          assert.notProperty(key.publicJwk, "d")
          assert.notProperty(key.publicJwk, "alg")
          const jws = yield* signOnce(key)
          const verified = yield* Effect.promise(async () =>
            jose.compactVerify(jws, await jose.importJWK(key.publicJwk, algorithm))
          )
          assert.deepStrictEqual(verified.protectedHeader, { typ: "test", alg: algorithm })
          assert.strictEqual(new TextDecoder().decode(verified.payload), `{"text":"grüße"}`)
        }
      }))
  }

  it.effect("leaves out what follows from the curve, and goes by the older name of Ed25519", () =>
    Effect.gen(function*() {
      const algorithms = yield* Effect.forEach(
        ["ES256", "ES384", "ES512", "Ed25519"] as const,
        (algorithm) =>
          Effect.flatMap(
            generated(algorithm),
            ({ alg: _, ...jwk }) => Effect.map(SigningKey.make(jwk), (key) => key.algorithm)
          )
      )
      assert.deepStrictEqual(algorithms, ["ES256", "ES384", "ES512", "EdDSA"])
    }))

  it.effect("is written out only if it was made extractable", () =>
    Effect.gen(function*() {
      const closed = yield* SigningKey.generate()
      assert.include((yield* Effect.flip(SigningKey.exportJwk(closed))).message, "extractable")
      const open = yield* SigningKey.generate("ES256", { extractable: true, keyId: "k1" })
      const again = yield* SigningKey.make(yield* SigningKey.exportJwk(open))
      assert.isTrue(Equal.equals(open, again))
    }))

  it.effect("publishes public keys only", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate("ES256", { keyId: "k1" })
      const { keys } = SigningKey.publicJwks(key, yield* SigningKey.generate("Ed25519"))
      assert.deepStrictEqual(keys[0], { ...key.publicJwk, alg: "ES256", kid: "k1", use: "sig" })
      assert.isFalse(JSON.stringify(keys).includes(`"d"`))
    }))

  describe("refuses, and shows nothing of it", () => {
    const cases: ReadonlyArray<readonly [string, (jwk: jose.JWK, rsa: jose.JWK) => unknown, string]> = [
      ["a public key", ({ d: _, ...jwk }) => jwk, "found a public key"],
      ["a symmetric key", () => ({ kty: "oct", k: "c2VjcmV0LXNlY3JldA", alg: "HS256" }), "found a symmetric key"],
      ["an alg that does not fit", (jwk) => ({ ...jwk, alg: "RS256" }), "one that fits the key (ES256), found RS256"],
      ["alg none", (jwk) => ({ ...jwk, alg: "none" }), "found none"],
      ["an alg that is a secret", (jwk) => ({ ...jwk, alg: jwk.d }), "found a string of 43 characters"],
      ["an RSA key without alg", (_, { alg: __, ...rsa }) => rsa, "RS256, RS384"],
      ["a curve nobody uses", (jwk) => ({ ...jwk, crv: "secp256k1" }), "another curve"],
      ["a member cut short", (jwk) => ({ ...jwk, d: jwk.d!.slice(1) }), `"d" to be base64url of 32 bytes`],
      ["a member that is no base64url", (jwk) => ({ ...jwk, x: `${jwk.x!.slice(1)}=` }), `"x" to be base64url`],
      ["a private member of another key", (jwk) => ({ ...jwk, d: jwk.x }), "members"],
      ["a point off the curve", (jwk) => ({ ...jwk, y: jwk.d }), "members"],
      ["a key for encryption", (jwk) => ({ ...jwk, use: "enc" }), "use"],
      ["a key that may only verify", (jwk) => ({ ...jwk, key_ops: ["verify"] }), "key_ops"],
      ["text that is no JSON", (jwk) => jwk.d, "JSON text, found a string of 43 characters"],
      ["an array", (jwk) => [jwk], "found an array"],
      ["nothing", () => undefined, "found nothing"]
    ]
    for (const [name, make, expected] of cases) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const jwk = yield* generated("ES256")
          const rsa = yield* generated("RS256")
          const source = make(jwk, rsa)
          const error = yield* Effect.flip(SigningKey.make(source))
          assert.include(error.message, expected)
          const shown = inspect(error, { depth: 10 }) + JSON.stringify(error) + String(error.stack)
          for (const secret of [jwk.d!, jwk.x!, rsa.d!, "c2VjcmV0LXNlY3JldA"]) assert.isFalse(shown.includes(secret))
        }))
    }

    it.effect("RSA of 1024 bits", () =>
      Effect.gen(function*() {
        const { privateKey } = yield* Effect.promise(() =>
          crypto.subtle.generateKey(
            {
              name: "RSASSA-PKCS1-v1_5",
              hash: "SHA-256",
              modulusLength: 1024,
              publicExponent: new Uint8Array([1, 0, 1])
            },
            true,
            ["sign", "verify"]
          )
        )
        const jwk = yield* Effect.promise(() => crypto.subtle.exportKey("jwk", privateKey))
        assert.include(yield* problemOf({ ...jwk, key_ops: ["sign"] }), "found an RSA key of 1024 bits")
      }))

    it.effect.prop(
      "anything else, without a defect",
      [FastCheck.jsonValue()],
      ([value]) =>
        Effect.map(Effect.flip(SigningKey.make(value)), (error) => assert.strictEqual(error._tag, "SigningKeyInvalid"))
    )
  })

  it.effect("prints safely", () =>
    Effect.gen(function*() {
      const jwk = yield* generated("ES256")
      const key = yield* SigningKey.make(jwk)
      const shown = inspect(key, { depth: 10, showHidden: true }) + JSON.stringify(key) + String(key)
      assert.isFalse(shown.includes(jwk.d!))
      assert.include(shown, "<redacted>")
    }))
})
