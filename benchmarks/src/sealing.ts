/**
 * What sealing an entry, and opening it, adds to its cipher.
 */
import { Signer } from "@effect-oauth/core/Signer"
import * as TokenEncryption from "@effect-oauth/core/TokenEncryption"
import * as NodeSigner from "@effect-oauth/platform-node/NodeSigner"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as jose from "jose"
import * as crypto from "node:crypto"
import { measure, repeat, repeatPromise } from "./measure.ts"
import * as Ours from "./ours.ts"
import { ratioRow, type Row, times } from "./table.ts"

const key = crypto.randomBytes(32)
const secret = crypto.createSecretKey(key)

/** As long as what is stored of a token. */
const entry = {
  value: Ours.opaque(1),
  type: "Bearer",
  clientName: "client.0",
  scope: "invoice customers",
  expiresAt: 1
}

/** JSON, cipher, decipher, JSON: whoever stores it sealed does no less. */
const raw = () => {
  const iv = crypto.randomBytes(12)
  const cipher = crypto.createCipheriv("aes-256-gcm", secret, iv)
  const sealed = Buffer.concat([cipher.update(JSON.stringify(entry), "utf8"), cipher.final()])
  const decipher = crypto.createDecipheriv("aes-256-gcm", secret, iv).setAuthTag(cipher.getAuthTag())
  return JSON.parse(decipher.update(sealed, undefined, "utf8") + decipher.final("utf8"))
}

const header = { alg: "dir", enc: "A256GCM" } as const

const byJose = async () => {
  const text = new TextEncoder().encode(JSON.stringify(entry))
  const sealed = await new jose.CompactEncrypt(text).setProtectedHeader(header).encrypt(key)
  const { plaintext } = await jose.compactDecrypt(sealed, key)
  return JSON.parse(new TextDecoder().decode(plaintext))
}

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const { open, seal } = yield* TokenEncryption.make([{ id: "2026", key: Redacted.make(key.toString("base64url")) }])
  const { sealing } = yield* Signer
  const one = sealing(new Uint8Array(key))
  const result = yield* measure([
    { name: "raw", batch: repeat(() => Effect.sync(raw)) },
    {
      name: "sealing",
      floor: "raw",
      batch: repeat(() =>
        Effect.map(
          Effect.flatMap(one.seal({}, JSON.stringify(entry)), one.open),
          (text) => text._tag === "Some" && JSON.parse(text.value)
        )
      )
    },
    {
      name: "entry",
      floor: "raw",
      batch: repeat(() =>
        Effect.map(
          Effect.flatMap(seal("client.0:hash", JSON.stringify(entry)), (sealed) => open("client.0:hash", sealed)),
          (text) => text._tag === "Some" && JSON.parse(text.value)
        )
      )
    },
    { name: "jose", floor: "raw", batch: repeatPromise(byJose) }
  ])
  return [
    ratioRow(
      "seal and open, Signer.sealing of NodeSigner; floor: AES-GCM of node:crypto and JSON",
      result("sealing"),
      result("raw"),
      1.5,
      `jose's JWE ${times(result("jose").ratio)}; an entry of TokenEncryption, bound to its name, ${
        times(result("entry").ratio)
      }`
    )
  ]
}).pipe(Effect.provide(NodeSigner.layer), Effect.orDie)
