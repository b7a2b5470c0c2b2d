/**
 * What a session in a cookie costs a request: opening it, and sealing it again where it has changed.
 */
import { AccessToken } from "@effect-oauth/core/AccessToken"
import { TokenType } from "@effect-oauth/core/OAuthValues"
import * as TokenEncryption from "@effect-oauth/core/TokenEncryption"
import { Principal } from "@effect-oauth/oidc/Principal"
import { SessionContent, SignIn } from "@effect-oauth/oidc/Session"
import { UserTokens } from "@effect-oauth/oidc/UserTokens"
import * as NodeSigner from "@effect-oauth/platform-node/NodeSigner"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as crypto from "node:crypto"
import { measure, repeat } from "./measure.ts"
import { ratioRow, type Row } from "./table.ts"

const key = crypto.randomBytes(32)
const secret = crypto.createSecretKey(key)

const principal = new Principal({
  clientName: "web",
  issuer: "https://login.example.com",
  sub: "alice",
  sid: "1",
  name: "Alice",
  roles: ["admin"],
  claims: { sub: "alice", name: "Alice", email: "alice@example.com", acr: "x", amr: ["pwd"], auth_time: 1 }
})

const tokens = new UserTokens({
  accessTokens: {
    "": new AccessToken({
      value: Redacted.make("a".repeat(800)),
      type: TokenType.make("Bearer"),
      clientName: "web",
      obtainedAt: DateTime.unsafeMake(0),
      expiresAt: DateTime.unsafeMake(1)
    })
  },
  refreshToken: Redacted.make("r".repeat(43)),
  idToken: Redacted.make("i".repeat(800))
})

/** With tokens that are JWTs. */
const content = new SessionContent({
  signIns: { web: new SignIn({ principal, tokens }) },
  primary: "web",
  startedAt: 1,
  seenAt: 1
})

const Text = Schema.parseJson(SessionContent)
const encode = Schema.encode(Text)
const decode = Schema.decode(Text)
const plain: unknown = JSON.parse(Schema.encodeSync(Text)(content))

/** JSON, cipher, decipher, JSON. */
const raw = () => {
  const iv = crypto.randomBytes(12)
  const cipher = crypto.createCipheriv("aes-256-gcm", secret, iv)
  const sealed = Buffer.concat([cipher.update(JSON.stringify(plain), "utf8"), cipher.final()])
  const decipher = crypto.createDecipheriv("aes-256-gcm", secret, iv).setAuthTag(cipher.getAuthTag())
  return JSON.parse(decipher.update(sealed, undefined, "utf8") + decipher.final("utf8"))
}

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const { open, seal } = yield* TokenEncryption.make([{ id: "2026", key: Redacted.make(key.toString("base64url")) }])
  const result = yield* measure([
    { name: "raw", batch: repeat(() => Effect.sync(raw)) },
    {
      name: "session",
      floor: "raw",
      batch: repeat(() =>
        encode(content).pipe(
          Effect.flatMap((text) => seal("session", text)),
          Effect.flatMap((sealed) => open("session", sealed)),
          Effect.flatMap((text) => text._tag === "Some" ? decode(text.value) : Effect.dieMessage("it does not open")),
          Effect.orDie
        )
      )
    }
  ])
  return [
    ratioRow(
      "a session of 2 KB in a cookie, sealed and opened; floor: AES-GCM of node:crypto and JSON",
      result("session"),
      result("raw"),
      1.5,
      ""
    )
  ]
}).pipe(Effect.provide(NodeSigner.layer), Effect.orDie)
