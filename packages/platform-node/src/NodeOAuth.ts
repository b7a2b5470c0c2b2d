/**
 * The ready-made bundle for a program on Node.js.
 *
 * @since 0.1.0
 */
import * as OAuth from "@effect-oauth/core/OAuth"
import type { TokenClients } from "@effect-oauth/core/TokenClients"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Layer from "effect/Layer"

/**
 * Machine-to-machine tokens over undici, and undici's keep-alive `HttpClient` for the program's own calls. It asks for
 * `TokenClients`.
 *
 * @example
 * ```ts
 * import { TokenClients } from "@effect-oauth/core"
 * import { NodeOAuth } from "@effect-oauth/platform-node"
 * import { Config, Layer } from "effect"
 *
 * const Clients = TokenClients.layerConfig({
 *   "invoice.client": {
 *     tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
 *     clientId: Config.string("CLIENT_ID"),
 *     clientSecret: Config.redacted("CLIENT_SECRET")
 *   }
 * })
 *
 * export const MainLive = NodeOAuth.layer.pipe(Layer.provideMerge(Clients))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<OAuth.Services | HttpClient.HttpClient, never, TokenClients> = OAuth.layer.pipe(
  Layer.provideMerge(NodeHttpClient.layerUndici)
)
