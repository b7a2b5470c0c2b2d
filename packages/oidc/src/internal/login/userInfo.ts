/**
 * What the server tells of the user beyond the ID token (OpenID Connect Core 1.0 section 5.3), plain or signed.
 */
import type { AccessToken } from "@effect-oauth/core/AccessToken"
import * as AccessTokenHttpClient from "@effect-oauth/core/AccessTokenHttpClient"
import type { AuthorizationServer } from "@effect-oauth/core/AuthorizationServer"
import type { JwtVerifier } from "@effect-oauth/core/JwtVerifier"
import type { DiscoveryError } from "@effect-oauth/core/OAuthError"
import * as StrictJson from "@effect-oauth/core/StrictJson"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constTrue } from "effect/Function"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { OidcClient } from "../../OidcClient.ts"
import { UserInfoInvalid } from "../../OidcError.ts"
import { audienceProblem, timeProblem } from "../token/idTokenClaims.ts"

/** @internal */
export type Claims = Readonly<Record<string, unknown>>

/** @internal */
export interface UserInfo {
  /** `sub` is the one of the ID token, which the answer has to have too. */
  (client: OidcClient, token: AccessToken, sub: string): Effect.Effect<Claims, UserInfoInvalid | DiscoveryError>
}

/** The body; fails with `tooLarge` as soon as more than `limit` bytes have come. */
const read = (
  response: HttpClientResponse.HttpClientResponse,
  limit: number,
  tooLarge: UserInfoInvalid
) => {
  const chunks: Array<Uint8Array> = []
  let size = 0
  return Effect.map(
    Stream.runForEach(response.stream, (chunk) => {
      size += chunk.byteLength
      chunks.push(chunk)
      return size > limit ? Effect.fail(tooLarge) : Effect.void
    }),
    () => {
      const bytes = new Uint8Array(size)
      chunks.reduce((offset, chunk) => (bytes.set(chunk, offset), offset + chunk.byteLength), 0)
      return bytes
    }
  )
}

/** @internal */
export const make = (services: {
  readonly server: AuthorizationServer["Type"]
  readonly httpClient: HttpClient.HttpClient
  readonly verifier: JwtVerifier["Type"]
}): UserInfo => {
  const { httpClient: common, server, verifier } = services

  const ask = (client: OidcClient, url: URL, token: AccessToken) => {
    const { allowInsecure, httpClient = common, maxResponseSize, timeout } = client.login
    const invalid = (problem: string, retryable: boolean) =>
      new UserInfoInvalid({ clientName: client.name, problem, retryable })
    const withToken = httpClient.pipe(
      AccessTokenHttpClient.make(() => Effect.succeed(token), { allowInsecure, retryUnauthorized: false })
    )
    const request = HttpClientRequest.get(url).pipe(HttpClientRequest.accept("application/json, application/jwt"))
    return withToken.execute(request).pipe(
      Effect.flatMap((response) =>
        Effect.map(
          read(response, maxResponseSize, invalid(`it is larger than ${maxResponseSize} bytes`, false)),
          (body) => ({
            status: response.status,
            isSigned: /^application\/jwt\b/i.test(response.headers["content-type"] ?? ""),
            body
          })
        )
      ),
      Effect.catchAllCause((cause) => {
        const error = Option.getOrUndefined(Cause.failureOption(cause))
        return Effect.fail(error instanceof UserInfoInvalid ? error : invalid("it could not be asked for", true))
      }),
      Effect.timeoutFail({ duration: timeout, onTimeout: () => invalid("it did not come in time", true) }),
      Effect.filterOrFail(
        ({ status }) => status === 200,
        ({ status }) => invalid(`the server answered ${status}`, status >= 500 || status === 429)
      ),
      Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
      Effect.locally(HttpClient.currentTracerDisabledWhen, constTrue),
      // The runtime logs failures of its helper fibers, and those hold the platform's errors.
      Effect.withUnhandledErrorLogLevel(Option.none())
    )
  }

  const signed = (client: OidcClient, jwt: string) =>
    Effect.gen(function*() {
      const invalid = (problem: string) => new UserInfoInvalid({ clientName: client.name, problem, retryable: false })
      const { payload } = yield* Effect.catchTag(
        verifier.verify(client.login, Redacted.make(jwt), { algorithms: client.idTokenAlgorithms, source: "server" }),
        "JwtInvalid",
        ({ problem }) => Effect.fail(invalid(problem))
      )
      if (payload.iss !== client.issuer || audienceProblem(payload, client.login.clientId) !== undefined) {
        return yield* invalid("it is signed for another client or by another server")
      }
      const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
      const untimely = timeProblem(payload, { now, clockTolerance: Duration.toSeconds(client.clockTolerance) })
      return untimely === undefined ? payload : yield* invalid(untimely.problem)
    })

  return (client, token, sub) =>
    Effect.gen(function*() {
      const invalid = (problem: string) => new UserInfoInvalid({ clientName: client.name, problem, retryable: false })
      const { userInfoEndpoint } = yield* server.metadata(client.login)
      if (userInfoEndpoint === undefined) return yield* invalid("the server's metadata names no userinfo_endpoint")
      const { body, isSigned } = yield* ask(client, userInfoEndpoint, token)
      const claims = yield* isSigned
        ? signed(client, new TextDecoder().decode(body).trim())
        : Effect.mapError(
          StrictJson.parseObject(body, { maxSize: client.login.maxResponseSize }),
          ({ problem }) => invalid(`it ${problem}`)
        )
      if (claims.sub !== sub) return yield* invalid("it is about another user than the ID token")
      return claims
    })
}
