/** What an authorization server was asked, without anything that could be used. */
import * as jose from "jose"
import type Provider from "oidc-provider"

/** A request that was answered. It names form fields, and never says what was in them. */
export interface ServedRequest {
  readonly method: string
  /** A login that goes on after its pages is "/auth/:uid". */
  readonly path: string
  readonly fields: ReadonlyArray<string>
  /** Of the client that authenticated itself. */
  readonly clientId: string | undefined
  readonly status: number
  /** The code of an OAuth error. */
  readonly error: string | undefined
  /** The DPoP proof and the client assertion that came along. */
  readonly proof: SeenJwt | undefined
  readonly assertion: SeenJwt | undefined
}

/** Which one it was: enough to tell it from another, and nothing to send. */
export interface SeenJwt {
  readonly id: string
  readonly algorithm: string
}

interface Context {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly body: unknown
  readonly get: (header: string) => string
  /** Absent where no route was found. */
  readonly oidc?: {
    readonly body?: { readonly [field: string]: unknown }
    readonly client?: { readonly clientId: string }
  }
}

const seen = (jwt: unknown): SeenJwt | undefined => {
  if (typeof jwt !== "string" || jwt === "") return undefined
  try {
    return { id: String(jose.decodeJwt(jwt).jti), algorithm: String(jose.decodeProtectedHeader(jwt).alg) }
  } catch {
    return undefined
  }
}

const errorOf = (body: unknown): string | undefined =>
  typeof body === "object" && body !== null && "error" in body ? String(body.error) : undefined

const servedRequest = (context: Context): ServedRequest => {
  const { body, method, oidc, path, status } = context
  return {
    method,
    path: path.replace(/^\/auth\/.+/, "/auth/:uid"),
    fields: Object.keys(oidc?.body ?? {}),
    clientId: oidc?.client?.clientId,
    status,
    error: errorOf(body),
    proof: seen(context.get("dpop")),
    assertion: seen(oidc?.body?.client_assertion)
  }
}

export interface Observed {
  /** How many requests have reached the token endpoint, answered or not. */
  readonly tokenRequests: () => number
  readonly requests: () => ReadonlyArray<ServedRequest>
}

export interface Observer extends Observed {
  /** Watches one more provider, such as the successor of another. */
  readonly watch: (provider: Provider) => void
}

export const observer = (onAnswer?: (request: ServedRequest) => void): Observer => {
  const requests: Array<ServedRequest> = []
  let tokenRequests = 0
  const watch = (provider: Provider) => {
    provider.use(async (ctx, next) => {
      if (ctx.method === "POST" && ctx.path === "/token") tokenRequests++
      await next()
      const request = servedRequest(ctx as unknown as Context)
      requests.push(request)
      onAnswer?.(request)
    })
  }
  return { watch, tokenRequests: () => tokenRequests, requests: () => requests }
}

export const observe = (provider: Provider): Observed => {
  const { watch, ...observed } = observer()
  watch(provider)
  return observed
}
