/**
 * The signatures of a server's JWTs, and the keys that it publishes for them.
 */
import {
  AuthorizationServer,
  JwtVerifier,
  OAuth,
  OAuthError,
  SigningKey,
  TokenClient,
  TokenClients
} from "@effect-oauth/core"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck, Layer, Redacted, TestClock } from "effect"
import * as jose from "jose"
import http from "node:http"
import * as Server from "../../../examples/servers/authorizationServer.ts"
import { listen, stop } from "../../../examples/servers/listening.ts"
import { json, services, type Stub, stub } from "./support/StubServer.ts"

const issuer = "https://as.test"
const jwksUri = `${issuer}/jwks`

interface Published {
  keys: ReadonlyArray<unknown>
}

const serving = (published: Published, jwks: () => Response = () => json({ keys: published.keys })): Stub =>
  stub(({ url }) => url === jwksUri ? jwks() : json({ issuer, jwks_uri: jwksUri }))

const reads = (server: Stub): number => server.seen.filter(({ url }) => url === jwksUri).length

const clientOf = (issuer: string) => TokenClient.make("app", { issuer, clientId: "app" })
const options = { app: { issuer, clientId: "app" } }

const verify = (jwt: string, options?: JwtVerifier.Options) =>
  Effect.gen(function*() {
    const verifier = yield* JwtVerifier.JwtVerifier
    return yield* verifier.verify(yield* clientOf(issuer), Redacted.make(jwt), options)
  })

const refusal = (jwt: string, options?: JwtVerifier.Options) =>
  Effect.map(Effect.flip(verify(jwt, options)), (error) => error._tag === "JwtInvalid" ? error.reason : error._tag)

const keysOf = (kid?: string) =>
  Effect.gen(function*() {
    const server = yield* AuthorizationServer.AuthorizationServer
    return yield* server.keys(yield* clientOf(issuer), { kid })
  })

const run = <A, E>(
  server: Stub,
  effect: Effect.Effect<A, E, JwtVerifier.JwtVerifier | AuthorizationServer.AuthorizationServer>
) => Effect.provide(effect, services(server, options))

interface Pair {
  readonly alg: string
  readonly privateKey: jose.CryptoKey
  readonly jwk: jose.JWK
}

const pairOf = (alg = "ES256", kid?: string, more: jose.JWK = {}): Effect.Effect<Pair> =>
  Effect.promise(async () => {
    const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true, modulusLength: 2048 })
    return {
      alg,
      privateKey,
      jwk: { ...await jose.exportJWK(publicKey), ...(kid === undefined ? {} : { kid }), ...more }
    }
  })

const sign = (
  { alg, privateKey }: Pair,
  header: Record<string, unknown> = {},
  payload: unknown = { sub: "u" }
): Effect.Effect<string> =>
  Effect.promise(() =>
    new jose.CompactSign(new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload)))
      .setProtectedHeader({ alg, ...header })
      .sign(privateKey, { crit: { x: false } })
  )

const encoded = (value: unknown): string => jose.base64url.encode(JSON.stringify(value))

describe("vectors", () => {
  const payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
  const rows: ReadonlyArray<readonly [name: string, jwt: string, jwk: jose.JWK]> = [
    [
      "RFC 7515 A.2, RS256",
      `eyJhbGciOiJSUzI1NiJ9.${payload}.` +
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU" +
      "Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_" +
      "dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0i" +
      "gcN_IoypGlUPQGe77Rw",
      {
        kty: "RSA",
        n: "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SF" +
          "d2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7W" +
          "TBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91" +
          "kzk2PAcDTW9gb54h4FRWyuXpoQ",
        e: "AQAB"
      }
    ],
    [
      "RFC 7515 A.3, ES256",
      `eyJhbGciOiJFUzI1NiJ9.${payload}.` +
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
      {
        kty: "EC",
        crv: "P-256",
        x: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
      }
    ]
  ]
  for (const [name, jwt, jwk] of rows) {
    it.effect(name, () =>
      run(
        serving({ keys: [jwk] }),
        Effect.gen(function*() {
          const { header, payload } = yield* verify(jwt)
          assert.strictEqual(header.alg, name.slice(-5))
          assert.deepStrictEqual(payload, { iss: "joe", exp: 1300819380, "http://example.com/is_root": true })
          const tampered = jwt.slice(0, -6) + (jwt.at(-6) === "A" ? "B" : "A") + jwt.slice(-5)
          assert.strictEqual(yield* refusal(tampered), "signature")
        })
      ))
  }
})

