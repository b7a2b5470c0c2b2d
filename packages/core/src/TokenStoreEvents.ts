/**
 * The events of a `TokenStore.Driver`, for any number of subscribers. Each has a buffer of its own; where it is full, a `Gap`
 * takes the place of what is in it.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { TokenStoreEvent } from "./TokenStore.ts"

/**
 * Events may have been missed.
 *
 * @since 0.1.0
 * @category models
 */
export const gap: TokenStoreEvent = { _tag: "Gap" }

interface Subscriber {
  waiting: Array<TokenStoreEvent>
  wake: () => void
}

/**
 * - `publish`: to those that are subscribed.
 * - `end`: ends their streams.
 * - `events`: from the subscription on.
 *
 * @since 0.1.0
 * @category models
 */
export interface TokenStoreEvents {
  readonly publish: (event: TokenStoreEvent) => void
  readonly end: () => void
  readonly events: Stream.Stream<TokenStoreEvent>
}

const nothing = (): void => {}

/**
 * `capacity`: of the buffer of each subscriber, in events. Default 4096.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ capacity = 4096 }: { readonly capacity?: number | undefined } = {}): TokenStoreEvents => {
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
        // It stands for what waited and for what comes now.
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
