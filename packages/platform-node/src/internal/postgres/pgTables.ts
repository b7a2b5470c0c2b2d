/**
 * The tables of a store, and the statements on them. Each is one atomic step: it is sent on its own and so is its own
 * transaction. Times are `clock_timestamp()`, which goes on while a statement waits for a row.
 */
import * as Either from "effect/Either"

/** @internal Names as they stand in a statement. */
export interface Tables {
  readonly entries: string
  readonly locks: string
  readonly fences: string
  readonly expiresIndex: string
  readonly tagsIndex: string
  readonly channel: string
}

const name = /^(?:([A-Za-z_][A-Za-z0-9_$]{0,62})\.)?([A-Za-z_][A-Za-z0-9_$]{0,47})$/

/** What Postgres keeps of a name. */
const longestName = 63

/** @internal */
export const tables = (table: string, channel: string | undefined): Either.Either<Tables, string> => {
  const [, schema, base] = name.exec(table) ?? []
  if (base === undefined) {
    return Either.left(
      "table is expected to be a name or schema.name of letters, digits, _ and $, of at most 48 characters"
    )
  }
  // A long schema would not fit: two stores of the same name in two schemas then hear each other, which does no harm.
  const chosen = channel ?? (table.length <= longestName ? table : base)
  if (chosen === "" || chosen.includes("\0") || Buffer.byteLength(chosen) > longestName) {
    return Either.left("channel is expected to have from 1 to 63 bytes")
  }
  const within = schema === undefined ? "" : `"${schema}".`
  return Either.right({
    entries: `${within}"${base}"`,
    locks: `${within}"${base}_locks"`,
    fences: `${within}"${base}_fences"`,
    expiresIndex: `"${base}_expires_at"`,
    tagsIndex: `"${base}_tags"`,
    channel: chosen
  })
}

/** Any number that nobody else takes for an advisory lock. */
const migrationLock = "7311642053889465001"

/**
 * @internal Safe to run again, and by many at once: IF NOT EXISTS alone lets two of them collide.
 */
export const migration = ({ entries, expiresIndex, fences, locks, tagsIndex }: Tables): string =>
  `select pg_advisory_xact_lock(${migrationLock});

create table if not exists ${entries} (
  key text collate "C" primary key,
  value text not null,
  version text not null,
  fence bigint not null,
  tags text[] not null,
  expires_at timestamptz not null
);

create index if not exists ${expiresIndex} on ${entries} (expires_at);

create index if not exists ${tagsIndex} on ${entries} using gin (tags) where tags <> '{}';

create table if not exists ${locks} (
  key text collate "C" primary key,
  holder text not null,
  expires_at timestamptz not null
);

create sequence if not exists ${fences};
`

/** @internal */
export type Statements = ReturnType<typeof statements>

const inMillis = (parameter: string): string => `clock_timestamp() + ${parameter}::float8 * interval '1 millisecond'`

const assignments = `value = $2, version = $3, fence = coalesce($4::bigint, t.fence), tags = $5::text[],
  expires_at = ${inMillis("$6")}`

// An entry that has expired is gone, but as long as its row is there, its fence still keeps off who was held up.
const notFencedOff = "($4::bigint is null or t.fence <= $4::bigint)"

const upsert = (entries: string, condition: string): string =>
  `insert into ${entries} as t (key, value, version, fence, tags, expires_at)
values ($1, $2, $3, coalesce($4::bigint, 0), $5::text[], ${inMillis("$6")})
on conflict (key) do update set ${assignments}
where ${notFencedOff}${condition}
returning pg_notify($7, $8)`

/** @internal What returns a row has done what it is for; it tells others in the same transaction. */
export const statements = ({ entries, fences, locks }: Tables) => ({
  get: `select value, version from ${entries} where key = $1 and expires_at > clock_timestamp()`,

  set: upsert(entries, ""),

  setIfNone: upsert(entries, " and t.expires_at <= clock_timestamp()"),

  setIfVersion: `update ${entries} as t set ${assignments}
where key = $1 and version = $9 and expires_at > clock_timestamp() and ${notFencedOff}
returning pg_notify($7, $8)`,

  remove: `with removed as (
  delete from ${entries}
  where key = $1 and ($2::text is null or version = $2) and expires_at > clock_timestamp()
  returning 1
)
select (select count(*) from removed)::int,
  (select pg_notify($3, $4) where $2::text is null or exists (select from removed))`,

  // In the order of their keys, or two that remove the same rows would wait for each other. The second condition on tags is
  // the one of the index.
  removeByTag: `with tagged as (
  select key from ${entries} where tags @> array[$1::text] and tags <> '{}' order by key for update
), removed as (
  delete from ${entries} where key in (select key from tagged)
)
select pg_notify($2, $3)`,

  // Who only waits writes nothing, by the first condition; the second one decides. The fence is drawn when the row is ours:
  // drawn before, it could be lower than that of a holder in between.
  lock: `insert into ${locks} as l (key, holder, expires_at)
select $1, $2, ${inMillis("$3")}
where not exists (select from ${locks} where key = $1 and expires_at > clock_timestamp())
on conflict (key) do update set holder = $2, expires_at = ${inMillis("$3")}
where l.expires_at <= clock_timestamp()
returning nextval('${fences}')::text`,

  extend: `update ${locks} set expires_at = ${inMillis("$3")}
where key = $1 and holder = $2 and expires_at > clock_timestamp()
returning 1`,

  unlock: `delete from ${locks} where key = $1 and holder = $2`,

  notify: "select pg_notify($1, $2)",

  isMigrated: "select 1 where num_nulls(to_regclass($1), to_regclass($2), to_regclass($3)) = 0",

  // By the statement's time, for which there can be an index scan.
  sweep: [entries, locks].map((table) =>
    `delete from ${table} where key in (
  select key from ${table} where expires_at <= statement_timestamp() limit $1::bigint for update skip locked
)
returning 1`
  )
})
