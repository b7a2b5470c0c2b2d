/** Tokens of the program's own, in memory and shared. */
import { type AccessToken, ClientCredentialsTokenManager } from "@effect-oauth/core"
import { Effect, Exit, Redacted } from "effect"
import type { Operation, Process, Services } from "../process.ts"
import type { Prepared, Run, Scenario } from "../scenario.ts"
import { parse } from "../tokens.ts"

const manager = ClientCredentialsTokenManager.ClientCredentialsTokenManager

/** An acquisition, one time-out of the store, and what a caller may wait before. */
const limit = 22_000

/** Three attempts of 10 seconds with their pauses, and the store. */
const revokeLimit = 33_000

interface Got {
  readonly process: Process
  readonly startedAt: number
  readonly endedAt: number
  readonly value: string
}

interface Removal {
  readonly process: Process
  readonly startedAt: number
  readonly endedAt: number
}

/** Gets tokens and judges them. */
const observer = (run: Run) => {
  const { server, violated, world } = run
  const got: Array<Got> = []
  const removals: Array<Removal> = []

  const observe = (process: Process, tenant: string, startedAt: number, value: string): void => {
    run.count("tokens")
    const { number, owner } = parse(value)
    if (owner !== `app.${tenant}`) violated("no one gets another's token", `${tenant} got ${value}`)
    const issuedAt = server.issuedAt.get(value) ?? 0
    const hasJumped = world.faults.has("forward") || world.faults.has("back")
    const age = world.now - issuedAt - process.clock.pausedFor
    if (age > (hasJumped ? 200_000 : 100_000)) {
      violated("no token lives longer than it should", `${value} after ${age} ms`)
    }
    // What a caller got whose request was under way when the token was removed is not kept.
    const wasKept = (one: Got) =>
      !removals.some((removal) => removal.process === process && removal.endedAt >= one.startedAt)
    const sameBefore = got.find((one) => one.value === value)
    // Acquisitions are ordered by their beginning: one that began earlier, and was repeated, may have a later token.
    const isEarlier = (one: Got) => sameBefore !== undefined && one.startedAt <= sameBefore.startedAt
    // No process can know that the server took two requests in another order than they were sent.
    const wasAskedEarlier = (one: Got) => (server.askedAt.get(one.value) ?? 0) < (server.askedAt.get(value) ?? 0)
    const later = got.find((one) =>
      one.process === process && one.endedAt < startedAt && parse(one.value).owner === owner &&
      parse(one.value).number > number && wasKept(one) && !isEarlier(one) && !wasAskedEarlier(one)
    )
    if (later !== undefined) {
      violated("no newer token is replaced by an older one", `${process.name} got ${value} after ${later.value}`)
    }
    const removal = removals.find((one) =>
      one.process === process && one.endedAt < startedAt && (server.askedAt.get(value) ?? 0) < one.startedAt
    )
    if (removal !== undefined) {
      violated("what was removed stays so", `${process.name} got ${value}, which was removed ${removal.endedAt} ms`)
    }
    got.push({ process, startedAt, endedAt: world.now, value })
  }

  const token = (
    process: Process,
    tenant: string,
    take: Effect.Effect<AccessToken.AccessToken, unknown, Services>
  ): Effect.Effect<string, unknown, Services> =>
    Effect.suspend(() => {
      const startedAt = world.now
      return Effect.map(take, ({ value }) => {
        observe(process, tenant, startedAt, Redacted.value(value))
        return Redacted.value(value)
      })
    })

  const parameters = (tenant: string) => tenant === "none" ? {} : { partition: tenant, parameters: { tenant } }

  const get = (process: Process, tenant = "none") =>
    token(process, tenant, Effect.flatMap(manager, ({ get }) => get("app", parameters(tenant))))

  const renew = (process: Process, rejected: () => AccessToken.AccessToken) =>
    token(process, "none", Effect.flatMap(manager, ({ renew }) => renew("app", rejected())))

  const force = (process: Process) =>
    token(process, "none", Effect.flatMap(manager, ({ get }) => get("app", { forceRenewal: true })))

  const removal = (process: Process, effect: Effect.Effect<unknown, unknown, Services>) =>
    Effect.suspend(() => {
      const startedAt = world.now
      return Effect.map(effect, () => {
        removals.push({ process, startedAt, endedAt: world.now })
      })
    })

  /** A token that all processes have. */
  const warm = async (): Promise<AccessToken.AccessToken> => {
    let token: AccessToken.AccessToken | undefined
    for (const process of run.processes) {
      const exit = await process.complete(Effect.flatMap(manager, ({ get }) => get("app")), limit)
      if (exit === undefined || Exit.isFailure(exit)) throw new Error("there is no token to begin with")
      token = exit.value
    }
    if (token === undefined) throw new Error("there is no process")
    return token
  }

  /** Every process gets a token again, and none that was removed. */
  const check = async (): Promise<void> => {
    for (const one of run.processes) {
      const process = await run.successor(one)
      const exit = await process.complete(get(process), 60_000)
      if (exit === undefined || Exit.isFailure(exit)) {
        violated("it recovers", `${process.name} gets no token although everything works again`)
        continue
      }
      const since = Math.max(0, ...removals.map(({ startedAt }) => startedAt))
      if ((server.askedAt.get(exit.value) ?? 0) < since) {
        violated("what was removed stays so", `${process.name} gets ${exit.value} at the end, which was removed`)
      }
    }
  }

  return { get, renew, force, removal, warm, check }
}

