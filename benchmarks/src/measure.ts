/**
 * Time per operation on a machine that other programs use too. All cases take turns in many short batches, so that a slow
 * moment meets each of them, and a case is compared with the floor of the same round.
 */
import * as Effect from "effect/Effect"

export interface Case {
  readonly name: string
  /** Runs the operation `count` times. */
  readonly batch: (count: number) => Effect.Effect<void>
  /** The name of the case it is compared with. */
  readonly floor?: string
}

export interface Options {
  readonly rounds?: number
  /** Of one batch, in milliseconds. */
  readonly batchTime?: number
  /** How long a case runs before it is measured, in batches. */
  readonly warmUp?: number
}

export interface Result {
  /** The tenth percentile, in microseconds: what the operation costs when nobody disturbs it. */
  readonly micros: number
  /** To the floor: the median of the ratios of all rounds. `NaN` without a floor. */
  readonly ratio: number
  /** What it adds to the floor, in microseconds: the median of all rounds. */
  readonly added: number
}

/** `part` is from 0 to 1. */
export const percentile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/**
 * The loop costs the same few nanoseconds in every case, and is left in. The index goes on from batch to batch, so that an
 * operation over many keys meets them all.
 */
export const repeat = (body: (index: number) => Effect.Effect<unknown, unknown>): Case["batch"] => {
  let index = 0
  return (count) =>
    Effect.suspend(() => {
      const end = index + count
      return Effect.whileLoop({
        while: () => index < end,
        body: () => body(index++),
        step: () => {}
      })
    }).pipe(Effect.orDie)
}

export const repeatPromise = (body: (index: number) => Promise<unknown>) => (count: number): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let index = 0; index < count; index++) await body(index)
  })

const timed = ({ batch }: Case, count: number): Effect.Effect<number> =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(batch(count), () => performance.now() - started)
  })

/** How often an operation fits into a batch; finding it out warms the case up. */
const calibrate = (one: Case, batchTime: number, warmUp: number): Effect.Effect<number> =>
  Effect.gen(function*() {
    let count = 1
    let total = 0
    for (;;) {
      const millis = yield* timed(one, count)
      total += millis
      if (total >= warmUp * batchTime) return Math.max(1, Math.round(count * batchTime / millis))
      if (millis < batchTime) count *= 2
    }
  })

export const measure = (
  cases: ReadonlyArray<Case>,
  options: Options = {}
): Effect.Effect<(name: string) => Result> =>
  Effect.gen(function*() {
    const { batchTime = 2, rounds = 201, warmUp = 100 } = options
    const counts = yield* Effect.forEach(cases, (one) => calibrate(one, batchTime, warmUp))
    globalThis.gc?.()
    const samples = cases.map((): Array<number> => [])
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < cases.length; turn++) {
        // Another case begins in each round, so that none is always measured in the same moment of it.
        const index = (turn + round) % cases.length
        const millis = yield* timed(cases[index]!, counts[index]!)
        samples[index]!.push(millis * 1000 / counts[index]!)
      }
    }
    const indexOf = (name: string | undefined) => cases.findIndex((one) => one.name === name)
    return (name) => {
      const own = samples[indexOf(name)] ?? []
      const floor = samples[indexOf(cases[indexOf(name)]?.floor)] ?? []
      return {
        micros: percentile(own, 0.1),
        ratio: percentile(floor.map((value, round) => own[round]! / value), 0.5),
        added: percentile(floor.map((value, round) => own[round]! - value), 0.5)
      }
    }
  })
