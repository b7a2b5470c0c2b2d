/**
 * Two clients without a secret. One signs for itself with its private key, and its tokens are bound to a second key; who the
 * other is, its platform says, in a file that it writes anew from time to time. The rest of this folder runs the server and
 * the platform, and tells what happens: `npm run example client-assertions`.
 */
import { ClientAssertions, ClientCredentialsTokenManager, TokenClients } from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { FileSystem } from "@effect/platform"
import { NodeFileSystem, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Option, Redacted } from "effect"
import { run, Story } from "./story.ts"

const Clients = TokenClients.layerConfig({
  "invoice.client": {
    issuer: Config.string("ISSUER"),
    clientId: "invoice.client",
    privateKey: Config.redacted("CLIENT_KEY"), // the JSON text of a private JWK
    scope: "invoices",
    dpop: true
  },
  "report.client": {
    issuer: Config.string("ISSUER"),
    clientId: "report.client",
    scope: "customers"
  }
})

/** Read for every request, so a file that was written anew needs no restart. */
const Identity = Layer.unwrapEffect(
  Effect.map(Config.string("IDENTITY_FILE"), (file) =>
    ClientAssertions.layer((client) =>
      Effect.gen(function*() {
        if (client !== "report.client") return Option.none()
        const files = yield* FileSystem.FileSystem
        return Option.some({ value: Redacted.make((yield* files.readFileString(file)).trim()) })
      })
    ))
)

const program = Effect.gen(function*() {
  const { get } = yield* ClientCredentialsTokenManager.ClientCredentialsTokenManager
  // tells what the server saw meanwhile
  const { writeIdentity, step } = yield* Story
  yield* step("The first token. The server wants its nonce in the proof: a second request.", get("invoice.client"))
  yield* step("The token is renewed. The nonce is known now.", get("invoice.client", { forceRenewal: true }))
  yield* step("The other client shows what its platform wrote.", get("report.client"))
  yield* writeIdentity
  yield* step("The platform has written it anew.", get("report.client", { forceRenewal: true }))
})

program.pipe(
  Effect.provide(NodeOAuth.layer.pipe(
    Layer.provide(Identity),
    Layer.provide(NodeFileSystem.layer),
    Layer.provideMerge(Clients)
  )),
  run,
  NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true })
)
