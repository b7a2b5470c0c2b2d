/**
 * An API, built on `@effect/platform`, that is called with access tokens: who calls is known in each handler, what is not
 * allowed is refused as the RFCs say (RFC 6750, RFC 9449, RFC 9470, RFC 9728).
 *
 * @since 0.1.0
 */
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { AccessTokenVerifier } from "./AccessTokenVerifier.ts"
import { DPoPVerifier, type VerifiedProof } from "./DPoPVerifier.ts"
import { lacking, wantedOf } from "./internal/resource/requirements.ts"
import * as Visits from "./internal/resource/visits.ts"
import * as OptionalServices from "./OptionalServices.ts"
import { type Forbidden, isRefusal, Refusal, statusOf, type Unauthorized } from "./Refusal.ts"
import type { VerifiedToken } from "./VerifiedToken.ts"

/**
 * What a call must have beyond a good token.
 *
 * - `scope`: all of these, as one text or one by one. Else 403 `insufficient_scope` (RFC 6750 section 3.1).
 * - `acrValues`, `maxAge`: its user has signed in by one of these ways, and no longer ago than that. Else 401
 *   `insufficient_user_authentication` (RFC 9470 section 3), of which the client makes a new sign-in.
 *
 * @since 0.1.0
 * @category models
 */
export interface Requirements {
  readonly scope?: string | ReadonlyArray<string> | undefined
  readonly acrValues?: string | ReadonlyArray<string> | undefined
  readonly maxAge?: Duration.DurationInput | undefined
}

/**
 * Who calls. `proof` is there for a token that is bound to a key.
 *
 * @since 0.1.0
 * @category tags
 */
export class Caller extends Context.Tag("@effect-oauth/core/Caller")<Caller, {
  readonly token: VerifiedToken
  readonly proof: VerifiedProof | undefined
  /** Fails where the token does not have what this endpoint wants; the challenge is then put on the answer. */
  readonly require: (requirements: Requirements) => Effect.Effect<void, Unauthorized | Forbidden>
}>() {}

/**
 * - `realm`: of the challenges (RFC 9110 section 11.5).
 * - `resourceMetadata`: the address of this API's metadata, which the challenges then name (RFC 9728 section 5.1).
 * - `requireDPoP`: take no token that is not bound to a key. Default false. It needs a `DPoPVerifier`.
 * - `certificate`: the SHA-256 thumbprint, base64url, of the certificate that the client has shown for this request (RFC 8705
 *   section 3), from the connection or from a proxy that is trusted. Without it tokens that are bound to a certificate are
 *   refused.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly realm?: string | undefined
  readonly resourceMetadata?: string | URL | undefined
  readonly requireDPoP?: boolean | undefined
  readonly certificate?:
    | ((request: HttpServerRequest.HttpServerRequest) => Effect.Effect<string | undefined>)
    | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class ResourceServer extends Context.Tag("@effect-oauth/core/ResourceServer")<ResourceServer, {
  /**
   * Who calls. The token is taken from `Authorization` only, as `Bearer` or `DPoP`. One that is bound to a key (RFC 9449) has
   * to come as `DPoP` and with a proof, any other as `Bearer`. What was found out about a request is remembered with it, so
   * this can be asked more than once.
   */
  readonly authenticate: (
    request: HttpServerRequest.HttpServerRequest,
    requirements?: Requirements
  ) => Effect.Effect<Caller["Type"], Refusal>
  /**
   * What belongs on the answer to a request: the challenges if that was refused, and a nonce where they are on. The
   * middleware has done so already.
   */
  readonly finish: (
    request: HttpServerRequest.HttpServerRequest,
    response: HttpServerResponse.HttpServerResponse
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse>
}>() {}

/**
 * Where there is a `DPoPVerifier`, it takes tokens that are bound to a key, too.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<ResourceServer["Type"], never, AccessTokenVerifier> =>
  Effect.zipWith(
    AccessTokenVerifier,
    OptionalServices.get(DPoPVerifier),
    (verifier, dpop) => Visits.make(verifier, Option.getOrUndefined(dpop), options)
  )

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<ResourceServer, never, AccessTokenVerifier> =>
  Layer.effect(ResourceServer, make(options))

/**
 * Fails unless the token of the `Caller` has this too: for what one endpoint wants beyond its middleware, or what depends on
 * the request.
 *
 * @since 0.1.0
 * @category accessors
 */
export const require = (requirements: Requirements): Effect.Effect<void, Unauthorized | Forbidden, Caller> =>
  Effect.flatMap(Caller, (caller) => caller.require(requirements))

/**
 * A `Caller` with this token, for tests of handlers. What they require of it is checked.
 *
 * @since 0.1.0
 * @category constructors
 */
