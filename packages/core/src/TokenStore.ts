/**
 * Where tokens are kept for all processes of a program: the second tier of `TokenCache`, and what sessions stand on.
 *
 * A store keeps texts, each for a while, and knows three things that a map does not: to write only over what was read
 * (versions), to let one process at a time do something (locks with a lease), and to tell others what has changed (events).
 * It promises nothing about availability: whoever uses it goes on without it.
 *
 * @since 0.1.0
 */
import * as KeyValueStore from "@effect/platform/KeyValueStore"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as KeyValueDriver from "./internal/store/keyValueDriver.ts"
import * as Lease from "./internal/store/lease.ts"
import * as MemoryDriver from "./internal/store/memoryDriver.ts"
import type { TokenStoreError } from "./OAuthError.ts"

/**
 * What is kept under a key. `version` is another one after every write, never one that was there before.
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  readonly value: string
  readonly version: string
}

/**
 * - `timeToLive`: after this the entry is gone, finite.
 * - `ifVersion`: write only if this version is there, `null`: only if nothing is. Default: in any case.
 * - `fence`: of the lock under which this is written. A lower one than the entry's is refused, so that a process that was
 *   held up does not overwrite what its successor wrote. Default: no matter what the entry has, and it keeps that.
 * - `tags`: by which the entry can be removed together with others.
 *
 * @since 0.1.0
 * @category models
 */
export interface SetOptions {
  readonly timeToLive: Duration.DurationInput
  readonly ifVersion?: string | null | undefined
  readonly fence?: number | undefined
  readonly tags?: ReadonlyArray<string> | undefined
}

/**
 * A lock that is held. `fence` is higher than that of every holder before. `lost` ends when the lease could not be kept: the
 * work may go on, and its writes will be refused if somebody else has written meanwhile.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lock {
  readonly fence: number
  readonly lost: Effect.Effect<void>
}

/**
 * - `lease`: how long the lock outlives a holder that has vanished. It is renewed three times within this as long as the
 *   holder works. Default 15 seconds.
 * - `wait`: how long to wait for a lock that somebody else has. Default 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockOptions {
  readonly lease?: Duration.DurationInput | undefined
  readonly wait?: Duration.DurationInput | undefined
}

/**
 * What has happened to entries, here or in another process.
 *
 * - `Written`, `Removed`: to one key.
 * - `TagRemoved`: to all entries with this tag.
 * - `Gap`: events may have been missed, so anything may have happened.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenStoreEvent =
  | { readonly _tag: "Written"; readonly key: string; readonly version: string }
  | { readonly _tag: "Removed"; readonly key: string }
  | { readonly _tag: "TagRemoved"; readonly tag: string }
  | { readonly _tag: "Gap" }

/**
 * @since 0.1.0
 * @category tags
 */
export class TokenStore extends Context.Tag("@effect-oauth/core/TokenStore")<TokenStore, {
  /** What is kept under a key and has not expired. One atomic read. */
  readonly get: (key: string) => Effect.Effect<Option.Option<Stored>, TokenStoreError>
  /**
   * Writes value, version, time to live, fence and tags in one step, if its conditions hold at that moment: of writers with
   * the same `ifVersion`, exactly one succeeds. `None` if they do not hold.
   */
  readonly set: (
    key: string,
    value: string,
    options: SetOptions
  ) => Effect.Effect<Option.Option<string>, TokenStoreError>
  /**
   * Removes the entry, with `ifVersion` only that very one, in one step. Whether it was there. Without `ifVersion` the event
   * comes also where nothing was there, since another process may have a copy.
   */
  readonly remove: (
    key: string,
    options?: { readonly ifVersion?: string | undefined }
  ) => Effect.Effect<boolean, TokenStoreError>
  /**
   * Removes every entry with this tag. An entry that is written again meanwhile, over a version (`ifVersion`) from before the
   * call, does not survive it: it is removed, or the write is refused. An entry that is new may stay.
   */
  readonly removeByTag: (tag: string) => Effect.Effect<void, TokenStoreError>
  /**
   * Runs `use` while this process has the lock: at most one process has the lock of a key, as long as the holder keeps its
   * lease. `None` if it could not be had within `wait`. Locks and entries of the same key have nothing to do with each other.
   */
  readonly withLock: <A, E, R>(
    key: string,
    options: LockOptions,
    use: (lock: Lock) => Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | TokenStoreError, R>
  /**
   * What happens from the subscription on, to the entries of all processes, those of this one included. At most once each;
   * where some may have been missed, a `Gap` comes instead.
   */
  readonly events: Stream.Stream<TokenStoreEvent>
}>() {}

/**
 * What a store has to be able to do; `make` adds waiting for locks and keeping leases. Each method is one atomic step at the
 * store, and times are the store's own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Driver extends Pick<TokenStore["Type"], "get" | "remove" | "removeByTag" | "events"> {
  readonly set: (
    key: string,
    value: string,
    options: Omit<SetOptions, "timeToLive"> & { readonly timeToLive: Duration.Duration }
  ) => Effect.Effect<Option.Option<string>, TokenStoreError>
  /** Takes the lock for `holder` if nobody has it or its lease is over, and gives it a fence that is higher than all before. */
  readonly lock: (
    key: string,
    holder: string,
    lease: Duration.Duration
  ) => Effect.Effect<Option.Option<number>, TokenStoreError>
  /** Prolongs the lease from now on, if `holder` has the lock still. */
  readonly extend: (
    key: string,
    holder: string,
    lease: Duration.Duration
  ) => Effect.Effect<boolean, TokenStoreError>
  /** Gives the lock up, if `holder` has it still. */
  readonly unlock: (key: string, holder: string) => Effect.Effect<void, TokenStoreError>
}

