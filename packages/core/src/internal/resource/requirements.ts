import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { VerifiedToken } from "../../VerifiedToken.ts"

/** @internal In plain values: `maxAge` in whole seconds. */
export interface Wanted {
  readonly scope: ReadonlyArray<string>
  readonly acrValues: ReadonlyArray<string>
  readonly maxAge: number | undefined
}

const words = (value: string | ReadonlyArray<string> | undefined): ReadonlyArray<string> =>
  [
    ...new Set((typeof value === "string" ? [value] : value ?? []).flatMap((text) => text.split(/\s+/)))
  ].filter((word) => word !== "")

/** @internal */
export const wantedOf = (requirements: {
  readonly scope?: string | ReadonlyArray<string> | undefined
  readonly acrValues?: string | ReadonlyArray<string> | undefined
  readonly maxAge?: Duration.DurationInput | undefined
}): Wanted => {
  const maxAge = requirements.maxAge === undefined ? undefined : Duration.toSeconds(requirements.maxAge)
  return {
    scope: words(requirements.scope),
    acrValues: words(requirements.acrValues),
    maxAge: maxAge === undefined || maxAge === Number.POSITIVE_INFINITY ? undefined : Math.floor(maxAge)
  }
}

/** @internal What a token is lacking: scope is told first, since no sign-in would help there. */
export const lacking = (token: VerifiedToken, wanted: Wanted): Effect.Effect<"scope" | "authentication" | undefined> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    if (wanted.scope.some((scope) => !token.scope.includes(scope))) return "scope"
    const { acr, authTime } = token
    const isStrong = wanted.acrValues.length === 0 || (acr !== undefined && wanted.acrValues.includes(acr))
    const isRecent = wanted.maxAge === undefined ||
      (authTime !== undefined && now - DateTime.toEpochMillis(authTime) < (wanted.maxAge + 1) * 1000)
    return isStrong && isRecent ? undefined : "authentication"
  })
