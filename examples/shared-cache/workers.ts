/** Worker processes: how they are started, and how they tell what has become of their calls. */
import { ClientCredentialsTokenManager, OAuthMetrics } from "@effect-oauth/core"
import { Data, Effect, Exit, Metric, Redacted, Runtime, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"

/** What a worker tells after its calls. The token is for comparing, and for looking for it in the store; nobody prints it. */
export interface Told {
  readonly ok: boolean
  readonly askedServer: boolean
  readonly token: string
}

export class WorkerLost extends Data.TaggedError("WorkerLost")<{ readonly message: string }> {}

export interface Worker {
  readonly name: string
  /** So many at once. */
  readonly calls: (count: number) => Effect.Effect<Told, WorkerLost>
  /** Without a word to it. */
  readonly kill: Effect.Effect<void>
  readonly end: Effect.Effect<void>
}

const report = <E, R>(work: Effect.Effect<void, E, R>) =>
  Effect.gen(function*() {
    const before = yield* Metric.value(OAuthMetrics.retrieved)
    const ok = Exit.isSuccess(yield* Effect.exit(work))
    const after = yield* Metric.value(OAuthMetrics.retrieved)
    const token = yield* Effect.option(ClientCredentialsTokenManager.get("invoice.client"))
    return {
      ok,
      askedServer: after.count > before.count,
      token: token._tag === "Some" ? Redacted.value(token.value.value) : ""
    } satisfies Told
  })

/** In a worker process: makes calls when it is told to, until its parent lets it go. */
export const serve = <E, R>(calls: (count: number) => Effect.Effect<void, E, R>) =>
  Effect.gen(function*() {
    const run = Runtime.runPromise(
      yield* Effect.runtime<R | ClientCredentialsTokenManager.ClientCredentialsTokenManager>()
    )
    yield* Effect.async<void>((resume) => {
      process.on("message", (count: number) => void run(report(calls(count))).then((told) => process.send?.(told)))
      process.on("disconnect", () => resume(Effect.void))
      process.send?.("ready")
    })
  })

const next = (child: ChildProcess, name: string): Effect.Effect<unknown, WorkerLost> =>
  Effect.async((resume) => {
    const onMessage = (message: unknown) => {
      child.off("exit", onExit)
      resume(Effect.succeed(message))
    }
    const onExit = () => {
      child.off("message", onMessage)
      resume(new WorkerLost({ message: `${name} has ended` }))
    }
    child.once("message", onMessage)
    child.once("exit", onExit)
  })

const exited = (child: ChildProcess, ask: () => void) =>
  Effect.async<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    ask()
  })

/** A process that runs `main.ts` with these variables; comes back when it is ready. */
export const start = (
  name: string,
  variables: Readonly<Record<string, string>>
): Effect.Effect<Worker, WorkerLost, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(fileURLToPath(new URL("main.ts", import.meta.url)), [], {
          execPath: process.execPath,
          execArgv: ["--conditions=@effect-oauth/source", "--import", "tsx"],
          env: variables
        })
      ),
      (child) => exited(child, () => child.kill("SIGKILL"))
    )
    yield* next(child, name)
    return {
      name,
      calls: (count) =>
        Effect.suspend(() => {
          child.send(count)
          return Effect.map(next(child, name), (told) => told as Told)
        }),
      kill: exited(child, () => child.kill("SIGKILL")),
      end: exited(child, () => child.disconnect())
    }
  })
