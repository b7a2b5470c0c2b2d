import { create, createFileRegistry } from "@bufbuild/protobuf"
import type { GenService } from "@bufbuild/protobuf/codegenv2"
import {
  file_google_protobuf_wrappers,
  FileDescriptorProtoSchema,
  type StringValueSchema
} from "@bufbuild/protobuf/wkt"
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect"
import { connectNodeAdapter } from "@connectrpc/connect-node"
import { Effect, type Scope } from "effect"
import * as http from "node:http"
import * as http2 from "node:http2"
import type { AddressInfo, Server, Socket } from "node:net"

/** Answered with the token of the call. */
export const whose = "whose token is this?"

const text = ".google.protobuf.StringValue"

/** All four kinds of methods, over texts. What a compiler would have generated. */
const file = create(FileDescriptorProtoSchema, {
  name: "echo.proto",
  package: "test",
  syntax: "proto3",
  dependency: ["google/protobuf/wrappers.proto"],
  service: [{
    name: "Echo",
    method: [
      { name: "Say", inputType: text, outputType: text },
      { name: "Count", inputType: text, outputType: text, serverStreaming: true },
      { name: "Collect", inputType: text, outputType: text, clientStreaming: true },
      { name: "Talk", inputType: text, outputType: text, clientStreaming: true, serverStreaming: true }
    ]
  }]
})

type Text = typeof StringValueSchema

export const Echo = createFileRegistry(file, () => file_google_protobuf_wrappers).getService("test.Echo") as GenService<
  {
    say: { methodKind: "unary"; input: Text; output: Text }
    count: { methodKind: "server_streaming"; input: Text; output: Text }
    collect: { methodKind: "client_streaming"; input: Text; output: Text }
    talk: { methodKind: "bidi_streaming"; input: Text; output: Text }
  }
>

export interface Seen {
  readonly method: string
  readonly header: Headers
}

export interface Behaviour {
  /** The headers of the refusal, or nothing for a call that is let through. */
  readonly refuses: (seen: Seen, index: number) => HeadersInit | undefined
  readonly code?: Code | undefined
  /** So many messages of a stream come before the token is looked at. */
  readonly early?: number | undefined
  readonly hangs?: boolean | undefined
}

export interface ConnectServer {
  readonly url: string
  readonly seen: Array<Seen>
}

/** Its ends of connections go with it. */
const listening = (server: Server): Effect.Effect<number, never, Scope.Scope> => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  return Effect.acquireRelease(
    Effect.async<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
    }),
    () =>
      Effect.async<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
}

/** A server of its own on loopback: HTTP/2 over TLS if it is given a certificate, else HTTP/1.1. */
export const serve = (
  behaviour: Behaviour,
  certificate?: { readonly certificate: string; readonly key: string }
): Effect.Effect<ConnectServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const seen: Array<Seen> = []
    const check = (method: string, { requestHeader }: HandlerContext) => {
      const one = { method, header: requestHeader }
      seen.push(one)
      const refusal = behaviour.refuses(one, seen.length - 1)
      if (refusal !== undefined) {
        const text = new Headers(refusal).get("echo") ?? "this token is not good"
        throw new ConnectError(text, behaviour.code ?? Code.Unauthenticated, refusal)
      }
    }
    const implementation: ServiceImpl<typeof Echo> = {
      say: async ({ value }, context) => {
        check("say", context)
        if (behaviour.hangs === true) await new Promise(() => {})
        context.responseHeader.set("from", "server")
        return { value: value === whose ? String(context.requestHeader.get("authorization")) : `you said ${value}` }
      },
      async *count({ value }, context) {
        for (let index = 0; index < (behaviour.early ?? 0); index++) yield { value: `early ${index}` }
        check("count", context)
        for (let index = 1; index <= Number(value); index++) yield { value: String(index) }
      },
      collect: async (requests, context) => {
        check("collect", context)
        const words: Array<string> = []
        for await (const { value } of requests) words.push(value)
        return { value: words.join(" ") }
      },
      async *talk(requests, context) {
        check("talk", context)
        for await (const { value } of requests) yield { value: `${value}?` }
      }
    }
    const handler = connectNodeAdapter({ routes: (router) => void router.service(Echo, implementation) })
    const server = certificate === undefined
      ? http.createServer(handler)
      : http2.createSecureServer({ cert: certificate.certificate, key: certificate.key }, handler)
    const port = yield* listening(server)
    return { url: `${certificate === undefined ? "http" : "https"}://localhost:${port}`, seen }
  })
