/**
 * What is done to the authorization server while the worker works, and what has to come of it.
 */
import { OAuthMetrics } from "@effect-oauth/core"
import { Effect, Metric, Schedule } from "effect"
import type { AuthorizationServer } from "../servers/authorizationServer.ts"
import { type ClientName, clientNames, type Story, type Tell } from "./story.ts"

/** Waits for something to happen; what does not happen in time is found out at the end. */
const until = (happened: () => boolean) =>
  Effect.sync(happened).pipe(
    Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced("20 millis") }),
    Effect.timeoutOption("30 seconds")
  )

const untilRefreshAhead = (story: Story, client: ClientName) =>
  Effect.suspend(() => {
    const { refreshedAhead } = story.of[client]
    return until(() => story.of[client].refreshedAhead > refreshedAhead)
  })

const revoke = (server: AuthorizationServer, story: Story, tell: Tell, client: ClientName) =>
  Effect.gen(function*() {
    const { healed } = story.of[client]
    yield* server.revokeAllTokens(client)
    tell({ _tag: "TokenRevoked", client })
    yield* until(() => story.of[client].healed > healed)
  })

/** Each step waits for what the one before it led to, so that a slow machine tells the same story. */
export const live = (server: AuthorizationServer, story: Story, tell: Tell) =>
  Effect.gen(function*() {
    yield* until(() => clientNames.every((client) => story.of[client].callsWithToken >= 5))
    yield* revoke(server, story, tell, "invoice.client")
    yield* untilRefreshAhead(story, "customer.client")
    yield* untilRefreshAhead(story, "invoice.client")
    // both tokens have enough time left now
    yield* server.stop
    tell({ _tag: "ServerStopped" })
    yield* Effect.sleep("4500 millis")
    yield* server.restart
    tell({ _tag: "ServerRestarted" })
    yield* untilRefreshAhead(story, "customer.client")
    yield* Effect.sleep("2 seconds")
    yield* revoke(server, story, tell, "customer.client")
    yield* until(() => clientNames.every((client) => story.of[client].tokensAfterReturn > 0))
    yield* Effect.sleep("1 second")
  })

/** What the day had to show, as far as it did not happen. */
export const missingFrom = (story: Story): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(Metric.value(OAuthMetrics.refreshedAhead), ({ count }) => {
    const expected: ReadonlyArray<readonly [happened: boolean, what: string]> = [
      [count > 0 && story.sum("refreshedAhead") > 0, "a token renewed ahead of its end"],
      ...clientNames.map((client) => [story.of[client].healed > 0, `a 401 of ${client} healed`] as const),
      [story.sum("servedWithoutServer") > 0, "calls answered while the server was down"],
      [story.sum("tokensAfterReturn") > 0, "a token from the server after it came back"],
      [story.sum("failures") === 0, "a worker without a failure"]
    ]
    return expected.flatMap(([happened, what]) => happened ? [] : [what])
  })
