import { TokenStore } from "@effect-oauth/core"
import { OidcClients, OidcError, Session, Sessions, SessionStore, UserTokenStore } from "@effect-oauth/oidc"
import { NodeSigner } from "@effect-oauth/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Fiber, Layer, Queue, Stream, TestClock } from "effect"
import { inspect } from "node:util"
import { Browser } from "./support/browser.ts"
import * as FaultyStore from "./support/faultyStore.ts"
import { capture } from "./support/logging.ts"
import * as Server from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

const signedIn = (options: Web.Options = {}, login: Web.SignInOptions = {}) =>
  Effect.gen(function*() {
    const web = yield* Web.start(options)
    const browser = new Browser()
    yield* web.signIn(browser, login)
    return { web, browser }
  })

/** Text that no seal makes shorter, as an access token has. */
const long = (length: number, seed = "x") =>
  Array.from({ length }, (_, index) => seed + index.toString(36)).join("").slice(0, length)

const invalid = (options: Partial<Sessions.Options>) =>
  Effect.flip(Effect.scoped(Layer.build(
    Sessions.layer({ publicUrl: "https://app.test", ...options }).pipe(
      Layer.provide(Web.encryption()),
      Layer.provide([NodeSigner.layer, Layer.orDie(OidcClients.layer({}))])
    )
  )))

const kinds = [["in cookies", undefined], ["on the server", Web.memory]] as const

