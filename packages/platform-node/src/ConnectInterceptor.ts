/**
 * Access tokens for clients of `@connectrpc/connect` 2, over any of its transports: Connect, gRPC and gRPC-Web. It has its own
 * import, `@effect-oauth/platform-node/ConnectInterceptor`, and asks for `@connectrpc/connect` beside it.
 *
 * @since 0.1.0
 */
import { type ContextValues, createContextKey, createContextValues, type Interceptor } from "@connectrpc/connect"
import type * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import type { ClientCredentialsTokenManager } from "@effect-oauth/core/ClientCredentialsTokenManager"
import type { AccessTokenError, TokenClientNotFound } from "@effect-oauth/core/OAuthError"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import * as TokenRetriever from "@effect-oauth/core/TokenRetriever"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { intercept } from "./internal/connect/connectCall.ts"

/**
 * - `allowedOrigins`, `allowInsecure`: where tokens may go, as of `AccessTokenHttpClient`.
 * - `retryUnauthenticated`: whether `Unauthenticated` is healed by another token. Default true.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Pick<AccessTokenHttpClient.Options, "allowedOrigins" | "allowInsecure"> {
  readonly retryUnauthenticated?: boolean | undefined
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
 * `R` is what a call has to bring: the services that its retriever needs, such as the `CurrentUser` of `@effect-oauth/oidc`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConnectInterceptor<out R = never> extends Interceptor {
  /**
   * The `contextValues` of a call that is made by whoever runs this: the retriever is given the services of that fiber. Values of
   * your own are added by their `set`.
   *
   * One transport and one client are for all users. A call without them is made by nobody: a retriever that needs a service fails,
   * such as one of users with `NoActiveUser`, and nothing is sent.
   */
  readonly contextValues: Effect.Effect<ContextValues, never, R>
}

/**
 * Tokens of any retriever, which is shown the call as `POST` to the URL of its procedure, with its headers.
 *
 * `Unauthenticated` is healed once for each call: another token is asked for, and
 *
 * - a unary call is sent again,
 * - a server stream is sent again if no message has come; its headers are told of with its first message,
 * - a client stream or a bidirectional one is not, since its messages are gone. The call fails, but not before the other
 *   token is there, so that the next call succeeds.
 *
 * A DPoP token goes out with a proof for each attempt (RFC 9449 section 7), and what the server says of nonces and of its clock
 * is heeded where the call can be sent again. Do not set `useHttpGet` of a transport then: interceptors do not learn
 * of it, and a proof is for one method.
 *
 * The signal and the deadline of the call hold for all of it. A call that gets no token fails with a `ConnectError` of the
 * code `Unavailable` if the same call may succeed later, else `Unauthenticated`; its `cause` is the error of the retriever, or
 * `OriginNotAllowed`, `KeyBindingMismatch`, `CredentialUnavailable`. Nothing is sent then.
 *
 * What the retriever needs is no requirement of this effect, since its caller would then be the user of all calls: each call
 * brings it by `contextValues`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E, R>(
  retriever: TokenRetriever.TokenRetriever<E, R>,
  options: Options = {}
): Effect.Effect<ConnectInterceptor<R>> =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const nobody = Runtime.updateContext(runtime, Context.empty)
    const caller = createContextKey<Runtime.Runtime<never>>(nobody, { description: "the caller" })
    return Object.assign(
      // What the caller does not bring is not there, and the retriever fails for want of it.
      intercept(retriever, ({ contextValues }) => contextValues.get(caller) as Runtime.Runtime<R>, options),
      { contextValues: Effect.map(Effect.runtime<R>(), (runtime) => createContextValues().set(caller, runtime)) }
    )
  })

/**
 * Tokens of the program's own authority, for the named client; without a name, for the only one.
 *
 * @example
 * ```ts
 * import * as ConnectInterceptor from "@effect-oauth/platform-node/ConnectInterceptor"
 * import { createConnectTransport } from "@connectrpc/connect-node"
 * import { Effect } from "effect"
 *
 * export const transport = Effect.map(
 *   ConnectInterceptor.clientCredentials("invoice.client"),
 *   (interceptor) =>
 *     createConnectTransport({ baseUrl: "https://api.example.com", httpVersion: "2", interceptors: [interceptor] })
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientCredentials = <E = never, R = never>(
  name?: string,
  parameters?: TokenRequestParameters,
  options?: ClientCredentialsOptions<E, R>
): Effect.Effect<ConnectInterceptor<R>, TokenClientNotFound, ClientCredentialsTokenManager> =>
  Effect.flatMap(
    TokenRetriever.clientCredentials(name, parameters, options?.customize),
    (retriever: TokenRetriever.TokenRetriever<AccessTokenError | E, R>) => make(retriever, options)
  )
