import { DPoPKeyStore, SigningKey } from "@effect-oauth/core"
import { FileKeyStore } from "@effect-oauth/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Equal, Layer, Option, Redacted } from "effect"
import { execFile } from "node:child_process"
import * as fs from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { printed } from "./support/printed.ts"
import { temporaryFolder } from "./support/temporaryFolder.ts"

const write = (file: string, content: string, mode = 0o600) =>
  Effect.promise(async () => {
    await fs.writeFile(file, content)
    await fs.chmod(file, mode)
  })

const jwkText = (algorithm?: SigningKey.Algorithm) =>
  SigningKey.generate(algorithm, { extractable: true, keyId: "k1" }).pipe(
    Effect.flatMap(SigningKey.exportJwk),
    Effect.map((jwk) => JSON.stringify(Redacted.value(jwk)))
  )

const member = (jwk: string, name: string): string => JSON.parse(jwk)[name]

/** Another Node.js process that does the same; the thumbprint it ended up with. */
const inAnotherProcess = (file: string) =>
  Effect.async<string, Error>((resume) => {
    const program = `
      const { FileKeyStore } = await import("@effect-oauth/platform-node")
      const { Effect } = await import("effect")
      console.log((await Effect.runPromise(FileKeyStore.loadOrGenerate(process.argv[1]))).thumbprint)
    `
    execFile(
      process.execPath,
      ["--conditions=@effect-oauth/source", "--import", "tsx", "--input-type=module", "--eval", program, file],
      { cwd: fileURLToPath(new URL("..", import.meta.url)) },
      (error, stdout) => resume(error === null ? Effect.succeed(stdout.trim()) : Effect.fail(error))
    )
  })

