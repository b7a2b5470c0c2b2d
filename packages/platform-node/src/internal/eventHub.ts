/**
 * What happens, for any number of subscribers that are as slow as they like: who has too much before him is told of a gap.
 */
import type { TokenStoreEvent } from "@effect-oauth/core/TokenStore"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

/** @internal */
export const gap: TokenStoreEvent = { _tag: "Gap" }

interface Subscriber {
  waiting: Array<TokenStoreEvent>
  wake: () => void
}

/** @internal */
export interface EventHub {
  readonly publish: (event: TokenStoreEvent) => void
  /** Ends all streams. */
  readonly end: () => void
  readonly events: Stream.Stream<TokenStoreEvent>
}

const nothing = (): void => {}

/** @internal */
export const make = (capacity = 4096): EventHub => {
  const subscribers = new Set<Subscriber>()
  let ended = false

  const take = (subscriber: Subscriber) =>
    Effect.async<Chunk.Chunk<TokenStoreEvent>, Option.Option<never>>((resume) => {
      const look = () => {
        const { waiting } = subscriber
        subscriber.wake = nothing
        if (waiting.length > 0) {
          subscriber.waiting = []
          resume(Effect.succeed(Chunk.unsafeFromArray(waiting)))
        } else if (ended) {
          resume(Effect.fail(Option.none()))
        } else {
          subscriber.wake = look
        }
      }
      look()
      return Effect.sync(() => {
        subscriber.wake = nothing
      })
    })

  const subscribe = Effect.acquireRelease(
    Effect.sync(() => {
      const subscriber: Subscriber = { waiting: [], wake: nothing }
      subscribers.add(subscriber)
      return subscriber
    }),
    (subscriber) => Effect.sync(() => subscribers.delete(subscriber))
  )

  return {
    publish: (event) => {
      for (const subscriber of subscribers) {
        if (subscriber.waiting.length < capacity) subscriber.waiting.push(event)
        // It says it all: what waited, and what came now.
        else subscriber.waiting = [gap]
        subscriber.wake()
      }
    },
    end: () => {
      ended = true
      for (const subscriber of subscribers) subscriber.wake()
    },
    events: Stream.unwrapScoped(
      Effect.map(subscribe, (subscriber) => Stream.repeatEffectChunkOption(take(subscriber)))
    )
  }
}
