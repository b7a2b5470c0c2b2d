/** WebSockets as pages open them in the browser of a person: with their cookies, and the origin of the page. */
import { Socket } from "@effect/platform"
import * as Undici from "@effect/platform-node/Undici"
import { Layer } from "effect"
import type { UserAgent } from "./userAgent.ts"

/** `origin` is that of the page. */
export const layer = (browser: UserAgent, origin: string): Layer.Layer<Socket.WebSocketConstructor> =>
  Layer.succeed(Socket.WebSocketConstructor, (url, protocols = []) => {
    const cookie = browser.cookieHeader(url.replace(/^ws/, "http"))
    const headers = { origin, ...(cookie === "" ? {} : { cookie }) }
    // The same to whoever uses it; the DOM's types know ports of workers that Node has not.
    return new Undici.WebSocket(url, { headers, protocols }) as unknown as globalThis.WebSocket
  })
