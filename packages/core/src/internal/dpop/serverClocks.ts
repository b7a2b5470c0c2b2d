/**
 * How far the clocks of servers are from ours, as far as a refusal made us look: a host whose clock is wrong can sign
 * statements that are timely where they are read.
 */
import * as BoundedMap from "../cache/boundedMap.ts"

/** @internal */
export interface ServerClocks {
  /** What to add to our time, in milliseconds, for a server's. */
  readonly offset: (origin: string) => number
  /** Learns from the `Date` of an answer (RFC 9110 section 6.6.1); whether that was news. At most a day. */
  readonly learn: (origin: string, date: string | undefined, now: number) => boolean
}

interface Entry extends BoundedMap.Entry {
  offset: number
}

/** `Date` is in whole seconds, and an answer takes its time. */
const tolerance = 2000

/** More than any clock of a host is off, time zones included: what is signed for a time must not be good for years. */
const most = 24 * 3600 * 1000

/** @internal */
export const make = (): ServerClocks => {
  const entries = BoundedMap.make<Entry>(1000)
  const offset = (origin: string): number => entries.get(origin)?.offset ?? 0
  return {
    offset,
    learn: (origin, date, now) => {
      const learnt = date === undefined ? Number.NaN : Date.parse(date) - now
      if (!(Math.abs(learnt) <= most && Math.abs(learnt - offset(origin)) > tolerance)) return false
      const entry = entries.get(origin)
      if (entry === undefined) {
        entries.add({ key: origin, used: true, evicted: false, pinned: () => false, offset: learnt })
      } else {
        entry.offset = learnt
      }
      return true
    }
  }
}
