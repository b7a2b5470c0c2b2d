import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type { Options } from "../../DPoPVerifier.ts"
import { SigningAlgorithm } from "../../OAuthValues.ts"
import { shapeOf } from "../problem.ts"
import { normalize } from "./targetUri.ts"

/** @internal The options with their defaults, in plain values. */
export interface VerifierSettings {
  /** Without a slash at the end. */
  readonly publicUrls: ReadonlyArray<string>
  readonly algorithms: ReadonlyArray<SigningAlgorithm>
  readonly window: number
  readonly nonces: { readonly rotateAfter: number; readonly secret: Redacted.Redacted<string> | undefined } | undefined
  readonly replayCapacity: number
}

/** @internal */
export const from = ({ algorithms, nonces, publicUrl, replayCapacity, window }: Options): VerifierSettings => {
  const { rotateAfter, secret } = typeof nonces === "object" ? nonces : {}
  return {
    publicUrls: (typeof publicUrl === "string" ? [publicUrl] : publicUrl).map((url) => url.replace(/\/$/, "")),
    algorithms: algorithms ?? SigningAlgorithm.literals,
    window: Duration.toMillis(window ?? "60 seconds"),
    nonces: nonces === undefined || nonces === false
      ? undefined
      : { rotateAfter: Duration.toMillis(rotateAfter ?? "5 minutes"), secret },
    replayCapacity: replayCapacity ?? 100_000
  }
}

const day = 86_400_000

const isSpan = (millis: number): boolean => millis >= 1000 && millis <= day

const isPublicUrl = (url: string): boolean => !/[?#]/.test(url) && normalize(url) !== undefined

const bytesOf = (secret: Redacted.Redacted<string>): number => new TextEncoder().encode(Redacted.value(secret)).length

const secretProblem = (secret: Redacted.Redacted<string> | undefined): string | undefined =>
  secret === undefined || bytesOf(secret) >= 32 ? undefined : `expected at least 32 bytes, found ${shapeOf(secret)}`

/** @internal Each problem as a field and a sentence. */
export const problemsOf = (
  settings: VerifierSettings
): ReadonlyArray<{ readonly field: string; readonly problem: string }> => {
  const { algorithms, nonces, publicUrls, replayCapacity, window } = settings
  const span = "expected a duration of 1 second to 1 day"
  const unknown = algorithms.some((algorithm) => !SigningAlgorithm.literals.includes(algorithm))
  const problems = {
    publicUrl: publicUrls.length > 0 && publicUrls.every(isPublicUrl)
      ? undefined
      : "expected a URL such as https://api.example.com, without query, fragment or user name",
    algorithms: algorithms.length > 0 && !unknown
      ? undefined
      : `expected one or more of ${SigningAlgorithm.literals.join(", ")}`,
    window: isSpan(window) ? undefined : span,
    "nonces.rotateAfter": nonces === undefined || isSpan(nonces.rotateAfter) ? undefined : span,
    "nonces.secret": secretProblem(nonces?.secret),
    replayCapacity: Number.isInteger(replayCapacity) && replayCapacity > 0 && replayCapacity <= 10_000_000
      ? undefined
      : "expected a whole number from 1 to 10,000,000"
  }
  return Object.entries(problems).flatMap(([field, problem]) => problem === undefined ? [] : [{ field, problem }])
}
