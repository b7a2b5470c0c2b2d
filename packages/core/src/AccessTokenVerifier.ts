/**
 * The resource server's question: whether an access token is good, and what it says. Answered by the token, where it is a JWT
 * (RFC 9068), or by the server that gave it (RFC 7662).
 *
 * `ResourceServer` asks it for each request.
 *
 * @since 0.1.0
 */
import type * as HttpClient from "@effect/platform/HttpClient"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { nameOf } from "./internal/problem.ts"
import * as Introspections from "./internal/resource/introspections.ts"
import * as TokenClaims from "./internal/resource/tokenClaims.ts"
import * as Jwt from "./Jwt.ts"
import { JwtVerifier } from "./JwtVerifier.ts"
import type { DiscoveryError, TokenClientInvalid, TokenClientNotFound } from "./OAuthError.ts"
import * as OAuthLogging from "./OAuthLogging.ts"
import type { SigningAlgorithm } from "./OAuthValues.ts"
import { Signer } from "./Signer.ts"
import * as TokenClient from "./TokenClient.ts"
import { type LookupError, TokenClients } from "./TokenClients.ts"
import { type ExchangeError, type Introspection, TokenEndpoint } from "./TokenEndpoint.ts"
import { type Reason, TokenRefused, VerificationUnavailable, VerifiedToken } from "./VerifiedToken.ts"

/**
 * The options of a verifier are not usable. One error lists every problem.
 *
 * @since 0.1.0
 * @category errors
 */
export class VerifierInvalid
  extends Schema.TaggedError<VerifierInvalid>("@effect-oauth/core/VerifierInvalid")("VerifierInvalid", {
    problems: Schema.NonEmptyArray(Schema.Struct({ field: Schema.String, problem: Schema.String }))
  })
{
  override get message(): string {
    return "this AccessTokenVerifier is not usable:" +
      this.problems.map(({ field, problem }) => `\n  ${field}: ${problem}`).join("")
  }
}

/**
 * @since 0.1.0
 * @category tags
 */
export class AccessTokenVerifier
  extends Context.Tag("@effect-oauth/core/AccessTokenVerifier")<AccessTokenVerifier, Verifier>()
{}

/**
 * What is behind the Tag, and what `combine` puts together.
 *
 * @since 0.1.0
 * @category models
 */
export interface Verifier {
  readonly verify: (
    token: Redacted.Redacted<string>
  ) => Effect.Effect<VerifiedToken, TokenRefused | VerificationUnavailable>
}

/**
 * Access tokens that are JWTs of one issuer (RFC 9068 section 4).
 *
 * - `issuer`: exactly as the server writes it. Its keys are discovered (RFC 8414).
 * - `audience`: what the server calls this API; one of them has to be in `aud`.
 * - `algorithms`: default all of `SigningKey.algorithms`.
 * - `clockTolerance`: for `exp` and `nbf`, at most 5 minutes. Default 5 seconds.
 * - `requireType`: `typ` has to be `at+jwt`, and `exp`, `iat`, `sub` and `client_id` have to be there. Default true. Without
 *   it a `typ` of `JWT`, or none, will do, and only `exp` has to be there, for servers that do not follow RFC 9068.
 * - `httpClient`, `allowInsecure`: the way to the issuer, as for a `TokenClient`.
 *
 * @since 0.1.0
 * @category models
 */
export interface JwtOptions {
  readonly issuer: string
  readonly audience: string | ReadonlyArray<string>
  readonly algorithms?: ReadonlyArray<SigningAlgorithm> | undefined
  readonly clockTolerance?: Duration.DurationInput | undefined
  readonly requireType?: boolean | undefined
  readonly httpClient?: HttpClient.HttpClient | undefined
  readonly allowInsecure?: boolean | undefined
}

/**
 * Access tokens that their server is asked about (RFC 7662).
 *
 * - `client`: the name, in `TokenClients`, of the client that asks. Its issuer, where it has one, has to be the token's, where
 *   the server says that. A JWT of another issuer is not asked about.
 * - `audience`: what the server calls this API; one of them has to be in the answer's `aud`. Without it, tokens for anybody
 *   will do, which is right only where the server answers each API about its own tokens.
 * - `cacheFor`: how long an answer is used, and so how long a revoked token is taken at most; never beyond the token's end. At
 *   most 10 minutes, default 30 seconds.
 * - `capacity`: of how many tokens answers are kept. Default 10,000.
 * - `timeout`: of a question with its repetitions. Default 5 seconds.
 * - `clockTolerance`: as in `JwtOptions`.
 *
 * @since 0.1.0
 * @category models
 */
