/**
 * What the fiber that sends a request has to be told. Both are settings of the platform, and providing them around every
 * call would cost more than all else that is done for it, so a request with a proof sets them when it is signed, in the
 * fiber that is about to send it, and they are put back when its answer is there.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Headers from "@effect/platform/Headers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"

const manual = (context: Context.Context<never>): globalThis.RequestInit => {
  const init: globalThis.RequestInit | undefined = context.unsafeMap.get(FetchHttpClient.RequestInit.key)
  return { ...init, redirect: "manual" }
}

/** @internal Fetch follows redirects by itself, wherever they lead, unless it is told not to. Other clients never see this. */
export const withoutFetchRedirects = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) =>
    Effect.provideService(effect, FetchHttpClient.RequestInit, manual(fiber.currentContext))
  )

type Names = ReadonlyArray<string | RegExp>

/** The names that are redacted while a proof is on its way, and what they were before. */
const during = new WeakMap<Names, Names>()
const before = new WeakMap<Names, Names>()

const withProofs = (names: Names): Names => {
  if (names.includes("dpop")) return names
  const extended = during.get(names) ?? [...names, "dpop"]
  during.set(names, extended)
  before.set(extended, names)
  return extended
}

/** @internal A proof must neither follow a redirect by itself nor be exported with the span of its request. */
export const guard: Effect.Effect<void> = Effect.withFiberRuntime((fiber) => {
  const context = fiber.currentContext
  return Effect.zipRight(
    FiberRef.set(FiberRef.currentContext, Context.add(context, FetchHttpClient.RequestInit, manual(context))),
    FiberRef.update(Headers.currentRedactedNames, withProofs)
  )
})

/** @internal */
export const restore = (context: Context.Context<never>): Effect.Effect<void> =>
  Effect.zipRight(
    FiberRef.set(FiberRef.currentContext, context),
    FiberRef.update(Headers.currentRedactedNames, (names) => before.get(names) ?? names)
  )
