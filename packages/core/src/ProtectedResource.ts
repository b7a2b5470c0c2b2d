/**
 * What an API says of itself, so that clients find out where its tokens come from (RFC 9728).
 *
 * @since 0.1.0
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"

/**
 * - `resource`: the API's identifier, an `https:` URL, which clients name when they ask for a token (RFC 8707).
 * - `authorizationServers`: issuers whose tokens it takes.
 * - `scopes`: that it knows.
 * - `requireDPoP`, `dpopAlgorithms`, `certificateBound`: whether tokens are bound to a key, proofs by which algorithms it takes,
 *   and whether tokens are bound to a certificate.
 * - `name`, `documentation`: for people.
 * - `more`: other fields of RFC 9728 section 2.
 *
 * @since 0.1.0
 * @category models
 */
export interface Metadata {
  readonly resource: string | URL
  readonly authorizationServers?: ReadonlyArray<string> | undefined
  readonly scopes?: ReadonlyArray<string> | undefined
  readonly requireDPoP?: boolean | undefined
  readonly dpopAlgorithms?: ReadonlyArray<string> | undefined
  readonly certificateBound?: boolean | undefined
  readonly name?: string | undefined
  readonly documentation?: string | undefined
  readonly more?: Readonly<Record<string, unknown>> | undefined
}

/**
 * Where the metadata of a resource is (RFC 9728 section 3.1): its path goes after the well-known one.
 *
 * @example
 * ```ts
 * import { ProtectedResource } from "@effect-oauth/core"
 *
 * console.log(ProtectedResource.address("https://api.example.com/v1").pathname)
 * // "/.well-known/oauth-protected-resource/v1"
 * ```
 *
 * @since 0.1.0
 * @category accessors
 */
export const address = (resource: string | URL): URL => {
  const { origin, pathname, search } = new URL(resource)
  return new URL(`/.well-known/oauth-protected-resource${pathname.replace(/\/$/, "")}${search}`, origin)
}

/**
 * The answer with the metadata, for a route of your own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const app = (metadata: Metadata): HttpApp.Default => {
  const { authorizationServers, certificateBound, documentation, dpopAlgorithms, name, requireDPoP, scopes } = metadata
  return Effect.succeed(HttpServerResponse.unsafeJson({
    ...metadata.more,
    resource: String(metadata.resource),
    authorization_servers: authorizationServers,
    scopes_supported: scopes,
    bearer_methods_supported: ["header"],
    dpop_signing_alg_values_supported: dpopAlgorithms,
    dpop_bound_access_tokens_required: requireDPoP,
    tls_client_certificate_bound_access_tokens: certificateBound,
    resource_name: name,
    resource_documentation: documentation
  }))
}

/**
 * Adds the route to an `HttpLayerRouter`, at the path that clients look at.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (metadata: Metadata): Layer.Layer<never, never, HttpLayerRouter.HttpRouter> =>
  HttpLayerRouter.use((router) => router.add("GET", pathOf(metadata.resource), app(metadata)))

const pathOf = (resource: string | URL): `/${string}` => `/${address(resource).pathname.slice(1)}`
