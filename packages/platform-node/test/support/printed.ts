import { Cause } from "effect"
import { inspect } from "node:util"

/** Every form in which a program prints an error. */
export const printed = (error: Error): string =>
  [
    String(error),
    JSON.stringify(error),
    inspect(error, { depth: 20, showHidden: true }),
    error.stack,
    error.message,
    inspect(error.cause, { depth: 20, showHidden: true }),
    Cause.pretty(Cause.fail(error)),
    JSON.stringify(Cause.fail(error))
  ].join("\n")
