/**
 * A client of an authorization server: who we are there, and where to ask.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type { Endpoints } from "./AuthorizationServer.ts"
import * as ClientAuthentication from "./ClientAuthentication.ts"
import { found, parseField, shapeOf } from "./internal/problem.ts"
import { insecure } from "./internal/url.ts"
import { type ClientProblem, TokenClientInvalid } from "./OAuthError.ts"
import * as OAuthValues from "./OAuthValues.ts"
import * as SigningKey from "./SigningKey.ts"
import { parametersProblem, type ParameterValue } from "./TokenRequestParameters.ts"

/**
 * What a developer says of a client. Either `tokenEndpoint` or `issuer` is needed; with `issuer`, every endpoint that is
 * not given is discovered when it is first used (RFC 8414).
 *
 * `clientSecret` alone means `client_secret_basic`, `privateKey` alone `private_key_jwt`, and none of these and no
 * `authentication` means `none`.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenClientOptions {
  readonly tokenEndpoint?: string | URL | undefined
  /** Compared as a string, exactly as the server writes it. */
  readonly issuer?: string | undefined
  /** RFC 7009. */
  readonly revocationEndpoint?: string | URL | undefined
  /** RFC 7662. */
  readonly introspectionEndpoint?: string | URL | undefined
  /** RFC 9126. */
  readonly pushedAuthorizationRequestEndpoint?: string | URL | undefined
  /** RFC 8628. */
  readonly deviceAuthorizationEndpoint?: string | URL | undefined
  readonly clientId: string
  readonly clientSecret?: Redacted.Redacted<string> | undefined
  /**
   * A private JWK as JSON text or as an object, for `private_key_jwt`, which is meant where no `authentication` is named.
   */
  readonly privateKey?: SigningKey.SigningKey | Redacted.Redacted<string> | Redacted.Redacted<object> | undefined
  readonly authentication?: ClientAuthentication.Method | ClientAuthentication.ClientAuthentication | undefined
  /**
   * Bind tokens to a key, of which every request then carries a proof (RFC 9449): a private JWK as JSON text or as an
   * object, or `true` for the key of `DPoPKeyStore`.
   */
  readonly dpop?: boolean | SigningKey.SigningKey | Redacted.Redacted<string> | Redacted.Redacted<object> | undefined
  /** Take a token that is bound to no key although `dpop` asked for one. Default false. */
  readonly allowDowngrade?: boolean | undefined
  readonly scope?: string | undefined
  readonly resource?: string | ReadonlyArray<string> | undefined
  /** Extra form fields of every token request. */
  readonly parameters?: Readonly<Record<string, ParameterValue>> | undefined
  /** The client's own way to its authorization server; wins over `Backchannel`. */
  readonly httpClient?: HttpClient.HttpClient | undefined
  /** Accept `http:` beyond loopback. Default false. */
  readonly allowInsecure?: boolean | undefined
  /** Of one attempt, answer and body together. Default 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** In bytes. Default 1 MiB. */
  readonly maxResponseSize?: number | undefined
  /** Of a token whose answer names none. Default: it never expires. */
  readonly defaultLifetime?: Duration.DurationInput | undefined
  /** How long before its end a token counts as expired; never more than a tenth of its lifetime. Default 60 seconds. */
  readonly expiryBuffer?: Duration.DurationInput | undefined
  /** Renew in the background from 80 % of the lifetime on. Default true. */
  readonly refreshAhead?: boolean | undefined
  /** Of an acquisition as a whole, retries and waits included. Default 20 seconds. */
  readonly acquireTimeout?: Duration.DurationInput | undefined
  /** Send W3C trace context to the authorization server. Default false. */
  readonly propagateTrace?: boolean | undefined
}

/**
 * A client whose definition was checked.
 *
 * @since 0.1.0
 * @category models
 */
