/**
 * A `TokenCache` of one's own, around the library's: it tells what it was asked for. Without `hit`, which it leaves out, every
 * call comes by here.
 */
import { TokenCache } from "@effect-oauth/core"
import { Effect, Layer } from "effect"

export interface Tally {
  asked: number
  acquired: number
}

export const layer = (tally: Tally): Layer.Layer<TokenCache.TokenCache> =>
  Layer.scoped(
    TokenCache.TokenCache,
    Effect.map(TokenCache.make(), ({ hit: _, ...cache }) => {
      const counted = (request: TokenCache.TokenCacheRequest): TokenCache.TokenCacheRequest => ({
        ...request,
        acquire: (options) => {
          tally.acquired++
          return request.acquire(options)
        }
      })
      return {
        ...cache,
        get: (request, options) => {
          tally.asked++
          return cache.get(counted(request), options)
        },
        renew: (request, rejected) => cache.renew(counted(request), rejected)
      }
    })
  )
