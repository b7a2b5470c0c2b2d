/**
 * Connections to Redis that fail soon instead of hanging, and errors that show neither keys nor values nor passwords.
 */
import { TokenStoreError } from "@effect-oauth/core/OAuthError"
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { type Cluster, Command, type Redis, type RedisOptions } from "ioredis"
import { randomInt } from "node:crypto"
import type { Script } from "./redisScripts.ts"

/** @internal */
export type Client = Redis | Cluster

/** @internal */
export const failure = (operation: string, problem: string): TokenStoreError =>
  new TokenStoreError({ store: "redis", operation, problem })

/** Of what fails in a script, some Redis say the code within `ERR Error running script …`, some none if it is not allowed. */
const redisCode = (message: string): string => {
  if (/^ERR The user executing the script can't/.test(message)) return "NOPERM"
  const inside = /-([A-Z]{2,20}) /.exec(message)?.[1]
  const code = /^([A-Z]{2,20}) /.exec(message)?.[1]
  return (code === "ERR" ? inside : undefined) ?? code ?? "an error"
}

const answered = (code: string): string => `Redis answered ${code}`

/** @internal What lies under the key was not written by a store. */
export const isWrongType = ({ problem }: TokenStoreError): boolean => problem === answered("WRONGTYPE")

const systemCode = (error: object): string | undefined =>
  "code" in error && typeof error.code === "string" && /^[A-Z0-9_]{2,60}$/.test(error.code) ? error.code : undefined

const lost = "there is no connection"

/** @internal An error of ioredis holds the command with its arguments, so nothing of it goes on but a code. */
export const problemOf = (error: unknown): string => {
  if (!(error instanceof Error)) return "the client failed"
  if (error.name === "ReplyError") return answered(redisCode(error.message))
  const replied = /^Ready check failed: ([A-Z]{2,20}) /.exec(error.message)?.[1]
  if (replied !== undefined) return `Redis answered ${replied}`
  if (error.message === "Command timed out") return "no answer in time"
  const code = systemCode(error)
  return code === undefined ? lost : `the connection failed (${code})`
}

/** @internal Soon at first, and so that a fleet does not come back in step. In milliseconds. */
export const pauseBefore = (attempt: number): number =>
  Math.round(Math.min(25 * 2 ** Math.min(attempt, 10), 2000) * randomInt(75, 126) / 100)

/** @internal */
export interface Limits {
  readonly commandTimeout: Duration.Duration
  readonly connectTimeout: Duration.Duration
}

const millis = (duration: Duration.Duration): number =>
  Math.min(Math.max(1, Math.ceil(Duration.toMillis(duration))), 2 ** 31 - 1)

/**
 * @internal What every connection of our own has. A command that waits for a connection, or is sent again with the next one,
 * would be carried out after its caller was told that it failed.
 */
export const ownOptions = ({ commandTimeout, connectTimeout }: Limits) => ({
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  autoResubscribe: false,
  enableReadyCheck: true,
  maxLoadingRetryTime: 1000,
  disableClientInfo: true,
  connectTimeout: millis(connectTimeout),
  commandTimeout: millis(commandTimeout),
  // A server that is gone without a word: two unanswered commands, and there will be another connection.
  socketTimeout: 2 * millis(commandTimeout),
  disconnectTimeout: 500
} satisfies RedisOptions & { readonly disconnectTimeout: number })

/** @internal A server that has become a replica: the name may lead to the new primary by now. */
export const reconnectOnError = (error: Error): boolean => error.message.includes("READONLY")

/** @internal */
export interface Connection {
  readonly client: Client
  /** Fails within the timeout of commands, and while there is no connection at once. */
  readonly run: (
    operation: string,
    command: string,
    ...args: ReadonlyArray<string>
  ) => Effect.Effect<unknown, TokenStoreError>
  readonly eval: (
    operation: string,
    script: Script,
    ...args: ReadonlyArray<string>
  ) => Effect.Effect<unknown, TokenStoreError>
  /** Sends it if that is possible now, and does not look at what becomes of it. */
  readonly post: (script: Script, ...args: ReadonlyArray<string>) => Effect.Effect<void>
  /** Waits for the attempt that is under way; fails with the problem while attempts fail. */
  readonly ready: Effect.Effect<void, string>
}

const ignore = (): void => {}

/** Follows whether there is a connection, by the events of a client. */
const watch = (client: Client, tell: (problem: string | undefined) => void) =>
  Effect.gen(function*() {
    const waiting = new Set<(outcome: Effect.Effect<void, string>) => void>()
    let problem = lost
    let connected = client.status === "ready"
    let failing = false

    const settle = (outcome: Effect.Effect<void, string>) => {
      for (const resume of waiting) resume(outcome)
      waiting.clear()
    }
    const onReady = () => {
      if (failing) tell(undefined)
      connected = true
      failing = false
      problem = lost
      settle(Effect.void)
    }
    const onClose = () => {
      // The end of a connection: the next attempt decides.
      if (connected) return void (connected = false)
      if (!failing) tell(problem)
      failing = true
      settle(Effect.fail(problem))
    }
    const onError = (error: unknown) => {
      problem = problemOf(error)
    }
    const listeners = [["ready", onReady], ["close", onClose], ["end", onClose]] as const
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        for (const [event, listener] of listeners) client.on(event, listener)
      }),
      () =>
        Effect.sync(() => {
          for (const [event, listener] of listeners) client.off(event, listener)
        })
    )

    const ready = Effect.async<void, string>((resume) => {
      if (client.status === "ready") return resume(Effect.void)
      if (client.status === "wait") client.connect().catch(ignore)
      else if (failing || client.status === "end") return resume(Effect.fail(problem))
      waiting.add(resume)
      return Effect.sync(() => waiting.delete(resume))
    })
    return { ready, onError }
  })

