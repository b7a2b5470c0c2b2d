/** What can happen to the sessions of a web app of several processes, whatever store they share. */
import { assert } from "@effect/vitest"
import { Effect, Random } from "effect"
import { randomUUID } from "node:crypto"
import { hashOf } from "../../../../../examples/servers/users/refreshes.ts"
import type { Settings } from "./settings.ts"
import * as WebApp from "./webApp.ts"

type Store = Settings["store"]

/** The server saw no refresh token twice, but for those whose outcome nobody could know. */
const assertUsedOnce = ({ server }: WebApp.WebApp): void => {
  const used = server.refreshes().filter(({ outcome }) => outcome === "ok").map(({ token }) => token)
  assert.strictEqual(new Set(used).size, used.length, "a refresh token was exchanged twice")
  assert.deepStrictEqual(server.refreshes().filter(({ reused }) => reused), [])
}

const fleet = (app: WebApp.WebApp, size: number) =>
  Effect.all(Array.from({ length: size }, () => app.launch), { concurrency: 2 })

/** All processes agree on what is newest, and it is what the server gave last. */
const assertAgreed = (app: WebApp.WebApp, processes: ReadonlyArray<WebApp.WebProcess>, person: WebApp.Person) =>
  Effect.gen(function*() {
    const answers = yield* Effect.forEach(processes, (process) => person.ask(process))
    assert.deepStrictEqual(
      [...new Set(answers.map(({ status }) => status))],
      [200],
      JSON.stringify(answers.map((a) => a.error))
    )
    assert.strictEqual(new Set(answers.map(({ refreshToken }) => refreshToken)).size, 1)
    const newest = hashOf(answers[0]?.refreshToken ?? "")
    assert.isFalse(app.server.refreshes().some(({ token }) => token === newest), "the newest has been used already")
  })

/** 100 requests in four processes meet an expired token, several times over. */
export const expiry = (store: Store) =>
  Effect.gen(function*() {
    // Far longer than a hundred requests take on a busy machine.
    const app = yield* WebApp.start({ store, tokenLifetime: 6 })
    const processes = yield* fleet(app, 4)
    const person = yield* app.signIn(processes[0]!, "alice")
    const rounds = 3
    for (let round = 0; round < rounds; round++) {
      yield* Effect.sleep("6100 millis")
      const answers = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, index) => processes[index % 4]!),
        (process) => person.ask(process),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([...new Set(answers.map(({ status }) => status))], [200])
      assert.strictEqual(new Set(answers.map(({ accessToken }) => accessToken)).size, 1)
    }
    assertUsedOnce(app)
    assert.strictEqual(app.server.refreshes().length, rounds)
    yield* assertAgreed(app, processes, person)
  })

const audienceOf = (accessToken: string | undefined): unknown =>
  JSON.parse(Buffer.from((accessToken ?? "").split(".")[1] ?? "", "base64url").toString()).aud

/** Tokens for different APIs, asked for at once in four processes. */
export const resources = (store: Store) =>
  Effect.gen(function*() {
    const apis = ["https://one.example", "https://two.example", "https://three.example"]
    const app = yield* WebApp.start({ store, resources: apis })
    const processes = yield* fleet(app, 4)
    const person = yield* app.signIn(processes[0]!, "bob")
    const asked = Array.from({ length: 60 }, (_, index) => ({ api: apis[index % 3]!, process: processes[index % 4]! }))
    const answers = yield* Effect.forEach(
      asked,
      ({ api, process }) => person.ask(process, `?resource=${encodeURIComponent(api)}`),
      { concurrency: "unbounded" }
    )
    assert.deepStrictEqual(answers.map(({ accessToken }) => audienceOf(accessToken)), asked.map(({ api }) => api))
    assertUsedOnce(app)
    assert.strictEqual(app.server.refreshes().length, 3)
    yield* assertAgreed(app, processes, person)
  })

