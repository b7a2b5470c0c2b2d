/** What the answer to a refused request has to say (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470 section 3). */
import * as Effect from "effect/Effect"
import type { DPoPVerifier } from "../../DPoPVerifier.ts"
import * as WwwAuthenticate from "../../WwwAuthenticate.ts"
import type { Scheme } from "./credentials.ts"

/** @internal */
export type Parameters = Readonly<Record<string, string | undefined>>

/** @internal How an answer with this status is to be completed. `scope` is what the request needs (RFC 6750 section 3). */
export interface Ending {
  readonly status: number
  readonly headers: (scope: string | undefined) => Effect.Effect<Readonly<Record<string, string>>>
}

/** @internal */
export interface Challenges {
  /** To a request without credentials: all that would do, and no error. */
  readonly all: Ending
  /**
   * What was wrong, told in the scheme that the request came in, or in the one that is taken in its place. `others`: name the
   * other schemes too.
   */
  readonly one: (status: 401 | 403, scheme: Scheme, said: Parameters, others?: boolean) => Ending
}

/** @internal */
export const make = (options: {
  readonly schemes: ReadonlyArray<Scheme>
  readonly common: Parameters
  readonly dpop: DPoPVerifier["Type"] | undefined
}): Challenges => {
  const { common, dpop, schemes } = options

  const parametersOf = (scheme: Scheme): Effect.Effect<Parameters> =>
    scheme === "Bearer" || dpop === undefined
      ? Effect.succeed({})
      : Effect.map(dpop.refusal(), ({ headers }) =>
        WwwAuthenticate.parse(headers["www-authenticate"] ?? "")[0]?.parameters ?? {})

  const ending = (status: number, told: ReadonlyArray<readonly [Scheme, Parameters]>): Ending => ({
    status,
    headers: (scope) =>
      Effect.map(
        Effect.forEach(
          told,
          ([scheme, said]) =>
            Effect.map(parametersOf(scheme), (own) => ({ scheme, parameters: { ...common, scope, ...said, ...own } }))
        ),
        (challenges) => ({ "www-authenticate": WwwAuthenticate.format(challenges) })
      )
  })

  return {
    all: ending(401, schemes.map((scheme) => [scheme, {}])),
    one: (status, scheme, said, others = false) => {
      const taken = schemes.includes(scheme) ? scheme : schemes[0] ?? "Bearer"
      return ending(status, [
        [taken, said],
        ...(others ? schemes.filter((one) => one !== taken).map((one) => [one, {}] as const) : [])
      ])
    }
  }
}
