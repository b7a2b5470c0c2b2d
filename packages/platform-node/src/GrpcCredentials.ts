/**
 * Access tokens for clients of `@grpc/grpc-js` 1.14. It has its own import, `@effect-oauth/platform-node/GrpcCredentials`, and
 * asks for `@grpc/grpc-js` beside it.
 *
 * A token goes out only through a channel that `channel` made of TLS credentials. grpc-js itself would send call credentials
 * over an insecure channel without complaint, and cannot be asked afterwards what kind of channel it was.
 *
 * @since 0.1.0
 */
import type { ClientCredentialsTokenManager } from "@effect-oauth/core/ClientCredentialsTokenManager"
import type { AccessTokenError, TokenClientNotFound } from "@effect-oauth/core/OAuthError"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import * as TokenRetriever from "@effect-oauth/core/TokenRetriever"
import { type CallOptions, type ChannelCredentials, credentials, type Interceptor } from "@grpc/grpc-js"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import { makeTokens } from "./internal/grpc/callTokens.ts"
import { intercept } from "./internal/grpc/healingCall.ts"

const problems = {
  InsecureChannel:
    "its channel is not one that `channel` made of TLS credentials, so the token could be read on its way",
  BoundToken: "a DPoP token needs a proof for each request, which gRPC does not define (RFC 9449 section 7)"
}

/**
 * A token was not sent: the call goes through a channel that `GrpcCredentials.channel` did not make, or the token is bound to
 * a key.
 *
 * @since 0.1.0
 * @category errors
 */
export class GrpcTokenRefused
  extends Schema.TaggedError<GrpcTokenRefused>("@effect-oauth/platform-node/GrpcTokenRefused")("GrpcTokenRefused", {
    reason: Schema.Literal("InsecureChannel", "BoundToken")
  })
{
  get retryable(): boolean {
    return false
  }
  get retryAfter(): Duration.Duration | undefined {
    return undefined
  }
  override get message(): string {
    return `no access token is sent with a gRPC call: ${problems[this.reason]}`
  }
}

/**
 * - `allowInsecure`: tokens go over any channel, also in clear, for instance to a sidecar that does the encryption. Default
 *   false.
 * - `retryUnauthenticated`: whether `UNAUTHENTICATED` is healed by another token. Default true.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly allowInsecure?: boolean | undefined
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
export interface GrpcCredentials<out R = never> {
  /**
   * Channel credentials whose calls carry a token each, made of others such as `credentials.createSsl()`. Insecure ones are
   * refused; with `allowInsecure` they are returned as they are, and the interceptor alone puts tokens on calls.
   */
  readonly channel: (tls: ChannelCredentials) => Effect.Effect<ChannelCredentials, GrpcTokenRefused>
  /**
   * Heals `UNAUTHENTICATED`, takes up cancellations while a token is got, and gives errors their typed `cause`. It works with
   * the channels of `channel`; through any other one its calls fail with `UNAUTHENTICATED`, and nothing is sent.
   */
  readonly interceptor: Interceptor
  /**
   * The options of a call that is made by whoever runs this: the retriever is given the services of that fiber. Other options go
   * beside them (`{ ...options, deadline }`), other call credentials are composed with theirs.
   *
   * One channel and one client are for all users. A call without these options is made by nobody: a retriever that needs a
   * service fails, such as one of users with `NoActiveUser`, and nothing is sent.
   */
  readonly callOptions: Effect.Effect<CallOptions, never, R>
}

/**
 * Tokens of any retriever. It is shown the call as `POST https://host/package.Service/Method`, without a port, and through the
 * interceptor also the metadata of the call that are texts.
 *
 * Each attempt of a call asks for a token, also those that grpc-js repeats by itself. With the interceptor, the answer
 * `UNAUTHENTICATED` is healed once for each call: another token is asked for, and
 *
 * - a unary call is sent again,
 * - a server stream is sent again if neither metadata nor a message have come,
 * - a client stream or a bidirectional one is not, since its messages are gone. The call fails, but not before the other
 *   token is there, so that the next call succeeds.
 *
 * The deadline of the call holds for all of it. A call that gets no token fails with a `ServiceError` of the code `UNAVAILABLE`
 * if the same call may succeed later, else `UNAUTHENTICATED`; its `cause` is the error of the retriever, or `GrpcTokenRefused`.
 *
 * What the retriever needs is no requirement of this effect, since its caller would then be the user of all calls: each call
 * brings it by `callOptions`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <E, R>(
  retriever: TokenRetriever.TokenRetriever<E, R>,
  options: Options = {}
): Effect.Effect<GrpcCredentials<R>> =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const tokens = makeTokens({
      retriever,
      nobody: Runtime.updateContext(runtime, Context.empty),
      allowInsecure: options.allowInsecure === true,
      refusal: (reason) => new GrpcTokenRefused({ reason })
    })
    return {
      channel: (tls) =>
        Effect.try({
          // grpc-js refuses to combine insecure ones.
          try: () => credentials.combineChannelCredentials(tls, tokens.ofChannel),
          catch: () => new GrpcTokenRefused({ reason: "InsecureChannel" })
        }).pipe(
          Effect.catchAll((refused) => options.allowInsecure === true ? Effect.succeed(tls) : Effect.fail(refused))
        ),
      interceptor: intercept(tokens, options.retryUnauthenticated !== false),
      callOptions: Effect.map(Effect.runtime<R>(), (caller) => ({ credentials: tokens.ofCaller(caller) }))
    }
  })

/**
 * Tokens of the program's own authority, for the named client; without a name, for the only one.
 *
 * @example
 * ```ts
 * import * as GrpcCredentials from "@effect-oauth/platform-node/GrpcCredentials"
 * import { Client, credentials } from "@grpc/grpc-js"
 * import { Effect } from "effect"
 *
 * export const invoices = Effect.gen(function*() {
 *   const grpc = yield* GrpcCredentials.clientCredentials("invoice.client")
 *   const channel = yield* grpc.channel(credentials.createSsl())
 *   return new Client("api.example.com:443", channel, { interceptors: [grpc.interceptor] })
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const clientCredentials = <E = never, R = never>(
  name?: string,
  parameters?: TokenRequestParameters,
  options?: ClientCredentialsOptions<E, R>
): Effect.Effect<GrpcCredentials<R>, TokenClientNotFound, ClientCredentialsTokenManager> =>
  Effect.flatMap(
    TokenRetriever.clientCredentials(name, parameters, options?.customize),
    (retriever: TokenRetriever.TokenRetriever<AccessTokenError | E, R>) => make(retriever, options)
  )
