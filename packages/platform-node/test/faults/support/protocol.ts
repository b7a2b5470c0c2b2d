/** What a test and its worker processes say to each other. */

export type StoreSettings =
  | { readonly _tag: "redis"; readonly url: string; readonly prefix: string }
  | { readonly _tag: "postgres"; readonly port: number; readonly password: string; readonly table: string }

/** Of one stack of services. */
export interface Settings {
  readonly store: StoreSettings
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly clientSecret: string
  /** As `TOKEN_ENCRYPTION_KEYS`. Default: entries are not sealed. */
  readonly encryptionKeys?: string
  /** In milliseconds. */
  readonly storeTimeout?: number
  readonly lockLease?: number
  readonly lockWait?: number
}

export interface Get {
  /** So many callers at once. Default 1. */
  readonly count?: number
  readonly partition?: string
  readonly forceRenewal?: boolean
}

export interface Calls extends Get {
  readonly url: string
}

export interface Outcome {
  /** Those that there were, each once. */
  readonly tokens: ReadonlyArray<string>
  /** How many calls ended how: by the status of the answer, the tag of the error, or `defect`. */
  readonly ends: Readonly<Record<string, number>>
  /** Of the slowest call, in milliseconds. */
  readonly slowest: number
}

/** Each with what comes back. */
export interface Commands {
  readonly open: [settings: Settings, void]
  readonly get: [get: Get, Outcome]
  readonly api: [calls: Calls, Outcome]
  readonly log: [nothing: undefined, ReadonlyArray<string>]
  readonly close: [nothing: undefined, void]
  /** Closes all stacks and lets go of the channel: if nothing else is left, the process ends. */
  readonly end: [nothing: undefined, void]
}

export type Command = keyof Commands

export interface Request {
  readonly id: number
  readonly stack: string
  readonly command: Command
  readonly argument: unknown
}

export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly problem: string }
