/**
 * Where a login is remembered between sending the user away and their coming back.
 *
 * @since 0.1.0
 */
import * as OptionalServices from "@effect-oauth/core/OptionalServices"
import { Signer } from "@effect-oauth/core/Signer"
import * as SteadyClock from "@effect-oauth/core/SteadyClock"
import * as StrictJson from "@effect-oauth/core/StrictJson"
import { TokenEncryption } from "@effect-oauth/core/TokenEncryption"
import * as TokenEncryptions from "@effect-oauth/core/TokenEncryption"
import { TokenStore } from "@effect-oauth/core/TokenStore"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as GuardedStore from "./internal/session/guardedStore.ts"
import type { SessionStoreError } from "./OidcError.ts"
import type { BrowserCookies } from "./Session.ts"

/**
 * A login that is under way.
 *
 * - `key`: the private JWK that the tokens will be bound to, as JSON text.
 * - `issuerInAnswer`: when the login began, the server said that its answers name it (RFC 9207).
 * - `returnTo`: the local path that the user comes back to.
 * - `maxAge` (in seconds), `acrValues`: as they were asked for.
 * - `startedAt`: in milliseconds since 1970.
 *
 * @since 0.1.0
 * @category models
 */
export class LoginState extends Schema.Class<LoginState>("@effect-oauth/oidc/LoginState")({
  clientName: Schema.String,
  nonce: Schema.Redacted(Schema.String),
  codeVerifier: Schema.Redacted(Schema.String),
  redirectUri: Schema.String,
  issuerInAnswer: Schema.optional(Schema.Boolean),
  returnTo: Schema.String,
  startedAt: Schema.Number,
  key: Schema.optional(Schema.Redacted(Schema.String)),
  maxAge: Schema.optional(Schema.Number),
  acrValues: Schema.optional(Schema.String)
}) {}

/**
 * A login belongs to the browser that began it: `take` gives what `save` was given only to the same cookies, within 10
 * minutes, and once. `state` names it in this program alone: it is made of the `state` parameter and the program's name.
 *
 * @since 0.1.0
 * @category tags
 */
export class LoginStateStore extends Context.Tag("@effect-oauth/oidc/LoginStateStore")<LoginStateStore, {
  readonly save: (
    state: Redacted.Redacted<string>,
    login: LoginState,
    cookies: BrowserCookies,
    sameSite: "lax" | "none"
  ) => Effect.Effect<void, SessionStoreError>
  readonly take: (
    state: Redacted.Redacted<string>,
    cookies: BrowserCookies
  ) => Effect.Effect<Option.Option<LoginState>, SessionStoreError>
}>() {}

const lifetime = Duration.minutes(10)

/** So many tabs of one browser can be on their way at once. */
const most = 8

const Text = StrictJson.schema(LoginState)
const decode = Schema.decodeEither(Text)
const encode = Schema.encode(Text)

const start = "login."

/** Cookies of logins are named by their time, so that the oldest go first, and by their state, so that each is found. */
const nameOf = (signer: Signer["Type"], state: Redacted.Redacted<string>, now: number) =>
  Effect.map(
    signer.sha256(Redacted.value(state)),
    (hash) => ({ hash, name: `${start}${Math.floor(now / 1000).toString(36).padStart(7, "0")}.${hash.slice(0, 22)}` })
  )

const makeRoom = (cookies: BrowserCookies): void => {
  const names = [...cookies.names(start)].sort()
  for (const name of names.slice(0, Math.max(0, names.length - most + 1))) cookies.remove(name)
}

/** The cookie of this login. */
const findCookie = (
  cookies: BrowserCookies,
  hash: string
): { readonly name: string; readonly value: string } | undefined => {
  const name = cookies.names(start).find((name) => name.endsWith(`.${hash.slice(0, 22)}`))
  if (name === undefined) return undefined
  return { name, value: cookies.get(name) ?? "" }
}

/** The clocks of processes differ. One that was set back makes no login last longer. */
const tolerance = 60_000

const inTime = ({ startedAt }: LoginState, now: number): boolean =>
  now - startedAt < Duration.toMillis(lifetime) && startedAt - now <= tolerance

const readLogin = (text: Option.Option<string>, now: number): Option.Option<LoginState> =>
  text.pipe(
    Option.flatMap((text) => Either.getRight(decode(text))),
    Option.filter((login) => inTime(login, now))
  )

/** States that have come back once, for as long as they could come back again. */
interface UsedStates {
  /** Whether it is the first time. */
  readonly add: (hash: string) => Effect.Effect<boolean, SessionStoreError>
}

