/**
 * What the cache holds of one key, and every decision about it that needs no effect: when a token counts as fresh, when
 * the server may be asked, whose answer is the newer one.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import { type AccessToken, expiryMillis, isSame } from "../../AccessToken.ts"
import { type AccessTokenError, withRetryAfter } from "../../OAuthError.ts"
import { type Flight, underWay } from "../../SingleFlight.ts"
import * as SteadyClock from "../../SteadyClock.ts"
import type * as BoundedMap from "./boundedMap.ts"

/** @internal */
export interface Held {
  readonly token: AccessToken
  /** The token as a finished effect: what a hit returns. */
  readonly hit: Exit.Exit<AccessToken>
  /** The number of the flight that brought it. */
  readonly number: number
  /** In steady time, as the others: from here on a hit has more to do than to return. */
  freshUntil: number
  /** From here on it counts as expired. */
  readonly expiredAt: number
  /** From here on the server would refuse it. */
  readonly endsAt: number
}

/** @internal After a failure: whom not to ask until when, in steady time. */
export interface Backoff {
  readonly error: AccessTokenError
  readonly delay: number
  readonly until: number
  /** The error as callers got it last, with the time that was left then. */
  told?: { readonly error: AccessTokenError; readonly at: number }
}

/** @internal */
export type Kind = "normal" | "forced"

/** @internal */
export class Slot implements BoundedMap.Entry {
  used = false
  evicted = false
  held: Held | undefined = undefined
  backoff: Backoff | undefined = undefined
  /** The name of its entry in the shared store, and the version of it that is held. */
  entry: string | undefined = undefined
  version: string | undefined = undefined
  /** What the shared store had before the server was last asked: older than what callers had since. */
  older: AccessToken | undefined = undefined
  /** Whether the shared store may have a newer token. */
  outdated = false
  /** Raised by `remove`: an answer to an earlier request is not kept. */
  epoch = 0
  readonly flights: Record<Kind, Flight<AccessToken, AccessTokenError> | undefined> = {
    normal: undefined,
    forced: undefined
  }
  readonly key: string
  readonly clientName: string
  /** The map of its cache. */
  readonly home: object

  constructor(key: string, clientName: string, home: object) {
    this.key = key
    this.clientName = clientName
    this.home = home
  }

  /** The flight that a caller may join: one that wants a new token, the forced one only. */
  flight(kind: Kind): Flight<AccessToken, AccessTokenError> | undefined {
    return underWay(this.flights.forced) ?? (kind === "normal" ? underWay(this.flights.normal) : undefined)
  }

  pinned(): boolean {
    return this.flight("normal") !== undefined
  }
}

/** @internal What the shared store has, as far as is known. */
export const stored = ({ held, older, version }: Slot): AccessToken | undefined =>
  held === undefined || version === undefined ? older : held.token

/** @internal What is held is used once more, while the store is asked whether it is still the newest. */
export const doubt = (slot: Slot): void => {
  slot.outdated = true
  slot.backoff = undefined
  if (slot.held !== undefined) slot.held.freshUntil = 0
}

/** @internal */
export interface Times {
  readonly expiryBuffer: Duration.Duration
  readonly refreshAhead: boolean
}

/**
 * @internal A token with the times that follow from its lifetime, in steady time; `undefined` for one that must not be kept.
 * `jitter` is from 0 to 1. Whatever the clock was when it was obtained, it ends within its lifetime from now.
 */
export const hold = (
  token: AccessToken,
  times: Times,
  clock: Clock.Clock,
  number: number,
  jitter: number
): Held | undefined => {
  const lifetime = expiryMillis(token) - token.obtainedAt.epochMillis
  if (lifetime <= 0) return undefined
  const endsAt = SteadyClock.unsafeDeadline(clock, expiryMillis(token), lifetime)
  const expiredAt = endsAt - Math.min(Duration.toMillis(times.expiryBuffer), lifetime / 10)
  const refreshAt = times.refreshAhead && Number.isFinite(lifetime)
    ? endsAt - lifetime + lifetime * (0.8 - 0.05 * jitter)
    : expiredAt
  return {
    token,
    hit: Exit.succeed(token),
    number,
    freshUntil: Math.min(refreshAt, expiredAt),
    expiredAt,
    endsAt
  }
}

/** @internal A token that comes back from the shared store is as fresh as it was, and ends when it ended. */
export const successor = (held: Held | undefined, next: Held | undefined): Held | undefined => {
  if (held === undefined || next === undefined || !isSame(held.token, next.token)) return next
  return {
    ...next,
    freshUntil: Math.min(Math.max(next.freshUntil, held.freshUntil), held.expiredAt),
    expiredAt: Math.min(next.expiredAt, held.expiredAt),
    endsAt: Math.min(next.endsAt, held.endsAt)
  }
}

const longestBackoff = 30_000
const longestRetryAfter = 3_600_000
const refusals: ReadonlySet<string> = new Set(["invalid_client", "unauthorized_client"])

/** Whether asking again could overload or annoy a server at all; what is wrong on this side is told at once each time. */
const concernsServer = (error: AccessTokenError): boolean => {
  switch (error._tag) {
    case "TokenEndpointError":
    case "TokenResponseInvalid":
    case "TokenTransportError":
    case "DiscoveryError":
    case "TokenClientUnavailable":
      return true
    default:
      return false
  }
}

/**
 * @internal How long to leave the server alone after a failure, in milliseconds: what it said itself, at most an hour; 10
 * seconds after a refusal of the client; else 1 second, doubled from failure to failure, at most 30 seconds.
 */
export const backoffAfter = (
  error: AccessTokenError,
  previous: Backoff | undefined,
  now: number,
  jitter: number
): Backoff | undefined => {
  if (!concernsServer(error)) return undefined
  const spread = 1 + 0.2 * jitter
  if (error.retryAfter !== undefined) {
    const delay = Math.min(Duration.toMillis(error.retryAfter), longestRetryAfter)
    return { error, delay: Math.max(delay, 1000), until: now + delay }
  }
  if (error._tag === "TokenEndpointError" && refusals.has(error.error)) {
    return { error, delay: 10_000, until: now + 10_000 * spread }
  }
  const delay = previous === undefined ? 1000 : Math.min(previous.delay * 2, longestBackoff)
  return { error, delay, until: now + delay * spread }
}

/**
 * @internal The last failure with the time that is left. Callers within a tenth of a second share one error: making it, with
 * its stack, is most of what refusing them costs.
 */
export const refusal = (backoff: Backoff, now: number): AccessTokenError => {
  if (backoff.told !== undefined && now - backoff.told.at < 100) return backoff.told.error
  const error = withRetryAfter(backoff.error, Duration.millis(Math.max(0, Math.ceil(backoff.until - now))))
  backoff.told = { error, at: now }
  return error
}

/**
 * @internal `clear`: ask as if nothing had happened, also when nobody has asked for so long that the failure says nothing
 * any more. `wait`: do not ask. `probe`: one request without retries may find out.
 */
export const permission = (slot: Slot, now: number): "clear" | "wait" | "probe" => {
  const { backoff } = slot
  if (backoff === undefined) return "clear"
  if (now < backoff.until) return "wait"
  return now < backoff.until + backoff.delay ? "probe" : "clear"
}
