/**
 * One simulated process: a set of Layers with a memory, a clock and a scheduler of its own, over the store and the server that
 * all of them share.
 */
import {
  type ClientCredentialsTokenManager,
  OAuth,
  type TokenCache,
  TokenClients,
  type TokenEndpoint,
  TokenStore
} from "@effect-oauth/core"
import {
  CurrentUser,
  type IdToken,
  LoginStateStore,
  Oidc,
  OidcClients,
  type OidcError,
  Sessions,
  SessionStore
} from "@effect-oauth/oidc"
import { HttpApp, HttpClient, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import {
  Cause,
  type Context,
  Effect,
  Exit,
  Fiber,
  FiberId,
  FiberRef,
  HashSet,
  Layer,
  Logger,
  Random,
  Redacted,
  Runtime,
  Scope
} from "effect"
import type { Browser } from "../support/browser.ts"
import { issuer, type ScriptedServer } from "./scriptedServer.ts"
import type { ScriptedStore } from "./scriptedStore.ts"
import * as StandIns from "./standIns.ts"
import { Fibers, ProcessClock, ProcessScheduler } from "./virtualClock.ts"
import type { Host, World } from "./world.ts"

export type Services =
  | Oidc.Services
  | OidcClients.OidcClients
  | TokenClients.TokenClients
  | ClientCredentialsTokenManager.ClientCredentialsTokenManager
  | TokenCache.TokenCache
  | TokenEndpoint.TokenEndpoint
  | IdToken.IdTokenVerifier

/**
 * - `machine`: tokens of the program's own. `cookies`, `server`: a web app with sessions of this kind. `named`: a program
 *   without a browser.
 * - `isShared`: whether the processes share a `TokenStore`.
 */
export interface App {
  readonly kind: "machine" | "cookies" | "server" | "named"
  readonly isShared: boolean
  readonly storesLogins?: boolean | undefined
}

export interface Shared {
  readonly world: World
  readonly store: ScriptedStore
  readonly server: ScriptedServer
  readonly seed: number
}

export const clientId = "app"
const clientSecret = Redacted.make("the-secret-of-the-app")

const storeOf = (app: App, driver: TokenStore.Driver): Layer.Layer<never> =>
  app.isShared ? (Layer.scoped(TokenStore.TokenStore, TokenStore.make(driver)) as Layer.Layer<never>) : Layer.empty

const machine = OAuth.layer.pipe(
  Layer.provideMerge(TokenClients.layer({
    app: { tokenEndpoint: `${issuer}/token`, revocationEndpoint: `${issuer}/revoke`, clientId, clientSecret },
    other: {
      tokenEndpoint: `${issuer}/token`,
      revocationEndpoint: `${issuer}/revoke`,
      clientId: "other",
      clientSecret
    }
  }))
)

const clients = OidcClients.layer({ web: { issuer, clientId, clientSecret } })

const optional = (app: App): Layer.Layer<never> => {
  const sessions = app.isShared ? SessionStore.layer : SessionStore.layerMemory
  const stored = app.kind === "cookies" ? Layer.empty : sessions
  return Layer.merge(stored, app.storesLogins === true ? LoginStateStore.layerStored : Layer.empty) as Layer.Layer<
    never
  >
}

const layerOf = (app: App, base: Layer.Layer<any>): Layer.Layer<Services, unknown> => {
  const below = Layer.provideMerge(optional(app), base)
  const users =
    (app.kind === "named" ? Oidc.layerStored() : Oidc.layer({ publicUrl: "https://app.test" })) as Layer.Layer<
      Services,
      unknown,
      Oidc.Requirements
    >
  const services = app.kind === "machine"
    ? machine
    : users.pipe(Layer.provideMerge(OAuth.layer), Layer.provideMerge(clients))
  return Layer.provideMerge(services as Layer.Layer<Services, unknown>, below)
}

export interface Operation {
  readonly name: string
  readonly process: Process
  /** How long it may take, in milliseconds. */
  readonly limit: number
  readonly startedAt: number
  readonly fiber: Fiber.RuntimeFiber<unknown, unknown>
  endedAt: number | undefined
  exit: Exit.Exit<unknown, unknown> | undefined
  wasInterrupted: boolean
}

export class Process implements Host {
  readonly scheduler = new ProcessScheduler()
  readonly clock: ProcessClock
  readonly fibers = new Fibers()
  readonly operations: Array<Operation> = []
  readonly #runtime: Runtime.Runtime<never>
  readonly #scope: Scope.CloseableScope
  #context: Context.Context<Services> | undefined
  #closing: Fiber.RuntimeFiber<unknown, unknown> | undefined
  isKilled = false
  /** Its Layers were closed by the schedule. */
  hasEndedEarly = false
  points = 0
  readonly pending = new Set<() => void>()
  /** What runs while nothing is done. */
  baseline = { fibers: 0, sleeping: 0 }

  constructor(readonly name: string, readonly app: App, readonly shared: Shared) {
    const { seed, world } = shared
    this.clock = new ProcessClock(world.timeline, this.scheduler)
    world.hosts.push(this)
    const logger = Logger.make(({ message }) => world.log(() => `${name} log: ${String(message)}`))
    this.#runtime = Effect.runSync(
      Effect.runtime<never>().pipe(
        Effect.supervised(this.fibers),
        Effect.withClock(this.clock),
        Effect.withRandom(Random.make(`${seed}:${name}`)),
        Effect.locally(FiberRef.currentLoggers, HashSet.make(logger)),
        Effect.withTracerEnabled(false),
        Effect.withScheduler(this.scheduler)
      )
    )
    this.#scope = Effect.runSync(Scope.make())
  }

  get isClosed(): boolean {
    return this.#closing !== undefined
  }

  get hasClosed(): boolean {
    return this.#closing?.unsafePoll() !== null && this.isClosed
  }

  get isBusy(): boolean {
    return !this.isKilled && this.operations.some(({ endedAt }) => endedAt === undefined)
  }

  get isAlive(): boolean {
    return !this.isKilled && !this.isClosed
  }

  fork<A, E>(effect: Effect.Effect<A, E, Services>): Fiber.RuntimeFiber<A, E> {
    const provided = this.#context === undefined ? effect : Effect.provide(effect, this.#context)
    return Runtime.runFork(this.#runtime)(provided as Effect.Effect<A, E>)
  }

  /** Builds its Layers. */
  async start(): Promise<void> {
    const { server, store, world } = this.shared
    const base = Layer.mergeAll(
      StandIns.layer(`${this.shared.seed}:${this.name}`, this.clock),
      Layer.succeed(HttpClient.HttpClient, server.for(this)),
      storeOf(this.app, store.for(this))
    )
    const built = this.fork(Layer.buildWithScope(layerOf(this.app, base), this.#scope))
    await world.run(() => built.unsafePoll() !== null, world.now + 1000)
    const exit = built.unsafePoll()
    if (exit === null || Exit.isFailure(exit)) {
      throw new Error(`the Layers of ${this.name} were not built: ${exit === null ? "" : Cause.pretty(exit.cause)}`)
    }
    this.#context = exit.value
    await this.rest()
  }

  /** From now on, what runs is what runs while nothing is done. */
  async rest(): Promise<void> {
    await this.shared.world.advance(10)
    this.baseline = { fibers: this.fibers.live.size, sleeping: this.clock.sleeping }
  }

  /** Begins an operation of a scenario. */
  begin<A, E>(name: string, limit: number, effect: Effect.Effect<A, E, Services>): Operation {
    const { world } = this.shared
    world.log(() => `${this.name} begins: ${name}`)
    const fiber = this.fork(effect)
    const operation: Operation = {
      name,
      process: this,
      limit,
      startedAt: world.now,
      fiber,
      endedAt: undefined,
      exit: undefined,
      wasInterrupted: false
    }
    this.operations.push(operation)
    fiber.addObserver((exit) => {
      operation.exit = exit
      operation.endedAt = world.now
      world.log(() => `${this.name} ends: ${name}: ${shown(exit)}`)
    })
    return operation
  }

  interrupt(): void {
    const operation = this.operations.find(({ endedAt }) => endedAt === undefined)
    if (operation === undefined) return
    operation.wasInterrupted = true
    operation.fiber.unsafeInterruptAsFork(FiberId.none)
  }

  close(): void {
    if (this.isKilled || this.isClosed) return
    this.hasEndedEarly = this.shared.world.isExploring
    this.#closing = Runtime.runFork(this.#runtime)(Scope.close(this.#scope, Exit.void))
  }

  kill(): void {
    this.isKilled = true
    this.scheduler.stop()
    for (const operation of this.operations) operation.endedAt ??= this.shared.world.now
  }

  /** Lets go of what is left of a process that was killed: the runtime knows every fiber that has not ended. */
  bury(): void {
    this.scheduler.isStopped = false
    this.scheduler.isBuried = true
    for (const fiber of [...this.fibers.live]) fiber.unsafeInterruptAsFork(FiberId.none)
    for (let rounds = 0; rounds < 3; rounds++) {
      for (const breakOff of this.pending) breakOff()
      this.clock.wakeAll()
      this.scheduler.drain()
    }
    this.scheduler.stop()
  }

  /** Runs an effect to its end, without faults. */
  async complete<A, E>(effect: Effect.Effect<A, E, Services>, limit: number): Promise<Exit.Exit<A, E> | undefined> {
    const { world } = this.shared
    const fiber = this.fork(effect)
    await world.run(() => fiber.unsafePoll() !== null, world.now + limit)
    return fiber.unsafePoll() ?? undefined
  }
}

export const shown = (exit: Exit.Exit<unknown, unknown> | undefined): string => {
  if (exit === undefined) return "it did not end"
  if (Exit.isSuccess(exit)) {
    const { value } = exit
    return typeof value === "string" ? value : "ok"
  }
  return Cause.isInterruptedOnly(exit.cause) ? "interrupted" : Cause.pretty(exit.cause).split("\n")[0] ?? ""
}

const ok = HttpServerResponse.empty()

/** One request of a browser, which keeps what the response sets. It has no response if it is interrupted. */
export const visit = <A, E, R>(
  browser: Browser,
  handler: (user: CurrentUser.CurrentUser["Type"]) => Effect.Effect<A, E, R>
): Effect.Effect<
  A,
  E | OidcError.SessionStoreError,
  Exclude<Exclude<R, CurrentUser.CurrentUser>, HttpServerRequest.HttpServerRequest> | Sessions.Sessions
> =>
  Effect.suspend(() => {
    let exit: Exit.Exit<A, E | OidcError.SessionStoreError> = Exit.die("no response")
    const request = HttpServerRequest.fromWeb(
      new Request("https://app.test/", {
        headers: {
          host: "app.test",
          "x-forwarded-proto": "https",
          ...(browser.header === "" ? {} : { cookie: browser.header })
        }
      })
    )
    const app = Effect.flatMap(Sessions.Sessions, ({ open }) =>
      Effect.flatMap(open, (session) => {
        const user = CurrentUser.ofSession(session)
        return Effect.provideService(Effect.interruptible(handler(user)), CurrentUser.CurrentUser, user)
      })).pipe(
        Effect.onExit((result) =>
          Effect.sync(() => {
            exit = result
          })
        ),
        Effect.exit,
        Effect.as(ok)
      )
    const handled = HttpApp.toHandled(app, (_, response) => Effect.sync(() => browser.keep(response)))
    return handled.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, request),
      // A fiber of its own, since the handlers of a request stay with its fiber.
      Effect.forkDaemon,
      Effect.flatMap((fiber) => Effect.onInterrupt(Fiber.await(fiber), () => Fiber.interrupt(fiber))),
      Effect.flatten,
      Effect.flatMap(() => exit)
    )
  }) as Effect.Effect<
    A,
    E | OidcError.SessionStoreError,
    Exclude<Exclude<R, CurrentUser.CurrentUser>, HttpServerRequest.HttpServerRequest> | Sessions.Sessions
  >
