/**
 * Logins on another device (RFC 8628): what is asked for, and when.
 */
import { DeviceFlow, SigningKey, TokenClient } from "@effect-oauth/core"
import type { TokenRequestParameters } from "@effect-oauth/core"
import * as HttpClientError from "@effect/platform/HttpClientError"
import { assert, describe, it } from "@effect/vitest"
import { Clock, DateTime, type Duration, Effect, Fiber, Redacted, TestClock } from "effect"
import { proofs } from "./support/proofs.ts"
import type { Stub } from "./support/StubServer.ts"
import { field, json, options, services, stub, token } from "./support/StubServer.ts"

const codes = {
  device_code: "the-device-code",
  user_code: "WDJB-MJHT",
  verification_uri: "https://as.test/device",
  verification_uri_complete: "https://as.test/device?user_code=WDJB-MJHT",
  expires_in: 600,
  interval: 5
}

const refused = (error: string, init: ResponseInit = {}) => json({ error }, { status: 400, ...init })
const pending = () => refused("authorization_pending")

type Answer = Response | "reset" | "silence"

/** A server that gives `codes`, then these answers one after the other, the last for ever; and when each was asked for. */
const server = (given: Record<string, unknown>, answers: ReadonlyArray<() => Answer>) => {
  const at: Array<number> = []
  let began = 0
  let asked = 0
  const made = stub((seen, _, request) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (seen.url.endsWith("/device")) {
        began = now
        return Effect.succeed(json(given))
      }
      at.push((now - began) / 1000)
      const answer = answers[Math.min(asked++, answers.length - 1)]!()
      if (answer === "silence") return Effect.never
      return answer === "reset"
        ? Effect.fail(new HttpClientError.RequestError({ request, reason: "Transport", cause: { code: "ECONNRESET" } }))
        : Effect.succeed(answer)
    })
  )
  return { ...made, at }
}

const definition: TokenClient.TokenClientOptions = {
  tokenEndpoint: "https://as.test/token",
  deviceAuthorizationEndpoint: "https://as.test/device",
  clientId: "cli"
}

const start = (
  made: Stub,
  parameters?: TokenRequestParameters.TokenRequestParameters,
  more: Partial<TokenClient.TokenClientOptions> = {},
  flow?: Parameters<typeof DeviceFlow.start>[2]
) =>
  Effect.flatMap(
    TokenClient.make("cli", { ...definition, ...more }),
    (client) => DeviceFlow.start(client, parameters, flow)
  ).pipe(Effect.provide(services(made, { worker: options })))

/** What became of a login within this time, and when it was asked for. */
const within = (
  time: Duration.DurationInput,
  answers: ReadonlyArray<() => Answer>,
  given: Record<string, unknown> = codes
) =>
  Effect.gen(function*() {
    const made = server(given, answers)
    const { tokens } = yield* start(made)
    const fiber = yield* Effect.fork(Effect.either(tokens))
    yield* TestClock.adjust(time)
    const exit = yield* Fiber.poll(fiber)
    yield* Fiber.interrupt(fiber)
    const outcome = exit._tag === "None" || exit.value._tag === "Failure"
      ? "waiting"
      : exit.value.value._tag === "Right"
      ? Redacted.value(exit.value.value.right.accessToken.value)
      : exit.value.value.left
    return { outcome, at: made.at, seen: made.seen }
  })

