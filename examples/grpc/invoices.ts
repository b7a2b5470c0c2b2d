/** A service for gRPC: what a compiler would have made of a .proto file, but with JSON on the wire. */
import {
  type CallOptions,
  type ChannelCredentials,
  type ClientReadableStream,
  makeGenericClientConstructor,
  type requestCallback,
  type ServiceDefinition,
  type ServiceError
} from "@grpc/grpc-js"
import { Effect, Stream } from "effect"

export interface Invoice {
  readonly number: string
  readonly amount: number
}

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))
const parsed = (buffer: Buffer) => JSON.parse(buffer.toString())

const json = {
  requestSerialize: bytes,
  requestDeserialize: parsed,
  responseSerialize: bytes,
  responseDeserialize: parsed
}

export const definition = {
  get: { path: "/example.Invoices/Get", requestStream: false, responseStream: false, ...json },
  list: { path: "/example.Invoices/List", requestStream: false, responseStream: true, ...json }
} satisfies ServiceDefinition

export interface InvoicesClient {
  get(request: { readonly number: string }, options: CallOptions, callback: requestCallback<Invoice>): void
  list(request: {}): ClientReadableStream<Invoice>
  close(): void
}

const Client = makeGenericClientConstructor(definition, "Invoices")

/** The end of the scope closes it. */
export const connect = (
  address: string,
  channel: ChannelCredentials,
  options: ConstructorParameters<typeof Client>[2]
) =>
  Effect.acquireRelease(
    Effect.sync(() => new Client(address, channel, options) as unknown as InvoicesClient),
    (client) => Effect.sync(() => client.close())
  )

/** Calls of Node's kind as effects. */
export const get = (client: InvoicesClient, number: string): Effect.Effect<Invoice | undefined, ServiceError> =>
  Effect.async((resume) => {
    client.get(
      { number },
      { deadline: Date.now() + 5000 },
      (error, invoice) => resume(error === null ? Effect.succeed(invoice) : Effect.fail(error))
    )
  })

export const list = (client: InvoicesClient): Stream.Stream<Invoice, ServiceError> =>
  Stream.async<Invoice, ServiceError>((emit) => {
    const stream = client.list({})
    stream.on("data", (invoice: Invoice) => void emit.single(invoice))
    stream.on("error", (error: ServiceError) => void emit.fail(error))
    stream.on("end", () => void emit.end())
    return Effect.sync(() => stream.cancel())
  })
