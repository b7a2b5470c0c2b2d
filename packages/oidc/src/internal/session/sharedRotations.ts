/**
 * What has become of the sessions in cookies, told to the other processes by the store that they share. A help that never
 * hinders: without it, a request with an older cookie has to come back to the same process.
 */
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import type { Signer } from "@effect-oauth/core/Signer"
import type { TokenEncryption } from "@effect-oauth/core/TokenEncryption"
import type { TokenStore } from "@effect-oauth/core/TokenStore"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { SessionContent } from "../../Session.ts"
import type { Rotation } from "./rotations.ts"

/** @internal */
export interface SharedRotations {
  readonly get: (key: string) => Effect.Effect<Rotation | undefined>
  readonly set: (key: string, rotation: Rotation) => Effect.Effect<void>
}

const Text = Schema.parseJson(
  Schema.Struct({ revision: Schema.Number, content: Schema.UndefinedOr(SessionContent).pipe(Schema.optional) })
)
const decode = Schema.decodeEither(Text)
const encode = Schema.encode(Text)

/** @internal */
export const make = (settings: {
  readonly store: TokenStore["Type"]
  readonly encryption: TokenEncryption["Type"]
  readonly signer: Signer["Type"]
  readonly grace: Duration.DurationInput
  readonly timeout: Duration.DurationInput
  readonly log: OAuthLogging.Log
}): SharedRotations => {
  const { encryption, grace, log, signer, store, timeout } = settings

  const quietly = <A, E>(effect: Effect.Effect<A, E>, otherwise: A): Effect.Effect<A> =>
    Effect.interruptible(effect).pipe(
      Effect.timeout(timeout),
      Effect.catchAllCause(() =>
        Effect.as(
          log.warning(undefined, "the token store does not answer: renewed sessions are not told to other processes"),
          otherwise
        )
      )
    )

  const nameOf = (key: string) => Effect.map(signer.sha256(key), (hash) => `rotation:${hash}`)

  return {
    get: (key) =>
      Effect.gen(function*() {
        const name = yield* nameOf(key)
        const stored = yield* store.get(name)
        if (Option.isNone(stored)) return undefined
        const text = yield* encryption.open(name, stored.value.value)
        const rotation = Option.flatMap(text, (text) => Either.getRight(decode(text)))
        return Option.getOrUndefined(
          Option.map(rotation, ({ content, revision }): Rotation => ({ content, revision }))
        )
      }).pipe((read) => quietly<Rotation | undefined, unknown>(read, undefined)),
    set: (key, rotation) =>
      Effect.gen(function*() {
        const name = yield* nameOf(key)
        const sealed = yield* encryption.seal(name, yield* encode(rotation))
        yield* store.set(name, sealed, { timeToLive: grace })
      }).pipe((write) => quietly<void, unknown>(write, undefined))
  }
}
