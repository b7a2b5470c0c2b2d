/**
 * A map with a bound, evicting by second chance: entries lie in a ring, each use sets a bit, and the hand that looks for
 * room clears bits until it meets an entry without one. Exact LRU would move the entry on every hit, which costs more
 * than the hit itself.
 */

/** @internal */
export interface Entry {
  readonly key: string
  used: boolean
  /** Set when it has left the map. */
  evicted: boolean
  /** An entry that is being worked on stays, even if the map outgrows its bound for the moment. */
  readonly pinned: () => boolean
}

/** @internal */
export interface BoundedMap<A extends Entry> {
  readonly get: (key: string) => A | undefined
  readonly add: (entry: A) => void
  readonly values: () => Iterable<A>
  readonly size: () => number
}

/** @internal */
export const make = <A extends Entry>(capacity: number, onEvicted: (entry: A) => void = () => {}): BoundedMap<A> => {
  const entries = new Map<string, A>()
  const ring: Array<A> = []
  let hand = 0

  const place = (entry: A): void => {
    // Two rounds: the first may only clear bits.
    for (let steps = 0; ring.length >= capacity && steps < 2 * ring.length; steps++) {
      hand = (hand + 1) % ring.length
      const candidate = ring[hand]!
      if (candidate.used) candidate.used = false
      else if (!candidate.pinned()) {
        entries.delete(candidate.key)
        candidate.evicted = true
        onEvicted(candidate)
        ring[hand] = entry
        return
      }
    }
    ring.push(entry)
  }

  return {
    get: (key) => entries.get(key),
    add: (entry) => {
      place(entry)
      entries.set(entry.key, entry)
    },
    values: () => entries.values(),
    size: () => entries.size
  }
}
