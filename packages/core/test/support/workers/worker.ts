/** What runs inside workerd: one runtime for all requests, each of which calls an API with a token. */
import { AccessTokenHttpClient, OAuth, SingleFlight, TokenClients } from "@effect-oauth/core"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import { waitUntil } from "cloudflare:workers"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"

interface Env {
  readonly SERVER: string
  /** Whether what goes on in the background is told to the runtime. */
  readonly WAIT_UNTIL?: string
}

const layer = ({ SERVER: server, WAIT_UNTIL }: Env) =>
  OAuth.layer.pipe(
    Layer.provide(WAIT_UNTIL === undefined ? Layer.empty : Layer.succeed(SingleFlight.WaitUntil, waitUntil)),
    Layer.provideMerge(TokenClients.layer({
      worker: {
        issuer: server,
        clientId: "worker",
        clientSecret: Redacted.make("secret"),
        acquireTimeout: "3 seconds"
      }
    })),
    Layer.provideMerge(FetchHttpClient.layer)
  )

let runtime: ManagedRuntime.ManagedRuntime<HttpClient.HttpClient | OAuth.Services | TokenClients.TokenClients, unknown>

/** What the API says of the token that it was called with. */
const call = (server: string) =>
  Effect.gen(function*() {
    const http = (yield* HttpClient.HttpClient).pipe(yield* AccessTokenHttpClient.clientCredentials())
    const response = yield* http.get(`${server}/api`)
    return yield* response.text
  }).pipe(Effect.catchAll((error) => Effect.succeed(`${error._tag}: ${error.message}`)))

const answer = async (env: Env): Promise<Response> => {
  runtime ??= ManagedRuntime.make(layer(env))
  return new Response(await runtime.runPromise(call(env.SERVER)))
}

/** As a time-out of its own does that does not stop the program behind it. */
const impatiently = async (env: Env): Promise<Response> => {
  const late = new Promise<Response>((resolve) => setTimeout(() => resolve(new Response("too late")), 1000))
  return Promise.race([answer(env), late])
}

export default {
  fetch: ({ url }: Request, env: Env): Promise<Response> =>
    new URL(url).pathname === "/impatient" ? impatiently(env) : answer(env)
}
