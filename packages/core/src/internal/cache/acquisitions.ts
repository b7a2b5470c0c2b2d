/**
 * One acquisition of a token as a whole: a flight that many may wait for, bounded in time, traced, measured, its outcome kept
 * in its slot.
 */
import type * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Tracer from "effect/Tracer"
import { type AccessToken, isSame } from "../../AccessToken.ts"
import { type AccessTokenError, TokenCacheClosed, TokenTransportError } from "../../OAuthError.ts"
import type { Log } from "../../OAuthLogging.ts"
import * as OAuthMetrics from "../../OAuthMetrics.ts"
import type { Flight, SingleFlight } from "../../SingleFlight.ts"
import * as SteadyClock from "../../SteadyClock.ts"
import type { TokenCacheEntry, TokenCacheRequest } from "../../TokenCache.ts"
import * as SharedAcquisition from "./sharedAcquisition.ts"
import type { SharedTier } from "./sharedTier.ts"
import * as Slot from "./slot.ts"

/** @internal What is set out for. */
export interface Departure {
  readonly slot: Slot.Slot
  readonly request: TokenCacheRequest
  readonly kind: Slot.Kind
  /** Nobody waits for it. */
  readonly background: boolean
  /** One attempt only, to find out whether the server is back. */
  readonly probe: boolean
  readonly want: SharedAcquisition.Want
  readonly caller: Tracer.AnySpan | undefined
}

/** @internal */
export interface Services {
  readonly flights: SingleFlight
  readonly log: Log
  readonly shared: SharedTier | undefined
  readonly lockWait: Duration.Duration
  /** Slots by the names of their entries in the shared store. */
  readonly byEntry: Map<string, Slot.Slot>
}

/** @internal The name of an entry in the shared store. */
export const entryOf = ({ key, storeKey }: TokenCacheEntry): Effect.Effect<string, AccessTokenError> =>
  storeKey ?? Effect.succeed(key)

/** @internal */
export const transport = ({ clientName, endpoint }: TokenCacheRequest, reason: TokenTransportError["reason"]) =>
  new TokenTransportError({ clientName, endpoint, reason })

