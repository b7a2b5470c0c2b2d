/** What the scenarios of users' tokens have in common: browsers, requests, and what is true of a session afterwards. */
import { OidcLogin, OidcLogout, StoredSession, UserTokenManager, type UserTokens } from "@effect-oauth/oidc"
import { Cause, Effect, Exit, Option, Redacted } from "effect"
import { Browser } from "../../support/browser.ts"
import { clientId, type Process, type Services, visit } from "../process.ts"
import type { Run } from "../scenario.ts"
import { issuer } from "../scriptedServer.ts"
import { logoutToken } from "../standIns.ts"
import { parse } from "../tokens.ts"

/** Of a request that may wait for a lock, the server and the store, one after the other. */
export const limits = { get: 75_000, signOut: 60_000, login: 60_000, adopt: 110_000 }

/** The user has to sign in again. */
const signInAgain: ReadonlySet<string> = new Set(["SessionEnded", "NoActiveUser", "RefreshTokenMissing"])

interface Got {
  readonly process: Process
  readonly startedAt: number
  readonly endedAt: number
  readonly value: string
}

export interface SignedIn {
  readonly user: string
  readonly browser: Browser
  /** As the server calls its tokens. */
  readonly login: string
}

const tagOf = (exit: Exit.Exit<unknown, unknown> | undefined): string => {
  if (exit === undefined) return "Hanging"
  if (Exit.isSuccess(exit)) return "Success"
  const error = Cause.failureOption(exit.cause)
  if (Option.isSome(error) && typeof error.value === "object" && error.value !== null && "_tag" in error.value) {
    return String(error.value._tag)
  }
  return "Defect"
}

