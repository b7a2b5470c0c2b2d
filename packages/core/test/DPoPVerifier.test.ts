import { DPoPVerifier, Signer, SigningKey, WwwAuthenticate } from "@effect-oauth/core"
import { webCrypto } from "@effect-oauth/core/Signer"
import { NodeHttpServer } from "@effect/platform-node"
import * as Headers from "@effect/platform/Headers"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  DateTime,
  Duration,
  Effect,
  Exit,
  FastCheck,
  Layer,
  Option,
  Redacted,
  TestClock
} from "effect"
import * as jose from "jose"
import http from "node:http"
import { inspect } from "node:util"

const jwkOfTheRfc = {
  kty: "EC",
  x: "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
  y: "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
  crv: "P-256"
}

const headerOfTheRfc =
  "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQy" +
  "VVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"

const tokenRequestOfTheRfc =
  `${headerOfTheRfc}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8v` +
  "c2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOS" +
  "sX0x7NVY-FNyJK70nfbV37xRZT3Lg"

const apiRequestOfTheRfc =
  `${headerOfTheRfc}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXN` +
  "vdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9" +
  "hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"

const tokenOfTheRfc = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
const thumbprintOfTheRfc = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"

const now = 1_700_000_000
const atNow = TestClock.setTime(now * 1000)

const token = "the-access-token"
const hashOf = (text: string) => webCrypto.sha256(text)

const make = (options: Partial<DPoPVerifier.Options> = {}) =>
  Effect.provide(DPoPVerifier.make({ publicUrl: "https://api.test", ...options }), Signer.layer)

/** A verifier at `now`. */
const verifierWith = (options: Partial<DPoPVerifier.Options> = {}) => Effect.zipRight(atNow, make(options))

type Members = Readonly<Record<string, unknown>>

interface ProofOptions {
  readonly header?: Members
  readonly claims?: Members
}

let counter = 0

/** A proof that is right but for what is said; a member that is `undefined` is left out. */
const proofOf = (key: SigningKey.SigningKey, { claims, header }: ProofOptions = {}) =>
  Effect.flatMap(hashOf(token), (ath) => {
    const sign = webCrypto.signing(key, { typ: "dpop+jwt", jwk: key.publicJwk, ...header })
    return sign(JSON.stringify({
      jti: `jti-${counter++}`,
      htm: "GET",
      htu: "https://api.test/invoices",
      iat: now,
      ath,
      ...claims
    }))
  })

const encoded = (members: Members) => jose.base64url.encode(JSON.stringify(members))

/** The same proof with other members in its header, for what no signer would sign. */
const withHeader = (proof: string, members: Members) => {
  const [header, payload, signature] = proof.split(".")
  const before = JSON.parse(new TextDecoder().decode(jose.base64url.decode(header!))) as Members
  return `${encoded({ ...before, ...members })}.${payload}.${signature}`
}

const requestWith = (dpop: string | ReadonlyArray<string>, more: Partial<DPoPVerifier.Request> = {}) => ({
  method: "GET",
  url: "/invoices",
  headers: Headers.fromInput({ authorization: `DPoP ${token}`, dpop }),
  ...more
})

const boundTo = (key: SigningKey.SigningKey): DPoPVerifier.PresentedToken => ({
  value: Redacted.make(token),
  thumbprint: key.thumbprint
})

type Verifier = DPoPVerifier.DPoPVerifier["Type"]

const reasonOf = (verifier: Verifier, request: DPoPVerifier.Request, presented?: DPoPVerifier.PresentedToken) =>
  Effect.match(verifier.verify(request, presented), {
    onFailure: ({ reason }): string => reason,
    onSuccess: () => "accepted"
  })

/** What becomes of a proof that is right but for what is said. */
const outcomeOf = (verifier: Verifier, key: SigningKey.SigningKey, options: ProofOptions = {}) =>
  Effect.flatMap(proofOf(key, options), (proof) => reasonOf(verifier, requestWith(proof), boundTo(key)))

const generate = SigningKey.generate

