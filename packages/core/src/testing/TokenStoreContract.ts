/**
 * What every `TokenStore` has to keep to, as cases for whatever test runner there is. Each case gets a function that opens an
 * instance of the store; instances that are opened in one case stand for processes, so they share what they keep.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { TokenStoreError } from "../OAuthError.ts"
import type { TokenStore, TokenStoreEvent } from "../TokenStore.ts"

type Store = TokenStore["Type"]

/**
 * The store does something else than it has to.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContractViolation extends Data.TaggedError("ContractViolation")<{ readonly message: string }> {}

/**
 * One thing that has to hold.
 *
 * @since 0.1.0
 * @category models
 */
export interface Case {
  readonly name: string
  /** Takes real time, a few seconds at most. */
  readonly run: <E, R>(
    open: Effect.Effect<Store, E, R>
  ) => Effect.Effect<void, ContractViolation | TokenStoreError | E, R>
}

type Failure = ContractViolation | TokenStoreError

const expect = (what: string, condition: boolean): Effect.Effect<void, ContractViolation> =>
  condition ? Effect.void : Effect.fail(new ContractViolation({ message: `expected ${what}` }))

const expectEqual = (what: string, found: unknown, wanted: unknown): Effect.Effect<void, ContractViolation> =>
  expect(`${what} to be ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`, Equal.equals(found, wanted))

const minute = { timeToLive: Duration.minutes(1) }
const soon = Duration.millis(300)
const later = Duration.millis(450)

const valueOf = (stored: Option.Option<{ readonly value: string }>): string | undefined =>
  Option.getOrUndefined(Option.map(stored, ({ value }) => value))

const versionOf = (version: Option.Option<string>): Effect.Effect<string, ContractViolation> =>
  Effect.mapError(version, () => new ContractViolation({ message: "expected the write to succeed" }))

/** A case with one instance. */
const one = (name: string, check: (store: Store) => Effect.Effect<void, Failure, Scope.Scope>): Case => ({
  name,
  run: (open) => Effect.scoped(Effect.flatMap(open, check))
})

/** A case with two instances over the same entries. */
const two = (
  name: string,
  check: (store: Store, other: Store) => Effect.Effect<void, Failure, Scope.Scope>
): Case => ({
  name,
  run: (open) => Effect.scoped(Effect.flatMap(Effect.all([open, open]), ([store, other]) => check(store, other)))
})

const race = (count: number, attempt: (index: number) => Effect.Effect<boolean, TokenStoreError>) =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }, (_, index) => index), attempt, { concurrency: "unbounded" }),
    (won) => won.filter((each) => each).length
  )

const mark = "a key that is written to see whether events arrive"

/** The events from now on, until `enough` of them; the subscription is there when this returns. */
const listening = (store: Store, enough: (events: ReadonlyArray<TokenStoreEvent>) => boolean) =>
  Effect.gen(function*() {
    const seen = yield* Ref.make<ReadonlyArray<TokenStoreEvent>>([])
    const subscribed = yield* Deferred.make<void>()
    const done = yield* Deferred.make<void>()
    yield* Effect.forkScoped(Stream.runForEach(store.events, (event) =>
      event._tag === "Written" && event.key === mark
        ? Deferred.succeed(subscribed, undefined)
        : Effect.flatMap(
          Ref.updateAndGet(seen, (events) => [...events, event]),
          (events) => enough(events) ? Deferred.succeed(done, undefined) : Effect.void
        )))
    // A store may have to connect first, and that takes as long as it takes.
    const subscribing = Effect.repeat(Effect.zipRight(store.set(mark, "", minute), Effect.sleep("50 millis")), {
      until: () => Deferred.isDone(subscribed)
    })
    yield* expect("events to arrive", Option.isSome(yield* Effect.timeoutOption(subscribing, "5 seconds")))
    return Effect.flatMap(Effect.timeoutOption(Deferred.await(done), "5 seconds"), (arrived) =>
      Effect.zipRight(
        expect(`events to arrive`, Option.isSome(arrived)),
        Ref.get(seen)
      ))
  })

/**
 * The cases.
 *
 * @example
 * ```ts
 * import { TokenStore } from "@effect-oauth/core"
 * import { cases } from "@effect-oauth/core/testing/TokenStoreContract"
 * import { Effect } from "effect"
 *
 * // instances of one case share their entries
 * export const checked = Effect.forEach(cases, ({ name, run }) =>
 *   Effect.flatMap(TokenStore.makeMemory, (store) => run(Effect.succeed(store))).pipe(Effect.withLogSpan(name)))
 * ```
 *
 * @since 0.1.0
 * @category cases
 */
