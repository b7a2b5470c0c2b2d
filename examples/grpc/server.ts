/** The service over TLS: it asks about the token of every call. */
import { type Metadata, Server, ServerCredentials, type ServerErrorResponse, status } from "@grpc/grpc-js"
import type { handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js"
import { Effect, Redacted, type Scope } from "effect"
import type { AuthorizationServer } from "../servers/authorizationServer.ts"
import type { Issued } from "../servers/certificates.ts"
import { definition, type Invoice } from "./invoices.ts"

export interface Answered {
  readonly method: string
  readonly status: string
}

const invoices: ReadonlyArray<Invoice> = [
  { number: "2024-001", amount: 1200 },
  { number: "2024-002", amount: 860 },
  { number: "2024-003", amount: 75 }
]

const tokenOf = (metadata: Metadata): Redacted.Redacted<string> =>
  Redacted.make(String(metadata.get("authorization")[0] ?? "").replace(/^Bearer /, ""))

/** Starts it; the end of the scope stops it. Without a certificate, it is there for all to read. */
export const start = (
  issuer: Pick<AuthorizationServer, "isActive">,
  certificate?: Issued
): Effect.Effect<
  { readonly port: number; readonly answered: () => ReadonlyArray<Answered> },
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const answered: Array<Answered> = []

    /** What a call is refused with, if it is. */
    const check = async (method: string, metadata: Metadata): Promise<Partial<ServerErrorResponse> | undefined> => {
      const isGood = await Effect.runPromise(issuer.isActive(tokenOf(metadata)))
      answered.push({ method, status: isGood ? "OK" : "UNAUTHENTICATED" })
      return isGood ? undefined : { code: status.UNAUTHENTICATED, details: "the access token is not good" }
    }

    const get: handleUnaryCall<{ readonly number: string }, Invoice> = async ({ metadata, request }, done) => {
      const refused = await check("Get", metadata)
      if (refused !== undefined) return done(refused)
      done(null, invoices.find(({ number }) => number === request.number))
    }
    const list: handleServerStreamingCall<{}, Invoice> = async (call) => {
      const refused = await check("List", call.metadata)
      if (refused !== undefined) return void call.emit("error", refused)
      for (const invoice of invoices) call.write(invoice)
      call.end()
    }

    const server = new Server()
    server.addService(definition, { get, list })
    const credentials = certificate === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [{
        cert_chain: Buffer.from(certificate.certificate),
        private_key: Buffer.from(certificate.key)
      }])
    const port = yield* Effect.acquireRelease(
      Effect.async<number, Error>((resume) =>
        server.bindAsync("127.0.0.1:0", credentials, (error, bound) =>
          resume(error === null ? Effect.succeed(bound) : Effect.fail(error)))
      ),
      () =>
        Effect.sync(() =>
          server.forceShutdown()
        )
    )
    return { port, answered: () => answered }
  }).pipe(Effect.orDie)
