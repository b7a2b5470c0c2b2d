/**
 * `npm run bench`, or `npm run bench -- cachedToken stampede` for some groups only, which leaves results.md as it is.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { writeFile } from "node:fs/promises"
import * as CachedCall from "./cachedCall.ts"
import * as CachedToken from "./cachedToken.ts"
import * as DPoP from "./dpop.ts"
import * as Fleet from "./fleet.ts"
import * as Loopback from "./loopback.ts"
import * as ManyKeys from "./manyKeys.ts"
import * as Sealing from "./sealing.ts"
import * as ServerDown from "./serverDown.ts"
import * as Session from "./session.ts"
import * as Stampede from "./stampede.ts"
import { machine, type Row, table } from "./table.ts"
import * as Unauthorized from "./unauthorized.ts"

const groups: Readonly<Record<string, Effect.Effect<ReadonlyArray<Row>>>> = {
  cachedToken: CachedToken.rows,
  cachedCall: CachedCall.rows,
  loopback: Loopback.rows,
  dpop: DPoP.rows,
  stampede: Stampede.rows,
  unauthorized: Unauthorized.rows,
  serverDown: ServerDown.rows,
  fleet: Fleet.rows,
  sealing: Sealing.rows,
  session: Session.rows,
  manyKeys: ManyKeys.rows
}

const wanted = process.argv.slice(2)

const preface = `# Results

Written by \`npm run bench\`. The cases of a row run in one process and take turns in many short batches. A time is the
tenth percentile of its batches, a ratio the median of the ratios to the floor in the same turn. Times differ from machine
to machine, ratios hardly.
`

const main = Effect.gen(function*() {
  const unknown = wanted.filter((name) => !(name in groups))
  if (unknown.length > 0) return yield* Effect.dieMessage(`no such group: ${unknown}; there are ${Object.keys(groups)}`)
  const rows: Array<Row> = []
  for (const [name, group] of Object.entries(groups)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue
    yield* Console.error(`${name} ...`)
    for (const row of yield* group) rows.push(row)
  }
  yield* Console.log(table(rows))
  if (wanted.length > 0) return
  const file = new URL("../results.md", import.meta.url)
  yield* Effect.promise(() => writeFile(file, `${preface}\nMachine: ${machine()}\n\n${table(rows)}\n`))
})

// What the library says of a server that is down belongs to the row about it.
NodeRuntime.runMain(Logger.withMinimumLogLevel(main, LogLevel.Error))