export const callerOf = (token: VerifiedToken): Caller["Type"] => ({
  token,
  proof: undefined,
  require: (requirements) => {
    const wanted = wantedOf(requirements)
    return Effect.flatMap(
      lacking(token, wanted),
      (what) => what === undefined ? Effect.void : Effect.fail(Visits.errorOf(what, wanted))
    )
  }
})

/** The answer of an app that has no `HttpApi` to write it. */
const answerTo = (refusal: Refusal): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.map(
    Effect.orDie(Schema.encode(Refusal)(refusal)),
    (body) => HttpServerResponse.unsafeJson(body, { status: statusOf(refusal) })
  )

/** Who calls in the request at hand. Whatever the answer to it is, and whoever makes it, is completed when it leaves. */
const entering = (
  server: ResourceServer["Type"],
  requirements: Requirements | undefined
): Effect.Effect<Caller["Type"], Refusal, HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    Effect.zipRight(
      HttpApp.appendPreResponseHandler((_, response) => server.finish(request, response)),
      server.authenticate(request, requirements)
    ))

/**
 * For an `HttpRouter`, by `HttpRouter.use`, or for a single `HttpApp`: lets through who has a token with all of this, and
 * provides the `Caller`. Refusals, also those of `require` inside, are answered.
 *
 * @example
 * ```ts
 * import { ResourceServer } from "@effect-oauth/core"
 * import { HttpRouter, HttpServerResponse } from "@effect/platform"
 * import { Effect } from "effect"
 *
 * const list = Effect.map(ResourceServer.Caller, ({ token }) => HttpServerResponse.unsafeJson({ of: token.sub }))
 *
 * export const routes = HttpRouter.empty.pipe(
 *   HttpRouter.get("/invoices", list),
 *   HttpRouter.use(ResourceServer.middleware({ scope: "invoices:read" }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category middleware
 */
export const middleware = (requirements?: Requirements) =>
<E, R>(
  app: HttpApp.Default<E, R>
): HttpApp.Default<Exclude<E, Refusal>, Exclude<R, Caller> | ResourceServer | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(ResourceServer, (server) => guarded(server, requirements, app))

const guarded = <E, R>(
  server: ResourceServer["Type"],
  requirements: Requirements | undefined,
  app: HttpApp.Default<E, R>
) =>
  Effect.catchAll(
    Effect.provideServiceEffect(app, Caller, entering(server, requirements)),
    (error): HttpApp.Default<Exclude<E, Refusal>> =>
      isRefusal(error) ? answerTo(error) : Effect.fail(error as Exclude<E, Refusal>)
  )

/**
 * The same for the routes of an `HttpLayerRouter`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMiddleware = (requirements?: Requirements) =>
  HttpLayerRouter.middleware<{ provides: Caller; handles: Refusal }>()(
    Effect.map(ResourceServer, (server) => (app) => guarded(server, requirements, app))
  ).layer

/**
 * Middleware of an `HttpApi`: any tag that provides `Caller` and can fail with `Refusal` becomes a guard that wants this. The
 * API can have several, for its groups and endpoints.
 *
 * @example
 * ```ts
 * import { Refusal, ResourceServer } from "@effect-oauth/core"
 * import { HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware } from "@effect/platform"
 * import { Schema } from "effect"
 *
 * export class InvoiceReader extends HttpApiMiddleware.Tag<InvoiceReader>()("InvoiceReader", {
 *   provides: ResourceServer.Caller,
 *   failure: Refusal.Refusal
 * }) {}
 *
 * export const invoices = HttpApiGroup.make("invoices").add(
 *   HttpApiEndpoint.get("list", "/invoices").addSuccess(Schema.Array(Schema.String))
 * ).middleware(InvoiceReader)
 *
 * export const InvoiceReaderLive = ResourceServer.layerHttpApi(InvoiceReader, { scope: "invoices:read" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerHttpApi = <I>(
  tag: Context.Tag<I, HttpApiMiddleware.HttpApiMiddleware<Caller["Type"], Refusal>>,
  requirements?: Requirements
): Layer.Layer<I, never, ResourceServer> =>
  Layer.effect(tag, Effect.map(ResourceServer, (server) => entering(server, requirements)))

/**
 * The guard that wants a good token and nothing more, see `layerHttpApi`; endpoints `require` the rest.
 *
 * @since 0.1.0
 * @category tags
 */
export class Authenticated extends HttpApiMiddleware.Tag<Authenticated>()("@effect-oauth/core/Authenticated", {
  provides: Caller,
  failure: Refusal
}) {}

/**
 * @since 0.1.0
 * @category layers
 */
export const layerAuthenticated: Layer.Layer<Authenticated, never, ResourceServer> = layerHttpApi(Authenticated)
