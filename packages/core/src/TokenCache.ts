/**
 * Tokens of this process: kept while they are fresh, acquired once for all who wait, renewed before they expire, served
 * while the server is down.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type * as Tracer from "effect/Tracer"
import { type AccessToken, isSame } from "./AccessToken.ts"
import * as BoundedMap from "./internal/boundedMap.ts"
import { currentTimeMillis } from "./internal/clock.ts"
import { type Flight, makeAirport } from "./internal/flight.ts"
import * as Slot from "./internal/slot.ts"
import { type AccessTokenError, TokenCacheClosed, TokenTransportError } from "./OAuthError.ts"
import * as OAuthLogging from "./OAuthLogging.ts"
import * as OAuthMetrics from "./OAuthMetrics.ts"

/**
 * Where a token is kept. `found` belongs to the cache: it may note there what it found under the key, to find it again
 * without looking.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenCacheAddress {
  readonly key: string
  found?: unknown
}

/**
 * One token that a cache may be asked for: what tells it apart, and how it is acquired.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenCacheRequest extends TokenCacheAddress {
  readonly clientName: string
  /** Who is asked, for errors. */
  readonly endpoint: string
  /** Before its end by this much, a token counts as expired; never by more than a tenth of its lifetime. */
  readonly expiryBuffer: Duration.Duration
  readonly refreshAhead: boolean
  /** Of an acquisition as a whole. */
  readonly acquireTimeout: Duration.Duration
  /** Asks the server. `retries` false: once only, to find out whether it is back. */
  readonly acquire: (options: { readonly retries: boolean }) => Effect.Effect<AccessToken, AccessTokenError>
}

/**
 * @since 0.1.0
 * @category tags
 */
export class TokenCache extends Context.Tag("@effect-oauth/core/TokenCache")<TokenCache, {
  /**
   * The token of this request: from memory, or by one acquisition that all its callers share. A caller that is interrupted
   * leaves alone; the acquisition is interrupted when nobody waits for it any more.
   *
   * `forceRenewal` skips what is kept, keeps what comes, and shares one acquisition with others of its kind.
   */
  readonly get: (
    request: TokenCacheRequest,
    options?: { readonly forceRenewal?: boolean | undefined }
  ) => Effect.Effect<AccessToken, AccessTokenError>
  /**
   * Optional: a fresh token, where `now` is in milliseconds since 1970, without running anything. What a hit costs is
   * decided here.
   */
  readonly hit?: (address: TokenCacheAddress, now: number) => Exit.Exit<AccessToken> | undefined
  /** Another token than `rejected`: the one that is kept if it is another already, else a new one. */
  readonly renew: (
    request: TokenCacheRequest,
    rejected: AccessToken
  ) => Effect.Effect<AccessToken, AccessTokenError>
  /** What is kept under this key, whether it is still good or not. */
  readonly peek: (key: string) => Effect.Effect<AccessToken | undefined>
  /** Forgets the token of a key, and the answer to a request that is under way. */
  readonly remove: (key: string) => Effect.Effect<void>
  /** Forgets all tokens of a client, or all. */
  readonly removeAll: (clientName?: string) => Effect.Effect<void>
}>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How many tokens are kept; those that are not used go first. Default 10,000. */
  readonly maxEntries?: number | undefined
  /** The least time between two renewals ahead of expiry for one key. Default 10 seconds. */
  readonly refreshInterval?: Duration.DurationInput | undefined
}

const closed = ({ clientName }: TokenCacheRequest) => new TokenCacheClosed({ clientName })