type Observer = ReturnType<typeof observer>

const shared = { kind: "machine", isShared: true } as const
const alone = { kind: "machine", isShared: false } as const

const scenario = (
  name: string,
  { isShared, kind }: Scenario["app"],
  prepare: (run: Run, observed: Observer, begin: Begin) => Prepared["steps"] | Promise<Prepared["steps"]>
): Scenario => ({
  name,
  app: { kind, isShared },
  processes: isShared ? 2 : 1,
  prepare: async (run) => {
    const observed = observer(run)
    const begin: Begin = (index, name, at, effect) => {
      const process = run.processes[index]
      if (process === undefined) throw new Error("there is no such process")
      return {
        at,
        begin: (): Operation => process.begin(name, name === "revoke" ? revokeLimit : limit, effect(process))
      }
    }
    const steps = await prepare(run, observed, begin)
    return { steps, check: observed.check }
  }
})

type Begin = (
  process: number,
  name: string,
  at: number,
  effect: (process: Process) => Effect.Effect<unknown, unknown, Services>
) => Prepared["steps"][number]

const remove = Effect.flatMap(manager, ({ remove }) => remove("app"))
const removeAll = Effect.flatMap(manager, ({ removeAll }) => removeAll("app"))
const revoke = Effect.flatMap(manager, ({ revoke }) => revoke("app"))

export const machineScenarios: ReadonlyArray<Scenario> = [
  scenario("machine-get", alone, (_, { get }, begin) => [
    begin(0, "get", 0, get),
    begin(0, "get", 1, get),
    begin(0, "get of a tenant", 1, (process) => get(process, "one"))
  ]),
  scenario("machine-renew", alone, async (_, { renew, warm }, begin) => {
    const rejected = await warm()
    return [
      begin(0, "renew", 0, (process) => renew(process, () => rejected)),
      begin(0, "renew", 1, (process) => renew(process, () => rejected))
    ]
  }),
  scenario("machine-remove", alone, async (_, { get, removal, warm }, begin) => {
    await warm()
    return [
      begin(0, "remove", 0, (process) => removal(process, remove)),
      begin(0, "get", 1, get),
      begin(0, "remove", 3, (process) => removal(process, remove)),
      begin(0, "get", 5, get)
    ]
  }),
  scenario("machine-force", alone, async ({ world }, { force, get, warm }, begin) => {
    await warm()
    await world.advance(93_000)
    return [
      begin(0, "get", 0, get),
      begin(0, "forced get", 1, force),
      begin(0, "get", 20, get),
      begin(0, "get", 1000, get)
    ]
  }),
  scenario("shared-get", shared, (_, { get }, begin) => [
    begin(0, "get", 0, get),
    begin(1, "get", 1, get),
    begin(1, "get of a tenant", 1, (process) => get(process, "one"))
  ]),
  scenario("shared-renew", shared, async (_, { renew, warm }, begin) => {
    const rejected = await warm()
    return [
      begin(0, "renew", 0, (process) => renew(process, () => rejected)),
      begin(1, "renew", 0, (process) => renew(process, () => rejected))
    ]
  }),
  scenario("shared-force", shared, async (_, { force, get, warm }, begin) => {
    await warm()
    return [begin(0, "forced get", 0, force), begin(1, "forced get", 1, force), begin(0, "get", 12, get)]
  }),
  scenario("shared-ahead", shared, async ({ world }, { get, warm }, begin) => {
    await warm()
    await world.advance(85_000)
    return [begin(0, "get", 0, get), begin(1, "get", 1, get), begin(0, "get", 10, get)]
  }),
  scenario("shared-expiring", shared, async ({ world }, { get, warm }, begin) => {
    await warm()
    await world.advance(93_000)
    return [begin(0, "get", 0, get), begin(1, "get", 1, get)]
  }),
  scenario("shared-remove", shared, (_, { get, removal }, begin) => [
    begin(0, "get", 0, get),
    begin(0, "remove", 5, (process) => removal(process, remove)),
    begin(1, "get", 6, get)
  ]),
  scenario("shared-remove-elsewhere", shared, (_, { get, removal }, begin) => [
    begin(0, "get", 0, get),
    begin(1, "remove", 5, (process) => removal(process, remove))
  ]),
  scenario("shared-remove-all", shared, async (_, { get, removal, warm }, begin) => {
    await warm()
    return [
      begin(0, "removeAll", 0, (process) => removal(process, removeAll)),
      begin(0, "get", 1, get),
      begin(1, "removeAll", 5, (process) => removal(process, removeAll)),
      begin(1, "get", 9, get)
    ]
  }),
  scenario("shared-revoke", shared, async ({ world }, { get, removal, warm }, begin) => {
    await warm()
    await world.advance(85_000)
    return [
      begin(0, "get", 0, get),
      begin(0, "revoke", 2, (process) => removal(process, revoke)),
      begin(1, "get", 12, get)
    ]
  })
]
