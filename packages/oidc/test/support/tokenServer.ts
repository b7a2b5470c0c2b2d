/** A token endpoint without a network: rotates refresh tokens, takes each of them once, and does what a test tells it. */
import { AccessToken, OAuthError, OAuthValues, TokenEndpoint, TokenGrant } from "@effect-oauth/core"
import type { SigningKey, TokenRequestParameters } from "@effect-oauth/core"
import { Clock, DateTime, type Duration, Effect, Layer, Redacted, Schema } from "effect"
import type { Option } from "effect"

export interface Asked {
  /** Of an exchange: whose token. */
  readonly subject: string | undefined
  /** Empty, if a token of the program's own was asked for. */
  readonly refreshToken: string
  readonly parameters: TokenRequestParameters.TokenRequestParameters
  readonly key: SigningKey.SigningKey | undefined
}

export interface Given {
  readonly access: string
  readonly type?: string | undefined
  /** In seconds; `undefined` never ends. */
  readonly lifetime?: number | undefined
  readonly refresh?: string | undefined
  readonly idToken?: string | undefined
  readonly scope?: string | undefined
}

export interface Revoked {
  readonly token: string
  readonly hint: string | undefined
  readonly parameters:
    | Pick<TokenRequestParameters.TokenRequestParameters, "assertion" | "context" | "parameters">
    | undefined
}

type Answer = Effect.Effect<Given, TokenEndpoint.ExchangeError>

const from = { clientName: "web", endpoint: "https://as.test/token" }

export const refusal = (error: string, status = 400) => new OAuthError.TokenEndpointError({ ...from, status, error })

export const unreachable = new OAuthError.TokenTransportError({ ...from, reason: "Connection", code: "ECONNRESET" })

export const accessToken = (
  { access, lifetime, scope, type = "Bearer" }: Given,
  now: number,
  keyThumbprint?: string
): AccessToken.AccessToken =>
  new AccessToken.AccessToken({
    value: Redacted.make(access),
    type: Schema.decodeSync(OAuthValues.TokenType)(type),
    clientName: "web",
    scope,
    obtainedAt: DateTime.unsafeMake(now),
    expiresAt: lifetime === undefined ? undefined : DateTime.unsafeMake(now + lifetime * 1000),
    keyThumbprint
  })

const redacted = (text: string | undefined) => text === undefined ? undefined : Redacted.make(text)

/** The first refresh token is `refresh-0`; the n-th answer is `access-n` and `refresh-n`, for 100 seconds. */
export const make = () => {
  const asked: Array<Asked> = []
  const revoked: Array<Revoked> = []
  const used = new Set<string>()
  const server = {
    asked,
    revoked,
    /** Refresh tokens that were shown again after they had been used up. */
    reused: [] as Array<string>,
    answer: (_: Asked, number: number): Answer =>
      Effect.succeed({ access: `access-${number}`, lifetime: 100, refresh: `refresh-${number}` }),
    revocation: (_: Revoked): Effect.Effect<void, TokenEndpoint.ExchangeError> => Effect.void
  }
  const request: TokenEndpoint.TokenEndpoint["Type"]["request"] = (_, grant, parameters = {}, options = {}) =>
    Effect.gen(function*() {
      const presented = TokenGrant.fieldsOf(grant).refresh_token
      const refreshToken = Redacted.isRedacted(presented) ? String(Redacted.value(presented)) : ""
      const { subject_token: subject } = TokenGrant.fieldsOf(grant)
      const one: Asked = {
        subject: Redacted.isRedacted(subject) ? String(Redacted.value(subject)) : undefined,
        refreshToken,
        parameters,
        key: options.dpop
      }
      asked.push(one)
      const sentAt = yield* Clock.currentTimeMillis
      if (used.has(refreshToken)) {
        server.reused.push(refreshToken)
        return yield* refusal("invalid_grant")
      }
      const given = yield* server.answer(one, asked.length)
      if (refreshToken !== "" && given.refresh !== undefined && given.refresh !== refreshToken) used.add(refreshToken)
      return {
        accessToken: accessToken(given, sentAt, given.type === "DPoP" ? options.dpop?.thumbprint : undefined),
        refreshToken: redacted(given.refresh),
        idToken: redacted(given.idToken),
        issuedTokenType: undefined,
        raw: Redacted.make({})
      }
    })
  const unused = () => Effect.dieMessage("not in this test")
  const service: TokenEndpoint.TokenEndpoint["Type"] = {
    request,
    revoke: (_, token, hint, parameters) =>
      Effect.suspend(() => {
        const one = { token: Redacted.value(token), hint, parameters }
        revoked.push(one)
        return server.revocation(one)
      }),
    introspect: unused,
    pushAuthorization: unused,
    authorizeDevice: unused
  }
  return Object.assign(server, {
    layer: Layer.succeed(TokenEndpoint.TokenEndpoint, service),
    /** What the refresh tokens were that it was shown. */
    presented: () => asked.map(({ refreshToken }) => refreshToken)
  })
}

export type TokenServer = ReturnType<typeof make>

/** Answers after this long. */
export const slowly = (server: TokenServer, duration: Duration.DurationInput): void => {
  const { answer } = server
  server.answer = (asked, number) => Effect.delay(answer(asked, number), duration)
}

export const valueOf = (token: { readonly accessToken: AccessToken.AccessToken }): string =>
  Redacted.value(token.accessToken.value)

export const textOf = (secret: Option.Option<Redacted.Redacted<string>>): string | undefined =>
  secret._tag === "Some" ? Redacted.value(secret.value) : undefined
