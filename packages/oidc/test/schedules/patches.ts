/** Deliberate bugs. The explorer has to find each of them by the schedules with one fault of one scenario. */

export interface Patch {
  readonly file: string
  /** Is there once. */
  readonly find: string
  readonly replace: string
}

export interface Bug {
  readonly name: string
  readonly scenario: string
  /** That it is found by. */
  readonly invariant: string
  readonly patches: ReadonlyArray<Patch>
}

const cache = "packages/core/src/internal/cache"
const oidc = "packages/oidc/src"

const twice = "no token or code is presented twice"
const lost = "a session is lost only if the server's answer was"
const older = "no newer token is replaced by an older one"
const removed = "what was removed stays so"

export const bugs: ReadonlyArray<Bug> = [
  {
    name: "a refresh token is presented without being announced",
    scenario: "server-shared-refresh",
    invariant: twice,
    patches: [{
      file: `${oidc}/internal/refresh/refresh.ts`,
      find: "const presentation = yield* present(refreshToken)",
      replace: "const presentation: Presentation = noPresentation"
    }]
  },
  {
    name: "what the store does not take is not kept",
    scenario: "server-shared-two-users",
    invariant: "",
    patches: [{
      file: `${oidc}/internal/refresh/refresh.ts`,
      find: `return Effect.catchTag(writing, "SessionStoreError", () => keep)`,
      replace: `return Effect.catchTag(writing, "SessionStoreError", () => Effect.as(settle, kept.tokens))`
    }]
  },
  {
    name: "a refresh is interrupted with the request that began it",
    scenario: "server-unknown-key",
    invariant: lost,
    patches: [{
      file: `${oidc}/internal/refresh/voyages.ts`,
      find: "background: true, isKept: true",
      replace: "background: false"
    }]
  },
  {
    name: "a session is written without a comparison of its version",
    scenario: "server-shared-end",
    invariant: removed,
    patches: [{
      file: `${oidc}/SessionStore.ts`,
      find: "{ ifVersion, timeToLive, tags:",
      replace: "{ ifVersion: ifVersion === null ? null : undefined, timeToLive, tags:"
    }]
  },
  {
    name: "remove does not raise the epoch",
    scenario: "machine-remove",
    invariant: removed,
    patches: [{
      file: "packages/core/src/TokenCache.ts",
      find: "slot.epoch++",
      replace: "slot.epoch"
    }]
  },
  {
    name: "an older answer replaces a newer token",
    scenario: "machine-force",
    invariant: older,
    patches: [{
      file: `${cache}/acquisitions.ts`,
      find: "const isNewest = slot.held === undefined || slot.held.number < flight.number",
      replace: "const isNewest = true"
    }]
  },
  {
    name: "the rotation of a cookie is not shared",
    scenario: "cookies-shared-refresh",
    invariant: "",
    patches: [{
      file: `${oidc}/internal/session/sharedRotations.ts`,
      find: "set: put,",
      replace: `set: () => Effect.succeedSome("1"),`
    }]
  },
  {
    name: "a session ends without an event",
    scenario: "server-shared-watched",
    invariant: "whoever waits",
    patches: [{
      file: `${oidc}/SessionStore.ts`,
      find: `case "Removed":\n      return Option.map(`,
      replace: `case "Removed":\n      return Option.none() ?? Option.map(`
    }]
  },
  {
    name: "a login is taken although another process has taken it",
    scenario: "stored-login",
    invariant: twice,
    patches: [{
      file: `${oidc}/LoginStateStore.ts`,
      find: "if (Option.isNone(stored) || !isTaken) return Option.none()",
      replace: "if (Option.isNone(stored)) return Option.none()"
    }]
  },
  {
    name: "a lock is not given back when its holder is interrupted",
    scenario: "shared-get",
    invariant: "nothing is left",
    patches: [{
      file: "packages/core/src/internal/store/lease.ts",
      find: "(fence) => Option.isNone(fence) ? Effect.void : release",
      replace: `(fence, exit) => Option.isNone(fence) || exit._tag === "Failure" ? Effect.void : release`
    }]
  },
  {
    name: "a refusal for good is forgotten",
    scenario: "server-shared-refused",
    invariant: twice,
    patches: [{
      file: `${oidc}/internal/refresh/refresh.ts`,
      find: "refusals.add(subject, { verdict, error }, later)",
      replace: ""
    }, {
      file: `${oidc}/internal/refresh/refresh.ts`,
      find: `yield* presentation.settle(verdict === "Dead" ? "used" : "unused")`,
      replace: `yield* presentation.settle("unused")`
    }]
  },
  {
    name: "a store that fails is no reason not to refresh",
    scenario: "cookies-shared-refresh",
    invariant: "",
    patches: [{
      file: `${oidc}/TokenConcurrency.ts`,
      find: `return whenStoreFails === "proceed" ? effect : turn.left`,
      replace: `return whenStoreFails === "proceed" || key !== "" ? effect : turn.left`
    }, {
      file: `${oidc}/TokenConcurrency.ts`,
      find: `present: whenStoreFails === "proceed"`,
      replace: `present: whenStoreFails === "proceed" || wait !== ""`
    }]
  },
  {
    name: "two programs that adopt at once do not exclude each other",
    scenario: "adopt-twice",
    invariant: twice,
    patches: [{
      file: `${oidc}/StoredSession.ts`,
      find: "const { present, serialised } = yield* TokenConcurrency",
      replace: "const present: any = undefined\n    const serialised = (_: string, effect: any) => effect"
    }]
  }
]
