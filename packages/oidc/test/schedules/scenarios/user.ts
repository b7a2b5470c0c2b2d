/** Sessions and the tokens of users. */
import { DeviceFlow } from "@effect-oauth/core"
import { OidcClients, StoredSession, UserTokenManager } from "@effect-oauth/oidc"
import { Effect, Exit, FiberId, Option, Redacted } from "effect"
import { Browser } from "../../support/browser.ts"
import { type App, type Operation, type Process, type Services, visit } from "../process.ts"
import type { Prepared, Run, Scenario, Step } from "../scenario.ts"
import { limits, type SignedIn, type Users, users } from "./users.ts"

type Begin = (
  process: number,
  name: string,
  at: number,
  effect: (process: Process) => Effect.Effect<unknown, unknown, Services>,
  note?: (operation: Operation) => void
) => Step

const scenario = (
  name: string,
  app: App,
  prepare: (run: Run, users: Users, begin: Begin) => Promise<Prepared>,
  processes: 1 | 2 = app.isShared ? 2 : 1
): Scenario => ({
  name,
  app,
  processes,
  prepare: (run) => {
    const begin: Begin = (index, name, at, effect, note) => {
      const process = run.processes[index]
      if (process === undefined) throw new Error("there is no such process")
      const limit = name.startsWith("sign")
        ? limits.signOut
        : name.startsWith("adopt") || name.startsWith("device")
        ? limits.adopt
        : limits.get
      return {
        at,
        begin: () => {
          const operation = process.begin(name, limit, effect(process))
          note?.(operation)
          return operation
        }
      }
    }
    return prepare(run, users(run), begin)
  }
})

/** Where its token has a few seconds left, and where it has ended. */
const nearlyExpired = 95_000
const expired = 101_000

const last = (run: Run) => run.processes.length - 1

const succeeded = (operation: Operation | undefined): boolean =>
  operation?.exit !== undefined && Exit.isSuccess(operation.exit)

/** In the web: each for all kinds of sessions. */
const web = (name: string, prepare: Parameters<typeof scenario>[2], kinds = webApps): ReadonlyArray<Scenario> =>
  kinds.map(([kind, app]) => scenario(`${kind}-${name}`, app, prepare))

const webApps: ReadonlyArray<readonly [string, App]> = [
  ["cookies", { kind: "cookies", isShared: false }],
  ["cookies-shared", { kind: "cookies", isShared: true }],
  ["server", { kind: "server", isShared: false }],
  ["server-shared", { kind: "server", isShared: true }]
]

const onServer = webApps.filter(([, { kind }]) => kind === "server")

const signedIn = async (run: Run, { signIn, warm }: Users, user = "alice"): Promise<SignedIn> => {
  const [first] = run.processes
  if (first === undefined) throw new Error("there is no process")
  const one = await signIn(first, user)
  await warm(one)
  return one
}

const refresh = (age: number) => async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  await run.world.advance(age)
  return {
    steps: [
      begin(0, "get", 0, (process) => all.get(process, alice)),
      begin(0, "get", 1, (process) => all.get(process, { ...alice, browser: alice.browser.copy() })),
      begin(last(run), "get", 2, (process) => all.get(process, { ...alice, browser: alice.browser.copy() }))
    ],
    check: () => all.check(alice)
  }
}

const twoUsers = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const [alice, bob] = [await signedIn(run, all, "alice"), await signedIn(run, all, "bob")]
  await run.world.advance(expired)
  return {
    steps: [
      begin(0, "get of alice", 0, (process) => all.get(process, alice)),
      begin(0, "get of bob", 0, (process) => all.get(process, bob))
    ],
    check: async () => {
      await all.check(alice)
      await all.check(bob)
    }
  }
}

