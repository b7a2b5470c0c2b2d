/**
 * Where sessions are kept on the server: the browser has a random id only, of which the store knows a hash.
 *
 * @since 0.1.0
 */
import type { TokenStoreError } from "@effect-oauth/core/OAuthError"
import * as StrictJson from "@effect-oauth/core/StrictJson"
import { TokenEncryption } from "@effect-oauth/core/TokenEncryption"
import * as TokenStore from "@effect-oauth/core/TokenStore"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { SessionStoreError } from "./OidcError.ts"
import { type Kept, SessionContent } from "./Session.ts"

/**
 * What has happened to sessions, here or in another process. `Gap`: anything may have happened.
 *
 * @since 0.1.0
 * @category models
 */
export type SessionStoreEvent =
  | { readonly _tag: "Removed"; readonly key: string }
  | { readonly _tag: "GroupRemoved"; readonly group: string }
  | { readonly _tag: "Gap" }

/**
 * - `ifVersion`: write only over this one, `null`: only if nothing is there.
 * - `groups`: what the session can be ended by, together with others: a user, a session at the provider.
 *
 * @since 0.1.0
 * @category models
 */
export interface SetOptions {
  readonly ifVersion: string | null
  readonly timeToLive: Duration.DurationInput
  readonly groups: ReadonlyArray<string>
}

/**
 * Optional: with it, sessions are kept on the server, else in cookies.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionStore extends Context.Tag("@effect-oauth/oidc/SessionStore")<SessionStore, {
  readonly get: (key: string) => Effect.Effect<Option.Option<Kept>, SessionStoreError>
  /** In one step, if its condition holds; the new version, or `None` if it does not. */
  readonly set: (
    key: string,
    content: SessionContent,
    options: SetOptions
  ) => Effect.Effect<Option.Option<string>, SessionStoreError>
  readonly remove: (key: string) => Effect.Effect<void, SessionStoreError>
  /** Removes every session of the group, also those that are written again meanwhile, over a version from before the call. */
  readonly removeGroup: (group: string) => Effect.Effect<void, SessionStoreError>
  readonly events: Stream.Stream<SessionStoreEvent>
}>() {}

const prefix = "session:"

const below = (name: string): string | undefined => name.startsWith(prefix) ? name.slice(prefix.length) : undefined

const eventOf = (event: TokenStore.TokenStoreEvent): Option.Option<SessionStoreEvent> => {
  switch (event._tag) {
    case "Gap":
      return Option.some(event)
    case "Removed":
      return Option.map(Option.fromNullable(below(event.key)), (key) => ({ _tag: "Removed", key }))
    case "TagRemoved":
      return Option.map(Option.fromNullable(below(event.tag)), (group) => ({ _tag: "GroupRemoved", group }))
    case "Written":
      return Option.none()
  }
}

const Text = StrictJson.schema(SessionContent)
const decode = Schema.decodeEither(Text)
const encode = Schema.encode(Text)

const failed = (operation: string) => (error: TokenStoreError) =>
  new SessionStoreError({ operation, problem: `${error.store}, ${error.operation}: ${error.problem}` })

const over = (store: TokenStore.TokenStore["Type"], encryption: TokenEncryption["Type"]): SessionStore["Type"] => ({
  get: (key) =>
    Effect.gen(function*() {
      const stored = yield* Effect.mapError(store.get(prefix + key), failed("get"))
      if (Option.isNone(stored)) return Option.none()
      const text = yield* encryption.open(prefix + key, stored.value.value)
      // What cannot be opened was sealed with a key that is gone, or is not ours: nobody is signed in by it.
      const content = Option.flatMap(text, (text) => Either.getRight(decode(text)))
      return Option.map(content, (content): Kept => ({ content, version: stored.value.version }))
    }),
  set: (key, content, { groups, ifVersion, timeToLive }) =>
    Effect.orDie(encode(content)).pipe(
      Effect.flatMap((text) => encryption.seal(prefix + key, text)),
      Effect.flatMap((sealed) =>
        store.set(prefix + key, sealed, { ifVersion, timeToLive, tags: groups.map((group) => prefix + group) })
      ),
      Effect.catchTag("TokenStoreError", (error) => Effect.fail(failed("set")(error)))
    ),
  remove: (key) => Effect.asVoid(Effect.mapError(store.remove(prefix + key), failed("remove"))),
  removeGroup: (group) => Effect.mapError(store.removeByTag(prefix + group), failed("removeGroup")),
  events: Stream.filterMap(store.events, eventOf)
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const make: Effect.Effect<SessionStore["Type"], never, TokenStore.TokenStore | TokenEncryption> = Effect.zipWith(
  TokenStore.TokenStore,
  TokenEncryption,
  over
)

/**
 * Over the `TokenStore` that all processes share; entries are sealed.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SessionStore, never, TokenStore.TokenStore | TokenEncryption> = Layer.fresh(
  Layer.effect(SessionStore, make)
)

/** What stays in memory needs no seal. */
const plain: TokenEncryption["Type"] = {
  seal: (_, text) => Effect.succeed(text),
  open: (_, sealed) => Effect.succeedSome(sealed)
}

/**
 * In the memory of this process, for tests and for programs that are one process: a restart signs everybody out.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<SessionStore> = Layer.effect(
  SessionStore,
  Effect.map(TokenStore.makeMemory, (store) => over(store, plain))
)
