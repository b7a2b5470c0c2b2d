/**
 * Sessions that live in the browser's cookies, sealed. A cookie cannot be compared and set, so what is written is kept here
 * too for a while: a request that was sent before the browser had it is given it all the same.
 */
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import type { Signer } from "@effect-oauth/core/Signer"
import * as StrictJson from "@effect-oauth/core/StrictJson"
import type { TokenEncryption } from "@effect-oauth/core/TokenEncryption"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { SessionEnded, type SessionStoreError, SessionTooLarge } from "../../OidcError.ts"
import { type Kept, type Session, SessionContent } from "../../Session.ts"
import type { TokenConcurrency } from "../../TokenConcurrency.ts"
import { join, namesOf, split, totalLimit } from "../browser/cookies.ts"
import type { Browser } from "./browser.ts"
import type { Endings } from "./endings.ts"
import { withoutOldestToken } from "./fitting.ts"
import { endOf, isToBeTouched, left, type Lifetimes, touched } from "./lifetimes.ts"
import type { Rotation, Rotations } from "./rotations.ts"
import { lastRevision, type SharedRotation, type SharedRotations } from "./sharedRotations.ts"

/** @internal */
export interface Settings {
  readonly signer: Signer["Type"]
  readonly encryption: TokenEncryption["Type"]
  readonly rotations: Rotations
  readonly shared: SharedRotations
  /** Writes of one session come one after the other in this process. */
  readonly writes: TokenConcurrency["Type"]
  readonly endings: Endings
  readonly lifetimes: Lifetimes
  readonly cookieName: string
  readonly log: OAuthLogging.Log
}

/** @internal */
export interface CookieSessions {
  readonly open: (
    browser: Browser,
    beforeLeaving: (prepare: Effect.Effect<void>) => void
  ) => Effect.Effect<Session>
}

/** What the cookie holds. `revision` counts what was written. */
class Cookie extends Schema.Class<Cookie>("Cookie")({
  id: Schema.String,
  revision: Schema.Number,
  content: SessionContent
}) {}

const Text = StrictJson.schema(Cookie)
const decode = Schema.decodeEither(Text)
const encode = Schema.encode(Text)

