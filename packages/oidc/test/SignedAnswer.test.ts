import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { start as startApp } from "./support/app.ts"
import { answerOf, go, isRefused, isSomebody, post, start } from "./support/attack.ts"
import type { Provider } from "./support/provider.ts"

const seconds = () => Math.floor(Date.now() / 1000)

/** What the provider answered, as the claims of a JWT. */
const claimsOf = (answer: string, provider: Provider) => ({
  ...Object.fromEntries(new URL(answer).searchParams),
  iss: provider.issuer,
  aud: "web",
  exp: seconds() + 60
})

const world = (responseMode: string) =>
  Effect.gen(function*() {
    const { app, browser, provider } = yield* start({ responseMode })
    const answer = yield* answerOf(app, browser)
    const claims = claimsOf(answer, provider)
    const bring = (response: string) => go(browser, `${app.url}/auth/callback?response=${response}`)
    return { app, browser, provider, answer, claims, bring }
  })

describe("a signed answer to a login", () => {
  it.scopedLive("signs in at a real provider that gives it", () =>
    Effect.gen(function*() {
      const { url } = yield* startApp({
        client: { responseMode: "query.jwt" },
        registration: { authorization_signed_response_alg: "ES256" },
        server: { configuration: { features: { jwtResponseModes: { enabled: true } } } }
      })
      const browser = new UserAgent()
      const page = yield* Effect.promise(() => browser.signIn(`${url}/auth/login?returnTo=/auth/me`, "alice"))
      assert.deepInclude(JSON.parse(page.body), { signedIn: true, sub: "alice" })
      const answers = browser.visited.filter((visited) => visited.startsWith(`${url}/auth/callback`))
      assert.deepStrictEqual(answers.map((answer) => [...new URL(answer).searchParams.keys()]), [["response"]])
    }))

  it.scopedLive("is believed", () =>
    Effect.gen(function*() {
      const { app, bring, browser, claims, provider } = yield* world("query.jwt")
      yield* bring(yield* provider.sign(claims))
      yield* isSomebody(app, browser)
    }))

  it.scopedLive("may say no", () =>
    Effect.gen(function*() {
      const { app, bring, browser, claims, provider } = yield* world("query.jwt")
      const { code: _, ...rest } = claims as typeof claims & { readonly code: string }
      const page = yield* bring(yield* provider.sign({ ...rest, error: "access_denied" }))
      yield* isRefused(app, browser, page, "LoginRefused")
    }))

  const forged: ReadonlyArray<readonly [what: string, change: (claims: Record<string, unknown>) => object]> = [
    ["is of another server", (claims) => ({ ...claims, iss: "https://evil.example" })],
    ["is for another client", (claims) => ({ ...claims, aud: "other" })],
    ["has expired", (claims) => ({ ...claims, exp: seconds() - 120 })],
    ["never expires", ({ exp: _, ...claims }) => claims],
    ["is not valid yet", (claims) => ({ ...claims, nbf: seconds() + 3600 })],
    ["has a text for nbf", (claims) => ({ ...claims, nbf: "0" })],
    ["is from the future", (claims) => ({ ...claims, iat: seconds() + 3600 })]
  ]
  for (const [what, change] of forged) {
    it.scopedLive(`is refused if it ${what}`, () =>
      Effect.gen(function*() {
        const { app, bring, browser, claims, provider } = yield* world("query.jwt")
        const page = yield* bring(yield* provider.sign({ ...change(claims) }))
        yield* isRefused(app, browser, page, "LoginAnswerInvalid/signature")
      }))
  }

  it.scopedLive("is refused if its signature is wrong, or there is none", () =>
    Effect.gen(function*() {
      const unsigned = (text: string) => Buffer.from(text).toString("base64url")
      for (const kind of ["wrong", "none"]) {
        const { app, bring, browser, claims, provider } = yield* world("query.jwt")
        const jwt = yield* provider.sign(claims)
        const [header, payload] = jwt.split(".")
        const forged = kind === "wrong"
          ? `${header}.${payload}.${"A".repeat(86)}`
          : `${unsigned(JSON.stringify({ alg: "none" }))}.${payload}.`
        yield* isRefused(app, browser, yield* bring(forged), "LoginAnswerInvalid/signature")
      }
    }))

  it.scopedLive("is refused if it comes twice, or is nothing that can be read", () =>
    Effect.gen(function*() {
      const { app, bring, browser, claims, provider } = yield* world("query.jwt")
      const jwt = yield* provider.sign(claims)
      yield* isRefused(app, browser, yield* bring(`${jwt}&response=${jwt}`), "LoginAnswerInvalid/form")
      yield* isRefused(app, browser, yield* bring("nonsense"), "LoginAnswerInvalid/form")
      const long = yield* post(browser, `${app.url}/auth/callback`, { response: "a".repeat(40_000) })
      yield* isRefused(app, browser, long, "LoginAnswerInvalid/form")
    }))

  it.scopedLive("is not replaced by a plain one, nor does it replace one", () =>
    Effect.gen(function*() {
      const signed = yield* world("query.jwt")
      const plain = yield* go(signed.browser, signed.answer)
      yield* isRefused(signed.app, signed.browser, plain, "LoginAnswerInvalid/signature")
      const other = yield* world("query")
      const page = yield* other.bring(yield* other.provider.sign(other.claims))
      yield* isRefused(other.app, other.browser, page, "LoginAnswerInvalid/signature")
    }))
})

describe("authorization details of a login (RFC 9396)", () => {
  const details = [{ type: "payment", amount: 12 }]

  it.scopedLive("are sent as JSON, those of one login in place of the registration's", () =>
    Effect.gen(function*() {
      const { app, browser, provider } = yield* start({ authorizationDetails: details })
      yield* answerOf(app, browser)
      assert.deepStrictEqual(JSON.parse(provider.asked[0]?.parameters.get("authorization_details") ?? ""), details)
    }))
})
