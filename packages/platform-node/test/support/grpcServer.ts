import {
  type ClientOptions,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  makeGenericClientConstructor,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  status
} from "@grpc/grpc-js"
import type {
  CallOptions,
  ChannelCredentials,
  ClientDuplexStream,
  ClientReadableStream,
  ClientUnaryCall,
  ClientWritableStream,
  requestCallback
} from "@grpc/grpc-js"
import { Effect, type Scope } from "effect"

const coder = {
  requestSerialize: (value: string) => Buffer.from(value),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (value: string) => Buffer.from(value),
  responseDeserialize: (bytes: Buffer) => bytes.toString()
}

/** Answered with the token of the call. */
export const whose = "whose token is this?"

/** All four kinds of methods, over texts. */
export const definition = {
  Say: { path: "/test.Echo/Say", requestStream: false, responseStream: false, ...coder },
  Count: { path: "/test.Echo/Count", requestStream: false, responseStream: true, ...coder },
  Collect: { path: "/test.Echo/Collect", requestStream: true, responseStream: false, ...coder },
  Talk: { path: "/test.Echo/Talk", requestStream: true, responseStream: true, ...coder }
} satisfies ServiceDefinition

export interface Seen {
  readonly method: string
  readonly authorization: ReadonlyArray<unknown>
}

export interface GrpcServer {
  readonly port: number
  readonly seen: Array<Seen>
}

interface Call {
  readonly metadata: Metadata
}

/** What a call is answered with before it is looked at. */
export interface Behaviour {
  readonly accepts: (token: string) => boolean
  /** Server streams send metadata, and `early` messages, before the token is looked at. */
  readonly early?: number | undefined
  readonly hangs?: boolean | undefined
  readonly refusal?: status | undefined
  /** A refusal repeats the credentials. */
  readonly echoes?: boolean | undefined
}

const metadataWith = (name: string, value: string) => {
  const metadata = new Metadata()
  metadata.set(name, value)
  return metadata
}

/** A server of its own on loopback, over TLS if it is given a certificate. */
export const serve = (
  behaviour: Behaviour,
  certificate?: { readonly certificate: string; readonly key: string }
): Effect.Effect<GrpcServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const seen: Array<Seen> = []
    const refusalOf = (method: string, { metadata }: Call): Partial<ServiceError> | undefined => {
      const authorization = metadata.get("authorization")
      seen.push({ method, authorization })
      const token = String(authorization[0] ?? "").replace(/^Bearer /, "")
      return behaviour.accepts(token) ? undefined : {
        code: behaviour.refusal ?? status.UNAUTHENTICATED,
        details: behaviour.echoes === true ? `not good: ${authorization.join()}` : "this token is not good",
        metadata: behaviour.echoes === true
          ? metadataWith("echo", authorization.join())
          : metadataWith("reason", "revoked")
      }
    }

    const Say: handleUnaryCall<string, string> = (call, callback) => {
      const refusal = refusalOf("Say", call)
      if (refusal !== undefined) return callback(refusal)
      if (behaviour.hangs === true) return
      call.sendMetadata(metadataWith("from", "server"))
      callback(
        null,
        call.request === whose ? String(call.metadata.get("authorization")[0]) : `you said ${call.request}`
      )
    }
    const Count: handleServerStreamingCall<string, string> = (call) => {
      if (behaviour.early !== undefined) {
        call.sendMetadata(metadataWith("from", "server"))
        for (let index = 0; index < behaviour.early; index++) call.write(`early ${index}`)
      }
      const refusal = refusalOf("Count", call)
      if (refusal !== undefined) return void call.emit("error", refusal)
      for (let index = 1; index <= Number(call.request); index++) call.write(String(index))
      call.end()
    }
    const Collect: handleClientStreamingCall<string, string> = (call, callback) => {
      const refusal = refusalOf("Collect", call)
      if (refusal !== undefined) return callback(refusal)
      const words: Array<string> = []
      call.on("data", (word: string) => words.push(word)).on("end", () => callback(null, words.join(" ")))
    }
    const Talk: handleBidiStreamingCall<string, string> = (call) => {
      const refusal = refusalOf("Talk", call)
      if (refusal !== undefined) return void call.emit("error", refusal)
      call.on("data", (word: string) => call.write(`${word}?`)).on("end", () => call.end())
    }

    const server = new Server()
    server.addService(definition, { Say, Count, Collect, Talk })
    const credentials = certificate === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [{
        cert_chain: Buffer.from(certificate.certificate),
        private_key: Buffer.from(certificate.key)
      }])
    const port = yield* Effect.acquireRelease(
      Effect.async<number, Error>((resume) =>
        server.bindAsync(
          "127.0.0.1:0",
          credentials,
          (error, bound) => resume(error === null ? Effect.succeed(bound) : Effect.fail(error))
        )
      ),
      () => Effect.sync(() => server.forceShutdown())
    )
    return { port, seen }
  }).pipe(Effect.orDie)

export interface EchoClient {
  Say(text: string, callback: requestCallback<string>): ClientUnaryCall
  Say(text: string, options: CallOptions, callback: requestCallback<string>): ClientUnaryCall
  Say(text: string, metadata: Metadata, options: CallOptions, callback: requestCallback<string>): ClientUnaryCall
  Count(count: string, options?: CallOptions): ClientReadableStream<string>
  Collect(callback: requestCallback<string>): ClientWritableStream<string>
  Collect(options: CallOptions, callback: requestCallback<string>): ClientWritableStream<string>
  Talk(options?: CallOptions): ClientDuplexStream<string, string>
  close(): void
}

const Echo = makeGenericClientConstructor(definition, "Echo")

export const connect = (
  { port }: Pick<GrpcServer, "port">,
  credentials: ChannelCredentials,
  options: ClientOptions = {}
): Effect.Effect<EchoClient, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      // A proxy of the machine that the tests run on is not theirs.
      new Echo(`localhost:${port}`, credentials, { "grpc.enable_http_proxy": 0, ...options }) as unknown as EchoClient
    ),
    (client) => Effect.sync(() => client.close())
  )

/** The answer to one call. */
export const answered = (
  call: (callback: requestCallback<string>) => unknown
): Effect.Effect<string | undefined, ServiceError> =>
  Effect.async((resume) => {
    call((error, value) => resume(error === null ? Effect.succeed(value) : Effect.fail(error)))
  })

/** What a stream gave until its end. */
export const collected = (
  stream: ClientReadableStream<string> | ClientDuplexStream<string, string>
): Effect.Effect<{ readonly words: ReadonlyArray<string>; readonly error: ServiceError | undefined }> =>
  Effect.async((resume) => {
    const words: Array<string> = []
    stream.on("data", (word: string) => words.push(word))
    stream.on("error", (error: ServiceError) => resume(Effect.succeed({ words, error })))
    stream.on("end", () => resume(Effect.succeed({ words, error: undefined })))
  })
