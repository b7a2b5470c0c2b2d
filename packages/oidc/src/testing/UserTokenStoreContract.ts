/**
 * What every `UserTokenStore` has to keep to, as cases for whatever test runner there is.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { SessionStoreError } from "../OidcError.ts"
import type { Session } from "../Session.ts"
import { UserTokens } from "../UserTokens.ts"
import type { UserTokenStore } from "../UserTokenStore.ts"

/**
 * The store does something else than it has to.
 *
 * @since 0.1.0
 * @category errors
 */
export class ContractViolation extends Data.TaggedError("ContractViolation")<{ readonly message: string }> {}

/**
 * What a case is run with.
 *
 * - `open`: another session each time, in which somebody is signed in with both clients.
 *
 * @since 0.1.0
 * @category models
 */
export interface Subject<E, R> {
  readonly store: UserTokenStore["Type"]
  readonly open: Effect.Effect<Session, E, R>
  readonly clientNames: readonly [string, string]
}

/**
 * One thing that has to hold.
 *
 * @since 0.1.0
 * @category models
 */
export interface Case {
  readonly name: string
  readonly run: <E, R>(subject: Subject<E, R>) => Effect.Effect<void, ContractViolation | SessionStoreError | E, R>
}

const expect = (what: string, condition: boolean): Effect.Effect<void, ContractViolation> =>
  condition ? Effect.void : Effect.fail(new ContractViolation({ message: `expected ${what}` }))

const tokens = (refreshToken: string): UserTokens =>
  new UserTokens({ accessTokens: {}, refreshToken: Redacted.make(refreshToken) })

const at = (store: UserTokenStore["Type"], clientName: string) => ({
  read: (session: Session) =>
    Effect.flatMap(
      store.get(session, clientName),
      Option.match({
        onNone: () => Effect.fail(new ContractViolation({ message: "expected the tokens of a sign-in to be there" })),
        onSome: Effect.succeed
      })
    ),
  holds: (session: Session, refreshToken: string | undefined) =>
    Effect.flatMap(store.get(session, clientName), (kept) => {
      const found = Option.getOrUndefined(kept)?.tokens.refreshToken
      return expect(
        "what was written last to be read, and nothing else",
        (found === undefined ? undefined : Redacted.value(found)) === refreshToken
      )
    }),
  write: (session: Session, refreshToken: string, ifVersion: string | null) =>
    store.set(session, clientName, tokens(refreshToken), ifVersion)
})

/**
 * The cases.
 *
 * @since 0.1.0
 * @category cases
 */
export const cases: ReadonlyArray<Case> = [
  {
    name: "reads what was written, with another version each time",
    run: ({ clientNames: [name], open, store }) =>
      Effect.gen(function*() {
        const session = yield* open
        const { holds, read, write } = at(store, name)
        const before = yield* read(session)
        yield* expect("the write to succeed", yield* write(session, "1", before.version))
        yield* holds(session, "1")
        const after = yield* read(session)
        yield* expect("another version after a write", after.version !== before.version)
      })
  },
  {
    name: "writes over the version that it was told, and over no other",
    run: ({ clientNames: [name], open, store }) =>
      Effect.gen(function*() {
        const session = yield* open
        const { holds, read, write } = at(store, name)
        const { version } = yield* read(session)
        yield* expect("the first write to succeed", yield* write(session, "1", version))
        yield* expect("a second one over the same version to be refused", !(yield* write(session, "2", version)))
        yield* holds(session, "1")
      })
  },
  {
    name: "lets one of many writers with one version win",
    run: ({ clientNames: [name], open, store }) =>
      Effect.gen(function*() {
        const session = yield* open
        const { read, write } = at(store, name)
        const { version } = yield* read(session)
        const won = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, index) => String(index)),
          (text) => write(session, text, version),
          { concurrency: "unbounded" }
        )
        yield* expect("one writer to win", won.filter((each) => each).length === 1)
      })
  },
  {
    name: "writes at a sign-in whatever is there",
    run: ({ clientNames: [name], open, store }) =>
      Effect.gen(function*() {
        const session = yield* open
        const { holds, write } = at(store, name)
        yield* expect("the write to succeed", yield* write(session, "1", null))
        yield* expect("the next one too", yield* write(session, "2", null))
        yield* holds(session, "2")
      })
  },
  {
    name: "keeps clients and sessions apart",
    run: ({ clientNames: [name, otherName], open, store }) =>
      Effect.gen(function*() {
        const [one, two] = [yield* open, yield* open]
        const [here, there] = [at(store, name), at(store, otherName)]
        yield* here.write(one, "1", null)
        yield* there.write(one, "2", null)
        yield* here.write(two, "3", null)
        yield* here.holds(one, "1")
        yield* there.holds(one, "2")
        yield* here.holds(two, "3")
      })
  },
  {
    name: "forgets what is cleared, for that client only, and refuses what was to be written over it",
    run: ({ clientNames: [name, otherName], open, store }) =>
      Effect.gen(function*() {
        const session = yield* open
        const [here, there] = [at(store, name), at(store, otherName)]
        yield* here.write(session, "1", null)
        yield* there.write(session, "2", null)
        const { version } = yield* here.read(session)
        yield* store.clear(session, name)
        yield* here.holds(session, undefined)
        yield* there.holds(session, "2")
        yield* expect("a write over what was cleared to be refused", !(yield* here.write(session, "3", version)))
        yield* here.holds(session, undefined)
        yield* store.clear(session, name)
      })
  }
]
