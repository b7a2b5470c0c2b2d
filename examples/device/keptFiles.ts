/** A `KeyValueStore` of one file for each entry, which nobody but the user of this program can read. */
import { FileSystem, KeyValueStore, Path } from "@effect/platform"
import type { PlatformError } from "@effect/platform/Error"
import { Effect, Layer, Option } from "effect"

const unlessThere = <A, B>(read: Effect.Effect<A, PlatformError>, otherwise: B) =>
  Effect.catchIf(
    read,
    (error) => error._tag === "SystemError" && error.reason === "NotFound",
    () => Effect.succeed(otherwise)
  )

export const layer = (folder: string) =>
  Layer.effect(
    KeyValueStore.KeyValueStore,
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      yield* files.makeDirectory(folder, { recursive: true, mode: 0o700 })
      const fileOf = (key: string) => path.join(folder, encodeURIComponent(key))
      return KeyValueStore.makeStringOnly({
        get: (key) => unlessThere(Effect.asSome(files.readFileString(fileOf(key))), Option.none<string>()),
        // A reader finds the old text or the new one, also after a crash.
        set: (key, value) =>
          Effect.zipRight(
            files.writeFileString(`${fileOf(key)}.new`, value, { mode: 0o600 }),
            files.rename(`${fileOf(key)}.new`, fileOf(key))
          ),
        remove: (key) => unlessThere(files.remove(fileOf(key)), undefined),
        clear: Effect.zipRight(
          files.remove(folder, { recursive: true }),
          files.makeDirectory(folder, { recursive: true, mode: 0o700 })
        ),
        size: Effect.map(files.readDirectory(folder), (names) => names.length)
      })
    })
  )
