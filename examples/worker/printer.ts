/** Lines for people, or JSON for programs. */
import { Config, Effect, Option } from "effect"
import { type ClientName, clientNames, type Story, type StoryEvent } from "./story.ts"

export interface Totals {
  readonly calls: number
  readonly tokenRequests: number
  readonly renewals: number
  readonly failures: number
}

export interface Printer {
  readonly title: (text: string) => void
  readonly event: (event: StoryEvent, at: number) => void
  /** `missing`: what had to happen and did not; absent if the story was not told to its end. */
  readonly summary: (story: Story, totals: Totals, missing?: ReadonlyArray<string>) => void
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const json: Printer = {
  title: () => {},
  event: (event, at) => print(JSON.stringify({ seconds: Math.round(at / 100) / 10, ...event })),
  summary: (_, totals, missing = []) => {
    for (const text of missing) print(JSON.stringify({ event: "missing", text }))
    print(JSON.stringify(totals))
  }
}

type Colour = (text: string) => string

const colours = { dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 }

const paint = (colour: keyof typeof colours): Colour => (text) => `\x1b[${colours[colour]}m${text}\x1b[0m`

const colourOf = ({ event, who }: StoryEvent): keyof typeof colours | undefined => {
  if (event === "failure" || event === "token refused") return "red"
  if (who === "server" || event === "rejected" || event === "warning") return "yellow"
  if (event === "reuse") return "dim"
  if (event === "healed" || event === "served without server") return "green"
  return event === "first token" || event === "refresh ahead" || event === "replaced" ? "cyan" : undefined
}

const renewalsOf = (story: Story, name: ClientName): number => Math.max(0, story.of[name].tokens - 1)

const table = (story: Story, totals: Totals): ReadonlyArray<string> => {
  const row = (name: string, cells: ReadonlyArray<string | number>) =>
    `  ${name.padEnd(16)}${cells.map((cell) => String(cell).padStart(16)).join("")}`
  const rowOf = (name: ClientName) => {
    const { calls, failures, tokenRequests } = story.of[name]
    return row(name, [calls, tokenRequests, renewalsOf(story, name), failures])
  }
  return [
    row("", ["calls", "token requests", "renewals", "failures"]),
    ...clientNames.map(rowOf),
    row("together", [totals.calls, totals.tokenRequests, totals.renewals, totals.failures])
  ]
}

const text = (coloured: boolean): Printer => {
  const use = (colour: keyof typeof colours | undefined): Colour =>
    coloured && colour !== undefined ? paint(colour) : (line) => line
  return {
    title: (line) => print(`${line}\n`),
    event: (event, at) => {
      const time = `${(at / 1000).toFixed(1)} s`.padStart(8)
      print(`${use("dim")(time)}  ${event.who.padEnd(17)}${use(colourOf(event))(event.text)}`)
    },
    summary: (story, totals, missing) => {
      print("")
      for (const line of table(story, totals)) print(line)
      if (missing === undefined) return
      print("")
      for (const what of missing) print(use("red")(`  Did not happen: ${what}`))
      if (missing.length === 0) print(use("green")("  All went as it should."))
    }
  }
}

export const make = (options: { readonly json: boolean }): Effect.Effect<Printer> =>
  Effect.gen(function*() {
    if (options.json) return json
    const noColour = yield* Effect.orDie(Config.option(Config.string("NO_COLOR")))
    return text(process.stdout.isTTY === true && Option.isNone(noColour))
  })
