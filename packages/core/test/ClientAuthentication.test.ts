import {
  ClientAssertions,
  ClientAuthentication,
  ClientCertificate,
  ClientCredentialsTokenManager,
  OAuth,
  OAuthValues,
  SigningKey,
  TokenClient,
  TokenClients,
  TokenEndpoint
} from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema, TestClock } from "effect"
import * as jose from "jose"
import { allDifferent } from "./support/proofs.ts"
import type { Seen } from "./support/StubServer.ts"
import { field, json, services, stub, token } from "./support/StubServer.ts"

const tokenEndpoint = "https://as.test/token"
const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

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

  const longSecret = Redacted.make("a secret that is long enough for every hash that there is, surely")

  const assertionsOf = (seen: ReadonlyArray<Seen>) => seen.map((one) => field(one, "client_assertion")[0] ?? "")

  const send = (options: TokenClient.TokenClientOptions, answer = (_: Seen, number: number) => token(number)) => {
    const server = stub(answer)
    return Effect.as(
      Effect.provide(Effect.exit(ClientCredentialsTokenManager.get()), services(server, { worker: options })),
      server.seen
    )
  }

  describe("private_key_jwt", () => {
    for (const algorithm of SigningKey.algorithms) {
      it.effect(`${algorithm}: RFC 7523 section 3`, () =>
        Effect.gen(function*() {
          yield* TestClock.setTime(1_700_000_000_900)
          const key = yield* SigningKey.generate(algorithm, { extractable: true, keyId: "k-1" })
          const privateKey = Redacted.make(JSON.stringify(Redacted.value(yield* SigningKey.exportJwk(key))))
          const [seen] = yield* send({ tokenEndpoint, clientId: "worker", privateKey })
          assert.deepStrictEqual(field(seen, "client_assertion_type"), [jwtBearer])
          assert.deepStrictEqual(field(seen, "client_id"), ["worker"])
          assert.deepStrictEqual(field(seen, "client_secret"), [])
          assert.notProperty(seen!.headers, "authorization")
          const { payload, protectedHeader } = yield* Effect.promise(async () =>
            jose.jwtVerify(field(seen, "client_assertion")[0]!, await jose.importJWK(key.publicJwk, algorithm), {
              currentDate: new Date(1_700_000_000_000)
            })
          )
          assert.deepStrictEqual(protectedHeader, { typ: "client-authentication+jwt", kid: "k-1", alg: algorithm })
          assert.isAtLeast(jose.base64url.decode(payload.jti!).length, 16)
          assert.deepStrictEqual(payload, {
            iss: "worker",
            sub: "worker",
            aud: tokenEndpoint,
            jti: payload.jti!,
            iat: 1_700_000_000,
            exp: 1_700_000_060
          })
        }))
    }

    it.effect("is for the issuer where that is known, for the token endpoint, or for whom it is told", () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        const by = (audience?: string) => ClientAuthentication.privateKeyJwt(key, { audience, lifetime: "5 minutes" })
        const issuer = "https://as.test"
        const definitions = [
          { tokenEndpoint, authentication: by() },
          { tokenEndpoint, issuer, authentication: by() },
          { tokenEndpoint, issuer, authentication: by("issuer") },
          { tokenEndpoint, issuer, authentication: by("tokenEndpoint") },
          { tokenEndpoint, authentication: by("https://elsewhere.test/as") }
        ]
        const claims = yield* Effect.forEach(
          definitions,
          (definition) =>
            Effect.map(send({ ...definition, clientId: "worker" }), (seen) => jose.decodeJwt(assertionsOf(seen)[0]!))
        )
        assert.deepStrictEqual(
          claims.map(({ aud }) => aud),
          [tokenEndpoint, issuer, issuer, tokenEndpoint, "https://elsewhere.test/as"]
        )
        for (const { exp, iat } of claims) assert.strictEqual(exp! - iat!, 300)
      }))

    it.effect("is made anew for every attempt, also for one that the backchannel repeats by itself", () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        const down = (_: Seen, number: number) =>
          number < 3 ? json({}, { status: 503, headers: { "retry-after": "0" } }) : token(1)
        const own = yield* send({ tokenEndpoint, clientId: "worker", privateKey: key }, down)
        assert.strictEqual(own.length, 3)
        allDifferent(assertionsOf(own).map((assertion) => jose.decodeJwt(assertion).jti))

        const server = stub(down)
        const httpClient = HttpClient.retryTransient(server.client, { times: 5 })
        yield* send({ tokenEndpoint, clientId: "worker", privateKey: key, httpClient })
        assert.strictEqual(server.seen.length, 3)
        allDifferent(assertionsOf(server.seen).map((assertion) => jose.decodeJwt(assertion).jti))
      }))

    it.effect("is made anew for the retry with a nonce, as the proof is [parity 48]", () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        const seen = yield* send({ tokenEndpoint, clientId: "worker", privateKey: key, dpop: true }, (one, number) =>
          jose.decodeJwt(one.headers.dpop!).nonce === "n"
            ? token(number, { token_type: "DPoP" })
            : json({ error: "use_dpop_nonce" }, { status: 400, headers: { "dpop-nonce": "n" } }))
        assert.strictEqual(seen.length, 2)
        allDifferent(assertionsOf(seen))
        allDifferent(seen.map(({ headers }) =>
          headers.dpop
        ))
      }))

    it.effect("heals a clock that is 10 minutes off after one refusal", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(20 * 60_000)
        const key = yield* SigningKey.generate()
        const server = stub((one, number) =>
          Math.abs(jose.decodeJwt(assertionsOf([one])[0]!).iat! - 30 * 60) < 60
            ? token(number)
            : json({ error: "invalid_client" }, { status: 401, headers: { date: new Date(30 * 60_000).toUTCString() } })
        )
        yield* Effect.gen(function*() {
          yield* ClientCredentialsTokenManager.get()
          assert.strictEqual(server.seen.length, 2)
          yield* ClientCredentialsTokenManager.get(undefined, { forceRenewal: true })
          assert.strictEqual(server.seen.length, 3)
        }).pipe(Effect.provide(services(server, { worker: { tokenEndpoint, clientId: "worker", privateKey: key } })))
      }))

    for (
      const [date, far] of [
        ["Fri, 31 Dec 9999 23:59:59 GMT", true],
        ["Thu, 01 Jan 1970 00:00:00 GMT", true],
        [new Date(1_700_000_000_000 + 86_401_000).toUTCString(), true],
        [new Date(1_700_000_000_000 - 86_401_000).toUTCString(), true],
        [new Date(1_700_000_000_000 + 86_399_000).toUTCString(), false],
        [new Date(1_700_000_000_000 - 86_399_000).toUTCString(), false]
      ] as const
    ) {
      it.effect(`${far ? "takes no" : "takes a"} time from a server whose clock says ${date}`, () =>
        Effect.gen(function*() {
          yield* TestClock.setTime(1_700_000_000_000)
          const server = stub(() => json({ error: "invalid_client" }, { status: 401, headers: { date } }))
          yield* Effect.flip(ClientCredentialsTokenManager.get()).pipe(
            Effect.provide(
              services(server, {
                worker: { tokenEndpoint, clientId: "worker", privateKey: yield* SigningKey.generate() }
              })
            )
          )
          const ends = assertionsOf(server.seen).map((assertion) => jose.decodeJwt(assertion).exp)
          assert.deepStrictEqual(ends, [
            1_700_000_060,
            ...(far ? [] : [Math.floor(Date.parse(date) / 1000) + 60])
          ])
        }))
    }

    it.effect("proves the client when it revokes and introspects, too", () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        const server = stub(() => json({ active: true }))
        const client = yield* TokenClient.make("worker", {
          tokenEndpoint,
          revocationEndpoint: "https://as.test/revoke",
          introspectionEndpoint: "https://as.test/introspect",
          clientId: "worker",
          privateKey: key
        })
        yield* Effect.gen(function*() {
          const endpoint = yield* TokenEndpoint.TokenEndpoint
          yield* endpoint.revoke(client, Redacted.make("t"))
          yield* endpoint.introspect(client, Redacted.make("t"))
        }).pipe(Effect.provide(services(server)))
        allDifferent(assertionsOf(server.seen))
        for (const assertion of assertionsOf(server.seen)) {
          assert.strictEqual(jose.decodeJwt(assertion).aud, tokenEndpoint)
        }
      }))
  })

  describe("client_secret_jwt", () => {
    for (const algorithm of ["HS256", "HS384", "HS512"] as const) {
      it.effect(`${algorithm}: the secret signs, and is not sent`, () =>
        Effect.gen(function*() {
          yield* TestClock.setTime(1_700_000_000_000)
          const authentication = ClientAuthentication.clientSecretJwt(
            Schema.decodeUnknownSync(OAuthValues.ClientSecret)(longSecret),
            { algorithm }
          )
          const [seen] = yield* send({ tokenEndpoint, clientId: "worker", authentication })
          const secretBytes = new TextEncoder().encode(Redacted.value(longSecret))
          const { payload, protectedHeader } = yield* Effect.promise(() =>
            jose.jwtVerify(field(seen, "client_assertion")[0]!, secretBytes, {
              currentDate: new Date(1_700_000_000_000)
            })
          )
          assert.deepStrictEqual(protectedHeader, { alg: algorithm, typ: "client-authentication+jwt" })
          assert.strictEqual(payload.sub, "worker")
          assert.isFalse(JSON.stringify(seen).includes(Redacted.value(longSecret)))
        }))
    }

    it.effect("by its name, with HS256", () =>
      Effect.gen(function*() {
        const definition = { tokenEndpoint, clientId: "worker", clientSecret: longSecret }
        const [seen] = yield* send({ ...definition, authentication: "client_secret_jwt" })
        assert.strictEqual(jose.decodeProtectedHeader(field(seen, "client_assertion")[0]!).alg, "HS256")
      }))
  })

  describe("an assertion that comes from elsewhere", () => {
    const from = (value: string) => ({ value: Redacted.make(value) })
    const service = ClientAssertions.layer((clientName, { context }) =>
      clientName === "worker"
        ? Effect.succeedSome({ type: "urn:x:type", ...from(`for ${clientName} in ${context}`) })
        : clientName === "broken"
        ? Effect.fail({ _tag: "VaultSealed", secret: "s3cret" })
        : clientName === "dying"
        ? Effect.dieMessage("s3cret")
        : Effect.succeedNone
    )
    const withService = (server: ReturnType<typeof stub>, name: string, parameters = {}) => {
      const clientSecret = secret("s")
      const clients = TokenClients.layer({
        [name]: { tokenEndpoint, revocationEndpoint: tokenEndpoint, clientId: "id", clientSecret }
      })
      const program = OAuth.layer.pipe(
        Layer.provideMerge(clients),
        Layer.provideMerge(Layer.merge(server.layer, service))
      )
      return Effect.provide(ClientCredentialsTokenManager.get(name, parameters), program)
    }

    it.effect("from the parameters of a request is sent as it is [parity 39]", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        const request = ClientCredentialsTokenManager.get("worker", { assertion: { type: "urn:x", ...from("given") } })
        yield* Effect.provide(request, services(server))
        const [seen] = server.seen
        assert.deepStrictEqual(field(seen, "client_assertion"), ["given"])
        assert.deepStrictEqual(field(seen, "client_assertion_type"), ["urn:x"])
        assert.notProperty(seen!.headers, "authorization")
      }))

    it.effect("from the service replaces the client's own secret, for every attempt anew [parity 40]", () =>
      Effect.gen(function*() {
        const server = stub((_, number) =>
          number === 1 ? json({}, { status: 503, headers: { "retry-after": "0" } }) : token(number)
        )
        yield* withService(server, "worker", { context: "tenant" })
        assert.deepStrictEqual(assertionsOf(server.seen), ["for worker in tenant", "for worker in tenant"])
        for (const { headers } of server.seen) assert.notProperty(headers, "authorization")
      }))

    it.effect("from the parameters wins over the service [parity 41]", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        yield* withService(server, "worker", { assertion: from("given") })
        assert.deepStrictEqual(assertionsOf(server.seen), ["given"])
        assert.deepStrictEqual(field(server.seen[0], "client_assertion_type"), [jwtBearer])
      }))

    it.effect("that the service does not have leaves the client its secret", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        yield* withService(server, "another")
        assert.isDefined(server.seen[0]?.headers.authorization)
      }))

    for (const [name, problem] of [["broken", "VaultSealed"], ["dying", "RuntimeException"]] as const) {
      it.effect(`and whose service is ${name}: a typed error with its name only`, () =>
        Effect.gen(function*() {
          const server = stub((_, number) => token(number))
          const fiber = yield* Effect.fork(Effect.flip(withService(server, name)))
          yield* TestClock.adjust("10 seconds")
          const error = yield* fiber
          assert.strictEqual(error._tag, "CredentialUnavailable")
          assert.include(error.message, problem)
          assert.isFalse(error.message.includes("s3cret"))
          assert.strictEqual(server.seen.length, 0)
        }))
    }

    it.effect("and is no text is refused", () =>
      Effect.gen(function*() {
        const server = stub((_, number) => token(number))
        const error = yield* Effect.flip(withService(server, "another", { assertion: { value: "plain" } }))
        assert.strictEqual(error._tag === "TokenRequestInvalid" && error.field, "assertion.value")
      }))
  })

  describe("a certificate", () => {
    const thumbprints = { current: "one" }
    const certificate = Layer.succeed(ClientCertificate.ClientCertificate, { thumbprint: () => thumbprints.current })
    const metadata = json({
      issuer: "https://as.test",
      token_endpoint: "https://as.test/token",
      revocation_endpoint: "https://as.test/revoke",
      mtls_endpoint_aliases: { token_endpoint: "https://mtls.as.test/token" }
    })
    const bank: TokenClient.TokenClientOptions = {
      issuer: "https://as.test",
      clientId: "bank",
      authentication: "tls_client_auth"
    }
    const program = (server: ReturnType<typeof stub>, definition = bank) =>
      OAuth.layer.pipe(
        Layer.provideMerge(TokenClients.layer({ bank: definition })),
        Layer.provideMerge(Layer.merge(server.layer, certificate))
      )

    it.effect("goes to the alias of the endpoint, with the id in the body (RFC 8705 sections 2 and 5)", () =>
      Effect.forEach(["tls_client_auth", "self_signed_tls_client_auth"] as const, (authentication) => {
        const server = stub((seen) => seen.method === "GET" ? metadata.clone() : token(1))
        return Effect.gen(function*() {
          yield* ClientCredentialsTokenManager.get("bank")
          yield* ClientCredentialsTokenManager.revoke("bank")
          assert.deepStrictEqual(
            server.seen.filter(({ method }) => method === "POST").map(({ url }) => url),
            ["https://mtls.as.test/token", "https://as.test/revoke"]
          )
          assert.deepStrictEqual(field(server.seen[1], "client_id"), ["bank"])
          assert.notProperty(server.seen[1]!.headers, "authorization")
        }).pipe(Effect.provide(program(server, { ...bank, authentication })))
      }))

    it.effect("that gives way to another takes its tokens with it", () => {
      const server = stub((seen, number) => seen.method === "GET" ? metadata.clone() : token(number))
      thumbprints.current = "one"
      return Effect.gen(function*() {
        const get = Effect.map(ClientCredentialsTokenManager.get("bank"), ({ value }) => Redacted.value(value))
        const first = yield* get
        assert.strictEqual(yield* get, first)
        thumbprints.current = "two"
        const second = yield* get
        assert.notStrictEqual(second, first)
        assert.strictEqual(yield* get, second)
        thumbprints.current = "one"
        assert.strictEqual(yield* get, first)
      }).pipe(Effect.provide(program(server)))
    })

    it.effect("is the one that a JWT has to be bound to", () => {
      const bound = new jose.UnsecuredJWT({ cnf: { "x5t#S256": "another".padEnd(43, "r") } }).encode()
      const server = stub((seen) =>
        seen.method === "GET" ? metadata.clone() : json({ access_token: bound, token_type: "Bearer" })
      )
      return Effect.gen(function*() {
        const error = yield* Effect.flip(ClientCredentialsTokenManager.get("bank"))
        assert.strictEqual(error._tag === "KeyBindingMismatch" && error.binding, "certificate")
        assert.include(error.message, "another")
      }).pipe(Effect.provide(program(server)))
    })

    it.effect("of a client's own HttpClient is told with it", () => {
      const server = stub((_, number) => token(number))
      let own = "x"
      const definition: TokenClient.TokenClientOptions = {
        tokenEndpoint,
        clientId: "bank",
        httpClient: server.client,
        authentication: ClientAuthentication.tlsClientAuth({ certificate: { thumbprint: () => own } })
      }
      return Effect.gen(function*() {
        yield* ClientCredentialsTokenManager.get("bank")
        thumbprints.current = "irrelevant"
        yield* ClientCredentialsTokenManager.get("bank")
        assert.strictEqual(server.seen.length, 1)
        own = "y"
        yield* ClientCredentialsTokenManager.get("bank")
        assert.strictEqual(server.seen.length, 2)
      }).pipe(Effect.provide(program(server, definition)))
    })
  })

  describe("a definition that does not add up", () => {
    const problems = (definition: object) =>
      Effect.map(
        Effect.flip(TokenClient.make("worker", { tokenEndpoint, clientId: "id", ...definition } as never)),
        (error) => error.problems.map(({ field, problem }) => `${field}: ${problem}`)
      )
    const cases: ReadonlyArray<readonly [string, object, RegExp]> = [
      ["a key that is not Redacted", { privateKey: "{}" }, /^privateKey: expected a Redacted private JWK/],
      ["a key that is none", { privateKey: Redacted.make("{}") }, /^privateKey: expected a private JWK/],
      ["a DPoP key that is none", { dpop: Redacted.make({ kty: "oct" }) }, /^dpop: .*found a symmetric key/],
      ["DPoP by something else", { dpop: "yes" }, /^dpop: expected a Redacted private JWK/],
      ["a method without its key", { authentication: "private_key_jwt" }, /^privateKey: .*needs a private key/],
      [
        "a method without its secret",
        { authentication: "client_secret_jwt" },
        /^clientSecret: .*needs a client secret/
      ],
      [
        "a secret too short",
        { authentication: "client_secret_jwt", clientSecret: Redacted.make("short") },
        /HS256 needs a secret of 32 bytes/
      ],
      [
        "a secret for a certificate",
        { authentication: "tls_client_auth", clientSecret: longSecret },
        /^clientSecret: tls_client_auth uses no secret/
      ],
      ["the issuer as audience without issuer", { authentication: "?" }, /no issuer is given/]
    ]
    for (const [name, definition, expected] of cases) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const key = yield* SigningKey.generate()
          const authentication = ClientAuthentication.privateKeyJwt(key, { audience: "issuer" })
          const given = "authentication" in definition && definition.authentication === "?"
            ? { authentication }
            : definition
          const found = yield* problems(given)
          assert.strictEqual(found.length, 1, found.join("\n"))
          assert.match(found[0]!, expected)
        }))
    }

    it.effect("a secret and a key at once", () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        assert.match(
          (yield* problems({ clientSecret: longSecret, privateKey: key })).join(),
          /clientSecret: .*leave it out/
        )
        const complete = { authentication: ClientAuthentication.privateKeyJwt(key), privateKey: key }
        assert.match((yield* problems(complete)).join(), /privateKey: .*leave this out/)
      }))

    it.effect("but false is no DPoP, and an absent option is no key", () =>
      Effect.gen(function*() {
        const client = yield* TokenClient.make("worker", { tokenEndpoint, clientId: "id", dpop: false })
        assert.isUndefined(client.dpop)
        assert.strictEqual(client.authentication._tag, "None")
      }))
  })
})