for (const [kind, provide] of kinds) {
  const options: Web.Options = { provide }

  describe(`sessions ${kind}`, () => {
    it.scoped("are kept by a cookie that no script sees, of this host only", () =>
      Effect.gen(function*() {
        const { browser } = yield* signedIn(options)
        // What is deleted with it is what an earlier, longer session may have left behind.
        const kept = browser.last.filter((line) => !line.includes("Max-Age=0;"))
        assert.lengthOf(kept, 1)
        const [pair = "", ...attributes] = (kept[0] ?? "").split("; ")
        assert.match(pair, /^__Host-session=/)
        assert.sameMembers(attributes, ["Max-Age=28800", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"])
      }))

    it.scoped("have another name and no Secure on http: at loopback", () =>
      Effect.gen(function*() {
        const sessions = { publicUrl: "http://localhost:3000", cookieName: "mine" }
        const { browser, web } = yield* signedIn({ ...options, sessions })
        assert.deepStrictEqual([...browser.jar.keys()], ["mine"])
        assert.notInclude(browser.last[0], "Secure")
        assert.strictEqual(yield* web.whoIs(browser), "alice")
      }))

    it.scoped("of nobody set no cookie", () =>
      Effect.gen(function*() {
        const web = yield* Web.start(options)
        const browser = new Browser()
        assert.strictEqual(yield* web.whoIs(browser), undefined)
        assert.deepStrictEqual(browser.last, [])
      }))

    it.scoped("end 8 hours after the last request, and requests move that", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        yield* TestClock.adjust("7 hours")
        const left = browser.copy()
        assert.strictEqual(yield* web.whoIs(browser), "alice")
        assert.include(browser.last[0], "Max-Age=28800")
        yield* TestClock.adjust("7 hours")
        assert.strictEqual(yield* web.whoIs(browser), "alice")
        yield* TestClock.adjust("8 hours")
        assert.strictEqual(yield* web.whoIs(browser), undefined)
        assert.strictEqual(yield* web.whoIs(left), undefined)
      }))

    it.scoped("end 14 days after the sign-in, whatever happens", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        for (let hours = 0; hours < 14 * 24 - 7; hours += 7) {
          yield* TestClock.adjust("7 hours")
          assert.strictEqual(yield* web.whoIs(browser), "alice")
        }
        // What is left of the 14 days is less than the 8 hours.
        assert.notInclude(browser.last[0], "Max-Age=28800")
        yield* TestClock.adjust("7 hours")
        assert.strictEqual(yield* web.whoIs(browser), undefined)
      }))

    it.scoped("last as long as the program says", () =>
      Effect.gen(function*() {
        const sessions = { idleLifetime: "1 hours", absoluteLifetime: "90 minutes" } as const
        const { browser, web } = yield* signedIn({ ...options, sessions })
        yield* TestClock.adjust("59 minutes")
        assert.strictEqual(yield* web.whoIs(browser), "alice")
        yield* TestClock.adjust("31 minutes")
        assert.strictEqual(yield* web.whoIs(browser), undefined)
      }))

    it.scoped("are not written at each request", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        yield* TestClock.adjust("24 minutes")
        yield* web.whoIs(browser)
        assert.deepStrictEqual(browser.last, [])
        yield* TestClock.adjust("1 minutes")
        yield* web.whoIs(browser)
        assert.isNotEmpty(browser.last)
      }))

    it.scoped("have another key and another cookie after a sign-in, and the ones before are worth nothing", () =>
      Effect.gen(function*() {
        const { browser: attacker, web } = yield* signedIn(options, { principal: Web.principal("mallory") })
        const keyOf = (browser: Browser) => web.visit(browser, ({ session }) => Effect.succeed(session.key))
        const victim = attacker.copy()
        const planted = yield* keyOf(victim)
        yield* web.signIn(victim)
        assert.notStrictEqual(victim.header, attacker.header)
        assert.notStrictEqual(yield* keyOf(victim), planted)
        assert.strictEqual(yield* web.whoIs(victim), "alice")
        assert.strictEqual(yield* web.whoIs(attacker), undefined)
        // What is late, in the same browser, does not take the new cookie away.
        assert.deepStrictEqual(attacker.last, [])
      }))

    it.scoped("are ended for each copy of the cookie", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        const copy = browser.copy()
        yield* web.visit(browser, ({ session }) => session.end("SignedOut"))
        assert.strictEqual(browser.jar.size, 0)
        assert.strictEqual(yield* web.whoIs(copy), undefined)
      }))

    it.scoped("tell who waits in this process why they ended", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        const waiting = yield* Effect.fork(web.visit(browser.copy(), ({ session }) => session.ended))
        yield* TestClock.adjust("1 seconds")
        yield* web.visit(browser, ({ session }) => session.end("SignedOut"))
        assert.strictEqual((yield* waiting).reason, "SignedOut")
        assert.strictEqual((yield* web.visit(browser, ({ session }) => session.ended)).reason, "Expired")
      }))

    it.scoped("write over the version that was read, and over no other", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        const written = yield* web.visit(browser, ({ session }) =>
          Effect.gen(function*() {
            const { content, version } = yield* Effect.flatten(session.read)
            return [yield* session.write(content, version), yield* session.write(content, version)]
          }))
        assert.deepStrictEqual(written, [true, false])
      }))

    it.scoped("show neither cookie nor token when they are printed", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        const [before = "none"] = browser.jar.values()
        const text = yield* web.visit(browser, (user) =>
          Effect.map(user.session.start(user.session.known!), () =>
            [
              ...[user, user.session, user.session.cookies, user.session.known].map((value) =>
                inspect(value, { depth: 20, showHidden: true })
              ),
              JSON.stringify(user),
              String(user.session)
            ].join("\n")))
        for (
          const secret of [before, browser.last[0]?.split(/[=;]/)[1] ?? "none", "access-0", "refresh-0", "id:alice"]
        ) {
          assert.isFalse(text.includes(secret), text.slice(0, 1000))
        }
      }))

    it.scoped("of a cookie that is there twice are nobody's, and the cookie goes", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        const [[name, value]] = [...browser.jar] as [[string, string]]
        const twice = new Browser(new Map([[name, `${value}; ${name}=${value}`]]))
        assert.strictEqual(yield* web.whoIs(twice), undefined)
        assert.include(twice.last.join("\n"), `${name}=; Max-Age=0`)
      }))

    it.scoped("of a cookie that was changed are nobody's, and the cookie goes", () =>
      Effect.gen(function*() {
        const { browser, web } = yield* signedIn(options)
        const [[name, value]] = [...browser.jar] as [[string, string]]
        const middle = Math.floor(value.length / 2)
        const other = value[middle] === "A" ? "B" : "A"
        for (
          const changed of [
            `${value.slice(0, middle)}${other}${value.slice(middle + 1)}`,
            value.slice(1),
            "x",
            `${value}A`
          ]
        ) {
          const tampering = new Browser(new Map([[name, changed]]))
          assert.strictEqual(yield* web.whoIs(tampering), undefined)
          // What looks like an id could be that of a session that a new sign-in has replaced.
          const isId = kind === "on the server" && /^[\w-]{43}$/.test(changed)
          assert.strictEqual(tampering.jar.size, isId ? 1 : 0)
        }
      }))
  })
}