/** The browser is gone before the server's answer is there. */
export const disconnect = (store: Store) =>
  Effect.gen(function*() {
    const app = yield* WebApp.start({ store })
    const processes = yield* fleet(app, 2)
    const person = yield* app.signIn(processes[0]!, "carol")
    const answer = yield* app.way.holdNextAnswer
    const abort = new AbortController()
    const asking = yield* Effect.fork(Effect.either(person.ask(processes[0]!, "?force", { signal: abort.signal })))
    yield* answer.held
    abort.abort()
    assert.strictEqual((yield* asking)._tag, "Left")
    yield* answer.release
    // Any process takes up what the first one has finished alone.
    const next = yield* person.ask(processes[1]!, "?force")
    assert.strictEqual(next.status, 200, next.error)
    assertUsedOnce(app)
    assert.strictEqual(app.server.refreshes().length, 2)
    yield* assertAgreed(app, processes, person)
  })

/** SIGTERM, as of a deployment, while a refresh is under way. */
export const terminated = (store: Store) =>
  Effect.gen(function*() {
    const app = yield* WebApp.start({ store })
    const [first, second] = yield* fleet(app, 2)
    const person = yield* app.signIn(first!, "dave")
    const answer = yield* app.way.holdNextAnswer
    const asking = yield* Effect.fork(Effect.either(person.ask(first!, "?force")))
    yield* answer.held
    yield* first!.signal("SIGTERM")
    yield* Effect.sleep("300 millis")
    yield* answer.release
    assert.strictEqual(yield* first!.ended, 0)
    yield* asking
    const next = yield* person.ask(second!, "?force")
    assert.strictEqual(next.status, 200, next.error)
    assertUsedOnce(app)
    assert.strictEqual(app.server.refreshes().length, 2)
  })

/** Killed in the middle of many refreshes: what the person was told has happened, has happened. */
export const killed = (store: Store, people: number) =>
  Effect.gen(function*() {
    const app = yield* WebApp.start({ store })
    const process = yield* app.launch
    const signIn = Effect.suspend(() => app.signIn(process, randomUUID()))
    const persons = yield* Effect.all(Array.from({ length: people }, () => signIn), { concurrency: 8 })
    const asking = yield* Effect.fork(
      Effect.forEach(persons, (person) => Effect.either(person.ask(process, "?force")), { concurrency: "unbounded" })
    )
    // At a moment when a random part of them is done.
    const moment = yield* Random.nextIntBetween(0, people)
    while (app.server.refreshes().length < moment) yield* Effect.sleep("1 millis")
    yield* process.signal("SIGKILL")
    const told = (yield* asking).map(({ _tag }) => _tag === "Right")
    // The server goes on with what the dead process has sent.
    let exchanged = -1
    while (exchanged < app.server.refreshes().length) {
      exchanged = app.server.refreshes().length
      yield* Effect.sleep("1 seconds")
    }
    const next = yield* app.launch
    // Who asks again after the session has ended is told that there is no refresh token.
    const hasEnded = ({ error }: WebApp.Answer) => error === "SessionEnded" || error === "RefreshTokenMissing"
    const isFinal = (answer: WebApp.Answer) => answer.status === 200 || hasEnded(answer)
    // What the dead process has announced is respected for 30 seconds, with an error that says so.
    const answered = (person: WebApp.Person): Effect.Effect<WebApp.Answer, WebApp.NoAnswer> =>
      Effect.flatMap(person.ask(next, "?force"), (answer) =>
        isFinal(answer)
          ? Effect.succeed(answer)
          : Effect.zipRight(Effect.sleep("1 seconds"), answered(person)))
    const after = yield* Effect.forEach(persons, answered, { concurrency: "unbounded" })
    const isLost = after.map(({ status }) => status !== 200)
    assert.isTrue(after.every(isFinal), [...new Set(after.map(({ error }) => error))].join(", "))
    assert.deepStrictEqual(isLost.filter((lost, index) => lost && told[index]), [], "lost although it was finished")
    const acknowledged = told.filter(Boolean).length
    return {
      acknowledged,
      interrupted: people - acknowledged,
      exchanged,
      lost: isLost.filter(Boolean).length
    }
  })
