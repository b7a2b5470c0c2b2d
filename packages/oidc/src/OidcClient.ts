/**
 * A registration at an OpenID provider: who we are there, and how users sign in.
 *
 * @since 0.1.0
 */
import type { AuthorizationDetail } from "@effect-oauth/core/AuthorizationDetails"
import type { ClientProblem } from "@effect-oauth/core/OAuthError"
import { Scope } from "@effect-oauth/core/OAuthValues"
import * as SigningKey from "@effect-oauth/core/SigningKey"
import * as TokenClient from "@effect-oauth/core/TokenClient"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { localPath } from "./internal/browser/localPath.ts"

/** What a registration says as a client of the core does. */
const sharedFields = [
  "tokenEndpoint",
  "revocationEndpoint",
  "pushedAuthorizationRequestEndpoint",
  "deviceAuthorizationEndpoint",
  "clientId",
  "clientSecret",
  "privateKey",
  "authentication",
  "allowDowngrade",
  "parameters",
  "httpClient",
  "allowInsecure",
  "timeout",
  "maxResponseSize",
  "defaultLifetime",
  "acquireTimeout",
  "propagateTrace"
] as const satisfies ReadonlyArray<keyof TokenClient.TokenClientOptions>

/**
 * How the server's answer to a login comes: in the address, or by a form; with `.jwt` as one signed JWT (JARM), whose
 * signature, issuer, audience and expiry are checked before anything in it is believed.
 *
 * @since 0.1.0
 * @category models
 */
export type ResponseMode = "query" | "form_post" | "query.jwt" | "form_post.jwt"

/**
 * What a developer says of a registration. Who we are is said as in `TokenClients` of `@effect-oauth/core`; the endpoints
 * are discovered from `issuer` at first use, unless they are given.
 *
 * @since 0.1.0
 * @category models
 */
export interface OidcClientOptions extends Pick<TokenClient.TokenClientOptions, typeof sharedFields[number]> {
  /** Compared as a string, exactly as the server writes it. */
  readonly issuer: string
  /** The client that is meant where no name is given. Not needed for the only one. */
  readonly default?: boolean | undefined
  /** Default `openid profile offline_access`. `openid` has to be in it. */
  readonly scope?: string | undefined
  /** What the user's tokens are for (RFC 8707). */
  readonly resource?: string | ReadonlyArray<string> | undefined
  /**
   * Bind the user's tokens to a key (RFC 9449): `true` for one of each session, which never leaves the session; or a private
   * JWK for all of them.
   */
  readonly dpop?: TokenClient.TokenClientOptions["dpop"]
  /** Send the login's parameters to the server directly (RFC 9126). Default `auto`: when the server offers it. */
  readonly pushedAuthorization?: "auto" | "always" | "never" | undefined
  /**
   * Sign the login's parameters (RFC 9101): `true` with the key of `private_key_jwt`, or with a private JWK. Default false.
   */
  readonly signedRequest?: TokenClient.TokenClientOptions["dpop"]
  /**
   * Default `query`. With `form_post` the server's answer comes by POST from a page of the server's. Browsers send it with
   * cookies only that are `SameSite=None`, as the login's cookie is then: over `https:` alone, and where third parties'
   * cookies are not blocked. The session's cookie stays `SameSite=Lax` and is not sent, so such a login always begins a
   * session of its own: who had signed in with other clients in this browser has to do so again.
   */
  readonly responseMode?: ResponseMode | undefined
  /** The user is to be authenticated in one of these ways, in the order of preference; refused otherwise. */
  readonly acrValues?: string | undefined
  /** What exactly users are to allow, where scopes are too coarse (RFC 9396). */
  readonly authorizationDetails?: ReadonlyArray<AuthorizationDetail> | undefined
  /** How long ago the user may have been authenticated. */
  readonly maxAge?: Duration.DurationInput | undefined
  /** Such as `consent`, which some servers want for a refresh token. */
  readonly prompt?: string | undefined
  /** Ask the userinfo endpoint at each sign-in (OpenID Connect Core 1.0 section 5.3). Default false. */
  readonly userInfo?: boolean | undefined
  /** More parameters of the login; those of the protocol cannot be replaced. */
  readonly authorizationParameters?: Readonly<Record<string, string>> | undefined
  /** Default `/auth/callback`. */
  readonly callbackPath?: string | undefined
  /** Where the provider sends users after they have signed out. Default `/`. */
  readonly postLogoutPath?: string | undefined
  /** The signatures of ID tokens that are accepted. Default: every asymmetric one. */
  readonly idTokenAlgorithms?: ReadonlyArray<SigningKey.Algorithm> | undefined
  /** Default `name`. */
  readonly nameClaim?: string | undefined
  /** Default `role`. */
  readonly roleClaim?: string | undefined
  /** How far the server's clock may be off. Default 60 seconds. */
  readonly clockTolerance?: Duration.DurationInput | undefined
  /** How long before its end a token is renewed; never more than a tenth of its lifetime. Default 60 seconds. */
  readonly refreshBefore?: Duration.DurationInput | undefined
  /** What is done with an expired token that cannot be renewed. Default `fail`. */
  readonly onMissingRefreshToken?: "fail" | "useExpired" | undefined
  /** What signing out revokes. Default `refresh`. */
  readonly revokeOnSignOut?: "refresh" | "both" | "nothing" | undefined
  /** Of the tokens of the program's own authority, see `OidcClients.tokenClientName`. */
  readonly clientCredentialsScope?: string | undefined
  readonly clientCredentialsResource?: string | ReadonlyArray<string> | undefined
}