describe("a JWT", () => {
  for (const algorithm of SigningKey.algorithms) {
    it.effect(`signed by ${algorithm} is accepted, by kid and without`, () =>
      Effect.gen(function*() {
        const pair = yield* pairOf(algorithm, "1")
        yield* run(
          serving({ keys: [{ kty: "EC", kid: "other" }, "junk", null, pair.jwk] }),
          Effect.gen(function*() {
            const { header, payload } = yield* verify(yield* sign(pair, { kid: "1", typ: "JWT" }, { sub: "a" }))
            assert.deepStrictEqual(header, { alg: algorithm, kid: "1", typ: "JWT" })
            assert.deepStrictEqual(payload, { sub: "a" })
            yield* verify(yield* sign(pair))
            yield* verify(yield* sign(pair), { algorithms: [algorithm] })
          })
        )
      }))
  }

  it.effect("with alg none, in any letter case and with or without a signature, never", () =>
    Effect.gen(function*() {
      const { jwk } = yield* pairOf()
      yield* run(
        serving({ keys: [jwk] }),
        Effect.gen(function*() {
          for (const alg of ["none", "None", "NONE", "", null, undefined, 1, ["ES256"]]) {
            const start = `${encoded({ alg })}.${encoded({ sub: "u" })}`
            assert.strictEqual(yield* refusal(`${start}.`), "form")
            assert.strictEqual(yield* refusal(`${start}.AAAA`), "algorithm")
            assert.strictEqual(yield* refusal(`${start}.AAAA`, { algorithms: [alg as never] }), "algorithm")
          }
        })
      )
    }))

  it.effect("with HS256 and the text of a public key as its secret, never", () =>
    Effect.gen(function*() {
      const { jwk, privateKey } = yield* pairOf("RS256", "1")
      const publicKey = yield* Effect.promise(() =>
        jose.importJWK(jwk, "RS256", { extractable: true }) as Promise<jose.CryptoKey>
      )
      const pem = yield* Effect.promise(() => jose.exportSPKI(publicKey))
      const symmetric = { kty: "oct", kid: "2", alg: "HS256", k: jose.base64url.encode(pem) }
      yield* run(
        serving({ keys: [jwk, symmetric] }),
        Effect.gen(function*() {
          for (const text of [pem, pem.trim(), JSON.stringify(jwk), jwk.n!]) {
            for (const kid of ["1", "2", undefined]) {
              const header = kid === undefined ? { alg: "HS256" } : { alg: "HS256", kid }
              const forged = yield* Effect.promise(() =>
                new jose.SignJWT({ sub: "u" }).setProtectedHeader(header).sign(new TextEncoder().encode(text))
              )
              assert.strictEqual(yield* refusal(forged), "algorithm")
              assert.strictEqual(yield* refusal(forged, { algorithms: ["HS256" as never, "RS256"] }), "algorithm")
            }
          }
          yield* verify(yield* sign({ alg: "RS256", privateKey, jwk }, { kid: "1" }))
        })
      )
    }))

  it.effect("with an alg that is not among the allowed ones, not", () =>
    Effect.gen(function*() {
      const pair = yield* pairOf("ES384")
      yield* run(
        serving({ keys: [pair.jwk] }),
        Effect.gen(function*() {
          const jwt = yield* sign(pair)
          assert.strictEqual(yield* refusal(jwt, { algorithms: ["ES256", "RS256"] }), "algorithm")
          assert.strictEqual(yield* refusal(jwt, { algorithms: [] }), "algorithm")
        })
      )
    }))

  it.effect("by its typ, where types are asked for and it has one", () =>
    Effect.gen(function*() {
      const pair = yield* pairOf()
      yield* run(
        serving({ keys: [pair.jwk] }),
        Effect.gen(function*() {
          const types = ["logout+jwt", "application/JWT"]
          for (
            const typ of ["logout+jwt", "application/logout+jwt", "LOGOUT+JWT", "jwt", "Application/Jwt", undefined]
          ) {
            yield* verify(yield* sign(pair, typ === undefined ? {} : { typ }), { types })
          }
          for (const typ of ["at+jwt", "application/x/jwt", "", 1, null]) {
            assert.strictEqual(yield* refusal(yield* sign(pair, { typ }), { types }), "type")
          }
          yield* verify(yield* sign(pair, { typ: "anything" }))
        })
      )
    }))

  it.effect("with a crit, a kid that is no text, or a payload that is no object, not", () =>
    Effect.gen(function*() {
      const pair = yield* pairOf()
      yield* run(
        serving({ keys: [pair.jwk] }),
        Effect.gen(function*() {
          assert.strictEqual(yield* refusal(yield* sign(pair, { crit: ["x"], x: 1 })), "form")
          assert.strictEqual(yield* refusal(yield* sign(pair, { kid: 7 })), "form")
          for (const payload of ["[]", "7", "\"x\"", "null", "{", "\u0000"]) {
            assert.strictEqual(yield* refusal(yield* sign(pair, {}, payload)), "form")
          }
        })
      )
    }))

  it.effect("of another key, not; nor one whose content was changed", () =>
    Effect.gen(function*() {
      const [pair, other] = yield* Effect.all([pairOf("ES256", "1"), pairOf("ES256", "2")])
      yield* run(
        serving({ keys: [pair.jwk, other.jwk] }),
        Effect.gen(function*() {
          assert.strictEqual(yield* refusal(yield* sign(other, { kid: "1" })), "signature")
          assert.strictEqual(yield* refusal(yield* sign(yield* pairOf())), "signature")
          const [header, , signature] = (yield* sign(pair, { kid: "1" })).split(".")
          assert.strictEqual(yield* refusal(`${header}.${encoded({ sub: "admin" })}.${signature}`), "signature")
          const embedded = yield* pairOf()
          const jwt = yield* sign(embedded, { jwk: embedded.jwk, jku: "https://evil.test/" })
          assert.strictEqual(yield* refusal(jwt), "signature")
        })
      )
    }))

  const junk = FastCheck.oneof(
    FastCheck.string(),
    FastCheck.stringMatching(
      /^[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}(\.[A-Za-z0-9_-]{0,9}){0,2}$/
    ),
    FastCheck.tuple(
      FastCheck.record({
        alg: FastCheck.constantFrom("ES256", "EdDSA", "PS512", "none"),
        kid: FastCheck.oneof(FastCheck.string(), FastCheck.jsonValue()),
        typ: FastCheck.jsonValue()
      }, { requiredKeys: ["alg"] }),
      FastCheck.jsonValue(),
      FastCheck.uint8Array({ minLength: 1, maxLength: 70 })
    ).map(([header, payload, signature]) =>
      `${encoded(header)}.${encoded(payload)}.${jose.base64url.encode(signature)}`
    )
  )
  const someKey = FastCheck.oneof(
    FastCheck.jsonValue(),
    FastCheck.record({
      kty: FastCheck.constantFrom("EC", "RSA", "OKP", "oct"),
      crv: FastCheck.constantFrom("P-256", "Ed25519", "P-521"),
      x: FastCheck.constantFrom("A".repeat(43), "", 7),
      y: FastCheck.constantFrom("A".repeat(43), null),
      n: FastCheck.constantFrom("A".repeat(342), "AQAB"),
      e: FastCheck.constantFrom("AQAB", "AA"),
      kid: FastCheck.jsonValue(),
      use: FastCheck.constantFrom("sig", "enc"),
      key_ops: FastCheck.jsonValue()
    }, { requiredKeys: ["kty"] })
  )
  it.effect.prop("that is junk is a typed error that quotes nothing of it, whatever the keys are", [
    junk,
    FastCheck.array(someKey, { maxLength: 4 })
  ], ([jwt, keys]) =>
    run(
      serving({ keys }),
      Effect.gen(function*() {
        const error = yield* Effect.flip(verify(jwt))
        assert.strictEqual(error._tag, "JwtInvalid")
        if (jwt.length > 20) assert.notInclude(JSON.stringify(error) + error.message, jwt)
      })
    ), { fastCheck: { numRuns: 150 } })
})