/** @internal */
export const make = (settings: Settings): CookieSessions => {
  const { cookieName, encryption, endings, lifetimes, log, rotations, shared, signer, writes } = settings

  const unsealed = (browser: Browser): Effect.Effect<Cookie | undefined> => {
    const sealed = join(browser.values, browser.nameOf(cookieName))
    if (Either.isLeft(sealed) || sealed.right === undefined) return Effect.succeed(undefined)
    return Effect.map(
      encryption.open(cookieName, sealed.right),
      (text) => Option.getOrUndefined(Option.flatMap(text, (text) => Either.getRight(decode(text))))
    )
  }

  const seal = (cookie: Cookie): Effect.Effect<string> =>
    Effect.flatMap(Effect.orDie(encode(cookie)), (text) => encryption.seal(cookieName, text))

  /** With as many access tokens as there is room for. */
  const fitting = (cookie: Cookie): Effect.Effect<string | undefined> =>
    Effect.gen(function*() {
      let content: SessionContent | undefined = cookie.content
      let isTold = false
      while (content !== undefined) {
        const sealed = yield* seal(new Cookie({ ...cookie, content }))
        if (sealed.length <= totalLimit) return sealed
        const { message } = new SessionTooLarge({ size: sealed.length, limit: totalLimit })
        if (!isTold) yield* log.warning(undefined, `${message}; access tokens are dropped from it`)
        isTold = true
        content = withoutOldestToken(content)
      }
      return undefined
    })

  const shownBy = (browser: Browser): ReadonlyArray<string> =>
    namesOf(browser.values, browser.nameOf(cookieName)).map((name) => name.slice(browser.nameOf("").length))

  /** Also those that a browser may have although it did not show them: of another response, or not sent from elsewhere. */
  const remove = (browser: Browser): void => {
    for (const name of [...shownBy(browser), cookieName, `${cookieName}.0`]) browser.remove(name)
  }

  class CookieSession implements Session {
    readonly cookies: Browser
    /** What the browser has, or will have if it has not begun to answer. */
    #cookie: Cookie | undefined
    #isNews = false
    /** The version that the shared store had when it was read last. */
    #base: string | null = null
    /** An end that others have told of: by the time of the response the browser may have the cookie of a new sign-in. */
    #hasEnded = false

    constructor(browser: Browser, cookie: Cookie | undefined) {
      this.cookies = browser
      this.#cookie = cookie
      // An older cookie of a session that has ended signs nobody in.
      this.#catchUp()
    }

    get key() {
      return this.#cookie?.id
    }
    get known() {
      return this.#cookie?.content
    }
    get isWritable() {
      return !this.cookies.hasLeft
    }

    /** The newest that anybody here has written. */
    #catchUp(): void {
      const cookie = this.#cookie
      if (cookie === undefined) return
      const newer = rotations.get(cookie.id)
      if (newer === undefined || newer.revision <= cookie.revision) return
      this.#cookie = newer.content === undefined
        ? undefined
        : new Cookie({ id: cookie.id, revision: newer.revision, content: newer.content })
      this.#isNews = true
      this.#hasEnded = newer.content === undefined
    }

    #put(cookie: Cookie, rotation: Rotation): Effect.Effect<void> {
      const pushedOut = rotations.put(cookie.id, rotation)
      return pushedOut === undefined ? Effect.void : log.warning(
        undefined,
        "more sessions are renewed at once than are remembered (rotationCapacity): a user may have to sign in again"
      )
    }

    /** What another process has written takes the place of what this one has. */
    #adopt(cookie: Cookie, stored: SharedRotation): Effect.Effect<void> {
      const local = rotations.get(cookie.id)
      const isNewer = local === undefined
        ? stored.revision > cookie.revision
        : local.content !== undefined && stored.version !== local.base &&
          (local.isUnshared === true || stored.revision >= local.revision)
      if (!isNewer) return Effect.void
      const revision = Math.max(stored.revision, cookie.revision)
      const { content, version: base } = stored
      this.#cookie = content === undefined ? undefined : new Cookie({ id: cookie.id, revision, content })
      this.#isNews = true
      this.#hasEnded = content === undefined
      return this.#put(cookie, { revision, content, base })
    }

    get read(): Effect.Effect<Option.Option<Kept>> {
      return Effect.gen(this, function*() {
        const before = this.#cookie
        if (before === undefined) return Option.none()
        const stored = yield* Effect.either(shared.get(before.id))
        this.#catchUp()
        // A store that cannot be read is no reason not to know one's own cookie: writes and refreshes ask it again.
        if (Either.isRight(stored)) {
          this.#base = Option.getOrNull(Option.map(stored.right, ({ version }) => version))
          const cookie = this.#cookie
          if (cookie !== undefined && Option.isSome(stored.right)) yield* this.#adopt(cookie, stored.right.value)
        }
        const cookie = this.#cookie
        return cookie === undefined
          ? Option.none()
          : Option.some({ content: cookie.content, version: String(cookie.revision) })
      })
    }

    /**
     * Where the store cannot say whether it took the content, it fails, and the content is kept here all the same: it may be
     * the only copy of a refresh token, and the browser gets it.
     */
    write(content: SessionContent, ifVersion: string): Effect.Effect<boolean, SessionStoreError> {
      const write = Effect.gen(this, function*() {
        this.#catchUp()
        const cookie = this.#cookie
        if (cookie === undefined || String(cookie.revision) !== ifVersion) return false
        const revision = cookie.revision + 1
        const next = new Cookie({ id: cookie.id, revision, content })
        const taken = yield* Effect.either(shared.set(next.id, { revision, content }, this.#base))
        if (Either.isRight(taken) && Option.isNone(taken.right)) return false
        this.#cookie = next
        this.#isNews = true
        if (Either.isLeft(taken)) {
          yield* this.#put(next, { revision, content, base: this.#base, isUnshared: true })
          return yield* taken.left
        }
        this.#base = Option.getOrNull(taken.right)
        yield* this.#put(next, { revision, content, base: this.#base })
        return true
      })
      return Effect.suspend(() => this.key === undefined ? Effect.succeed(false) : writes.serialised(this.key, write))
    }

    start(content: SessionContent) {
      return Effect.gen(this, function*() {
        const cookie = new Cookie({ id: signer.random(16), revision: 0, content })
        const size = (yield* seal(cookie)).length
        if (size > totalLimit) return yield* new SessionTooLarge({ size, limit: totalLimit })
        const before = this.#cookie
        this.#cookie = cookie
        this.#isNews = true
        if (before !== undefined) yield* this.#forget(before, "Replaced")
      })
    }

    #forget(cookie: Cookie, reason: SessionEnded["reason"]) {
      return endings.ending(
        cookie.id,
        reason,
        Effect.gen(this, function*() {
          yield* this.#put(cookie, { revision: lastRevision, content: undefined })
          yield* shared.end(cookie.id)
        })
      )
    }

    end(reason: SessionEnded["reason"]) {
      return Effect.suspend(() => {
        const cookie = this.#cookie
        this.#cookie = undefined
        this.#isNews = true
        return cookie === undefined ? Effect.void : this.#forget(cookie, reason)
      })
    }

    get ended(): Effect.Effect<SessionEnded> {
      return Effect.suspend(() => {
        const cookie = this.#cookie
        if (cookie === undefined) return Effect.succeed(new SessionEnded({ reason: "Expired" }))
        return endings.watch([cookie.id], Effect.map(this.read, Option.isSome))
      })
    }

    /** What the browser is to be told, just before the response leaves. */
    get settle(): Effect.Effect<void> {
      return Effect.gen(this, function*() {
        const now = yield* Clock.currentTimeMillis
        this.#catchUp()
        const cookie = this.#cookie
        if (cookie === undefined) {
          return this.#hasEnded || shownBy(this.cookies).length === 0 ? undefined : remove(this.cookies)
        }
        if (!this.#isNews && !isToBeTouched(cookie.content, lifetimes, now)) return
        const content = touched(cookie.content, now)
        const sealed = yield* fitting(new Cookie({ ...cookie, content }))
        if (sealed === undefined) return
        remove(this.cookies)
        const prefix = this.cookies.nameOf("").length
        for (const [name, value] of split(this.cookies.nameOf(cookieName), sealed)) {
          this.cookies.set(name.slice(prefix), value, { maxAge: left(content, lifetimes, now) })
        }
      })
    }
  }

  return {
    open: (browser, beforeLeaving) =>
      Effect.gen(function*() {
        const cookie = yield* unsealed(browser)
        const now = yield* Clock.currentTimeMillis
        const isOver = cookie === undefined || endOf(cookie.content, lifetimes) <= now
        const session = new CookieSession(browser, isOver ? undefined : cookie)
        beforeLeaving(Effect.suspend(() => session.settle))
        return session
      })
  }
}
