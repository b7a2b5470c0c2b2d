/**
 * Files that hold keys and certificates. What goes wrong is told in one sentence: what was found, what is expected, what to
 * do. Nothing of the content, and nothing of the system's own texts, gets into it.
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type { Stats } from "node:fs"
import * as FileSystem from "node:fs/promises"

/** @internal */
export interface FileProblem {
  readonly problem: string
  /** There is no file of this name. */
  readonly missing: boolean
}

/** @internal */
export interface Wanted {
  /** What the file should hold, as in "expected a private JWK". */
  readonly expected: string
  /** Whether others than its owner must be kept from it. */
  readonly secret: boolean
}

/** A key or a bundle of certificates is some kilobytes; anything of this size is another file. */
const maxSize = 1024 * 1024

class Refused {
  constructor(readonly problem: string) {}
}

/** @internal The system's code, `ENOENT` for instance. */
export const codeOf = (error: unknown): string =>
  Predicate.hasProperty(error, "code") && typeof error.code === "string" ? error.code : "unknown error"

const octal = (mode: number): string => `0${(mode & 0o777).toString(8).padStart(3, "0")}`

/** Windows has no such bits: Node makes them up there. */
const isExposed = ({ mode }: Stats): boolean => process.platform !== "win32" && (mode & 0o077) !== 0

const check = (path: string, info: Stats, { expected, secret }: Wanted): void => {
  if (info.isDirectory()) throw new Refused(`found a directory, expected a file with ${expected}`)
  if (!info.isFile()) throw new Refused(`found no regular file, expected one with ${expected}`)
  if (info.size > maxSize) throw new Refused(`found more than 1 MiB, expected ${expected}`)
  if (secret && isExposed(info)) {
    throw new Refused(
      `found mode ${octal(info.mode)}, by which group or others can read or write it, expected 0600: chmod 600 ${path}`
    )
  }
}

const readText = async (path: string, wanted: Wanted): Promise<string> => {
  // Before it is opened: a pipe would wait for somebody to write.
  check(path, await FileSystem.stat(path), wanted)
  const file = await FileSystem.open(path, "r")
  try {
    // Once more, of the file that is read: another one may have come in between.
    check(path, await file.stat(), wanted)
    return await file.readFile("utf8")
  } finally {
    await file.close()
  }
}

const problemOf = (error: unknown, { expected }: Wanted): FileProblem => {
  if (error instanceof Refused) return { problem: error.problem, missing: false }
  switch (codeOf(error)) {
    case "ENOENT":
      return { problem: `found no such file, expected ${expected}: correct the path or create it`, missing: true }
    case "EACCES":
    case "EPERM":
      return {
        problem: "it may not be read by the user of this process, who is expected to own it: chown it, then chmod 600",
        missing: false
      }
    default:
      return { problem: `it could not be read (${codeOf(error)}), expected ${expected}`, missing: false }
  }
}

/** @internal */
export const read = (path: string, wanted: Wanted): Effect.Effect<string, FileProblem> =>
  Effect.tryPromise({ try: () => readText(path, wanted), catch: (error) => problemOf(error, wanted) })
