/** Services of the user's own that throw, where they should have given an effect that fails: a failure like any other. */
import {
  ClientAssertions,
  ClientCertificate,
  ClientCredentialsTokenManager,
  DPoPKeyStore,
  DPoPNonceStore,
  DPoPProofs,
  type OAuth,
  Signer,
  TokenCache,
  TokenCacheKey,
  type TokenClient,
  TokenClients,
  TokenEncryption,
  TokenStore
} from "@effect-oauth/core"
import { OAuth as Bundle } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { type Context, Effect, Exit, Layer, Logger, Stream } from "effect"
import { options, stub, token } from "./support/StubServer.ts"

const marked = "a secret of the service"

/** A service whose methods throw, but for those that are named. */
const throwing = <I, S extends object>(tag: Context.Tag<I, S>, keep: Partial<S> = {}): Layer.Layer<never> => {
  const service = new Proxy({}, {
    get: (_, name) =>
      name in keep ? Reflect.get(keep, name) : () => {
        throw new Error(marked)
      }
  })
  return Layer.succeed(tag, service as S)
}

const thrown = () => {
  throw new Error(marked)
}

const driver: TokenStore.Driver = {
  get: thrown,
  set: thrown,
  remove: thrown,
  removeByTag: thrown,
  lock: thrown,
  extend: thrown,
  unlock: thrown,
  events: Stream.never
}

interface Row {
  readonly provide: Layer.Layer<never>
  readonly client?: Partial<TokenClient.TokenClientOptions>
  /** How many requests five calls cost; `undefined`: they fail, with an error that has a type. */
  readonly requests: number | undefined
}

const rows: Readonly<Record<string, Row>> = {
  TokenStore: { provide: throwing(TokenStore.TokenStore, { events: Stream.never }), requests: 1 },
  "TokenStore of a driver": {
    provide: Layer.scoped(TokenStore.TokenStore, TokenStore.make(driver)) as Layer.Layer<never>,
    requests: 1
  },
  TokenEncryption: {
    provide: Layer.merge(throwing(TokenEncryption.TokenEncryption), TokenStore.layerMemory),
    requests: 1
  },
  DPoPNonceStore: { provide: throwing(DPoPNonceStore.DPoPNonceStore), client: { dpop: true }, requests: 1 },
  DPoPKeyStore: { provide: throwing(DPoPKeyStore.DPoPKeyStore), client: { dpop: true }, requests: undefined },
  DPoPProofs: { provide: throwing(DPoPProofs.DPoPProofs), client: { dpop: true }, requests: undefined },
  Signer: { provide: throwing(Signer.Signer), client: { dpop: true }, requests: undefined },
  ClientAssertions: { provide: throwing(ClientAssertions.ClientAssertions), requests: undefined },
  ClientCertificate: { provide: throwing(ClientCertificate.ClientCertificate), requests: undefined },
  TokenCacheKey: { provide: throwing(TokenCacheKey.TokenCacheKey), requests: undefined },
  TokenClients: { provide: throwing(TokenClients.TokenClients), requests: undefined },
  TokenCache: { provide: throwing(TokenCache.TokenCache), requests: 5 }
}

describe("a service that throws", () => {
  for (const [name, { client, provide, requests }] of Object.entries(rows)) {
    it.live(`${name}: ${requests === undefined ? "errors with a type" : `${requests} for 5 calls`}`, () =>
      Effect.gen(function*() {
        const server = stub((seen, number) =>
          token(number, { expires_in: 3600, ...(seen.headers.dpop === undefined ? {} : { token_type: "DPoP" }) })
        )
        const services: Layer.Layer<OAuth.Services, unknown> = Bundle.layer.pipe(
          Layer.provide(provide),
          Layer.provide(TokenClients.layer({ worker: { ...options, ...client, timeout: "1 second" } })),
          Layer.provide(server.layer),
          Layer.provide(Logger.remove(Logger.defaultLogger))
        )
        const exits = yield* Effect.forEach(
          [1, 2, 3, 4, 5],
          () => Effect.exit(ClientCredentialsTokenManager.get("worker"))
        )
          .pipe(Effect.provide(services))
        for (const exit of exits) {
          if (requests === undefined) {
            assert.isTrue(Exit.isFailure(exit) && exit.cause._tag === "Fail", String(exit))
            assert.notInclude(String(exit), marked)
          } else assert.isTrue(Exit.isSuccess(exit), String(exit))
        }
        if (requests !== undefined) assert.strictEqual(server.seen.length, requests)
      }))
  }
})
