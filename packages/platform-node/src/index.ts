/**
 * OAuth 2.0 access tokens for Effect programs on Node.js.
 *
 * @since 0.1.0
 */
export * as FileKeyStore from "./FileKeyStore.ts"
export * as NodeBackchannel from "./NodeBackchannel.ts"
export * as NodeOAuth from "./NodeOAuth.ts"
export * as NodeSigner from "./NodeSigner.ts"
