/**
 * Proofs of possession, from the token endpoint to the API.
 */
import {
  AccessToken,
  AccessTokenHttpClient,
  ClientCredentialsTokenManager,
  DPoPKeyStore,
  DPoPNonceStore,
  DPoPProofs,
  OAuth,
  OAuthError,
  OAuthMetrics,
  OAuthValues,
  Signer,
  SigningKey,
  TokenCache,
  TokenClients
} from "@effect-oauth/core"
import type { TokenClient } from "@effect-oauth/core"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Headers from "@effect/platform/Headers"
import * as HttpBody from "@effect/platform/HttpBody"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { DateTime, Effect, FiberRef, Layer, Metric, Option, Redacted, Schema, TestClock } from "effect"
import * as jose from "jose"
import { inspect } from "node:util"
import { allDifferent, claimsOf, proofs, verified } from "./support/proofs.ts"
import { recordingTracer } from "./support/recordingTracer.ts"
import type { Seen } from "./support/StubServer.ts"
import { json, options, services, stub } from "./support/StubServer.ts"

const url = "https://api.test/invoices"
const worker: TokenClient.TokenClientOptions = { ...options, dpop: true }

const token = (value: string, fields: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  json({ access_token: value, token_type: "DPoP", expires_in: 3600, ...fields }, { headers })

const challenge = (error: string, headers: Record<string, string> = {}) =>
  new Response(null, { status: 401, headers: { "www-authenticate": `DPoP error="${error}"`, ...headers } })

const demand = (nonce: string) => challenge("use_dpop_nonce", { "DPoP-Nonce": nonce })

const ok = (headers: Record<string, string> = {}) => json({ fine: true }, { headers })

/** A server for tokens and API; both are told how many of their requests there have been, from 1. */
const both = (api: (seen: Seen, number: number) => Response, as?: (seen: Seen, number: number) => Response) => {
  const tokens: Array<Seen> = []
  const calls: Array<Seen> = []
  const server = stub((seen) => {
    if (seen.url.startsWith("https://as.test/")) {
      tokens.push(seen)
      return as === undefined ? token(`token-${tokens.length}`) : as(seen, tokens.length)
    }
    calls.push(seen)
    return api(seen, calls.length)
  })
  return { ...server, tokens, calls }
}

const client = Effect.flatMap(
  HttpClient.HttpClient,
  (client) => Effect.map(AccessTokenHttpClient.clientCredentials("worker"), (middleware) => middleware(client))
)

const run = <A, E>(
  server: ReturnType<typeof both>,
  effect: Effect.Effect<A, E, Layer.Layer.Success<ReturnType<typeof services>>>,
  definition: TokenClient.TokenClientOptions = worker
) => Effect.provide(effect, services(server, { worker: definition }))

describe("DPoPProofs", () => {
  const live = Layer.provideMerge(DPoPProofs.layer, Layer.merge(Signer.layer, DPoPNonceStore.layer()))
  const withProofs = <A, E>(use: (service: DPoPProofs.DPoPProofs["Type"]) => Effect.Effect<A, E>) =>
    Effect.provide(Effect.flatMap(DPoPProofs.DPoPProofs, use), live)

  it.effect("are what RFC 9449 section 4.2 says: its header, its claims", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate()
      yield* TestClock.setTime(1562262616_999)
      const proof = yield* withProofs((service) =>
        service.proof({ key, method: "POST", url: "https://server.example.com/token?a=b#c" })
      )
      const { claims, header } = yield* verified(Redacted.value(proof))
      assert.deepStrictEqual(header, { typ: "dpop+jwt", alg: "ES256", jwk: key.publicJwk as jose.JWK })
      assert.deepStrictEqual(claims, {
        htm: "POST",
        htu: "https://server.example.com/token",
        jti: claims.jti!,
        iat: 1562262616
      })
      assert.isAtLeast(jose.base64url.decode(claims.jti!).length, 16)
    }))

  it.effect("hold the hash of the token: the example of RFC 9449 section 7.1", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate()
      const accessToken = Redacted.make("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")
      const each = yield* withProofs((service) =>
        Effect.replicateEffect(service.proof({ key, method: "GET", url, accessToken, nonce: "n-1" }), 3)
      )
      const all = yield* Effect.forEach(each, (proof) => verified(Redacted.value(proof)))
      for (const { claims } of all) {
        assert.strictEqual(claims.ath, "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo")
        assert.strictEqual(claims.nonce, "n-1")
      }
      allDifferent(all.map(({ claims }) => claims.jti))
    }))

  it("name the key by its thumbprint: the example of RFC 9449 section 6.1", async () => {
    const thumbprint = await jose.calculateJwkThumbprint({
      kty: "EC",
      x: "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
      y: "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
      crv: "P-256"
    })
    assert.strictEqual(thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
  })

  it.effect("take more claims, which replace none of the protocol's", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate()
      const claims = { htm: "x", htu: "x", iat: 0, jti: "x", ath: "x", nonce: "x", tenant: "t" }
      const proof = yield* withProofs((service) => service.proof({ key, method: "GET", url, claims }))
      const { claims: signed } = yield* verified(Redacted.value(proof))
      assert.strictEqual(signed.tenant, "t")
      assert.strictEqual(signed.htm, "GET")
      assert.notStrictEqual(signed.jti, "x")
      assert.notProperty(signed, "ath")
      assert.notProperty(signed, "nonce")
    }))

  for (
    const [sent, htu] of [
      ["HTTPS://API.Test:443/a?b#c", "https://api.test/a"],
      ["http://api.test:80", "http://api.test/"],
      ["https://api.test:8443/a/./b/../c", "https://api.test:8443/a/c"],
      ["https://api.test/a%2fb%7E~", "https://api.test/a%2fb%7E~"]
    ] as const
  ) {
    it.effect(`${sent} is ${htu}`, () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        const proof = yield* withProofs((service) => service.proof({ key, method: "GET", url: sent }))
        assert.strictEqual(claimsOf(Redacted.value(proof)).htu, htu)
      }))
  }

  it.effect("fail for a relative URL, and for claims that are no JSON", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate()
      for (const bad of [{ url: "/a" }, { url, claims: { n: 1n } }]) {
        const error = yield* Effect.flip(withProofs((service) => service.proof({ key, method: "GET", ...bad })))
        assert.strictEqual(error._tag, "SigningError")
      }
    }))

  it.effect("bind a token to the key that its thumbprint names, and to no other", () =>
    Effect.gen(function*() {
      const [one, other] = [yield* SigningKey.generate(), yield* SigningKey.generate()]
      const bound = new AccessToken.AccessToken({
        value: Redacted.make("t"),
        type: Schema.decodeSync(OAuthValues.TokenType)("DPoP"),
        clientName: "worker",
        obtainedAt: DateTime.unsafeMake(0),
        keyThumbprint: one.thumbprint
      })
      const error = yield* Effect.flip(AccessTokenHttpClient.attach(bound)(HttpClientRequest.get(url)))
      assert.strictEqual(error._tag, "KeyBindingMismatch")
      assert.include(error.message, one.thumbprint)
      const mismatch = yield* Effect.flip(withProofs((service) => service.bind(bound, other)))
      assert.strictEqual(mismatch.expected, other.thumbprint)
      yield* withProofs((service) => service.bind(bound, one))
      const request = yield* AccessTokenHttpClient.attach(bound)(HttpClientRequest.get(url))
      assert.strictEqual(request.headers.authorization, "DPoP t")
      assert.strictEqual((yield* verified(request.headers.dpop)).claims.htu, url)
    }))
})

