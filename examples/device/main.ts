/**
 * A command-line program whose user signs in on another device: it shows an address and a code, waits, and keeps what it got in
 * a file, sealed. At its next start it is signed in still. The rest of this folder runs the servers, is the user and tells what
 * happens: `npm run example device`.
 */
import { DeviceFlow, TokenEncryption, TokenStore } from "@effect-oauth/core"
import {
  CurrentUser,
  Oidc,
  OidcClients,
  SessionStore,
  StoredSession,
  UserAccessTokenHttpClient,
  UserTokenManager
} from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { Command } from "@effect/cli"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { Config, Console, Data, Effect, Layer, Option } from "effect"
import * as KeptFiles from "./keptFiles.ts"
import { run } from "./story.ts"

const Clients = OidcClients.layerConfig({
  cli: {
    issuer: Config.string("ISSUER"),
    clientId: Config.string("CLIENT_ID"),
    scope: "openid offline_access invoices"
  }
})

class NotSignedIn extends Data.TaggedError("NotSignedIn")<{ readonly message: string }> {}

/** The name that the session is kept under; a program of several accounts has one for each. */
const account = "me"

const session = Effect.flatMap(
  StoredSession.open(account),
  Option.match({
    onNone: () => new NotSignedIn({ message: "Nobody is signed in: begin with the command login." }),
    onSome: Effect.succeed
  })
)

const login = Command.make("login", {}, () =>
  Effect.gen(function*() {
    const client = yield* Effect.flatMap(OidcClients.OidcClients, (clients) => clients.get())
    const { tokens, userCode, verificationUri } = yield* DeviceFlow.start(client.login, {
      scope: client.scope,
      parameters: { prompt: "consent" } // the server gives a refresh token for no less
    })
    yield* Console.log(`Open ${verificationUri} and enter ${userCode}`)
    const { known } = yield* StoredSession.keep(account, yield* tokens)
    yield* Console.log(`You are signed in, ${known?.signIns[client.name]?.principal.sub}.`)
  }))

const invoices = Command.make("invoices", {}, () =>
  Effect.gen(function*() {
    const api = (yield* HttpClient.HttpClient).pipe(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(yield* Config.string("API_URL"))),
      yield* UserAccessTokenHttpClient.make(),
      HttpClient.filterStatusOk
    )
    const list = Effect.flatMap(api.get("/invoices"), (response) => response.json)
    yield* Console.log(
      JSON.stringify(yield* Effect.provideService(list, CurrentUser.CurrentUser, CurrentUser.ofSession(yield* session)))
    )
  }))

const logout = Command.make("logout", {}, () =>
  Effect.gen(function*() {
    const current = yield* session
    yield* Effect.ignore(UserTokenManager.revoke({ session: current, token: "both" }))
    yield* current.end("SignedOut")
    yield* Console.log("You are signed out.")
  }))

const tool = Command.run(
  Command.make("tool").pipe(Command.withSubcommands([login, invoices, logout])),
  { name: "tool", version: "1.0.0" }
)

/** Sealed by the key in TOKEN_ENCRYPTION_KEYS: a real program has it from the keychain of its user. */
const Kept = SessionStore.layer.pipe(
  Layer.provideMerge(TokenStore.layerKeyValueStore),
  Layer.provideMerge(TokenEncryption.layerConfig()),
  Layer.provide(Layer.unwrapEffect(Effect.map(Config.string("TOOL_FOLDER"), KeptFiles.layer)))
)

const Services = Oidc.layerStored().pipe(
  Layer.provideMerge(Kept),
  Layer.provideMerge(NodeOAuth.layer),
  Layer.provideMerge(Clients),
  Layer.provideMerge(NodeContext.layer)
)

/** One start of the program. */
const start = (...command: ReadonlyArray<string>) => Effect.provide(tool(["node", "tool", ...command]), Services)

run(start).pipe(NodeRuntime.runMain({ disableErrorReporting: true, disablePrettyLogger: true }))
