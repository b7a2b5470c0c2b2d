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
import type * as Redacted from "effect/Redacted"
import * as ClientAuthentication from "./ClientAuthentication.ts"
import { found, parseField, shapeOf } from "./internal/problem.ts"
import { insecure } from "./internal/url.ts"
import { type ClientProblem, TokenClientInvalid } from "./OAuthError.ts"
import * as OAuthValues from "./OAuthValues.ts"
import { parametersProblem, type ParameterValue } from "./TokenRequestParameters.ts"

/**
 * What a developer says of a client. Either `tokenEndpoint` or `issuer` is needed; with `issuer`, every endpoint that is
 * not given is discovered when it is first used (RFC 8414).
 *
 * `clientSecret` alone means `client_secret_basic`, neither it nor `authentication` means `none`.
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
  readonly clientId: string
  readonly clientSecret?: Redacted.Redacted<string> | undefined
  readonly authentication?: ClientAuthentication.Method | ClientAuthentication.ClientAuthentication | undefined
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
  readonly issuer: string | undefined
  readonly tokenEndpoint: URL | undefined
  readonly revocationEndpoint: URL | undefined
  readonly introspectionEndpoint: URL | undefined
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

const methods: ReadonlyArray<string> = ["client_secret_basic", "client_secret_post", "none"]

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

  url(field: "tokenEndpoint" | "revocationEndpoint" | "introspectionEndpoint" | "issuer"): URL | undefined {
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

  boolean(field: "allowInsecure" | "refreshAhead" | "propagateTrace", otherwise: boolean): boolean {
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

  authentication(): ClientAuthentication.ClientAuthentication {
    const { authentication, clientSecret } = this.options
    const secret = clientSecret === undefined
      ? undefined
      : Either.getOrElse(
        parseField(OAuthValues.ClientSecret, clientSecret),
        (problem) => this.wrong("clientSecret", problem)
      )
    if (Predicate.isObject(authentication)) {
      if (clientSecret !== undefined) {
        this.wrong("clientSecret", "the authentication holds the secret already: leave one out")
      }
      return authentication
    }
    if (authentication === undefined) {
      return secret === undefined ? ClientAuthentication.none : ClientAuthentication.clientSecretBasic(secret)
    }
    if (!methods.includes(authentication)) {
      this.wrong("authentication", found(`expected one of ${methods.join(", ")}`, authentication))
    } else if (authentication === "none") {
      if (clientSecret !== undefined) this.wrong("clientSecret", "a public client (authentication none) has no secret")
    } else if (clientSecret === undefined) {
      this.wrong("clientSecret", `${authentication} needs a client secret, found nothing`)
    } else if (secret !== undefined) {
      return authentication === "client_secret_basic"
        ? ClientAuthentication.clientSecretBasic(secret)
        : ClientAuthentication.clientSecretPost(secret)
    }
    return ClientAuthentication.none
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

/** @internal */
export const parse = (name: string, options: TokenClientOptions): Either.Either<TokenClient, Array<ClientProblem>> => {
  const fields = new Fields(name, options)
  const clientName = parseField(OAuthValues.TokenClientName, name)
  if (Either.isLeft(clientName)) fields.wrong("name", clientName.left)
  const clientId = parseField(OAuthValues.ClientId, options.clientId)
  if (Either.isLeft(clientId)) fields.wrong("clientId", clientId.left)
  if (options.tokenEndpoint === undefined && options.issuer === undefined) {
    fields.wrong("tokenEndpoint", "expected tokenEndpoint, or issuer to discover it from, found neither")
  }
  fields.url("issuer")
  const client = {
    authentication: fields.authentication(),
    issuer: options.issuer,
    tokenEndpoint: fields.url("tokenEndpoint"),
    revocationEndpoint: fields.url("revocationEndpoint"),
    introspectionEndpoint: fields.url("introspectionEndpoint"),
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
}

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
  Effect.suspend(() => Either.mapLeft(parse(name, options), invalid))