describe("a token that is bound to a key", () => {
  it.effect("is asked for with a proof, and comes with the thumbprint of the key [parity 45]", () => {
    const server = both(() => ok())
    return run(
      server,
      Effect.gen(function*() {
        const got = yield* ClientCredentialsTokenManager.get("worker")
        const [proof] = yield* proofs(server.tokens)
        assert.strictEqual(got.type, "DPoP")
        assert.strictEqual(
          got.keyThumbprint,
          yield* Effect.promise(() => jose.calculateJwkThumbprint(proof!.header.jwk!))
        )
        assert.deepInclude(proof!.claims, { htm: "POST", htu: "https://as.test/token" })
        assert.notProperty(proof!.claims, "ath")
      })
    )
  })

  it.effect("is sent with the scheme DPoP and a proof for the request [parity 7, 28]", () => {
    const server = both(() => ok(), () => token("token-1", { token_type: "dpoP" }))
    return run(
      server,
      Effect.gen(function*() {
        const api = yield* client
        yield* api.get(`${url}?page=2`)
        assert.strictEqual(server.calls[0]?.headers.authorization, "DPoP token-1")
        const [proof] = yield* proofs(server.calls)
        assert.deepInclude(proof!.claims, { htm: "GET", htu: url })
        assert.isString(proof!.claims.ath)
      })
    )
  })

  it.effect("takes further claims into its proofs, for one call [parity 29]", () => {
    const server = both(() => ok())
    return run(
      server,
      Effect.gen(function*() {
        const api = yield* client
        yield* api.get(url).pipe(
          AccessTokenHttpClient.withRequestOptions({ proofClaims: { transaction: "42", htm: "PUT" } })
        )
        yield* api.get(url)
        assert.strictEqual(claimsOf(server.calls[0]?.headers.dpop).transaction, "42")
        assert.strictEqual(claimsOf(server.calls[0]?.headers.dpop).htm, "GET")
        assert.notProperty(claimsOf(server.calls[1]?.headers.dpop), "transaction")
      })
    )
  })

  it.effect("that is refused is replaced by another, with a proof of its own [parity 24]", () => {
    const server = both((_, number) => number === 1 ? challenge("invalid_token") : ok())
    return run(
      server,
      Effect.gen(function*() {
        const api = yield* client
        assert.strictEqual((yield* api.get(url)).status, 200)
        assert.deepStrictEqual(
          server.calls.map(({ headers }) => headers.authorization),
          ["DPoP token-1", "DPoP token-2"]
        )
        const [first, second] = yield* proofs(server.calls)
        assert.notStrictEqual(first!.claims.ath, second!.claims.ath)
        allDifferent([first!.claims.jti, second!.claims.jti])
      })
    )
  })

  it.effect("goes by a key of the client's own, in the cache too", () => {
    const server = both(() => ok())
    return Effect.gen(function*() {
      const [one, other] = [yield* SigningKey.generate(), yield* SigningKey.generate("Ed25519")]
      const clients = { one: { ...options, dpop: one }, other: { ...options, dpop: other }, bare: options }
      yield* Effect.gen(function*() {
        const thumbprints = yield* Effect.forEach(
          ["one", "other", "one"],
          (name) => Effect.map(ClientCredentialsTokenManager.get(name), (got) => got.keyThumbprint)
        )
        assert.deepStrictEqual(thumbprints, [one.thumbprint, other.thumbprint, one.thumbprint])
        assert.strictEqual(server.tokens.length, 2)
        const bare = yield* Effect.flip(ClientCredentialsTokenManager.get("bare"))
        assert.strictEqual(bare._tag, "TokenTypeMismatch")
        assert.include(bare.message, "dpop: true")
      }).pipe(Effect.provide(services(server, clients)))
    })
  })

  it.effect("keeps its key when the key store turns to a new one", () => {
    const server = both(() => ok())
    return Effect.gen(function*() {
      const before = yield* ClientCredentialsTokenManager.get("worker")
      yield* TestClock.adjust("25 hours")
      const after = yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
      assert.notStrictEqual(before.keyThumbprint, after.keyThumbprint)
      const sent = yield* AccessTokenHttpClient.attach(before)(HttpClientRequest.get(url))
      const { header } = yield* verified(sent.headers.dpop)
      assert.strictEqual(yield* Effect.promise(() => jose.calculateJwkThumbprint(header.jwk!)), before.keyThumbprint!)
      const store = yield* DPoPKeyStore.DPoPKeyStore
      assert.isTrue(Option.isSome(yield* store.byThumbprint(before.keyThumbprint!)))
    }).pipe(Effect.provide(services(server, { worker })))
  })

  describe("is refused where it is not what was asked for", () => {
    const errorOf = (answer: Response, definition: TokenClient.TokenClientOptions) =>
      run(both(() => ok(), () => answer), Effect.flip(ClientCredentialsTokenManager.get("worker")), definition)

    it.effect("a token that is bound to nothing, unless that is allowed", () =>
      Effect.gen(function*() {
        const bearer = () => token("t", { token_type: "bearer" })
        const error = yield* errorOf(bearer(), worker)
        assert.strictEqual(error._tag, "TokenTypeMismatch")
        assert.include(error.message, "allowDowngrade")
        const server = both(() => ok(), bearer)
        yield* run(server, Effect.flatMap(client, (api) => api.get(url)), { ...worker, allowDowngrade: true })
        assert.strictEqual(server.calls[0]?.headers.authorization, "Bearer t")
        assert.notProperty(server.calls[0]!.headers, "dpop")
      }))

    it.effect("a JWT that is bound to another key", () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        const jwt = (cnf: unknown) => new jose.UnsecuredJWT({ cnf }).encode()
        const error = yield* errorOf(token(jwt({ jkt: "another".padEnd(43, "r") })), { ...options, dpop: key })
        assert.strictEqual(error._tag, "KeyBindingMismatch")
        assert.include(error.message, "another")
        for (const cnf of [{ jkt: key.thumbprint }, {}, undefined, "x", null]) {
          const server = both(() => ok(), () => token(jwt(cnf)))
          yield* run(server, ClientCredentialsTokenManager.get("worker"), { ...options, dpop: key })
        }
      }))
  })

  it.effect("comes back from a cache that keeps tokens as text with the key that it names", () => {
    const server = both(() => ok())
    const encode = Schema.encodeSync(AccessToken.AccessToken)
    const decode = Schema.decodeSync(AccessToken.AccessToken)
    const kept = new Map<string, string>()
    const cache: TokenCache.TokenCache["Type"] = {
      get: (request, settings) => {
        const text = settings?.forceRenewal === true ? undefined : kept.get(request.key)
        if (text !== undefined) return Effect.sync(() => decode(JSON.parse(text)))
        return Effect.tap(
          request.acquire({ retries: true }),
          (got) => kept.set(request.key, JSON.stringify(encode(got)))
        )
      },
      renew: (request) => request.acquire({ retries: true }),
      peek: () => Effect.succeed(undefined),
      remove: () => Effect.void,
      removeAll: () => Effect.void
    }
    const program = OAuth.layer.pipe(
      Layer.provideMerge(TokenClients.layer({ worker })),
      Layer.provideMerge(Layer.merge(server.layer, Layer.succeed(TokenCache.TokenCache, cache)))
    )
    return Effect.gen(function*() {
      const api = yield* client
      yield* api.get(url)
      yield* api.get(url)
      assert.strictEqual(server.tokens.length, 1)
      allDifferent((yield* proofs(server.calls)).map(({ claims }) => claims.jti))
      for (const [key, text] of kept) kept.set(key, text.replace(/"keyThumbprint":"[^"]+"/, `"keyThumbprint":"gone"`))
      yield* api.get(url)
      assert.strictEqual(server.tokens.length, 2, "a token whose key is gone is replaced")
    }).pipe(Effect.provide(program))
  })
})

