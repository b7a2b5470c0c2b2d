/**
 * Rows as a table in Markdown.
 */
import { cpus } from "node:os"
import type { Result } from "./measure.ts"

export interface Row {
  readonly path: string
  readonly ours: string
  readonly floor: string
  readonly ratio: string
  readonly goal: string
  readonly met: boolean
  readonly peers: string
}

export const time = (micros: number): string =>
  Math.abs(micros) < 1
    ? `${Math.round(micros * 1000)} ns`
    : Math.abs(micros) < 1000
    ? `${Number(micros.toPrecision(3))} µs`
    : `${Number((micros / 1000).toPrecision(3))} ms`

export const times = (ratio: number): string => `${ratio >= 100 ? Math.round(ratio) : ratio.toFixed(2)}x`

/** A row that compares times. */
export const ratioRow = (path: string, ours: Result, floor: Result, goal: number, peers: string): Row => ({
  path,
  ours: time(ours.micros),
  floor: time(floor.micros),
  ratio: times(ours.ratio),
  goal: `at most ${goal}x`,
  met: ours.ratio <= goal,
  peers
})

const titles = ["path", "ours", "floor", "ratio", "goal", "met", "peers in the same run"]

const cellsOf = ({ floor, goal, met, ours, path, peers, ratio }: Row): ReadonlyArray<string> => [
  path,
  ours,
  floor,
  ratio,
  goal,
  met ? "yes" : "**no**",
  peers
]

export const table = (rows: ReadonlyArray<Row>): string =>
  [titles, titles.map(() => "---"), ...rows.map(cellsOf)].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

export const machine = (): string => {
  const cores = cpus()
  const model = cores[0] === undefined ? "" : ` (${cores[0].model.trim()})`
  return `Node.js ${process.version}, ${process.platform} ${process.arch}, ${cores.length} cores${model}`
}
