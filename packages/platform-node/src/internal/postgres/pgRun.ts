/**
 * Sending a statement of the store's own, and what can be said of one that failed.
 */
import { TokenStoreError } from "@effect-oauth/core/OAuthError"
import type * as PgClient from "@effect/sql-pg/PgClient"
import { TransactionConnection } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

type Rows = ReadonlyArray<ReadonlyArray<unknown>>

/** @internal */
export interface Run {
  (operation: string, statement: string, parameters: ReadonlyArray<unknown>): Effect.Effect<Rows, TokenStoreError>
}

/** @internal */
export const error = (operation: string, problem: string): TokenStoreError =>
  new TokenStoreError({ store: "postgres", operation, problem })

/** Of an error only this is shown: all else in it may hold keys and values. */
const codeOf = ({ cause }: SqlError): string => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  return typeof code === "string" && /^[A-Z0-9_]{1,40}$/.test(code) ? code : ""
}

/** Unlike the codes of Node (`EPIPE`), those of Postgres all have a digit. */
const isSqlState = (code: string): boolean => /^(?=.*[0-9])[0-9A-Z]{5}$/.test(code)

const known: { readonly [code: string]: string } = {
  "42P01": "the tables are missing, their migration has not been run (SQLSTATE 42P01)",
  "42501": "the user of the database lacks a privilege (SQLSTATE 42501)",
  "25006": "the database is read-only (SQLSTATE 25006)"
}

const problemOf = (sqlError: SqlError): string => {
  const code = codeOf(sqlError)
  if (isSqlState(code)) return known[code] ?? `Postgres refused the statement (SQLSTATE ${code})`
  return code === "" ? "there is no connection" : `there is no connection (${code})`
}

/** Undone by Postgres because of others that ran at the same time. */
const isPassing = (sqlError: SqlError): boolean => ["40001", "40P01"].includes(codeOf(sqlError))

/** Nothing has been done, so it can be done again; for a second, since others do the same. */
const again = Schedule.intersect(Schedule.jittered(Schedule.exponential("2 millis", 1.5)), Schedule.recurs(12))

// A store's step is not part of a transaction that its caller has open on the same client: it would be undone with it, and
// others would wait for it.
const outsideTransactions = Effect.mapInputContext((context: Context.Context<never>) =>
  Context.omit(TransactionConnection)(context as Context.Context<TransactionConnection>) as Context.Context<never>
)

/** @internal */
export const make = (sql: PgClient.PgClient, timeout: Duration.Duration): Run => (operation, statement, parameters) =>
  outsideTransactions(sql.unsafe(statement, parameters).values).pipe(
    Effect.retry({ schedule: again, while: isPassing }),
    // Giving up takes PgClient up to 5 seconds when Postgres does not answer; nobody has to wait for that.
    Effect.disconnect,
    // Also where the caller cannot be interrupted, the end of the time is the end.
    Effect.interruptible,
    Effect.mapError((sqlError) => error(operation, problemOf(sqlError))),
    Effect.catchAllDefect(() => error(operation, "the client failed")),
    Effect.timeoutFail({ duration: timeout, onTimeout: () => error(operation, "there was no answer in time") })
  )