describe("sessions in cookies", () => {
  const large = { access: long(6000) }

  it.scoped("that are large are in several cookies, which a smaller one leaves none of", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn({}, large)
      assert.deepStrictEqual([...browser.jar.keys()], ["__Host-session.0", "__Host-session.1", "__Host-session.2"])
      for (const line of browser.last) assert.isBelow(line.split("; ")[0]!.length, 4096)
      assert.strictEqual(Server.valueOf(yield* web.get(browser)), large.access)
      yield* TestClock.adjust("101 seconds")
      assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
      assert.deepStrictEqual([...browser.jar.keys()], ["__Host-session"])
      assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-1")
    }))

  it.scoped("of which a chunk is missing, changed or swapped are nobody's, and all chunks go", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn({}, large)
      const other = new Browser()
      yield* web.signIn(other, { access: long(6000, "y") })
      const change: ReadonlyArray<(jar: Map<string, string>) => void> = [
        (jar) => jar.delete("__Host-session.1"),
        (jar) => jar.delete("__Host-session.0"),
        (jar) => jar.set("__Host-session.1", other.jar.get("__Host-session.1")!),
        (jar) =>
          jar.set("__Host-session.2", browser.jar.get("__Host-session.1")!).set(
            "__Host-session.1",
            browser.jar.get("__Host-session.2")!
          ),
        (jar) => jar.set("__Host-session", "x")
      ]
      for (const apply of change) {
        const tampering = browser.copy()
        apply(tampering.jar)
        assert.strictEqual(yield* web.whoIs(tampering), undefined)
        assert.strictEqual(tampering.jar.size, 0)
      }
      assert.strictEqual(yield* web.whoIs(browser), "alice")
    }))

  it.scoped("that are too large are refused at the sign-in, by an error that names sessions on the server", () =>
    Effect.gen(function*() {
      const web = yield* Web.start()
      const browser = new Browser()
      const error = yield* Effect.flip(web.signIn(browser, { access: long(12_000) }))
      assert.strictEqual(error._tag, "SessionTooLarge")
      assert.include(error.message, "SessionStore")
      assert.strictEqual(browser.jar.size, 0)
    }))

  it.scoped("that fit just about are read again, whatever the name of the key", () =>
    Effect.gen(function*() {
      const web = yield* Web.start({ ring: [Web.newKey("k".repeat(300))] })
      for (let size = 8000; size < 9500; size += 50) {
        const browser = new Browser()
        const login = yield* Effect.either(web.signIn(browser, { access: long(size) }))
        assert.strictEqual(yield* web.whoIs(browser), login._tag === "Right" ? "alice" : undefined)
      }
    }))

  it.scoped("that a refresh makes too large keep the refresh token and lose access tokens, with a warning", () =>
    Effect.gen(function*() {
      const log = capture()
      const server = Server.make()
      const { browser, web } = yield* Effect.provide(signedIn({ server }), log.layer)
      server.answer = ({ parameters }, number) =>
        Effect.succeed({
          access: `${String(parameters.resource)}${long(5000)}`,
          lifetime: 3600,
          refresh: `refresh-${number}`
        })
      yield* web.get(browser, { resource: "urn:a" })
      yield* web.get(browser, { resource: "urn:b" })
      assert.include(log.text(), "SessionStore")
      yield* TestClock.adjust("1 hours")
      server.answer = () => Effect.succeed({ access: "short", lifetime: 100, refresh: "refresh-9" })
      assert.strictEqual(Server.valueOf(yield* web.get(browser)), "short")
      assert.deepStrictEqual(server.presented(), ["refresh-0", "refresh-1", "refresh-2"])
      assert.deepStrictEqual(server.reused, [])
    }))

  it.scoped("are read with every key of the ring, and sealed with the first", () =>
    Effect.gen(function*() {
      const [old, fresh] = [Web.newKey("old"), Web.newKey("new")]
      const { browser } = yield* signedIn({ ring: [old] })
      const older = browser.copy()
      const both = yield* Web.start({ ring: [fresh, old] })
      assert.strictEqual(yield* both.whoIs(browser), "alice")
      yield* TestClock.adjust("1 hours")
      assert.strictEqual(yield* both.whoIs(browser), "alice")
      const later = yield* Web.start({ ring: [fresh] })
      assert.strictEqual(yield* later.whoIs(browser), "alice")
      assert.strictEqual(yield* later.whoIs(older), undefined)
      assert.strictEqual(older.jar.size, 0)
    }))

  it.scoped("say at start-up what is lost when the process ends", () =>
    Effect.gen(function*() {
      const [alone, shared, stored] = [capture(), capture(), capture()]
      const store = yield* TokenStore.makeMemory
      yield* Effect.provide(Web.start(), alone.layer)
      yield* Effect.provide(Web.start({ provide: Web.sharing(store) }), shared.layer)
      yield* Effect.provide(Web.start({ provide: Web.memory }), stored.layer)
      assert.match(alone.text(), /WARN .*is lost if this process ends/)
      assert.match(shared.text(), /WARN .*signing out does not reach other browsers/)
      assert.notInclude(stored.text(), "WARN")
    }))

  it.scoped("cannot be reached without their cookie", () =>
    Effect.gen(function*() {
      const { browser, web } = yield* signedIn()
      const key = yield* web.visit(browser, ({ session }) => Effect.succeed(session.key))
      assert.strictEqual((yield* web.sessions.byKey(key ?? ""))._tag, "None")
      const ending = yield* Effect.flip(web.sessions.endAt("https://as.test", { sub: "alice" }))
      const connecting = yield* Effect.flip(web.visit(browser, () => web.sessions.connect))
      for (const error of [ending, connecting]) {
        assert.strictEqual(error._tag, "SessionsInvalid")
        assert.include(error.message, "SessionStore")
      }
    }))

  it.scoped("warn when more of them are renewed at once than are remembered", () =>
    Effect.gen(function*() {
      const log = capture()
      const { browser, web } = yield* Effect.provide(signedIn({ sessions: { rotationCapacity: 1 } }), log.layer)
      const other = new Browser()
      yield* web.signIn(other, { refresh: "others" })
      yield* web.get(browser, { forceRenewal: true })
      assert.notInclude(log.text(), "rotationCapacity")
      yield* web.get(other, { resource: "urn:x" })
      assert.include(log.text(), "rotationCapacity")
    }))

  it.scoped("use the token that they have while the TokenStore that they share fails, and renew none", () =>
    Effect.gen(function*() {
      const dead: TokenStore.TokenStore["Type"] = {
        get: () => Effect.dieMessage("down"),
        set: () => Effect.never,
        remove: () => Effect.dieMessage("down"),
        removeByTag: () => Effect.dieMessage("down"),
        withLock: () => Effect.dieMessage("down"),
        events: Stream.never
      }
      const log = capture()
      const server = Server.make()
      const { browser, web } = yield* Effect.provide(signedIn({ server, provide: Web.sharing(dead) }), log.layer)
      yield* TestClock.adjust("95 seconds")
      assert.strictEqual(Server.valueOf(yield* web.get(browser)), "access-0")
      assert.include(log.text(), "the current one goes on being used")
      const error = yield* Effect.flip(web.get(browser, { forceRenewal: true }))
      assert.deepInclude(error, { _tag: "SessionStoreError", retryable: true })
      assert.deepStrictEqual(server.asked, [])
    }))
})

