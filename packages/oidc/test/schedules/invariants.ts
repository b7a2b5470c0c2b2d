/** What must hold after every run, whatever the scenario. */
import type { Counters } from "./explorer.ts"
import type { Presentation, ScriptedServer } from "./scriptedServer.ts"
import type { ScriptedStore } from "./scriptedStore.ts"
import type { Host } from "./world.ts"

export interface Violation {
  readonly invariant: string
  readonly problem: string
}

/** The process ended before it could write down what it was given. */
const hasEnded = ({ hasEndedEarly, isKilled }: Host): boolean => isKilled || hasEndedEarly

/** An answer that a process had, or would have had if it had waited. Of one that ended soon after, the others cannot know. */
const isKnown = ({ host, isAnswerLost, outcome }: Presentation): boolean =>
  !isAnswerLost && outcome === "ok" && !hasEnded(host)

/** Presented although its answer was had, or refused for good. */
const isRepeated = (earlier: Presentation, later: Presentation): boolean =>
  isKnown(earlier) ||
  (earlier.kind === "refresh" && earlier.delivered && earlier.outcome === "invalid_grant" &&
    earlier.host === later.host)

export const judge = (
  { server, store }: { readonly server: ScriptedServer; readonly store: ScriptedStore },
  violated: (invariant: string, problem: string) => void,
  counters: Counters | undefined
): void => {
  const byValue = new Map<string, Array<Presentation>>()
  for (const presentation of server.presentations) {
    if (presentation.outcome === "unsent") continue
    byValue.set(presentation.value, [...byValue.get(presentation.value) ?? [], presentation])
  }
  for (const [value, presentations] of byValue) {
    presentations.forEach((later, index) => {
      const earlier = presentations.slice(0, index).find((one) => isRepeated(one, later))
      if (earlier === undefined) return
      if (counters !== undefined) counters.doublePresentations++
      violated(
        "no token or code is presented twice",
        `${value}: by ${earlier.host.name} at ${earlier.at} ms (${earlier.outcome}), and by ${later.host.name} at ${later.at} ms`
      )
    })
  }
  for (const regression of store.regressions) violated("no newer token is replaced by an older one", regression)
  if (counters === undefined) return
  for (const { delivered, kind, outcome } of server.presentations) {
    if (kind === "refresh" && outcome === "ok") counters.refreshes++
    if (!delivered && (outcome === "ok" || outcome === "unknown")) counters.unknownOutcomes++
  }
}
