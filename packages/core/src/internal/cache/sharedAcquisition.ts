/**
 * How a token is acquired where processes share a store: look there, ask the server only under the lock of the key, and put
 * there what came.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { type AccessToken, isSame } from "../../AccessToken.ts"
import type { AccessTokenError } from "../../OAuthError.ts"
import type { TokenCacheRequest } from "../../TokenCache.ts"
import type { Lock } from "../../TokenStore.ts"
import type { Found, SharedTier } from "./sharedTier.ts"
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
}

/** @internal */
export interface Options {
  readonly shared: SharedTier
  /** The name of the entry. */
  readonly entry: string
  readonly request: TokenCacheRequest
  readonly want: Want
  /** How long to wait for a process that is asking the server already. */
  readonly lockWait: Duration.Duration
  readonly retries: boolean
  /** What does while another process asks: with it, nobody waits and nobody asks twice. */
  readonly meanwhile: Acquired | undefined
}

/** A token that never expires is looked for anew every day. */
const longestStay = Duration.hours(24)

type Acquisition = Effect.Effect<Acquired, AccessTokenError>

/** @internal */
export const fromServer = (request: TokenCacheRequest, options: { readonly retries: boolean }): Acquisition =>
  Effect.map(request.acquire(options), (token) => ({ token, version: undefined, fromServer: true }))

/** @internal */
export const acquire = (options: Options): Acquisition =>
  Effect.suspend(() => {
    const { entry, lockWait, meanwhile, request, retries, shared, want } = options

    const usable = (found: Found, now: number): Acquired | undefined => {
      const { token, version } = found
      if (want._tag === "new" || token === undefined || version === null) return undefined
      if (want._tag === "another" && isSame(token, want.than)) return undefined
      const held = Slot.hold(token, request, 0, 0)
      return held !== undefined && now < held.expiredAt ? { token, version, fromServer: false } : undefined
    }

    const look = Effect.zipWith(shared.read(entry), Clock.currentTimeMillis, (found, now) => ({
      found,
      usable: usable(found, now)
    }))

    /**
     * What is here already, if it is good for long: nobody has refused it, so that a store which cannot be asked what others
     * have is no reason to ask the server.
     */
    const goodEnough = (now: number): Acquired | undefined => {
      if (want._tag !== "any" || meanwhile === undefined) return undefined
      const held = Slot.hold(meanwhile.token, request, 0, 1)
      return held !== undefined && now < held.freshUntil ? { ...meanwhile, unsure: true } : undefined
    }

    /** What came from the server, in the store too, unless there is something newer. */
    const keep = (token: AccessToken, over: string | null | undefined, fence: number | undefined): Acquisition =>
      Effect.gen(function*() {
        const held = Slot.hold(token, request, 0, 0)
        const left = (held?.expiredAt ?? 0) - (yield* Clock.currentTimeMillis)
        if (left <= 0) return { token, version: undefined, fromServer: true }
        const { clientName } = request
        const timeToLive = Duration.min(Duration.millis(left), longestStay)
        const version = yield* shared.write(entry, { token, timeToLive, clientName, over, fence })
        return { token, version: Option.getOrUndefined(version), fromServer: true }
      })

    const askServer = (over: string | null | undefined, lock: Lock | undefined): Acquisition =>
      Effect.flatMap(request.acquire({ retries }), (token) => keep(token, over, lock?.fence))

    /** The store has had its time, and is not waited for a second time. */
    const withoutStore: Acquisition = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const here = goodEnough(now)
      return here === undefined ? fromServer(request, { retries }) : Effect.succeed(here)
    })

    /** Somebody may have been here between the look and the lock. */
    const underLock = (lock: Lock | undefined): Acquisition =>
      lock === undefined ? withoutStore : Effect.flatMap(look, ({ found, usable }) => {
        if (usable !== undefined) return Effect.succeed(usable)
        return found.isKnown ? askServer(found.version, lock) : withoutStore
      })

    /** While another process asks, its answer is waited for; if none comes in time, this process asks as well. */
    const shareOne = (until: number, pause: number): Acquisition =>
      Effect.gen(function*() {
        const here = (yield* look).usable
        if (here !== undefined) return here
        const acquired = yield* shared.exclusively(entry, underLock)
        if (Option.isSome(acquired)) return acquired.value
        if (meanwhile !== undefined) return meanwhile
        if ((yield* Clock.currentTimeMillis) >= until) return yield* askServer(undefined, undefined)
        const jitter = yield* Random.nextRange(0.5, 1)
        yield* Effect.sleep(Duration.millis(pause * jitter))
        return yield* shareOne(until, Math.min(pause * 2, 250))
      })

    if (want._tag === "new") return askServer(undefined, undefined)
    return Effect.flatMap(Clock.currentTimeMillis, (now) => shareOne(now + Duration.toMillis(lockWait), 20))
  })
