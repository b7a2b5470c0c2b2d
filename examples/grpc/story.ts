/** The servers that the worker has to do with, and what is to be seen of it. */
import { GrpcTokenRefused } from "@effect-oauth/platform-node/GrpcCredentials"
import { type ServiceError, status } from "@grpc/grpc-js"
import { type Chunk, ConfigProvider, Effect, Option } from "effect"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as Certificates from "../servers/certificates.ts"
import * as Telling from "../servers/telling.ts"
import type { Invoice } from "./invoices.ts"
import * as Server from "./server.ts"

/** What the worker can do. */
export interface Worker {
  readonly get: Effect.Effect<Invoice | undefined, ServiceError>
  readonly list: Effect.Effect<Chunk.Chunk<Invoice>, ServiceError>
  readonly getInsecurely: Effect.Effect<unknown, ServiceError>
  readonly insecureChannel: Effect.Effect<unknown, GrpcTokenRefused>
}

const clientId = "invoice.client"
const secret = "a-secret-of-the-example"

const setUp = Effect.gen(function*() {
  const authority = yield* Certificates.makeAuthority()
  const issuer = yield* AuthorizationServer.start({
    clients: [{
      client_id: clientId,
      client_secret: secret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      scope: "invoices"
    }]
  })
  const api = yield* Server.start(issuer, yield* authority.server())
  const insecure = yield* Server.start(issuer)
  return { api, authority, insecure, issuer, telling: yield* Telling.make }
})

type Scene = Effect.Effect.Success<typeof setUp>

const settings = ({ api, authority, insecure, issuer }: Scene) =>
  ConfigProvider.fromMap(
    new Map([
      ["ISSUER", issuer.issuer],
      ["CLIENT_ID", clientId],
      ["CLIENT_SECRET", secret],
      ["API", `localhost:${api.port}`],
      ["API_CA", authority.certificate],
      ["INSECURE_API", `localhost:${insecure.port}`]
    ])
  )

const answersOf = ({ api }: Scene, after = 0): string =>
  api.answered().slice(after).map(({ method, status }) => `${method} ${status}`).join(", ")

const calls = (scene: Scene, { get, list }: Worker) =>
  Effect.gen(function*() {
    const { api, telling: { line } } = scene
    const before = api.answered().length
    const invoice = yield* get
    const invoices = yield* list
    yield* line("invoice 2024-001", `amount ${invoice?.amount}`)
    yield* line("stream of invoices", invoices.length)
    yield* line("what the API answered", answersOf(scene, before))
  })

const revoked = (scene: Scene, worker: Worker) =>
  Effect.gen(function*() {
    const { api, issuer, telling: { line, step } } = scene
    yield* step("The token is revoked. A unary call heals, and the next one has the new token.")
    yield* issuer.revokeAllTokens(clientId)
    yield* calls(scene, worker)

    yield* step("It is revoked again. A stream heals too, since nothing of it has come.")
    yield* issuer.revokeAllTokens(clientId)
    const before = api.answered().length
    yield* line("stream of invoices", (yield* worker.list).length)
    yield* line("what the API answered", answersOf(scene, before))
  })

const insecurely = (scene: Scene, worker: Worker) =>
  Effect.gen(function*() {
    const { insecure, telling: { line, step } } = scene
    yield* step("A channel without TLS gets no token, and nothing is sent on it.")
    const refused = Option.getOrUndefined(yield* Effect.option(Effect.flip(worker.insecureChannel)))
    yield* line("credentials for it", refused?._tag ?? "were made")
    const error = Option.getOrUndefined(yield* Effect.option(Effect.flip(worker.getInsecurely)))
    yield* line("a call on it", error === undefined ? "was answered" : status[error.code])
    yield* line("calls that reached the API", insecure.answered().length)
    return refused?.reason === "InsecureChannel" && error?.cause instanceof GrpcTokenRefused
  })

/** Runs the story of a worker; fails if something did not happen as it should. */
export const run = <E>(
  working: (told: (worker: Worker) => Effect.Effect<void, ServiceError | Telling.NotAsTold>) => Effect.Effect<void, E>
) =>
  Effect.gen(function*() {
    const scene = yield* setUp
    const { insecure, issuer, telling: { end, heading, line, step, title } } = scene
    const told = (worker: Worker) =>
      Effect.gen(function*() {
        yield* title("A worker calls a gRPC API. This takes a second.")
        yield* step("A unary call and a stream, with one token.")
        yield* calls(scene, worker)
        yield* revoked(scene, worker)
        const isRefused = yield* insecurely(scene, worker)

        yield* heading("Totals")
        yield* line("requests for tokens", issuer.tokenRequests())
        yield* end([
          [
            answersOf(scene) === "Get OK, List OK, Get UNAUTHENTICATED, Get OK, List OK, List UNAUTHENTICATED, List OK",
            "each revoked token costs one refusal, and no call fails"
          ],
          [issuer.tokenRequests() === 3, "three tokens for three lives"],
          [isRefused && insecure.answered().length === 0, "nothing goes over a channel without TLS"]
        ])
      })
    yield* Effect.withConfigProvider(working(told), settings(scene))
  }).pipe(Effect.scoped, Telling.reported)
