/** The table of tenants, which is slow, and broken for some of them. */
import { Context, Data, Effect, type Redacted } from "effect"

export interface Tenant {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: Redacted.Redacted<string>
  readonly resource: string
}

export class TableBroken extends Data.TaggedError("TableBroken") {}

export class Tenants extends Context.Tag("Tenants")<Tenants, {
  readonly find: (name: string) => Effect.Effect<Tenant, TableBroken>
}>() {}

export const names: ReadonlyArray<string> = Array.from(
  { length: 100 },
  (_, index) => `tenant-${String(index).padStart(3, "0")}`
)

/** Its secret is rotated when its row has just been read. */
export const rotated = "tenant-007"
export const broken = { fails: "tenant-013", hangs: "tenant-042", dies: "tenant-066" } as const

export const sound = names.filter((name) => name !== rotated && !Object.values<string>(broken).includes(name))

/** Over rows of which the second reading may find another secret. */
export const make = (row: (name: string, reading: number) => Tenant): Tenants["Type"] => {
  const readings = new Map<string, number>()
  return {
    find: (name) =>
      Effect.gen(function*() {
        yield* Effect.sleep("5 millis")
        if (name === broken.fails) return yield* new TableBroken()
        if (name === broken.hangs) return yield* Effect.never
        if (name === broken.dies) return yield* Effect.die(new Error("a row that nobody expected"))
        const reading = (readings.get(name) ?? 0) + 1
        readings.set(name, reading)
        return row(name, reading)
      })
  }
}