/** @internal */
export const make = ({ byEntry, flights, lockWait, log, shared }: Services) => {
  let count = 0

  const named = (slot: Slot.Slot, entry: string): void => {
    if (slot.entry === entry) return
    if (slot.entry !== undefined) byEntry.delete(slot.entry)
    slot.entry = entry
    byEntry.set(entry, slot)
  }

  /** From the server, or from the store that is shared with others who have asked it. */
  const fetch = (
    { background, probe, request, slot, want }: Departure
  ): Effect.Effect<SharedAcquisition.Acquired, AccessTokenError> => {
    if (shared === undefined) return SharedAcquisition.fromServer(request, { retries: !probe })
    return Effect.flatMap(entryOf(request), (entry) => {
      named(slot, entry)
      const { held, older, version } = slot
      return SharedAcquisition.acquire({
        shared,
        entry,
        request,
        want,
        lockWait,
        retries: !probe,
        older,
        meanwhile: background && held !== undefined ? { token: held.token, version, fromServer: false } : undefined
      })
    })
  }

  const succeeded = (
    { background, kind, request, slot }: Departure,
    { fromServer, older, superseded = false, token, unsure = false, version }: SharedAcquisition.Acquired,
    flight: {
      readonly clock: Clock.Clock
      readonly number: number
      readonly epoch: number
      readonly jitter: number
    }
  ): Effect.Effect<void> => {
    // What is held stays, and the store is asked again when it is looked at next.
    if (unsure) {
      slot.outdated = true
      return Effect.void
    }
    const isNewest = slot.held === undefined || slot.held.number < flight.number
    // `remove` came in between, or a later request was answered first: this answer serves its waiters and is not kept.
    if (fromServer && isNewest) {
      const before = older ?? Slot.stored(slot)
      slot.older = before === undefined || isSame(before, token) ? undefined : before
    }
    if (superseded) {
      // Nor is the one that it was to replace: it was removed too, or is older than what another process acquires.
      if (isNewest) slot.held = undefined
    } else if (slot.epoch === flight.epoch && isNewest) {
      slot.held = Slot.successor(slot.held, Slot.hold(token, request, flight.clock, flight.number, flight.jitter))
      slot.version = version
      slot.outdated = false
    }
    // An acquisition that began before it is joined no more.
    if (kind === "forced") slot.flights.normal = undefined
    slot.backoff = undefined
    if (fromServer) OAuthMetrics.count(OAuthMetrics.retrieved)
    if (background) OAuthMetrics.count(OAuthMetrics.refreshedAhead)
    return log.debug(request.clientName, fromServer ? "a new access token" : "an access token of another process")
  }

  const failed = (
    { background, request, slot }: Departure,
    error: AccessTokenError,
    flight: { readonly now: number; readonly epoch: number; readonly jitter: number }
  ): Effect.Effect<void> => {
    const { epoch, jitter, now } = flight
    const backoff = slot.epoch === epoch ? Slot.backoffAfter(error, slot.backoff, now, jitter) : undefined
    if (backoff !== undefined) {
      slot.backoff = backoff
      OAuthMetrics.count(OAuthMetrics.backedOff)
    }
    OAuthMetrics.count(OAuthMetrics.retrievalFailedWith(error._tag))
    if (background) OAuthMetrics.count(OAuthMetrics.refreshAheadFailed)
    const meanwhile = slot.held !== undefined && now < slot.held.endsAt
      ? "; the current token goes on being used"
      : ""
    return log.warning(request.clientName, `no new access token: ${error.message}${meanwhile}`)
  }

  const acquire = (
    departure: Departure,
    number: number,
    epoch: number
  ): Effect.Effect<AccessToken, AccessTokenError> => {
    const { background, caller, kind, request } = departure
    return Effect.gen(function*() {
      const jitter = yield* Random.next
      const clock = yield* Effect.clock
      const started = SteadyClock.unsafeCurrentTimeMillis(clock)
      const landed = (): number => {
        const now = SteadyClock.unsafeCurrentTimeMillis(clock)
        OAuthMetrics.observe(OAuthMetrics.acquisitionMillis, now - started)
        return now
      }
      return yield* fetch(departure).pipe(
        Effect.timeoutFail({
          duration: request.acquireTimeout,
          onTimeout: () => transport(request, "Timeout")
        }),
        Effect.tapBoth({
          onSuccess: (acquired) => {
            landed()
            return succeeded(departure, acquired, { clock, number, epoch, jitter })
          },
          onFailure: (error) => failed(departure, error, { now: landed(), epoch, jitter })
        }),
        Effect.map(({ token }) => token)
      )
    }).pipe(
      Effect.withSpan("oauth.token.acquire", {
        root: true,
        captureStackTrace: false,
        attributes: {
          "oauth.client": request.clientName,
          "oauth.forced": kind === "forced",
          "oauth.ahead": background
        },
        links: caller === undefined ? [] : [{ _tag: "SpanLink", span: caller, attributes: {} }]
      })
    )
  }

  /** Sets out; the slot knows of it until it has landed. */
  return (departure: Departure): Flight<AccessToken, AccessTokenError> => {
    const { background, kind, request, slot } = departure
    const ended = () => {
      if (slot.flights[kind] === flight) slot.flights[kind] = undefined
    }
    const flight: Flight<AccessToken, AccessTokenError> = flights.run({
      work: acquire(departure, ++count, slot.epoch),
      background,
      limit: request.acquireTimeout,
      ended,
      interrupted: () =>
        flights.isClosed()
          ? new TokenCacheClosed({ clientName: request.clientName })
          : transport(request, "Connection")
    })
    slot.flights[kind] = flight
    return flight
  }
}
