/**
 * A request that is sent once, whatever the client does that sends it. There are two places to see a repetition: where an
 * attempt is prepared, which every retry around the client passes, and where the platform's client looks whether to trace
 * what it is about to send, which a retry below passes too (one inside of `HttpClient.transform` sends what was prepared).
 *
 * A repetition is a defect on its way through the client, because no retry takes one up.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"

/** @internal */
export class Repeated {
  readonly _tag = "Repeated"
}

/** @internal */
export interface SentOnce {
  /** Around what is done for an attempt before it is sent. If that fails, nothing was sent, and there may be another. */
  readonly preparing: <A, E, R>(prepare: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Around all attempts. */
  readonly sending: <A, E, R>(execute: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** @internal For one exchange. */
export const make = (): SentOnce => {
  let prepared = false
  let sent = false
  return {
    preparing: (prepare) =>
      Effect.suspend(() => {
        if (prepared) return Effect.die(new Repeated())
        prepared = true
        return Effect.tapError(prepare, () =>
          Effect.sync(() => {
            prepared = false
          }))
      }),
    sending: (execute) =>
      Effect.withFiberRuntime((fiber) => {
        const traced = fiber.getFiberRef(FiberRef.currentTracerEnabled)
        const untraced = fiber.getFiberRef(HttpClient.currentTracerDisabledWhen)
        return execute.pipe(
          Effect.locally(HttpClient.currentTracerDisabledWhen, (request) => {
            if (sent) throw new Repeated()
            sent = true
            return !traced || untraced(request)
          }),
          // Where nothing is traced it does not look.
          Effect.withTracerEnabled(true)
        )
      })
  }
}

/** @internal Any number of times. */
export const unbounded: SentOnce = { preparing: (prepare) => prepare, sending: (execute) => execute }
