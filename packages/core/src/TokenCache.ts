/**
 * Tokens: kept while they are fresh, acquired once for all who wait, renewed before they expire, served while the server is
 * down. With a `TokenStore`, all processes that share it do so together.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import { type AccessToken, isSame } from "./AccessToken.ts"
import * as Acquisitions from "./internal/cache/acquisitions.ts"
import * as BoundedMap from "./internal/cache/boundedMap.ts"
import type { Want } from "./internal/cache/sharedAcquisition.ts"
import * as SharedTier from "./internal/cache/sharedTier.ts"
import * as Slot from "./internal/cache/slot.ts"
import { clockOf } from "./internal/clock.ts"
import { type AccessTokenError, TokenCacheClosed } from "./OAuthError.ts"
import * as OAuthLogging from "./OAuthLogging.ts"
import * as OAuthMetrics from "./OAuthMetrics.ts"
import * as OptionalServices from "./OptionalServices.ts"
import * as SingleFlight from "./SingleFlight.ts"
import * as SteadyClock from "./SteadyClock.ts"
import { TokenEncryption } from "./TokenEncryption.ts"
import { suspended, TokenStore, type TokenStoreEvent } from "./TokenStore.ts"

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
  /** The name of the entry in a shared store. Default: the key. */
  readonly storeKey?: Effect.Effect<string, AccessTokenError> | undefined
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
 * What names one entry.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenCacheEntry = Pick<TokenCacheRequest, "key" | "storeKey">

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
   * Optional: a token that is fresh by this clock (see `SteadyClock`), without running anything. What a hit costs is decided
   * here.
   */
  readonly hit?: (address: TokenCacheAddress, clock: Clock.Clock) => Exit.Exit<AccessToken> | undefined
  /** Another token than `rejected`: the one that is kept if it is another already, else a new one. */
  readonly renew: (
    request: TokenCacheRequest,
    rejected: AccessToken
  ) => Effect.Effect<AccessToken, AccessTokenError>
  /** What is kept, whether it is still good or not. */
  readonly peek: (request: TokenCacheEntry) => Effect.Effect<AccessToken | undefined, AccessTokenError>
  /** Forgets the token, in a shared store and in other processes too, and the answer to a request that is under way. */
  readonly remove: (request: TokenCacheEntry) => Effect.Effect<void, AccessTokenError>
  /** Forgets all tokens of a client, or all, everywhere. */
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
  /** How long one step of the shared store may take before it counts as failed. Default 500 milliseconds. */
  readonly storeTimeout?: Duration.DurationInput | undefined
  /** How long the lock of a process that has vanished in the middle of an acquisition stays. Default 15 seconds. */
  readonly lockLease?: Duration.DurationInput | undefined
  /** How long to wait for another process that acquires the token already, before asking as well. Default 5 seconds. */
  readonly lockWait?: Duration.DurationInput | undefined
}

const anyToken: Want = { _tag: "any" }
const newToken: Want = { _tag: "new" }

const sharedTier = (
  log: OAuthLogging.Log,
  options: Options
): Effect.Effect<SharedTier.SharedTier | undefined, never, Scope.Scope> =>
  Effect.gen(function*() {
    const store = yield* OptionalServices.get(TokenStore)
    const encryption = yield* OptionalServices.get(TokenEncryption)
    if (Option.isNone(store)) return undefined
    return yield* SharedTier.make(suspended(store.value), Option.getOrUndefined(encryption), log, {
      timeout: Duration.decode(options.storeTimeout ?? "500 millis"),
      lease: Duration.decode(options.lockLease ?? "15 seconds")
    })
  })