describe("sessions on the server", () => {
  it.scoped("leave in the browser an id of 256 bits, and in the store neither that nor a token in clear", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const keys: Array<string> = []
      const values: Array<string> = []
      const seen: TokenStore.TokenStore["Type"] = {
        ...store,
        set: (key, value, options) => {
          keys.push([key, options.tags ?? []].join("\n"))
          values.push(value)
          return store.set(key, value, options)
        }
      }
      const { browser } = yield* signedIn({ provide: Web.stored(seen) })
      const [id = ""] = browser.jar.values()
      assert.match(id, /^[A-Za-z0-9_-]{43}$/)
      assert.lengthOf(values, 1)
      const text = [...keys, ...values].join("\n")
      for (const secret of [id, "refresh-0", "access-0", "alice"]) assert.notInclude(text, secret)
    }))

  it.scoped("are sealed with a ring, of which old keys can still be read", () =>
    Effect.gen(function*() {
      const store = yield* TokenStore.makeMemory
      const [old, fresh] = [Web.newKey("old"), Web.newKey("new")]
      const { browser } = yield* signedIn({ provide: Web.stored(store, [old]) })
      const both = yield* Web.start({ provide: Web.stored(store, [fresh, old]) })
      assert.strictEqual(yield* both.whoIs(browser), "alice")
      const other = yield* Web.start({ provide: Web.stored(store, [fresh]) })
      assert.strictEqual(yield* other.whoIs(browser.copy()), undefined)
      yield* both.get(browser, { forceRenewal: true })
      assert.strictEqual(yield* other.whoIs(browser), "alice")
    }))

  const two = Effect.gen(function*() {
    const provide = Web.stored(yield* TokenStore.makeMemory)
    const { browser, web: one } = yield* signedIn({ provide }, { principal: Web.principal("alice", { sid: "s1" }) })
    const other = yield* Web.start({ provide })
    const connect = (web: Web.Web) => web.visit(browser.copy(), () => web.sessions.connect)
    return { browser, one, other, connect }
  })

  it.scoped("are the same in every process, by cookie, connection and key", () =>
    Effect.gen(function*() {
      const { browser, connect, one, other } = yield* two
      assert.strictEqual(yield* other.whoIs(browser), "alice")
      const session = yield* connect(other)
      assert.strictEqual(Session.principalOf(session.known)?.sub, "alice")
      const byKey = yield* Effect.flatten(one.sessions.byKey(session.key ?? ""))
      assert.strictEqual(Session.principalOf(byKey.known)?.sub, "alice")
      assert.strictEqual((yield* one.sessions.byKey("unknown"))._tag, "None")
      const [id = ""] = browser.jar.values()
      assert.strictEqual((yield* one.sessions.byKey(id))._tag, "None")
      yield* byKey.end("SignedOut")
      assert.strictEqual((yield* one.sessions.byKey(session.key ?? ""))._tag, "None")
    }))

  it.scoped("tell connections everywhere when they are ended in one process", () =>
    Effect.gen(function*() {
      const { browser, connect, one, other } = yield* two
      const here = yield* Effect.fork((yield* connect(one)).ended)
      const there = yield* Effect.fork((yield* connect(other)).ended)
      yield* TestClock.adjust("1 seconds")
      yield* one.visit(browser, ({ session }) => session.end("SignedOut"))
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual([(yield* here).reason, (yield* there).reason], ["SignedOut", "Elsewhere"])
    }))

  it.scoped("tell connections everywhere when the provider ends them, by sid or by user", () =>
    Effect.gen(function*() {
      for (const by of [{ sid: "s1" }, { sub: "alice" }]) {
        const { browser, connect, one, other } = yield* two
        const waiting = yield* Effect.fork(
          Effect.all([(yield* connect(one)).ended, (yield* connect(other)).ended], { concurrency: 2 })
        )
        yield* TestClock.adjust("1 seconds")
        yield* one.sessions.endAt("https://other.test", by)
        yield* one.sessions.endAt("https://as.test", { sid: "s2" })
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual((yield* Fiber.poll(waiting))._tag, "None")
        yield* other.sessions.endAt("https://as.test", by)
        yield* TestClock.adjust("1 seconds")
        assert.deepStrictEqual((yield* waiting).map(({ reason }) => reason), ["Provider", "Provider"])
        assert.strictEqual(yield* one.whoIs(browser), undefined)
      }
    }))

  it.scoped("end connections when their time is over, which requests move", () =>
    Effect.gen(function*() {
      const { browser, connect, one } = yield* two
      const waiting = yield* Effect.fork((yield* connect(one)).ended)
      yield* TestClock.adjust("7 hours")
      yield* one.whoIs(browser)
      yield* TestClock.adjust("7 hours")
      assert.strictEqual((yield* Fiber.poll(waiting))._tag, "None")
      yield* TestClock.adjust("61 minutes")
      assert.strictEqual((yield* waiting).reason, "Expired")
    }))

  for (const [name, news] of [["may have been missed", { _tag: "Gap" }], ["break off", "break"]] as const) {
    it.scoped(`are looked at again when events ${name}`, () =>
      Effect.gen(function*() {
        const store = yield* Effect.provide(SessionStore.SessionStore, SessionStore.layerMemory)
        const events = yield* Queue.unbounded<SessionStore.SessionStoreEvent | "break">()
        const deaf: SessionStore.SessionStore["Type"] = {
          ...store,
          events: Stream.mapEffect(
            Stream.fromQueue(events),
            (event) => event === "break" ? Effect.dieMessage("broken") : Effect.succeed(event)
          )
        }
        const over = (store: SessionStore.SessionStore["Type"]) =>
          Web.given(Layer.succeed(SessionStore.SessionStore, store))
        const other = yield* Web.start({ provide: over(store) })
        const { browser, web } = yield* signedIn({ provide: over(deaf) })
        const session = yield* web.visit(browser.copy(), () => web.sessions.connect)
        const waiting = yield* Effect.fork(session.ended)
        yield* TestClock.adjust("1 seconds")
        yield* other.visit(browser, ({ session }) => session.end("SignedOut"))
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual((yield* Fiber.poll(waiting))._tag, "None")
        yield* Queue.offer(events, news)
        yield* TestClock.adjust("1 seconds")
        yield* TestClock.adjust("1 seconds")
        assert.strictEqual((yield* waiting).reason, "Elsewhere")
      }))
  }

  it.scoped("that end before anybody waits are noticed all the same", () =>
    Effect.gen(function*() {
      const { browser, connect, one, other } = yield* two
      const session = yield* connect(other)
      yield* one.visit(browser, ({ session }) => session.end("SignedOut"))
      assert.strictEqual((yield* session.ended).reason, "Elsewhere")
    }))

  it.scoped("give a connection tokens, and keep what it renews", () =>
    Effect.gen(function*() {
      const { browser, connect, one, other } = yield* two
      const session = yield* connect(other)
      yield* TestClock.adjust("101 seconds")
      assert.isTrue(session.isWritable)
      const token = yield* other.get(new Browser(), { session })
      assert.strictEqual(Server.valueOf(token), "access-1")
      assert.strictEqual(Server.valueOf(yield* one.get(browser)), "access-1")
    }))

  it.scoped("of a store that dies or does not answer are a typed error", () =>
    Effect.gen(function*() {
      const store = yield* Effect.provide(SessionStore.SessionStore, SessionStore.layerMemory)
      const answers: Array<Effect.Effect<never, OidcError.SessionStoreError>> = [
        Effect.dieMessage("secret"),
        Effect.never,
        new OidcError.SessionStoreError({ operation: "get", problem: "down" })
      ]
      for (const answer of answers) {
        let isBroken = false
        const provide = Web.given(Layer.succeed(SessionStore.SessionStore, {
          ...store,
          get: (key) => isBroken ? answer : store.get(key),
          remove: (key) => isBroken ? answer : store.remove(key)
        }))
        const { browser, web } = yield* signedIn({ provide })
        const session = yield* web.visit(browser, ({ session }) => Effect.succeed(session))
        isBroken = true
        const request = yield* Effect.fork(Effect.all([
          Effect.flip(web.whoIs(browser)),
          Effect.flip(session.end("SignedOut")),
          Effect.flip(Effect.provide(UserTokenStore.inSession.get(session, "web"), web.context))
        ], { concurrency: "unbounded" }))
        yield* TestClock.adjust("6 seconds")
        for (const error of yield* request) {
          assert.strictEqual(error._tag, "SessionStoreError")
          assert.notInclude(error.message, "secret")
        }
        isBroken = false
        assert.strictEqual(yield* web.whoIs(browser), "alice")
      }
    }))

  it.scoped("keep the cookie where the store cannot end them: the user can try again", () =>
    Effect.gen(function*() {
      const line = FaultyStore.make(yield* TokenStore.makeMemory)
      const web = yield* Web.start({ provide: Web.stored(line.store) })
      const browser = new Browser()
      yield* web.signIn(browser)
      line.fault = ({ operation }) => operation === "remove" ? "fail" : undefined
      const error = yield* Effect.flip(web.visit(browser, ({ session }) => session.end("SignedOut")))
      assert.strictEqual(error._tag, "SessionStoreError")
      assert.strictEqual(yield* web.whoIs(browser), "alice")
      line.fault = () => undefined
      yield* web.visit(browser, ({ session }) => session.end("SignedOut"))
      assert.strictEqual(yield* web.whoIs(browser), undefined)
    }))

  it.scoped("keep the cookie of a browser whose store does not answer", () =>
    Effect.gen(function*() {
      const store = yield* Effect.provide(SessionStore.SessionStore, SessionStore.layerMemory)
      let isBroken = false
      const get: SessionStore.SessionStore["Type"]["get"] = (key) =>
        isBroken ? Effect.dieMessage("down") : store.get(key)
      const { browser, web } = yield* signedIn({
        provide: Web.given(Layer.succeed(SessionStore.SessionStore, { ...store, get }))
      })
      isBroken = true
      yield* Effect.flip(web.whoIs(browser))
      assert.strictEqual(browser.jar.size, 1)
    }))
})

