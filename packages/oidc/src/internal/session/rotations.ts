/**
 * What has become of the sessions in cookies. A browser that sent a request before it had the newest cookie shows the
 * process an older one; here is what it will have.
 */
import * as SteadyClock from "@effect-oauth/core/SteadyClock"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import type { SessionContent } from "../../Session.ts"

/** @internal `content` is absent once the session has ended. */
export interface Rotation {
  readonly revision: number
  readonly content: SessionContent | undefined
  /** Where processes share a store: the version there that this is, or comes after. */
  readonly base?: string | null | undefined
  /** Whether the store has not taken it. */
  readonly isUnshared?: boolean | undefined
}

interface Entry extends Rotation {
  readonly until: number
}

/** @internal */
export interface Rotations {
  readonly get: (key: string) => Rotation | undefined
  /** The key of an entry that had to go although it could be needed still. */
  readonly put: (key: string, rotation: Rotation) => string | undefined
}

/** @internal By the monotonic clock: a jump of the wall clock does not make a process forget. */
export const make = (grace: Duration.DurationInput, capacity: number, clock: Clock.Clock): Rotations => {
  const lifetime = Duration.toMillis(grace)
  // In the order of their ends, since each write moves to the back.
  const entries = new Map<string, Entry>()

  const forget = (now: number): void => {
    for (const [key, { until }] of entries) {
      if (until > now) return
      entries.delete(key)
    }
  }

  return {
    get: (key) => {
      const entry = entries.get(key)
      return entry === undefined || entry.until <= SteadyClock.unsafeMonotonicMillis(clock) ? undefined : entry
    },
    put: (key, rotation) => {
      const now = SteadyClock.unsafeMonotonicMillis(clock)
      entries.delete(key)
      entries.set(key, { ...rotation, until: now + lifetime })
      forget(now)
      const [oldest] = entries.keys()
      if (entries.size <= capacity || oldest === undefined) return undefined
      entries.delete(oldest)
      return oldest
    }
  }
}
