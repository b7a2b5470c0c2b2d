/**
 * Sessions that are kept on the server. The cookie is a random id; everything else is told by its hash.
 */
import type { Signer } from "@effect-oauth/core/Signer"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { SessionEnded, SessionStoreError } from "../../OidcError.ts"
import type { Principal } from "../../Principal.ts"
import type { Kept, Session, SessionContent } from "../../Session.ts"
import type { SessionStore } from "../../SessionStore.ts"
import { type Browser, none } from "./browser.ts"
import type { Endings } from "./endings.ts"
import * as Guarding from "./guarding.ts"
import { endOf, isToBeTouched, left, type Lifetimes, touched } from "./lifetimes.ts"

/** @internal */
export interface Settings {
  readonly store: SessionStore["Type"]
  readonly signer: Signer["Type"]
  readonly endings: Endings
  readonly lifetimes: Lifetimes
  readonly cookieName: string
  /** Of one step of the store. */
  readonly timeout: Duration.Duration
}

/** @internal */
export interface StoredSessions {
  readonly open: (browser: Browser) => Effect.Effect<Session, SessionStoreError>
  readonly byKey: (key: string, browser: Browser) => Effect.Effect<Option.Option<Session>, SessionStoreError>
  readonly named: (name: string) => Effect.Effect<Option.Option<Session>, SessionStoreError>
  readonly keep: (name: string, content: SessionContent) => Effect.Effect<Session, SessionStoreError>
  readonly endGroup: (
    issuer: string,
    by: { readonly sid: string } | { readonly sub: string }
  ) => Effect.Effect<void, SessionStoreError>
}

const guarded = (store: SessionStore["Type"], timeout: Duration.Duration): SessionStore["Type"] => {
  const guard = Guarding.make(timeout)
  return {
    get: (key) => guard("get", () => store.get(key)),
    set: (key, content, options) => guard("set", () => store.set(key, content, options)),
    remove: (key) => guard("remove", () => store.remove(key)),
    removeGroup: (group) => guard("removeGroup", () => store.removeGroup(group)),
    events: store.events
  }
}

