/**
 * Nothing of this library shows a secret, in no form in which a program prints things: every public value and error, every
 * log line and every span of a run in which all secrets are marked.
 */
import {
  AccessToken,
  AccessTokenHttpClient,
  ClientCredentialsTokenManager,
  DeviceFlow,
  DPoPProofs,
  JwtVerifier,
  OAuthValues,
  Signer,
  SigningKey,
  TokenCache,
  TokenClient,
  TokenClients,
  TokenEndpoint,
  TokenGrant,
  TokenRetriever
} from "@effect-oauth/core"
import type { OAuthError } from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import { assert, describe, it } from "@effect/vitest"
import { Cause, DateTime, Effect, Fiber, Layer, Logger, LogLevel, Metric, Redacted, TestClock } from "effect"
import * as jose from "jose"
import { inspect } from "node:util"
import { every } from "./support/errors.ts"
import { recordingTracer } from "./support/recordingTracer.ts"
import { field, json, services, stub } from "./support/StubServer.ts"

const mark = "5ecr3t"
const secret = `${mark}-client-secret %&`
const form = new URLSearchParams({ "": secret }).toString().slice(1)

/** The marks, also in the encodings in which they travel. */
const marks = [mark, btoa(`worker:${form}`), btoa(secret), form]

const printed = (value: unknown): string =>
  [
    String(value),
    JSON.stringify(value),
    inspect(value, { depth: 20, showHidden: true }),
    value instanceof Error ? `${value.stack}${value.message}${inspect(value.cause, { depth: 20 })}` : "",
    Cause.pretty(Cause.fail(value)),
    JSON.stringify(Cause.fail(value))
  ].join("\n")

const showsNone = (what: string, text: string) => {
  for (const one of marks) assert.isFalse(text.includes(one), `${what} shows ${one}:\n${text.slice(0, 2000)}`)
}

const options: TokenClient.TokenClientOptions = {
  tokenEndpoint: "https://as.test/token",
  revocationEndpoint: "https://as.test/revoke",
  introspectionEndpoint: "https://as.test/introspect",
  pushedAuthorizationRequestEndpoint: "https://as.test/par",
  deviceAuthorizationEndpoint: "https://as.test/device",
  clientId: "worker",
  clientSecret: Redacted.make(secret),
  parameters: { subject: Redacted.make(`${mark}-parameter`) }
}

const code = TokenGrant.authorizationCode({
  code: Redacted.make(`${mark}-code`),
  redirectUri: "https://app.test/callback",
  codeVerifier: Redacted.make(`${mark}-verifier`)
})
const refresh = TokenGrant.refreshToken(Redacted.make(`${mark}-refresh`))
const exchange = TokenGrant.tokenExchange({
  subjectToken: Redacted.make(`${mark}-subject`),
  actorToken: Redacted.make(`${mark}-actor`)
})
const statement = TokenGrant.jwtBearer(Redacted.make(`${mark}-statement`))
const device = TokenGrant.deviceCode(Redacted.make(`${mark}-device`))

const good = () =>
  json({
    access_token: `${mark}-access`,
    token_type: "Bearer",
    expires_in: 100,
    refresh_token: `${mark}-refresh`,
    id_token: `${mark}-id`,
    more: `${mark}-more`
  })

/** Bad answers, each with secrets in it. */
const bad: ReadonlyArray<readonly [name: string, answer: () => Response]> = [
  [
    "an error object that quotes what was sent",
    () =>
      json({ error: "invalid_client", error_description: `no ${secret} ${form} ${mark}-parameter` }, { status: 401 })
  ],
  ["a token under another name", () => json({ accessToken: `${mark}-access` })],
  ["a token that cannot be sent", () => json({ access_token: `${mark}\n` })],
  ["a token type that is no scheme", () => json({ access_token: `${mark}`, token_type: `${mark}\n` })],
  ["HTML", () => new Response(`<p>${mark}</p>`)],
  ["JSON cut off", () => new Response(`{"access_token":"${mark}`)],
  ["too much", () => new Response(mark.repeat(300_000))],
  ["a redirect", () => new Response(mark, { status: 302, headers: { location: `https://evil.test/?code=${mark}` } })],
  ["headers", () => new Response(null, { status: 500, headers: { "retry-after": mark, "dpop-nonce": mark } })],
  [
    "a body that breaks off",
    () => new Response(new ReadableStream({ start: (controller) => controller.error(new Error(mark)) }))
  ]
]