describe("start", () => {
  it.effect("asks with client, scope, resource and more, and gives what the user has to know", () =>
    Effect.gen(function*() {
      const made = server(codes, [() => token(1)])
      const login = yield* start(made, { scope: "openid", resource: ["https://a.test/"], parameters: { acr: "x" } })
      assert.deepStrictEqual(made.seen[0]?.form, [
        ["acr", "x"],
        ["scope", "openid"],
        ["resource", "https://a.test/"],
        ["client_id", "cli"]
      ])
      assert.deepInclude(login, {
        userCode: "WDJB-MJHT",
        verificationUri: "https://as.test/device",
        verificationUriComplete: "https://as.test/device?user_code=WDJB-MJHT"
      })
      assert.strictEqual(DateTime.toEpochMillis(login.expiresAt), 600_000)
    }))

  it.effect("finds the endpoint in the metadata of the issuer", () =>
    Effect.gen(function*() {
      const made = stub(({ url }) =>
        url.includes("well-known")
          ? json({
            issuer: "https://as.test",
            token_endpoint: "https://as.test/t",
            device_authorization_endpoint: "https://as.test/d"
          })
          : json(codes)
      )
      const client = yield* TokenClient.make("cli", { issuer: "https://as.test", clientId: "cli" })
      yield* Effect.provide(DeviceFlow.start(client), services(made, { worker: options }))
      assert.strictEqual(made.seen.at(-1)?.url, "https://as.test/d")
    }))

  it.effect("proves a client that has a secret", () =>
    Effect.gen(function*() {
      const made = server(codes, [() => token(1)])
      yield* start(made, {}, { clientSecret: Redacted.make("s3cr3t") })
      assert.match(made.seen[0]?.headers.authorization ?? "", /^Basic /)
    }))

  it.effect("says what is wrong with a request, and asks nothing", () =>
    Effect.gen(function*() {
      const made = server(codes, [() => token(1)])
      const error = yield* Effect.flip(start(made, { scope: "\n" }))
      assert.strictEqual(error._tag, "TokenRequestInvalid")
      assert.strictEqual(made.seen.length, 0)
    }))

  it.effect("reads verification_url, and a long device code", () =>
    Effect.gen(function*() {
      const { verification_uri: address, verification_uri_complete: complete, ...rest } = codes
      const device = "d".repeat(5000)
      const made = server({
        ...rest,
        device_code: device,
        verification_url: address,
        verification_url_complete: complete
      }, [() => token(1)])
      const login = yield* start(made)
      assert.strictEqual(login.verificationUri, address)
      assert.strictEqual(login.verificationUriComplete, complete)
      const fiber = yield* Effect.fork(login.tokens)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(field(made.seen[1], "device_code"), [device])
    }))

  it.effect("shows nothing to a terminal that is more than text", () =>
    Effect.gen(function*() {
      const escape = "\u001b[2J"
      const login = yield* start(server({ ...codes, verification_uri: `https://as.test/${escape}\n` }, []))
      assert.match(login.verificationUri, /^[\x21-\x7e]+$/)
      const error = yield* Effect.flip(start(server({ ...codes, user_code: `A${escape}` }, [])))
      assert.strictEqual(error._tag, "TokenResponseInvalid")
    }))

  const unusable: ReadonlyArray<readonly [string, Record<string, unknown>]> = [
    ["no device code", { ...codes, device_code: undefined }],
    ["an empty device code", { ...codes, device_code: "" }],
    ["no user code", { ...codes, user_code: 5 }],
    ["no address", { ...codes, verification_uri: null }],
    ["an address that is no page", { ...codes, verification_uri: "javascript:alert(1)" }],
    ["a relative address", { ...codes, verification_uri: "/device" }]
  ]
  for (const [what, given] of unusable) {
    it.effect(`fails for an answer with ${what}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(start(server(given, [])))
        assert.strictEqual(error._tag, "TokenResponseInvalid")
        assert.notInclude(error.message, "the-device-code")
      }))
  }

  it.effect("an address for the code alone that is no page is left out", () =>
    Effect.gen(function*() {
      const login = yield* start(server({ ...codes, verification_uri_complete: "javascript:alert(1)" }, []))
      assert.isUndefined(login.verificationUriComplete)
    }))

  it.effect("fails with what the server says", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(start(stub(() => refused("invalid_client"))))
      assert.deepInclude(error, { _tag: "TokenEndpointError", error: "invalid_client" })
    }))
})

describe("tokens", () => {
  it.effect("are asked for each interval until the user is done", () =>
    Effect.gen(function*() {
      const { at, outcome, seen } = yield* within("1 minutes", [pending, pending, () => token(1)])
      assert.strictEqual(outcome, "token-1")
      assert.deepStrictEqual(at, [5, 10, 15])
      assert.deepStrictEqual(seen[1]?.form, [
        ["device_code", "the-device-code"],
        ["grant_type", "urn:ietf:params:oauth:grant-type:device_code"],
        ["client_id", "cli"]
      ])
    }))

  it.effect("slow_down: 5 seconds more from then on", () =>
    Effect.gen(function*() {
      const slow = () => refused("slow_down")
      const { at } = yield* within("51 seconds", [pending, slow, pending, slow, pending])
      assert.deepStrictEqual(at, [5, 10, 20, 30, 45])
    }))

  const intervals: ReadonlyArray<readonly [what: string, interval: unknown, at: ReadonlyArray<number>]> = [
    ["none", undefined, [5, 10]],
    ["null", null, [5, 10]],
    ["0", 0, [5, 10]],
    ["less than 0", -3, [5, 10]],
    ["unreadable", "soon", [5, 10]],
    ["a text", "4", [4, 8]],
    ["3", 3, [3, 6, 9]],
    ["longer than the login", 1e300, []]
  ]
  for (const [what, interval, expected] of intervals) {
    it.effect(`the interval is ${what}`, () =>
      Effect.gen(function*() {
        const { at } = yield* within("11 seconds", [pending], { ...codes, interval })
        assert.deepStrictEqual(at, expected)
      }))
  }

  it.effect("Retry-After is waited for, once", () =>
    Effect.gen(function*() {
      const busy = () => new Response(null, { status: 503, headers: { "retry-after": "30" } })
      const later = () => refused("authorization_pending", { headers: { "retry-after": "20" } })
      const { at } = yield* within("71 seconds", [busy, pending, later, pending, pending])
      assert.deepStrictEqual(at, [5, 35, 40, 60, 65, 70])
    }))

  for (const failure of ["reset", "503"] as const) {
    it.effect(`a ${failure}: less and less often, until there is an answer again`, () =>
      Effect.gen(function*() {
        const fails = (): Answer => failure === "reset" ? "reset" : new Response(null, { status: 503 })
        const { at, outcome } = yield* within("10 minutes", [
          ...Array.from({ length: 6 }, () => fails),
          pending,
          () => token(1)
        ])
        assert.deepStrictEqual(at, [5, 15, 35, 75, 135, 195, 255, 260])
        assert.strictEqual(outcome, "token-1")
      }))
  }

  it.effect("silence is a failure like others, after the timeout of the client", () =>
    Effect.gen(function*() {
      const { at, outcome } = yield* within("1 minutes", [() => "silence", () => token(1)])
      assert.deepStrictEqual([at, outcome], [[5, 25], "token-1"])
    }))

  it.effect("access_denied ends it", () =>
    Effect.gen(function*() {
      const { at, outcome } = yield* within("1 minutes", [pending, () => refused("access_denied"), () => token(1)])
      assert.deepInclude(outcome, { _tag: "TokenEndpointError", error: "access_denied" })
      assert.deepStrictEqual(at, [5, 10])
    }))

  for (const error of ["invalid_grant", "invalid_client", "unsupported_grant_type"]) {
    it.effect(`${error} ends it`, () =>
      Effect.gen(function*() {
        const { at, outcome } = yield* within("1 minutes", [() => refused(error)])
        assert.deepInclude(outcome, { _tag: "TokenEndpointError", error })
        assert.deepStrictEqual(at, [5])
      }))
  }

  it.effect("expired_token, and no answer in the time that there was, are one error", () =>
    Effect.gen(function*() {
      const told = yield* within("1 minutes", [() => refused("expired_token")])
      assert.deepInclude(told.outcome, { _tag: "DeviceLoginExpired", clientName: "cli" })
      const early = yield* within("21 seconds", [pending], { ...codes, expires_in: 22 })
      assert.deepStrictEqual([early.outcome, early.at], ["waiting", [5, 10, 15, 20]])
      const late = yield* within("22 seconds", [pending], { ...codes, expires_in: 22 })
      assert.deepInclude(late.outcome, { _tag: "DeviceLoginExpired" })
    }))

  for (const lifetime of [undefined, 0, "soon"]) {
    it.effect(`a login that lives ${String(lifetime)} seconds is given 10 minutes`, () =>
      Effect.gen(function*() {
        const { outcome } = yield* within("599 seconds", [pending], { ...codes, expires_in: lifetime, interval: 60 })
        assert.strictEqual(outcome, "waiting")
        const late = yield* within("600 seconds", [pending], { ...codes, expires_in: lifetime, interval: 60 })
        assert.deepInclude(late.outcome, { _tag: "DeviceLoginExpired" })
      }))
  }

  it.effect("a login that never ends is waited for a day", () =>
    Effect.gen(function*() {
      const { outcome } = yield* within("1 days", [pending], { ...codes, expires_in: 1e300, interval: 3600 })
      assert.deepInclude(outcome, { _tag: "DeviceLoginExpired" })
    }))

  it.effect("whoever asks late is not told an old answer, and an expired login is not asked for", () =>
    Effect.gen(function*() {
      const made = server(codes, [() => token(1)])
      const { tokens } = yield* start(made)
      yield* TestClock.adjust("11 minutes")
      const error = yield* Effect.flip(tokens)
      assert.strictEqual(error._tag, "DeviceLoginExpired")
      assert.strictEqual(made.at.length, 0)
    }))

  it.effect("an interruption stops the asking", () =>
    Effect.gen(function*() {
      const made = server(codes, [pending])
      const { tokens } = yield* start(made)
      const fiber = yield* Effect.fork(tokens)
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(made.at.length, 2)
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(made.at.length, 2)
    }))

  it.effect("a caller's own time-out stops the asking", () =>
    Effect.gen(function*() {
      const made = server(codes, [() => "silence"])
      const { tokens } = yield* start(made)
      const fiber = yield* Effect.fork(Effect.flip(Effect.timeout(tokens, "12 seconds")))
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TimeoutException")
      assert.strictEqual(made.at.length, 1)
    }))

  it.effect("scope and resource are said once, the rest with each question", () =>
    Effect.gen(function*() {
      const made = server(codes, [() => token(1)])
      const parameters = { scope: "openid", resource: "https://a.test/", parameters: { acr: "x" } }
      const { tokens } = yield* start(made, parameters, { scope: "other" })
      const fiber = yield* Effect.fork(tokens)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(made.seen[1]?.form.map(([name]) => name), [
        "acr",
        "device_code",
        "grant_type",
        "client_id"
      ])
    }))

  for (const whose of ["the client's", "the login's own"] as const) {
    it.effect(`are bound to ${whose} key, each question proven anew with the server's nonce`, () =>
      Effect.gen(function*() {
        const key = yield* SigningKey.generate()
        const made = server(codes, [
          () => refused("use_dpop_nonce", { headers: { "dpop-nonce": "n1" } }),
          pending,
          () => token(1, { token_type: "DPoP" })
        ])
        const { tokens } = yield* start(
          made,
          {},
          whose === "the client's" ? { dpop: key } : {},
          whose === "the client's" ? {} : { dpop: key }
        )
        const fiber = yield* Effect.fork(tokens)
        // Proofs are signed in real time, of which the test clock knows nothing.
        const time = Effect.zipRight(Effect.promise(() => new Promise(setImmediate)), TestClock.adjust("1 seconds"))
        const { accessToken } = yield* Effect.raceFirst(Fiber.join(fiber), Effect.forever(time))
        assert.strictEqual(accessToken.keyThumbprint, key.thumbprint)
        const [begun, ...asked] = made.seen
        assert.isUndefined(begun?.headers.dpop)
        const proven = yield* proofs(asked)
        assert.deepStrictEqual(proven.map(({ claims }) => claims.nonce), [undefined, "n1", "n1"])
        assert.strictEqual(new Set(proven.map(({ claims }) => claims.jti)).size, 3)
        assert.deepStrictEqual(proven.map(({ header }) => header.jwk), [key.publicJwk, key.publicJwk, key.publicJwk])
      }))
  }
})
