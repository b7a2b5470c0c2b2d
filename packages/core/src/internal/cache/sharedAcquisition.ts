/**
 * How a token is acquired where processes share a store: look there, ask the server only under the lock of the key, and put
 * there what came.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { type AccessToken, isSame } from "../../AccessToken.ts"
import type { AccessTokenError } from "../../OAuthError.ts"
import * as SteadyClock from "../../SteadyClock.ts"
import type { TokenCacheRequest } from "../../TokenCache.ts"
import type { Lock } from "../../TokenStore.ts"
import type { Found } from "./sharedTier.ts"
import * as SharedTier from "./sharedTier.ts"
import * as Slot from "./slot.ts"

/**
 * @internal Why a token is wanted.
 *
 * - `any`: there is none here, or it may be outdated.
 * - `another`: than this one, which was refused or is about to expire.
 * - `new`: from the server, whatever the store has.
 */
export type Want =
  | { readonly _tag: "any" }
  | { readonly _tag: "another"; readonly than: AccessToken }
  | { readonly _tag: "new" }

/** @internal A token, and the version under which the store has it. */
export interface Acquired {
  readonly token: AccessToken
  readonly version: string | undefined
  readonly fromServer: boolean
  /** The store could not be asked: it may have a newer one. */
  readonly unsure?: boolean
  /** It was removed, or another acquisition was announced, while the server was asked: it serves its waiters and is not kept. */
  readonly superseded?: boolean
  /** What the store had before the server was asked. */
  readonly older?: AccessToken | undefined
}

/** @internal */
export interface Options {
  readonly shared: SharedTier.SharedTier
  /** The name of the entry. */
  readonly entry: string
  readonly request: TokenCacheRequest
  readonly want: Want
  /** How long to wait for a process that is asking the server already. */
  readonly lockWait: Duration.Duration
  readonly retries: boolean
  /** What does while another process asks: with it, nobody waits and nobody asks twice. */
  readonly meanwhile: Acquired | undefined
  /** Older than what callers had here: the store has it still where a write failed, was lost, or another one never came. */
  readonly older: AccessToken | undefined
}

/** How long an announcement stays, so that a server that is down does not cause one with each attempt. In milliseconds. */
const announcementStay = 600_000

/** What an acquisition may take after its time-out, in milliseconds. */
const grace = 2000

/** How often a version that changes under the announcement is read anew. */
const attempts = 3

type Acquisition = Effect.Effect<Acquired, AccessTokenError>

/** @internal */
export const fromServer = (request: TokenCacheRequest, options: { readonly retries: boolean }): Acquisition =>
  Effect.map(request.acquire(options), (token) => ({ token, version: undefined, fromServer: true }))

