/**
 * Secrets that a server echoes in its error answers, in every encoding and every field: none of them is shown.
 */
import { TokenClient, TokenEndpoint, TokenGrant } from "@effect-oauth/core"
import type { OAuthError } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { inspect } from "node:util"
import { recordingTracer } from "./support/recordingTracer.ts"
import { json, type Seen, services, stub } from "./support/StubServer.ts"

const clientSecret = `s3cr3t/of+"the"&<client> 'ä\\ID'-_=`

const base64 = (text: string): string => Buffer.from(text, "utf8").toString("base64")

/** How a server may write what it was sent, and how to read it again. */
const encodings: Readonly<Record<string, (text: string) => string>> = {
  plain: (text) => text,
  "percent, upper case": (text) => encodeURIComponent(text),
  "percent, lower case": (text) => encodeURIComponent(text).replace(/%../g, (one) => one.toLowerCase()),
  "percent, every byte": (text) => Buffer.from(text).toString("hex").replace(/../g, "%$&"),
  "percent twice": (text) => encodeURIComponent(encodeURIComponent(text)),
  form: (text) => new URLSearchParams({ "": text }).toString().slice(1),
  "named entities": (text) =>
    text.replace(
      /[&<>"']/g,
      (one) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;", "'": "&apos;" })[one]!
    ),
  "numeric entities": (text) => text.replace(/[^a-z0-9]/gi, (one) => `&#x${one.charCodeAt(0).toString(16)};`),
  "decimal entities": (text) => text.replace(/[^a-z0-9]/gi, (one) => `&#${one.charCodeAt(0)};`),
  "JSON escapes": (text) => JSON.stringify(text).slice(1, -1).replaceAll("/", "\\/"),
  "JSON escapes by code": (text) =>
    text.replace(/./g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`),
  base64,
  "base64 behind one byte": (text) => base64(`.${text}.`),
  "base64 behind two bytes": (text) => base64(`..${text}..`),
  "base64, percent": (text) => encodeURIComponent(base64(text)),
  "base64 in lines": (text) => base64(text).replace(/.{8}/g, "$&\r\n"),
  base64url: (text) => Buffer.from(text).toString("base64url"),
  hex: (text) => Buffer.from(text).toString("hex"),
  "HEX with colons": (text) => Buffer.from(text).toString("hex").toUpperCase().replace(/..(?!$)/g, "$&:")
}

const client = TokenClient.make("worker", {
  tokenEndpoint: "https://as.test/token",
  revocationEndpoint: "https://as.test/revoke",
  introspectionEndpoint: "https://as.test/introspect",
  pushedAuthorizationRequestEndpoint: "https://as.test/par",
  deviceAuthorizationEndpoint: "https://as.test/device",
  clientId: "worker",
  clientSecret: Redacted.make(clientSecret)
})

const token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIHVzZXIgb2Ygb3VycyJ9.c2lnbmF0dXJlIG9mIHRoZSB0b2tlbg"

const questions: Readonly<
  Record<
    string,
    (
      client: TokenClient.TokenClient
    ) => Effect.Effect<unknown, OAuthError.AccessTokenError, TokenEndpoint.TokenEndpoint>
  >
> = {
  "a token request": (client) =>
    Effect.flatMap(
      TokenEndpoint.TokenEndpoint,
      (endpoint) => endpoint.request(client, TokenGrant.refreshToken(Redacted.make(token)))
    ),
  "a device authorization": (client) =>
    Effect.flatMap(
      TokenEndpoint.TokenEndpoint,
      (endpoint) => endpoint.authorizeDevice(client, { parameters: { hint: Redacted.make(token) } })
    ),
  "an introspection": (client) =>
    Effect.flatMap(TokenEndpoint.TokenEndpoint, (endpoint) => endpoint.introspect(client, Redacted.make(token))),
  "a revocation": (client) =>
    Effect.flatMap(TokenEndpoint.TokenEndpoint, (endpoint) => endpoint.revoke(client, Redacted.make(token))),
  "a pushed authorization request": (client) =>
    Effect.flatMap(
      TokenEndpoint.TokenEndpoint,
      (endpoint) => endpoint.pushAuthorization(client, { request: token, scope: "openid" })
    )
}

const fields = ["error", "error_description", "error_uri"]

const printed = (value: unknown): string =>
  value instanceof Error
    ? `${inspect(value)}\n${JSON.stringify(value)}\n${value.message}`
    : inspect(value, { depth: 20 })

const basicOf = ({ headers }: Seen): string => headers.authorization!.slice("Basic ".length)

/** Runs of a secret that are long enough to tell that it is shown. */
const pieces = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (let start = 0; start + 12 <= text.length; start++) found.push(text.slice(start, start + 12))
  return found
}

describe("what a server echoes of a secret is not shown", () => {
  for (const [question, ask] of Object.entries(questions)) {
    for (const [encoding, encode] of Object.entries(encodings)) {
      it.effect(`${question}, ${encoding}`, () =>
        Effect.gen(function*() {
          for (const field of fields) {
            const written: Array<string> = []
            const server = stub((seen) => {
              const secrets = [clientSecret, token, basicOf(seen), seen.headers.authorization!].map(encode)
              for (const one of secrets) written.push(one)
              const body = { error: "invalid_client", [field]: `no: ${secrets.join(" | ")} |` }
              return json(body, { status: 400 })
            })
            const tracer = recordingTracer()
            const error = yield* client.pipe(
              Effect.flatMap(ask),
              Effect.flip,
              Effect.provide(services(server).pipe(Layer.provideMerge(tracer.layer)))
            )
            const shown = printed(tracer.ended) + printed(error)
            assert.isAbove(written.length, 0)
            if (field !== "error_uri") assert.include(shown, "<redacted>")
            for (const piece of written.flatMap(pieces)) {
              assert.isFalse(shown.includes(piece), `${field} shows ${piece} in ${shown}`)
            }
          }
        }))
    }
  }
})