const refused = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  await run.world.advance(expired)
  run.server.refusesRefreshes = true
  return {
    steps: [
      begin(0, "get", 0, (process) => all.get(process, alice)),
      begin(0, "get", 1, (process) => all.get(process, alice)),
      begin(last(run), "get", 20, (process) => all.get(process, alice))
    ],
    check: async () => {
      for (const one of run.processes) {
        const process = await run.successor(one)
        await process.complete(all.get(process, alice), limits.get)
      }
    }
  }
}

const unknownKey = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  await run.world.advance(expired)
  run.server.hasUnknownKey = true
  return {
    steps: [begin(0, "get", 0, (process) => all.get(process, alice))],
    check: () => all.check(alice)
  }
}

const signOut = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  const before = alice.browser.copy()
  await run.world.advance(expired)
  let hasBegun = false
  let operation: Operation | undefined
  return {
    steps: [
      begin(last(run), "get", 0, (process) => all.get(process, { ...alice, browser: alice.browser.copy() })),
      begin(
        0,
        "sign-out",
        3,
        () =>
          all.signOut(alice.browser, () => {
            hasBegun = true
          }),
        (begun) => {
          operation = begun
        }
      )
    ],
    check: async () => {
      const goesOn = hasBegun && operation?.wasInterrupted === true && operation.process.isAlive &&
        !run.world.faults.has("outage") && !run.world.faults.has("blackout")
      const isCookie = run.processes[0]?.app.kind === "cookies"
      if (succeeded(operation)) {
        await all.checkGone("after the sign-out", isCookie ? [alice.browser] : [alice.browser, before])
      } else if (goesOn && !isCookie) await all.checkGone("after a sign-out that was interrupted", [before])
    }
  }
}

const backchannel = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  const bob = await all.signIn(run.processes[0] as Process, "bob")
  await run.world.advance(expired)
  const before = alice.browser.copy()
  let operation: Operation | undefined
  return {
    steps: [
      begin(last(run), "get", 0, (process) => all.get(process, alice)),
      begin(0, "sign-out by the provider", 4, () => all.backchannel("alice"), (begun) => {
        operation = begun
      })
    ],
    check: async () => {
      const process = await run.successor(run.processes[0] as Process)
      // What was not carried out is sent again.
      if (!succeeded(operation)) {
        await process.complete(Effect.retry(all.backchannel("alice"), { times: 3 }), limits.signOut)
      }
      await all.checkGone("after the provider's logout", [alice.browser, before])
      await all.check(bob)
    }
  }
}

const ended = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  await run.world.advance(expired)
  const before = alice.browser.copy()
  let operation: Operation | undefined
  return {
    steps: [
      begin(last(run), "get", 0, (process) => all.get(process, { ...alice, browser: alice.browser.copy() })),
      begin(
        0,
        "sign-out by the program",
        4,
        () => visit(alice.browser, ({ session }) => session.end("SignedOut")),
        (begun) => {
          operation = begun
        }
      )
    ],
    check: async () => {
      const isCookie = run.processes[0]?.app.kind === "cookies"
      if (succeeded(operation)) {
        await all.checkGone("after the end", isCookie ? [alice.browser] : [alice.browser, before])
      }
    }
  }
}

/** Somebody waits for the end of the session, as a connection does. */
const watched = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  const watchers = run.processes.map((process) => ({
    process,
    fiber: process.fork(visit(alice.browser.copy(), ({ session }) => session.ended))
  }))
  for (const process of run.processes) await process.rest()
  let operation: Operation | undefined
  // Each try with the cookies from before.
  const end = Effect.suspend(() => visit(alice.browser.copy(), ({ session }) => session.end("SignedOut")))
  return {
    steps: [begin(0, "sign-out by the program", 0, () => end, (begun) => {
      operation = begun
    })],
    check: async () => {
      const process = await run.successor(run.processes[0] as Process)
      if (!succeeded(operation)) all.must(await process.complete(end, limits.signOut), "it ends")
      await run.world.advance(5000)
      for (const { fiber, process } of watchers) {
        if (process.isAlive && fiber.unsafePoll() === null) {
          run.violated("whoever waits for the end of a session is told", process.name)
        }
        fiber.unsafeInterruptAsFork(FiberId.none)
      }
    }
  }
}