/**
 * Over the `TokenStore` and the `TokenEncryption` that are there when it is made, if they are.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<TokenCache["Type"], never, Scope.Scope> =>
  Effect.gen(function*() {
    const flights = yield* SingleFlight.make()
    const log = yield* OAuthLogging.make
    const shared = yield* sharedTier(log, options)
    const lockWait = Duration.decode(options.lockWait ?? "5 seconds")
    /** Slots by the names of their entries in the shared store. */
    const byEntry = new Map<string, Slot.Slot>()
    const slots = BoundedMap.make<Slot.Slot>(options.maxEntries ?? 10_000, ({ entry }) => {
      if (entry !== undefined) byEntry.delete(entry)
    })
    const refreshInterval = Duration.toMillis(options.refreshInterval ?? "10 seconds")

    const slotOf = (request: TokenCacheRequest): Slot.Slot => {
      const known = slots.get(request.key)
      if (known !== undefined) return known
      const slot = new Slot.Slot(request.key, request.clientName, slots)
      slots.add(slot)
      return slot
    }

    const start = Acquisitions.make({ flights, log, shared, lockWait, byEntry })

    type Caller = Tracer.AnySpan | undefined

    /** A new token for those who have none: by the flight that is under way, by a new one, or not at all for now. */
    const obtain = (
      slot: Slot.Slot,
      request: TokenCacheRequest,
      kind: Slot.Kind,
      want: Want,
      now: number,
      caller: Caller,
      isAgain = false
    ): Effect.Effect<AccessToken, AccessTokenError> => {
      const flight = slot.flight(kind)
      const permission = Slot.permission(slot, now)
      if (slot.backoff !== undefined && (permission === "wait" || (permission === "probe" && flight !== undefined))) {
        return Effect.fail(Slot.refusal(slot.backoff, now))
      }
      const overdue = Effect.suspend(() => Effect.fail(Acquisitions.transport(request, "Timeout")))
      if (flight !== undefined) {
        OAuthMetrics.count(OAuthMetrics.coalesced)
        // A second acquisition that never comes back is not replaced: this caller has waited long enough.
        const again = Effect.flatMap(
          SteadyClock.currentTimeMillis,
          (later) => obtain(slot, request, kind, want, later, caller, true)
        )
        return flight.join(isAgain ? overdue : again)
      }
      if (flights.isClosed()) return Effect.fail(new TokenCacheClosed({ clientName: request.clientName }))
      if (permission === "clear") slot.backoff = undefined
      const probe = permission === "probe"
      return start({ slot, request, kind, want, background: false, probe, caller }).join(overdue)
    }

    /** A renewal for which nobody waits. */
    const renewAhead = (slot: Slot.Slot, request: TokenCacheRequest, now: number, caller: Caller): void => {
      if (slot.flight("normal") !== undefined || flights.isClosed()) return
      const permission = Slot.permission(slot, now)
      if (permission === "wait") return
      const want: Want = slot.held === undefined || slot.outdated
        ? anyToken
        : { _tag: "another", than: slot.held.token }
      slot.outdated = false
      start({ slot, request, kind: "normal", want, background: true, probe: permission === "probe", caller })
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
      if (held === undefined || now >= held.endsAt) return obtain(slot, request, "normal", anyToken, now, caller)
      // Near its end a new token is better, but if none can be had this one still works.
      if (slot.backoff !== undefined) {
        renewAhead(slot, request, now, caller)
        return held.hit
      }
      return Effect.catchAll(
        obtain(slot, request, "normal", anyToken, now, caller),
        (error) =>
          Effect.flatMap(SteadyClock.currentTimeMillis, (later) => later < held.endsAt ? held.hit : Effect.fail(error))
      )
    }

    const forced = (request: TokenCacheRequest, want: Want): Effect.Effect<AccessToken, AccessTokenError> =>
      Effect.withFiberRuntime((fiber) =>
        obtain(
          slotOf(request),
          request,
          "forced",
          want,
          SteadyClock.unsafeCurrentTimeMillis(clockOf(fiber)),
          fiber.currentSpan
        )
      )

    /** From the server: a renewal that is shared may have found its token in the store, where it was before this call. */
    const brandNew = (request: TokenCacheRequest): Effect.Effect<AccessToken, AccessTokenError> =>
      Effect.clockWith((clock) => {
        const asked = clock.unsafeCurrentTimeMillis()
        return Effect.flatMap(
          forced(request, newToken),
          (token) =>
            shared === undefined || token.obtainedAt.epochMillis >= asked
              ? Effect.succeed(token)
              : forced(request, newToken)
        )
      })

    const forget = (slot: Slot.Slot): void => {
      slot.epoch++
      slot.held = undefined
      slot.older = undefined
      slot.flights.normal = undefined
      slot.flights.forced = undefined
      slot.backoff = undefined
    }

    const forgetAll = (clientName: string | undefined): void => {
      for (const slot of slots.values()) {
        if (clientName === undefined || slot.clientName === clientName) forget(slot)
      }
    }

    /** What other processes have done. */
    const heed = (event: TokenStoreEvent): void => {
      switch (event._tag) {
        case "Written": {
          const slot = byEntry.get(event.key)
          if (slot !== undefined && slot.version !== event.version) Slot.doubt(slot)
          return
        }
        case "Removed": {
          const slot = byEntry.get(event.key)
          if (slot !== undefined) forget(slot)
          return
        }
        case "TagRemoved": {
          const clientName = SharedTier.clientOf(event.tag)
          if (clientName !== null) forgetAll(clientName)
          return
        }
        case "Gap":
          for (const slot of slots.values()) Slot.doubt(slot)
      }
    }

    if (shared !== undefined) {
      yield* Effect.forkScoped(
        Stream.runForEach(shared.events, (event) => Effect.sync(() => heed(event))).pipe(
          Effect.catchAllCause(() => Effect.void)
        )
      )
    }

    const find = (address: TokenCacheAddress): Slot.Slot | undefined => {
      const { found } = address
      if (found instanceof Slot.Slot && found.home === slots && !found.evicted) return found
      const slot = slots.get(address.key)
      address.found = slot
      return slot
    }

    const hit = (address: TokenCacheAddress, clock: Clock.Clock): Exit.Exit<AccessToken> | undefined => {
      const slot = find(address)
      if (slot === undefined || slot.held === undefined) return undefined
      if (SteadyClock.unsafeCurrentTimeMillis(clock) >= slot.held.freshUntil) return undefined
      slot.used = true
      OAuthMetrics.count(OAuthMetrics.cacheHit)
      return slot.held.hit
    }

    return {
      hit,

      get: (request, options) =>
        options?.forceRenewal === true
          ? brandNew(request)
          : Effect.withFiberRuntime((fiber) => {
            const clock = clockOf(fiber)
            return hit(request, clock) ??
              miss(request, SteadyClock.unsafeCurrentTimeMillis(clock), fiber.currentSpan)
          }),

      renew: (request, rejected) =>
        Effect.clockWith((clock) => {
          const slot = slotOf(request)
          const isOther = (token: AccessToken) => !isSame(token, rejected)
          if (
            slot.held !== undefined && isOther(slot.held.token) &&
            SteadyClock.unsafeCurrentTimeMillis(clock) < slot.held.endsAt
          ) {
            return slot.held.hit
          }
          const another: Want = { _tag: "another", than: rejected }
          const renewed = Effect.suspend(() => forced(request, another))
          const normal = slot.flight("forced") === undefined ? slot.flight("normal") : undefined
          if (normal === undefined) return renewed
          OAuthMetrics.count(OAuthMetrics.coalesced)
          return Effect.flatMap(
            normal.join(renewed),
            (token) => isOther(token) ? Effect.succeed(token) : renewed
          )
        }),

      peek: (request) =>
        Effect.suspend(() => {
          const token = slots.get(request.key)?.held?.token
          return token !== undefined || shared === undefined
            ? Effect.succeed(token)
            : Effect.flatMap(Acquisitions.entryOf(request), (entry) =>
              Effect.map(shared.read(entry), (found) => found.token))
        }),

      remove: (request) =>
        Effect.suspend(() => {
          const slot = slots.get(request.key)
          if (slot !== undefined) forget(slot)
          if (shared === undefined) return Effect.void
          return flights.isClosed()
            ? new TokenCacheClosed({ clientName: slot?.clientName ?? "" })
            : Effect.flatMap(Acquisitions.entryOf(request), shared.remove)
        }),

      removeAll: (clientName) =>
        Effect.suspend(() => {
          forgetAll(clientName)
          return shared === undefined ? Effect.void : shared.removeAll(clientName)
        })
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<TokenCache> => Layer.scoped(TokenCache, make(options))
