/**
 * The API of `api.ts` over TLS, for tokens that are bound to a client certificate (RFC 8705 section 3): it takes them only on
 * a connection that was made with this certificate.
 */
import { type HttpClient, HttpMiddleware, HttpServerRequest } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Effect, Option, type Scope } from "effect"
import * as AccessTokens from "./accessTokens.ts"
import * as Api from "./api.ts"
import type { Authority, Issued } from "./certificates.ts"
import type { MtlsAuthorizationServer } from "./mtlsAuthorizationServer.ts"
import * as Tls from "./tls.ts"

export interface Options extends Omit<Api.ListenOptions, "server"> {
  readonly issuer: Pick<MtlsAuthorizationServer, "issuer" | "jwksUri">
  readonly certificate: Issued
  /** Of the certificates of its clients. */
  readonly authority: Pick<Authority, "certificate">
}

export interface MtlsApi extends Api.Api {
  /** The thumbprints of the certificates that it accepted tokens with. */
  readonly certificates: () => ReadonlyArray<string>
}

const refused = (reason: string) => Api.unauthorized(`Bearer error="invalid_token", error_description="${reason}"`)

/** What a token is refused for; it is accepted if there is nothing. */
const problemOf = (claims: Option.Option<AccessTokens.Claims>, shown: string | undefined): string | undefined => {
  if (Option.isNone(claims)) return "the access token is not good"
  const bound = claims.value.cnf?.["x5t#S256"]
  if (bound === undefined) return "the access token is bound to no certificate"
  if (shown === undefined) return "the access token is bound to a certificate, and the connection has none"
  return bound === shown ? undefined : "the access token is bound to another certificate than the connection's"
}

/** Starts it; the end of the scope stops it. `HttpClient` gets the keys of the issuer. */
export const start = (options: Options): Effect.Effect<MtlsApi, never, Scope.Scope | HttpClient.HttpClient> =>
  Effect.gen(function*() {
    const { authority, certificate, issuer } = options
    const certificates = new Set<string>()

    const guard = (claimsOf: AccessTokens.ClaimsOf): Api.Guard =>
      HttpMiddleware.make((app) =>
        Effect.gen(function*() {
          const request = yield* HttpServerRequest.HttpServerRequest
          const token = Api.bearerOf(request.headers)
          if (Option.isNone(token)) return Api.unauthorized("Bearer")
          const shown = Tls.certificateOf(NodeHttpServerRequest.toIncomingMessage(request))
          const thumbprint = shown === undefined ? undefined : Tls.thumbprintOf(shown)
          const problem = problemOf(yield* claimsOf(token.value), thumbprint)
          if (problem !== undefined) return refused(problem)
          if (thumbprint !== undefined) certificates.add(thumbprint)
          return yield* app
        })
      )

    const server = () => Tls.createServer({ certificate, clientsOf: authority.certificate })
    const httpClient = yield* Effect.context<HttpClient.HttpClient>()
    const api = yield* Api.serve(
      { ...options, server },
      (url) => Effect.map(AccessTokens.claimsOf(issuer, url), guard).pipe(Effect.provide(httpClient))
    )
    return { ...api, certificates: () => [...certificates] }
  })
