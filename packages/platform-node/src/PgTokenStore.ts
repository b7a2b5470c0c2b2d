/**
 * The `TokenStore` in Postgres, over the `PgClient` of `@effect/sql-pg`, which the program provides. It is not part of the
 * package's index, so `@effect/sql` and `@effect/sql-pg` have to be there only where this module is imported.
 *
 * Every step is one statement on its own: times are those of the database, and a transaction that the caller has open on
 * the same client has no part in it. The locks are rows with an end, not advisory locks, which a process that hangs would
 * keep for as long as its connection lives.
 *
 * @since 0.1.0
 */
import type { TokenStoreError } from "@effect-oauth/core/OAuthError"
import * as TokenStore from "@effect-oauth/core/TokenStore"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as PgDriver from "./internal/postgres/pgDriver.ts"
import * as PgEvents from "./internal/postgres/pgEvents.ts"
import * as PgRun from "./internal/postgres/pgRun.ts"
import * as PgSweeper from "./internal/postgres/pgSweeper.ts"
import * as PgTables from "./internal/postgres/pgTables.ts"

/**
 * - `table`: a name, or `schema.name`, of letters, digits, `_` and `$`, case and all. `_locks` and `_fences` are appended for
 *   the table of locks and their sequence. Default `effect_oauth_tokens`.
 * - `migrate`: creates what is missing when the Layer is built. Default `true`. For `false`, see `migration`.
 * - `channel`: by which processes notify each other of events. Default the table's name.
 * - `sweepEvery`: how often expired rows are deleted, give or take half of it, so that processes do not sweep in step.
 *   `Duration.infinity` is never. Default 1 minute.
 * - `timeout`: how long Postgres, or a free connection of the pool, may let a step wait before it fails. Default 5 seconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly table?: string | undefined
  readonly migrate?: boolean | undefined
  readonly channel?: string | undefined
  readonly sweepEvery?: Duration.DurationInput | undefined
  readonly timeout?: Duration.DurationInput | undefined
}

const tablesOf = ({ channel, table = "effect_oauth_tokens" }: Options) =>
  Either.mapLeft(PgTables.tables(table, channel), (problem) => PgRun.error("options", problem))

/**
 * What `migrate` runs, for those who run migrations by other means: statements that create what is not there. They are to
 * run in one transaction. The user of the store then needs `select`, `insert`, `update` and `delete` on both tables and
 * `usage` on the sequence. Fails if `table` cannot be a name.
 *
 * @example
 * ```ts
 * import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
 * import { Either } from "effect"
 *
 * export const sql: string = Either.getOrThrow(PgTokenStore.migration({ table: "auth.tokens" }))
 * ```
 *
 * @since 0.1.0
 * @category migrations
 */
export const migration = (options: Pick<Options, "table"> = {}): Either.Either<string, TokenStoreError> =>
  Either.map(tablesOf(options), PgTables.migration)

/** Others may be at it, and each waits for the one before. */
const migrationTimeout = Duration.seconds(30)

/**
 * Creates the tables if they are not there, in one transaction. Any number of processes may do this at once.
 *
 * @since 0.1.0
 * @category migrations
 */
export const migrate = (
  options: Pick<Options, "table"> = {}
): Effect.Effect<void, TokenStoreError, PgClient.PgClient> =>
  Effect.gen(function*() {
    const tables = yield* tablesOf(options)
    const run = PgRun.make(yield* PgClient.PgClient, migrationTimeout)
    // To ask first lets a user without the privilege to create tables start where they are.
    const { entries, fences, locks } = tables
    const rows = yield* run("migrate", PgTables.statements(tables).isMigrated, [entries, fences, locks])
    if (rows.length === 0) yield* run("migrate", PgTables.migration(tables), [])
  })

/**
 * What `layer` makes its store of. Sweeping and listening end with the scope.
 *
 * An entry that has expired is gone for every condition, but for its fence: a write under an older lock is refused until its
 * row is swept.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<TokenStore.Driver, TokenStoreError, PgClient.PgClient | Scope.Scope> =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const tables = yield* tablesOf(options)
    if (options.migrate !== false) yield* migrate(options)
    const run = PgRun.make(sql, Duration.decode(options.timeout ?? "5 seconds"))
    const statements = PgTables.statements(tables)
    yield* Effect.forkScoped(PgSweeper.sweep(run, statements, Duration.decode(options.sweepEvery ?? "1 minute")))
    const events = yield* PgEvents.make({
      config: sql.config,
      channel: tables.channel,
      notify: (payload) => run("events", statements.notify, [tables.channel, payload]),
      quiet: Duration.seconds(15)
    })
    return { ...PgDriver.make(run, statements, tables.channel), events }
  })

/**
 * The `TokenStore` over the program's `PgClient`.
 *
 * Whatever Postgres does, a step ends within `timeout`, and may be interrupted before; then it is not known whether it was
 * done. It fails with a `TokenStoreError` that shows a SQLSTATE or Node's code at most, and works again when Postgres does,
 * without a rebuild. A step takes a connection of the pool for a moment, also if its caller has one for a transaction.
 *
 * `events` takes a connection more for as long as somebody subscribes, one that goes to Postgres itself and not to a pooler
 * that forgets sessions, by the configuration of the `PgClient`. After every connect a `Gap` comes first. Subscribers that
 * are 4096 events behind get a `Gap` for them, and so does everybody for a key of more than 7900 bytes.
 *
 * @example
 * ```ts
 * import * as PgTokenStore from "@effect-oauth/platform-node/PgTokenStore"
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Config, Layer } from "effect"
 *
 * export const StoreLive = PgTokenStore.layer({ table: "auth.tokens" }).pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  options: Options = {}
): Layer.Layer<TokenStore.TokenStore, TokenStoreError, PgClient.PgClient> =>
  Layer.scoped(TokenStore.TokenStore, Effect.flatMap(make(options), TokenStore.make))

/**
 * The same, its options by configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<Options>
): Layer.Layer<TokenStore.TokenStore, TokenStoreError | ConfigError.ConfigError, PgClient.PgClient> =>
  Layer.scoped(
    TokenStore.TokenStore,
    Effect.flatMap(Effect.flatMap(Config.unwrap(config), make), TokenStore.make)
  )