const revoke = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const alice = await signedIn(run, all)
  await run.world.advance(expired)
  let operation: Operation | undefined
  return {
    steps: [
      begin(last(run), "get", 0, (process) => all.get(process, { ...alice, browser: alice.browser.copy() })),
      begin(0, "revoke", 3, () => visit(alice.browser, () => UserTokenManager.revoke()), (begun) => {
        operation = begun
      }),
      begin(last(run), "get", 30, (process) => all.get(process, { ...alice, browser: alice.browser.copy() }, true))
    ],
    check: async () => {
      if (!succeeded(operation)) return
      for (const one of run.processes) {
        const process = await run.successor(one)
        await process.complete(all.get(process, alice, true), limits.get)
      }
      const later = run.server.presentations.find(({ at, login }) =>
        login === alice.login && at > (operation?.endedAt ?? 0) + 60_000
      )
      if (later !== undefined) violatedAfterRevoke(run, later.value, later.host.name)
    }
  }
}

const violatedAfterRevoke = (run: Run, value: string, process: string): void =>
  run.violated("what was removed stays so", `${process} presents ${value} after it was revoked`)

const login = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const browser = new Browser()
  const parameters = await all.answered(run.processes[0] as Process, browser, "alice")
  const submitted = browser.copy()
  const operations: Array<Operation> = []
  const note = (operation: Operation) => {
    operations.push(operation)
  }
  return {
    steps: [
      begin(0, "sign-in", 0, () => all.callback(browser, parameters), note),
      begin(last(run), "sign-in, sent again", 1, () => all.callback(submitted, parameters), note)
    ],
    check: async () => {
      const done = operations.filter(succeeded)
      if (done.length > 1) run.violated("no token or code is presented twice", "one code signed two browsers in")
      const [operation] = done
      const signedIn = operation === operations[0] ? browser : submitted
      if (operation === undefined || !operation.process.isAlive) return
      const { login } = run.server.presentations.find(({ kind, outcome }) => kind === "code" && outcome === "ok") ??
        { login: "" }
      run.count("sessions")
      await all.checkSession(
        { user: "alice", login },
        (process) => all.get(process, { user: "alice", browser: signedIn, login }, true)
      )
    }
  }
}

const named: App = { kind: "named", isShared: true }

/** As a program does at its start. */
const openOrAdopt = (
  all: Users,
  process: Process,
  refreshToken: string
): Effect.Effect<string, unknown, Services> =>
  Effect.flatMap(StoredSession.open("me"), (session) =>
    Effect.zipRight(
      Option.isSome(session) ? Effect.void : StoredSession.adopt("me", Redacted.make(refreshToken)),
      all.named(process, "alice", false)
    ))

const adopt = (processes: 1 | 2) => async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const refreshToken = run.server.newLogin("alice")
  const login = refreshToken.split("-")[1] ?? ""
  run.count("sessions")
  const one = (process: Process) => openOrAdopt(all, process, refreshToken)
  return {
    steps: [
      begin(0, "adopt", 0, one),
      ...(processes === 2 ? [begin(1, "adopt", 1, one)] : []),
      begin(0, "adopt again", 2000, one)
    ],
    check: () =>
      all.checkSession(
        { user: "alice", login },
        (process) => Effect.zipRight(one(process), all.named(process, "alice"))
      )
  }
}

type Response = Parameters<typeof StoredSession.keep>[1]

const deviceLogin = Effect.gen(function*() {
  const clients = yield* OidcClients.OidcClients
  const { login } = yield* clients.get()
  const { tokens } = yield* DeviceFlow.start(login)
  return yield* tokens
})