const usedHere = (): UsedStates => {
  const used = new Map<string, number>()
  return {
    add: (hash) =>
      Effect.map(SteadyClock.monotonicMillis, (now) => {
        for (const [other, until] of used) {
          if (until > now && used.size < 100_000) break
          used.delete(other)
        }
        if (used.has(hash)) return false
        used.set(hash, now + Duration.toMillis(lifetime))
        return true
      })
  }
}

/** In all processes that share the store. */
const usedAnywhere = (tokenStore: TokenStore["Type"]): UsedStates => {
  const store = GuardedStore.make(tokenStore, "login")
  return {
    add: (hash) =>
      Effect.map(store.set(`login-used:${hash}`, "1", { timeToLive: lifetime, ifVersion: null }), Option.isSome)
  }
}

/**
 * In a sealed cookie for each login. Without `TokenEncryption` it is sealed with a key of this process, so a login that is
 * under way when the process ends has to be begun anew. A callback is taken once: in all processes where they share a
 * `TokenStore`, else in this one.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeCookies: Effect.Effect<LoginStateStore["Type"], never, Signer> = Effect.gen(function*() {
  const signer = yield* Signer
  const provided = yield* OptionalServices.get(TokenEncryption)
  const own = TokenEncryptions.make([{ id: "login", key: Redacted.make(signer.random(32)) }])
  const encryption = Option.isSome(provided) ? provided.value : yield* Effect.orDie(own)
  const used = Option.match(yield* OptionalServices.get(TokenStore), { onNone: usedHere, onSome: usedAnywhere })
  return {
    save: (state, login, cookies, sameSite) =>
      Effect.gen(function*() {
        const { name } = yield* nameOf(signer, state, login.startedAt)
        const text = yield* Effect.orDie(encode(login))
        makeRoom(cookies)
        cookies.set(name, yield* encryption.seal(name, text), { maxAge: lifetime, sameSite })
      }),
    take: (state, cookies) =>
      Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        const { hash } = yield* nameOf(signer, state, now)
        const cookie = findCookie(cookies, hash)
        if (cookie === undefined) return Option.none()
        // While the store fails the browser keeps it, for another try.
        const isFirst = yield* used.add(hash)
        cookies.remove(cookie.name)
        if (!isFirst) return Option.none()
        const text = yield* encryption.open(cookie.name, cookie.value)
        return readLogin(text, now)
      })
  }
})

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<LoginStateStore, never, Signer> = Layer.effect(LoginStateStore, makeCookies)

/**
 * In the `TokenStore`, sealed; the browser has a random cookie for each login. Takes a callback once in all processes.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeStored: Effect.Effect<LoginStateStore["Type"], never, Signer | TokenStore | TokenEncryption> = Effect
  .gen(function*() {
    const signer = yield* Signer
    const store = GuardedStore.make(yield* TokenStore, "login")
    const encryption = yield* TokenEncryption
    // Only who has the cookie as well as the state finds the entry.
    const keyOf = (state: Redacted.Redacted<string>, secret: string) =>
      Effect.map(signer.sha256(`${secret}.${Redacted.value(state)}`), (hash) => `login:${hash}`)
    return {
      save: (state, login, cookies, sameSite) =>
        Effect.gen(function*() {
          const { name } = yield* nameOf(signer, state, login.startedAt)
          const secret = signer.random(32)
          const key = yield* keyOf(state, secret)
          const sealed = yield* encryption.seal(key, yield* Effect.orDie(encode(login)))
          yield* store.set(key, sealed, { timeToLive: lifetime, ifVersion: null })
          makeRoom(cookies)
          cookies.set(name, secret, { maxAge: lifetime, sameSite })
        }),
      take: (state, cookies) =>
        Effect.gen(function*() {
          const now = yield* Clock.currentTimeMillis
          const { hash } = yield* nameOf(signer, state, now)
          const cookie = findCookie(cookies, hash)
          if (cookie === undefined) return Option.none()
          const key = yield* keyOf(state, cookie.value)
          const stored = yield* store.get(key)
          const isTaken = Option.isSome(stored) && (yield* store.remove(key))
          // While the store fails the browser keeps it, for another try.
          cookies.remove(cookie.name)
          if (Option.isNone(stored) || !isTaken) return Option.none()
          const text = yield* encryption.open(key, stored.value.value)
          return readLogin(text, now)
        })
    }
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layerStored: Layer.Layer<LoginStateStore, never, Signer | TokenStore | TokenEncryption> = Layer.effect(
  LoginStateStore,
  makeStored
)
