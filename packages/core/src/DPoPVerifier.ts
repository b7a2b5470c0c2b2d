/**
 * The resource server's side of DPoP (RFC 9449): whether a request to an API built on `@effect/platform` comes from the holder
 * of the key that its access token is bound to.
 *
 * It checks proofs. Whether the access token itself is good, and which key it is bound to, its issuer says: in a JWT, or by
 * introspection.
 *
 * @since 0.1.0
 */
import type * as Headers from "@effect/platform/Headers"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { JWK } from "jose"
import * as DPoPProof from "./internal/dpop/dpopProof.ts"
import * as Nonces from "./internal/dpop/nonces.ts"
import * as ProofMemory from "./internal/dpop/proofMemory.ts"
import { normalize, pathOf } from "./internal/dpop/targetUri.ts"
import * as VerificationKeys from "./internal/dpop/verificationKeys.ts"
import * as VerifierSettings from "./internal/dpop/verifierSettings.ts"
import * as OAuthLogging from "./OAuthLogging.ts"
import * as OptionalServices from "./OptionalServices.ts"
import { Signer } from "./Signer.ts"
import type { Algorithm } from "./SigningKey.ts"
import { suspended, TokenStore } from "./TokenStore.ts"
import * as WwwAuthenticate from "./WwwAuthenticate.ts"

/**
 * What is verified: an `HttpServerRequest` is one. Of the URL only the path counts, see `Options.publicUrl`. `originalUrl`
 * comes first where it is given, since a router that mounts routes below a prefix shortens `url`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly method: string
  readonly url: string
  readonly originalUrl?: string | undefined
  readonly headers: Headers.Headers
}

/**
 * The access token that came with a request. `thumbprint` is that of the key it is bound to: `jkt` in the `cnf` of its
 * claims or of its introspection (RFC 9449 section 6). A token without one is bound to no key, and is refused.
 *
 * @since 0.1.0
 * @category models
 */
export interface PresentedToken {
  readonly value: Redacted.Redacted<string>
  readonly thumbprint: string | undefined
}

/**
 * A proof that passed every check. `key` is the public key that signed it and `thumbprint` the key's (RFC 7638); `claims` are
 * all claims, those not of RFC 9449 too.
 *
 * @since 0.1.0
 * @category models
 */
export interface VerifiedProof {
  readonly key: Readonly<JWK>
  readonly thumbprint: string
  readonly jti: string
  readonly issuedAt: DateTime.Utc
  readonly claims: Readonly<Record<string, unknown>>
}

/**
 * Why a proof was refused.
 *
 * - `scheme`: the token did not come as `Authorization: DPoP`; a bound token sent as `Bearer` ends here (section 7.2).
 * - `missing`: no `DPoP` header.
 * - `malformed`: more than one header, no JWT, a claim missing or of another type, another `typ`, or too long.
 * - `algorithm`, `key`, `signature`: an `alg` that is not accepted, a `jwk` that is private, symmetric, weak or of another
 *   kind, a signature of another key.
 * - `method`, `url`, `time`, `nonce`: made for another request, at another time, or without a nonce of this server.
 * - `token`, `binding`: made for another access token, or by another key than the token is bound to.
 * - `replayed`: accepted before.
 * - `overloaded`: more proofs than `replayCapacity` were accepted within the window, so this one could not be remembered.
 *
 * @since 0.1.0
 * @category models
 */
export const Reason = Schema.Literal(...DPoPProof.reasons)

/**
 * @since 0.1.0
 * @category models
 */
export type Reason = typeof Reason.Type

/** The `error` of the answer (RFC 9449 sections 7.1 and 9). */
const codeOf = (reason: Reason): "invalid_dpop_proof" | "use_dpop_nonce" | "invalid_token" => {
  switch (reason) {
    case "nonce":
      return "use_dpop_nonce"
    case "scheme":
    case "binding":
      return "invalid_token"
    default:
      return "invalid_dpop_proof"
  }
}

/**
 * A request did not show that it comes from the holder of the key. `problem` is a sentence that quotes nothing the client
 * sent. `DPoPVerifier.refusal` makes the answer of it.
 *
 * @since 0.1.0
 * @category errors
 */
export class DPoPProofInvalid
  extends Schema.TaggedError<DPoPProofInvalid>("@effect-oauth/core/DPoPProofInvalid")("DPoPProofInvalid", {
    reason: Reason,
    problem: Schema.String
  })
{
  override get message(): string {
    return `this request does not prove that its sender has the key (${this.reason}): ${this.problem}`
  }
}