const loginOf = ({ accessToken }: Response): string => Redacted.value(accessToken.value).split("-")[1] ?? ""

const device = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  let hasTokens: Response | undefined
  let operation: Operation | undefined
  return {
    steps: [
      begin(
        0,
        "device login",
        0,
        () =>
          Effect.flatMap(deviceLogin, (tokens) => {
            hasTokens = tokens
            return StoredSession.keep("me", tokens)
          }),
        (begun) => {
          operation = begun
        }
      )
    ],
    check: async () => {
      const response = hasTokens
      if (response === undefined) return
      const [first] = run.processes
      const login = loginOf(response)
      // What could not be kept is kept by another try.
      if (!succeeded(operation) && first !== undefined && first.isAlive) {
        all.must(await first.complete(StoredSession.keep("me", response), limits.login), "it is kept")
      }
      if (first?.isAlive !== true) return
      run.count("sessions")
      await all.checkSession({ user: "alice", login }, (process) => all.named(process, "alice"))
    }
  }
}

const namedRefresh = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const refreshToken = run.server.newLogin("alice")
  const login = refreshToken.split("-")[1] ?? ""
  const [first] = run.processes
  all.must(await first?.complete(openOrAdopt(all, first, refreshToken), 60_000), "it is adopted")
  for (const process of run.processes) {
    all.must(await process.complete(all.named(process, "alice"), 60_000), "it is there")
  }
  run.count("sessions")
  await run.world.advance(nearlyExpired)
  return {
    steps: [
      begin(0, "get", 0, (process) => all.named(process, "alice", false)),
      begin(1, "get", 1, (process) => all.named(process, "alice", false))
    ],
    check: () => all.checkSession({ user: "alice", login }, (process) => all.named(process, "alice"))
  }
}

/** The user signs in anew while the session from before is renewed: the new sign-in is the one that is there then. */
const keepOver = async (run: Run, all: Users, begin: Begin): Promise<Prepared> => {
  const refreshToken = run.server.newLogin("alice")
  const [first, second] = run.processes
  all.must(await first?.complete(openOrAdopt(all, first, refreshToken), 60_000), "it is adopted")
  await run.world.advance(nearlyExpired)
  const exit = await second?.complete(deviceLogin, limits.login)
  if (exit === undefined || Exit.isFailure(exit)) throw new Error("there is no device login")
  run.count("sessions")
  let operation: Operation | undefined
  const keep = StoredSession.keep("me", exit.value)
  return {
    steps: [
      begin(0, "get", 0, (process) => all.named(process, "alice", false)),
      begin(1, "keep", 1, () => keep, (begun) => {
        operation = begun
      }),
      begin(0, "get", 4, (process) => all.named(process, "alice", false))
    ],
    check: async () => {
      if (!succeeded(operation)) {
        if (second?.isAlive !== true) return
        all.must(await second.complete(keep, limits.login), "it is kept")
      }
      await all.checkSession({ user: "alice", login: loginOf(exit.value) }, (process) => all.named(process, "alice"))
    }
  }
}

export const userScenarios: ReadonlyArray<Scenario> = [
  ...web("refresh", refresh(expired)),
  ...web("refresh-early", refresh(nearlyExpired)),
  ...web("two-users", twoUsers),
  ...web("refused", refused),
  ...web("unknown-key", unknownKey),
  ...web("sign-out", signOut),
  ...web("backchannel", backchannel, onServer),
  ...web("end", ended),
  ...web("watched", watched, [["server-shared", { kind: "server", isShared: true }]]),
  ...web("revoke", revoke),
  ...web("login", login),
  scenario("stored-login", { kind: "server", isShared: true, storesLogins: true }, login),
  scenario("adopt", named, adopt(1), 1),
  scenario("adopt-twice", named, adopt(2)),
  scenario("device", named, device, 1),
  scenario("named-refresh", named, namedRefresh),
  scenario("named-keep", named, keepOver)
]
