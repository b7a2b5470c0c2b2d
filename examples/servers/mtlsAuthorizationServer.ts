/**
 * The authorization server for clients that are known by their certificates (RFC 8705), whose tokens are bound to these. It
 * has two ports: one that asks for no certificate, and one that does, which its metadata tells such clients of.
 */
import { Effect, type Scope } from "effect"
import type { ClientMetadata } from "oidc-provider"
import type { Authority, Issued } from "./certificates.ts"
import { listen, stop } from "./listening.ts"
import * as MemoryAdapter from "./memoryAdapter.ts"
import { observe, type Observed } from "./observing.ts"
import * as OidcProvider from "./provider.ts"
import * as Tls from "./tls.ts"

export interface Options {
  readonly clients: ReadonlyArray<ClientMetadata>
  readonly certificate: Issued
  /** Of the certificates of its clients. */
  readonly authority: Pick<Authority, "certificate">
}

export interface MtlsAuthorizationServer extends Observed {
  readonly issuer: string
  readonly jwksUri: string
  readonly tokenEndpoint: string
  /** Where certificates are asked for. */
  readonly tokenEndpointAlias: string
  /** The thumbprints of the certificates that tokens were bound to, in the order in which they were issued. */
  readonly bindings: () => ReadonlyArray<string | undefined>
}

const features = {
  mTLS: {
    enabled: true,
    certificateBoundAccessTokens: true,
    tlsClientAuth: true,
    getCertificate: ({ req }) => Tls.certificateOf(req),
    certificateAuthorized: ({ req }) => Tls.isTrusted(req),
    certificateSubjectMatches: ({ req }, property, expected) =>
      property === "tls_client_auth_subject_dn" && Tls.certificateOf(req)?.subject === expected
  }
} satisfies NonNullable<OidcProvider.ProviderOptions["configuration"]>["features"]

/** Starts it; the end of the scope stops it. */
export const start = (options: Options): Effect.Effect<MtlsAuthorizationServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { authority, certificate, clients } = options
    const open = Tls.createServer({ certificate })
    const asking = Tls.createServer({ certificate, clientsOf: authority.certificate })
    const urlOf = (server: typeof open) =>
      Effect.acquireRelease(listen(server, 0), () => stop(server)).pipe(
        Effect.map((port) => `https://127.0.0.1:${port}`)
      )
    const issuer = yield* urlOf(open)
    const alias = yield* urlOf(asking)

    const provider = yield* Effect.promise(() =>
      OidcProvider.make(issuer, MemoryAdapter.make().adapter, {
        clients,
        configuration: {
          features,
          clientAuthMethods: ["tls_client_auth"],
          discovery: { mtls_endpoint_aliases: { token_endpoint: `${alias}/token` } }
        }
      })
    )
    const observed = observe(provider)
    const bindings: Array<string | undefined> = []
    provider.on("client_credentials.issued", (token) => bindings.push(token["x5t#S256"]))
    for (const server of [open, asking]) server.on("request", provider.callback())

    return {
      ...observed,
      issuer,
      jwksUri: `${issuer}/jwks`,
      tokenEndpoint: `${issuer}/token`,
      tokenEndpointAlias: `${alias}/token`,
      bindings: () => bindings
    }
  })