const transport = ({ clientName, endpoint }: TokenCacheRequest, reason: TokenTransportError["reason"]) =>
  new TokenTransportError({ clientName, endpoint, reason })

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<TokenCache["Type"], never, Scope.Scope> =>
  Effect.gen(function*() {
    const airport = yield* makeAirport
    const log = yield* OAuthLogging.make
    const slots = BoundedMap.make<Slot.Slot>(options.maxEntries ?? 10_000)
    const refreshInterval = Duration.toMillis(options.refreshInterval ?? "10 seconds")
    let flights = 0

    const slotOf = (request: TokenCacheRequest): Slot.Slot => {
      const known = slots.get(request.key)
      if (known !== undefined) return known
      const slot = new Slot.Slot(request.key, request.clientName, slots)
      slots.add(slot)
      return slot
    }

    interface Departure {
      readonly slot: Slot.Slot
      readonly request: TokenCacheRequest
      readonly kind: Slot.Kind
      readonly background: boolean
      readonly probe: boolean
      readonly caller: Tracer.AnySpan | undefined
    }

    /** An acquisition as a whole: bounded in time, traced, measured, its outcome kept. */
    const acquire = ({ background, caller, kind, probe, request, slot }: Departure, number: number, epoch: number) => {
      const failed = (error: AccessTokenError, now: number, jitter: number) => {
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
      const succeeded = (token: AccessToken, jitter: number) => {
        const isNewest = slot.held === undefined || slot.held.number < number
        // `remove` came in between, or a later request was answered first: this answer serves its waiters and is not kept.
        if (slot.epoch === epoch && isNewest) slot.held = Slot.hold(token, request, number, jitter)
        slot.backoff = undefined
        OAuthMetrics.count(OAuthMetrics.retrieved)
        if (background) OAuthMetrics.count(OAuthMetrics.refreshedAhead)
        return log.debug(request.clientName, "a new access token")
      }
      return Effect.gen(function*() {
        const jitter = yield* Random.next
        const clock = yield* Effect.clock
        const started = clock.unsafeCurrentTimeMillis()
        const landed = () =>
          OAuthMetrics.observe(OAuthMetrics.acquisitionMillis, clock.unsafeCurrentTimeMillis() - started)
        return yield* request.acquire({ retries: !probe }).pipe(
          Effect.timeoutFail({
            duration: request.acquireTimeout,
            onTimeout: () => transport(request, "Timeout")
          }),
          Effect.tapBoth({
            onSuccess: (token) => {
              landed()
              return succeeded(token, jitter)
            },
            onFailure: (error) => {
              landed()
              return failed(error, clock.unsafeCurrentTimeMillis(), jitter)
            }
          })
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

    const start = (departure: Departure): Flight<AccessToken, AccessTokenError> => {
      const { background, kind, request, slot } = departure
      const ended = () => {
        if (slot.flights[kind] === flight) slot.flights[kind] = undefined
      }
      const flight: Flight<AccessToken, AccessTokenError> = airport.launch({
        work: acquire(departure, ++flights, slot.epoch),
        background,
        landed: ended,
        abandoned: ended,
        interrupted: () => airport.closed() ? closed(request) : transport(request, "Connection")
      })
      slot.flights[kind] = flight
      return flight
    }

    const joined = (flight: Flight<AccessToken, AccessTokenError>): Effect.Effect<AccessToken, AccessTokenError> => {
      OAuthMetrics.count(OAuthMetrics.coalesced)
      return flight.join
    }

    type Caller = Tracer.AnySpan | undefined

    /** A new token for those who have none: by the flight that is under way, by a new one, or not at all for now. */
    const obtain = (
      slot: Slot.Slot,
      request: TokenCacheRequest,
      kind: Slot.Kind,
      now: number,
      caller: Caller
    ): Effect.Effect<AccessToken, AccessTokenError> => {
      const flight = slot.flights.forced ?? (kind === "normal" ? slot.flights.normal : undefined)
      const permission = Slot.permission(slot, now)
      if (slot.backoff !== undefined && (permission === "wait" || (permission === "probe" && flight !== undefined))) {
        return Effect.fail(Slot.refusal(slot.backoff, now))
      }
      if (flight !== undefined) return joined(flight)
      if (airport.closed()) return Effect.fail(closed(request))
      if (permission === "clear") slot.backoff = undefined
      return start({ slot, request, kind, background: false, probe: permission === "probe", caller }).join
    }

    /** A renewal for which nobody waits. */
    const renewAhead = (slot: Slot.Slot, request: TokenCacheRequest, now: number, caller: Caller): void => {
      if (slot.flights.normal !== undefined || slot.flights.forced !== undefined || airport.closed()) return
      const permission = Slot.permission(slot, now)
      if (permission === "wait") return
      start({ slot, request, kind: "normal", background: true, probe: permission === "probe", caller })
    }

    /** What `get` does when there is more to do than to hand out a fresh token. */
    const miss = (
      request: TokenCacheRequest,
      now: number,
      caller: Caller
    ): Effect.Effect<AccessToken, AccessTokenError> => {
      const slot = slotOf(request)
      const { held } = slot
      // An entry earns its second chance by being asked for again.
      slot.used = held !== undefined
      if (held !== undefined && now < held.expiredAt) {
        held.freshUntil = Math.min(held.expiredAt, now + refreshInterval)
        renewAhead(slot, request, now, caller)
        OAuthMetrics.count(OAuthMetrics.cacheHit)
        return held.hit
      }
      OAuthMetrics.count(OAuthMetrics.cacheMiss)
      if (held === undefined || now >= held.endsAt) return obtain(slot, request, "normal", now, caller)
      // Near its end a new token is better, but if none can be had this one still works.
      if (slot.backoff !== undefined) {
        renewAhead(slot, request, now, caller)
        return held.hit
      }
      return Effect.catchAll(
        obtain(slot, request, "normal", now, caller),
        (error) =>
          Effect.flatMap(Clock.currentTimeMillis, (later) => later < held.endsAt ? held.hit : Effect.fail(error))
      )
    }

    const forced = (request: TokenCacheRequest): Effect.Effect<AccessToken, AccessTokenError> =>
      Effect.withFiberRuntime((fiber) =>
        obtain(slotOf(request), request, "forced", currentTimeMillis(fiber), fiber.currentSpan)
      )

    const forget = (slot: Slot.Slot): void => {
      slot.epoch++
      slot.held = undefined
      slot.flights.normal = undefined
      slot.flights.forced = undefined
      slot.backoff = undefined
    }

    const find = (address: TokenCacheAddress): Slot.Slot | undefined => {
      const { found } = address
      if (found instanceof Slot.Slot && found.home === slots && !found.evicted) return found
      const slot = slots.get(address.key)
      address.found = slot
      return slot
    }

    const hit = (address: TokenCacheAddress, now: number): Exit.Exit<AccessToken> | undefined => {
      const slot = find(address)
      if (slot === undefined || slot.held === undefined || now >= slot.held.freshUntil) return undefined
      slot.used = true
      OAuthMetrics.count(OAuthMetrics.cacheHit)
      return slot.held.hit
    }

    return {
      hit,

      get: (request, options) =>
        options?.forceRenewal === true
          ? forced(request)
          : Effect.withFiberRuntime((fiber) => {
            const now = currentTimeMillis(fiber)
            return hit(request, now) ?? miss(request, now, fiber.currentSpan)
          }),

      renew: (request, rejected) =>
        Effect.clockWith((clock) => {
          const slot = slotOf(request)
          const isOther = (token: AccessToken) => !isSame(token, rejected)
          if (
            slot.held !== undefined && isOther(slot.held.token) && clock.unsafeCurrentTimeMillis() < slot.held.endsAt
          ) {
            return slot.held.hit
          }
          const { normal } = slot.flights
          if (slot.flights.forced === undefined && normal !== undefined) {
            return Effect.flatMap(joined(normal), (token) => isOther(token) ? Effect.succeed(token) : forced(request))
          }
          return forced(request)
        }),

      peek: (key) => Effect.sync(() => slots.get(key)?.held?.token),

      remove: (key) =>
        Effect.sync(() => {
          const slot = slots.get(key)
          if (slot !== undefined) forget(slot)
        }),

      removeAll: (clientName) =>
        Effect.sync(() => {
          for (const slot of slots.values()) {
            if (clientName === undefined || slot.clientName === clientName) forget(slot)
          }
        })
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<TokenCache> => Layer.scoped(TokenCache, make(options))