export class TokenClient extends Data.TaggedClass("TokenClient")<{
  readonly name: OAuthValues.TokenClientName
  readonly clientId: OAuthValues.ClientId
  readonly authentication: ClientAuthentication.ClientAuthentication
  readonly dpop: SigningKey.SigningKey | true | undefined
  readonly allowDowngrade: boolean
  readonly issuer: string | undefined
  readonly tokenEndpoint: URL | undefined
  readonly revocationEndpoint: URL | undefined
  readonly introspectionEndpoint: URL | undefined
  readonly pushedAuthorizationRequestEndpoint: URL | undefined
  readonly deviceAuthorizationEndpoint: URL | undefined
  readonly scope: OAuthValues.Scope | undefined
  readonly resource: ReadonlyArray<OAuthValues.Resource>
  readonly parameters: Readonly<Record<string, ParameterValue>>
  readonly httpClient: HttpClient.HttpClient | undefined
  readonly allowInsecure: boolean
  readonly timeout: Duration.Duration
  readonly maxResponseSize: number
  readonly defaultLifetime: Duration.Duration
  readonly expiryBuffer: Duration.Duration
  readonly refreshAhead: boolean
  readonly acquireTimeout: Duration.Duration
  readonly propagateTrace: boolean
}> {}

const methods: ReadonlyArray<ClientAuthentication.Method> = [
  "client_secret_basic",
  "client_secret_post",
  "client_secret_jwt",
  "private_key_jwt",
  "tls_client_auth",
  "self_signed_tls_client_auth",
  "none"
]

/** A secret signs with as many bytes as its hash has, or more (RFC 7518 section 3.2). */
const hmacBytes = { HS256: 32, HS384: 48, HS512: 64 }

type Key = SigningKey.SigningKey | undefined

/**
 * Collects the problems of one client; each read gives a value that is only used if there was none.
 */
class Fields {
  readonly problems: Array<ClientProblem> = []
  constructor(readonly client: string, readonly options: TokenClientOptions) {}

  wrong(field: string, problem: string): undefined {
    this.problems.push({ client: this.client, field, problem })
    return undefined
  }

