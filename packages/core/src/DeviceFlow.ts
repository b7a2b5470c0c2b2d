/**
 * A login for programs without a browser of their own: the user opens an address anywhere and types in a code (RFC 8628).
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { DeviceLoginExpired, type TokenRequestInvalid } from "./OAuthError.ts"
import * as SteadyClock from "./SteadyClock.ts"
import type { TokenClient } from "./TokenClient.ts"
import { type ExchangeError, type RequestOptions, TokenEndpoint, type TokenResponse } from "./TokenEndpoint.ts"
import * as TokenGrant from "./TokenGrant.ts"
import type { TokenRequestParameters } from "./TokenRequestParameters.ts"

/**
 * - `userCode`, `verificationUri`, `verificationUriComplete`: to be shown to the user.
 * - `tokens`: waits until the user is done. Asks as often as the server allows, less often when it says so, and while it does
 *   not answer. A user who says no comes as `TokenEndpointError`, `access_denied`; one who takes too long as
 *   `DeviceLoginExpired`.
 *
 * @since 0.1.0
 * @category models
 */
export interface DeviceLogin {
  readonly userCode: string
  readonly verificationUri: string
  readonly verificationUriComplete: string | undefined
  readonly expiresAt: DateTime.Utc
  readonly tokens: Effect.Effect<TokenResponse, ExchangeError | TokenRequestInvalid | DeviceLoginExpired>
}

/** What the server allows, and how long to wait before the next question. */
interface Pace {
  readonly interval: Duration.Duration
  readonly wait: Duration.Duration
}

const longestBackoff = Duration.minutes(1)

const codeOf = (error: ExchangeError | TokenRequestInvalid): string | undefined =>
  error._tag === "TokenEndpointError" ? error.error : undefined

/** After a question that was not answered with tokens; `undefined` if it is over. */
const next = (error: ExchangeError | TokenRequestInvalid, { interval, wait }: Pace): Pace | undefined => {
  const after = (slower: Duration.Duration, wait: Duration.Duration): Pace => ({
    interval: slower,
    wait: Duration.max(wait, error.retryAfter ?? Duration.zero)
  })
  const code = codeOf(error)
  if (code === "authorization_pending") return after(interval, interval)
  // RFC 8628 section 3.5: for all questions from now on.
  const slower = Duration.sum(interval, Duration.seconds(5))
  if (code === "slow_down") return after(slower, slower)
  if (!error.retryable) return undefined
  // Until it answers again; a long silence must not outlast the login.
  return after(interval, Duration.max(interval, Duration.min(Duration.times(wait, 2), longestBackoff)))
}

/**
 * Begins a login for this client: `start(client)`, then show the code, then wait for `tokens`.
 *
 * @example
 * ```ts
 * import { DeviceFlow, TokenClient } from "@effect-oauth/core"
 * import { Console, Effect } from "effect"
 *
 * export const login = Effect.gen(function*() {
 *   const client = yield* TokenClient.make("cli", { issuer: "https://login.example.com", clientId: "cli" })
 *   const { tokens, userCode, verificationUri } = yield* DeviceFlow.start(client, { scope: "openid offline_access" })
 *   yield* Console.log(`Open ${verificationUri} and enter ${userCode}`)
 *   return yield* tokens
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const start = (
  client: TokenClient,
  parameters: TokenRequestParameters = {},
  options: Pick<RequestOptions, "dpop"> = {}
): Effect.Effect<DeviceLogin, ExchangeError | TokenRequestInvalid, TokenEndpoint> =>
  Effect.gen(function*() {
    const endpoint = yield* TokenEndpoint
    const [began, shownAt] = [yield* SteadyClock.currentTimeMillis, yield* Clock.currentTimeMillis]
    const { deviceCode, expiresIn, interval, userCode, verificationUri, verificationUriComplete } = yield* endpoint
      .authorizeDevice(client, parameters)
    const end = began + Duration.toMillis(expiresIn)
    // Scope and resource were said when it began.
    const { assertion, context, parameters: extra } = parameters

    const ask = (pace: Pace): DeviceLogin["tokens"] =>
      Effect.gen(function*() {
        const now = yield* SteadyClock.currentTimeMillis
        if (now + Duration.toMillis(pace.wait) >= end) {
          yield* Effect.sleep(Duration.millis(Math.max(0, end - now)))
          return yield* new DeviceLoginExpired({ clientName: client.name })
        }
        yield* Effect.sleep(pace.wait)
        const grant = TokenGrant.deviceCode(deviceCode)
        return yield* Effect.catchAll(
          endpoint.request(client, grant, { assertion, context, parameters: extra }, { ...options, retries: 0 }),
          (error): DeviceLogin["tokens"] => {
            if (codeOf(error) === "expired_token") return new DeviceLoginExpired({ clientName: client.name })
            const later = next(error, pace)
            return later === undefined ? Effect.fail(error) : ask(later)
          }
        )
      })

    return {
      userCode,
      verificationUri,
      verificationUriComplete,
      expiresAt: DateTime.unsafeMake(shownAt + Duration.toMillis(expiresIn)),
      tokens: ask({ interval, wait: interval })
    }
  })
