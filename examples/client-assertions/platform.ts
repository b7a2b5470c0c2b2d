/** A platform that tells its workloads who they are: a signed statement in a file, anew from time to time. */
import { SigningKey } from "@effect-oauth/core"
import { FileSystem } from "@effect/platform"
import { Effect, Redacted, type Scope } from "effect"
import * as jose from "jose"
import { randomUUID } from "node:crypto"
import { join } from "node:path"

export interface Platform {
  readonly file: string
  readonly key: SigningKey.SigningKey
  /** For a workload at a server, by the name that the server has for it. */
  readonly writeIdentity: (workload: string, server: string) => Effect.Effect<void>
}

export const start: Effect.Effect<Platform, never, FileSystem.FileSystem | Scope.Scope> = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const file = join(yield* files.makeTempDirectoryScoped(), "identity")
  const key = yield* SigningKey.generate("ES256")

  const identity = (workload: string, server: string) =>
    new jose.SignJWT()
      .setProtectedHeader({ alg: key.algorithm })
      .setIssuer(workload)
      .setSubject(workload)
      .setAudience(server)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime("10 minutes")
      .sign(Redacted.value(key.privateKey))

  return {
    file,
    key,
    writeIdentity: (workload: string, server: string) =>
      Effect.promise(() => identity(workload, server)).pipe(
        Effect.flatMap((text) => files.writeFileString(file, text, { mode: 0o600 })),
        Effect.orDie
      )
  }
}).pipe(Effect.orDie)
