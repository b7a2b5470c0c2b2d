/**
 * Certificates and keys from where they are kept, and what happens when they change there.
 */
import * as OAuthLogging from "@effect-oauth/core/OAuthLogging"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import * as SecretFile from "../secretFile.ts"
import * as Pem from "./pem.ts"

type Source = { readonly file: string } | { readonly pem: string | Redacted.Redacted<string> }

/** @internal */
export interface Sources {
  readonly certificate?:
    | {
      readonly certificate: Source
      readonly key: Source
      readonly passphrase?: Redacted.Redacted<string> | undefined
    }
    | undefined
  readonly ca?: Source | undefined
}

/** @internal */
export interface Problem {
  readonly field: Pem.Field
  readonly file: string | undefined
  readonly problem: string
}

/** @internal */
export interface Loaded {
  readonly material: Pem.Material
  /** Of all that was read, so that a change is seen without keeping a key in memory. */
  readonly fingerprint: string
}

const fileOf = (source: Source | undefined): string | undefined =>
  source !== undefined && "file" in source ? source.file : undefined

const fileOfField = ({ ca, certificate }: Sources, field: Pem.Field): string | undefined =>
  field === "passphrase" ? undefined : fileOf(field === "ca" ? ca : certificate?.[field])

const readSource = (field: Pem.Field, source: Source, expected: string): Effect.Effect<string, Problem> => {
  if ("pem" in source) return Effect.succeed(Redacted.isRedacted(source.pem) ? Redacted.value(source.pem) : source.pem)
  const { file } = source
  return Effect.mapError(
    SecretFile.read(file, { expected, secret: field === "key" }),
    ({ problem }) => ({ field, file, problem })
  )
}

const readClient = ({ certificate, key, passphrase }: NonNullable<Sources["certificate"]>) =>
  Effect.map(
    Effect.all([
      readSource("certificate", certificate, "a certificate as PEM"),
      readSource("key", key, "a private key as PEM")
    ]),
    ([certificate, key]) => ({ certificate, key, passphrase })
  )

const read = ({ ca, certificate }: Sources): Effect.Effect<Pem.Texts, Problem> =>
  Effect.all({
    client: certificate === undefined ? Effect.succeed(undefined) : readClient(certificate),
    ca: ca === undefined ? Effect.succeed(undefined) : readSource("ca", ca, "certificates as PEM")
  })

const fingerprintOf = ({ ca, client }: Pem.Texts): string =>
  createHash("sha256").update(JSON.stringify([client?.certificate, client?.key, ca])).digest("base64url")

const judge = (sources: Sources, texts: Pem.Texts, now: number): Either.Either<Loaded, Problem> =>
  Either.mapBoth(Pem.judge(texts, now), {
    onLeft: (problem) => ({ ...problem, file: fileOfField(sources, problem.field) }),
    onRight: (material) => ({ material, fingerprint: fingerprintOf(texts) })
  })

/** @internal */
export const load = (sources: Sources): Effect.Effect<Loaded, Problem> =>
  Effect.flatMap(
    Effect.zip(read(sources), Clock.currentTimeMillis),
    ([texts, now]) => judge(sources, texts, now)
  )

/** What a look at the files came to. */
const check = (sources: Sources, current: Loaded): Effect.Effect<Loaded, Problem> =>
  Effect.gen(function*() {
    const texts = yield* read(sources)
    const now = yield* Clock.currentTimeMillis
    if (fingerprintOf(texts) !== current.fingerprint) return yield* judge(sources, texts, now)
    const { client } = current.material
    const problem = client === undefined ? undefined : Pem.outOfDate(client, now)
    return problem === undefined
      ? current
      : yield* Effect.fail({ ...problem, file: fileOfField(sources, problem.field) })
  })

/** @internal */
export interface Following {
  readonly every: Duration.DurationInput
  readonly describe: (problem: Problem) => string
  readonly onChange: (material: Pem.Material) => void
}

/** @internal Looks at the files until the scope ends; gives what is in use now. */
export const follow = (
  sources: Sources,
  first: Loaded,
  { describe, every, onChange }: Following
): Effect.Effect<() => Pem.Material, never, Scope.Scope> =>
  Effect.gen(function*() {
    const log = yield* OAuthLogging.make
    let current = first
    let complaint: string | undefined

    const take = (next: Loaded) => {
      complaint = undefined
      if (next === current) return Effect.void
      current = next
      onChange(next.material)
      const which = next.material.client === undefined ? "" : `, client certificate ${next.material.client.thumbprint}`
      return log.info(undefined, `the backchannel's files have changed and are used from now on${which}`)
    }
    const complain = (problem: Problem) => {
      const text = describe(problem)
      if (text === complaint) return Effect.void
      complaint = text
      return log.warning(undefined, `${text}; what was read before stays in use`)
    }

    const files = [fileOf(sources.ca), fileOf(sources.certificate?.certificate), fileOf(sources.certificate?.key)]
    if (files.some((file) => file !== undefined)) {
      const look = Effect.suspend(() => check(sources, current)).pipe(
        Effect.matchEffect({ onFailure: complain, onSuccess: take })
      )
      yield* Effect.forkScoped(Effect.schedule(look, Schedule.spaced(every)))
    }
    return () => current.material
  })
