/**
 * An authorization server that all processes of a run share, behind a stub `HttpClient`. It takes a code and a refresh token
 * once, ends all tokens of a login when one is presented again (RFC 9700 section 4.14.2), and remembers what it has answered
 * and whether the answer reached its process.
 */
import { HttpClient, HttpClientError, type HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { Effect, Stream } from "effect"
import { idTokenOf, parse, tokenOf } from "./tokens.ts"
import type { Failure, Host, World } from "./world.ts"

export const issuer = "https://as.test"

export type Outcome = "ok" | "invalid_grant" | "other" | "unsent" | "unknown"

/** One presentation of a refresh token, a code or a device code. */
export interface Presentation {
  readonly kind: "refresh" | "code" | "device"
  readonly value: string
  login: string
  readonly host: Host
  readonly at: number
  outcome: Outcome
  /** Whether the answer has reached the process. */
  delivered: boolean
  /** Whether the answer was lost on its way, so that no process can know of it. */
  isAnswerLost: boolean
  readonly wasStoreFaulty: boolean
}

interface Login {
  readonly name: string
  readonly user: string
  isRevoked: boolean
}

interface Refresh {
  readonly login: Login
  isUsed: boolean
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

type Form = URLSearchParams

const tokenLifetime = 100

const refusal = (error: string): Answer => ({ status: 400, body: { error } })

const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  revocation_endpoint: `${issuer}/revoke`,
  device_authorization_endpoint: `${issuer}/device`,
  end_session_endpoint: `${issuer}/end`,
  jwks_uri: `${issuer}/jwks`,
  authorization_response_iss_parameter_supported: true
}

const formOf = ({ body }: HttpClientRequest.HttpClientRequest): Form =>
  new URLSearchParams(body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : "")

/** Without a stream of the platform, whose chunks come in tasks that no scheduler knows. */
const responseOf = (request: HttpClientRequest.HttpClientRequest, { body, status }: Answer) => {
  const bytes = new TextEncoder().encode(body === undefined ? "" : JSON.stringify(body))
  const response = HttpClientResponse.fromWeb(
    request,
    new Response(null, { status, headers: { "content-type": "application/json" } })
  )
  Object.defineProperty(response, "stream", { value: Stream.succeed(bytes) })
  return response
}

export class ScriptedServer {
  readonly presentations: Array<Presentation> = []
  /** When each access token was given, by its value. */
  readonly issuedAt = new Map<string, number>()
  /** When it was asked for each access token. */
  readonly askedAt = new Map<string, number>()
  readonly revoked = new Set<string>()
  /** The ID tokens that it gives with a refresh cannot be verified. */
  hasUnknownKey = false
  /** Every refresh token is dead. */
  refusesRefreshes = false
  /** So many answers to a device code are `authorization_pending`. */
  pendingAnswers = 1
  requests = 0
  #number = 0
  readonly #logins = new Map<string, Login>()
  readonly #refreshTokens = new Map<string, Refresh>()
  readonly #codes = new Map<string, { readonly user: string; isUsed: boolean }>()
  readonly #devices = new Map<string, { readonly user: string; isUsed: boolean; asked: number }>()

  constructor(readonly world: World) {}

  /** A user allows a login; the code that the browser is sent back with. */
  authorize(user: string): string {
    const code = `code.${user}.${++this.#number}`
    this.#codes.set(code, { user, isUsed: false })
    return code
  }

  /** A login that happened elsewhere; its refresh token. */
  newLogin(user: string): string {
    return this.#tokensOf(this.#login(user)).refresh_token
  }

  isRevoked(login: string): boolean {
    return this.#logins.get(login)?.isRevoked === true
  }

  /** Access and refresh token of a new login, as its answer holds them. */
  tokens(user: string) {
    return this.#tokensOf(this.#login(user))
  }

  for(host: Host): HttpClient.HttpClient {
    return HttpClient.make((request, url) => this.#answered(host, request, url))
  }

  #answered(
    host: Host,
    request: HttpClientRequest.HttpClientRequest,
    { pathname }: URL
  ): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.RequestError> {
    return Effect.suspend(() => {
      this.requests++
      const form = formOf(request)
      const presentation = this.#presentation(host, form)
      if (presentation !== undefined) this.presentations.push(presentation)
      const askedAt = this.world.now
      return this.world.call({
        host,
        service: "server",
        label: `${pathname} ${presentation?.value ?? form.get("grant_type") ?? form.get("token") ?? ""}`,
        work: () => {
          const answer = this.#answer(pathname, request, form, presentation)
          const token = (answer.body as { readonly access_token?: string } | undefined)?.access_token
          if (token !== undefined) this.askedAt.set(token, askedAt)
          return answer
        },
        failed: (failure) => this.#failed(request, presentation, failure),
        unanswered: () => {
          if (presentation !== undefined) presentation.isAnswerLost = true
        },
        answered: () => {
          if (presentation !== undefined) presentation.delivered = true
        }
      }).pipe(Effect.map((answer) => responseOf(request, answer)))
    })
  }

  #failed(
    request: HttpClientRequest.HttpClientRequest,
    presentation: Presentation | undefined,
    failure: Failure
  ): Effect.Effect<Answer, HttpClientError.RequestError> {
    const note = (outcome: Outcome) => {
      if (presentation !== undefined && presentation.outcome === "unknown") presentation.outcome = outcome
    }
    const broken = (code: string) =>
      Effect.fail(
        new HttpClientError.RequestError({
          request,
          reason: "Transport",
          cause: Object.assign(new Error(code), { code })
        })
      )
    switch (failure) {
      case "fail":
        note("other")
        return Effect.succeed({ status: 503, body: { error: "temporarily_unavailable" } })
      case "bare400":
      case "bare401":
        note("other")
        return Effect.succeed({ status: Number(failure.slice(-3)), body: undefined })
      case "refused":
        note("unsent")
        return broken("ECONNREFUSED")
      case "lost":
        return broken("ECONNRESET")
    }
  }

  #presentation(host: Host, form: Form): Presentation | undefined {
    const of = (kind: Presentation["kind"], value: string, login: string): Presentation => ({
      kind,
      value,
      login,
      host,
      at: this.world.now,
      outcome: "unknown",
      delivered: false,
      isAnswerLost: false,
      wasStoreFaulty: this.world.isOut("store")
    })
    switch (form.get("grant_type")) {
      case "refresh_token": {
        const value = form.get("refresh_token") ?? ""
        return of("refresh", value, parse(value).owner)
      }
      case "authorization_code":
        return of("code", form.get("code") ?? "", "")
      case "urn:ietf:params:oauth:grant-type:device_code":
        return of("device", form.get("device_code") ?? "", "")
      default:
        return undefined
    }
  }

  #answer(
    path: string,
    request: HttpClientRequest.HttpClientRequest,
    form: Form,
    presentation: Presentation | undefined
  ): Answer {
    if (path.startsWith("/.well-known/")) return { status: 200, body: metadata }
    if (path === "/revoke") return this.#revoke(form.get("token") ?? "")
    if (path === "/device") return this.#device()
    if (path !== "/token") return { status: 404, body: undefined }
    const answer = presentation === undefined ? this.#machine(request, form) : this.#exchange(presentation)
    if (presentation !== undefined) {
      const { access_token: token = "", error } = answer.body as {
        readonly access_token?: string
        readonly error?: string
      }
      if (presentation.login === "") presentation.login = parse(token).owner
      presentation.outcome = answer.status === 200 ? "ok" : error === "invalid_grant" ? error : "other"
    }
    return answer
  }

  #exchange({ kind, value }: Presentation): Answer {
    switch (kind) {
      case "refresh":
        return this.#refreshed(value)
      case "code": {
        const code = this.#codes.get(value)
        if (code === undefined || code.isUsed) return refusal("invalid_grant")
        code.isUsed = true
        return { status: 200, body: this.#tokensOf(this.#login(code.user)) }
      }
      case "device": {
        const device = this.#devices.get(value)
        if (device === undefined || device.isUsed) return refusal("invalid_grant")
        if (device.asked++ < this.pendingAnswers) return refusal("authorization_pending")
        device.isUsed = true
        return { status: 200, body: this.#tokensOf(this.#login(device.user)) }
      }
    }
  }

  #refreshed(value: string): Answer {
    const known = this.#refreshTokens.get(value)
    if (known === undefined || known.login.isRevoked || this.refusesRefreshes) return refusal("invalid_grant")
    if (known.isUsed) {
      known.login.isRevoked = true
      return refusal("invalid_grant")
    }
    known.isUsed = true
    const tokens = this.#tokensOf(known.login)
    const { user } = known.login
    return {
      status: 200,
      body: this.hasUnknownKey ? { ...tokens, id_token: idTokenOf(user, false) } : tokens
    }
  }

  #revoke(token: string): Answer {
    this.revoked.add(token)
    const refresh = this.#refreshTokens.get(token)
    if (refresh !== undefined) refresh.login.isRevoked = true
    return { status: 200, body: undefined }
  }

  #device(): Answer {
    const deviceCode = `device.${++this.#number}`
    this.#devices.set(deviceCode, { user: "alice", isUsed: false, asked: 0 })
    return {
      status: 200,
      body: {
        device_code: deviceCode,
        user_code: "ABCD",
        verification_uri: `${issuer}/activate`,
        expires_in: 600,
        interval: 5
      }
    }
  }

  /** A token of the client, for the tenant that the request names. */
  #machine(request: HttpClientRequest.HttpClientRequest, form: Form): Answer {
    const [, credentials = ""] = (request.headers.authorization ?? "").split(" ")
    const [client = ""] = Buffer.from(credentials, "base64").toString().split(":")
    const owner = `${client}.${form.get("tenant") ?? "none"}`
    return { status: 200, body: this.#given(tokenOf("machine", owner, ++this.#number)) }
  }

  #given(accessToken: string) {
    this.issuedAt.set(accessToken, this.world.now)
    return { access_token: accessToken, token_type: "Bearer", expires_in: tokenLifetime }
  }

  #login(user: string): Login {
    const login: Login = { name: `${user}.${++this.#number}`, user, isRevoked: false }
    this.#logins.set(login.name, login)
    return login
  }

  #tokensOf(login: Login) {
    const refreshToken = tokenOf("refresh", login.name, ++this.#number)
    this.#refreshTokens.set(refreshToken, { login, isUsed: false })
    return {
      ...this.#given(tokenOf("access", login.name, this.#number)),
      refresh_token: refreshToken,
      id_token: idTokenOf(login.user, true)
    }
  }
}