/**
 * A store over a driver. A lock or an unlock that the driver fails, or that is interrupted, may have been carried out: the
 * lock is given back in the background, with pauses of up to 1 second, until the driver confirms it or its lease has ended.
 * The end of the scope ends that, after the attempts that have begun (1 second at most).
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (driver: Driver): Effect.Effect<TokenStore["Type"], never, Scope.Scope> =>
  Effect.map(Lease.make(driver), (withLock) => over(driver, withLock))

const over = (driver: Driver, withLock: TokenStore["Type"]["withLock"]): TokenStore["Type"] => ({
  get: (key) => Effect.suspend(() => driver.get(key)),
  set: (key, value, options) =>
    Effect.suspend(() => {
      const timeToLive = Duration.decode(options.timeToLive)
      return Duration.isFinite(timeToLive)
        ? driver.set(key, value, { ...options, timeToLive })
        : Effect.dieMessage("an entry of a token store needs a finite timeToLive")
    }),
  remove: (key, options) => Effect.suspend(() => driver.remove(key, options)),
  removeByTag: (tag) => Effect.suspend(() => driver.removeByTag(tag)),
  withLock,
  events: driver.events
})

/** @internal A store that throws nothing, whoever wrote it: what it throws, its effects die of. */
export const suspended = (store: TokenStore["Type"]): TokenStore["Type"] => ({
  get: (key) => Effect.suspend(() => store.get(key)),
  set: (key, value, options) => Effect.suspend(() => store.set(key, value, options)),
  remove: (key, options) => Effect.suspend(() => store.remove(key, options)),
  removeByTag: (tag) => Effect.suspend(() => store.removeByTag(tag)),
  withLock: (key, options, use) => Effect.suspend(() => store.withLock(key, options, use)),
  events: store.events
})

/**
 * In the memory of this process. For one process it adds nothing to the cache's own tier; it is what tests and sessions of a
 * single process use.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeMemory: Effect.Effect<TokenStore["Type"]> = Effect.flatMap(
  Effect.zip(MemoryDriver.make, Scope.make()),
  // Nothing stays in this scope: memory confirms every unlock at once.
  ([driver, scope]) => Scope.extend(make(driver), scope)
)

/**
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<TokenStore> = Layer.effect(TokenStore, makeMemory)

/**
 * Over a `KeyValueStore`, for a program that is one process, such as a command-line tool that keeps its tokens in a folder.
 * A `KeyValueStore` has neither conditions nor locks: what is promised of them holds within this process only. Removing by
 * tag knows the entries that were written or read since the Layer was built.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerKeyValueStore: Layer.Layer<TokenStore, never, KeyValueStore.KeyValueStore> = Layer.scoped(
  TokenStore,
  Effect.flatMap(KeyValueStore.KeyValueStore, (store) => Effect.flatMap(KeyValueDriver.make(store), make))
)
