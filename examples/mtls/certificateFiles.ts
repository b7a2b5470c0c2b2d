/** The files of the worker, and whoever renews certificates in them. */
import { FileSystem } from "@effect/platform"
import { Effect, type Scope } from "effect"
import { join } from "node:path"
import type { Authority, Issued } from "../servers/certificates.ts"

export interface CertificateFiles {
  readonly ca: string
  readonly certificate: string
  readonly key: string
  /** Another certificate in the same files, with another key. */
  readonly renew: Effect.Effect<Issued>
}

/** Files in a folder of their own, gone with the scope, with a first certificate for this name. */
export const make = (
  authority: Authority,
  commonName: string
): Effect.Effect<CertificateFiles, never, FileSystem.FileSystem | Scope.Scope> =>
  Effect.gen(function*() {
    const files = yield* FileSystem.FileSystem
    const folder = yield* files.makeTempDirectoryScoped()
    const [ca, certificate, key] = [join(folder, "ca.pem"), join(folder, "client.pem"), join(folder, "client.key")]
    const renew = Effect.gen(function*() {
      const issued = yield* authority.client({ commonName })
      yield* files.writeFileString(certificate, issued.certificate)
      yield* files.writeFileString(key, issued.key, { mode: 0o600 })
      return issued
    }).pipe(Effect.orDie)
    yield* files.writeFileString(ca, authority.certificate)
    yield* renew
    return { ca, certificate, key, renew }
  }).pipe(Effect.orDie)