describe("DPoPVerifier", () => {
  describe("examples of RFC 9449", () => {
    it.effect("the token request of section 4", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_562_262_616_000)
        const verifier = yield* make({ publicUrl: "https://server.example.com" })
        const verified = yield* verifier.verify({
          method: "POST",
          url: "https://server.example.com/token",
          headers: Headers.fromInput({ DPoP: tokenRequestOfTheRfc })
        })
        assert.deepStrictEqual(verified, {
          key: jwkOfTheRfc,
          thumbprint: thumbprintOfTheRfc,
          jti: "-BwC3ESc6acc2lTc",
          issuedAt: DateTime.unsafeMake(1_562_262_616_000),
          claims: {
            jti: "-BwC3ESc6acc2lTc",
            htm: "POST",
            htu: "https://server.example.com/token",
            iat: 1_562_262_616
          }
        })
      }))

    it.effect("the request to an API of section 7.1", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(1_562_262_618_000)
        const verifier = yield* make({ publicUrl: "https://resource.example.org" })
        const headers = Headers.fromInput({ authorization: `DPoP ${tokenOfTheRfc}`, dpop: apiRequestOfTheRfc })
        const value = Option.getOrThrow(DPoPVerifier.tokenOf(headers))
        const verified = yield* verifier.verify(
          { method: "GET", url: "/protectedresource?page=2", headers },
          { value, thumbprint: thumbprintOfTheRfc }
        )
        assert.strictEqual(verified.jti, "e1j3V_bKic8-LAEB")
        assert.strictEqual(verified.claims.ath, "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo")
      }))
  })

  describe("accepts", () => {
    for (const algorithm of SigningKey.algorithms) {
      it.effect(`${algorithm}, twice, with a key that it then knows`, () =>
        Effect.gen(function*() {
          const key = yield* generate(algorithm)
          const verifier = yield* verifierWith()
          for (const jti of ["one", "two"]) {
            const verified = yield* verifier.verify(requestWith(yield* proofOf(key, { claims: { jti } })), boundTo(key))
            assert.strictEqual(verified.thumbprint, key.thumbprint)
            assert.deepStrictEqual(verified.key, key.publicJwk)
            assert.strictEqual(verified.jti, jti)
          }
        }))
    }

    it.effect("further claims, which it hands on, and further members of the key, which it does not", () =>
      Effect.gen(function*() {
        const key = yield* generate()
        const verifier = yield* verifierWith()
        const proof = yield* proofOf(key, {
          header: { jwk: { ...key.publicJwk, kid: "k", use: "sig", alg: "ES256", x5c: [] } },
          claims: { reason: ["audit"] }
        })
        const verified = yield* verifier.verify(requestWith(proof), boundTo(key))
        assert.deepStrictEqual(verified.claims.reason, ["audit"])
        assert.deepStrictEqual(verified.key, key.publicJwk)
      }))

    it.effect("a proof without a token, for an endpoint that gives tokens", () =>
      Effect.gen(function*() {
        const key = yield* generate()
        const verifier = yield* verifierWith()
        const proof = yield* proofOf(key, { claims: { ath: undefined } })
        const request = { ...requestWith(proof), headers: Headers.fromInput({ dpop: proof }) }
        assert.strictEqual((yield* verifier.verify(request)).thumbprint, key.thumbprint)
      }))

    it.effect("an HttpServerRequest, whole, though its router has shortened its URL", () =>
      Effect.gen(function*() {
        const key = yield* generate()
        const verifier = yield* verifierWith()
        const proof = yield* proofOf(key, { claims: { htu: "https://api.test/v1/invoices" } })
        const request = HttpServerRequest.fromWeb(
          new Request("http://10.0.0.1:8080/v1/invoices?page=2", {
            headers: { authorization: `dpop ${token}`, DPoP: proof }
          })
        )
        const mounted = request.modify({ url: "/invoices?page=2" })
        assert.strictEqual(yield* reasonOf(verifier, mounted, boundTo(key)), "accepted")
      }))

    it.effect("only the algorithms of its options", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ algorithms: ["ES384"] })
        assert.strictEqual(yield* outcomeOf(verifier, yield* generate("ES384")), "accepted")
        assert.strictEqual(yield* outcomeOf(verifier, yield* generate("ES256")), "algorithm")
      }))
  })

  describe("refuses, where only one thing is wrong,", () => {
    const refuses = (
      what: string,
      expected: DPoPVerifier.Reason,
      change: (key: SigningKey.SigningKey) => Effect.Effect<ProofOptions, unknown> | ProofOptions
    ) =>
      it.effect(`${what} (${expected})`, () =>
        Effect.gen(function*() {
          const key = yield* generate()
          const verifier = yield* verifierWith()
          const changed = change(key)
          const options = Effect.isEffect(changed) ? yield* changed : changed
          assert.strictEqual(yield* outcomeOf(verifier, key, options), expected)
          assert.strictEqual(yield* outcomeOf(verifier, key), "accepted")
        }))

    refuses("another typ", "malformed", () => ({ header: { typ: "JWT" } }))
    refuses("no typ", "malformed", () => ({ header: { typ: undefined } }))
    refuses("a critical extension", "malformed", () => ({ header: { crit: ["b64"], b64: true } }))
    for (const claim of ["jti", "htm", "htu", "iat"]) {
      refuses(`no ${claim}`, "malformed", () => ({ claims: { [claim]: undefined } }))
      refuses(`${claim} of another type`, "malformed", () => ({ claims: { [claim]: claim === "iat" ? `${now}` : 1 } }))
    }
    refuses("an empty jti", "malformed", () => ({ claims: { jti: "" } }))
    refuses("a jti of 257 characters", "malformed", () => ({ claims: { jti: "x".repeat(257) } }))
    refuses("a proof of more than 8 KiB", "malformed", () => ({ claims: { more: "x".repeat(8192) } }))
    refuses("no jwk", "key", () => ({ header: { jwk: undefined } }))
    refuses("a jwk that is text", "key", () => ({ header: { jwk: "jwk" } }))
    refuses("a jwk without y", "key", ({ publicJwk }) => ({ header: { jwk: { ...publicJwk, y: undefined } } }))
    for (const member of ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]) {
      refuses(`a jwk with the private member ${member}`, "key", ({ publicJwk }) => ({
        header: { jwk: { ...publicJwk, [member]: "AQAB" } }
      }))
    }
    refuses(
      "a key of another kind than the alg",
      "key",
      () => Effect.map(generate("Ed25519"), ({ publicJwk }) => ({ header: { jwk: publicJwk } }))
    )
    refuses(
      "a key on another curve than the alg",
      "key",
      () => Effect.map(generate("ES384"), ({ publicJwk }) => ({ header: { jwk: publicJwk } }))
    )
    refuses("a key that says it is on another curve", "key", ({ publicJwk }) => ({
      header: { jwk: { ...publicJwk, crv: "P-384" } }
    }))
    refuses("a key that says it is of another kty", "key", ({ publicJwk }) => ({
      header: { jwk: { ...publicJwk, kty: "OKP" } }
    }))
    refuses("another method", "method", () => ({ claims: { htm: "POST" } }))
    refuses("the method in another case", "method", () => ({ claims: { htm: "get" } }))
    refuses("another path", "url", () => ({ claims: { htu: "https://api.test/customers" } }))
    refuses("another host", "url", () => ({ claims: { htu: "https://evil.test/invoices" } }))
    refuses("another scheme", "url", () => ({ claims: { htu: "http://api.test/invoices" } }))
    refuses("another port", "url", () => ({ claims: { htu: "https://api.test:8443/invoices" } }))
    refuses("another token", "token", () => Effect.map(hashOf("another"), (ath) => ({ claims: { ath } })))
    refuses("no hash of the token", "token", () => ({ claims: { ath: undefined } }))

    it.effect("another key than the token is bound to, with a key of its own in the header (binding)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const [key, other] = [yield* generate(), yield* generate()]
        const proof = yield* proofOf(other)
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof), boundTo(key)), "binding")
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof), boundTo(other)), "accepted")
      }))

    it.effect("a point off the curve (key)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const proof = yield* proofOf(key)
        const off = withHeader(proof, { jwk: { ...key.publicJwk, y: key.publicJwk.x } })
        assert.strictEqual(yield* reasonOf(verifier, requestWith(off)), "key")
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof)), "accepted")
      }))

    it.effect("a token that is bound to no key (binding)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const presented = { value: Redacted.make(token), thumbprint: undefined }
        assert.strictEqual(yield* reasonOf(verifier, requestWith(yield* proofOf(key)), presented), "binding")
      }))

    it.effect("a signature by another key, also when the key is known (signature)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const [key, other] = [yield* generate(), yield* generate()]
        const forged = yield* proofOf(other, { header: { jwk: key.publicJwk } })
        assert.strictEqual(yield* reasonOf(verifier, requestWith(forged), boundTo(key)), "signature")
        assert.strictEqual(yield* outcomeOf(verifier, key), "accepted")
        assert.strictEqual(yield* reasonOf(verifier, requestWith(forged), boundTo(key)), "signature")
      }))

    it.effect("claims that were changed after signing (signature)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const [one, other] = [yield* proofOf(key), yield* proofOf(key)]
        const mixed = [...one.split(".").slice(0, 2), other.split(".")[2]].join(".")
        assert.strictEqual(yield* reasonOf(verifier, requestWith(mixed), boundTo(key)), "signature")
      }))

    for (const alg of ["none", "HS256", "es256", "RSA-OAEP", "", undefined, 1, ["ES256"]]) {
      it.effect(`the alg ${String(alg)} (algorithm)`, () =>
        Effect.gen(function*() {
          const verifier = yield* verifierWith()
          const key = yield* generate()
          const proof = withHeader(yield* proofOf(key), { alg })
          assert.strictEqual(yield* reasonOf(verifier, requestWith(proof), boundTo(key)), "algorithm")
        }))
    }

    it.effect("a symmetric key (key)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const proof = withHeader(yield* proofOf(yield* generate()), { jwk: { kty: "oct", k: "c2VjcmV0" } })
        const error = yield* Effect.flip(verifier.verify(requestWith(proof)))
        assert.deepInclude(error, { reason: "key", problem: "its jwk is a symmetric key" })
      }))

    it.effect("RSA keys of 1024 and 2047 bits, and exponents that cost much (key)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate("RS256")
        const proof = yield* proofOf(key)
        const keyOf = (modulusLength: number) =>
          Effect.promise(async () => {
            const pair = await crypto.subtle.generateKey(
              {
                name: "RSASSA-PKCS1-v1_5",
                hash: "SHA-256",
                modulusLength,
                publicExponent: new Uint8Array([1, 0, 1])
              },
              true,
              ["sign", "verify"]
            )
            return await jose.exportJWK(pair.publicKey)
          })
        for (const jwk of [yield* keyOf(1024), yield* keyOf(2047), { ...key.publicJwk, e: key.publicJwk.n }]) {
          assert.strictEqual(yield* reasonOf(verifier, requestWith(withHeader(proof, { jwk }))), "key")
        }
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof), boundTo(key)), "accepted")
      }))

    it.effect("no DPoP header, an empty one, and more than one (missing, malformed)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const [one, other] = [yield* proofOf(key), yield* proofOf(key)]
        const none = { ...requestWith(""), headers: Headers.fromInput({ authorization: `DPoP ${token}` }) }
        assert.strictEqual(yield* reasonOf(verifier, none, boundTo(key)), "missing")
        assert.strictEqual(yield* reasonOf(verifier, requestWith(""), boundTo(key)), "missing")
        for (const two of [[one, other], [one, one], [one, ""]]) {
          assert.strictEqual(yield* reasonOf(verifier, requestWith(two), boundTo(key)), "malformed")
        }
        assert.strictEqual(yield* reasonOf(verifier, requestWith(one), boundTo(key)), "accepted")
      }))

    it.effect("what is no JWS (malformed)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const proof = yield* proofOf(yield* generate())
        const [header, payload, signature] = proof.split(".")
        const notUtf8 = jose.base64url.decode(payload!)
        notUtf8[notUtf8.indexOf("-".charCodeAt(0))] = 0xff
        const texts = [
          "x",
          `${header}.${payload}`,
          `${header}.${payload}.`,
          `${proof}.${signature}`,
          `${header}=.${payload}.${signature}`,
          ` ${proof}`,
          `${encoded([] as never)}.${payload}.${signature}`,
          `${header}.${jose.base64url.encode("null")}.${signature}`,
          `${header}.${jose.base64url.encode(notUtf8)}.${signature}`
        ]
        for (const text of texts) assert.strictEqual(yield* reasonOf(verifier, requestWith(text)), "malformed", text)
      }))

    it.effect("a bound token that came as Bearer, or in another way than the Authorization header (scheme)", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const proof = yield* proofOf(key)
        for (
          const authorization of [`Bearer ${token}`, "DPoP another-token", `DPoP ${token}, DPoP ${token}`, undefined]
        ) {
          const headers = Headers.fromInput({ dpop: proof, authorization })
          assert.strictEqual(yield* reasonOf(verifier, { ...requestWith(proof), headers }, boundTo(key)), "scheme")
        }
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof), boundTo(key)), "accepted")
      }))
  })

  describe("time", () => {
    const cases: ReadonlyArray<readonly [iat: number, expected: string]> = [
      [now - 60, "accepted"],
      [now - 60.5, "time"],
      [now - 61, "time"],
      [now + 60, "accepted"],
      [now + 60.5, "time"],
      [now + 61, "time"],
      [now - 0.25, "accepted"],
      [0, "time"],
      [-1, "time"],
      [1e300, "malformed"],
      [now * 1000, "time"]
    ]
    for (const [iat, expected] of cases) {
      it.effect(`an iat of now ${iat - now < 0 ? "" : "+"}${iat - now} s: ${expected}`, () =>
        Effect.gen(function*() {
          const verifier = yield* verifierWith()
          assert.strictEqual(yield* outcomeOf(verifier, yield* generate(), { claims: { iat } }), expected)
        }))
    }

    const other: ReadonlyArray<readonly [claims: Members, expected: string]> = [
      [{ exp: now + 1 }, "accepted"],
      [{ exp: now - 59 }, "accepted"],
      [{ exp: now - 60 }, "time"],
      [{ exp: `${now + 60}` }, "malformed"],
      [{ nbf: now + 60 }, "accepted"],
      [{ nbf: now + 61 }, "time"],
      [{ nbf: `${now}` }, "malformed"]
    ]
    for (const [claims, expected] of other) {
      it.effect(`${JSON.stringify(claims).replaceAll(`${now}`, "now ")}: ${expected} (RFC 7519 section 4.1)`, () =>
        Effect.gen(function*() {
          const verifier = yield* verifierWith()
          assert.strictEqual(yield* outcomeOf(verifier, yield* generate(), { claims }), expected)
        }))
    }

    it.effect("an iat that JSON reads as infinity", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const sign = webCrypto.signing(key, { typ: "dpop+jwt", jwk: key.publicJwk })
        const proof = yield* sign(`{"jti":"a","htm":"GET","htu":"https://api.test/invoices","iat":1e999}`)
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof)), "malformed")
      }))

    it.effect("the window is an option", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ window: "5 seconds" })
        const key = yield* generate()
        assert.strictEqual(yield* outcomeOf(verifier, key, { claims: { iat: now - 5 } }), "accepted")
        assert.strictEqual(yield* outcomeOf(verifier, key, { claims: { iat: now - 6 } }), "time")
      }))
  })

  describe("URLs", () => {
    const base = "https://api.test"
    const cases: ReadonlyArray<
      readonly [htu: string, path: string, expected: "accepted" | "url", publicUrl?: string | ReadonlyArray<string>]
    > = [
      ["HTTPS://API.Test/a", "/a", "accepted"],
      ["https://api.test/A", "/a", "url"],
      ["https://api.test:443/a", "/a", "accepted"],
      ["https://api.test:/a", "/a", "accepted"],
      ["http://api.test:80/a", "/a", "accepted", "http://api.test"],
      ["https://api.test:80/a", "/a", "url"],
      ["https://api.test:8443/a", "/a", "accepted", "https://api.test:8443/"],
      ["https://api.test", "/", "accepted"],
      ["https://api.test/", "/", "accepted"],
      ["https://api.test?x=1", "/?y=2", "accepted"],
      ["https://api.test/a?x=1", "/a?y=2", "accepted"],
      ["https://api.test/a#x", "/a", "accepted"],
      ["https://api.test/a/", "/a", "url"],
      ["https://api.test//a", "/a", "url"],
      ["https://api.test/b/../a", "/a", "accepted"],
      ["https://api.test/./a/.", "/a/", "accepted"],
      ["https://api.test/a/b/..", "/a/", "accepted"],
      ["https://api.test/../../a", "/a", "accepted"],
      ["https://api.test/b/%2E%2e/a", "/a", "accepted"],
      ["https://api.test/a", "/b/../a", "accepted"],
      ["https://api.test/.a", "/.a", "accepted"],
      ["https://api.test/%7Ea", "/~a", "accepted"],
      ["https://api.test/~a", "/%7ea", "accepted"],
      ["https://api.test/%61", "/a", "accepted"],
      ["https://api.test/a%2fb", "/a%2Fb", "accepted"],
      ["https://api.test/a%2fb", "/a/b", "url"],
      ["https://api.test/a%3Fb", "/a?b", "url"],
      ["https://api.test/%25%36%31", "/%61", "url"],
      ["https://api.test/a|b", "/a%7cb", "accepted"],
      ["https://api.test/ü", "/%c3%bc", "accepted"],
      ["https://api.test/\ud800", "/%EF%BF%BD", "accepted"],
      ["https://api.test/%", "/%", "accepted"],
      ["https://api.test/%zz", "/%25zz", "url"],
      ["https://api.test/a", "/a", "accepted", ["https://old.test", "https://api.test"]],
      ["https://old.test/a", "/a", "accepted", ["https://old.test", "https://api.test"]],
      ["https://api.test/v1/a", "/a", "accepted", "https://api.test/v1/"],
      ["https://api.test/a", "/a", "url", "https://api.test/v1"],
      ["https://xn--bcher-kva.test/a", "/a", "accepted", "https://bücher.test"],
      ["https://[0:0::1]/a", "/a", "accepted", "https://[::1]"],
      // what another origin was told cannot be shown here, whatever the request calls itself
      ["https://evil.test/a", "https://evil.test/a", "url"],
      ["https://evil.test/a", "//evil.test/a", "url"],
      ["https://api.test/a", "https://evil.test/a", "accepted"],
      ["https://api.test//evil.test/a", "//evil.test/a", "accepted"],
      ["https://api.test@evil.test/a", "/a", "url"],
      ["https://user@api.test/a", "/a", "url"],
      ["https://evil.test\\@api.test/a", "/a", "url"],
      ["https://api.test\\a", "/a", "url"],
      ["https://api.test\\a", "/", "url"],
      ["https://api\t.test/a", "/a", "url"],
      [" https://api.test/a", "/a", "url"],
      ["https:/api.test/a", "/a", "url"],
      ["//api.test/a", "/a", "url"],
      ["/a", "/a", "url"],
      ["", "/a", "url"],
      ["https://", "/a", "url"],
      ["wss://api.test/a", "/a", "url"],
      ["https://api.test/", "*", "url"]
    ]
    for (const [htu, url, expected, publicUrl = base] of cases) {
      it.effect(`${inspect(htu)} for ${url} at ${String(publicUrl)}: ${expected}`, () =>
        Effect.gen(function*() {
          const verifier = yield* verifierWith({ publicUrl })
          const key = yield* generate()
          const proof = yield* proofOf(key, { claims: { htu } })
          assert.strictEqual(yield* reasonOf(verifier, requestWith(proof, { url }), boundTo(key)), expected)
        }))
    }

    it.effect("the Host header says nothing", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const proof = yield* proofOf(key, { claims: { htu: "https://evil.test/invoices" } })
        const headers = {
          authorization: `DPoP ${token}`,
          dpop: proof,
          host: "evil.test",
          "x-forwarded-host": "evil.test"
        }
        const request = requestWith(proof, { headers: Headers.fromInput(headers) })
        assert.strictEqual(yield* reasonOf(verifier, request, boundTo(key)), "url")
      }))
  })

  describe("replay", () => {
    it.effect("a proof is accepted once, as long as it could be", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const request = requestWith(yield* proofOf(key, { claims: { iat: now + 60 } }))
        assert.strictEqual(yield* reasonOf(verifier, request, boundTo(key)), "accepted")
        assert.strictEqual(yield* reasonOf(verifier, request, boundTo(key)), "replayed")
        yield* TestClock.adjust("120 seconds")
        assert.strictEqual(yield* reasonOf(verifier, request, boundTo(key)), "replayed")
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* reasonOf(verifier, request, boundTo(key)), "time")
      }))

    it.effect("of those that come together exactly one passes", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const key = yield* generate()
        const proof = yield* proofOf(key)
        const outcomes = yield* Effect.all(
          Array.from({ length: 50 }, () => reasonOf(verifier, requestWith(proof), boundTo(key))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(outcomes.filter((outcome) => outcome === "accepted").length, 1)
        assert.strictEqual(outcomes.filter((outcome) => outcome === "replayed").length, 49)
      }))

    it.effect("the same jti in another proof of the same key is a replay, by another key it is not", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const [key, other] = [yield* generate(), yield* generate()]
        const claims = { jti: "always" }
        assert.strictEqual(yield* outcomeOf(verifier, key, { claims }), "accepted")
        assert.strictEqual(yield* outcomeOf(verifier, key, { claims: { ...claims, iat: now - 1 } }), "replayed")
        assert.strictEqual(yield* outcomeOf(verifier, other, { claims }), "accepted")
        yield* TestClock.adjust("121 seconds")
        assert.strictEqual(yield* outcomeOf(verifier, key, { claims: { ...claims, iat: now + 121 } }), "accepted")
      }))

    it.effect("a proof that was refused for anything else takes no place", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ replayCapacity: 2 })
        const [key, other] = [yield* generate(), yield* generate()]
        const proof = yield* proofOf(key)
        const forged = yield* proofOf(other, { header: { jwk: key.publicJwk } })
        for (const bad of [forged, forged]) {
          assert.strictEqual(yield* reasonOf(verifier, requestWith(bad), boundTo(key)), "signature")
        }
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof), boundTo(other)), "binding")
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof, { method: "POST" }), boundTo(key)), "method")
        assert.strictEqual(yield* reasonOf(verifier, requestWith(proof), boundTo(key)), "accepted")
      }))

    it.effect("when full it refuses, forgets nothing, and has room again when proofs end", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ replayCapacity: 4 })
        const keys = yield* Effect.all([generate(), generate(), generate(), generate(), generate()])
        const first = requestWith(yield* proofOf(keys[0]))
        assert.strictEqual(yield* reasonOf(verifier, first, boundTo(keys[0])), "accepted")
        for (const key of keys.slice(1, 4)) assert.strictEqual(yield* outcomeOf(verifier, key), "accepted")
        assert.strictEqual(yield* outcomeOf(verifier, keys[4]), "overloaded")
        assert.strictEqual(yield* reasonOf(verifier, first, boundTo(keys[0])), "replayed")
        yield* TestClock.adjust("121 seconds")
        const claims = { iat: now + 121 }
        for (const key of keys.slice(1).reverse()) {
          assert.strictEqual(yield* outcomeOf(verifier, key, { claims }), "accepted")
        }
        assert.strictEqual(yield* outcomeOf(verifier, keys[0], { claims }), "overloaded")
      }))

    it.effect("one client cannot take the last quarter from the others", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ replayCapacity: 8 })
        const [flooding, other, third] = [yield* generate(), yield* generate(), yield* generate()]
        for (let n = 0; n < 6; n++) assert.strictEqual(yield* outcomeOf(verifier, flooding), "accepted")
        assert.strictEqual(yield* outcomeOf(verifier, flooding), "overloaded")
        assert.strictEqual(yield* outcomeOf(verifier, other), "accepted")
        assert.strictEqual(yield* outcomeOf(verifier, third), "accepted")
      }))
  })

  describe("nonces", () => {
    const secret = Redacted.make("a secret of at least thirty-two bytes")
    const nonceOf = (verifier: Verifier) => Effect.map(verifier.currentNonce, (nonce) => nonce!)

    it.effect("are off unless asked for", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        assert.isUndefined(yield* verifier.currentNonce)
        assert.isUndefined((yield* verifier.refusal()).headers["dpop-nonce"])
        const response = HttpServerResponse.text("good")
        assert.strictEqual(yield* verifier.withNonce(response), response)
        assert.strictEqual(yield* outcomeOf(verifier, yield* generate(), { claims: { nonce: "any" } }), "accepted")
      }))

    it.effect("a proof must hold a nonce of this server", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ nonces: true })
        const stranger = yield* verifierWith({ nonces: true })
        const key = yield* generate()
        const nonce = yield* nonceOf(verifier)
        assert.match(nonce, /^[A-Za-z0-9_-]{43}$/)
        assert.notStrictEqual(nonce, yield* nonceOf(stranger))
        assert.strictEqual(yield* outcomeOf(verifier, key), "nonce")
        for (const foreign of [yield* nonceOf(stranger), "", nonce.slice(1), `${nonce}A`, [nonce], null]) {
          assert.strictEqual(yield* outcomeOf(verifier, key, { claims: { nonce: foreign } }), "nonce")
        }
        assert.strictEqual(yield* outcomeOf(verifier, key, { claims: { nonce } }), "accepted")
      }))

    it.effect("the one before is accepted, those before it are not", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ nonces: { rotateAfter: "100 seconds" } })
        const key = yield* generate()
        const nonce = yield* nonceOf(verifier)
        const outcomeAfter = (seconds: number) =>
          Effect.zipRight(
            TestClock.setTime((now + seconds) * 1000),
            outcomeOf(verifier, key, { claims: { nonce, iat: now + seconds } })
          )
        yield* TestClock.adjust("99999 millis")
        assert.strictEqual(yield* nonceOf(verifier), nonce)
        yield* TestClock.adjust("1 millis")
        assert.notStrictEqual(yield* nonceOf(verifier), nonce)
        assert.strictEqual(yield* outcomeAfter(199), "accepted")
        assert.strictEqual(yield* outcomeAfter(200), "nonce")
      }))

    it.effect("processes with one secret agree, also where a clock is ahead", () =>
      Effect.gen(function*() {
        const nonces = { secret, rotateAfter: Duration.seconds(100) }
        const [here, there] = [yield* verifierWith({ nonces }), yield* verifierWith({ nonces })]
        const key = yield* generate()
        yield* TestClock.adjust("100 seconds")
        const ofOneAhead = yield* nonceOf(there)
        yield* TestClock.setTime((now + 200) * 1000)
        const ofTwoAhead = yield* nonceOf(there)
        yield* atNow
        assert.strictEqual(yield* outcomeOf(here, key, { claims: { nonce: ofOneAhead } }), "accepted")
        assert.strictEqual(yield* outcomeOf(here, key, { claims: { nonce: ofTwoAhead } }), "nonce")
        assert.strictEqual(yield* nonceOf(here), yield* nonceOf(there))
      }))

    it.effect("are computed once for their time", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ nonces: { secret } })
        const { sign } = crypto.subtle
        let signed = 0
        crypto.subtle.sign = ((...args: Parameters<typeof sign>) => {
          signed++
          return sign.apply(crypto.subtle, args)
        }) as typeof sign
        yield* Effect.ensuring(
          Effect.replicateEffect(verifier.currentNonce, 100),
          Effect.sync(() => {
            crypto.subtle.sign = sign
          })
        )
        assert.strictEqual(signed, 3)
      }))

    it.effect("go with good answers, which are then not kept", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ nonces: true })
        const nonce = yield* nonceOf(verifier)
        const answered = (cacheControl?: string) =>
          Effect.map(
            verifier.withNonce(
              HttpServerResponse.text("good", {
                headers: cacheControl === undefined ? {} : { "cache-control": cacheControl }
              })
            ),
            ({ headers }) => [headers["dpop-nonce"], headers["cache-control"]]
          )
        assert.deepStrictEqual(yield* answered(), [nonce, "no-store"])
        assert.deepStrictEqual(yield* answered("private, No-Store"), [nonce, "no-store"])
        assert.deepStrictEqual(yield* answered("max-age=60"), [undefined, "max-age=60"])
      }))
  })

  describe("the answer", () => {
    const challengeOf = (response: HttpServerResponse.HttpServerResponse) =>
      WwwAuthenticate.parse(response.headers["www-authenticate"] ?? "")

    it.effect("to a request without a token: how to come again, and no error", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ algorithms: ["ES256", "PS256"] })
        const response = yield* verifier.refusal()
        assert.strictEqual(response.status, 401)
        assert.strictEqual(response.headers["www-authenticate"], "DPoP algs=\"ES256 PS256\"")
        assert.strictEqual(response.headers["cache-control"], "no-store")
      }))

    const codes: ReadonlyArray<readonly [DPoPVerifier.Reason, string]> = [
      ["scheme", "invalid_token"],
      ["binding", "invalid_token"],
      ["nonce", "use_dpop_nonce"],
      ["token", "invalid_dpop_proof"],
      ["missing", "invalid_dpop_proof"],
      ["replayed", "invalid_dpop_proof"]
    ]
    for (const [reason, code] of codes) {
      it.effect(`to ${reason}: 401 ${code}, with a nonce where nonces are on`, () =>
        Effect.gen(function*() {
          const verifier = yield* verifierWith({ nonces: true, algorithms: ["ES256"] })
          const error = new DPoPVerifier.DPoPProofInvalid({ reason, problem: "so \"it\" is\r\nsaid" })
          const response = yield* verifier.refusal(error)
          assert.strictEqual(response.status, 401)
          assert.deepStrictEqual(challengeOf(response)[0], {
            scheme: "dpop",
            token68: undefined,
            parameters: Object.assign(Object.create(null), {
              error: code,
              error_description: "so ?it? is??said",
              algs: "ES256"
            })
          })
          assert.strictEqual(response.headers["dpop-nonce"], yield* verifier.currentNonce)
          assert.strictEqual(response.headers["cache-control"], "no-store")
        }))
    }

    it.effect("to a token that is not good", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const [challenge] = challengeOf(yield* verifier.refusal("invalid_token"))
        assert.strictEqual(challenge?.parameters.error, "invalid_token")
      }))

    it.effect("where there was no room: 503, worth another try", () =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith()
        const error = new DPoPVerifier.DPoPProofInvalid({ reason: "overloaded", problem: "full" })
        const response = yield* verifier.refusal(error)
        assert.strictEqual(response.status, 503)
        assert.strictEqual(response.headers["retry-after"], "1")
        assert.isUndefined(response.headers["www-authenticate"])
      }))
  })

  describe("tokenOf", () => {
    const tokenIn = (authorization: string | undefined) =>
      Option.map(DPoPVerifier.tokenOf(Headers.fromInput({ authorization })), Redacted.value)

    it("reads the DPoP scheme in any letter case, and no other", () => {
      for (const scheme of ["DPoP", "dpop", "DPOP"]) {
        assert.deepStrictEqual(tokenIn(`${scheme} ${tokenOfTheRfc}`), Option.some(tokenOfTheRfc))
      }
      assert.deepStrictEqual(tokenIn("DPoP   a+b/c== "), Option.some("a+b/c=="))
      for (
        const bad of [undefined, "", "DPoP", "DPoP ", `Bearer ${token}`, "DPoP a b", "DPoP a,b", "xDPoP a", "DPoPa"]
      ) {
        assert.deepStrictEqual(tokenIn(bad), Option.none(), bad)
      }
    })
  })

  describe("options", () => {
    it.effect("lists every problem and quotes no secret", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(make({
          publicUrl: ["https://api.test", "api.test/?x"],
          algorithms: ["none" as "ES256"],
          window: "0 seconds",
          nonces: { secret: Redacted.make("marked-secret"), rotateAfter: "10 millis" },
          replayCapacity: 0.5
        }))
        assert.deepStrictEqual(
          error.problems.map(({ field }) => field),
          ["publicUrl", "algorithms", "window", "nonces.rotateAfter", "nonces.secret", "replayCapacity"]
        )
        assert.notInclude(error.message + inspect(error) + JSON.stringify(error), "marked-secret")
        assert.include(
          error.message,
          "nonces.secret: expected at least 32 bytes, found a Redacted string of 13 characters"
        )
      }))

    const unusable: ReadonlyArray<Partial<DPoPVerifier.Options>> = [
      { publicUrl: [] },
      { publicUrl: "/api" },
      { publicUrl: "ftp://api.test" },
      { publicUrl: "https://user@api.test" },
      { publicUrl: "https://api.test/#a" },
      { algorithms: [] },
      { window: "2 days" },
      { window: Duration.infinity },
      { nonces: { secret: Redacted.make("x".repeat(31)) } },
      { replayCapacity: 20_000_000 }
    ]
    for (const options of unusable) {
      it.effect(`refuses ${inspect(options, { breakLength: Infinity })}`, () =>
        Effect.gen(function*() {
          assert.strictEqual((yield* Effect.flip(make(options))).problems.length, 1)
        }))
    }

    it.effect("Layers, also from configuration", () =>
      Effect.gen(function*() {
        const provider = ConfigProvider.fromMap(new Map([["PUBLIC_URL", "https://api.test"]]))
        const layers = [
          DPoPVerifier.layer({ publicUrl: "https://api.test" }),
          DPoPVerifier.layerConfig(Config.all({ publicUrl: Config.string("PUBLIC_URL") }))
        ]
        yield* atNow
        for (const layer of layers) {
          const provided = layer.pipe(Layer.provide(Signer.layer), Layer.provide(Layer.setConfigProvider(provider)))
          const verifier = yield* Effect.provide(DPoPVerifier.DPoPVerifier, provided)
          assert.strictEqual(yield* outcomeOf(verifier, yield* generate()), "accepted")
        }
      }))
  })

  it.scopedLive("protects an API on a real server", () =>
    Effect.gen(function*() {
      const server = yield* NodeHttpServer.make(() => http.createServer(), { host: "127.0.0.1", port: 0 })
      const { port } = server.address as { readonly port: number }
      const verifier = yield* make({ publicUrl: "https://api.test", nonces: true })
      const key = yield* generate()
      const iat = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) / 1000

      yield* server.serve(Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const presented = DPoPVerifier.tokenOf(request.headers)
        if (Option.isNone(presented)) return yield* verifier.refusal()
        const good = HttpServerResponse.text("invoices")
        return yield* verifier.verify(request, { value: presented.value, thumbprint: key.thumbprint }).pipe(
          Effect.zipRight(verifier.withNonce(good)),
          Effect.catchTag("DPoPProofInvalid", verifier.refusal)
        )
      }))

      interface Sent {
        readonly dpop?: string | Array<string>
        readonly path?: string
        readonly host?: string
      }
      const send = ({ dpop, host = "api.test", path = "/invoices" }: Sent) =>
        Effect.async<http.IncomingMessage>((resume) => {
          const authorization = dpop === undefined ? {} : { authorization: `DPoP ${token}`, dpop }
          const request = http.request({ port, host: "127.0.0.1", path, headers: { host, ...authorization } })
          request.on("response", (response) => resume(Effect.succeed(response.resume())))
          request.end()
        })
      const errorOf = ({ headers }: http.IncomingMessage) =>
        WwwAuthenticate.parse(headers["www-authenticate"] ?? "")[0]?.parameters.error

      const first = yield* send({})
      assert.strictEqual(first.statusCode, 401)
      assert.isUndefined(errorOf(first))

      const challenged = yield* send({ dpop: yield* proofOf(key, { claims: { iat } }) })
      assert.strictEqual(errorOf(challenged), "use_dpop_nonce")
      const proof = (htu = "https://api.test/invoices") =>
        proofOf(key, { claims: { iat, htu, nonce: challenged.headers["dpop-nonce"] } })

      const good = yield* proof()
      const accepted = yield* send({ dpop: good, path: "/invoices?page=2" })
      assert.strictEqual(accepted.statusCode, 200)
      assert.strictEqual(accepted.headers["dpop-nonce"], challenged.headers["dpop-nonce"])
      assert.strictEqual(errorOf(yield* send({ dpop: good })), "invalid_dpop_proof", "replayed")
      assert.strictEqual(errorOf(yield* send({ dpop: [yield* proof(), yield* proof()] })), "invalid_dpop_proof", "two")
      for (const path of ["/invoices", "//evil.test/invoices", "https://evil.test/invoices"]) {
        const stolen = yield* proof("https://evil.test/invoices")
        const answer = yield* send({ dpop: stolen, path, host: "evil.test" })
        assert.strictEqual(errorOf(answer), "invalid_dpop_proof", path)
      }
    }))

  it.effect("shows nothing of token, proof and nonce in an error", () =>
    Effect.gen(function*() {
      const mark = "5ecr3t"
      const key = yield* generate()
      const marked: ReadonlyArray<ProofOptions> = [
        { header: { typ: mark } },
        { header: { jwk: { ...key.publicJwk, x: mark } } },
        { header: { jwk: { ...key.publicJwk, d: mark } } },
        { claims: { htm: mark } },
        { claims: { htu: `https://api.test/${mark}` } },
        { claims: { htu: mark } },
        { claims: { iat: mark } },
        { claims: { jti: mark.repeat(100) } },
        { claims: { nonce: mark } },
        { claims: { ath: mark } },
        { claims: { iat: 5 } }
      ]
      const value = `${mark}-token`
      const verifier = yield* verifierWith({ nonces: true })
      const nonce = yield* verifier.currentNonce
      const errors = yield* Effect.forEach([...marked, { claims: { nonce } }], (options) =>
        Effect.gen(function*() {
          const claims = { nonce, ...options.claims }
          const proof = yield* proofOf(key, { ...options, claims })
          const headers = Headers.fromInput({ authorization: `DPoP ${value}`, dpop: proof })
          const presented = { value: Redacted.make(value), thumbprint: `${mark}-thumbprint` }
          const error = yield* Effect.flip(verifier.verify({ ...requestWith(proof), headers }, presented))
          const printed = [
            error.message,
            String(error),
            error.stack,
            JSON.stringify(error),
            inspect(error, { depth: 20, showHidden: true }),
            Cause.pretty(Cause.fail(error)),
            JSON.stringify(yield* verifier.refusal(error)).replaceAll(nonce!, "")
          ].join("\n")
          for (const secret of [mark, ...proof.split("."), nonce!]) assert.notInclude(printed, secret)
          return error.reason
        }))
      assert.includeMembers(errors, ["malformed", "key", "method", "url", "nonce", "time", "binding"])
    }))

  describe("whatever a client sends is a typed error", () => {
    const neverDies = (request: DPoPVerifier.Request, presented?: DPoPVerifier.PresentedToken) =>
      Effect.gen(function*() {
        const verifier = yield* verifierWith({ nonces: false })
        const exit = yield* Effect.exit(verifier.verify(request, presented))
        if (Exit.isSuccess(exit)) return "accepted"
        assert.isTrue(Cause.isFailType(exit.cause), Cause.pretty(exit.cause))
        const error = Option.getOrThrow(Cause.failureOption(exit.cause))
        yield* verifier.refusal(error)
        return error.reason
      })

    it.effect.prop(
      "any headers, method and URL",
      [
        FastCheck.string({ unit: "binary" }),
        FastCheck.string(),
        FastCheck.string({ unit: "binary" }),
        FastCheck.webUrl()
      ],
      ([dpop, authorization, method, url]) =>
        Effect.gen(function*() {
          const headers = Headers.fromInput({ dpop, authorization: `DPoP ${authorization}` })
          const presented = { value: Redacted.make(authorization), thumbprint: dpop }
          assert.notStrictEqual(yield* neverDies({ method, url, headers }), "accepted")
          assert.notStrictEqual(yield* neverDies({ method, url: dpop, headers }, presented), "accepted")
        }),
      { fastCheck: { numRuns: 200 } }
    )

    const name = FastCheck.constantFrom(
      "typ",
      "alg",
      "jwk",
      "crit",
      "b64",
      "jti",
      "htm",
      "htu",
      "iat",
      "ath",
      "nonce",
      "x"
    )
    const member = FastCheck.constantFrom("kty", "crv", "x", "y", "n", "e", "d", "alg", "use", "key_ops", "__proto__")
    const value = FastCheck.oneof(
      FastCheck.jsonValue(),
      FastCheck.constantFrom(
        "EC",
        "RSA",
        "OKP",
        "oct",
        "P-256",
        "P-384",
        "Ed25519",
        "AQAB",
        "x".repeat(43),
        "https://["
      ),
      FastCheck.string({ unit: "binary" })
    )

    // lone surrogates too, which JSON can carry and UTF-8 cannot
    const codeUnit = FastCheck.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code))

    it.effect.prop(
      "well-signed proofs with other members",
      [
        FastCheck.oneof(FastCheck.dictionary(name, value, { maxKeys: 3 }), value.map((jwk): Members => ({ jwk }))),
        FastCheck.dictionary(member, value, { maxKeys: 3 }),
        FastCheck.dictionary(name, value, { maxKeys: 3 })
      ],
      ([header, jwk, claims]) =>
        Effect.gen(function*() {
          const key = yield* generate()
          const proof = yield* proofOf(key, { header: { jwk: { ...key.publicJwk, ...jwk }, ...header }, claims })
          yield* neverDies(requestWith(proof), boundTo(key))
          yield* neverDies(requestWith(withHeader(proof, header)), boundTo(key))
        }),
      { fastCheck: { numRuns: 200 } }
    )

    it.effect.prop(
      "a good proof with some characters changed is never accepted",
      [
        FastCheck.array(FastCheck.tuple(FastCheck.nat(), FastCheck.string({ minLength: 1, maxLength: 1 })), {
          minLength: 1,
          maxLength: 3
        })
      ],
      ([changes]) =>
        Effect.gen(function*() {
          const key = yield* generate()
          const proof = yield* proofOf(key)
          // the last character of a signature has bits that mean nothing
          const end = proof.length - 1
          const changed = changes.reduce((text, [place, character]) => {
            const at = place % end
            return text.slice(0, at) + character + text.slice(at + 1)
          }, proof)
          if (changed !== proof) {
            assert.notStrictEqual(yield* neverDies(requestWith(changed), boundTo(key)), "accepted")
          }
        }),
      { fastCheck: { numRuns: 200 } }
    )

    it.effect.prop(
      "any htu against any path",
      [FastCheck.string({ unit: codeUnit }), FastCheck.string({ unit: codeUnit }), FastCheck.boolean()],
      ([one, other, absolute]) =>
        Effect.gen(function*() {
          const key = yield* generate()
          const htu = absolute ? `https://api.test/${one}` : one
          const proof = yield* proofOf(key, { claims: { htu } })
          yield* neverDies(requestWith(proof, { url: `/${other}` }), boundTo(key))
        }),
      { fastCheck: { numRuns: 200 } }
    )
  })
})