/**
 * A command that the store gives up is sent as a PING from then on: whatever queue of the client it waits in, and however
 * often the client repeats it, it is not carried out after the store has said that it failed.
 */
class StoreCommand extends Command {
  isGivenUp = false

  override toWritable(socket: object): string | Buffer {
    return this.isGivenUp ? "*1\r\n$4\r\nPING\r\n" : super.toWritable(socket)
  }
}

const dispatch = (client: Client, name: string, args: ReadonlyArray<string>) => {
  const { keyPrefix } = client.options
  const command = new StoreCommand(name, [...args], {
    replyEncoding: "utf8",
    ...keyPrefix === undefined ? {} : { keyPrefix }
  })
  return { command, reply: Promise.resolve(client.sendCommand(command)) }
}

/** Nothing of the client's own error, which holds the command. */
class CommandFailed extends Data.TaggedError("CommandFailed")<{
  readonly problem: string
  readonly isUnknownScript: boolean
}> {}

const isUnknownScript = (error: unknown): boolean => error instanceof Error && error.message.startsWith("NOSCRIPT")

const send = (client: Client, name: string, args: ReadonlyArray<string>): Effect.Effect<unknown, CommandFailed> =>
  Effect.async((resume) => {
    const { command, reply } = dispatch(client, name, args)
    reply.then(
      (value) => resume(Effect.succeed(value)),
      (error) => resume(new CommandFailed({ problem: problemOf(error), isUnknownScript: isUnknownScript(error) }))
    )
    return Effect.sync(() => {
      command.isGivenUp = true
    })
  })

/** By its hash; whole where the server does not know it, as after a restart. */
const evaluate = (client: Client, { keys, lua, sha }: Script, args: ReadonlyArray<string>) =>
  Effect.catchIf(
    send(client, "evalsha", [sha, `${keys}`, ...args]),
    (error) => error.isUnknownScript,
    () => send(client, "eval", [lua, `${keys}`, ...args])
  )

/** @internal Commands over a client, which stays its owner's. `own`: whether its errors are ours to listen to. */
export const make = (
  client: Client,
  { limits: { commandTimeout }, own }: { readonly limits: Limits; readonly own: boolean }
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function*() {
    const log = yield* OAuthLogging.make
    const fork = yield* FiberSet.makeRuntime<never>()
    const { onError, ready } = yield* watch(client, (problem) => {
      fork(
        problem === undefined
          ? log.info(undefined, "the token store has its connection to Redis again")
          : log.warning(undefined, `${failure("connect", problem).message}; it goes on trying`)
      )
    })
    // Without a listener ioredis prints errors, with their commands; the listeners of another's client are its owner's.
    if (own) client.on("error", onError)

    const run = (
      operation: string,
      command: Effect.Effect<unknown, CommandFailed>
    ): Effect.Effect<unknown, TokenStoreError> => {
      const sent = Effect.mapError(command, ({ problem }) => failure(operation, problem))
      return Effect.suspend(() =>
        client.status === "ready"
          ? sent
          : Effect.zipRight(Effect.mapError(ready, (problem) => failure(operation, problem)), sent)
      ).pipe(
        Effect.timeoutFail({ duration: commandTimeout, onTimeout: () => failure(operation, "no answer in time") })
      )
    }

    return {
      client,
      ready,
      run: (operation, name, ...args) => run(operation, send(client, name, args)),
      eval: (operation, script, ...args) => run(operation, evaluate(client, script, args)),
      post: ({ keys, lua, sha }, ...args) =>
        Effect.sync(() => {
          if (client.status !== "ready") return
          const whole = (error: unknown) =>
            isUnknownScript(error) ? dispatch(client, "eval", [lua, `${keys}`, ...args]).reply : undefined
          dispatch(client, "evalsha", [sha, `${keys}`, ...args]).reply.catch(whole).catch(ignore)
        })
    }
  })