export interface IntrospectionOptions {
  readonly client?: string | undefined
  readonly audience?: string | ReadonlyArray<string> | undefined
  readonly cacheFor?: Duration.DurationInput | undefined
  readonly capacity?: number | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly clockTolerance?: Duration.DurationInput | undefined
}

const refused = (reason: Reason, problem: string) => new TokenRefused({ reason, problem })

const listOf = (value: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  value === undefined ? [] : typeof value === "string" ? [value] : value

const verified = (
  issuer: string | undefined,
  claims: TokenClaims.Claims,
  expected: TokenClaims.Expected
): Either.Either<VerifiedToken, TokenRefused> =>
  Either.mapBoth(TokenClaims.read(claims, expected), {
    onLeft: ({ problem, reason }) => refused(reason, problem),
    onRight: (read) =>
      new VerifiedToken({
        ...read,
        issuer,
        expiresAt: read.expiresAt === undefined ? undefined : DateTime.unsafeMake(read.expiresAt),
        authTime: read.authTime === undefined ? undefined : DateTime.unsafeMake(read.authTime),
        claims: Redacted.make(claims)
      })
  })

/** A span of time in milliseconds, or nothing where it is none of that size. */
const millis = (input: Duration.DurationInput, least: number, most: number): number | undefined => {
  const value = Duration.decodeUnknown(input)
  const found = value._tag === "Some" ? Duration.toMillis(value.value) : Number.NaN
  return found >= least && found <= most ? found : undefined
}

const minute = 60_000

/** One error for all that is wrong. */
const checked = (problems: Readonly<Record<string, string | undefined>>): Effect.Effect<void, VerifierInvalid> => {
  const [first, ...others] = Object.entries(problems).flatMap(([field, problem]) =>
    problem === undefined ? [] : [{ field, problem }]
  )
  return first === undefined ? Effect.void : Effect.fail(new VerifierInvalid({ problems: [first, ...others] }))
}

const toleranceProblem = (value: number | undefined) =>
  value === undefined ? "expected a duration of at most 5 minutes" : undefined

const audienceProblem = (audience: ReadonlyArray<string>) =>
  audience.length > 0 && audience.every((one) => typeof one === "string" && one !== "")
    ? undefined
    : "expected one or more names of this API"

const unavailable = (
  log: OAuthLogging.Log,
  error: { readonly _tag: string; readonly message: string; readonly retryAfter?: Duration.Duration | undefined },
  clientName: string
): Effect.Effect<never, VerificationUnavailable> =>
  Effect.zipRight(
    log.warning(clientName, `access tokens cannot be checked: ${error.message}`),
    new VerificationUnavailable({ cause: nameOf(error), retryAfter: error.retryAfter })
  )

/** `at+jwt`, whatever its case and with `application/` or not (RFC 9068 section 4). */
const isAccessTokenType = (typ: unknown): boolean => typeof typ === "string" && /^(?:application\/)?at\+jwt$/i.test(typ)

/**
 * @since 0.1.0
 * @category constructors
 */
export const makeJwt = (
  options: JwtOptions
): Effect.Effect<Verifier, VerifierInvalid | TokenClientInvalid, JwtVerifier> =>
  Effect.gen(function*() {
    const { algorithms, allowInsecure, httpClient, issuer, requireType = true } = options
    const audience = listOf(options.audience)
    const clockTolerance = millis(options.clockTolerance ?? "5 seconds", 0, 5 * minute)
    yield* checked({
      audience: audienceProblem(audience),
      clockTolerance: toleranceProblem(clockTolerance)
    })
    const jwts = yield* JwtVerifier
    const log = yield* OAuthLogging.make
    // Nobody signs in as this client: it says where the keys are.
    const client = yield* TokenClient.make(issuer, { issuer, clientId: "resource-server", allowInsecure, httpClient })
    const types = requireType ? ["at+jwt"] : ["at+jwt", "JWT"]
    const required: TokenClaims.Expected["required"] = requireType ? ["exp", "iat", "sub", "client_id"] : ["exp"]

    return {
      verify: (token) =>
        Effect.gen(function*() {
          const jwt = Jwt.parse(Redacted.value(token))
          if (Option.isNone(jwt)) return yield* refused("foreign", "it is no JWT")
          // Nothing of it is believed yet; this says only whose keys to try.
          if (jwt.value.payload.iss !== issuer) return yield* refused("foreign", "it is of another issuer")
          const { header, payload } = yield* jwts.verify(client, token, { algorithms, types }).pipe(
            Effect.catchTags({
              JwtInvalid: ({ problem, reason }) => refused(reason, problem),
              DiscoveryError: (error: DiscoveryError) => unavailable(log, error, client.name)
            })
          )
          if (requireType && !isAccessTokenType(header.typ)) return yield* refused("type", "its typ is not at+jwt")
          if (payload.iss !== issuer) return yield* refused("issuer", "it is of another issuer")
          const now = yield* Clock.currentTimeMillis
          return yield* verified(issuer, payload, { audience, now, clockTolerance: clockTolerance ?? 0, required })
        })
    }
  })

/** Which issuer a token names itself; an opaque one names none. */
const issuerOf = (token: Redacted.Redacted<string>): unknown =>
  Option.getOrUndefined(Jwt.parse(Redacted.value(token)))?.payload.iss

/** Some servers answer with an address that they are reached at, others not at all. */
const isOther = (issuer: string | undefined, said: unknown): boolean =>
  issuer !== undefined && said !== undefined && said !== issuer

/** How long an answer may be used. */
const lifetime = ({ active, claims }: Introspection, asked: number, cacheFor: number): number =>
  active && typeof claims.exp === "number" ? Math.min(cacheFor, claims.exp * 1000 - asked) : cacheFor

/**
 * @since 0.1.0
 * @category constructors
 */
export const makeIntrospection = (
  options: IntrospectionOptions = {}
): Effect.Effect<
  Verifier,
  VerifierInvalid | TokenClientNotFound,
  TokenEndpoint | TokenClients | Signer | Scope.Scope
> =>
  Effect.gen(function*() {
    const { capacity = 10_000 } = options
    const audience = listOf(options.audience)
    const clockTolerance = millis(options.clockTolerance ?? "5 seconds", 0, 5 * minute)
    const cacheFor = millis(options.cacheFor ?? "30 seconds", 0, 10 * minute)
    const timeout = millis(options.timeout ?? "5 seconds", 1, 10 * minute)
    yield* checked({
      audience: options.audience === undefined ? undefined : audienceProblem(audience),
      clockTolerance: toleranceProblem(clockTolerance),
      cacheFor: cacheFor === undefined ? "expected a duration of at most 10 minutes" : undefined,
      timeout: timeout === undefined ? "expected a duration of 1 millisecond to 10 minutes" : undefined,
      capacity: Number.isInteger(capacity) && capacity > 0 && capacity <= 10_000_000
        ? undefined
        : "expected a whole number from 1 to 10,000,000"
    })
    const endpoint = yield* TokenEndpoint
    const clients = yield* TokenClients
    const signer = yield* Signer
    const log = yield* OAuthLogging.make
    yield* clients.check(options.client)
    const answers = yield* Introspections.make<Introspection, VerificationUnavailable>({
      capacity,
      lifetime: (answer, asked) => lifetime(answer, asked, cacheFor ?? 0),
      isProvoked: ({ active }) => !active,
      interrupted: () => new VerificationUnavailable({ cause: "Closed" }),
      limit: timeout ?? minute
    })

    const ask = (client: TokenClient.TokenClient, token: Redacted.Redacted<string>) =>
      endpoint.introspect(client, token, "access_token").pipe(
        Effect.timeoutFail({
          duration: timeout ?? minute,
          onTimeout: () => ({ _tag: "Timeout", message: `the server did not answer within ${timeout} ms` } as const)
        }),
        Effect.catchAll((error: ExchangeError | { readonly _tag: "Timeout"; readonly message: string }) =>
          unavailable(log, error, client.name)
        )
      )

    return {
      verify: (token) =>
        Effect.gen(function*() {
          const client = yield* Effect.catchAll(
            clients.get(options.client),
            (error: LookupError) => unavailable(log, error, options.client ?? "")
          )
          if (isOther(client.issuer, issuerOf(token))) return yield* refused("foreign", "it is of another issuer")
          const key = `${client.name} ${yield* signer.sha256(Redacted.value(token))}`
          const { active, claims } = yield* answers.get(key, ask(client, token))
          if (!active) return yield* refused("inactive", "its server says that it is not valid, or not any more")
          if (isOther(client.issuer, claims.iss)) return yield* refused("issuer", "it is of another issuer")
          const issuer = client.issuer ?? (typeof claims.iss === "string" ? claims.iss : undefined)
          const now = yield* Clock.currentTimeMillis
          return yield* verified(issuer, claims, { audience, now, clockTolerance: clockTolerance ?? 0, required: [] })
        })
    }
  })

/** Whether another verifier may know the token that this one does not. */
const mayBeKnownElsewhere = ({ reason }: TokenRefused): boolean => reason === "foreign" || reason === "inactive"

/** What two verifiers say of one token, of which the first could not decide. */
const both = (
  first: TokenRefused | VerificationUnavailable,
  second: TokenRefused | VerificationUnavailable
): TokenRefused | VerificationUnavailable => {
  if (second._tag === "VerificationUnavailable" || !mayBeKnownElsewhere(second)) return second
  return first._tag === "VerificationUnavailable" || second.reason === "foreign" ? first : second
}

/**
 * The first that knows the token decides. Those after it are asked only about tokens that are not its own, so put issuers of
 * JWTs before introspection, and servers that may see the tokens of others last: a question shows them the token. If none
 * knows it and one could not be asked, nobody can say.
 *
 * @since 0.1.0
 * @category combinators
 */
export const combine = (verifiers: ReadonlyArray<Verifier>): Verifier => ({
  verify: (token) => {
    // A JWT says whose it is, so another server would not know better.
    const decides = (error: TokenRefused | VerificationUnavailable): boolean =>
      error._tag === "TokenRefused" ? !mayBeKnownElsewhere(error) : Option.isSome(Jwt.parse(Redacted.value(token)))
    const none: ReturnType<Verifier["verify"]> = Effect.fail(
      refused("foreign", "it is of no server that is known here")
    )
    return verifiers.reduceRight(
      (next, { verify }) =>
        Effect.catchAll(
          verify(token),
          (error): ReturnType<Verifier["verify"]> =>
            decides(error) ? Effect.fail(error) : Effect.mapError(next, (second) => both(error, second))
        ),
      none
    )
  }
})

/**
 * Several ways side by side, in this order, see `combine`.
 *
 * @example
 * ```ts
 * import { AccessTokenVerifier } from "@effect-oauth/core"
 *
 * const audience = "https://api.example.com"
 *
 * export const VerifierLive = AccessTokenVerifier.layer([
 *   AccessTokenVerifier.makeJwt({ issuer: "https://login.example.com", audience }),
 *   AccessTokenVerifier.makeIntrospection({ client: "partners", audience })
 * ])
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <const A extends ReadonlyArray<Effect.Effect<Verifier, any, any>>>(
  verifiers: A
): Layer.Layer<
  AccessTokenVerifier,
  Effect.Effect.Error<A[number]>,
  Exclude<Effect.Effect.Context<A[number]>, Scope.Scope>
> => {
  const made = all<Effect.Effect.Error<A[number]>, Effect.Effect.Context<A[number]>>(verifiers)
  return Layer.scoped(AccessTokenVerifier, Effect.map(made, combine))
}

const all = <E, R>(
  verifiers: ReadonlyArray<Effect.Effect<Verifier, E, R>>
): Effect.Effect<ReadonlyArray<Verifier>, E, R> => Effect.all(verifiers)

/**
 * Of one issuer or of several.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerJwt = (
  ...options: readonly [JwtOptions, ...ReadonlyArray<JwtOptions>]
): Layer.Layer<AccessTokenVerifier, VerifierInvalid | TokenClientInvalid, JwtVerifier> => layer(options.map(makeJwt))

/**
 * @since 0.1.0
 * @category layers
 */
export const layerIntrospection = (
  options?: IntrospectionOptions
): Layer.Layer<
  AccessTokenVerifier,
  VerifierInvalid | TokenClientNotFound,
  TokenEndpoint | TokenClients | Signer
> => layer([makeIntrospection(options)])
