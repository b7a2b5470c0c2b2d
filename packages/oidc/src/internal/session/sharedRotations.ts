/**
 * The newest contents of sessions in cookies, told to the other processes by the store that they share, so that a request
 * with an older cookie is answered by its successor in any of them.
 */
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import type { Signer } from "@effect-oauth/core/Signer"
import * as StrictJson from "@effect-oauth/core/StrictJson"
import type { TokenEncryption } from "@effect-oauth/core/TokenEncryption"
import type { TokenStore } from "@effect-oauth/core/TokenStore"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { SessionStoreError } from "../../OidcError.ts"
import { SessionContent } from "../../Session.ts"
import * as Schedules from "../schedules.ts"
import * as GuardedStore from "./guardedStore.ts"

/** @internal `content` is absent once the session has ended. */
export interface SharedRotation {
  readonly revision: number
  readonly content: SessionContent | undefined
  /** Of the store. */
  readonly version: string
}

/** @internal */
export interface SharedRotations {
  readonly get: (key: string) => Effect.Effect<Option.Option<SharedRotation>, SessionStoreError>
  /** Over this version only, `null`: only if nothing is there. The new version, or `None`. */
  readonly set: (
    key: string,
    rotation: { readonly revision: number; readonly content: SessionContent },
    ifVersion: string | null
  ) => Effect.Effect<Option.Option<string>, SessionStoreError>
  /** Whatever is there. Goes on in the background until the store has it. */
  readonly end: (key: string) => Effect.Effect<void>
}

const Text = StrictJson.schema(
  Schema.Struct({ revision: Schema.Number, content: Schema.UndefinedOr(SessionContent).pipe(Schema.optional) })
)
const decode = Schema.decodeEither(Text)
const encode = Schema.encode(Text)

/** @internal No revision comes after the end. */
export const lastRevision = Number.MAX_SAFE_INTEGER

/** @internal Of a process that shares them with no other. */
export const none: SharedRotations = {
  get: () => Effect.succeedNone,
  set: () => Effect.succeedSome(""),
  end: () => Effect.void
}

/** @internal */
export const make = (settings: {
  readonly store: TokenStore["Type"]
  readonly encryption: TokenEncryption["Type"]
  readonly signer: Signer["Type"]
  readonly grace: Duration.DurationInput
  readonly timeout: Duration.Duration
  readonly log: OAuthLogging.Log
}): Effect.Effect<SharedRotations, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { encryption, grace, log, signer, timeout } = settings
    const scope = yield* Effect.scope
    const store = GuardedStore.make(settings.store, "rotation", timeout)

    const nameOf = (key: string) => Effect.map(signer.sha256(key), (hash) => `rotation:${hash}`)

    const put = (
      key: string,
      rotation: typeof Text.Type,
      ifVersion: string | null | undefined
    ): Effect.Effect<Option.Option<string>, SessionStoreError> =>
      Effect.gen(function*() {
        const name = yield* nameOf(key)
        const sealed = yield* encryption.seal(name, yield* Effect.orDie(encode(rotation)))
        return yield* store.set(name, sealed, { timeToLive: grace, ifVersion })
      })

    return {
      get: (key) =>
        Effect.gen(function*() {
          const name = yield* nameOf(key)
          const stored = yield* store.get(name)
          if (Option.isNone(stored)) return Option.none()
          const { value, version } = stored.value
          const text = yield* encryption.open(name, value)
          const rotation = Option.flatMap(text, (text) => Either.getRight(decode(text)))
          return Option.map(rotation, ({ content, revision }): SharedRotation => ({ content, revision, version }))
        }),
      set: put,
      end: (key) => {
        const ended = put(key, { revision: lastRevision, content: undefined }, undefined)
        // A cookie that is older than this is not answered by its successor either.
        const untilDone = Effect.ignore(Effect.retry(ended, Schedules.persistently(grace)))
        return Effect.catchTag(ended, "SessionStoreError", ({ message }) =>
          Effect.zipRight(
            log.warning(undefined, `${message}: the end of a session is not known to other processes yet`),
            Effect.forkIn(Effect.interruptible(untilDone), scope)
          )).pipe(Effect.asVoid)
      }
    }
  })