/**
 * A registration whose definition was checked. `login` is the client as the requests for users' tokens are made with it,
 * `machine` as the program's own are.
 *
 * @since 0.1.0
 * @category models
 */
export class OidcClient extends Data.TaggedClass("OidcClient")<{
  readonly name: string
  readonly issuer: string
  readonly isDefault: boolean
  readonly login: TokenClient.TokenClient
  readonly machine: TokenClient.TokenClientOptions
  readonly scope: string
  readonly resource: ReadonlyArray<string>
  readonly dpop: SigningKey.SigningKey | "session" | undefined
  readonly pushedAuthorization: "auto" | "always" | "never"
  readonly requestKey: SigningKey.SigningKey | undefined
  readonly responseMode: ResponseMode
  readonly acrValues: string | undefined
  readonly authorizationDetails: ReadonlyArray<AuthorizationDetail> | undefined
  readonly maxAge: Duration.Duration | undefined
  readonly prompt: string | undefined
  readonly userInfo: boolean
  readonly authorizationParameters: Readonly<Record<string, string>>
  readonly callbackPath: string
  readonly postLogoutPath: string
  readonly idTokenAlgorithms: ReadonlyArray<SigningKey.Algorithm>
  readonly nameClaim: string
  readonly roleClaim: string
  readonly clockTolerance: Duration.Duration
  readonly refreshBefore: Duration.Duration
  readonly onMissingRefreshToken: "fail" | "useExpired"
  readonly revokeOnSignOut: "refresh" | "both" | "nothing"
}> {}

/** @internal Parameters of the login that are not anybody's to choose. */
export const reserved: ReadonlySet<string> = new Set([
  "response_type",
  "response_mode",
  "client_id",
  "redirect_uri",
  "scope",
  "state",
  "nonce",
  "code_challenge",
  "code_challenge_method",
  "dpop_jkt",
  "request",
  "request_uri",
  "resource",
  "authorization_details",
  "client_secret",
  "client_assertion",
  "client_assertion_type"
])

const choices = {
  pushedAuthorization: ["auto", "always", "never"],
  responseMode: ["query", "form_post", "query.jwt", "form_post.jwt"],
  onMissingRefreshToken: ["fail", "useExpired"],
  revokeOnSignOut: ["refresh", "both", "nothing"]
} as const

type Choices = typeof choices

const isScope = Schema.is(Scope)

/** Collects what is wrong with the fields that only this package knows; each read gives a value that is used if nothing was. */
class Fields {
  readonly problems: Array<ClientProblem> = []
  constructor(readonly client: string, readonly options: OidcClientOptions) {}

