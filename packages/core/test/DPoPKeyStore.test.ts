import { DPoPKeyStore, SigningKey } from "@effect-oauth/core"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, DateTime, Duration, Effect, Layer, Option, Redacted, TestClock } from "effect"

const Store = DPoPKeyStore.DPoPKeyStore

describe("DPoPKeyStore", () => {
  it.effect("gives one configured key to all clients", () =>
    Effect.gen(function*() {
      const key = yield* SigningKey.generate("ES384", { extractable: true })
      const text = JSON.stringify(Redacted.value(yield* SigningKey.exportJwk(key)))
      const store = yield* Effect.provide(
        Store,
        DPoPKeyStore.layerConfig(Config.redacted("DPOP_KEY")).pipe(
          Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["DPOP_KEY", text]]))))
        )
      )
      assert.deepStrictEqual(yield* store.get("a"), yield* store.get("b"))
      assert.strictEqual((yield* store.get("a")).thumbprint, key.thumbprint)
      assert.isTrue(Option.isSome(yield* store.byThumbprint(key.thumbprint)))
      assert.isTrue(Option.isNone(yield* store.byThumbprint("another")))
    }))

  it.effect("refuses a configured key that cannot be used, when the Layer is built", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(
        DPoPKeyStore.layerConfig(Config.succeed(Redacted.make("{}")))
      )))
      assert.strictEqual(error._tag, "SigningKeyInvalid")
    }))

  it.effect("generates one key for callers who come together, and another one after rotateAfter", () =>
    Effect.gen(function*() {
      const store = yield* DPoPKeyStore.makeGenerated({ rotateAfter: "1 hours" })
      const together = yield* Effect.all(Array.from({ length: 20 }, () => store.get("a")), { concurrency: "unbounded" })
      assert.strictEqual(new Set(together.map((key) => key.thumbprint)).size, 1)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* store.get("a"), together[0])
      yield* TestClock.adjust("1 minutes")
      assert.notStrictEqual(yield* store.get("a"), together[0])
    }))

  it.effect("keeps an earlier key until the last token that is bound to it has expired", () =>
    Effect.gen(function*() {
      const store = yield* DPoPKeyStore.makeGenerated({ rotateAfter: "1 hours" })
      const isKept = (key: SigningKey.SigningKey) => Effect.map(store.byThumbprint(key.thumbprint), Option.isSome)
      const rotated = Effect.zipRight(TestClock.adjust("1 hours"), store.get("a"))
      const used = yield* store.get("a")
      yield* store.retain!(used.thumbprint, DateTime.addDuration(yield* DateTime.now, Duration.minutes(200)))
      yield* store.retain!(used.thumbprint, DateTime.addDuration(yield* DateTime.now, Duration.minutes(10)))
      const unused = yield* rotated
      yield* rotated
      assert.isTrue(yield* isKept(unused), "the one before: a request may be under way")
      const eternal = yield* rotated
      yield* store.retain!(eternal.thumbprint, undefined)
      assert.isFalse(yield* isKept(unused))
      assert.isTrue(yield* isKept(used))
      yield* rotated
      yield* rotated
      assert.isFalse(yield* isKept(used))
      assert.isTrue(yield* isKept(eternal))
      yield* store.retain!("unknown", undefined)
    }))
})
