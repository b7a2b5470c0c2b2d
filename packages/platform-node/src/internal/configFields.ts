/**
 * Options whose fields may each be a `Config`. `Config.unwrap` would take class instances and functions apart.
 */
import * as Config from "effect/Config"
import * as Option from "effect/Option"

/** @internal */
export const readField = (value: unknown): Config.Config<unknown> =>
  Config.isConfig(value)
    ? Config.map(value, (value) => Option.isOption(value) ? Option.getOrUndefined(value) : value)
    : Config.succeed(value)

/** @internal */
export const readFields = (fields: object): Config.Config<Record<string, unknown>> =>
  Config.all(Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, readField(value)])))
