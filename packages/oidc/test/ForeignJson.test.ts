/** JSON of a provider that no reader is made for: levels without end, members twice, bytes that are no text. */
import { TokenStore } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as jose from "jose"
import { UserAgent } from "../../../examples/servers/userAgent.ts"
import { everybody, isRefused, isSomebody, login, start } from "./support/attack.ts"
import type * as Provider from "./support/provider.ts"

const nested = (levels: number): string => `${"[".repeat(levels)}${"]".repeat(levels)}`

type Write = (honest: Provider.Json) => string | Uint8Array

/** The honest object with more in its text. */
const withMember = (member: string): Write => (honest) => `${JSON.stringify(honest).slice(0, -1)},${member}}`

const cases: ReadonlyArray<readonly [what: string, write: Write]> = [
  ["5,000 levels", withMember(`"deep":${nested(5000)}`)],
  ["100,000 levels", withMember(`"deep":${nested(100_000)}`)],
  ["a member twice", withMember(`"sub":"mallory","sub":"alice"`)],
  ["bytes that are not UTF-8", (honest) => {
    const bytes = new TextEncoder().encode(withMember(`"name":"?"`)(honest) as string)
    bytes[bytes.lastIndexOf(0x3f)] = 0xff
    return bytes
  }]
]

for (const [what, write] of cases) {
  describe(what, () => {
    it.scopedLive("in userinfo: nobody is signed in, with a type", () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ userInfo: true })
        provider.bend.userInfo = (honest) => ({ body: write(honest) })
        yield* isRefused(app, browser, yield* login(app, browser), "UserInfoInvalid")
      }))

    it.scopedLive("in signed userinfo: the same", () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start({ userInfo: true })
        provider.bend.userInfo = async (honest) => ({
          headers: { "content-type": "application/jwt" },
          body: await provider.signText(write({ iss: provider.issuer, aud: "web", ...honest }))
        })
        yield* isRefused(app, browser, yield* login(app, browser), "UserInfoInvalid")
      }))

    it.scopedLive("in the ID token of a login with a session in cookies: the same", () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start()
        provider.bend.idToken = (_, claims) => provider.signText(write(claims))
        yield* isRefused(app, browser, yield* login(app, browser), "IdTokenInvalid/form")
      }))

    it.scopedLive("in the token answer: the same", () =>
      Effect.gen(function*() {
        const { app, browser, provider } = yield* start()
        provider.bend.token = ({ body }) => ({ body: write(body as Provider.Json) })
        yield* isRefused(app, browser, yield* login(app, browser), "TokenResponseInvalid")
        assert.propertyVal(app.errors[0], "retryable", false)
      }))
  })
}

for (const where of ["cookies", "a store"]) {
  it.scopedLive(`as many levels as are read are kept in a session, too (${where})`, () =>
    Effect.gen(function*() {
      const store = where === "cookies" ? undefined : yield* TokenStore.makeMemory
      const { app, browser, provider } = yield* start({}, { store })
      provider.bend.idToken = (_, claims) => provider.signText(withMember(`"deep":${nested(63)}`)(claims))
      yield* login(app, browser)
      yield* isSomebody(app, browser)
      assert.strictEqual(JSON.stringify((yield* everybody(app, browser)).web?.claims.deep), nested(63))
      provider.bend.idToken = (_, claims) => provider.signText(withMember(`"deep":${nested(64)}`)(claims))
      const other = new UserAgent()
      yield* isRefused(app, other, yield* login(app, other), "IdTokenInvalid/form")
    }))
}

it("jose reads what the tests write", () => {
  const [, write] = cases[0]!
  assert.property(jose.decodeJwt(`e30.${jose.base64url.encode(write({ a: 1 }))}.AA`), "deep")
})