describe("FileKeyStore", () => {
  describe("loadOrGenerate", () => {
    for (const algorithm of SigningKey.algorithms) {
      it.scoped(`${algorithm}: creates a file for its owner only, and finds the same key in it again`, () =>
        Effect.gen(function*() {
          const folder = yield* temporaryFolder
          const file = join(folder, "key.json")
          const created = yield* FileKeyStore.loadOrGenerate(file, { algorithm })
          assert.strictEqual(created.algorithm, algorithm)
          const info = yield* Effect.promise(() => fs.stat(file))
          assert.strictEqual((info.mode & 0o777).toString(8), "600")
          assert.isTrue(Equal.equals(created, yield* FileKeyStore.loadOrGenerate(file)))
          assert.isTrue(Equal.equals(created, yield* FileKeyStore.load(file)))
          assert.include((yield* Effect.flip(SigningKey.exportJwk(created))).message, "extractable")
          assert.deepStrictEqual(yield* Effect.promise(() => fs.readdir(folder)), ["key.json"])
        }))
    }

    it.scoped("is ES256 by default; a key that is there stays, whatever its algorithm", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        assert.strictEqual((yield* FileKeyStore.loadOrGenerate(join(folder, "a"))).algorithm, "ES256")
        yield* write(join(folder, "b"), `\uFEFF${yield* jwkText("Ed25519")}\n`)
        const kept = yield* FileKeyStore.loadOrGenerate(join(folder, "b"), { algorithm: "ES384" })
        assert.deepStrictEqual([kept.algorithm, kept.keyId], ["Ed25519", "k1"])
      }))

    it.scoped("20 at once end up with one key, and leave nothing else behind", () =>
      Effect.gen(function*() {
        for (let round = 0; round < 5; round++) {
          const folder = yield* temporaryFolder
          const keys = yield* Effect.all(
            Array.from({ length: 20 }, () => FileKeyStore.loadOrGenerate(join(folder, "key.json"))),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(new Set(keys.map((key) => key.thumbprint)).size, 1)
          assert.deepStrictEqual(yield* Effect.promise(() => fs.readdir(folder)), ["key.json"])
        }
      }))

    it.scopedLive("two processes that start at once end up with one key", () =>
      Effect.gen(function*() {
        const file = join(yield* temporaryFolder, "key.json")
        const thumbprints = yield* Effect.all([inAnotherProcess(file), inAnotherProcess(file)], { concurrency: 2 })
        assert.match(thumbprints[0]!, /^[A-Za-z0-9_-]{43}$/)
        assert.strictEqual(thumbprints[0], thumbprints[1])
        assert.strictEqual((yield* FileKeyStore.load(file)).thumbprint, thumbprints[0])
      }))

    it.scoped("a folder that is not there, or that is none: says so", () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const noFolder = yield* Effect.flip(FileKeyStore.loadOrGenerate(join(folder, "none", "key.json")))
        assert.include(noFolder.message, "create the folder")
        yield* write(join(folder, "file"), "")
        const notOne = yield* Effect.flip(FileKeyStore.loadOrGenerate(join(folder, "file", "key.json")))
        assert.include(notOne.message, "ENOTDIR")
      }))
  })

  describe("refuses", () => {
    const secret = "5ecr3t"
    const cases: ReadonlyArray<readonly [string, (file: string, jwk: string) => Effect.Effect<void>, string]> = [
      ["a file that is not there", () => Effect.void, "found no such file, expected a private JWK as JSON"],
      ["a directory", (file) => Effect.promise(() => fs.mkdir(file)), "found a directory"],
      ["an empty file", (file) => write(file, "\n"), "found nothing in it"],
      ["text that is not JSON", (file, jwk) => write(file, `${secret}${jwk}`), "not JSON"],
      ["PEM", (file, jwk) => write(file, `-----BEGIN PRIVATE KEY-----\n${jwk}`), "found PEM, expected a private JWK"],
      ["JSON that is no object", (file, jwk) => write(file, JSON.stringify(jwk)), "found JSON that is no object"],
      [
        "a public key",
        (file, jwk) => write(file, JSON.stringify({ ...JSON.parse(jwk), d: undefined })),
        "found a public key"
      ],
      [
        "a private member of another key",
        (file, jwk) => write(file, JSON.stringify({ ...JSON.parse(jwk), d: member(jwk, "x") })),
        "found a JWK that cannot be used: its "
      ],
      ["more than a key", (file, jwk) => write(file, jwk.padEnd(1024 * 1024 + 1)), "more than 1 MiB"],
      ["a file that its group can read", (file, jwk) => write(file, jwk, 0o640), "found mode 0640"],
      ["a file that others can read", (file, jwk) => write(file, jwk, 0o604), "chmod 600 "],
      ["a file that others can write", (file, jwk) => write(file, jwk, 0o602), "found mode 0602"]
    ]
    for (const [name, prepare, expected] of cases) {
      it.scoped(`${name}, and shows nothing of it`, () =>
        Effect.gen(function*() {
          const file = join(yield* temporaryFolder, "key.json")
          const jwk = yield* jwkText()
          yield* prepare(file, jwk)
          const tries = [FileKeyStore.load(file)]
          // where there is no file, the other would create one
          if (expected !== cases[0]![2]) tries.push(FileKeyStore.loadOrGenerate(file))
          for (const load of tries) {
            const error = yield* Effect.flip(load)
            assert.instanceOf(error, FileKeyStore.KeyFileError)
            assert.strictEqual(error.path, file)
            assert.isTrue(error.message.startsWith(`key file ${file}: `))
            assert.include(error.message, expected)
            for (const part of [secret, member(jwk, "d"), member(jwk, "x"), member(jwk, "y")]) {
              assert.isFalse(printed(error).includes(part))
            }
          }
        }))
    }

    it.scoped("a pipe, at once", () =>
      Effect.gen(function*() {
        const file = join(yield* temporaryFolder, "key.json")
        yield* Effect.async<void>((resume) => {
          execFile("mkfifo", [file], () => resume(Effect.void))
        })
        assert.include((yield* Effect.flip(FileKeyStore.load(file))).message, "no regular file")
      }))
  })

  it.scoped("accepts a file that not even its owner can write", () =>
    Effect.gen(function*() {
      const file = join(yield* temporaryFolder, "key.json")
      yield* write(file, yield* jwkText(), 0o400)
      assert.strictEqual((yield* FileKeyStore.load(file)).algorithm, "ES256")
    }))

  it.scoped("layer: one key for all clients, from a path or a configured one; generated only if wanted", () =>
    Effect.gen(function*() {
      const file = join(yield* temporaryFolder, "key.json")
      const missing = yield* Effect.flip(Layer.build(FileKeyStore.layer(file, { generate: false })))
      assert.strictEqual(missing._tag, "KeyFileError")
      const keyBy = <E>(layer: Layer.Layer<DPoPKeyStore.DPoPKeyStore, E>) =>
        Effect.gen(function*() {
          const store = yield* DPoPKeyStore.DPoPKeyStore
          const key = yield* store.get("a")
          assert.strictEqual(yield* store.get("b"), key)
          assert.isTrue(Option.isSome(yield* store.byThumbprint(key.thumbprint)))
          return key
        }).pipe(Effect.provide(layer))
      const first = yield* keyBy(FileKeyStore.layer(file, { algorithm: "Ed25519" }))
      assert.strictEqual(first.algorithm, "Ed25519")
      const again = yield* keyBy(
        FileKeyStore.layerConfig(Config.string("DPOP_KEY_FILE"), { generate: false }).pipe(
          Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["DPOP_KEY_FILE", file]]))))
        )
      )
      assert.isTrue(Equal.equals(first, again))
    }))
})
