/** What a web app under test serves over sockets, and who connects to it. */
import { CurrentUser, OidcConnection, OidcError, UserTokenManager } from "@effect-oauth/oidc"
import { type Headers, HttpLayerRouter, HttpServerRequest, HttpServerResponse, Socket } from "@effect/platform"
import { Rpc, RpcClient, RpcGroup, RpcMiddleware, RpcSchema, RpcSerialization, RpcServer } from "@effect/rpc"
import { Effect, Fiber, Layer, Mailbox, Option, Redacted, Schema, Stream } from "effect"
import { randomBytes } from "node:crypto"
import http from "node:http"
import type { UserAgent } from "../../../../examples/servers/userAgent.ts"
import * as UserAgentSockets from "../../../../examples/servers/userAgentSockets.ts"

const me = Effect.map(CurrentUser.principal, (principal) => Option.getOrUndefined(principal)?.sub ?? "nobody")

const tokenOf = (parameters?: UserTokenManager.UserTokenRequestParameters) =>
  UserTokenManager.get(parameters).pipe(
    Effect.map(({ accessToken }) => Redacted.value(accessToken.value)),
    Effect.catchAll((error) => Effect.succeed(error._tag))
  )

const answers: Readonly<
  Record<string, Effect.Effect<string, never, CurrentUser.CurrentUser | UserTokenManager.UserTokenManager>>
> = {
  me,
  token: tokenOf(),
  renew: tokenOf({ forceRenewal: true }),
  "with its own session": Effect.flatMap(CurrentUser.CurrentUser, ({ session }) => tokenOf({ session }))
}

const nothing = Effect.succeed("nothing")

/** Closes with 4001 and the reason when the session ends. */
const live = Effect.gen(function*() {
  const socket = yield* HttpServerRequest.upgrade
  const write = yield* socket.writer
  const answering = socket.runRaw((text) => Effect.flatMap(answers[String(text)] ?? nothing, write))
  const { principal } = yield* CurrentUser.CurrentUser
  const untilItEnds = Option.isNone(principal)
    ? Effect.never
    : Effect.catchAll(
      OidcConnection.whileSignedIn(Effect.never),
      ({ reason }) => write(new Socket.CloseEvent(4001, reason))
    )
  yield* Effect.raceFirst(answering, untilItEnds)
}).pipe(Effect.ignore, Effect.as(HttpServerResponse.empty()))

class User extends RpcMiddleware.Tag<User>()("User", {
  provides: CurrentUser.CurrentUser,
  failure: OidcError.NotSignedIn
}) {}

export class Rpcs extends RpcGroup.make(
  Rpc.make("me", { success: Schema.String }),
  Rpc.make("untilItEnds", { success: RpcSchema.Stream({ success: Schema.String, failure: OidcError.SessionEnded }) })
).middleware(User) {}

const handlers = Rpcs.toLayer({
  me: () => me,
  untilItEnds: () =>
    Stream.concat(Stream.fromEffect(me), Stream.never).pipe(
      Stream.interruptWhen(OidcConnection.whileSignedIn(Effect.never))
    )
})

const user = Layer.effect(
  User,
  Effect.map(OidcConnection.OidcConnections, ({ userOf }) => ({ headers }) => userOf(headers))
)

/** Here as a WebSocket that opens for users, at `/rpc`; at `/plain`, by POST, with nothing before it. */
const rpc = Layer.merge(
  RpcServer.layer(Rpcs).pipe(
    Layer.provide(RpcServer.layerProtocolWebsocketRouter({ path: "/rpc" })),
    Layer.provide(OidcConnection.layerMiddleware)
  ),
  RpcServer.layer(Rpcs).pipe(Layer.provide(Layer.fresh(RpcServer.layerProtocolHttpRouter({ path: "/plain" }))))
).pipe(Layer.provide([handlers, user, RpcSerialization.layerJson]))

/** `/live`, `/rpc` and `/plain`; `onOpen` sees the headers that connections at `/live` run with. */
export const routes = (onOpen: (headers: Headers.Headers) => void = () => {}) =>
  Layer.merge(
    rpc,
    HttpLayerRouter.use((router) =>
      Effect.gen(function*() {
        const context = yield* Effect.context<UserTokenManager.UserTokenManager>()
        const seen = Effect.tap(HttpServerRequest.HttpServerRequest, (request) => {
          onOpen(request.headers)
          return Effect.logDebug("a connection", request)
        })
        yield* router.add("GET", "/live", Effect.provide(Effect.zipRight(seen, live), context))
      })
    ).pipe(Layer.provide(OidcConnection.layerMiddleware))
  )

export interface Connection {
  /** Sends the word, and gives the answer. */
  readonly ask: (word: string) => Effect.Effect<string, unknown>
  /** The server's code and its reason. */
  readonly closed: Effect.Effect<string>
  readonly close: Effect.Effect<void, unknown>
}

const socketOf = (address: string) => address.replace(/^http/, "ws")

/** A page of the app in this browser opens `/live`. */
export const connect = (browser: UserAgent, url: string) =>
  Effect.gen(function*() {
    const socket = yield* Socket.makeWebSocket(socketOf(`${url}/live`), { closeCodeIsError: () => true }).pipe(
      Effect.provide(UserAgentSockets.layer(browser, url))
    )
    const write = yield* socket.writer
    const received = yield* Mailbox.make<string>()
    const running = yield* Effect.forkScoped(Effect.flip(socket.runRaw((text) => received.offer(String(text)))))
    return {
      ask: (word) => Effect.zipRight(write(word), received.take),
      closed: Effect.map(Effect.orDie(Fiber.join(running)), (error) =>
        Socket.SocketCloseError.is(error) ? `${error.code} ${error.closeReason ?? ""}` : error.reason),
      close: write(new Socket.CloseEvent(1000))
    } satisfies Connection
  })

/** A page of the app in this browser, by rpc. */
export const rpcClient = (browser: UserAgent, url: string) =>
  Layer.build(
    RpcClient.layerProtocolSocket().pipe(
      Layer.provide(Socket.layerWebSocket(socketOf(`${url}/rpc`))),
      Layer.provide([UserAgentSockets.layer(browser, url), RpcSerialization.layerJson])
    )
  ).pipe(Effect.flatMap((context) => Effect.provide(RpcClient.make(Rpcs), context)))

/** What comes back for such a handshake: 101, or the status of the refusal. A header of `undefined` is left out. */
export const handshake = (url: string, headers: Readonly<Record<string, string | undefined>>) =>
  Effect.async<http.IncomingMessage>((resume) => {
    const all = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": randomBytes(16).toString("base64"),
      ...headers
    }
    const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
    // A connection of its own each time: the agent would keep one that the server has ended.
    http.get(url, { headers: sent, agent: false })
      .on("response", (response) => resume(Effect.succeed(response.resume())))
      .on("upgrade", (response, socket) => {
        socket.destroy()
        resume(Effect.succeed(response))
      })
      .on("error", (error) => resume(Effect.die(error)))
  })