describe("a key of the server", () => {
  const rows: ReadonlyArray<readonly [what: string, alg: string, more: jose.JWK, counts: boolean]> = [
    ["for encryption", "RS256", { use: "enc" }, false],
    ["for signatures", "RS256", { use: "sig" }, true],
    ["of another alg", "RS256", { alg: "PS256" }, false],
    ["of this alg", "RS256", { alg: "RS256" }, true],
    ["of this alg by its newer name", "EdDSA", { alg: "Ed25519" }, true],
    ["that signs only", "ES256", { key_ops: ["sign"] }, false],
    ["that verifies", "ES256", { key_ops: ["verify"] }, true],
    ["of another curve", "ES256", { crv: "P-384" }, false],
    ["of another kind", "ES256", { kty: "OKP" }, false],
    ["that is none", "ES256", { x: "AA" }, false],
    ["off its curve", "ES256", { x: "A".repeat(43), y: "A".repeat(42) + "E" }, false],
    ["that is private", "ES256", { d: "AA" }, false]
  ]
  for (const [what, alg, more, counts] of rows) {
    it.effect(`${what} ${counts ? "counts" : "does not count"}`, () =>
      Effect.gen(function*() {
        const pair = yield* pairOf(alg, "1", more)
        for (const kid of ["1", undefined]) {
          yield* run(
            serving({ keys: [pair.jwk] }),
            Effect.gen(function*() {
              const jwt = yield* sign(pair, kid === undefined ? {} : { kid })
              if (counts) yield* verify(jwt)
              else assert.strictEqual(yield* refusal(jwt), "key")
            })
          )
        }
      }))
  }

  it.effect("of 1024 bits does not count", () =>
    Effect.gen(function*() {
      const { n } = (yield* pairOf("RS256")).jwk
      const weak = { kty: "RSA", n: n!.slice(0, 171), e: "AQAB" }
      const padded = { kty: "RSA", n: "A".repeat(171) + n!.slice(0, 171), e: "AQAB" }
      const jwt = yield* sign(yield* pairOf("RS256"))
      for (const jwk of [weak, padded]) {
        yield* run(serving({ keys: [jwk] }), refusal(jwt)).pipe(
          Effect.map((reason) => assert.strictEqual(reason, "key"))
        )
      }
    }))

  it.effect("is the one of its kind where several have one kid", () =>
    Effect.gen(function*() {
      const [ec, rsa] = yield* Effect.all([pairOf("ES256", "1"), pairOf("RS256", "1")])
      yield* run(
        serving({ keys: [ec.jwk, rsa.jwk] }),
        Effect.gen(function*() {
          yield* verify(yield* sign(rsa, { kid: "1" }))
          yield* verify(yield* sign(ec, { kid: "1" }))
        })
      )
    }))

  it.effect("is looked for among ten where a JWT names none", () =>
    Effect.gen(function*() {
      const pairs = yield* Effect.all(Array.from({ length: 11 }, () => pairOf()))
      const kinds = [yield* pairOf("ES384"), yield* pairOf("EdDSA")]
      yield* run(
        serving({ keys: [...kinds, ...pairs].map(({ jwk }) => jwk) }),
        Effect.gen(function*() {
          yield* verify(yield* sign(pairs[9]!))
          assert.strictEqual(yield* refusal(yield* sign(pairs[10]!)), "signature")
        })
      )
    }))
})