const recording = () => {
  const lines: Array<string> = []
  const tracer = recordingTracer()
  const logger = Logger.make((entry) => {
    lines.push(printed([entry.message, entry.cause, entry.annotations, entry.spans]))
    lines.push(Logger.jsonLogger.log(entry), Logger.logfmtLogger.log(entry))
  })
  const layer = Layer.mergeAll(
    Logger.replace(Logger.defaultLogger, logger),
    Logger.minimumLogLevel(LogLevel.All),
    tracer.layer
  )
  const everything = () => [...lines, ...tracer.ended.map((span) => inspect(span, { depth: 10 }))].join("\n")
  return { layer, everything }
}

describe("secrets do not show", () => {
  it.effect("in values", () =>
    Effect.gen(function*() {
      const client = yield* TokenClient.make("worker", options)
      const response = yield* Effect.flatMap(TokenEndpoint.TokenEndpoint, (endpoint) =>
        endpoint.request(client, TokenGrant.clientCredentials))
      const manager = yield* ClientCredentialsTokenManager.ClientCredentialsTokenManager
      const token = yield* manager.get()
      assert.isTrue(Redacted.value(token.value).includes(mark))
      const values = {
        client,
        authentication: client.authentication,
        response,
        token,
        exit: yield* Effect.exit(manager.get()),
        manager,
        clients: yield* TokenClients.TokenClients,
        code,
        refresh,
        exchange,
        statement,
        device,
        exchanged: yield* manager.get("worker", { grant: exchange }),
        retriever: yield* TokenRetriever.tokenExchange(TokenRetriever.static(token), "worker"),
        byOrigin: TokenRetriever.byOrigin({ "https://api.test": TokenRetriever.static(token) }),
        cache: yield* TokenCache.TokenCache,
        verifier: yield* JwtVerifier.JwtVerifier,
        endpoint: yield* TokenEndpoint.TokenEndpoint
      }
      for (const [name, value] of Object.entries(values)) {
        showsNone(name, printed(value))
      }
    }).pipe(Effect.provide(services(stub(good), { worker: options }))))

  it("in errors of every kind", () => {
    for (const error of every) showsNone(error._tag, printed(error))
  })

  it.effect("of a user, in what a server says that quotes all it was sent", () => {
    const { everything, layer } = recording()
    const quoting = stub(({ form }) =>
      json({ error: "invalid_grant", error_description: form.map(([, value]) => value).join(" ") }, { status: 400 })
    )
    return Effect.gen(function*() {
      const client = yield* TokenClient.make("worker", options)
      const endpoint = yield* TokenEndpoint.TokenEndpoint
      const login = { state: `${mark}-state`, nonce: `${mark}-nonce`, request: `${mark}-request` }
      const sent: ReadonlyArray<
        Effect.Effect<
          unknown,
          OAuthError.AccessTokenError,
          ClientCredentialsTokenManager.ClientCredentialsTokenManager
        >
      > = [
        endpoint.request(client, code),
        endpoint.request(client, refresh),
        endpoint.request(client, exchange),
        endpoint.request(client, statement),
        endpoint.request(client, device),
        ClientCredentialsTokenManager.get("worker", { grant: exchange }),
        endpoint.pushAuthorization(client, login)
      ]
      for (const one of sent) {
        const error = yield* Effect.flip(one)
        assert.include(error.message, "<redacted>")
        showsNone("error", printed(error))
      }
      showsNone("log or span", everything())
    }).pipe(Effect.provide(services(quoting, { worker: options }).pipe(Layer.provideMerge(layer))))
  })

  it.effect("of a login on another device, before and after it", () => {
    const { everything, layer } = recording()
    const codes = {
      device_code: `${mark}-device`,
      user_code: "WDJB-MJHT",
      verification_uri: "https://as.test/device",
      expires_in: 60
    }
    let asked = 0
    const server = stub(({ form, url }) => {
      if (url.endsWith("/device")) return json(codes)
      const quoted = form.map(([, value]) => value).join(" ")
      return asked++ < 2
        ? json({ error: "authorization_pending", error_description: quoted }, { status: 400 })
        : json({ error: "access_denied", error_description: quoted }, { status: 400 })
    })
    return Effect.gen(function*() {
      const client = yield* TokenClient.make("worker", options)
      const login = yield* DeviceFlow.start(client)
      showsNone("login", printed(login))
      const fiber = yield* Effect.fork(Effect.flip(login.tokens))
      yield* TestClock.adjust("1 minutes")
      const error = yield* Fiber.join(fiber)
      assert.include(error.message, "<redacted>")
      showsNone("error", printed(error))
      showsNone("log or span", everything())
    }).pipe(Effect.provide(services(server, { worker: options }).pipe(Layer.provideMerge(layer))))
  })

  it.effect("in the refusal of a JWT, nor in what is logged and traced meanwhile", () => {
    const { everything, layer } = recording()
    const server = stub(({ url }) =>
      url.includes("/jwks")
        ? json({
          keys: [{ kty: "oct", k: mark }, { kty: "EC", kid: mark, x: mark }, { kty: "EC", d: mark, kid: mark }]
        })
        : json({ issuer: "https://as.test", jwks_uri: `https://as.test/jwks?${mark}` })
    )
    return Effect.gen(function*() {
      const verifier = yield* JwtVerifier.JwtVerifier
      const client = yield* TokenClient.make("worker", { issuer: "https://as.test", clientId: "worker" })
      const part = (value: unknown) => jose.base64url.encode(JSON.stringify(value))
      const jwt = (header: unknown) => `${part(header)}.${part({ sub: mark })}.${jose.base64url.encode(mark)}`
      const headers = [{ alg: mark }, { alg: "ES256", typ: mark }, { alg: "ES256", kid: mark }, { alg: "ES256" }]
      for (const text of [mark, `${mark}.${mark}.${mark}`, ...headers.map(jwt)]) {
        const error = yield* Effect.flip(verifier.verify(client, Redacted.make(text), { types: ["JWT"] }))
        assert.strictEqual(error._tag, "JwtInvalid")
        showsNone("JwtInvalid", printed(error))
        assert.notInclude(printed(error), text)
      }
      showsNone("log or span", everything())
      assert.include(everything(), "oauth.discovery")
    }).pipe(Effect.provide(services(server, { worker: options }).pipe(Layer.provideMerge(layer))))
  })

  for (const [name, answer] of bad) {
    it.effect(`in error, logs and spans after ${name}`, () => {
      const { everything, layer } = recording()
      return Effect.gen(function*() {
        const client = yield* TokenClient.make("worker", options)
        const endpoint = yield* TokenEndpoint.TokenEndpoint
        const token = Redacted.make(`${mark}-access`)
        const subject = new AccessToken.AccessToken({
          value: Redacted.make(`${mark}-subject`),
          type: OAuthValues.TokenType.make("Bearer"),
          clientName: "user",
          obtainedAt: DateTime.unsafeMake(-100_000)
        })
        const exchanging = yield* TokenRetriever.tokenExchange(TokenRetriever.static(subject), "worker")
        const all = yield* Effect.fork(Effect.all([
          Effect.flip(ClientCredentialsTokenManager.get()),
          Effect.flip(endpoint.request(client, TokenGrant.extension("urn:x:y", { ticket: Redacted.make(mark) }))),
          Effect.flip(endpoint.request(client, code)),
          Effect.flip(endpoint.request(client, refresh)),
          Effect.flip(endpoint.request(client, exchange)),
          Effect.flip(endpoint.request(client, statement)),
          Effect.flip(endpoint.request(client, device)),
          Effect.flip(endpoint.authorizeDevice(client)),
          Effect.flip(ClientCredentialsTokenManager.get("worker", { grant: exchange })),
          Effect.flip(
            AccessTokenHttpClient.make(exchanging)(HttpClient.make(() => Effect.never)).get("https://a.test")
          ),
          Effect.flip(endpoint.pushAuthorization(client, { state: `${mark}-state`, nonce: `${mark}-nonce` })),
          Effect.flip(Effect.zipRight(endpoint.introspect(client, token), Effect.fail("answered" as const))),
          Effect.flip(Effect.zipRight(endpoint.revoke(client, token), Effect.fail("answered" as const)))
        ]))
        yield* TestClock.adjust("1 minutes")
        const errors = yield* all
        for (const error of errors) showsNone(name, printed(error))
        showsNone(`log or span after ${name}`, everything())
        yield* Effect.logError("the program's own line", Cause.fail(errors[0]))
        showsNone("the program's own line", everything())
      }).pipe(
        Effect.provide(services(stub(answer), { worker: options }).pipe(Layer.provideMerge(layer)))
      )
    })
  }

  it.effect("of a private key, in values; of proofs and assertions, in what a server says that quotes them", () => {
    const { everything, layer } = recording()
    const sent: Array<string> = []
    const quoting = stub((seen) => {
      const assertion = field(seen, "client_assertion")[0] ?? ""
      sent.push(assertion, seen.headers.dpop ?? "")
      return json({ error: "invalid_client", error_description: sent.slice(-2).join(" and ") }, { status: 401 })
    })
    return Effect.gen(function*() {
      const pair = yield* Effect.promise(() => jose.generateKeyPair("ES256", { extractable: true }))
      const jwk = yield* Effect.promise(() => jose.exportJWK(pair.privateKey))
      const key = Redacted.make(JSON.stringify(jwk))
      const definition = { tokenEndpoint: "https://as.test/token", clientId: "worker", privateKey: key, dpop: key }
      const client = yield* TokenClient.make("worker", definition)
      yield* Effect.gen(function*() {
        const error = yield* Effect.flip(ClientCredentialsTokenManager.get())
        assert.include(error.message, "<redacted> and <redacted>")
        const got = new AccessToken.AccessToken({
          value: Redacted.make("t"),
          type: OAuthValues.TokenType.make("DPoP"),
          clientName: "worker",
          obtainedAt: DateTime.unsafeMake(0),
          keyThumbprint: client.dpop === true ? "" : client.dpop?.thumbprint
        })
        const proofs = yield* DPoPProofs.DPoPProofs
        const bound = yield* proofs.bind(got, yield* SigningKey.make(key))
        const values = { client, error, bound, proofs, signing: yield* Signer.Signer, key: client.authentication }
        const text = Object.values(values).map(printed).join("\n") + everything()
        for (const secret of [jwk.d!, ...sent]) {
          assert.isFalse(text.includes(secret), "a key or what it signed is shown")
        }
        assert.isAbove(sent.length, 1)
      }).pipe(Effect.provide(Layer.provideMerge(services(quoting, { worker: definition }), layer)))
    })
  })

  it.effect("in a transport error, whatever its cause says", () =>
    Effect.gen(function*() {
      const cause = Object.assign(new Error(`cannot connect with ${mark}`), { code: mark, headers: { mark } })
      const server = stub((_, __, request) =>
        Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause, description: mark }))
      )
      const error = yield* Effect.flip(
        Effect.flatMap(TokenEndpoint.TokenEndpoint, (endpoint) =>
          Effect.flatMap(
            TokenClient.make("worker", options),
            (client) => endpoint.request(client, TokenGrant.clientCredentials, {}, { retries: 0 })
          )).pipe(
            Effect.provide(services(server, { worker: options }))
          )
      )
      showsNone("transport error", printed(error))
    }))

  it.effect("in a definition that is not usable", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(TokenClients.layer({
        worker: {
          clientId: `${mark}\n`,
          clientSecret: mark as never,
          tokenEndpoint: `https://user:${mark}@as.test`,
          issuer: mark,
          scope: `${mark}\n`,
          resource: mark,
          authentication: mark as never,
          parameters: { x: { mark } as never },
          timeout: mark as never,
          maxResponseSize: mark as never
        }
      }))))
      assert.strictEqual(error.problems.length, 10)
      showsNone("TokenClientInvalid", printed(error))
    }))

  it.effect("in what an API call leaves behind: its response, its errors, logs and spans", () => {
    const { everything, layer } = recording()
    const server = stub((seen, number) =>
      seen.url.startsWith("https://as.test/")
        ? good()
        : new Response("not JSON", { status: number % 2 === 0 ? 401 : 200 })
    )
    return Effect.gen(function*() {
      const api = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials())
      const response = yield* api.get("https://api.test/x")
      showsNone("response", printed(response))
      const error = yield* Effect.flip(response.json)
      showsNone("a body that is no JSON", printed(error))
      const refused = yield* Effect.flip(HttpClient.filterStatusOk(api).get("https://api.test/x"))
      showsNone("a status that is not ok", printed(refused))
      yield* Effect.logError("a line of the program", response, error, refused)
      showsNone("logs and spans", everything())
      assert.include(everything(), "http.client GET")
    }).pipe(Effect.provide(services(server, { worker: options }).pipe(Layer.provideMerge(layer))))
  })

  it.effect("in metrics", () =>
    Effect.gen(function*() {
      yield* ClientCredentialsTokenManager.get()
      showsNone("metrics", printed(yield* Metric.snapshot))
    }).pipe(Effect.provide(services(stub(good), { worker: options }))))
})
