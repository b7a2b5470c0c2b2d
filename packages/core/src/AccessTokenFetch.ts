/**
 * A function like `fetch` that puts an access token on every request, for code outside of Effect: the client of a vendor that
 * takes a `fetch`, a handler of another framework.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as ManagedRuntime from "effect/ManagedRuntime"
import type * as AccessTokenHttpClient from "./AccessTokenHttpClient.ts"
import type { ClientCredentialsTokenManager } from "./ClientCredentialsTokenManager.ts"
import { fetchWith } from "./internal/fetch/fetchCall.ts"
import type { AccessTokenError, TokenClientNotFound } from "./OAuthError.ts"
import type { TokenRequestParameters } from "./TokenRequestParameters.ts"
import * as TokenRetriever from "./TokenRetriever.ts"

/**
 * What `fetch` is, as far as it is called.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fetch {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>
}

/**
 * Those of `AccessTokenHttpClient`, and `fetch`: what sends the requests, for instance undici's own with a dispatcher. Default
 * `globalThis.fetch`, as it is when a request is sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends AccessTokenHttpClient.Options {
  readonly fetch?: Fetch | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ClientCredentialsOptions<E = never, R = never> extends Options {
  /** Wins over the `TokenRequestCustomizer` that is provided for all. */
  readonly customize?: TokenRetriever.Customize<E, R> | undefined
}

/**
 * Over any retriever. What the retriever needs is taken from the effect that makes the function, so keep that open for as
 * long as the function is used: `fromRuntime` does. Over a retriever of users, the function is that of one user: make one for each
 * request, which opens no connection.
 *
 * - Each attempt carries a token, with a proof if it is a DPoP token (RFC 9449 section 7). An `authorization` header of the caller
 *   gives way to it.
 * - A 401 is healed once for each call. A body that can be read only once, a stream or that of a `Request`, is not sent again;
 *   the 401 is returned.
 * - Redirects are followed here, since `fetch` would take the proof with it and cannot make another one: with the token within
 *   the origin that the call began at, without it, and without `authorization` and `cookie` of the caller, from the first
 *   other origin on. With `allowedOrigins`, a redirect to any other one is refused. Where `fetch` hides redirects, as in
 *   browsers, they are an error.
 * - The signal of the call ends all of it, also the wait for a token.
 *
 * Rejects with what the retriever fails with, `OriginNotAllowed`, `KeyBindingMismatch` or `CredentialUnavailable` as they are, and
 * with what `fetch` rejects with.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E, R>(
  retriever: TokenRetriever.TokenRetriever<E, R>,
  options: Options = {}
): Effect.Effect<Fetch, never, R> =>
  Effect.map(Effect.runtime<R>(), (runtime) => fetchWith(retriever, runtime, options))

/**
 * With tokens of the program's own authority, for the named client; without a name, for the only one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientCredentials = <E = never, R = never>(
  name?: string,
  parameters?: TokenRequestParameters,
  options?: ClientCredentialsOptions<E, R>
): Effect.Effect<Fetch, TokenClientNotFound, ClientCredentialsTokenManager | R> =>
  Effect.flatMap(
    TokenRetriever.clientCredentials(name, parameters, options?.customize),
    (retriever: TokenRetriever.TokenRetriever<AccessTokenError | E, R>) => make(retriever, options)
  )

/**
 * The function at once, made at its first call in a runtime of the program. What making it fails with, it rejects with, and the
 * next call tries again.
 *
 * @example
 * ```ts
 * import { AccessTokenFetch, OAuth, TokenClients } from "@effect-oauth/core"
 * import { FetchHttpClient } from "@effect/platform"
 * import { Config, Layer, ManagedRuntime } from "effect"
 *
 * const Clients = TokenClients.layerConfig({
 *   "invoice.client": {
 *     tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
 *     clientId: Config.string("CLIENT_ID"),
 *     clientSecret: Config.redacted("CLIENT_SECRET")
 *   }
 * })
 *
 * const runtime = ManagedRuntime.make(
 *   OAuth.layer.pipe(Layer.provideMerge(Clients), Layer.provideMerge(FetchHttpClient.layer))
 * )
 *
 * export const apiFetch = AccessTokenFetch.fromRuntime(runtime, AccessTokenFetch.clientCredentials("invoice.client"))
 * // await apiFetch("https://api.example.com/invoices")
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromRuntime = <R, ER, E>(
  runtime: ManagedRuntime.ManagedRuntime<R, ER>,
  fetch: Effect.Effect<Fetch, E, R>
): Fetch => {
  let making: Promise<Exit.Exit<Fetch, E | ER>> | undefined
  return async (input, init) => {
    making ??= runtime.runPromiseExit(fetch)
    const made = await making
    if (Exit.isSuccess(made)) return made.value(input, init)
    making = undefined
    throw Cause.squash(made.cause)
  }
}
