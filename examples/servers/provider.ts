import { exportJWK, generateKeyPair } from "jose"
import { randomBytes, randomUUID } from "node:crypto"
import type { AdapterFactory, ClientMetadata, Configuration, JWKS } from "oidc-provider"
import type Provider from "oidc-provider"
import * as TokenExchange from "./tokenExchange.ts"
import * as Devices from "./users/devices.ts"
import * as Interactions from "./users/interactions.ts"
import * as Users from "./users/users.ts"

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
  /**
   * Users can sign in: any user name works, without a password, in a browser. Authorization code with PKCE, consent,
   * rotating refresh tokens, pushed and signed requests, userinfo, logout and back-channel logout. A client that uses it
   * says so: `grant_types`, `redirect_uris`, `response_types: ["code"]`, and where it can, `backchannel_logout_uri`.
   */
  readonly users?: boolean | Users.Users | undefined
  /** With `users`: they can sign in on another device too (RFC 8628). A client that uses it has the grant type of it. */
  readonly deviceFlow?: boolean | undefined
  /** Users' tokens can be exchanged (RFC 8693). A client that does it has the grant type of it: `TokenExchange.grantType`. */
  readonly tokenExchange?: boolean | TokenExchange.TokenExchange | undefined
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

/** What stays as it is when a provider takes the place of another. */
export interface Secrets {
  readonly jwks: JWKS
  readonly nonceSecret: Buffer
  readonly cookieKeys: ReadonlyArray<string>
}

const generateKey = async (alg: string) => {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return { ...await exportJWK(privateKey), alg, use: "sig", kid: randomUUID() } as JWKS["keys"][number]
}

export const generateSecrets = async ({ configuration }: ProviderOptions): Promise<Secrets> => ({
  jwks: configuration?.jwks ?? { keys: [await generateKey("ES256")] },
  nonceSecret: randomBytes(32),
  cookieKeys: [randomUUID()]
})

/** A new key for each that signs now. The old ones stay published, or not. */
export const rotateKeys = async (secrets: Secrets, keepOld: boolean): Promise<Secrets> => {
  const old = secrets.jwks.keys
  const keys: Array<JWKS["keys"][number]> = []
  for (const alg of new Set(old.map(({ alg }) => alg ?? "ES256"))) keys.push(await generateKey(alg))
  return { ...secrets, jwks: { keys: keepOld ? keys.concat(old) : keys } }
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

const dpopFeature = (dpop: ProviderOptions["dpop"], { nonceSecret }: Secrets) =>
  dpop === undefined
    ? { enabled: false }
    : { enabled: true, nonceSecret, requireNonce: () => dpop === "nonces" }

/** The secrets are made if they are not given. */
export const make = async (
  issuer: string,
  adapter: AdapterFactory,
  options: ProviderOptions,
  given?: Secrets
): Promise<Provider> => {
  const { clients, configuration = {}, dpop, jwt = false, tokenLifetime = 3600 } = options
  const secrets = given ?? await generateSecrets(options)
  const users = options.users === true ? {} : options.users === false ? undefined : options.users
  const exchange = options.tokenExchange === true ? {} : options.tokenExchange || undefined
  const scopes = users === undefined ? scopesOf(clients) : Users.scopesOf(clients)
  const provider = new library.Provider(issuer, {
    adapter,
    clients: [...clients],
    scopes,
    // 15 seconds by default: a token would outlive its end
    clockTolerance: 0,
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
      dPoPSigningAlgValues: [...signatures],
      ...(users === undefined ? {} : { requestObjectSigningAlgValues: [...signatures] })
    },
    ...(users === undefined ? {} : Users.configuration(library, { users, issuer, cookieKeys: secrets.cookieKeys })),
    ...(exchange === undefined ? {} : { extraTokenClaims: TokenExchange.extraTokenClaims }),
    ...configuration,
    jwks: secrets.jwks,
    clientDefaults: {
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: "ES256",
      ...configuration.clientDefaults
    },
    ttl: {
      ...(users === undefined ? {} : Users.lifetimes),
      ...(options.deviceFlow === true ? Devices.lifetimes : {}),
      AccessToken: tokenLifetime,
      ClientCredentials: tokenLifetime,
      ...configuration.ttl
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: dpopFeature(dpop, secrets),
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: (_, client, token) => token.clientId === client.clientId },
      resourceIndicators: {
        enabled: true,
        // a login for many resources: the token of its code is for userinfo, unless the code's request names one
        defaultResource: () => jwt ? issuer : undefined,
        // a refresh without "resource" keeps the one that was granted
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          audience: resource,
          scope: (users === undefined ? scopes : Users.apiScopes(scopes)).join(" "),
          accessTokenFormat: "jwt"
        })
      },
      ...(users === undefined ? {} : Users.features),
      ...(options.deviceFlow === true ? Devices.features : {}),
      ...configuration.features
    } as NonNullable<Configuration["features"]>
  })
  if (users !== undefined) Interactions.serve(provider)
  if (exchange !== undefined) {
    TokenExchange.register(library, provider, { ...exchange, jwks: secrets.jwks, lifetime: tokenLifetime })
  }
  return provider
}
