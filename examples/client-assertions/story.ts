/** The server that knows public keys only, and what it is to see of its clients. */
import { type AccessToken, SigningKey } from "@effect-oauth/core"
import { NodeFileSystem } from "@effect/platform-node"
import { ConfigProvider, Context, Effect, Redacted } from "effect"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as Telling from "../servers/telling.ts"
import * as Platform from "./platform.ts"

/** What the program has of it. */
export class Story extends Context.Tag("examples/client-assertions/Story")<Story, {
  readonly step: <E, R>(title: string, get: Effect.Effect<AccessToken.AccessToken, E, R>) => Effect.Effect<void, E, R>
  /** The platform writes the identity of the second client anew. */
  readonly writeIdentity: Effect.Effect<void>
}>() {}

type Client = AuthorizationServer.Options["clients"][number]
type Request = AuthorizationServer.ServedRequest

const registered = (clientId: string, scope: string, key: SigningKey.SigningKey): Client => ({
  client_id: clientId,
  scope,
  token_endpoint_auth_method: "private_key_jwt",
  token_endpoint_auth_signing_alg: key.algorithm as NonNullable<Client["token_endpoint_auth_signing_alg"]>,
  jwks: SigningKey.publicJwks(key) as NonNullable<Client["jwks"]>
})

const tokenRequestsOf = (server: AuthorizationServer.AuthorizationServer): ReadonlyArray<Request> =>
  server.requests().filter(({ path }) => path === "/token")

const different = (requests: ReadonlyArray<Request>, kind: "assertion" | "proof"): ReadonlyArray<string> => [
  ...new Set(requests.flatMap(({ [kind]: seen }) => seen === undefined ? [] : [seen.id]))
]

/** By numbers in the order in which they were first seen: one that was sent twice would have the same number twice. */
const described = (request: Request, all: ReadonlyArray<Request>): string =>
  (["assertion", "proof"] as const).map((kind) => {
    const seen = request[kind]
    return seen === undefined
      ? `no ${kind}`
      : `${kind} ${different(all, kind).indexOf(seen.id) + 1} (${seen.algorithm})`
  }).join(", ")

const makeStory = (
  server: AuthorizationServer.AuthorizationServer,
  writeIdentity: Effect.Effect<void>,
  { line, step }: Telling.Telling
): Story["Type"] => ({
  writeIdentity,
  step: (title, get) =>
    Effect.gen(function*() {
      yield* step(title)
      const before = tokenRequestsOf(server).length
      const { keyThumbprint, type } = yield* get
      const all = tokenRequestsOf(server)
      for (const request of all.slice(before)) {
        const outcome = request.error === undefined ? "" : ` ${request.error}`
        yield* line(`POST /token ${request.status}${outcome}`, described(request, all))
      }
      yield* line("the token", keyThumbprint === undefined ? type : `${type}, bound to the key ${keyThumbprint}`)
    })
})

const endOf = (requests: ReadonlyArray<Request>, { end, heading, line }: Telling.Telling) =>
  Effect.gen(function*() {
    const assertions = different(requests, "assertion").length
    const proofs = different(requests, "proof").length
    const proven = requests.filter(({ proof }) => proof !== undefined).length
    const secrets = requests.filter(({ fields }) => fields.includes("client_secret")).length
    yield* heading("Totals")
    yield* line("requests for tokens", requests.length)
    yield* line("different assertions", `${assertions} in ${requests.length} requests`)
    yield* line("different proofs", `${proofs} in ${proven} requests`)
    yield* line("secrets sent", secrets)
    const [asked, first, renewed, ...others] = requests
    yield* end([
      [asked?.error === "use_dpop_nonce" && first?.status === 200, "one challenge, then the first token"],
      [renewed?.status === 200 && renewed.clientId === "invoice.client", "a token renewed without a challenge"],
      [
        others.length === 2 && others.every(({ clientId, status }) => clientId === "report.client" && status === 200),
        "two tokens for what the platform wrote"
      ],
      [assertions === requests.length, "an assertion of its own in every request"],
      [proven === 3 && proofs === 3, "a proof of its own in every request of the first client"],
      [secrets === 0, "no secret in any request"]
    ])
  })

/** Runs the program beside the server; fails if something did not happen as it should. */
export const run = <E>(program: Effect.Effect<void, E, Story>) =>
  Effect.gen(function*() {
    const telling = yield* Telling.make
    const { line, step, title } = telling
    yield* title("Two clients get tokens, and neither shares a secret with the server. This takes a second.")

    const key = yield* SigningKey.generate("Ed25519", { extractable: true })
    const platform = yield* Platform.start
    const server = yield* AuthorizationServer.start({
      clients: [registered("invoice.client", "invoices", key), registered("report.client", "customers", platform.key)],
      dpop: "nonces"
    })
    const writeIdentity = platform.writeIdentity("report.client", server.issuer)
    yield* writeIdentity

    yield* step("What the server knows of its clients: public keys.")
    yield* line("invoice.client", `its own key, ${key.algorithm}, ${key.thumbprint}`)
    yield* line("report.client", `its platform's key, ${platform.key.algorithm}, ${platform.key.thumbprint}`)

    const settings = ConfigProvider.fromMap(
      new Map([
        ["ISSUER", server.issuer],
        ["CLIENT_KEY", JSON.stringify(Redacted.value(yield* SigningKey.exportJwk(key)))],
        ["IDENTITY_FILE", platform.file]
      ])
    )
    yield* program.pipe(
      Effect.provideService(Story, makeStory(server, writeIdentity, telling)),
      Effect.withConfigProvider(settings)
    )
    yield* endOf(tokenRequestsOf(server), telling)
  }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer), Telling.reported)
