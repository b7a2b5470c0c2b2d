/**
 * Functions of a program that are asked for a token or for what to ask for. Whatever they do, a call ends with an error that
 * says so: nothing of it is a defect, and none waits for ever.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { CredentialUnavailable } from "../OAuthError.ts"
import { nameOf } from "./problem.ts"

/** Longer than anything of this library's own takes: an acquisition with its retries, a turn that is waited for. */
const longest = Duration.minutes(1)

/** @internal What `run` gives; its own errors stay what they are. */
export const guarded = <A, E, R>(
  what: string,
  run: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E | CredentialUnavailable, R> => {
  const unavailable = (problem: string) =>
    new CredentialUnavailable({ clientName: "", credential: "token", problem: `the ${what} ${problem}` })
  return Effect.suspend(() => {
    const effect = run()
    if (!Effect.isEffect(effect)) return unavailable("gave no effect")
    // What is there already needs no clock.
    return Exit.isExit(effect) ? effect : Effect.timeoutFail(effect, {
      duration: longest,
      onTimeout: () => unavailable(`took longer than ${Duration.format(longest)}`)
    })
  }).pipe(Effect.catchAllDefect((defect) => unavailable(`broke off with a defect: ${nameOf(defect)}`)))
}

const known = new WeakSet<object>()

/** @internal Says of a retriever that it is this library's own. It spares the guard, and changes nothing else. */
export const trusted = <T extends object>(retriever: T): T => {
  known.add(retriever)
  return retriever
}

/** @internal */
export const isTrusted = (retriever: object): boolean => known.has(retriever)
