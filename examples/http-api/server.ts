/**
 * The API: whose tokens it takes, what each guard wants, and the endpoints, which know who calls.
 */
import {
  AccessTokenVerifier,
  AuthorizationServer,
  DPoPVerifier,
  JwtVerifier,
  ProtectedResource,
  ResourceServer,
  Signer
} from "@effect-oauth/core"
import { FetchHttpClient, HttpApiBuilder } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import http from "node:http"
import { Company, Invoice, InvoiceReader, Salary, SalaryReader } from "./api.ts"

/** What the authorization server calls a login with a second factor. */
export const multiFactor = "urn:example:mfa"

const Invoices = HttpApiBuilder.group(Company, "invoices", (handlers) =>
  handlers
    .handle("list", () =>
      Effect.map(ResourceServer.Caller, ({ token }) => [
        new Invoice({ number: `2024-001 of ${token.sub}`, amount: 1200 })
      ]))
    .handle("remove", () => ResourceServer.require({ scope: "admin" })))

const Salaries = HttpApiBuilder.group(
  Company,
  "salaries",
  (handlers) => handlers.handle("list", () => Effect.succeed([new Salary({ name: "Ada", amount: 5000 })]))
)

const Guards = Layer.merge(
  ResourceServer.layerHttpApi(InvoiceReader, { scope: "invoices" }),
  ResourceServer.layerHttpApi(SalaryReader, { scope: "salaries", acrValues: multiFactor })
)

/** Tokens are JWTs of one issuer, made for this API; those that are bound to a key need a proof. */
const Tokens = Layer.unwrapEffect(
  Effect.map(
    Effect.all({ issuer: Config.string("ISSUER"), publicUrl: Config.string("API_URL") }),
    ({ issuer, publicUrl }) =>
      ResourceServer.layer({ resourceMetadata: ProtectedResource.address(publicUrl) }).pipe(
        Layer.provide(AccessTokenVerifier.layerJwt({ issuer, audience: publicUrl })),
        Layer.provide(DPoPVerifier.layer({ publicUrl }))
      )
  )
).pipe(
  Layer.provide([JwtVerifier.layer, Signer.layer]),
  Layer.provide(AuthorizationServer.layer()),
  Layer.provide(FetchHttpClient.layer)
)

const Server = Layer.unwrapEffect(
  Effect.map(
    Config.integer("API_PORT"),
    (port) => NodeHttpServer.layer(() => http.createServer(), { port, host: "127.0.0.1" })
  )
)

export const Api = HttpApiBuilder.serve().pipe(
  Layer.provide(HttpApiBuilder.api(Company)),
  Layer.provide([Invoices, Salaries]),
  Layer.provide(Guards),
  Layer.provide(Tokens),
  Layer.provide(Server)
)
