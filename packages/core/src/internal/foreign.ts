/**
 * Services that a program brings: what they throw, or die of, is a failure like any other.
 */
import * as Effect from "effect/Effect"
import { TokenClientUnavailable } from "../OAuthError.ts"
import type { TokenClients } from "../TokenClients.ts"
import { isKnown } from "./known.ts"
import { nameOf } from "./problem.ts"

/** @internal What `run` gives, or `otherwise` where it throws or dies. */
export const foreign = <A, E, R, A2, E2>(
  run: () => Effect.Effect<A, E, R>,
  otherwise: (defect: unknown) => Effect.Effect<A2, E2>
): Effect.Effect<A | A2, E | E2, R> => Effect.catchAllDefect(Effect.suspend(run), otherwise)

/** @internal A view of the clients that fails with a type, whoever wrote it. What is known already stays so. */
export const foreignClients = (
  clients: TokenClients["Type"]
): Pick<TokenClients["Type"], "get" | "check" | "changed"> & { readonly revision: number | undefined } => {
  const unavailable = (name: string | undefined) => (defect: unknown) =>
    Effect.fail(new TokenClientUnavailable({ clientName: name ?? "", cause: nameOf(defect) }))
  return {
    get: (name) => {
      try {
        const found = clients.get(name)
        return isKnown(found) ? found : Effect.catchAllDefect(found, unavailable(name))
      } catch (defect) {
        return unavailable(name)(defect)
      }
    },
    check: (name) => Effect.suspend(() => clients.check(name)),
    changed: (client) => foreign(() => clients.changed(client), () => Effect.succeedNone),
    get revision() {
      return clients.revision
    }
  }
}