/**
 * The options of a verifier are not usable. One error lists every problem.
 *
 * @since 0.1.0
 * @category errors
 */
export class DPoPVerifierInvalid
  extends Schema.TaggedError<DPoPVerifierInvalid>("@effect-oauth/core/DPoPVerifierInvalid")("DPoPVerifierInvalid", {
    problems: Schema.NonEmptyArray(Schema.Struct({ field: Schema.String, problem: Schema.String }))
  })
{
  override get message(): string {
    return "this DPoPVerifier is not usable:" +
      this.problems.map(({ field, problem }) => `\n  ${field}: ${problem}`).join("")
  }
}

/**
 * - `rotateAfter`: how long a nonce is the current one. It is accepted for that long once more. Default 5 minutes.
 * - `secret`: what nonces are made from, at least 32 bytes. Default: a random one, which does for one process; processes that
 *   share an address need the same.
 *
 * @since 0.1.0
 * @category models
 */
export interface NonceOptions {
  readonly rotateAfter?: Duration.DurationInput | undefined
  readonly secret?: Redacted.Redacted<string> | undefined
}

/**
 * - `publicUrl`: where clients reach the API, such as `https://api.example.com`; with the path that a proxy takes away before
 *   the request gets here, if one does. More than one where the API has several names. It is an option, because a request
 *   cannot be asked: behind a proxy that ends TLS it does not know, and what `Host` says its sender wrote. Whoever gets hold
 *   of a proof that was made for him could say his own name there.
 * - `algorithms`: of proofs. Default all of `SigningKey.algorithms`.
 * - `window`: how far `iat` may be from this host's clock, to either side, 1 second to 1 day. Default 60
 *   seconds.
 * - `nonces`: whether proofs must hold a nonce of this server (RFC 9449 section 9), which keeps a client from making proofs
 *   in advance. Default `false`: with them, the first request of every client is refused and sent again.
 * - `replayCapacity`: how many accepted proofs are remembered, each for a minute longer than
 *   its `iat` is in the window, so that a process whose clock is behind by so much does not accept it again; about 250 bytes
 *   each. Default 100,000, which is 800 requests a second if clocks agree. When it is full, proofs are refused as
 *   `overloaded` rather than others forgotten, and the last quarter is for clients that hold less than a hundredth of it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly publicUrl: string | ReadonlyArray<string>
  readonly algorithms?: ReadonlyArray<Algorithm> | undefined
  readonly window?: Duration.DurationInput | undefined
  readonly nonces?: boolean | NonceOptions | undefined
  readonly replayCapacity?: number | undefined
}

/**
 * @example
 * ```ts
 * import { DPoPVerifier, Signer } from "@effect-oauth/core"
 * import { HttpMiddleware, HttpServerRequest } from "@effect/platform"
 * import { Effect, Layer, Option, Redacted } from "effect"
 *
 * declare const introspect: (
 *   token: Redacted.Redacted<string>
 * ) => Effect.Effect<{ readonly active: boolean; readonly cnf?: { readonly jkt?: string } }>
 *
 * export const protectedByDPoP = HttpMiddleware.make((app) =>
 *   Effect.gen(function*() {
 *     const verifier = yield* DPoPVerifier.DPoPVerifier
 *     const request = yield* HttpServerRequest.HttpServerRequest
 *     const token = DPoPVerifier.tokenOf(request.headers)
 *     if (Option.isNone(token)) return yield* verifier.refusal()
 *     const { active, cnf } = yield* introspect(token.value)
 *     if (!active) return yield* verifier.refusal("invalid_token")
 *     return yield* verifier.verify(request, { value: token.value, thumbprint: cnf?.jkt }).pipe(
 *       Effect.matchEffect({
 *         onFailure: verifier.refusal,
 *         onSuccess: () => Effect.flatMap(app, verifier.withNonce)
 *       })
 *     )
 *   })
 * )
 *
 * export const VerifierLive = DPoPVerifier.layer({ publicUrl: "https://api.example.com" }).pipe(
 *   Layer.provide(Signer.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category tags
 */
