/**
 * The ready-made bundle for a program on Node.js.
 *
 * @since 0.1.0
 */
import * as OAuth from "@effect-oauth/core/OAuth"
import { bundle, unlessProvided } from "@effect-oauth/core/OptionalServices"
import { Signer } from "@effect-oauth/core/Signer"
import { TokenClients } from "@effect-oauth/core/TokenClients"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Layer from "effect/Layer"
import * as NodeSigner from "./NodeSigner.ts"

/**
 * Machine-to-machine tokens over undici, with signatures by `node:crypto`, and undici's keep-alive `HttpClient` for the
 * program's own calls. It asks for `TokenClients`, and uses in place of its own whatever service is provided to it, as
 * `OAuth.layer` does: a `Backchannel` with a client certificate, a `DPoPKeyStore` with a key from a file.
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
export const layer: Layer.Layer<OAuth.Services | HttpClient.HttpClient, never, TokenClients> = bundle(
  OAuth.layer.pipe(
    // A signer of the user's own, of a cloud's key service for instance, goes before Node's.
    Layer.provideMerge(Layer.merge(unlessProvided(Signer, NodeSigner.layer), NodeHttpClient.layerUndici))
  ),
  { ...OAuth.bundleOptions, required: [TokenClients] }
)