  wrong(field: string, problem: string): void {
    this.problems.push({ client: this.client, field, problem })
  }

  text<K extends "acrValues" | "prompt" | "nameClaim" | "roleClaim">(field: K): string | undefined {
    const value: unknown = this.options[field]
    if (value === undefined) return undefined
    if (typeof value === "string" && value !== "") return value
    this.wrong(field, "expected a text that is not empty")
    return undefined
  }

  flag(field: "default" | "userInfo"): boolean {
    const value: unknown = this.options[field]
    if (value !== undefined && typeof value !== "boolean") this.wrong(field, "expected true or false")
    return value === true
  }

  choice<K extends keyof Choices>(field: K): Choices[K][number] {
    const possible: ReadonlyArray<Choices[K][number]> = choices[field]
    const value: unknown = this.options[field]
    const chosen = value === undefined ? possible[0] : possible.find((each) => each === value)
    if (chosen !== undefined) return chosen
    this.wrong(field, `expected one of ${possible.join(", ")}`)
    return possible[0]!
  }

  path(field: "callbackPath" | "postLogoutPath", otherwise: string): string {
    const value: unknown = this.options[field]
    if (value === undefined) return otherwise
    const path = localPath(value)
    // The callback is a route, in which some characters have a meaning.
    if (path !== undefined && (field === "postLogoutPath" || /^[^?#:*()]+$/.test(path))) return path
    this.wrong(field, "expected a path of this program, such as /auth/callback")
    return otherwise
  }

  duration(
    field: "clockTolerance" | "refreshBefore" | "maxAge",
    otherwise: Duration.DurationInput
  ): Duration.Duration {
    const value = this.options[field]
    const duration = Duration.decodeUnknown(value ?? otherwise)
    if (Option.isSome(duration) && Duration.isFinite(duration.value)) return duration.value
    this.wrong(field, `expected a duration such as "60 seconds"`)
    return Duration.zero
  }

  scope(): string {
    const { scope = "openid profile offline_access" } = this.options
    if (!isScope(scope)) this.wrong("scope", "expected scopes, separated by single spaces (RFC 6749 section 3.3)")
    else if (!scope.split(" ").includes("openid")) this.wrong("scope", "openid has to be among the scopes of a login")
    return scope
  }

  parameters(): Readonly<Record<string, string>> {
    const { authorizationParameters = {} } = this.options
    for (const [name, value] of Object.entries(authorizationParameters)) {
      const field = `authorizationParameters.${name}`
      if (reserved.has(name)) this.wrong(field, `"${name}" belongs to the protocol`)
      if (typeof value !== "string") this.wrong(field, "expected a text")
    }
    return { ...authorizationParameters }
  }

  details(): ReadonlyArray<AuthorizationDetail> | undefined {
    const { authorizationDetails } = this.options
    if (authorizationDetails === undefined) return undefined
    const isUsable = Array.isArray(authorizationDetails) &&
      authorizationDetails.length > 0 && authorizationDetails.every((detail) => typeof detail?.type === "string")
    if (!isUsable) {
      this.wrong("authorizationDetails", "expected one detail or more, each with a type (RFC 9396 section 2)")
    }
    return authorizationDetails
  }

  algorithms(): ReadonlyArray<SigningKey.Algorithm> {
    const { idTokenAlgorithms = SigningKey.algorithms } = this.options
    if (idTokenAlgorithms.length > 0 && idTokenAlgorithms.every((each) => SigningKey.algorithms.includes(each))) {
      return idTokenAlgorithms
    }
    this.wrong("idTokenAlgorithms", `expected some of ${SigningKey.algorithms.join(", ")}`)
    return []
  }

  key(field: "dpop" | "signedRequest"): Effect.Effect<SigningKey.SigningKey | undefined> {
    const value: unknown = this.options[field]
    if (value === undefined || typeof value === "boolean") return Effect.succeed(undefined)
    if (value instanceof SigningKey.SigningKey) return Effect.succeed(value)
    if (!Redacted.isRedacted(value)) {
      return Effect.sync(() => {
        this.wrong(field, "expected true, a Redacted private JWK or a SigningKey")
        return undefined
      })
    }
    return Effect.catchAll(SigningKey.make(value), ({ problem }) =>
      Effect.sync(() => {
        this.wrong(field, problem)
        return undefined
      }))
  }

  requestKey(login: TokenClient.TokenClient | undefined, own: SigningKey.SigningKey | undefined) {
    if (this.options.signedRequest !== true) return own
    if (login === undefined) return undefined
    if (login.authentication._tag === "PrivateKeyJwt") return login.authentication.key
    this.wrong("signedRequest", "without private_key_jwt there is no key to sign with: give one here")
    return undefined
  }
}

const shared = (options: OidcClientOptions): TokenClient.TokenClientOptions =>
  Struct.pick(options, "issuer", ...sharedFields)

/** @internal Of the token client that is derived from it. */
export const tokenClientName = (name: string): string => `oidc:${name}`

/** @internal The reverse. */
export const registrationName = (tokenClientName: string): string | undefined =>
  tokenClientName.startsWith("oidc:") ? tokenClientName.slice("oidc:".length) : undefined

/** @internal */
export const parse = (
  name: string,
  options: OidcClientOptions
): Effect.Effect<Either.Either<OidcClient, ReadonlyArray<ClientProblem>>> =>
  Effect.gen(function*() {
    const fields = new Fields(name, options)
    const machine = {
      ...shared(options),
      scope: options.clientCredentialsScope,
      resource: options.clientCredentialsResource,
      dpop: options.dpop
    }
    // The scopes and resources of a login are asked for once, not with each refresh.
    const login = yield* Effect.either(TokenClient.make(name, { ...shared(options), resource: options.resource }))
    // A client of the core may have a token endpoint instead.
    const hasIssuer = typeof options.issuer === "string"
    if (!hasIssuer) fields.wrong("issuer", "is needed for a login")
    if (Either.isLeft(login)) {
      fields.problems.push(
        ...login.left.problems.filter(({ field }) => hasIssuer || !/^(?:issuer|tokenEndpoint)$/.test(field))
      )
    }
    const machineProblems = yield* Effect.either(
      TokenClient.make(name, { clientId: "x", issuer: "https://x", scope: machine.scope, resource: machine.resource })
    )
    if (Either.isLeft(machineProblems)) {
      for (const { field, problem } of machineProblems.left.problems) {
        fields.wrong(field === "scope" ? "clientCredentialsScope" : "clientCredentialsResource", problem)
      }
    }
    const known = Either.getOrUndefined(login)
    const dpop = yield* fields.key("dpop")
    const requestKey = fields.requestKey(known, yield* fields.key("signedRequest"))
    const own = {
      isDefault: fields.flag("default"),
      scope: fields.scope(),
      dpop: options.dpop === true ? "session" as const : dpop,
      pushedAuthorization: fields.choice("pushedAuthorization"),
      requestKey,
      responseMode: fields.choice("responseMode"),
      acrValues: fields.text("acrValues"),
      authorizationDetails: fields.details(),
      maxAge: options.maxAge === undefined ? undefined : fields.duration("maxAge", 0),
      prompt: fields.text("prompt"),
      userInfo: fields.flag("userInfo"),
      authorizationParameters: fields.parameters(),
      callbackPath: fields.path("callbackPath", "/auth/callback"),
      postLogoutPath: fields.path("postLogoutPath", "/"),
      idTokenAlgorithms: fields.algorithms(),
      nameClaim: fields.text("nameClaim") ?? "name",
      roleClaim: fields.text("roleClaim") ?? "role",
      clockTolerance: fields.duration("clockTolerance", "60 seconds"),
      refreshBefore: fields.duration("refreshBefore", "60 seconds"),
      onMissingRefreshToken: fields.choice("onMissingRefreshToken"),
      revokeOnSignOut: fields.choice("revokeOnSignOut")
    }
    if (known === undefined || fields.problems.length > 0) return Either.left(fields.problems)
    return Either.right(
      new OidcClient({
        name,
        issuer: options.issuer,
        login: new TokenClient.TokenClient({ ...known, resource: [] }),
        machine,
        resource: known.resource,
        ...own
      })
    )
  })