export const cases: ReadonlyArray<Case> = [
  two("reads what was written, with its version, also elsewhere", (store, other) =>
    Effect.gen(function*() {
      yield* expectEqual("an entry that nobody wrote", yield* store.get("a"), Option.none())
      const version = yield* versionOf(yield* store.set("a", "tëxt \0 \n 🔑", minute))
      const read = yield* other.get("a")
      yield* expectEqual("the value", valueOf(read), "tëxt \0 \n 🔑")
      yield* expectEqual("the version", Option.map(read, (stored) => stored.version), Option.some(version))
      yield* expectEqual("another key", yield* other.get("a:b"), Option.none())
    })),

  one(
    "gives another version with every write, also after a removal and after the end of an entry",
    (store) =>
      Effect.gen(function*() {
        const versions = new Set<string>()
        const write = (timeToLive: Duration.Duration) =>
          Effect.map(Effect.flatMap(store.set("a", "1", { timeToLive }), versionOf), (version) => versions.add(version))
        yield* write(Duration.minutes(1))
        yield* write(Duration.minutes(1))
        yield* store.remove("a")
        yield* write(soon)
        yield* Effect.sleep(later)
        yield* write(Duration.minutes(1))
        yield* expectEqual("the number of versions", versions.size, 4)
      })
  ),

  one("forgets an entry when its time is over, and counts anew with every write", (store) =>
    Effect.gen(function*() {
      yield* store.set("a", "1", { timeToLive: soon })
      yield* store.set("b", "1", { timeToLive: soon })
      yield* store.set("b", "2", minute)
      yield* store.set("c", "1", { timeToLive: Duration.millis(1234.5) })
      yield* Effect.sleep(later)
      yield* expectEqual("an entry past its time", valueOf(yield* store.get("a")), undefined)
      yield* expectEqual("an entry that was written again", valueOf(yield* store.get("b")), "2")
      yield* expectEqual("an entry with a fraction of a millisecond", valueOf(yield* store.get("c")), "1")
      yield* expect(
        "a write on condition that nothing is there",
        Option.isSome(
          yield* store.set("a", "2", { ...minute, ifVersion: null })
        )
      )
    })),

  two("writes only over the version that it was told", (store, other) =>
    Effect.gen(function*() {
      const first = yield* versionOf(yield* store.set("a", "1", { ...minute, ifVersion: null }))
      yield* expectEqual(
        "a second first write",
        yield* other.set("a", "x", { ...minute, ifVersion: null }),
        Option.none()
      )
      const second = yield* versionOf(yield* other.set("a", "2", { ...minute, ifVersion: first }))
      yield* expectEqual(
        "a write over an old version",
        yield* store.set("a", "x", { ...minute, ifVersion: first }),
        Option.none()
      )
      yield* expectEqual("the value", valueOf(yield* store.get("a")), "2")
      yield* store.remove("a")
      yield* expectEqual(
        "a write over what is gone",
        yield* store.set("a", "x", { ...minute, ifVersion: second }),
        Option.none()
      )
      yield* expectEqual("the entry", yield* store.get("a"), Option.none())
    })),

  two("lets exactly one of many writers over the same version succeed", (store, other) =>
    Effect.gen(function*() {
      for (const ifVersion of [null, yield* versionOf(yield* store.set("b", "0", minute))]) {
        const key = ifVersion === null ? "a" : "b"
        const winners = yield* race(50, (index) =>
          Effect.map((index % 2 === 0 ? store : other).set(key, `${index}`, { ...minute, ifVersion }), Option.isSome))
        yield* expectEqual("the number of writers that succeeded", winners, 1)
      }
    })),

  two("removes, on condition too, and says whether it was there", (store, other) =>
    Effect.gen(function*() {
      const first = yield* versionOf(yield* store.set("a", "1", minute))
      const second = yield* versionOf(yield* store.set("a", "2", minute))
      yield* expectEqual("a removal of an old version", yield* other.remove("a", { ifVersion: first }), false)
      yield* expectEqual(
        "a removal of the version that is there",
        yield* other.remove("a", { ifVersion: second }),
        true
      )
      yield* expectEqual("the entry", yield* store.get("a"), Option.none())
      yield* expectEqual("a removal of nothing", yield* store.remove("a"), false)
      yield* store.set("a", "3", minute)
      const winners = yield* race(20, (index) => (index % 2 === 0 ? store : other).remove("a"))
      yield* expectEqual("the number of removals that found something", winners, 1)
    })),

  two("removes by tag what has the tag and nothing else", (store, other) =>
    Effect.gen(function*() {
      yield* store.set("a", "1", { ...minute, tags: ["all", "one"] })
      yield* other.set("b", "1", { ...minute, tags: ["all", "two"] })
      yield* store.set("c", "1", minute)
      yield* store.set("d", "1", { ...minute, tags: ["one"] })
      yield* store.set("d", "2", { ...minute, tags: ["two"] })
      yield* other.removeByTag("one")
      const left = yield* Effect.forEach(["a", "b", "c", "d"], (key) => Effect.map(store.get(key), valueOf))
      yield* expectEqual("what is left", JSON.stringify(left), JSON.stringify([undefined, "1", "1", "2"]))
      yield* store.removeByTag("all")
      yield* expectEqual("the last with the tag", valueOf(yield* other.get("b")), undefined)
      yield* store.set("a", "2", { ...minute, tags: ["one"] })
      yield* expectEqual("an entry written after", valueOf(yield* other.get("a")), "2")
    })),

  two(
    "removes by tag also what is written again meanwhile, over what was read before",
    (store, other) =>
      Effect.gen(function*() {
        const keys = Array.from({ length: 80 }, (_, index) => `k${index}`)
        for (let round = 0; round < 3; round++) {
          const options = { ...minute, tags: [`round ${round}`] }
          const first = yield* Effect.forEach(keys, (key) => Effect.flatMap(store.set(key, "0", options), versionOf), {
            concurrency: 20
          })
          const begun = yield* Ref.make(0)
          const removed = yield* Ref.make(false)
          /** Writes over its own last version until that is refused; once more after the removal, if it comes to that. */
          const rewrite = (key: string, index: number) =>
            Effect.gen(function*() {
              let version = Option.fromNullable(first[index])
              for (let last = false; Option.isSome(version) && !last;) {
                last = yield* Ref.get(removed)
                const through = index % 2 === 0 ? store : other
                version = yield* through.set(key, "1", { ...options, ifVersion: version.value })
                yield* Ref.update(begun, (writes) => writes + 1)
                yield* Effect.sleep("1 millis")
              }
            })
          const writers = yield* Effect.fork(Effect.forEach(keys, rewrite, { concurrency: "unbounded", discard: true }))
          yield* Effect.repeat(Effect.sleep("1 millis"), { until: () => Effect.map(Ref.get(begun), (n) => n > 100) })
          yield* other.removeByTag(options.tags[0]!)
          yield* Ref.set(removed, true)
          yield* Fiber.join(writers)
          const left = yield* Effect.filter(keys, (key) => Effect.map(store.get(key), Option.isSome))
          yield* expectEqual("the entries that are left", JSON.stringify(left), "[]")
        }
      })
  ),

  two("gives a lock to one at a time, with a higher fence each time", (store, other) =>
    Effect.gen(function*() {
      const inside = yield* Ref.make(0)
      const fences = yield* Ref.make<ReadonlyArray<number>>([])
      const work = (index: number) =>
        (index % 2 === 0 ? store : other).withLock("a", { lease: "5 seconds", wait: "20 seconds" }, ({ fence }) =>
          Effect.gen(function*() {
            yield* expectEqual(
              "the holders before this one",
              yield* Ref.getAndUpdate(inside, (n) =>
                n + 1),
              0
            )
            yield* Ref.update(fences, (all) => [...all, fence])
            yield* Effect.sleep("5 millis")
            yield* Ref.update(inside, (n) =>
              n - 1)
          }))
      const held = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, index) =>
          index),
        work,
        {
          concurrency: "unbounded"
        }
      )
      yield* expectEqual("the locks that were had", held.filter(Option.isSome).length, 12)
      const all = yield* Ref.get(fences)
      yield* expect(
        `fences that rise, found ${all}`,
        all.every((fence, index) => index === 0 || fence > all[index - 1]!)
      )
    })),

  two(
    "waits no longer than it was told, and lets other keys alone",
    (store, other) =>
      store.withLock("a", { lease: "5 seconds" }, () =>
        Effect.gen(function*() {
          const [elapsed, got] = yield* Effect.timed(other.withLock("a", { wait: soon }, () => Effect.void))
          yield* expectEqual("a lock that is taken", Option.isNone(got), true)
          yield* expect(
            `to wait about ${Duration.format(soon)}, not ${Duration.format(elapsed)}`,
            Duration.greaterThanOrEqualTo(elapsed, Duration.millis(250)) && Duration.lessThan(elapsed, "3 seconds")
          )
          const free = yield* other.withLock("b", { wait: 0 }, () => Effect.succeed("free"))
          yield* expectEqual("a lock of another key", Option.getOrUndefined(free), "free")
          yield* expectEqual("an entry of the same key", yield* other.get("a"), Option.none())
        })).pipe(Effect.asVoid)
  ),

  two("releases a lock when its holder ends, fails or is interrupted", (store, other) =>
    Effect.gen(function*() {
      const free = Effect.flatMap(
        other.withLock("a", { wait: "1 seconds" }, () => Effect.succeed(true)),
        (got) => expectEqual("the lock after its holder", Option.getOrUndefined(got), true)
      )
      yield* Effect.ignore(store.withLock("a", {}, () => Effect.fail("x")))
      yield* free
      yield* Effect.exit(store.withLock("a", {}, () => Effect.die("x")))
      yield* free
      const inside = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        store.withLock("a", {}, () => Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never))
      )
      yield* Effect.raceFirst(Deferred.await(inside), Fiber.join(fiber))
      yield* Fiber.interrupt(fiber)
      yield* free
    })),

  two("keeps the lease of a holder that works for long", (store, other) =>
    Effect.gen(function*() {
      const inside = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(store.withLock("a", { lease: "900 millis" }, ({ lost }) =>
        Effect.zipRight(
          Deferred.succeed(inside, undefined),
          Effect.raceFirst(Effect.as(Effect.sleep("2500 millis"), "kept"), Effect.as(lost, "lost"))
        )))
      yield* Effect.raceFirst(Deferred.await(inside), Fiber.join(holder))
      const got = yield* other.withLock("a", { wait: "2 seconds" }, () => Effect.void)
      yield* expectEqual("a lock that is kept", Option.isNone(got), true)
      yield* expectEqual("the holder", Option.getOrUndefined(yield* Fiber.join(holder)), "kept")
    })),

  two("refuses what was written under an older lock", (store, other) =>
    Effect.gen(function*() {
      const fenceOf = (from: Store) =>
        Effect.map(
          from.withLock("a", { wait: "1 seconds" }, ({ fence }) => Effect.succeed(fence)),
          Option.getOrElse(() => 0)
        )
      const old = yield* fenceOf(store)
      const young = yield* fenceOf(other)
      yield* expect(`the second fence (${young}) above the first (${old})`, young > old)
      yield* versionOf(yield* other.set("a", "young", { ...minute, fence: young }))
      yield* expectEqual(
        "a write under the older lock",
        yield* store.set("a", "old", { ...minute, fence: old }),
        Option.none()
      )
      yield* versionOf(yield* other.set("a", "without", minute))
      yield* expectEqual(
        "the same after a write without fence",
        yield* store.set("a", "old", { ...minute, fence: old }),
        Option.none()
      )
      yield* versionOf(yield* other.set("a", "again", { ...minute, fence: young }))
      yield* expectEqual("the value", valueOf(yield* store.get("a")), "again")
    })),

  two("tells of what happens, here and elsewhere", (store, other) =>
    Effect.gen(function*() {
      const isLast = (event: TokenStoreEvent) => event._tag === "TagRemoved" && event.tag === "last"
      const heard = yield* Effect.forEach([store, other], (each) => listening(each, (events) => events.some(isLast)))
      const version = yield* versionOf(yield* store.set("a", "1", { ...minute, tags: ["last"] }))
      yield* store.remove("a")
      // Another process may have a copy of what is not there.
      yield* store.remove("b")
      yield* store.removeByTag("last")
      for (const events of heard) {
        const told = Chunk.fromIterable(yield* events)
        yield* expectEqual(
          "the events",
          JSON.stringify([...told].filter(({ _tag }) => _tag !== "Gap")),
          JSON.stringify([
            { _tag: "Written", key: "a", version },
            { _tag: "Removed", key: "a" },
            { _tag: "Removed", key: "b" },
            { _tag: "TagRemoved", tag: "last" }
          ])
        )
      }
    })),

  two("tells nothing of what did not happen", (store, other) =>
    Effect.gen(function*() {
      const before = yield* versionOf(yield* store.set("a", "1", minute))
      const heard = yield* listening(other, (events) => events.some((event) => event._tag === "Removed"))
      yield* store.set("a", "2", { ...minute, ifVersion: null })
      yield* store.remove("b", { ifVersion: before })
      yield* store.remove("a")
      // Events travel on their own: one of just before may arrive just after.
      const told = (yield* heard).filter((event) =>
        event._tag !== "Gap" && !(event._tag === "Written" && event.version === before)
      )
      yield* expectEqual("the events", JSON.stringify(told), JSON.stringify([{ _tag: "Removed", key: "a" }]))
    }))
]
