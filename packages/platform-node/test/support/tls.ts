import { Effect, type Scope } from "effect"
import { createHash, X509Certificate } from "node:crypto"
import * as http from "node:http"
import * as https from "node:https"
import * as net from "node:net"
import type { TLSSocket } from "node:tls"

export interface Opened {
  readonly port: number
  /** Of all connections that were made, those that are still open. */
  readonly open: () => number
  readonly made: () => number
}

const listening = (server: net.Server): Effect.Effect<Opened, never, Scope.Scope> => {
  const sockets = new Set<net.Socket>()
  let made = 0
  server.on("connection", (socket: net.Socket) => {
    made++
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
    socket.on("error", () => {})
  })
  return Effect.acquireRelease(
    Effect.async<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(Effect.map(() => ({
    port: (server.address() as net.AddressInfo).port,
    open: () => sockets.size,
    made: () => made
  })))
}

/** The thumbprint of the client certificate that a request came with. */
export const shownBy = (request: http.IncomingMessage): string | undefined => {
  const { raw } = (request.socket as TLSSocket).getPeerCertificate()
  return raw === undefined
    ? undefined
    : createHash("sha256").update(new X509Certificate(raw).raw).digest("base64url")
}

export interface TlsServer extends Opened {
  readonly url: string
}

/** A TLS server on loopback; with `ca` it wants a client certificate of that authority. */
export const listenTls = (
  options: https.ServerOptions,
  handler: http.RequestListener = (request, response) => void response.end(shownBy(request) ?? "none")
): Effect.Effect<TlsServer, never, Scope.Scope> =>
  Effect.suspend(() =>
    Effect.map(
      listening(
        https.createServer(
          { ...options, ...(options.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true }) },
          handler
        ).on("tlsClientError", () => {})
      ),
      (opened) => ({ ...opened, url: `https://127.0.0.1:${opened.port}` })
    )
  )

/** A port that takes connections and never says a word. */
export const listenSilently: Effect.Effect<Opened, never, Scope.Scope> = Effect.suspend(() =>
  listening(net.createServer())
)

export interface ConnectProxy extends Opened {
  /** Where it was asked to lead to, with the credentials that it was shown. */
  readonly asked: ReadonlyArray<readonly [target: string, authorization: string | undefined]>
}

/** A proxy that knows CONNECT, and leads every name to loopback. */
export const connectProxy: Effect.Effect<ConnectProxy, never, Scope.Scope> = Effect.suspend(() => {
  const asked: Array<readonly [string, string | undefined]> = []
  const server = http.createServer((_, response) => void response.writeHead(405).end())
  server.on("connect", (request, socket: net.Socket) => {
    asked.push([request.url!, request.headers["proxy-authorization"]])
    const upstream = net.connect(Number(request.url!.split(":").pop()), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
      upstream.pipe(socket).pipe(upstream)
    })
    for (const one of [upstream, socket]) {
      one.on("error", () => {})
      one.on("close", () => {
        upstream.destroy()
        socket.destroy()
      })
    }
  })
  return Effect.map(listening(server), (opened) => ({ ...opened, asked }))
})