describe("sessions are refused when the Layer is built", () => {
  for (
    const publicUrl of [
      "http://app.test",
      "app.test",
      "https://app.test/path",
      "https://app.test/?q",
      "https://user@app.test",
      "ftp://app.test",
      ""
    ]
  ) {
    it.effect(`at ${publicUrl}`, () =>
      Effect.map(invalid({ publicUrl }), (error) => assert.strictEqual(error.field, "publicUrl")))
  }

  for (const cookieName of ["", "a b", "a;b", "a=b", "ä", "x".repeat(65)]) {
    it.effect(`with a cookie of the name ${JSON.stringify(cookieName.slice(0, 5))}`, () =>
      Effect.map(invalid({ cookieName }), (error) => assert.strictEqual(error.field, "cookieName")))
  }

  it.effect("in cookies without anything to seal them with", () =>
    Effect.gen(function*() {
      const layer = Layer.provide(Sessions.layer({ publicUrl: "https://app.test" }), [
        NodeSigner.layer,
        OidcClients.layer({})
      ])
      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.strictEqual(error._tag, "SessionsInvalid")
      assert.include(error.message, "TokenEncryption")
    }))
})

describe("SessionStore", () => {
  it.effect("tells of removals as sessions, of one key and of a group, and not of other entries", () =>
    Effect.gen(function*() {
      const tokens = yield* TokenStore.makeMemory
      const store = yield* SessionStore.make.pipe(
        Effect.provideService(TokenStore.TokenStore, tokens),
        Effect.provide(Web.encryption())
      )
      const content = new Session.SessionContent({ signIns: {}, primary: "web", startedAt: 0, seenAt: 0 })
      const heard = yield* Effect.fork(Stream.runCollect(Stream.take(store.events, 2)))
      yield* TestClock.adjust("1 seconds")
      yield* tokens.set("other", "x", { timeToLive: "1 minutes" })
      yield* tokens.remove("other")
      const set = { ifVersion: null, timeToLive: "1 minutes", groups: ["g"] } as const
      assert.strictEqual((yield* store.set("a", content, set))._tag, "Some")
      assert.strictEqual((yield* store.set("a", content, set))._tag, "None")
      yield* store.set("b", content, set)
      yield* store.remove("a")
      yield* store.removeGroup("g")
      assert.strictEqual((yield* store.get("b"))._tag, "None")
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* heard), [
        { _tag: "Removed", key: "a" },
        { _tag: "GroupRemoved", group: "g" }
      ])
    }))

  it.effect("takes what it cannot open, or cannot read, for nothing", () =>
    Effect.gen(function*() {
      const tokens = yield* TokenStore.makeMemory
      const make = (ring: Parameters<typeof Web.encryption>[0]) =>
        SessionStore.make.pipe(
          Effect.provideService(TokenStore.TokenStore, tokens),
          Effect.provide(Web.encryption(ring))
        )
      const store = yield* make([Web.newKey("1")])
      const content = new Session.SessionContent({ signIns: {}, primary: "web", startedAt: 0, seenAt: 0 })
      yield* store.set("a", content, { ifVersion: null, timeToLive: "1 minutes", groups: [] })
      assert.strictEqual((yield* store.get("a"))._tag, "Some")
      assert.strictEqual((yield* (yield* make([Web.newKey("1")])).get("a"))._tag, "None")
      const moved = yield* Effect.flatten(tokens.get("session:a"))
      yield* tokens.set("session:b", moved.value, { timeToLive: "1 minutes" })
      assert.strictEqual((yield* store.get("b"))._tag, "None")
      yield* tokens.set("session:c", "garbage", { timeToLive: "1 minutes" })
      assert.strictEqual((yield* store.get("c"))._tag, "None")
    }))
})
