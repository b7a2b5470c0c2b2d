import { TokenStore } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "effect/FastCheck"
import http from "node:http"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { answerOf, isNobody, isSomebody, login, start } from "./support/attack.ts"
import type { WebApp } from "./support/webApp.ts"

interface Request {
  readonly method: string
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: Uint8Array | string
}

/** As it stands: no client puts the address or a header right before. */
const ask = (app: WebApp, { body, headers = {}, method, path }: Request): Promise<number> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(app.url)
    const request = http.request({ hostname, port, method, path, headers, agent: false }, (response) => {
      response.resume()
      response.on("end", () => resolve(response.statusCode ?? 0))
    })
    request.on("error", reject)
    request.end(body)
  })

const isAnswered = (status: number): boolean => (status >= 200 && status < 500) || status === 503

/** No defect is behind an answer. */
const isHealthy = (app: WebApp): void => {
  const broken = app.lines.filter((line) => line.includes("broke off") || line.includes("level=ERROR"))
  assert.deepStrictEqual(broken, [])
}

const runs = { numRuns: 150 }

const names = fc.constantFrom(
  "code",
  "state",
  "iss",
  "error",
  "error_description",
  "error_uri",
  "logout_token",
  "x",
  ""
)
const escaped = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }).map((text) => encodeURIComponent(text)),
  fc.constantFrom("%", "%ff", "%00", "%zz", "%E0%A4%A", "+", "%0d%0a", "..%2f", "a".repeat(2000), "%F0%9F%92%A9")
)
const queries = fc.array(fc.tuple(names, escaped), { maxLength: 6 }).map((pairs) =>
  pairs.map(([name, value]) => `${name}=${value}`).join("&")
)

/** What a header can hold. */
const headerTexts = fc.array(fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f), { maxLength: 120 })
  .map((codes) => String.fromCharCode(...codes).trim())

/** One place of a text is another character, gone, or there twice. */
const mutated = (text: string) =>
  fc.tuple(
    fc.nat(Math.max(text.length - 1, 0)),
    fc.constantFrom("change", "drop", "double", "cut"),
    fc.constantFrom(..."Aa0.-_%\"=; ")
  )
    .map(([at, how, character]) => {
      const [before, one, after] = [text.slice(0, at), text.slice(at, at + 1), text.slice(at + 1)]
      if (how === "change") return before + character + after
      if (how === "drop") return before + after
      return how === "double" ? before + one + one + after : before
    })

/** The last character of base64url may say the same in several ways, and what has no meaning there may be passed over. */
const meansAnother = (text: string) => (other: string): boolean => {
  const partsOf = (text: string) =>
    text.split(".").map((part) => Buffer.from(part, "base64url").toString("hex")).join(".")
  return partsOf(other) !== partsOf(text)
}

const checked = <A>(arbitrary: fc.Arbitrary<A>, check: (value: A) => Promise<void>) =>
  Effect.promise(() => fc.assert(fc.asyncProperty(arbitrary, check), runs))

