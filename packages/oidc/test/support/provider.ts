/**
 * An OpenID provider made by hand, every answer of which a test can bend. It checks next to nothing: whatever is refused, the
 * app under test has refused it. Honest logins are tested at a real one, see `app.ts`.
 */
import { Effect, type Scope } from "effect"
import * as jose from "jose"
import { createHash, randomUUID } from "node:crypto"
import http from "node:http"
import { listen, stop } from "../../../../examples/servers/listening.ts"

export type Json = Readonly<Record<string, unknown>>

/** One request, as it came. `form` is the query of a GET. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly form: URLSearchParams
  readonly headers: http.IncomingHttpHeaders
}

export interface Answer {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** An object is sent as JSON, bytes as they are. */
  readonly body?: string | Uint8Array | object | undefined
}

/** What was asked for at the authorization endpoint, pushed or signed parameters in place. */
export interface Asked {
  readonly parameters: URLSearchParams
  /** How they came. */
  readonly pushed: boolean
  readonly signed: jose.ProtectedHeaderParameters | undefined
}

interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly publicJwk: jose.JWK
}

/** Each of these may be set, and changed, at any time. */
export interface Bend {
  user: string
  metadata: (honest: Json) => Json
  jwks: (honest: ReadonlyArray<jose.JWK>) => ReadonlyArray<jose.JWK>
  /** What the browser brings back. */
  answer: (honest: URLSearchParams, asked: Asked) => URLSearchParams
  claims: (honest: Json) => Json
  header: (honest: jose.JWTHeaderParameters) => jose.JWTHeaderParameters
  /** The ID token as a whole. */
  idToken: (honest: string, claims: Json) => string | undefined | Promise<string | undefined>
  token: (honest: Answer, seen: Seen) => Answer | Promise<Answer>
  userInfo: (honest: Json, seen: Seen) => Answer | Promise<Answer>
  /** Never answered, where it gives nothing. */
  revocation: (seen: Seen) => Answer | undefined
  push: (honest: Answer, seen: Seen) => Answer
  /** Wanted in each proof of possession. */
  nonce: string | undefined
}

export interface Provider {
  readonly issuer: string
  readonly bend: Bend
  readonly seen: Array<Seen>
  readonly asked: Array<Asked>
  /** Of a path, such as "/token". */
  readonly requests: (path: string) => ReadonlyArray<Seen>
  readonly key: () => SigningKey
  /** A new key is published in place of the old one. */
  readonly rotateKeys: (alg?: string) => Effect.Effect<void>
  readonly sign: (claims: Json, header?: Partial<jose.JWTHeaderParameters>) => Effect.Effect<string>
  /** A payload that need not be JSON. */
  readonly signText: (payload: string | Uint8Array) => Promise<string>
}

const newKey = async (alg: string): Promise<SigningKey> => {
  const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true })
  const kid = randomUUID()
  return { kid, alg, privateKey, publicJwk: { ...await jose.exportJWK(publicKey), kid, alg, use: "sig" } }
}

const read = async (request: http.IncomingMessage): Promise<string> => {
  let body = ""
  for await (const chunk of request) body += String(chunk)
  return body
}

const send = (response: http.ServerResponse, { body = "", headers = {}, status = 200 }: Answer): void => {
  const isRaw = typeof body === "string" || body instanceof Uint8Array
  response.writeHead(status, { ...(isRaw ? {} : { "content-type": "application/json" }), ...headers })
  response.end(isRaw ? body : JSON.stringify(body))
}

/** The page by which a browser posts the answer. */
const postingPage = (action: string, answer: URLSearchParams): Answer => ({
  headers: { "content-type": "text/html" },
  body: `<form method="post" action="${action}">${
    [...answer].map(([name, value]) => `<input type="hidden" name="${name}" value="${value}">`).join("")
  }</form>`
})

export const seconds = (): number => Math.floor(Date.now() / 1000)

const leftHalf = (text: string): string => {
  const hash = createHash("sha256").update(text).digest()
  return hash.subarray(0, hash.length / 2).toString("base64url")
}

