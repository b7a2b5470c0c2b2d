/** What a page of the app does in the browser of a person: it opens both sockets and shows what comes. */
import { Socket } from "@effect/platform"
import { RpcClient, RpcSerialization } from "@effect/rpc"
import { Effect, Layer, Stream } from "effect"
import type { UserAgent } from "../servers/userAgent.ts"
import * as UserAgentSockets from "../servers/userAgentSockets.ts"
import { Rpcs } from "./rpcs.ts"

export interface Page {
  readonly browser: UserAgent
  readonly url: string
}

const at = (page: Page, path: string) => `${page.url.replace("http", "ws")}${path}`

/** Runs until the server closes it, and gives the code and the reason. `origin`: by default, that of the page. */
export const live = (page: Page, onText: (text: string) => void, origin: string = page.url) =>
  Socket.makeWebSocket(at(page, "/live"), { closeCodeIsError: () => true }).pipe(
    Effect.flatMap((socket) => Effect.flip(socket.runRaw((text) => onText(String(text))))),
    Effect.map((error) =>
      Socket.SocketCloseError.is(error) ? `closed, ${error.code} ${error.closeReason ?? ""}` : "not opened"
    ),
    Effect.provide(UserAgentSockets.layer(page.browser, origin))
  )

/** Runs until the call fails, and gives its error. */
export const rpc = (page: Page, onInvoices: (count: number) => void) => {
  const Connection = RpcClient.layerProtocolSocket().pipe(
    Layer.provide(Socket.layerWebSocket(at(page, "/rpc"))),
    Layer.provide([UserAgentSockets.layer(page.browser, page.url), RpcSerialization.layerJson])
  )
  return Effect.gen(function*() {
    const client = yield* RpcClient.make(Rpcs)
    return yield* client.invoices().pipe(
      Stream.runForEach((invoices) => Effect.sync(() => onInvoices(invoices.length))),
      Effect.flip
    )
  }).pipe(Effect.scoped, Effect.provide(Connection))
}
