/**
 * OAuth 2.0 access tokens for Effect programs on Node.js.
 *
 * @since 0.1.0
 */
export * as NodeOAuth from "./NodeOAuth.ts"

/**
 * The core's `Signer` on `node:crypto`.
 *
 * @since 0.1.0
 */
export * as NodeSigner from "./NodeSigner.ts"
