/** Optional services that note that they are used. */
import { TokenEncryption, TokenRetriever, TokenStore } from "@effect-oauth/core"
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { assert } from "@effect/vitest"
import type { Context } from "effect"
import { Effect, Layer } from "effect"
import * as Web from "./web.ts"

/** The names of methods that were called. */
export type Used = Set<string>

/** The service of a Layer, whose methods note that they were called. */
export const spied = <I, S extends object, E, R>(used: Used, tag: Context.Tag<I, S>, layer: Layer.Layer<I, E, R>) =>
  Layer.effect(
    tag,
    Effect.map(tag, (service) =>
      new Proxy(service, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name)
          if (typeof value !== "function") return value
          return (...values: ReadonlyArray<unknown>): unknown => {
            used.add(`${tag.key.split("/").at(-1)}.${String(name)}`)
            return Reflect.apply(value, target, values)
          }
        }
      }))
  ).pipe(Layer.provide(layer))

export const optional = <A, E>(layer: Layer.Layer<A, E>): Layer.Layer<never> => Layer.orDie(layer)

export const api = HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null))))

const key = Web.newKey("1")

export const store = (used: Used) => spied(used, TokenStore.TokenStore, TokenStore.layerMemory)

/** Built without a `Signer`. */
export const encryption = TokenEncryption.layer([key])

export const customized = (scope: string) =>
  Layer.succeed(TokenRetriever.TokenRequestCustomizer, (_, parameters) => Effect.succeed({ ...parameters, scope }))

export interface Row {
  readonly provide: (used: Used) => Layer.Layer<never>
  /** What is noted if it is used. */
  readonly expected: RegExp
}

export const expectUsed = (seen: Used, expected: RegExp) =>
  assert.isTrue([...seen].some((one) => expected.test(one)), [...seen].join("\n"))