describe("the keys of a server", () => {
  it.effect("are read at first use, once for many, and kept for an hour; then read in the background", () =>
    Effect.gen(function*() {
      const published: Published = { keys: [] }
      const server = serving(published)
      yield* run(
        server,
        Effect.gen(function*() {
          yield* Effect.all(Array.from({ length: 20 }, () => keysOf()), { concurrency: "unbounded" })
          yield* TestClock.adjust("59 minutes")
          assert.deepStrictEqual(yield* keysOf(), [])
          assert.strictEqual(reads(server), 1)
          published.keys = [{ kty: "EC", kid: "new" }]
          yield* TestClock.adjust("2 minutes")
          assert.deepStrictEqual(yield* keysOf(), [])
          yield* Effect.repeatN(Effect.yieldNow(), 50)
          assert.deepStrictEqual(yield* keysOf(), [{ kty: "EC", kid: "new" }])
          assert.strictEqual(reads(server), 2)
        })
      )
    }))

  it.effect("stay while they cannot be read anew", () => {
    let down = false
    const keys = [{ kty: "EC", kid: "1" }]
    const server = serving({ keys }, () => down ? new Response(null, { status: 500 }) : json({ keys }))
    return run(
      server,
      Effect.gen(function*() {
        yield* keysOf()
        down = true
        yield* TestClock.adjust("10 hours")
        assert.deepStrictEqual(yield* keysOf("1"), keys)
      })
    )
  })

  it.effect("are without those that are private or symmetric", () =>
    Effect.gen(function*() {
      const { jwk } = yield* pairOf()
      const keys = [{ ...jwk, d: "x" }, { kty: "oct", k: "x" }, { kty: "RSA", n: "x", e: "x", p: "x" }, jwk, [], "x"]
      const found = yield* run(serving({ keys }), keysOf())
      assert.deepStrictEqual(found, [jwk])
    }))

  const bad: ReadonlyArray<readonly [what: string, answer: () => Response, says: string]> = [
    ["503", () => new Response(null, { status: 503 }), "503"],
    ["HTML", () => new Response("<html>"), "HTML"],
    ["no keys", () => json({}), "no keys"],
    ["a key that is none", () => json({ keys: { kty: "EC" } }), "no keys"],
    ["too much", () => new Response("x".repeat(2_000_000)), "larger than maxResponseSize"],
    ["a redirect", () => new Response(null, { status: 302, headers: { location: "https://evil.test" } }), "redirect"]
  ]
  for (const [what, answer, says] of bad) {
    it.effect(`${what} in their place is a DiscoveryError`, () =>
      Effect.gen(function*() {
        const { jwk: _, ...pair } = yield* pairOf()
        const jwt = yield* sign({ ...pair, jwk: {} })
        const error = yield* Effect.flip(run(serving({ keys: [] }, answer), verify(jwt)))
        assert.deepInclude(error, { _tag: "DiscoveryError", document: "keys", endpoint: jwksUri })
        assert.include(error.message, says)
      }))
  }

  it.effect("of a server that names none, or of no server, are a DiscoveryError", () =>
    Effect.gen(function*() {
      const silent = stub(() => json({ issuer, jwks_uri: "http://as.test/jwks" }))
      const error = yield* Effect.flip(run(silent, keysOf()))
      assert.include(error.message, "jwks_uri")
      const server = yield* Effect.provide(AuthorizationServer.AuthorizationServer, services(silent, options))
      const without = yield* TokenClient.make("x", { tokenEndpoint: `${issuer}/token`, clientId: "x" })
      assert.include((yield* Effect.flip(server.keys(without))).message, "no issuer")
    }))

  it.effect("are read anew when a JWT names a key that is not among them: a rotation is no interruption", () =>
    Effect.gen(function*() {
      const [old, next] = yield* Effect.all([pairOf("ES256", "old"), pairOf("ES256", "next")])
      const published: Published = { keys: [old.jwk] }
      const server = serving(published)
      yield* run(
        server,
        Effect.gen(function*() {
          yield* verify(yield* sign(old, { kid: "old" }))
          published.keys = [next.jwk]
          const jwt = yield* sign(next, { kid: "next" })
          yield* Effect.all(Array.from({ length: 20 }, () => verify(jwt)), { concurrency: "unbounded" })
          assert.strictEqual(reads(server), 2)
          assert.strictEqual(yield* refusal(yield* sign(old, { kid: "old" })), "key")
        })
      )
    }))

  it.effect("are read anew for a JWT that names none and fits none, once in 30 seconds", () =>
    Effect.gen(function*() {
      const [old, next] = yield* Effect.all([pairOf(), pairOf()])
      const published: Published = { keys: [old.jwk] }
      const server = serving(published)
      yield* run(
        server,
        Effect.gen(function*() {
          yield* verify(yield* sign(old, {}))
          published.keys = [next.jwk]
          yield* verify(yield* sign(next, {}))
          assert.strictEqual(reads(server), 2)
          const stranger = yield* pairOf()
          for (let count = 0; count < 5; count++) {
            assert.strictEqual(yield* refusal(yield* sign(stranger, {})), "signature")
          }
          assert.strictEqual(reads(server), 2)
          yield* TestClock.adjust("31 seconds")
          assert.strictEqual(yield* refusal(yield* sign(stranger, {})), "signature")
          assert.strictEqual(reads(server), 3)
        })
      )
    }))

  it.effect("are read once for a flood of kids that do not exist, and once more after 30 seconds", () =>
    Effect.gen(function*() {
      const pair = yield* pairOf("ES256", "1")
      const server = serving({ keys: [pair.jwk] })
      yield* run(
        server,
        Effect.gen(function*() {
          const flood = (name: string) =>
            Effect.forEach(
              Array.from({ length: 30 }, (_, index) => `${name}${index}`),
              (kid) => Effect.flatMap(sign(pair, { kid }), refusal),
              { concurrency: 10 }
            )
          assert.deepStrictEqual(new Set(yield* flood("a")), new Set(["key"]))
          // The first read was for the first of them, the second for the rest.
          assert.isAtMost(reads(server), 2)
          const before = reads(server)
          yield* flood("b")
          yield* TestClock.adjust("29 seconds")
          yield* flood("c")
          assert.isAtMost(reads(server) - before, 1)
          const during = reads(server)
          yield* TestClock.adjust("31 seconds")
          yield* flood("d")
          assert.strictEqual(reads(server), during + 1)
          yield* verify(yield* sign(pair, { kid: "1" }))
        })
      )
    }))

  it.effect("are read anew for each source of its own: what anybody sends does not use up what an answer needs", () =>
    Effect.gen(function*() {
      const [old, next] = yield* Effect.all([pairOf("ES256", "old"), pairOf("ES256", "next")])
      const published: Published = { keys: [old.jwk] }
      const server = serving(published)
      yield* run(
        server,
        Effect.gen(function*() {
          yield* verify(yield* sign(old, { kid: "old" }))
          for (const source of ["logout", "request", "login"] as const) {
            for (let count = 0; count < 5; count++) {
              const jwt = yield* sign(old, { kid: "made up" })
              assert.strictEqual((yield* Effect.flip(verify(jwt, { source })))._tag, "JwtInvalid")
            }
          }
          assert.strictEqual(reads(server), 4)
          published.keys = [next.jwk]
          yield* verify(yield* sign(next, { kid: "next" }), { source: "server" })
          assert.strictEqual(reads(server), 5)
        })
      )
    }))

  it.effect("that were read a moment ago are not read again for a kid that they lack", () =>
    Effect.gen(function*() {
      const server = serving({ keys: [] })
      yield* run(
        server,
        Effect.gen(function*() {
          yield* keysOf("unknown")
          assert.strictEqual(reads(server), 1)
          yield* keysOf("unknown")
          assert.strictEqual(reads(server), 2)
          yield* keysOf("unknown")
          assert.strictEqual(reads(server), 2)
        })
      )
    }))
})

