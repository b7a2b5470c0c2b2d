/** What the command line says. */
import { Data, Effect } from "effect"
import { parseArgs } from "node:util"

const flag = { type: "boolean", default: false } as const

const options = {
  /** Tokens are bound to a key of each session. */
  dpop: flag,
  /** The login's parameters go to the provider directly. */
  par: flag,
  /** The login's parameters are signed. */
  jar: flag,
  /** No secret: the app signs with its private key. */
  assertions: flag,
  /** Sessions are kept in this process, and the browser has an id only. */
  "server-sessions": flag,
  /** The same in a redis-server. */
  redis: flag,
  /** Access tokens live 10 seconds. */
  short: flag,
  "two-providers": flag,
  /** Nobody has to sit in front of it: signs in, calls, renews, signs out, and ends. */
  check: flag
}

export type Flags = Readonly<Record<keyof typeof options, boolean>>

export const none: Flags = {
  dpop: false,
  par: false,
  jar: false,
  assertions: false,
  "server-sessions": false,
  redis: false,
  short: false,
  "two-providers": false,
  check: false
}

export class ArgumentsInvalid extends Data.TaggedError("ArgumentsInvalid")<{ readonly message: string }> {}

export const read: Effect.Effect<Flags, ArgumentsInvalid> = Effect.try({
  try: () => parseArgs({ options }).values,
  catch: (error) => new ArgumentsInvalid({ message: error instanceof Error ? error.message : "wrong arguments" })
})