export const users = (run: Run) => {
  const { server, violated, world } = run
  const got: Array<Got> = []

  const observe = (process: Process, user: string, startedAt: number, value: string): void => {
    run.count("tokens")
    const { number, owner } = parse(value)
    if (!owner.startsWith(`${user}.`)) violated("no one gets another's token", `${user} got ${value}`)
    const age = world.now - (server.issuedAt.get(value) ?? 0) - process.clock.pausedFor
    // A cookie says when its token ends in wall time, which a process whose clock is wrong cannot judge.
    if (age > 100_000 && process.clock.offset === 0) {
      violated("no token lives longer than it should", `${value} after ${age} ms`)
    }
    const later = got.find((one) =>
      one.process === process && one.endedAt < startedAt && parse(one.value).owner === owner &&
      parse(one.value).number > number
    )
    if (later !== undefined) {
      violated("no newer token is replaced by an older one", `${process.name} got ${value} after ${later.value}`)
    }
    got.push({ process, startedAt, endedAt: world.now, value })
  }

  const observed = <E, R>(
    process: Process,
    user: string,
    take: Effect.Effect<UserTokens.UserToken, E, R>
  ): Effect.Effect<string, E, R> =>
    Effect.suspend(() => {
      const startedAt = world.now
      return Effect.map(take, ({ accessToken }) => {
        const value = Redacted.value(accessToken.value)
        observe(process, user, startedAt, value)
        return value
      })
    })

  const get = (process: Process, { browser, user }: SignedIn, forceRenewal = false) =>
    visit(browser, () => observed(process, user, UserTokenManager.get({ forceRenewal })))

  const whoIs = (browser: Browser) =>
    visit(browser, ({ principal }) => Effect.succeed(Option.getOrUndefined(principal)?.sub))

  const start = (browser: Browser) => visit(browser, () => Effect.flatMap(OidcLogin.OidcLogin, ({ start }) => start()))

  const callback = (browser: Browser, parameters: URLSearchParams) =>
    visit(
      browser,
      () => Effect.flatMap(OidcLogin.OidcLogin, ({ callback }) => callback(parameters, { path: "/auth/callback" }))
    )

  const must = <A>(exit: Exit.Exit<A, unknown> | undefined, what: string): A => {
    if (exit !== undefined && Exit.isSuccess(exit)) return exit.value
    throw new Error(`${what}: ${exit === undefined ? "it hangs" : Cause.pretty(exit.cause)}`)
  }

  /** What the browser is sent back with. */
  const answered = async (process: Process, browser: Browser, user: string): Promise<URLSearchParams> => {
    const url = must(await process.complete(start(browser), 60_000), "the login begins")
    return new URLSearchParams({
      code: server.authorize(user),
      state: url.searchParams.get("state") ?? "",
      iss: issuer
    })
  }

  const signIn = async (process: Process, user: string): Promise<SignedIn> => {
    const browser = new Browser()
    const parameters = await answered(process, browser, user)
    must(await process.complete(callback(browser, parameters), 60_000), "the login ends")
    const value = must(await process.complete(visit(browser, () => UserTokenManager.get()), 60_000), "there is a token")
    run.count("sessions")
    const { owner } = parse(Redacted.value(value.accessToken.value))
    return { user, browser, login: owner }
  }

  /** Every process has refreshed it once, so that each has read the server's metadata. */
  const warm = async (user: SignedIn): Promise<void> => {
    for (const process of run.processes) {
      must(await process.complete(get(process, user, true), 60_000), "there is a refresh")
    }
  }

  /** Its last answer did not reach a process that lives. */
  const mayBeLost = ({ login }: Pick<SignedIn, "login">): boolean =>
    server.presentations.some(({ host, isAnswerLost, kind, login: other, outcome }) =>
      kind === "refresh" && other === login && outcome === "ok" &&
      (isAnswerLost || host.isKilled || host.hasEndedEarly)
    ) ||
    // What browsers do not have yet is in the memory of the process.
    (!isShared && run.processes.some(({ isAlive }) => !isAlive))

  const isShared = run.processes.every(({ app }) => app.isShared)

  /** The session works in every process, its refresh token included. */
  const checkSession = async (
    user: Pick<SignedIn, "login" | "user">,
    attempt: (process: Process) => Effect.Effect<unknown, unknown, Services>
  ): Promise<void> => {
    for (const one of run.processes) {
      const process = await run.successor(one)
      let tag = "Hanging"
      for (let tries = 0; tries < 4; tries++) {
        tag = tagOf(await process.complete(attempt(process), limits.get))
        if (tag === "Success" || signInAgain.has(tag)) break
        await world.advance(30_000)
      }
      if (tag === "Success" || mayBeLost(user)) continue
      const invariant = signInAgain.has(tag) ? "a session is lost only if the server's answer was" : "it recovers"
      violated(invariant, `${user.user} in ${process.name}: ${tag}`)
    }
  }

  const check = (user: SignedIn): Promise<void> => checkSession(user, (process) => get(process, user, true))

  /** Nobody is signed in by this browser, nor by an older copy of its cookies. */
  const checkGone = async (what: string, browsers: ReadonlyArray<Browser>): Promise<void> => {
    for (const one of run.processes) {
      const process = await run.successor(one)
      for (const browser of browsers) {
        const exit = await process.complete(whoIs(browser.copy()), 60_000)
        if (exit !== undefined && Exit.isSuccess(exit) && exit.value !== undefined) {
          violated("what was removed stays so", `${what}: ${exit.value} is signed in at ${process.name}`)
        }
      }
    }
  }

  const signOut = (browser: Browser, begun: () => void) =>
    visit(browser, () =>
      Effect.flatMap(OidcLogout.OidcLogout, ({ signOut }) => {
        begun()
        return signOut()
      }))

  const backchannel = (user: string) =>
    Effect.flatMap(
      OidcLogout.OidcLogout,
      ({ backchannel }) => backchannel(logoutToken(clientId, user, `jti-${run.seed}`))
    )

  const named = (
    process: Process,
    user: string,
    forceRenewal = true
  ): Effect.Effect<string, unknown, Services> =>
    Effect.flatMap(
      StoredSession.open("me"),
      (session): Effect.Effect<string, unknown, Services> =>
        Option.isNone(session)
          ? Effect.fail({ _tag: "NoActiveUser" })
          : observed(
            process,
            user,
            Effect.flatMap(
              UserTokenManager.UserTokenManager,
              (manager) => manager.get({ session: session.value, forceRenewal })
            )
          )
    )

  return {
    answered,
    backchannel,
    callback,
    check,
    checkGone,
    checkSession,
    get,
    mayBeLost,
    must,
    named,
    signIn,
    signOut,
    warm,
    whoIs
  }
}

export type Users = ReturnType<typeof users>