export class DPoPVerifier extends Context.Tag("@effect-oauth/core/DPoPVerifier")<DPoPVerifier, {
  /**
   * Every check of RFC 9449 section 4.3, and that the proof was not accepted before (section 11.1). Of requests with the same
   * proof exactly one passes, in this process, or in all that share the `TokenStore` that was there when this was made.
   *
   * With a token, the request must have brought it as `Authorization: DPoP`, the proof must be made for it, and its key be
   * the one that the token is bound to. Without one it is the check of an endpoint that gives tokens (section 5).
   */
  readonly verify: (request: Request, token?: PresentedToken) => Effect.Effect<VerifiedProof, DPoPProofInvalid>
  /**
   * The answer to a request that was refused: 401 with the challenge, and a nonce where nonces are on (sections 7.1 and 9).
   * Without an error, that to a request without a token; `invalid_token` is for a token that is not good. `overloaded` is
   * answered 503.
   */
  readonly refusal: (error?: DPoPProofInvalid | "invalid_token") => Effect.Effect<HttpServerResponse.HttpServerResponse>
  /**
   * The same answer with the current nonce, so that a client meets no refusal when nonces change (section 8.2). It becomes
   * `Cache-Control: no-store`; one that says that it may be kept stays as it is, since a kept nonce is an old one.
   */
  readonly withNonce: (
    response: HttpServerResponse.HttpServerResponse
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse>
  /** What `DPoP-Nonce` says now; `undefined` where nonces are off. */
  readonly currentNonce: Effect.Effect<string | undefined>
}>() {}

// token68 (RFC 9110 section 11.2)
const credentials = /^dpop +([A-Za-z0-9._~+/-]+=*) *$/i

/**
 * The access token of `Authorization: DPoP` (RFC 9449 section 7.1), if it came in that way.
 *
 * An API that takes `Bearer` too reads that by itself, and calls `verify` for every token that turns out to be bound: it
 * refuses those that came as `Bearer` (section 7.2).
 *
 * @since 0.1.0
 * @category accessors
 */
export const tokenOf = (headers: Headers.Headers): Option.Option<Redacted.Redacted<string>> => {
  const token = credentials.exec(headers.authorization ?? "")?.[1]
  return token === undefined ? Option.none() : Option.some(Redacted.make(token))
}

const checked = (options: Options): Effect.Effect<VerifierSettings.VerifierSettings, DPoPVerifierInvalid> => {
  const settings = VerifierSettings.from(options)
  const [first, ...others] = VerifierSettings.problemsOf(settings)
  return first === undefined
    ? Effect.succeed(settings)
    : Effect.fail(new DPoPVerifierInvalid({ problems: [first, ...others] }))
}

const urisOf = (publicUrls: ReadonlyArray<string>, { originalUrl, url }: Request): ReadonlyArray<string> => {
  const path = pathOf(originalUrl ?? url)
  return path === undefined ? [] : publicUrls.flatMap((base) => normalize(`${base}${path}`) ?? [])
}

const cameAsDPoP = ({ headers }: Request, { value }: PresentedToken): boolean =>
  Option.exists(tokenOf(headers), (token) => Redacted.value(token) === Redacted.value(value))

const isKeyOf = (thumbprint: string, token: PresentedToken) => {
  if (token.thumbprint === thumbprint) return Effect.void
  return DPoPProof.refused(
    "binding",
    token.thumbprint === undefined
      ? "the access token is bound to no key"
      : "the access token is bound to another key than the proof's"
  )
}

const isMadeFor = (proof: DPoPProof.Proof, hash: string) =>
  proof.claims.ath === hash
    ? Effect.void
    : DPoPProof.refused("token", "its ath is not the hash of the access token")

const isNew = (outcome: ProofMemory.Outcome) => {
  switch (outcome) {
    case "new":
      return Effect.void
    case "known":
      return DPoPProof.refused("replayed", "it was accepted before")
    case "full":
      return DPoPProof.refused("overloaded", "too many proofs were accepted lately to remember one more")
  }
}

const keyCapacity = 1000

/** By how much the clocks of processes may differ, in milliseconds. */
const clockDifference = 60_000

/** With the parts that remember given, so that processes can come to share them. */
const makeWith = (
  { algorithms, publicUrls, window }: VerifierSettings.VerifierSettings,
  signer: Signer["Type"],
  memory: ProofMemory.ProofMemory,
  nonces: Nonces.Nonces | undefined
): DPoPVerifier["Type"] => {
  const keys = VerificationKeys.make(signer, keyCapacity)
  const acceptedNonces = nonces === undefined ? Effect.succeed(undefined) : nonces.accepted
  const currentNonce = nonces === undefined ? Effect.succeed(undefined) : nonces.current
  const algs = algorithms.join(" ")

  // What costs nothing goes first, and what is remembered last: only proofs that passed everything else.
  const verify = Effect.fnUntraced(function*(request: Request, token: PresentedToken | undefined) {
    if (token !== undefined && !cameAsDPoP(request, token)) {
      return yield* DPoPProof.refused("scheme", "the access token did not come as Authorization: DPoP")
    }
    const proof = yield* DPoPProof.parse(request.headers.dpop, algorithms)
    const now = yield* Clock.currentTimeMillis
    yield* DPoPProof.judge(proof, {
      method: request.method,
      uris: urisOf(publicUrls, request),
      now,
      window,
      nonces: yield* acceptedNonces
    })
    const thumbprint = yield* keys.thumbprintOf(proof)
    if (token !== undefined) {
      yield* isKeyOf(thumbprint, token)
      yield* isMadeFor(proof, yield* signer.sha256(Redacted.value(token.value)))
    }
    yield* keys.verify(proof, thumbprint)
    // Longer than it is good here: the clock of another process may be behind, or this one be set back.
    const lifetime = proof.iat * 1000 + window - now + Math.min(window, clockDifference)
    yield* isNew(yield* memory.remember(thumbprint, proof.jti, lifetime))
    const { claims, iat, jti, key } = proof
    return { key: key.members, thumbprint, jti, issuedAt: DateTime.unsafeMake(iat * 1000), claims }
  })

  const challenge = (error: DPoPProofInvalid | "invalid_token" | undefined): string => {
    if (error === undefined) return WwwAuthenticate.format([{ scheme: "DPoP", parameters: { algs } }])
    const [code, problem] = error === "invalid_token"
      ? [error, "the access token is not good"]
      : [codeOf(error.reason), error.problem]
    return WwwAuthenticate.format([{ scheme: "DPoP", parameters: { error: code, error_description: problem, algs } }])
  }

  const answer = (error: DPoPProofInvalid | "invalid_token" | undefined) =>
    typeof error === "object" && error.reason === "overloaded"
      ? HttpServerResponse.empty({ status: 503, headers: { "retry-after": "1" } })
      : HttpServerResponse.empty({ status: 401, headers: { "www-authenticate": challenge(error) } })

  const withNonce = (response: HttpServerResponse.HttpServerResponse) => {
    const kept = response.headers["cache-control"]
    return kept !== undefined && !/no-store/i.test(kept)
      ? Effect.succeed(response)
      : Effect.map(currentNonce, (nonce) =>
        nonce === undefined
          ? response
          : HttpServerResponse.setHeaders(response, { "cache-control": "no-store", "dpop-nonce": nonce }))
  }

  return {
    verify: (request, token) =>
      Effect.mapError(verify(request, token), (refused) => new DPoPProofInvalid({ ...refused })),
    refusal: (error) => withNonce(HttpServerResponse.setHeader(answer(error), "cache-control", "no-store")),
    withNonce,
    currentNonce
  }
}

/**
 * A verifier with a memory of its own, and, if there is a `TokenStore`, one that it shares with other processes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<DPoPVerifier["Type"], DPoPVerifierInvalid, Signer> =>
  Effect.gen(function*() {
    const signer = yield* Signer
    const settings = yield* checked(options)
    const nonces = settings.nonces === undefined
      ? undefined
      : yield* Nonces.make(settings.nonces.secret ?? Redacted.make(signer.random(32)), settings.nonces.rotateAfter)
    const own = ProofMemory.make(settings.replayCapacity)
    const store = yield* OptionalServices.get(TokenStore)
    const log = yield* OAuthLogging.make
    const memory = Option.isNone(store) ? own : ProofMemory.shared(own, suspended(store.value), log, signer)
    return makeWith(settings, signer, memory, nonces)
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<DPoPVerifier, DPoPVerifierInvalid, Signer> =>
  Layer.effect(DPoPVerifier, make(options))

/**
 * With options from configuration, such as `Config.all({ publicUrl: Config.string("PUBLIC_URL") })`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config<Options>
): Layer.Layer<DPoPVerifier, DPoPVerifierInvalid | ConfigError.ConfigError, Signer> =>
  Layer.effect(DPoPVerifier, Effect.flatMap(options, make))
