/**
 * Sign-ins within a session: what a refresh says of the user, and the end of one of several.
 */
import type * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { OidcClient } from "../../OidcClient.ts"
import { type EndReason, SessionEnded, type SessionStoreError } from "../../OidcError.ts"
import type { OidcHooks } from "../../OidcHooks.ts"
import * as Principal from "../../Principal.ts"
import { type Session, type SessionContent, SignIn, withSignIn } from "../../Session.ts"
import type { UserTokenStore } from "../../UserTokenStore.ts"

/** @internal */
export interface SignIns {
  /** The user as the claims tell of them, and as the program's hook will have them. */
  readonly principal: (
    client: OidcClient,
    user: { readonly issuer: string; readonly sub: string },
    claims: Readonly<Record<string, unknown>>
  ) => Effect.Effect<Principal.Principal>
  /** A refresh went well; `claims` are of the ID token that came with it. */
  readonly refreshed: (
    session: Session,
    client: OidcClient,
    claims: Readonly<Record<string, unknown>> | undefined
  ) => Effect.Effect<void>
  /** Ends one sign-in; with the last one, the session. */
  readonly end: (session: Session, clientName: string, reason: EndReason) => Effect.Effect<void, SessionStoreError>
}

/** Reads, changes and writes until nobody has come between. `undefined` leaves it as it is. */
const modify = (
  session: Session,
  change: (content: SessionContent) => Effect.Effect<SessionContent | undefined>,
  left = 10
): Effect.Effect<void, SessionStoreError> =>
  Effect.gen(function*() {
    const kept = yield* session.read
    if (Option.isNone(kept) || left === 0) return
    const next = yield* change(kept.value.content)
    if (next === undefined) return
    if (!(yield* session.write(next, kept.value.version))) yield* modify(session, change, left - 1)
  })

/** @internal */
export const make = (
  store: UserTokenStore["Type"],
  hooks: Option.Option<OidcHooks["Type"]>,
  log: OAuthLogging.Log
): SignIns => {
  const transform = (principal: Principal.Principal): Effect.Effect<Principal.Principal> => {
    const { transformPrincipal } = Option.getOrElse(hooks, (): OidcHooks["Type"] => ({}))
    if (transformPrincipal === undefined) return Effect.succeed(principal)
    return Effect.map(
      Effect.suspend(() => transformPrincipal(principal)),
      (transformed) => new Principal.Principal({ ...transformed, issuer: principal.issuer, sub: principal.sub })
    )
  }

  const later = (client: OidcClient, before: Principal.Principal, claims: Readonly<Record<string, unknown>>) =>
    transform(Principal.fromClaims(before, { ...before.claims, ...claims }, client))

  return {
    principal: (client, user, claims) =>
      transform(Principal.fromClaims({ clientName: client.name, ...user }, claims, client)),

    refreshed: (session, client, claims) =>
      modify(session, (content) =>
        Effect.gen(function*() {
          const signIn = content.signIns[client.name]
          if (signIn === undefined) return undefined
          const principal = yield* claims === undefined
            ? transform(signIn.principal)
            : later(client, signIn.principal, claims)
          return JSON.stringify(principal) === JSON.stringify(signIn.principal)
            ? undefined
            : withSignIn(content, client.name, new SignIn({ ...signIn, principal }))
        })).pipe(
          // What a refresh says of the user is not worth losing its tokens, nor the turn for long.
          Effect.timeout("5 seconds"),
          Effect.catchAllCause(() => log.warning(client.name, "what a refresh said of the user could not be kept"))
        ),

    end: (session, clientName, reason) =>
      Effect.gen(function*() {
        const ended = new SessionEnded({ reason })
        if (reason !== "SignedOut") yield* log.warning(clientName, `the sign-in of a user ends: ${ended.message}`)
        yield* store.clear(session, clientName)
        const content = Option.getOrUndefined(yield* session.read)?.content
        if (content === undefined) return
        if (withSignIn(content, clientName, undefined) === undefined) return yield* session.end(reason)
        yield* modify(session, (content) => Effect.succeed(withSignIn(content, clientName, undefined)))
      })
  }
}