describe("nonces", () => {
  it.effect("of the token endpoint: taken from the refusal, once [parity 46]", () => {
    const server = both(
      () => ok(),
      (seen, number) =>
        claimsOf(seen.headers.dpop).nonce === "as-1"
          ? token(`token-${number}`)
          : json({ error: "use_dpop_nonce" }, { status: 400, headers: { "DPoP-Nonce": "as-1" } })
    )
    return run(
      server,
      Effect.gen(function*() {
        yield* ClientCredentialsTokenManager.get("worker")
        assert.strictEqual(server.tokens.length, 2)
        yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
        assert.strictEqual(server.tokens.length, 3)
        const all = yield* proofs(server.tokens)
        assert.deepStrictEqual(all.map(({ claims }) => claims.nonce), [undefined, "as-1", "as-1"])
        allDifferent(all.map(({ claims }) => claims.jti))
      })
    )
  })

  it.effect("of the token endpoint: demanded for ever, refused after one more attempt", () => {
    const server = both(
      () => ok(),
      (_, number) => json({ error: "use_dpop_nonce" }, { status: 400, headers: { "DPoP-Nonce": `as-${number}` } })
    )
    return run(
      server,
      Effect.gen(function*() {
        const error = yield* Effect.flip(ClientCredentialsTokenManager.get("worker"))
        assert.strictEqual(error._tag === "TokenEndpointError" && error.error, "use_dpop_nonce")
        assert.strictEqual(server.tokens.length, 2)
      })
    )
  })

  it.effect("of the token endpoint: by invalid_dpop_proof with a nonce as well, and from any answer", () => {
    const server = both(
      () => ok(),
      (seen, number) => {
        if (number === 1) {
          return json({ error: "invalid_dpop_proof" }, { status: 400, headers: { "dpop-nonce": "as-1" } })
        }
        if (number === 2) {
          return json({ error: "x" }, { status: 503, headers: { "dpop-nonce": "as-2", "retry-after": "0" } })
        }
        return token(`with-${claimsOf(seen.headers.dpop).nonce}`, {}, { "dpop-nonce": "as-4" })
      }
    )
    return run(
      server,
      Effect.gen(function*() {
        assert.strictEqual(Redacted.value((yield* ClientCredentialsTokenManager.get("worker")).value), "with-as-2")
        const next = yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
        assert.strictEqual(Redacted.value(next.value), "with-as-4")
      })
    )
  })

  it.effect("of an API: the same token, the new nonce, and from then on no refusal [parity 6, 30]", () => {
    let current = 1
    const server = both((seen) => {
      if (claimsOf(seen.headers.dpop).nonce !== `n-${current}`) return demand(`n-${current}`)
      current++
      return ok({ "DPoP-Nonce": `n-${current}` })
    })
    return run(
      server,
      Effect.gen(function*() {
        const api = yield* client
        for (let call = 1; call <= 4; call++) {
          assert.strictEqual((yield* api.get(url)).status, 200)
          assert.strictEqual(server.calls.length, call + 1)
        }
        assert.deepStrictEqual(
          (yield* proofs(server.calls)).map(({ claims }) => claims.nonce),
          [undefined, "n-1", "n-2", "n-3", "n-4"]
        )
        assert.strictEqual(server.tokens.length, 1)
        allDifferent(server.calls.map(({ headers }) => headers.dpop))
      })
    )
  })

  it.effect("are found in whatever letter case the header has [parity 57]", () =>
    Effect.forEach(["DPoP-Nonce", "dpop-nonce", "DPOP-NONCE"], (name) => {
      const server = both((seen) =>
        claimsOf(seen.headers.dpop).nonce === "n-1" ? ok() : challenge("use_dpop_nonce", { [name]: "n-1" })
      )
      return run(
        server,
        Effect.gen(function*() {
          assert.strictEqual((yield* (yield* client).get(url)).status, 200)
        })
      )
    }))

  it.effect("are kept from every answer of an API, also from an error, and from one to a body that is read once", () => {
    const server = both((_, number) =>
      number === 1 ? json({}, { status: 503, headers: { "dpop-nonce": "n-1" } }) : number === 2 ? demand("n-2") : ok()
    )
    return run(
      server,
      Effect.gen(function*() {
        const api = yield* client
        yield* api.get(url)
        const refused = yield* api.post(url, { body: HttpBody.raw(new ReadableStream()) })
        assert.strictEqual(refused.status, 401)
        yield* api.get(url)
        const nonces = (yield* proofs(server.calls)).map(({ claims }) => claims.nonce)
        assert.deepStrictEqual(nonces, [undefined, "n-1", "n-2"])
      })
    )
  })

  it.effect("that an API demands: its answer is read to the end, so that the connection is free again", () => {
    let drained = 0
    const refusal = () =>
      new Response(
        new ReadableStream({
          pull: (controller) => {
            drained++
            controller.close()
          }
        }, { highWaterMark: 0 }),
        { status: 401, headers: { "www-authenticate": `DPoP error="use_dpop_nonce"`, "dpop-nonce": "n" } }
      )
    const server = both((_, number) => number === 1 ? refusal() : ok())
    return run(
      server,
      Effect.gen(function*() {
        assert.strictEqual((yield* (yield* client).get(url)).status, 200)
        assert.strictEqual(drained, 1)
      })
    )
  })

  it.effect("that an API demands for ever cost one more sending, and no renewal", () => {
    const server = both((_, number) => demand(`n-${number}`))
    return run(
      server,
      Effect.gen(function*() {
        assert.strictEqual((yield* (yield* client).get(url)).status, 401)
        assert.strictEqual(server.calls.length, 2)
        assert.strictEqual(server.tokens.length, 1)
      })
    )
  })

  it.effect("one call takes a nonce and another token, in either order, and no more", () =>
    Effect.forEach(
      [[demand("n"), challenge("invalid_token")], [challenge("invalid_token"), demand("n")]],
      (refusals) => {
        const server = both((_, number) => refusals[number - 1]?.clone() ?? (number === 3 ? ok() : challenge("x")))
        return run(
          server,
          Effect.gen(function*() {
            assert.strictEqual((yield* (yield* client).get(url)).status, 200)
            assert.strictEqual(server.calls.length, 3)
            assert.strictEqual(server.tokens.length, 2)
            const last = (yield* proofs(server.calls))[2]
            assert.strictEqual(last!.claims.nonce, "n")
          })
        )
      }
    ))

  it.effect("a store that forgets everything costs the refusal each time [parity 60]", () => {
    const server = both(
      (seen) => claimsOf(seen.headers.dpop).nonce === "n" ? ok() : demand("n"),
      (seen) =>
        claimsOf(seen.headers.dpop).nonce === "n"
          ? token("t")
          : json({ error: "use_dpop_nonce" }, { status: 400, headers: { "dpop-nonce": "n" } })
    )
    const forgetful = Layer.succeed(DPoPNonceStore.DPoPNonceStore, {
      get: () => Effect.succeedNone,
      set: () => Effect.void
    })
    const program = OAuth.layer.pipe(
      Layer.provideMerge(TokenClients.layer({ worker })),
      Layer.provideMerge(Layer.merge(server.layer, forgetful))
    )
    return Effect.gen(function*() {
      const api = yield* client
      assert.strictEqual((yield* api.get(url)).status, 200)
      assert.strictEqual((yield* api.get(url)).status, 200)
      assert.deepStrictEqual([server.tokens.length, server.calls.length], [2, 4])
    }).pipe(Effect.provide(program))
  })

  it.effect("1,000 first calls at once cause at most one challenge each, and none after", () => {
    const pending: Array<() => void> = []
    const seen: Array<string | undefined> = []
    // Every call is on its way before the first is answered.
    const server = stub((one) => {
      if (one.url.startsWith("https://as.test/")) return token("t")
      const { nonce } = claimsOf(one.headers.dpop) as { readonly nonce?: string }
      seen.push(nonce)
      const answer = nonce === "n" ? ok() : demand("n")
      if (seen.length > 1000) return answer
      return Effect.async<Response>((resume) => {
        pending.push(() => resume(Effect.succeed(answer)))
        if (pending.length === 1000) { for (const one of pending) one() }
      })
    })
    return Effect.gen(function*() {
      const api = yield* client
      const statuses = yield* Effect.all(
        Array.from({ length: 1000 }, () => Effect.map(api.get(url), ({ status }) => status)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([...new Set(statuses)], [200])
      assert.strictEqual(seen.length, 2000)
      yield* Effect.replicateEffect(api.get(url), 10)
      assert.strictEqual(seen.length, 2010)
    }).pipe(Effect.provide(services(server, { worker })))
  })

  it.effect("of an API and of an authorization server on one origin are apart, and each origin has its own", () => {
    const server = both(
      (seen) => claimsOf(seen.headers.dpop).nonce === new URL(seen.url).host ? ok() : demand(new URL(seen.url).host),
      () => token("t", {}, { "dpop-nonce": "as" })
    )
    return run(
      server,
      Effect.gen(function*() {
        const api = yield* client
        yield* Effect.forEach(["a.test", "b.test", "a.test", "b.test"], (host) => api.get(`https://${host}/`))
        assert.strictEqual(server.calls.length, 6)
        const store = yield* DPoPNonceStore.DPoPNonceStore
        const kept = (role: DPoPNonceStore.Server["role"]) =>
          Effect.map(store.get({ role, origin: "https://as.test" }), Option.getOrUndefined)
        assert.strictEqual(yield* kept("authorizationServer"), "as")
        assert.strictEqual(yield* kept("resourceServer"), undefined)
      })
    )
  })

  it.effect("that are outside the grammar are left alone", () => {
    const server = both((seen) => claimsOf(seen.headers.dpop).nonce === undefined ? ok({ "dpop-nonce": "a b" }) : ok())
    return run(
      server,
      Effect.gen(function*() {
        const api = yield* client
        yield* api.get(url)
        yield* api.get(url)
        assert.notProperty(claimsOf(server.calls[1]?.headers.dpop), "nonce")
      })
    )
  })

  it.effect("are kept for an hour, and for so many servers [parity 23]", () =>
    Effect.gen(function*() {
      const store = DPoPNonceStore.make({ capacity: 2 })
      const server = (origin: string) => ({ role: "resourceServer" as const, origin })
      const known = Effect.map(
        Effect.forEach(["a", "b", "c"], (origin) => store.get(server(origin))),
        (all) => all.map(Option.getOrUndefined)
      )
      yield* store.set(server("a"), "1")
      yield* store.set(server("b"), "2")
      yield* store.set(server("a"), "3")
      assert.deepStrictEqual(yield* known, ["3", "2", undefined])
      yield* store.set(server("c"), "4")
      assert.strictEqual((yield* known).filter((nonce) => nonce === undefined).length, 1)
      yield* TestClock.adjust("1 hours")
      assert.deepStrictEqual(yield* known, [undefined, undefined, undefined])
    }))

  it.effect("are counted where they cost another request", () => {
    const count = Metric.value(OAuthMetrics.nonceRetried)
    const server = both((seen) => claimsOf(seen.headers.dpop).nonce === "n" ? ok() : demand("n"))
    return run(
      server,
      Effect.gen(function*() {
        const before = (yield* count).count
        const api = yield* client
        yield* api.get(url)
        yield* api.get(url)
        assert.strictEqual((yield* count).count - before, 1)
      })
    )
  })
})

describe("a clock that is 10 minutes off", () => {
  const at = (minutes: number) => new Date(minutes * 60_000)
  /** The server's time is `minutes` away from ours, and it accepts 60 seconds. */
  const timely = (iat: number | undefined, minutes: number) => Math.abs(iat! - minutes * 60) <= 60

  for (const minutes of [30, 10]) {
    it.effect(`${minutes === 30 ? "behind" : "ahead"}: heals after one refused proof, at the token endpoint and at an API`, () => {
      const date = { date: at(minutes).toUTCString() }
      const server = both(
        (seen) => timely(claimsOf(seen.headers.dpop).iat, minutes) ? ok() : challenge("invalid_dpop_proof", date),
        (seen) =>
          timely(claimsOf(seen.headers.dpop).iat, minutes)
            ? token("t")
            : json({ error: "invalid_dpop_proof" }, { status: 400, headers: date })
      )
      return run(
        server,
        Effect.gen(function*() {
          yield* TestClock.setTime(20 * 60_000)
          const api = yield* client
          assert.strictEqual((yield* api.get(url)).status, 200)
          assert.deepStrictEqual([server.tokens.length, server.calls.length], [2, 2])
          yield* ClientCredentialsTokenManager.get("worker", { forceRenewal: true })
          yield* api.get(url)
          assert.deepStrictEqual([server.tokens.length, server.calls.length], [3, 3])
        })
      )
    })
  }

  it.effect("a nonce and the time: one attempt for each", () => {
    const date = at(30).toUTCString()
    const server = both(
      () => ok(),
      (seen) => {
        const { iat, nonce } = claimsOf(seen.headers.dpop)
        if (nonce !== "n") {
          return json({ error: "use_dpop_nonce" }, { status: 400, headers: { date, "dpop-nonce": "n" } })
        }
        return timely(iat, 30)
          ? token("t")
          : json({ error: "invalid_dpop_proof" }, { status: 400, headers: { date, "dpop-nonce": "n" } })
      }
    )
    return run(
      server,
      Effect.gen(function*() {
        yield* TestClock.setTime(20 * 60_000)
        yield* ClientCredentialsTokenManager.get("worker")
        assert.strictEqual(server.tokens.length, 3)
      })
    )
  })

  it.effect("a server that says another time with every refusal is asked twice", () => {
    const server = both(
      (_, number) => challenge("invalid_dpop_proof", { date: at(30 * number).toUTCString() }),
      () => token("t")
    )
    return run(
      server,
      Effect.gen(function*() {
        const api = (yield* HttpClient.HttpClient).pipe(
          yield* AccessTokenHttpClient.clientCredentials("worker", undefined, { retryUnauthorized: false })
        )
        assert.strictEqual((yield* api.get(url)).status, 401)
        assert.strictEqual(server.calls.length, 2)
      })
    )
  })

  it.effect("a proof that is refused although the time is right is not sent again for that", () => {
    const server = both(
      () => ok(),
      () => json({ error: "invalid_dpop_proof" }, { status: 400, headers: { date: at(20).toUTCString() } })
    )
    return run(
      server,
      Effect.gen(function*() {
        yield* TestClock.setTime(20 * 60_000)
        yield* Effect.flip(ClientCredentialsTokenManager.get("worker"))
        assert.strictEqual(server.tokens.length, 1)
      })
    )
  })
})

// Every order of the platform's combinators around ours. Whatever leaves the process has a proof of its own, for the URL
// that it goes to, and nothing goes to another origin with one.
describe("every attempt has its own proof", () => {
  type Transform = (client: HttpClient.HttpClient) => HttpClient.HttpClient
  const inner: Readonly<Record<string, Transform>> = {
    retry: HttpClient.retry({ times: 2 }),
    retryTransient: HttpClient.retryTransient({ times: 2 }),
    prepend: HttpClient.mapRequest(HttpClientRequest.prependUrl("https://a.test")),
    filter: HttpClient.filterStatusOk,
    transform: HttpClient.transform((effect) => effect)
  }
  const outer: Readonly<Record<string, Transform>> = { ...inner, redirects: HttpClient.followRedirects(5) }

  const scripts: ReadonlyArray<readonly [name: string, answer: (seen: Seen, number: number) => Response | "down"]> = [
    ["503, 503, 200", (_, number) => number < 3 ? json({}, { status: 503 }) : ok()],
    ["down, 503, 200", (_, number) => number === 1 ? "down" : number === 2 ? json({}, { status: 503 }) : ok()],
    [
      "a nonce, 503, 200",
      (seen, number) =>
        number === 2 ? json({}, { status: 503 }) : claimsOf(seen.headers.dpop).nonce === "n" ? ok() : demand("n")
    ],
    [
      "401, 503, 200",
      (_, number) => number === 1 ? challenge("invalid_token") : number === 2 ? json({}, { status: 503 }) : ok()
    ],
    ["302 to a, 302 to b, 302 to a", (_, number) => {
      const to = ["https://a.test/second", "https://b.test/y", "https://a.test/third"][number - 1]
      return to === undefined ? ok() : new Response(null, { status: 302, headers: { location: to } })
    }]
  ]

  const placements = Object.entries(inner).flatMap(([before, first]) =>
    Object.entries(outer).flatMap(([after, second]) =>
      before === "prepend" && after === "prepend" ? [] : [{ before, first, after, second }]
    )
  )

  for (const [script, answer] of scripts) {
    it.effect(`under all ${placements.length} placements around ours: ${script}`, () =>
      Effect.forEach(placements, ({ after, before, first, second }) => {
        const calls: Array<Seen> = []
        let tokens = 0
        const server = stub((seen, _, request) => {
          if (seen.url.startsWith("https://as.test/")) return token(`t-${++tokens}`)
          calls.push(seen)
          const said = answer(seen, calls.length)
          return said === "down"
            ? Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport" }))
            : said
        })
        return Effect.gen(function*() {
          const ours = yield* AccessTokenHttpClient.transformClient("worker")
          const path = before === "prepend" || after === "prepend" ? "/x" : "https://a.test/x"
          const api = second(ours(first(yield* HttpClient.HttpClient)))
          yield* Effect.exit(api.get(path))
          const where = `${before}, ours, ${after}`
          const proven = calls.filter(({ headers }) => headers.dpop !== undefined)
          assert.isAbove(proven.length, 0, where)
          for (const [index, { claims }] of (yield* proofs(proven)).entries()) {
            assert.strictEqual(claims.htu, proven[index]!.url, where)
            assert.strictEqual(new URL(proven[index]!.url).host, "a.test", where)
          }
          allDifferent(proven.map(({ headers }) => claimsOf(headers.dpop).jti))
          for (const bare of calls.filter((call) => !proven.includes(call))) {
            assert.isUndefined(bare.headers.authorization, where)
            assert.isAtLeast(calls.indexOf(bare), 2, `${where}: only beyond the redirect to another origin`)
          }
        }).pipe(Effect.provide(services(server, { worker })))
      }))
  }

  it.effect("on the way to the token endpoint, too, where the backchannel retries by itself", () => {
    const server = both(
      () => ok(),
      (_, number) => number < 3 ? json({}, { status: 503 }) : token("t")
    )
    const definition = { ...worker, httpClient: HttpClient.retryTransient(server.client, { times: 5 }) }
    return run(
      server,
      Effect.gen(function*() {
        yield* ClientCredentialsTokenManager.get("worker")
        const all = yield* proofs(server.tokens)
        assert.strictEqual(all.length, 3)
        allDifferent(all.map(({ claims }) => claims.jti))
      }),
      definition
    )
  })
})

describe("a proof stays out of sight", () => {
  it.effect("the header is in no span, also without the settings of the library, and no setting outlives the call", () => {
    const tracer = recordingTracer()
    const server = both((seen) =>
      seen.headers["x-visible"] !== undefined || claimsOf(seen.headers.dpop).nonce === "n" ? ok() : demand("n")
    )
    const settings = Effect.zip(
      Effect.map(Effect.context<never>(), (context) => context.unsafeMap.has(FetchHttpClient.RequestInit.key)),
      FiberRef.get(Headers.currentRedactedNames)
    )
    return Effect.gen(function*() {
      const api = yield* client
      const before = yield* settings
      const response = yield* api.get(url)
      assert.deepStrictEqual(yield* settings, before)
      yield* server.client.execute(HttpClientRequest.setHeader(HttpClientRequest.get(url), "x-visible", "seen"))
      const sent = [...server.tokens, ...server.calls].flatMap(({ headers }) => headers.dpop ?? [])
      assert.strictEqual(sent.length, 3)
      const spans = tracer.ended.map((span) => inspect(span, { depth: 10 })).join("\n")
      const shown = spans + inspect(response, { depth: 10 })
      for (const proof of sent) assert.isFalse(shown.includes(proof))
      assert.include(spans, "http.request.header.x-visible")
      assert.include(spans, "http.request.header.dpop")
    }).pipe(
      Effect.locally(Headers.currentRedactedNames, ["authorization"]),
      Effect.provide(Layer.provideMerge(services(server, { worker }), tracer.layer))
    )
  })

  it.effect("and where it is put on by hand, by the Layer of the library", () => {
    const tracer = recordingTracer()
    const server = both(() => ok())
    return Effect.gen(function*() {
      const got = yield* ClientCredentialsTokenManager.get("worker")
      yield* Effect.flatMap(AccessTokenHttpClient.attach(got)(HttpClientRequest.get(url)), server.client.execute)
      const shown = tracer.ended.map((span) => inspect(span, { depth: 10 })).join("\n")
      assert.isFalse(shown.includes(server.calls[0]!.headers.dpop!))
    }).pipe(Effect.provide(Layer.provideMerge(services(server, { worker }), tracer.layer)))
  })

  it.effect("fails closed: a key store that fails is a typed error, and nothing is sent", () => {
    const server = both(() => ok())
    const broken = Layer.succeed(DPoPKeyStore.DPoPKeyStore, {
      get: (clientName) =>
        Effect.fail(new OAuthError.CredentialUnavailable({ clientName, credential: "key", problem: "VaultSealed" })),
      byThumbprint: () => Effect.succeedNone
    })
    const program = OAuth.layer.pipe(
      Layer.provideMerge(TokenClients.layer({ worker })),
      Layer.provideMerge(Layer.merge(server.layer, broken))
    )
    return Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.flatMap(client, (api) => api.get(url)))
      assert.strictEqual(error._tag, "CredentialUnavailable")
      assert.include(error.message, "VaultSealed")
      assert.strictEqual(server.seen.length, 0)
    }).pipe(Effect.provide(program))
  })
})
