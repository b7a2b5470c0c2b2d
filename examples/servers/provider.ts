import { exportJWK, generateKeyPair } from "jose"
import { randomBytes } from "node:crypto"
import type { AdapterFactory, ClientMetadata, Configuration, JWKS } from "oidc-provider"
import type Provider from "oidc-provider"

export interface ProviderOptions {
  readonly clients: ReadonlyArray<ClientMetadata>
  /** Of access tokens, in seconds. Default 3600. */
  readonly tokenLifetime?: number | undefined
  /**
   * Access tokens are JWTs if their request names a resource (RFC 8707), else opaque. `true`: they are JWTs always, with
   * the issuer as audience where no resource is named. The server does not keep JWTs, so it cannot drop or introspect them.
   */
  readonly jwt?: boolean | undefined
  /** Proofs of possession: `accepted`, or with a nonce that the server demands in each. Default: unknown to it. */
  readonly dpop?: "accepted" | "nonces" | undefined
  /** Anything else that oidc-provider can be told; wins over what is set here. */
  readonly configuration?: Configuration | undefined
}

/** oidc-provider works on Node 20, but its import says that it does not like it. */
const loadQuietly = async () => {
  const { warn } = console
  console.warn = (...args: Array<unknown>) => {
    if (!String(args[0]).includes("Unsupported runtime")) warn(...args)
  }
  try {
    return await import("oidc-provider")
  } finally {
    console.warn = warn
  }
}

const library = await loadQuietly()

const generateKeys = async (): Promise<JWKS> => {
  const { privateKey } = await generateKeyPair("ES256", { extractable: true })
  return { keys: [{ ...await exportJWK(privateKey), alg: "ES256", use: "sig" }] } as JWKS
}

const scopesOf = (clients: ReadonlyArray<ClientMetadata>): Array<string> => [
  ...new Set(["openid", "offline_access", ...clients.flatMap(({ scope }) => scope?.split(" ") ?? [])])
]

/** It refuses loopback by a dispatcher that it adds to each request. */
const fetchLoopback = (input: string | URL | Request, init: RequestInit = {}) => {
  const { dispatcher: _, ...rest } = init as RequestInit & { readonly dispatcher?: unknown }
  return fetch(input, rest)
}

const signatures = ["ES256", "ES384", "ES512", "RS256", "PS256", "Ed25519", "EdDSA"] as const

const dpopFeature = (dpop: ProviderOptions["dpop"]) =>
  dpop === undefined
    ? { enabled: false }
    : { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => dpop === "nonces" }

export const make = async (issuer: string, adapter: AdapterFactory, options: ProviderOptions): Promise<Provider> => {
  const { clients, configuration = {}, dpop, jwt = false, tokenLifetime = 3600 } = options
  const scopes = scopesOf(clients)
  return new library.Provider(issuer, {
    adapter,
    clients: [...clients],
    scopes,
    // 15 seconds by default: a token would outlive its end
    clockTolerance: 0,
    jwks: configuration.jwks ?? await generateKeys(),
    fetch: fetchLoopback,
    clientAuthMethods: [
      "none",
      "client_secret_basic",
      "client_secret_post",
      "client_secret_jwt",
      "private_key_jwt"
    ],
    enabledJWA: {
      clientAuthSigningAlgValues: ["HS256", ...signatures],
      dPoPSigningAlgValues: [...signatures]
    },
    ...configuration,
    clientDefaults: {
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: "ES256",
      ...configuration.clientDefaults
    },
    ttl: { AccessToken: tokenLifetime, ClientCredentials: tokenLifetime, ...configuration.ttl },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: dpopFeature(dpop),
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => jwt ? issuer : undefined,
        // a refresh without "resource" keeps the one that was granted
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          audience: resource,
          scope: scopes.join(" "),
          accessTokenFormat: "jwt"
        })
      },
      ...configuration.features
    } as NonNullable<Configuration["features"]>
  })
}
