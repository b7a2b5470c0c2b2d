/**
 * A sign-in belongs to an issuer and a client id. One whose client is registered otherwise by now, or no longer, is no sign-in:
 * it is not shown, its tokens are not used, and what is written next leaves it out.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { OidcClient } from "../../OidcClient.ts"
import type { OidcClients } from "../../OidcClients.ts"
import { SessionEnded, SessionStoreError } from "../../OidcError.ts"
import { type Kept, type Session, SessionContent, SignIn, withSignIn } from "../../Session.ts"

type Registrations = ReadonlyMap<string, OidcClient | undefined>

/** @internal Whether the client is the one that the user signed in with. */
export const isOf = ({ clientId, principal }: SignIn, { issuer, login }: OidcClient): boolean =>
  principal.issuer === issuer && (clientId ?? login.clientId) === login.clientId

const registered = (content: SessionContent | undefined, registrations: Registrations): SessionContent | undefined => {
  let rest = content
  for (const [name, signIn] of Object.entries(content?.signIns ?? {})) {
    const client = registrations.get(name)
    if (client === undefined || !isOf(signIn, client)) rest = rest && withSignIn(rest, name, undefined)
  }
  return rest
}

/** What is written always says which client id it is of. */
const labelled = (content: SessionContent, registrations: Registrations): SessionContent => {
  if (Object.values(content.signIns).every(({ clientId }) => clientId !== undefined)) return content
  const signIns = Object.entries(content.signIns).map(([name, signIn]) => {
    const clientId = signIn.clientId ?? registrations.get(name)?.login.clientId
    return [name, new SignIn({ ...signIn, clientId })] as const
  })
  return new SessionContent({ ...content, signIns: Object.fromEntries(signIns) })
}

/** @internal */
export interface Registered {
  readonly session: (self: Session) => Effect.Effect<Session, SessionStoreError>
  /** `None`, if it has no sign-in. */
  readonly found: (self: Option.Option<Session>) => Effect.Effect<Option.Option<Session>, SessionStoreError>
  readonly content: (content: SessionContent) => Effect.Effect<SessionContent, SessionStoreError>
}

/** @internal */
export const make = (clients: OidcClients["Type"]): Registered => {
  const registrationOf = (name: string): Effect.Effect<OidcClient | undefined, SessionStoreError> =>
    clients.get(name).pipe(
      Effect.catchTag("OidcClientNotFound", () => Effect.succeed(undefined)),
      Effect.mapError(({ _tag }) =>
        new SessionStoreError({ operation: "open", problem: `the client "${name}" of a sign-in: ${_tag}` })
      )
    )

  const registrationsOf = (names: ReadonlyArray<string>): Effect.Effect<Registrations, SessionStoreError> =>
    Effect.map(
      Effect.forEach(names, (name) => Effect.map(registrationOf(name), (client) => [name, client] as const)),
      (entries) => new Map(entries)
    )

  class RegisteredSession implements Session {
    readonly #session: Session
    #registrations: Registrations = new Map()

    constructor(session: Session) {
      this.#session = session
    }

    get key() {
      return this.#session.key
    }
    get cookies() {
      return this.#session.cookies
    }
    get isWritable() {
      return this.#session.isWritable
    }
    get known() {
      return registered(this.#session.known, this.#registrations)
    }

    /** Once for each client: what a refresh has brought is written, whether or not its client can be looked up again. */
    lookUp(content: SessionContent | undefined): Effect.Effect<void, SessionStoreError> {
      const unknown = Object.keys(content?.signIns ?? {}).filter((name) => !this.#registrations.has(name))
      return unknown.length === 0 ? Effect.void : Effect.map(registrationsOf(unknown), (found) => {
        this.#registrations = new Map([...this.#registrations, ...found])
      })
    }

    get read(): Effect.Effect<Option.Option<Kept>, SessionStoreError> {
      return Effect.gen(this, function*() {
        const kept = yield* this.#session.read
        if (Option.isNone(kept)) return kept
        yield* this.lookUp(kept.value.content)
        const content = registered(kept.value.content, this.#registrations)
        return content === undefined ? Option.none() : Option.some({ ...kept.value, content })
      })
    }

    #writing<A, E>(content: SessionContent, write: (content: SessionContent) => Effect.Effect<A, E>) {
      return Effect.zipRight(
        Effect.ignore(this.lookUp(content)),
        Effect.suspend(() => write(labelled(content, this.#registrations)))
      )
    }

    write(content: SessionContent, ifVersion: string) {
      return this.#writing(content, (content) => this.#session.write(content, ifVersion))
    }

    start(content: SessionContent) {
      return this.#writing(content, (content) => this.#session.start(content))
    }

    end(reason: SessionEnded["reason"]) {
      return this.#session.end(reason)
    }

    get ended(): Effect.Effect<SessionEnded> {
      return Effect.suspend(() =>
        this.known === undefined ? Effect.succeed(new SessionEnded({ reason: "Expired" })) : this.#session.ended
      )
    }
  }

  const session = (self: Session): Effect.Effect<Session, SessionStoreError> => {
    const registered = new RegisteredSession(self)
    return Effect.as(registered.lookUp(self.known), registered)
  }

  return {
    session,
    found: Option.match({
      onNone: () => Effect.succeedNone,
      onSome: (self) => Effect.map(session(self), Option.liftPredicate(({ known }) => known !== undefined))
    }),
    content: (content) =>
      Effect.map(
        registrationsOf(Object.keys(content.signIns)),
        (registrations) => labelled(content, registrations)
      )
  }
}
