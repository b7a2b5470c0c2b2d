/**
 * Who waits for the end of which session. One subscription to the store serves all of them.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type EndReason, SessionEnded } from "../../OidcError.ts"
import type { SessionStoreEvent } from "../../SessionStore.ts"

interface Watcher {
  readonly ended: Deferred.Deferred<SessionEnded>
  /** Something may have happened that nobody told of. */
  readonly lookAgain: Effect.Effect<boolean>
}

/** @internal */
export interface Endings {
  /** Ends when a session of this key, or of one of these groups, is ended; `isThere` says whether it is there still. */
  readonly watch: (names: ReadonlyArray<string>, isThere: Effect.Effect<boolean>) => Effect.Effect<SessionEnded>
  /** Runs `remove`, which ends what has this name, and tells those who wait why. */
  readonly ending: <E>(name: string, reason: EndReason, remove: Effect.Effect<void, E>) => Effect.Effect<void, E>
  /** Listens to what other processes end. */
  readonly listen: (events: Stream.Stream<SessionStoreEvent>) => Effect.Effect<never>
}

/** @internal */
export const make = (): Endings => {
  const watchers = new Map<string, Set<Watcher>>()
  /** Why this process is ending something: its own removal comes back as an event, which does not know. */
  const reasons = new Map<string, EndReason>()

  const tell = (name: string, reason: EndReason): Effect.Effect<void> =>
    Effect.forEach(
      [...watchers.get(name) ?? []],
      ({ ended }) => Deferred.succeed(ended, new SessionEnded({ reason })),
      {
        discard: true
      }
    )

  const lookAgain = (watcher: Watcher): Effect.Effect<void> =>
    Effect.flatMap(
      watcher.lookAgain,
      (isThere) => isThere ? Effect.void : Deferred.succeed(watcher.ended, new SessionEnded({ reason: "Elsewhere" }))
    )

  const heed = (event: SessionStoreEvent): Effect.Effect<void> => {
    switch (event._tag) {
      case "Removed":
        return tell(event.key, reasons.get(event.key) ?? "Elsewhere")
      case "GroupRemoved":
        return tell(event.group, reasons.get(event.group) ?? "Provider")
      case "Gap":
        return Effect.forEach(new Set([...watchers.values()].flatMap((each) => [...each])), lookAgain, {
          concurrency: 16,
          discard: true
        })
    }
  }

  return {
    watch: (names, isThere) =>
      Effect.flatMap(Deferred.make<SessionEnded>(), (ended) => {
        const watcher: Watcher = { ended, lookAgain: isThere }
        const begin = Effect.sync(() => {
          for (const name of names) {
            const known = watchers.get(name) ?? new Set()
            watchers.set(name, known.add(watcher))
          }
        })
        const end = Effect.sync(() => {
          for (const name of names) {
            const known = watchers.get(name)
            known?.delete(watcher)
            if (known?.size === 0) watchers.delete(name)
          }
        })
        // It may have ended just before anybody looked.
        const wait = Effect.zipRight(lookAgain(watcher), Deferred.await(ended))
        return Effect.acquireUseRelease(begin, () => wait, () => end)
      }),
    ending: (name, reason, remove) =>
      Effect.sync(() => reasons.set(name, reason)).pipe(
        Effect.zipRight(remove),
        Effect.zipRight(tell(name, reason)),
        Effect.ensuring(Effect.sync(() => reasons.delete(name)))
      ),
    // A store that has stopped telling, or broke off, may have missed anything.
    listen: (events) =>
      Stream.runForEach(events, heed).pipe(
        Effect.catchAllCause(() => Effect.void),
        Effect.zipRight(Effect.sleep("1 second")),
        Effect.zipRight(Effect.suspend(() => heed({ _tag: "Gap" }))),
        Effect.forever
      )
  }
}
