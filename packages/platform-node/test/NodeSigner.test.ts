/**
 * Both signers, WebCrypto's and Node's, by one table: they are to be told apart by their speed only.
 */
import { OAuthError, Signer, SigningKey } from "@effect-oauth/core"
import { NodeSigner } from "@effect-oauth/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Option, Redacted } from "effect"
import * as jose from "jose"
import { inspect } from "node:util"

const signers: ReadonlyArray<readonly [string, Layer.Layer<Signer.Signer>]> = [
  ["WebCrypto", Signer.layer],
  ["NodeSigner", NodeSigner.layer]
]

const verify = (key: SigningKey.SigningKey, jws: string) =>
  Effect.promise(async () => jose.compactVerify(jws, await jose.importJWK(key.publicJwk, key.algorithm)))

const claimsOf = {
  ascii: JSON.stringify({ htm: "POST", iat: 1 }),
  utf8: JSON.stringify({ name: "Grüße, 你好 🔑" }),
  empty: ""
}

for (const [name, layer] of signers) {
  describe(name, () => {
    for (const algorithm of SigningKey.algorithms) {
      it.effect(`${algorithm}: its JWS verifies, by a key that can be exported, and by one that cannot`, () =>
        Effect.gen(function*() {
          const signer = yield* Signer.Signer
          const exportable = yield* SigningKey.generate(algorithm, { extractable: true })
          const keys = [
            exportable,
            yield* SigningKey.make(yield* SigningKey.exportJwk(exportable)),
            yield* SigningKey.generate(algorithm)
          ]
          for (const key of keys) {
            const sign = signer.signing(key, { typ: "dpop+jwt", jwk: key.publicJwk, alg: "none" })
            for (const claims of Object.values(claimsOf)) {
              const { payload, protectedHeader } = yield* verify(key, yield* sign(claims))
              assert.deepStrictEqual(protectedHeader, { typ: "dpop+jwt", jwk: key.publicJwk, alg: algorithm } as never)
              assert.strictEqual(new TextDecoder().decode(payload), claims)
            }
          }
        }).pipe(Effect.provide(layer)))
    }

    it.effect("seals what jose and the other signer open, and opens what they have sealed", () =>
      Effect.gen(function*() {
        const bytes = crypto.getRandomValues(new Uint8Array(32))
        const text = claimsOf.utf8
        const signer = yield* Signer.Signer
        const { open, seal } = signer.sealing(bytes)
        const sealed = yield* seal({ kid: "k1", note: "read me" }, text)
        const byJose = yield* Effect.promise(() => jose.compactDecrypt(sealed, bytes))
        assert.strictEqual(new TextDecoder().decode(byJose.plaintext), text)
        assert.deepStrictEqual(byJose.protectedHeader, { kid: "k1", note: "read me", alg: "dir", enc: "A256GCM" })
        const joseSealed = yield* Effect.promise(() =>
          new jose.CompactEncrypt(new TextEncoder().encode(text)).setProtectedHeader({ alg: "dir", enc: "A256GCM" })
            .encrypt(bytes)
        )
        assert.strictEqual(Option.getOrUndefined(yield* open(joseSealed)), text)
        for (const [, other] of signers) {
          const { sealing } = yield* Effect.provide(Signer.Signer, other)
          assert.strictEqual(Option.getOrUndefined(yield* sealing(bytes).open(sealed)), text)
        }
        const stranger = signer.sealing(crypto.getRandomValues(new Uint8Array(32)))
        assert.isTrue(Option.isNone(yield* stranger.open(sealed)))
        for (const bad of ["", "a.b.c", sealed.slice(1), `${sealed}x.y`, sealed.replace("..", ".x.")]) {
          assert.isTrue(Option.isNone(yield* open(bad)), bad)
        }
        assert.isTrue(Option.isNone(yield* open(sealed.slice(0, -2))), "a tag cut short")
      }).pipe(Effect.provide(layer)))

    it.effect("signs again and again, and at once", () =>
      Effect.gen(function*() {
        const signer = yield* Signer.Signer
        for (const algorithm of ["ES256", "Ed25519", "PS256"] as const) {
          const key = yield* SigningKey.generate(algorithm)
          const sign = signer.signing(key, {})
          const all = yield* Effect.forEach(Array.from({ length: 50 }, (_, index) => `{"n":${index}}`), sign, {
            concurrency: "unbounded"
          })
          for (const [index, jws] of all.entries()) {
            assert.strictEqual(new TextDecoder().decode((yield* verify(key, jws)).payload), `{"n":${index}}`)
          }
        }
      }).pipe(Effect.provide(layer)))

    it.effect("SHA-256 of the empty text, of abc, of FIPS 180's two blocks, of UTF-8", () =>
      Effect.gen(function*() {
        const signer = yield* Signer.Signer
        const vectors = [
          ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
          ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
          [
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
          ]
        ] as const
        for (const [text, hex] of vectors) {
          assert.strictEqual(yield* signer.sha256(text), Buffer.from(hex, "hex").toString("base64url"))
        }
        // RFC 9449 section 7.1: the access token of its example and its ath
        assert.strictEqual(
          yield* signer.sha256("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
          "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
        )
        assert.notStrictEqual(yield* signer.sha256("ü"), yield* signer.sha256("u\u0308"))
        assert.strictEqual(
          yield* signer.sha256("ü"),
          Buffer.from(
            yield* Effect.promise(() => crypto.subtle.digest("SHA-256", new Uint8Array([0xc3, 0xbc])))
          ).toString("base64url")
        )
      }).pipe(Effect.provide(layer)))

    it.effect("random texts have the length that was asked for, and none comes twice in 100,000", () =>
      Effect.gen(function*() {
        const { random } = yield* Signer.Signer
        for (const bytes of [0, 1, 2, 3, 16, 31, 32, 33, 4095, 4096, 4097, 10_000]) {
          const text = random(bytes)
          assert.match(text, /^[A-Za-z0-9_-]*$/)
          assert.strictEqual(Buffer.from(text, "base64url").length, bytes)
        }
        const seen = new Set<string>()
        // the lengths differ, so that parts of the pool would be seen again shifted
        for (let call = 0; call < 100_000; call++) seen.add(random(12 + call % 7).slice(0, 16))
        assert.strictEqual(seen.size, 100_000)
      }).pipe(Effect.provide(layer)))

    it.effect("a key that cannot sign is one clear error that shows nothing", () =>
      Effect.gen(function*() {
        const signer = yield* Signer.Signer
        for (const algorithm of ["ES256", "PS256"] as const) {
          const key = yield* SigningKey.generate(algorithm)
          const { publicKey } = yield* Effect.promise(() => jose.generateKeyPair(algorithm))
          const wrong = new SigningKey.SigningKey({ ...key, privateKey: Redacted.make(publicKey) })
          const noKey = new SigningKey.SigningKey({ ...key, privateKey: Redacted.make("5ecr3t" as never) })
          for (const bad of [wrong, noKey]) {
            const error = yield* Effect.flip(signer.signing(bad, {})("{}"))
            assert.instanceOf(error, OAuthError.SigningError)
            assert.strictEqual(error.algorithm, algorithm)
            assert.isFalse(inspect(error, { depth: 10 }).includes("5ecr3t"))
          }
        }
      }).pipe(Effect.provide(layer)))
  })
}