  url(field: keyof Endpoints | "issuer"): URL | undefined {
    const value: unknown = this.options[field]
    if (value === undefined) return undefined
    const url = value instanceof URL
      ? value
      : typeof value === "string" && URL.canParse(value)
      ? new URL(value)
      : undefined
    if (url === undefined) return this.wrong(field, found("expected an absolute URL", value))
    if (url.username !== "" || url.password !== "") {
      return this.wrong(field, "expected a URL without user name and password: use clientId and clientSecret")
    }
    // An empty query or fragment is one, and is not in the parts of a URL.
    if (field === "issuer" && /[?#]/.test(String(value))) {
      return this.wrong(field, "expected an issuer without query and fragment (RFC 8414 section 2)")
    }
    if (url.hash !== "") return this.wrong(field, "expected a URL without fragment (RFC 6749 section 3.2)")
    const problem = insecure(url, this.options.allowInsecure === true)
    return problem === undefined ? url : this.wrong(field, `${problem}, found ${url.protocol}//${url.host}`)
  }

  duration(
    field: "timeout" | "defaultLifetime" | "expiryBuffer" | "acquireTimeout",
    otherwise: Duration.DurationInput
  ) {
    const value = this.options[field]
    const duration = Duration.decodeUnknown(value === undefined ? otherwise : value)
    if (Option.isSome(duration)) return duration.value
    this.wrong(field, `expected a duration such as "10 seconds", found ${shapeOf(value)}`)
    return Duration.zero
  }

  boolean(field: "allowInsecure" | "allowDowngrade" | "refreshAhead" | "propagateTrace", otherwise: boolean): boolean {
    const value: unknown = this.options[field]
    if (typeof value === "boolean") return value
    if (value !== undefined) this.wrong(field, found("expected true or false", value))
    return otherwise
  }

  size(): number {
    const value: unknown = this.options.maxResponseSize
    if (value === undefined) return 1024 * 1024
    if (typeof value === "number" && Number.isInteger(value) && value > 0) return value
    this.wrong("maxResponseSize", found("expected a whole number of bytes above 0", value))
    return 0
  }

  /** A key, made ready once and for all. */
  key(field: "dpop" | "privateKey"): Effect.Effect<Key> {
    const value: unknown = this.options[field]
    if (value === undefined || typeof value === "boolean") return Effect.succeed(undefined)
    if (value instanceof SigningKey.SigningKey) return Effect.succeed(value)
    if (!Redacted.isRedacted(value)) {
      return Effect.sync(() => this.wrong(field, found("expected a Redacted private JWK or a SigningKey", value)))
    }
    return Effect.catchAll(SigningKey.make(value), ({ problem }) => Effect.sync(() => this.wrong(field, problem)))
  }

  dpop(key: Key): SigningKey.SigningKey | true | undefined {
    return this.options.dpop === true ? true : key
  }

  secret(): OAuthValues.ClientSecret | undefined {
    const { clientSecret } = this.options
    return clientSecret === undefined
      ? undefined
      : Either.getOrElse(
        parseField(OAuthValues.ClientSecret, clientSecret),
        (problem) => this.wrong("clientSecret", problem)
      )
  }

  /** Of the three ways to say it, exactly one may be used. */
  authentication(key: Key): ClientAuthentication.ClientAuthentication {
    const { authentication, clientSecret, privateKey } = this.options
    const secret = this.secret()
    if (Predicate.isObject(authentication)) return this.authenticationValue(authentication)
    const method = authentication ??
      (privateKey !== undefined ? "private_key_jwt" : clientSecret !== undefined ? "client_secret_basic" : "none")
    if (!methods.includes(method)) {
      this.wrong("authentication", found(`expected one of ${methods.join(", ")}`, method))
      return ClientAuthentication.none
    }
    const usesSecret = method.startsWith("client_secret_")
    const usesKey = method === "private_key_jwt"
    if (clientSecret !== undefined && !usesSecret) this.wrong("clientSecret", `${method} uses no secret: leave it out`)
    if (privateKey !== undefined && !usesKey) this.wrong("privateKey", `${method} uses no private key: leave it out`)
    if (clientSecret === undefined && usesSecret) {
      this.wrong("clientSecret", `${method} needs a client secret, found nothing`)
    }
    if (privateKey === undefined && usesKey) this.wrong("privateKey", `${method} needs a private key, found nothing`)
    return this.authenticationBy(method, secret, key)
  }

  authenticationBy(
    method: ClientAuthentication.Method,
    secret: OAuthValues.ClientSecret | undefined,
    key: Key
  ): ClientAuthentication.ClientAuthentication {
    switch (method) {
      case "tls_client_auth":
      case "self_signed_tls_client_auth":
        return ClientAuthentication.tlsClientAuth()
      case "private_key_jwt":
        return key === undefined ? ClientAuthentication.none : ClientAuthentication.privateKeyJwt(key)
      case "client_secret_basic":
        return secret === undefined ? ClientAuthentication.none : ClientAuthentication.clientSecretBasic(secret)
      case "client_secret_post":
        return secret === undefined ? ClientAuthentication.none : ClientAuthentication.clientSecretPost(secret)
      case "client_secret_jwt":
        return secret === undefined
          ? ClientAuthentication.none
          : this.authenticationValue(ClientAuthentication.clientSecretJwt(secret))
      case "none":
        return ClientAuthentication.none
    }
  }

  /** One that was put together in code, and may ask for what this definition does not have. */
  authenticationValue(
    authentication: ClientAuthentication.ClientAuthentication
  ): ClientAuthentication.ClientAuthentication {
    const { authentication: given, clientSecret, issuer, privateKey } = this.options
    const leaveOut = "the authentication is complete in itself: leave this out"
    if (authentication === given && clientSecret !== undefined) this.wrong("clientSecret", leaveOut)
    if (authentication === given && privateKey !== undefined) this.wrong("privateKey", leaveOut)
    if ("audience" in authentication && authentication.audience === "issuer" && issuer === undefined) {
      this.wrong("authentication", "its audience is the issuer, and no issuer is given")
    }
    if (authentication._tag === "ClientSecretJwt") {
      const { length } = new TextEncoder().encode(Redacted.value(authentication.secret))
      const bytes = hmacBytes[authentication.algorithm]
      if (length < bytes) {
        const needs = `${authentication.algorithm} needs a secret of ${bytes} bytes or more (RFC 7518 section 3.2)`
        this.wrong("clientSecret", `${needs}, found ${length}`)
      }
    }
    return authentication
  }

  scope(): OAuthValues.Scope | undefined {
    const { scope } = this.options
    return scope === undefined
      ? undefined
      : Either.getOrElse(parseField(OAuthValues.Scope, scope), (problem) => this.wrong("scope", problem))
  }

  resource(): ReadonlyArray<OAuthValues.Resource> {
    const { resource } = this.options
    const items: ReadonlyArray<unknown> = resource === undefined ? [] : Array.isArray(resource) ? resource : [resource]
    return items.flatMap((item) =>
      Either.match(parseField(OAuthValues.Resource, item), {
        onLeft: (problem) => this.wrong("resource", problem) ?? [],
        onRight: (value) => [value]
      })
    )
  }

  parameters(): Readonly<Record<string, ParameterValue>> {
    const { parameters } = this.options
    if (parameters === undefined) return {}
    const problem = parametersProblem(parameters)
    if (problem !== undefined) this.wrong(problem.field, problem.problem)
    return { ...parameters }
  }
}

type Parsed = Either.Either<TokenClient, Array<ClientProblem>>

/** @internal */
export const parse = (name: string, options: TokenClientOptions): Effect.Effect<Parsed> =>
  Effect.suspend(() => {
    const fields = new Fields(name, options)
    return Effect.zipWith(fields.key("privateKey"), fields.key("dpop"), (privateKey, dpop) => {
      const clientName = parseField(OAuthValues.TokenClientName, name)
      if (Either.isLeft(clientName)) fields.wrong("name", clientName.left)
      const clientId = parseField(OAuthValues.ClientId, options.clientId)
      if (Either.isLeft(clientId)) fields.wrong("clientId", clientId.left)
      if (options.tokenEndpoint === undefined && options.issuer === undefined) {
        fields.wrong("tokenEndpoint", "expected tokenEndpoint, or issuer to discover it from, found neither")
      }
      fields.url("issuer")
      const client = {
        authentication: fields.authentication(privateKey),
        dpop: fields.dpop(dpop),
        allowDowngrade: fields.boolean("allowDowngrade", false),
        issuer: options.issuer,
        tokenEndpoint: fields.url("tokenEndpoint"),
        revocationEndpoint: fields.url("revocationEndpoint"),
        introspectionEndpoint: fields.url("introspectionEndpoint"),
        pushedAuthorizationRequestEndpoint: fields.url("pushedAuthorizationRequestEndpoint"),
        deviceAuthorizationEndpoint: fields.url("deviceAuthorizationEndpoint"),
        scope: fields.scope(),
        resource: fields.resource(),
        parameters: fields.parameters(),
        httpClient: options.httpClient,
        allowInsecure: fields.boolean("allowInsecure", false),
        timeout: fields.duration("timeout", "10 seconds"),
        maxResponseSize: fields.size(),
        defaultLifetime: fields.duration("defaultLifetime", Duration.infinity),
        expiryBuffer: fields.duration("expiryBuffer", "60 seconds"),
        refreshAhead: fields.boolean("refreshAhead", true),
        acquireTimeout: fields.duration("acquireTimeout", "20 seconds"),
        propagateTrace: fields.boolean("propagateTrace", false)
      }
      return Either.isRight(clientName) && Either.isRight(clientId) && fields.problems.length === 0
        ? Either.right(new TokenClient({ name: clientName.right, clientId: clientId.right, ...client }))
        : Either.left(fields.problems)
    })
  })

const same = (one: unknown, other: unknown): boolean => {
  // A secret has an equality of its own and nothing else to look at.
  if (Equal.equals(one, other) || Equal.isEqual(one) || Equal.isEqual(other)) return Equal.equals(one, other)
  if (one instanceof URL && other instanceof URL) return one.href === other.href
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, index) => same(item, other[index]))
  }
  return Predicate.isReadonlyRecord(one) && Predicate.isReadonlyRecord(other) && sameFields(one, other)
}

const sameFields = (one: Readonly<Record<string, unknown>>, other: Readonly<Record<string, unknown>>): boolean =>
  Object.keys(one).length === Object.keys(other).length && Object.keys(one).every((key) => same(one[key], other[key]))

/** @internal Whether two definitions, secrets included, say the same. */
export const isSame = (self: TokenClient, that: TokenClient): boolean => sameFields({ ...self }, { ...that })

/** @internal */
export const invalid = (problems: ReadonlyArray<ClientProblem>): TokenClientInvalid => {
  const [first, ...rest] = problems
  return new TokenClientInvalid({
    problems: [first ?? { client: "", field: "", problem: "not usable" }, ...rest]
  })
}

/**
 * A client for a request of its own, outside `TokenClients`. Fails with every problem of the definition at once.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (name: string, options: TokenClientOptions): Effect.Effect<TokenClient, TokenClientInvalid> =>
  Effect.flatMap(parse(name, options), Either.mapLeft(invalid))
