import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as Effect from "effect/Effect"

/** @internal Fetch follows redirects by itself, wherever they lead, unless it is told not to. Other clients never see this. */
export const withoutFetchRedirects = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    const init: globalThis.RequestInit | undefined = fiber.currentContext.unsafeMap.get(FetchHttpClient.RequestInit.key)
    return Effect.provideService(effect, FetchHttpClient.RequestInit, { ...init, redirect: "manual" })
  })