describe("at real servers", () => {
  const layer = OAuth.layer.pipe(Layer.provide([TokenClients.layer({}), FetchHttpClient.layer]))

  it.scopedLive("a token of oidc-provider", () =>
    Effect.gen(function*() {
      const secret = "s".repeat(32)
      const server = yield* Server.start({ jwt: true, clients: [{ client_id: "app", client_secret: secret }] })
      const response = yield* Effect.promise(() =>
        fetch(server.tokenEndpoint, {
          method: "POST",
          headers: { authorization: `Basic ${btoa(`app:${secret}`)}` },
          body: new URLSearchParams({ grant_type: "client_credentials" })
        })
      )
      const { access_token: jwt } = (yield* Effect.promise(() => response.json())) as { access_token: string }
      yield* Effect.gen(function*() {
        const verifier = yield* JwtVerifier.JwtVerifier
        const client = yield* clientOf(server.issuer)
        const { payload } = yield* verifier.verify(client, Redacted.make(jwt), { types: ["at+jwt"] })
        assert.strictEqual(payload.iss, server.issuer)
        const id = yield* Effect.flip(verifier.verify(client, Redacted.make(jwt), { types: ["JWT"] }))
        assert.deepInclude(id, { _tag: "JwtInvalid", reason: "type" })
      }).pipe(Effect.provide(layer))
    }))

  it.scopedLive("keys that rotate", () =>
    Effect.gen(function*() {
      const [old, next] = yield* Effect.all([pairOf("ES256", "old"), pairOf("EdDSA", "next")])
      let keys = [old.jwk]
      let origin = ""
      const server = http.createServer(({ url }, response) => {
        response.end(JSON.stringify(url === "/jwks" ? { keys } : { issuer: origin, jwks_uri: `${origin}/jwks` }))
      })
      const port = yield* Effect.acquireRelease(listen(server, 0), () => stop(server))
      origin = `http://127.0.0.1:${port}`
      yield* Effect.gen(function*() {
        const verifier = yield* JwtVerifier.JwtVerifier
        const client = yield* clientOf(origin)
        const check = (pair: Pair, kid: string) =>
          Effect.flatMap(sign(pair, { kid }), (jwt) => verifier.verify(client, Redacted.make(jwt)))
        yield* check(old, "old")
        keys = [old.jwk, next.jwk]
        assert.deepStrictEqual((yield* check(next, "next")).payload, { sub: "u" })
        yield* check(old, "old")
        keys = []
        const error = yield* Effect.flip(check(next, "unknown"))
        assert.instanceOf(error, OAuthError.JwtInvalid)
      }).pipe(Effect.provide(layer))
    }))
})
