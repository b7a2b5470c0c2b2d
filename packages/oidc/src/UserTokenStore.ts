/**
 * Where the tokens of users are kept: in their session, unless a store of your own is provided.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { SessionStoreError } from "./OidcError.ts"
import { type Session, SignIn, withSignIn } from "./Session.ts"
import * as UserTokens from "./UserTokens.ts"

/**
 * Tokens, and the version that they are written over by.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeptTokens {
  readonly tokens: UserTokens.UserTokens
  readonly version: string
}

/**
 * Of each session and client, one `UserTokens`. A store of your own is told of every sign-in, refresh and sign-out by these
 * methods; `Session.key` and the principals in `Session.known` say whose they are. What it writes down it has to seal.
 *
 * @since 0.1.0
 * @category tags
 */
export class UserTokenStore extends Context.Tag("@effect-oauth/oidc/UserTokenStore")<UserTokenStore, {
  /** What is newest. */
  readonly get: (
    session: Session,
    clientName: string
  ) => Effect.Effect<Option.Option<KeptTokens>, SessionStoreError>
  /**
   * Writes in one step, over this version only (`null`: whatever is there, at a sign-in). Whether it did: of two writers
   * with the same version exactly one may succeed, or a refresh token gets lost.
   */
  readonly set: (
    session: Session,
    clientName: string,
    tokens: UserTokens.UserTokens,
    ifVersion: string | null
  ) => Effect.Effect<boolean, SessionStoreError>
  readonly clear: (session: Session, clientName: string) => Effect.Effect<void, SessionStoreError>
  /** Optional: what can be told without asking, be it outdated. A token in it that is good still saves a `get`. */
  readonly known?: (session: Session, clientName: string) => UserTokens.UserTokens | undefined
  /** Optional: whether a `set` could be kept now. Asked before a refresh token is sent. Default: always. */
  readonly isWritable?: (session: Session) => boolean
}>() {}

/** @internal So often a write is tried over what somebody else has written meanwhile. */
export const attempts = 20

/** @internal */
export const refusedTooOften = (operation: string): SessionStoreError =>
  new SessionStoreError({
    operation,
    problem: `each of ${attempts} writes was refused, as if somebody else had written`
  })

const attempt = (
  store: UserTokenStore["Type"],
  session: Session,
  clientName: string,
  change: (tokens: UserTokens.UserTokens) => UserTokens.UserTokens,
  left: number
): Effect.Effect<boolean, SessionStoreError> =>
  Effect.flatMap(
    store.get(session, clientName),
    Option.match({
      onNone: () => Effect.succeed(false),
      onSome: ({ tokens, version }) =>
        Effect.flatMap(store.set(session, clientName, change(tokens), version), (isWritten) => {
          if (isWritten) return Effect.succeed(true)
          return left > 1 ? attempt(store, session, clientName, change, left - 1) : refusedTooOften("update")
        })
    })
  )

/**
 * Reads, changes and writes until nobody has come between, 20 times at most. False if there is nothing to change.
 *
 * @since 0.1.0
 * @category combinators
 */
export const update = (
  store: UserTokenStore["Type"],
  session: Session,
  clientName: string,
  change: (tokens: UserTokens.UserTokens) => UserTokens.UserTokens
): Effect.Effect<boolean, SessionStoreError> => attempt(store, session, clientName, change, attempts)

/**
 * In the session itself.
 *
 * @since 0.1.0
 * @category constructors
 */
export const inSession: UserTokenStore["Type"] = {
  get: (session, clientName) =>
    Effect.map(session.read, (kept) =>
      Option.flatMap(kept, ({ content, version }) =>
        Option.map(
          Option.fromNullable(content.signIns[clientName]),
          ({ tokens }) => ({ tokens: tokens ?? UserTokens.empty, version })
        ))),
  set: (session, clientName, tokens, ifVersion) =>
    Effect.map(session.read, Option.filter(({ version }) => ifVersion === null || ifVersion === version)).pipe(
      Effect.flatMap(Option.match({
        onNone: () => Effect.succeed(false),
        onSome: ({ content, version }) => {
          const signIn = content.signIns[clientName]
          const next = signIn === undefined
            ? undefined
            : withSignIn(content, clientName, new SignIn({ ...signIn, tokens }))
          return next === undefined ? Effect.succeed(false) : session.write(next, version)
        }
      }))
    ),
  clear: (session, clientName) => Effect.asVoid(update(inSession, session, clientName, () => UserTokens.empty)),
  known: (session, clientName) => session.known?.signIns[clientName]?.tokens,
  isWritable: (session) => session.isWritable
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<UserTokenStore> = Layer.succeed(UserTokenStore, inSession)