export const start: Effect.Effect<Provider, never, Scope.Scope> = Effect.gen(function*() {
  const server = http.createServer()
  const port = yield* Effect.acquireRelease(listen(server, 0), () => stop(server))
  const issuer = `http://127.0.0.1:${port}`
  let key = yield* Effect.promise(() => newKey("ES256"))
  const seen: Array<Seen> = []
  const asked: Array<Asked> = []
  const pushed = new Map<string, URLSearchParams>()
  const codes = new Map<string, Asked>()

  const bend: Bend = {
    user: "alice",
    metadata: (honest) => honest,
    jwks: (honest) => honest,
    answer: (honest) => honest,
    claims: (honest) => honest,
    header: (honest) => honest,
    idToken: (honest) => honest,
    token: (honest) => honest,
    userInfo: (honest) => ({ body: honest }),
    revocation: () => ({}),
    push: (honest) => honest,
    nonce: undefined
  }

  const sign = (claims: Json, header: Partial<jose.JWTHeaderParameters> = {}): Promise<string> =>
    new jose.SignJWT({ ...claims }).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey)

  const metadata = (): Answer => ({
    body: bend.metadata({
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      userinfo_endpoint: `${issuer}/userinfo`,
      revocation_endpoint: `${issuer}/revoke`,
      end_session_endpoint: `${issuer}/end`,
      authorization_response_iss_parameter_supported: true
    })
  })

  const unpacked = (query: URLSearchParams): Asked => {
    const stored = pushed.get(query.get("request_uri") ?? "")
    const given = stored ?? query
    const request = given.get("request")
    if (request === null) return { parameters: given, pushed: stored !== undefined, signed: undefined }
    const parameters = new URLSearchParams()
    for (const [name, value] of Object.entries(jose.decodeJwt(request))) {
      for (const item of Array.isArray(value) ? value : [value]) parameters.append(name, String(item))
    }
    return { parameters, pushed: stored !== undefined, signed: jose.decodeProtectedHeader(request) }
  }

  const authorize = ({ form }: Seen): Answer => {
    const one = unpacked(form)
    asked.push(one)
    const code = randomUUID()
    codes.set(code, one)
    const answer = bend.answer(
      new URLSearchParams({ code, state: one.parameters.get("state") ?? "", iss: issuer }),
      one
    )
    const redirectUri = one.parameters.get("redirect_uri") ?? ""
    if (one.parameters.get("response_mode") === "form_post") return postingPage(redirectUri, answer)
    return { status: 303, headers: { location: `${redirectUri}?${answer}` } }
  }

  const idTokenOf = async (parameters: URLSearchParams, accessToken: string): Promise<string | undefined> => {
    const claims = bend.claims({
      iss: issuer,
      sub: bend.user,
      aud: parameters.get("client_id"),
      iat: seconds(),
      exp: seconds() + 3600,
      sid: `sid-of-${bend.user}`,
      name: `Name of ${bend.user}`,
      at_hash: leftHalf(accessToken),
      ...(parameters.has("nonce") ? { nonce: parameters.get("nonce") } : {}),
      ...(parameters.has("max_age") ? { auth_time: seconds() } : {}),
      ...(parameters.has("acr_values") ? { acr: parameters.get("acr_values")?.split(" ")[0] } : {})
    })
    const honest = await sign(claims, bend.header({ alg: key.alg, kid: key.kid, typ: "JWT" }))
    return bend.idToken(honest, claims)
  }

  const token = async (one: Seen): Promise<Answer> => {
    const proof = one.headers.dpop
    if (typeof proof === "string" && bend.nonce !== undefined && jose.decodeJwt(proof).nonce !== bend.nonce) {
      return { status: 400, headers: { "dpop-nonce": bend.nonce }, body: { error: "use_dpop_nonce" } }
    }
    const code = one.form.get("code")
    const parameters = code === null ? new URLSearchParams() : codes.get(code)?.parameters
    if (parameters === undefined) return { status: 400, body: { error: "invalid_grant" } }
    if (code !== null) {
      const challenge = createHash("sha256").update(one.form.get("code_verifier") ?? "").digest("base64url")
      if (challenge !== parameters.get("code_challenge")) return { status: 400, body: { error: "invalid_grant" } }
      codes.delete(code)
    }
    const accessToken = `access-${randomUUID()}`
    const isLogin = code !== null
    return {
      body: {
        access_token: accessToken,
        token_type: proof === undefined ? "Bearer" : "DPoP",
        expires_in: 3600,
        ...(one.form.get("grant_type") === "client_credentials" ? {} : { refresh_token: `refresh-${randomUUID()}` }),
        ...(isLogin ? { id_token: await idTokenOf(parameters, accessToken) } : {})
      }
    }
  }

  const push = (one: Seen): Answer => {
    const requestUri = `urn:ietf:params:oauth:request_uri:${randomUUID()}`
    pushed.set(requestUri, one.form)
    return { status: 201, body: { request_uri: requestUri, expires_in: 60 } }
  }

  const answers: Readonly<Record<string, (one: Seen) => Answer | undefined | Promise<Answer | undefined>>> = {
    "/.well-known/openid-configuration": metadata,
    "/jwks": () => ({ body: { keys: bend.jwks([key.publicJwk]) } }),
    "/authorize": authorize,
    "/token": async (one) => bend.token(await token(one), one),
    "/userinfo": (one) => bend.userInfo({ sub: bend.user, email: `${bend.user}@example.com` }, one),
    "/revoke": (one) => bend.revocation(one),
    "/push": (one) => bend.push(push(one), one),
    "/end": () => ({ body: "signed out there" })
  }

  const serve = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const { pathname, searchParams } = new URL(request.url ?? "/", issuer)
    const { headers, method = "GET" } = request
    const form = method === "POST" ? new URLSearchParams(await read(request)) : searchParams
    const one: Seen = { method, path: pathname, form, headers }
    seen.push(one)
    const answer = await (answers[pathname] ?? (() => ({ status: 404 })))(one)
    if (answer !== undefined) send(response, answer)
  }
  server.on("request", (request, response) => {
    serve(request, response).catch((error: unknown) => send(response, { status: 500, body: String(error) }))
  })

  return {
    issuer,
    bend,
    seen,
    asked,
    requests: (path) => seen.filter((one) => one.path === path),
    key: () => key,
    rotateKeys: (alg = "ES256") =>
      Effect.promise(async () => {
        key = await newKey(alg)
      }),
    sign: (claims, header) => Effect.promise(() => sign(claims, header)),
    signText: (payload) =>
      new jose.CompactSign(typeof payload === "string" ? new TextEncoder().encode(payload) : payload)
        .setProtectedHeader({ alg: key.alg, kid: key.kid })
        .sign(key.privateKey)
  }
})