/** @internal */
export const make = (settings: Settings): StoredSessions => {
  const { cookieName, endings, lifetimes, signer, timeout } = settings
  const store = guarded(settings.store, timeout)

  const groupOf = (issuer: string, kind: "sid" | "sub", value: string) =>
    Effect.map(signer.sha256(JSON.stringify([kind, issuer, value])), (hash) => `${kind}:${hash}`)

  const groupsOfUser = ({ issuer, sid, sub }: Principal) => [
    groupOf(issuer, "sub", sub),
    ...(sid === undefined ? [] : [groupOf(issuer, "sid", sid)])
  ]

  const groupsOf = (content: SessionContent) =>
    Effect.all(Object.values(content.signIns).flatMap(({ principal }) => groupsOfUser(principal)))

  const set = (key: string, content: SessionContent, ifVersion: string | null) =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      const timeToLive = left(content, lifetimes, now)
      if (Duration.toMillis(timeToLive) === 0) return Option.none()
      return yield* store.set(key, content, { ifVersion, timeToLive, groups: yield* groupsOf(content) })
    })

  const get = (key: string): Effect.Effect<Option.Option<Kept>, SessionStoreError> =>
    Effect.zipWith(
      store.get(key),
      Clock.currentTimeMillis,
      (kept, now) => Option.filter(kept, ({ content }) => endOf(content, lifetimes) > now)
    )

  const remember = (browser: Browser, id: string, content: SessionContent) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      browser.set(cookieName, id, { maxAge: left(content, lifetimes, now) })
    })

  class StoredSession implements Session {
    readonly cookies: Browser
    key: string | undefined
    #kept: Kept | undefined
    readonly isWritable = true

    constructor(browser: Browser, key: string | undefined, kept: Kept | undefined) {
      this.cookies = browser
      this.key = key
      this.#kept = kept
    }

    get known() {
      return this.#kept?.content
    }

    get read(): Effect.Effect<Option.Option<Kept>, SessionStoreError> {
      return Effect.suspend(() => {
        if (this.key === undefined) return Effect.succeedNone
        return Effect.tap(get(this.key), (kept) => {
          this.#kept = Option.getOrUndefined(kept)
        })
      })
    }

    write(content: SessionContent, ifVersion: string) {
      return Effect.suspend(() => {
        if (this.key === undefined) return Effect.succeed(false)
        return Effect.map(set(this.key, content, ifVersion), (version) => {
          if (Option.isSome(version)) this.#kept = { content, version: version.value }
          return Option.isSome(version)
        })
      })
    }

    /** An id that was there before the sign-in, be it planted by somebody, is worth nothing after it. */
    start(content: SessionContent) {
      return Effect.gen(this, function*() {
        const id = signer.random(32)
        const key = yield* signer.sha256(id)
        const version = yield* set(key, content, null)
        if (Option.isNone(version)) {
          return yield* new SessionStoreError({ operation: "set", problem: "it did not take a new session" })
        }
        const before = this.key
        this.key = key
        this.#kept = { content, version: version.value }
        yield* remember(this.cookies, id, content)
        if (before !== undefined) yield* endings.ending(before, "Replaced", store.remove(before))
      })
    }

    end(reason: SessionEnded["reason"]) {
      return Effect.suspend(() => {
        const { key } = this
        const forget = Effect.sync(() => {
          this.cookies.remove(cookieName)
          this.#kept = undefined
        })
        // Where the store fails, the browser keeps its cookie for another try.
        return key === undefined ? forget : Effect.zipRight(endings.ending(key, reason, store.remove(key)), forget)
      })
    }

    get ended(): Effect.Effect<SessionEnded> {
      return Effect.gen(this, function*() {
        const { key, known } = this
        if (key === undefined || known === undefined) return new SessionEnded({ reason: "Expired" })
        // A store that does not answer has not ended anything.
        const isThere = Effect.match(get(key), { onFailure: () => true, onSuccess: Option.isSome })
        const told = endings.watch([key, ...yield* groupsOf(known)], isThere)
        return yield* Effect.raceFirst(told, expiry(key, endOf(known, lifetimes)))
      })
    }
  }

  /** Requests of the same browser may move the end; it is looked at again when it has come. */
  const expiry = (key: string, end: number): Effect.Effect<SessionEnded> =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      yield* Effect.sleep(Duration.millis(Math.max(end - now, 1000)))
      const kept = yield* Effect.option(get(key))
      if (Option.isNone(kept)) return yield* expiry(key, end)
      return Option.isNone(kept.value)
        ? new SessionEnded({ reason: "Expired" })
        : yield* expiry(key, endOf(kept.value.value.content, lifetimes))
    })

  /** No cookie has a colon in it, so none leads to a session with a name. */
  const keyOfName = (name: string) => signer.sha256(`named:${name}`)

  /** In place of what is there, be it over by now. */
  const replace = (key: string, content: SessionContent, left: number): Effect.Effect<string, SessionStoreError> =>
    Effect.gen(function*() {
      const before = yield* store.get(key)
      const version = yield* set(key, content, Option.isSome(before) ? before.value.version : null)
      if (Option.isSome(version)) return version.value
      if (left > 0) return yield* replace(key, content, left - 1)
      return yield* new SessionStoreError({ operation: "set", problem: "it did not take a new session" })
    })

  /** That the user is still there. It need not be kept, and must not be in the way. */
  const touch = (session: Session, browser: Browser, { content, version }: Kept, id: string) =>
    Effect.gen(function*() {
      const now = yield* Clock.currentTimeMillis
      if (!isToBeTouched(content, lifetimes, now)) return
      const later = touched(content, now)
      const isKept = yield* Effect.orElseSucceed(session.write(later, version), () => false)
      if (isKept) yield* remember(browser, id, later)
    })

  return {
    open: (browser) =>
      Effect.gen(function*() {
        const id = browser.get(cookieName)
        if (id === undefined || !/^[A-Za-z0-9_-]{43}$/.test(id)) {
          if (browser.values.has(browser.nameOf(cookieName))) browser.remove(cookieName)
          return new StoredSession(browser, undefined, undefined)
        }
        const key = yield* signer.sha256(id)
        const kept = yield* get(key)
        // Its cookie stays: by the time of the response the browser may have that of a new sign-in.
        if (Option.isNone(kept)) return new StoredSession(browser, undefined, undefined)
        const session = new StoredSession(browser, key, kept.value)
        if (!browser.hasLeft) yield* touch(session, browser, kept.value, id)
        return session
      }),
    named: (name) =>
      Effect.gen(function*() {
        const key = yield* keyOfName(name)
        const kept = yield* get(key)
        if (Option.isNone(kept)) return Option.none()
        const session = new StoredSession(none(), key, kept.value)
        const { content, version } = kept.value
        const now = yield* Clock.currentTimeMillis
        if (isToBeTouched(content, lifetimes, now)) yield* Effect.ignore(session.write(touched(content, now), version))
        return Option.some(session)
      }),
    keep: (name, content) =>
      Effect.gen(function*() {
        const key = yield* keyOfName(name)
        const version = yield* replace(key, content, 5)
        return new StoredSession(none(), key, { content, version })
      }),
    byKey: (key, browser) => Effect.map(get(key), Option.map((kept) => new StoredSession(browser, key, kept))),
    endGroup: (issuer, by) =>
      Effect.flatMap(
        "sid" in by ? groupOf(issuer, "sid", by.sid) : groupOf(issuer, "sub", by.sub),
        (group) => endings.ending(group, "Provider", store.removeGroup(group))
      )
  }
}
