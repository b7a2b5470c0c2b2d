/**
 * Makes a story of what the servers and the worker saw. It has no effects and is told nothing of what should happen.
 */

export const clientNames = ["invoice.client", "customer.client"] as const
export type ClientName = typeof clientNames[number]

/** Something that was seen, and by whom. */
export type Happening =
  /** The authorization server answered at its token endpoint. */
  | { readonly _tag: "TokenAnswered"; readonly client: ClientName; readonly status: number }
  /** The API answered. */
  | { readonly _tag: "ApiAnswered"; readonly client: ClientName; readonly status: number }
  /** The business code of the worker makes a call, and has its result. */
  | { readonly _tag: "CallBegan"; readonly client: ClientName }
  | { readonly _tag: "CallEnded"; readonly client: ClientName; readonly failure: string | undefined }
  /** The library logged a warning. */
  | { readonly _tag: "Warned"; readonly client: string; readonly message: string }
  /** What the demo did to the authorization server. */
  | { readonly _tag: "ServerStarted" | "ServerStopped" | "ServerRestarted" }
  | { readonly _tag: "TokenRevoked"; readonly client: ClientName }

export type Tell = (happening: Happening) => void

export interface StoryEvent {
  /** The name of a client, or "server". */
  readonly who: string
  readonly event:
    | "started"
    | "first token"
    | "reuse"
    | "refresh ahead"
    | "late refresh"
    | "revoked"
    | "rejected"
    | "replaced"
    | "healed"
    | "stopped"
    | "served without server"
    | "restarted"
    | "token refused"
    | "warning"
    | "failure"
  readonly text: string
}

interface Chapter {
  calls: number
  failures: number
  tokenRequests: number
  tokens: number
  refreshedAhead: number
  healed: number
  servedWithoutServer: number
  /** Since the server came back last. */
  tokensAfterReturn: number
  /** Of the current token, in milliseconds. */
  obtainedAt: number
  callsWithToken: number
  /** The API refused the token, and the call has not been answered otherwise yet. */
  rejected: boolean
  beganWithoutServer: boolean
  /** Since it went down. */
  callsWithoutServer: number
}

const emptyChapter = (): Chapter => ({
  calls: 0,
  failures: 0,
  tokenRequests: 0,
  tokens: 0,
  refreshedAhead: 0,
  healed: 0,
  servedWithoutServer: 0,
  tokensAfterReturn: 0,
  obtainedAt: 0,
  callsWithToken: 0,
  rejected: false,
  beganWithoutServer: false,
  callsWithoutServer: 0
})

const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

export class Story {
  readonly of: Readonly<Record<ClientName, Readonly<Chapter>>>
  private readonly chapters: Record<ClientName, Chapter>
  private server: "first run" | "stopped" | "back" = "first run"

  constructor(private readonly tokenLifetimeMillis: number) {
    this.chapters = { "invoice.client": emptyChapter(), "customer.client": emptyChapter() }
    this.of = this.chapters
  }

  sum(field: "calls" | "failures" | "tokens" | "refreshedAhead" | "servedWithoutServer" | "tokensAfterReturn"): number {
    return clientNames.reduce((total, name) => total + this.chapters[name][field], 0)
  }

  /** What there is to tell of it. `at` is in milliseconds. */
  next(happening: Happening, at: number): ReadonlyArray<StoryEvent> {
    switch (happening._tag) {
      case "TokenAnswered":
        return this.tokenAnswered(happening.client, happening.status, at)
      case "ApiAnswered":
        return this.apiAnswered(happening.client, happening.status)
      case "CallBegan":
        this.chapters[happening.client].beganWithoutServer = this.server === "stopped"
        return []
      case "CallEnded":
        return this.callEnded(happening.client, happening.failure)
      case "Warned":
        return [{ who: happening.client, event: "warning", text: happening.message }]
      case "TokenRevoked":
        return [{ who: "server", event: "revoked", text: `revokes the token of ${happening.client}` }]
      case "ServerStarted":
        return [{ who: "server", event: "started", text: `up, tokens live ${this.tokenLifetimeMillis / 1000} s` }]
      case "ServerStopped":
        this.server = "stopped"
        for (const name of clientNames) this.chapters[name].callsWithoutServer = 0
        return [{ who: "server", event: "stopped", text: "down, connections are refused" }]
      case "ServerRestarted":
        return this.restarted()
    }
  }

  private tokenAnswered(client: ClientName, status: number, at: number): ReadonlyArray<StoryEvent> {
    const chapter = this.chapters[client]
    chapter.tokenRequests++
    if (status !== 200) return [{ who: client, event: "token refused", text: `the server answers ${status}` }]
    const told = this.tokenIssued(chapter, at)
    chapter.tokens++
    chapter.obtainedAt = at
    chapter.callsWithToken = 0
    if (this.server === "back") chapter.tokensAfterReturn++
    return [{ who: client, ...told }]
  }

  private tokenIssued(chapter: Chapter, at: number): Omit<StoryEvent, "who"> {
    if (chapter.tokens === 0) return { event: "first token", text: "first token" }
    if (chapter.rejected) return { event: "replaced", text: "another token" }
    const left = chapter.obtainedAt + this.tokenLifetimeMillis - at
    const from = this.server === "back" && chapter.tokensAfterReturn === 0 ? ", from the server that is back" : ""
    if (left <= 0) {
      return { event: "late refresh", text: `new token, ${seconds(-left)} after the end of the old one${from}` }
    }
    chapter.refreshedAhead++
    return { event: "refresh ahead", text: `new token, ${seconds(left)} before the end of the old one${from}` }
  }

  private apiAnswered(client: ClientName, status: number): ReadonlyArray<StoryEvent> {
    const chapter = this.chapters[client]
    if (status === 401) {
      chapter.rejected = true
      return [{ who: client, event: "rejected", text: "the API answers 401" }]
    }
    if (status !== 200) return []
    chapter.callsWithToken++
    if (chapter.rejected) {
      chapter.rejected = false
      chapter.healed++
      return [{ who: client, event: "healed", text: "the same call again: 200" }]
    }
    return chapter.callsWithToken % 5 === 0
      ? [{ who: client, event: "reuse", text: `${chapter.callsWithToken} calls, still the same token` }]
      : []
  }

  private callEnded(client: ClientName, failure: string | undefined): ReadonlyArray<StoryEvent> {
    const chapter = this.chapters[client]
    chapter.calls++
    if (failure !== undefined) {
      chapter.failures++
      return [{ who: client, event: "failure", text: `the call failed: ${failure}` }]
    }
    if (!chapter.beganWithoutServer || this.server !== "stopped") return []
    chapter.servedWithoutServer++
    return chapter.callsWithoutServer++ === 0
      ? [{ who: client, event: "served without server", text: "calls go on with the token that is still valid" }]
      : []
  }

  private restarted(): ReadonlyArray<StoryEvent> {
    this.server = "back"
    for (const name of clientNames) this.chapters[name].tokensAfterReturn = 0
    const served = clientNames.reduce((total, name) => total + this.chapters[name].callsWithoutServer, 0)
    return [{ who: "server", event: "restarted", text: `up again, ${served} calls went well meanwhile` }]
  }
}
