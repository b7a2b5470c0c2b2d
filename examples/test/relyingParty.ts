/** The smallest app that users can sign in to, by hand: what the authorization server does is seen bare. */
import { Effect } from "effect"
import * as jose from "jose"
import { createHash, randomUUID } from "node:crypto"
import http from "node:http"
import type { ClientMetadata } from "oidc-provider"
import { listen, stop } from "../servers/listening.ts"

export interface Tokens {
  readonly access_token: string
  readonly id_token: string
  readonly refresh_token: string
  readonly token_type: string
  readonly error?: string
}

const key = await jose.generateKeyPair("ES256", { extractable: true })
const publicJwk = await jose.exportJWK(key.publicKey)
const secret = "s3cret"

const sign = (claims: jose.JWTPayload, header: Omit<jose.JWTHeaderParameters, "alg"> = {}) =>
  new jose.SignJWT({ jti: randomUUID(), ...claims }).setProtectedHeader({ alg: "ES256", ...header }).setIssuedAt()
    .setExpirationTime("1m").sign(key.privateKey)

const hash = (value: string) => createHash("sha256").update(value).digest("base64url")

/** Two registrations at one origin: one with a secret, one that signs all it says and binds its tokens to a key. */
export const metadata = (origin: string): ReadonlyArray<ClientMetadata> => {
  const shared: Omit<ClientMetadata, "client_id"> = {
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    redirect_uris: [`${origin}/callback`],
    post_logout_redirect_uris: [`${origin}/bye`],
    backchannel_logout_uri: `${origin}/backchannel`,
    backchannel_logout_session_required: true,
    scope: "openid profile email offline_access invoices"
  }
  return [
    { ...shared, client_id: "plain", client_name: "Invoices & Co", client_secret: secret },
    {
      ...shared,
      client_id: "signed",
      client_name: "The Bank",
      token_endpoint_auth_method: "private_key_jwt",
      jwks: { keys: [{ ...publicJwk, kty: "EC" }] },
      require_pushed_authorization_requests: true,
      require_signed_request_object: true,
      request_object_signing_alg: "ES256",
      dpop_bound_access_tokens: true,
      userinfo_signed_response_alg: "ES256"
    }
  ]
}

/** Its server: remembers what came back from logins, and the logout tokens that it was sent. */
export const start = Effect.gen(function*() {
  const logouts: Array<string> = []
  const server = http.createServer(async (request, response) => {
    let body = ""
    for await (const chunk of request) body += String(chunk)
    if (request.url === "/backchannel") logouts.push(new URLSearchParams(body).get("logout_token") ?? "")
    if (request.url === "/away") response.writeHead(302, { location: "http://192.0.2.1/" })
    else response.setHeader("content-type", "text/html")
    response.end(`<title>app</title><pre>${body}</pre>`)
  })
  const port = yield* Effect.acquireRelease(listen(server, 0), () => stop(server))
  // another site than the authorization server's, as in life
  return { origin: `http://localhost:${port}`, logouts }
})

/** One registration at one authorization server. */
export const client = (issuer: string, origin: string, clientId: "plain" | "signed") => {
  const redirect_uri = `${origin}/callback`
  const verifier = randomUUID() + randomUUID()
  const signed = clientId === "signed"
  let nonce: string | undefined

  const authentication = async (): Promise<Record<string, string>> =>
    signed
      ? {
        client_id: clientId,
        client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        client_assertion: await sign({ iss: clientId, sub: clientId, aud: issuer })
      }
      : {}

  const proof = (htm: string, htu: string, accessToken?: string) =>
    sign({ htm, htu, ...(nonce && { nonce }), ...(accessToken && { ath: hash(accessToken) }) }, {
      typ: "dpop+jwt",
      jwk: publicJwk
    })

  const send = async (method: string, url: string, form?: Record<string, string>, accessToken?: string) => {
    const headers: Record<string, string> = {}
    if (signed) headers.dpop = await proof(method, url, accessToken)
    if (accessToken !== undefined) headers.authorization = `${signed ? "DPoP" : "Bearer"} ${accessToken}`
    else if (!signed) headers.authorization = `Basic ${btoa(`${clientId}:${secret}`)}`
    const body = form && new URLSearchParams({ ...form, ...await authentication() })
    const response = await fetch(url, { method, headers, ...(body && { body }) })
    nonce = response.headers.get("dpop-nonce") ?? nonce
    return response
  }

  const post = async (path: string, form: Record<string, string>): Promise<Tokens & { request_uri: string }> => {
    const response = await send("POST", `${issuer}${path}`, form)
    const answer = await response.json()
    return answer.error === "use_dpop_nonce" ? (await send("POST", `${issuer}${path}`, form)).json() : answer
  }

  return {
    /** Where the browser goes to sign in. */
    authorize: (extra: Record<string, string> = {}) =>
      Effect.promise(async () => {
        const parameters = {
          client_id: clientId,
          redirect_uri,
          response_type: "code",
          scope: "openid profile email offline_access",
          prompt: "consent",
          state: "st4te",
          nonce: "n0nce",
          code_challenge: hash(verifier),
          code_challenge_method: "S256",
          ...extra
        }
        if (!signed) return `${issuer}/auth?${new URLSearchParams(parameters)}`
        const request = await sign({ ...parameters, iss: clientId, aud: issuer }, { typ: "oauth-authz-req+jwt" })
        const { request_uri } = await post("/request", { request })
        return `${issuer}/auth?${new URLSearchParams({ client_id: clientId, request_uri })}`
      }),
    exchange: (code: string) =>
      Effect.promise(() =>
        post("/token", { grant_type: "authorization_code", code, redirect_uri, code_verifier: verifier })
      ),
    refresh: (refresh_token: string, extra: Record<string, string> = {}) =>
      Effect.promise(() => post("/token", { grant_type: "refresh_token", refresh_token, ...extra })),
    userInfo: (accessToken: string) =>
      Effect.promise(async () => {
        const response = await send("GET", `${issuer}/me`, undefined, accessToken)
        return { type: response.headers.get("content-type") ?? "", body: await response.text() }
      }),
    /** Checks an ID token, or a logout token, with the keys that are published now. */
    verify: (jwt: string) =>
      Effect.promise(() => {
        const keys = jose.createRemoteJWKSet(new URL(`${issuer}/jwks`))
        return jose.jwtVerify(jwt, keys, { issuer, audience: clientId })
      })
  }
}
