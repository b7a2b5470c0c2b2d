/**
 * A signing key in a file: a private JWK (RFC 7517) as JSON, which nobody but its owner can read. All processes that see
 * the file share the key, and with it the tokens that are bound to it (RFC 9449).
 *
 * @since 0.1.0
 */
import * as DPoPKeyStore from "@effect-oauth/core/DPoPKeyStore"
import type { SigningKeyInvalid } from "@effect-oauth/core/OAuthError"
import * as SigningKey from "@effect-oauth/core/SigningKey"
import type * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { randomUUID } from "node:crypto"
import * as FileSystem from "node:fs/promises"
import * as SecretFile from "./internal/secretFile.ts"

/**
 * A file that no key could be had from. `problem` says what was found, what is expected and what to do, and shows nothing of
 * the content.
 *
 * @since 0.1.0
 * @category errors
 */
export class KeyFileError
  extends Schema.TaggedError<KeyFileError>("@effect-oauth/platform-node/KeyFileError")("KeyFileError", {
    path: Schema.String,
    problem: Schema.String
  })
{
  override get message(): string {
    return `key file ${this.path}: ${this.problem}`
  }
}

/**
 * - `algorithm`: of a key that is generated; one that is there already stays, whatever its algorithm. Default `ES256`.
 *
 * @since 0.1.0
 * @category models
 */
export interface GenerateOptions {
  readonly algorithm?: SigningKey.Algorithm | undefined
}

/**
 * - `generate`: whether a file that is not there is created with a new key. Default true.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends GenerateOptions {
  readonly generate?: boolean | undefined
}

const expected = "a private JWK as JSON"

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""))
  } catch {
    return undefined
  }
}

const shapeOf = (text: string, json: unknown): string => {
  if (json !== undefined) return "JSON that is no object"
  if (text.trim() === "") return "nothing in it"
  return text.includes("-----BEGIN ") ? "PEM" : "something that is not JSON"
}

const fail = (path: string, problem: string) => Effect.fail(new KeyFileError({ path, problem }))

const parse = (path: string, text: string): Effect.Effect<SigningKey.SigningKey, KeyFileError> => {
  const jwk = jsonOf(text)
  return Predicate.isReadonlyRecord(jwk)
    ? Effect.catchAll(SigningKey.make(jwk), ({ problem }) => fail(path, `found a JWK that cannot be used: ${problem}`))
    : fail(path, `found ${shapeOf(text, jwk)}, expected ${expected}`)
}

const read = (path: string) => SecretFile.read(path, { expected, secret: true })

/**
 * The key of an existing file. A file that group or others can read or write is refused, but for Windows.
 *
 * @since 0.1.0
 * @category constructors
 */
export const load = (path: string): Effect.Effect<SigningKey.SigningKey, KeyFileError> =>
  read(path).pipe(
    Effect.mapError(({ problem }) => new KeyFileError({ path, problem })),
    Effect.flatMap((text) => parse(path, text))
  )

const generateText = (path: string, options: GenerateOptions): Effect.Effect<string, KeyFileError> =>
  SigningKey.generate(options.algorithm, { extractable: true }).pipe(
    Effect.flatMap(SigningKey.exportJwk),
    Effect.mapBoth({
      onSuccess: (jwk) => `${JSON.stringify(Redacted.value(jwk))}\n`,
      onFailure: ({ problem }: SigningKeyInvalid) => new KeyFileError({ path, problem })
    })
  )

/** On the disk before it has its name: a key file that is there is whole, also after a power cut. */
const writeWhole = async (path: string, text: string): Promise<void> => {
  const file = await FileSystem.open(path, "wx", 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** A link, unlike a rename, does not replace a file of another process that was faster. */
const linkUnlessThere = (temporary: string, path: string): Promise<void> =>
  FileSystem.link(temporary, path).catch((error) => {
    if (SecretFile.codeOf(error) !== "EEXIST") throw error
  })

const creationProblem = (error: unknown): string => {
  const code = SecretFile.codeOf(error)
  switch (code) {
    case "ENOENT":
      return "its folder does not exist, so no key could be put there: create the folder"
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return `no key could be put there (${code}): the user of this process is expected to be allowed to write and link ` +
        "in its folder; or put a key there yourself"
    default:
      return `no key could be put there (${code}): put one there yourself, or choose another folder`
  }
}

const create = (path: string, text: string): Effect.Effect<void, KeyFileError> => {
  const temporary = `${path}.${randomUUID()}.tmp`
  return Effect.tryPromise({
    try: async () => {
      await writeWhole(temporary, text)
      await linkUnlessThere(temporary, path)
    },
    catch: (error) => new KeyFileError({ path, problem: creationProblem(error) })
  }).pipe(
    Effect.uninterruptible,
    Effect.ensuring(Effect.promise(() => FileSystem.rm(temporary, { force: true }).catch(() => {})))
  )
}

/**
 * The key of a file, which is created with a new one, mode 0600, where there is none. Processes that start at the same time
 * end up with the same key.
 *
 * @since 0.1.0
 * @category constructors
 */
export const loadOrGenerate = (
  path: string,
  options: GenerateOptions = {}
): Effect.Effect<SigningKey.SigningKey, KeyFileError> =>
  Effect.matchEffect(read(path), {
    onSuccess: (text) => parse(path, text),
    onFailure: ({ missing, problem }) =>
      missing
        // What is in the file counts, for it may be another process's.
        ? Effect.zipRight(Effect.flatMap(generateText(path, options), (text) => create(path, text)), load(path))
        : fail(path, problem)
  })

/**
 * One key for all clients whose `dpop` is `true`, from a file (RFC 9449).
 *
 * @example
 * ```ts
 * import { FileKeyStore } from "@effect-oauth/platform-node"
 *
 * export const Keys = FileKeyStore.layer("/var/lib/worker/dpop.json")
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (path: string, options: Options = {}): Layer.Layer<DPoPKeyStore.DPoPKeyStore, KeyFileError> =>
  Layer.unwrapEffect(
    Effect.map(options.generate === false ? load(path) : loadOrGenerate(path, options), DPoPKeyStore.layer)
  )

/**
 * The same, its path by configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  path: Config.Config<string>,
  options?: Options
): Layer.Layer<DPoPKeyStore.DPoPKeyStore, KeyFileError | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(path, (path) => layer(path, options)))
