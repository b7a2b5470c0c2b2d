/** Worker processes, as a test sees them. */
import { Data, Deferred, Effect, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import type { Calls, Command, Commands, Get, Outcome, Reply, Request, Settings } from "./protocol.ts"

export class WorkerFailed extends Data.TaggedError("WorkerFailed")<{ readonly message: string }> {}

/** One stack of services in a worker process. */
export interface Stack {
  readonly get: (get?: Get) => Effect.Effect<Outcome, WorkerFailed>
  readonly api: (calls: Calls) => Effect.Effect<Outcome, WorkerFailed>
  readonly log: Effect.Effect<ReadonlyArray<string>, WorkerFailed>
  readonly close: Effect.Effect<void, WorkerFailed>
}

export interface Worker {
  readonly open: (settings: Settings) => Effect.Effect<Stack, WorkerFailed>
  readonly signal: (signal: "SIGKILL" | "SIGSTOP" | "SIGCONT") => Effect.Effect<void>
  /** Closes what is open. The process is expected to end then by itself, with this code. */
  readonly end: Effect.Effect<number | null, WorkerFailed>
}

const folder = fileURLToPath(new URL(".", import.meta.url))

const spawn = (file: string, flags: ReadonlyArray<string>, args: ReadonlyArray<string>): ChildProcess =>
  fork(`${folder}${file}`, args, {
    cwd: folder,
    execPath: process.execPath,
    execArgv: ["--import", "tsx", "--conditions=@effect-oauth/source", ...flags],
    stdio: ["ignore", "inherit", "inherit", "ipc"]
  })

/** A process that is killed when the scope ends. */
export const launch = (
  file: string,
  flags: ReadonlyArray<string> = [],
  args: ReadonlyArray<string> = []
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => spawn(file, flags, args)),
    (child) =>
      Effect.async<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )

/** Starts one; it need not be waited for, as commands wait until it is there. */
export const start: Effect.Effect<Worker, never, Scope.Scope> = Effect.gen(function*() {
  const child = yield* launch("worker.ts")
  const exit = yield* Deferred.make<number | null>()
  const waiting = new Map<number, (reply: Reply | undefined) => void>()
  let ids = 0

  child.on("message", (reply: Reply) => {
    waiting.get(reply.id)?.(reply)
    waiting.delete(reply.id)
  })
  child.on("exit", (code) => {
    Deferred.unsafeDone(exit, Effect.succeed(code))
    for (const resume of waiting.values()) resume(undefined)
    waiting.clear()
  })

  const send = <C extends Command>(
    stack: string,
    command: C,
    argument: Commands[C][0]
  ): Effect.Effect<Commands[C][1], WorkerFailed> =>
    Effect.async((resume) => {
      const fail = (message: string) => resume(new WorkerFailed({ message: `${command}: ${message}` }))
      const request: Request = { id: ++ids, stack, command, argument }
      waiting.set(request.id, (reply) => {
        if (reply === undefined) return fail("the process has ended")
        if ("problem" in reply) return fail(reply.problem)
        resume(Effect.succeed(reply.result as Commands[C][1]))
      })
      child.send(request, (error) => error === null ? undefined : fail(error.message))
    })

  return {
    open: (settings) =>
      Effect.suspend(() => {
        const stack = randomUUID()
        return Effect.as(send(stack, "open", settings), {
          get: (get = {}) => send(stack, "get", get),
          api: (calls) => send(stack, "api", calls),
          log: send(stack, "log", undefined),
          close: send(stack, "close", undefined)
        })
      }),
    signal: (signal) => Effect.sync(() => void child.kill(signal)),
    end: Effect.zipRight(send("", "end", undefined), Deferred.await(exit))
  }
})
