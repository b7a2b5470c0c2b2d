/** What happens behind the pages: what the library says, and what the providers are asked. In memory, the newest first. */
import { OAuthLogging } from "@effect-oauth/core"
import { type Clock, Context, Effect, HashMap, Layer, Logger, LogLevel, Option } from "effect"
import type { ServedRequest } from "../servers/authorizationServer.ts"

export interface Entry {
  /** In milliseconds since 1970. */
  readonly at: number
  readonly who: "library" | "provider"
  readonly level: LogLevel.LogLevel["label"]
  readonly text: string
}

export class Journal extends Context.Tag("examples/web/Journal")<Journal, {
  readonly entries: () => ReadonlyArray<Entry>
  /** How often the providers were asked for what. */
  readonly counts: () => ReadonlyMap<string, number>
}>() {}

const capacity = 200

/** Without the parameters of the request: they are nobody's business. */
const kindOf = ({ fields, path }: ServedRequest): string => {
  switch (path) {
    case "/token":
      return fields.includes("refresh_token")
        ? "refresh token exchanged"
        : fields.includes("code")
        ? "code exchanged"
        : "token for the app itself"
    case "/auth":
      return "login begun"
    case "/auth/:uid":
      return "login continued"
    case "/request":
      return "login pushed"
    case "/token/revocation":
      return "token revoked"
    case "/me":
      return "userinfo read"
    case "/jwks":
      return "keys read"
    case "/session/end":
    case "/session/end/confirm":
      return "sign-out"
    default:
      return path.startsWith("/.well-known/") ? "metadata read" : "something else"
  }
}

const described = (request: ServedRequest): string => {
  const { assertion, error, method, path, proof, status } = request
  const extras = [
    ...(assertion === undefined ? [] : ["client assertion"]),
    ...(proof === undefined ? [] : ["proof of possession"])
  ]
  const withExtras = extras.length === 0 ? "" : `, with ${extras.join(" and ")}`
  return `${kindOf(request)}: ${method} ${path} ${status}${error === undefined ? "" : ` ${error}`}${withExtras}`
}

export const make = Effect.map(Effect.clock, (clock: Clock.Clock) => {
  const entries: Array<Entry> = []
  const counts = new Map<string, number>()
  const add = (entry: Entry): void => {
    entries.unshift(entry)
    entries.length = Math.min(entries.length, capacity)
  }
  const logger = Logger.make(({ annotations, date, logLevel, message }) => {
    const client = Option.getOrUndefined(HashMap.get(annotations, "oauth.client"))
    const text = [message].flat().map(String).join(" ")
    add({
      at: date.getTime(),
      who: "library",
      level: logLevel.label,
      text: client === undefined ? text : `${String(client)}: ${text}`
    })
  })
  const journal = Journal.of({ entries: () => entries, counts: () => counts })
  return {
    ...journal,
    /** In place of the console, and all that the library has to say. */
    layer: Layer.mergeAll(
      Layer.succeed(Journal, journal),
      Logger.replace(Logger.defaultLogger, logger),
      OAuthLogging.layer(LogLevel.Debug)
    ),
    onAnswer: (request: ServedRequest) => {
      const kind = kindOf(request)
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      add({ at: clock.unsafeCurrentTimeMillis(), who: "provider", level: "INFO", text: described(request) })
    }
  }
})