/** @internal */
export const acquire = (options: Options): Acquisition =>
  Effect.suspend(() => {
    const { entry, lockWait, meanwhile, older, request, retries, shared, want } = options
    const isOlder = (token: AccessToken): boolean => older !== undefined && isSame(token, older)

    const usable = (found: Found, clock: Clock.Clock): Acquired | undefined => {
      const { token, version } = found
      if (want._tag === "new" || token === undefined || version === null) return undefined
      if (isOlder(token) || (want._tag === "another" && isSame(token, want.than))) return undefined
      const held = Slot.hold(token, request, clock, 0, 0)
      return held !== undefined && SteadyClock.unsafeCurrentTimeMillis(clock) < held.expiredAt
        ? { token, version, fromServer: false }
        : undefined
    }

    const look = Effect.zipWith(shared.read(entry, request.clientName), Effect.clock, (found, clock) => ({
      found,
      usable: usable(found, clock)
    }))

    /**
     * What is here already, if it is good for long: nobody has refused it, so that a store which cannot be asked what others
     * have is no reason to ask the server.
     */
    const goodEnough = (clock: Clock.Clock): Acquired | undefined => {
      if (want._tag !== "any" || meanwhile === undefined) return undefined
      const held = Slot.hold(meanwhile.token, request, clock, 0, 1)
      return held !== undefined && SteadyClock.unsafeCurrentTimeMillis(clock) < held.freshUntil
        ? { ...meanwhile, unsure: true }
        : undefined
    }

    const { clientName } = request

    /** What came from the server, in the store too, unless it was removed meanwhile. */
    const keep = (token: AccessToken, before: Found, over: string, fence: number | undefined): Acquisition =>
      Effect.gen(function*() {
        const fromServer = { token, version: undefined, fromServer: true, older: before.token }
        const clock = yield* Effect.clock
        const held = Slot.hold(token, request, clock, 0, 0)
        const left = (held?.expiredAt ?? 0) - SteadyClock.unsafeCurrentTimeMillis(clock)
        if (left <= 0) return fromServer
        const timeToLive = Duration.min(Duration.millis(left), SharedTier.longestStay)
        const written = yield* shared.write(entry, token, { timeToLive, clientName, over, fence })
        if (written._tag === "Written") return { ...fromServer, version: written.version }
        if (written._tag === "Failed") return fromServer
        return (yield* look).usable ?? { ...fromServer, superseded: true }
      })

    /** The store has had its time, and is not waited for a second time. */
    const withoutStore: Acquisition = Effect.clockWith((clock) => {
      const here = goodEnough(clock)
      return here === undefined ? fromServer(request, { retries }) : Effect.succeed(here)
    })

    /** How long the entry is there if it is not removed, in milliseconds. */
    const left = (found: Found, clock: Clock.Clock): number => {
      const now = clock.unsafeCurrentTimeMillis()
      const { token } = found
      if (token === undefined) return shared.lasts(found) - now
      const expiredAt = Slot.hold(token, request, clock, 0, 0)?.expiredAt ?? 0
      const stay = token.obtainedAt.epochMillis + Duration.toMillis(SharedTier.longestStay) - now
      return Math.min(expiredAt - SteadyClock.unsafeCurrentTimeMillis(clock), stay)
    }

    /**
     * Asks the server, after the entry was made to exist: a removal takes it away, and the answer is not written any more.
     * Without a lock a version of its own announces the acquisition, so that the later one of two is the one that is kept.
     */
    const askServer = (found: Found, lock: Lock | undefined, tries = attempts): Acquisition =>
      Effect.gen(function*() {
        if (!found.isKnown) return yield* withoutStore
        const needed = Duration.toMillis(request.acquireTimeout) + grace
        const ask = request.acquire({ retries })
        const fence = lock?.fence
        if (found.version !== null && lock !== undefined && left(found, yield* Effect.clock) >= needed) {
          const { version } = found
          return yield* Effect.flatMap(ask, (token) => keep(token, found, version, fence))
        }
        const timeToLive = Duration.millis(found.token === undefined ? Math.max(announcementStay, 2 * needed) : needed)
        const announced = yield* shared.announce(entry, found, { timeToLive, clientName, over: found.version, fence })
        if (announced._tag === "Written") {
          return yield* Effect.flatMap(ask, (token) => keep(token, found, announced.version, fence))
        }
        if (announced._tag === "Failed" || tries === 1) return yield* fromServer(request, { retries })
        const again = yield* look
        return again.usable ?? (yield* askServer(again.found, lock, tries - 1))
      })

    /** Somebody may have been here between the look and the lock. */
    const underLock = (lock: Lock | undefined): Acquisition =>
      lock === undefined ? withoutStore : Effect.flatMap(look, ({ found, usable }) => {
        if (usable !== undefined) return Effect.succeed(usable)
        return askServer(found, lock)
      })

    /** While another process asks, its answer is waited for; if none comes in time, this process asks as well. */
    const shareOne = (until: number, pause: number): Acquisition =>
      Effect.gen(function*() {
        const { found, usable: here } = yield* look
        if (here !== undefined) return here
        const still = found.token !== undefined && isOlder(found.token) ? goodEnough(yield* Effect.clock) : undefined
        if (still !== undefined) return { ...still, unsure: false }
        const acquired = yield* shared.exclusively(entry, underLock)
        if (Option.isSome(acquired)) return acquired.value
        if (meanwhile !== undefined) return meanwhile
        if ((yield* SteadyClock.currentTimeMillis) >= until) return yield* askServer(found, undefined)
        const jitter = yield* Random.nextRange(0.5, 1)
        yield* Effect.sleep(Duration.millis(pause * jitter))
        return yield* shareOne(until, Math.min(pause * 2, 250))
      })

    if (want._tag === "new") return Effect.flatMap(look, ({ found }) => askServer(found, undefined))
    return Effect.flatMap(SteadyClock.currentTimeMillis, (now) => shareOne(now + Duration.toMillis(lockWait), 20))
  })