describe("whatever is sent", () => {
  it.scopedLive("to the callback, as query or as form, is answered, and signs nobody in", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({}, { ownPages: true })
      yield* answerOf(app, browser)
      const headers = { cookie: browser.cookieHeader(app.url) }
      yield* checked(fc.tuple(queries, fc.boolean()), async ([query, isPosted]) => {
        const status = await ask(
          app,
          isPosted
            ? {
              method: "POST",
              path: "/auth/callback",
              headers: { ...headers, "content-type": "application/x-www-form-urlencoded" },
              body: query
            }
            : { method: "GET", path: `/auth/callback?${query}`, headers }
        )
        assert.isTrue(isAnswered(status), `${status}`)
      })
      yield* isNobody(app, browser)
      isHealthy(app)
    }))

  it.scopedLive("to the callback as bytes of any kind is answered", () =>
    Effect.gen(function*() {
      const { app } = yield* start({}, { ownPages: true })
      const types = fc.constantFrom(
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/json",
        "text/plain",
        "x"
      )
      yield* checked(fc.tuple(fc.uint8Array({ maxLength: 300 }), types), async ([body, type]) => {
        const headers = { "content-type": type }
        assert.isTrue(isAnswered(await ask(app, { method: "POST", path: "/auth/callback", headers, body })))
      })
      isHealthy(app)
    }))

  it.scopedLive("that is almost an honest answer is refused", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({}, { ownPages: true })
      const answer = new URL(yield* answerOf(app, browser))
      const state = answer.searchParams.get("state") ?? ""
      const headers = { cookie: browser.cookieHeader(app.url) }
      yield* checked(mutated(state).filter((other) => other.trim() !== state), async (other) => {
        answer.searchParams.set("state", other)
        const status = await ask(app, { method: "GET", path: answer.pathname + answer.search, headers })
        assert.strictEqual(status, 400)
      })
      assert.deepStrictEqual(provider.requests("/token"), [])
      isHealthy(app)
    }))

  it.scopedLive("as a cookie is answered, and is nobody's", () =>
    Effect.gen(function*() {
      const { app, browser } = yield* start({}, { ownPages: true })
      yield* login(app, browser)
      const [[, session] = []] = [...browser.jarOf(app.url)].filter(([name]) => name === "session")
      const value = session?.value ?? ""
      const cookies = fc.oneof(
        headerTexts,
        headerTexts.map((text) => `session=${text}`),
        mutated(value).filter(meansAnother(value)).map((other) => `session=${other}`),
        fc.tuple(mutated(value), headerTexts).map(([one, other]) => `session.0=2.${one}; session.1=${other}`),
        fc.constantFrom(
          `session=${value}; session=${value}`,
          `session.0=99.${value}`,
          `session.0=1`,
          "login.=x",
          "login.0.A=x"
        )
      )
      const address = new URL(app.url)
      const me = (cookie: string) =>
        new Promise<{ readonly status: number; readonly body: string }>((resolve, reject) => {
          http.get({
            hostname: address.hostname,
            port: address.port,
            path: "/auth/me",
            headers: { cookie },
            agent: false
          }, (response) => {
            let body = ""
            response.on("data", (chunk) => body += String(chunk))
            response.on("end", () => resolve({ status: response.statusCode ?? 0, body }))
          }).on("error", reject)
        })
      yield* checked(cookies, async (cookie) => {
        assert.deepStrictEqual(await me(cookie), { status: 200, body: `{"signedIn":false}` })
      })
      yield* isSomebody(app, browser)
      isHealthy(app)
    }))

  it.scopedLive("as the cookie of a login is answered, and signs nobody in", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({}, { ownPages: true })
      const answer = new URL(yield* answerOf(app, browser))
      const [[name, cookie] = ["", { value: "" }]] = [...browser.jarOf(app.url)]
      const cookies = fc.oneof(
        mutated(cookie.value).filter(meansAnother(cookie.value)).map((other) => `${name}=${other}`),
        mutated(name).filter((other) => other.trim() !== name).map((other) => `${other}=${cookie.value}`),
        headerTexts.map((text) => `${name}=${text}`)
      )
      yield* checked(cookies, async (cookie) => {
        const path = answer.pathname + answer.search
        assert.strictEqual(await ask(app, { method: "GET", path, headers: { cookie } }), 400)
      })
      assert.deepStrictEqual(provider.requests("/token"), [])
      yield* isNobody(app, new UserAgent())
      isHealthy(app)
    }))

  it.scopedLive("to the back-channel logout is answered with 400, and ends nothing", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({}, { store: yield* TokenStore.makeMemory })
      yield* login(app, browser)
      const honest = yield* provider.sign({
        iss: provider.issuer,
        aud: "web",
        iat: Math.floor(Date.now() / 1000),
        exp: Math.floor(Date.now() / 1000) + 120,
        jti: "j",
        sid: "sid-of-alice",
        events: { "http://schemas.openid.net/event/backchannel-logout": {} }
      }, { typ: "logout+jwt" })
      const claims = fc.dictionary(
        fc.constantFrom("iss", "aud", "iat", "exp", "jti", "sid", "sub", "nonce", "events"),
        fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>(provider.issuer, "web", 1e300, -1, ["web"]))
      )
      const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")
      const bodies = fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        queries,
        mutated(honest).filter((other) => meansAnother(honest)(other) && encodeURIComponent(other) === other)
          .map((other) => `logout_token=${other}`),
        fc.tuple(fc.jsonValue(), claims).map(([header, claims]) =>
          `logout_token=${encoded(header)}.${encoded(claims)}.AAAA`
        )
      )
      yield* checked(bodies, async (body) => {
        const headers = { "content-type": "application/x-www-form-urlencoded" }
        assert.strictEqual(await ask(app, { method: "POST", path: "/auth/backchannel-logout", headers, body }), 400)
      })
      yield* isSomebody(app, browser)
      isHealthy(app)
    }))

  it.scopedLive("to the front-channel logout and the login is answered", () =>
    Effect.gen(function*() {
      const { app } = yield* start({}, { store: yield* TokenStore.makeMemory, ownPages: true })
      const keys = fc.constantFrom("iss", "sid", "client", "returnTo", "x")
      const query = fc.array(fc.tuple(keys, escaped), { maxLength: 5 })
        .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"))
      const paths = fc.constantFrom("/auth/frontchannel-logout", "/auth/login", "/auth/logout", "/auth/me")
      yield* checked(fc.tuple(paths, query), async ([path, query]) => {
        assert.isTrue(isAnswered(await ask(app, { method: "GET", path: `${path}?${query}` })))
      })
      isHealthy(app)
    }))
})
