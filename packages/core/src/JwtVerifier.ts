/**
 * The signatures of a server's JWTs (RFC 7515, RFC 8725): ID tokens, logout tokens, signed user information.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { AuthorizationServer, type JwtSource, type Keys } from "./AuthorizationServer.ts"
import * as ServerKeys from "./internal/serverKeys.ts"
import * as Jwt from "./Jwt.ts"
import { type DiscoveryError, JwtInvalid } from "./OAuthError.ts"
import type { SigningAlgorithm } from "./OAuthValues.ts"
import * as SigningKey from "./SigningKey.ts"
import type { TokenClient } from "./TokenClient.ts"

/**
 * - `algorithms`: the only ones that are accepted. Default: all of `SigningKey.algorithms`, of which none is `none` or
 *   symmetric.
 * - `types`: the only `typ`s that are accepted, where a JWT has one. The letter case and `application/` in front do not
 *   matter (RFC 7515 section 4.1.9). Default: any.
 * - `source`: where the JWT came from, see `AuthorizationServer.JwtSource`. Default: `request`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly algorithms?: ReadonlyArray<SigningAlgorithm> | undefined
  readonly types?: ReadonlyArray<string> | undefined
  readonly source?: JwtSource | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface VerifiedJwt {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Readonly<Record<string, unknown>>
}

/**
 * Says that a JWT was signed by the issuer of a client, and nothing more: whom it is from, for whom, for how long and what
 * for, is in its claims, which are the caller's to check.
 *
 * The key is the one of the server's that has the `kid` of the JWT, for which they are read anew once if they lack it (see
 * `AuthorizationServer`); without a `kid`, the first ten that fit its `alg` are tried. A key does not count whose `use`,
 * `key_ops` or `alg` says that it is for something else, or that is too weak (RFC 8017 section 3.1).
 *
 * @since 0.1.0
 * @category tags
 */
export class JwtVerifier extends Context.Tag("@effect-oauth/core/JwtVerifier")<JwtVerifier, {
  readonly verify: (
    client: TokenClient,
    jwt: Redacted.Redacted<string>,
    options?: Options
  ) => Effect.Effect<VerifiedJwt, JwtInvalid | DiscoveryError>
}>() {}

/** `JWT` and `application/jwt` are the same. */
const typeOf = (text: string): string => text.toLowerCase().replace(/^application\//, "")

const hasType = ({ typ }: Jwt.Claims, types: ReadonlyArray<string>): boolean =>
  typ === undefined || (typeof typ === "string" && types.some((type) => typeOf(type) === typeOf(typ)))

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<JwtVerifier["Type"], never, AuthorizationServer> = Effect.map(
  AuthorizationServer,
  (server) => {
    const serverKeys = ServerKeys.make()

    const verify = Effect.fnUntraced(function*(client: TokenClient, jws: string, options: Options) {
      const refused = (reason: JwtInvalid["reason"], problem: string) =>
        new JwtInvalid({ clientName: client.name, reason, problem })
      const jwt = jws.length > client.maxResponseSize ? Option.none() : Jwt.parse(jws)
      if (Option.isNone(jwt)) return yield* refused("form", "it is not a signed JWT in compact form")
      const { header, payload } = jwt.value
      const { kid } = header
      if (header.crit !== undefined) return yield* refused("form", "its header has a crit, and no extension is known")
      if (kid !== undefined && typeof kid !== "string") return yield* refused("form", "its kid is not a string")
      // What is allowed is among what is known, whatever the caller says.
      const allowed = SigningKey.algorithms.filter((name) => options.algorithms?.includes(name) ?? true)
      const algorithm = allowed.find((name) => name === header.alg)
      if (algorithm === undefined) return yield* refused("algorithm", `its alg is none of ${allowed.join(", ")}`)
      if (options.types !== undefined && !hasType(header, options.types)) {
        return yield* refused("type", `its typ is none of ${options.types.join(", ")}`)
      }
      const keys = yield* server.keys(client, { kid, source: options.source })
      const signedBy = (keys: Keys) =>
        Effect.mapError(
          serverKeys.verify(jws, keys, { algorithm, kid }),
          ({ problem, reason }) => refused(reason, problem)
        )
      // A JWT that names no key may be signed with one that is new.
      const byNewer = (error: JwtInvalid) =>
        Effect.flatMap(
          server.keys(client, { otherThan: keys, source: options.source }),
          (newer) => newer === keys ? Effect.fail(error) : signedBy(newer)
        )
      yield* kid === undefined ? Effect.catchAll(signedBy(keys), byNewer) : signedBy(keys)
      return { header, payload }
    })

    return { verify: (client, jwt, options = {}) => verify(client, Redacted.value(jwt), options) }
  }
)

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<JwtVerifier, never, AuthorizationServer> = Layer.effect(JwtVerifier, make)
