/** What the processes of a test have to do with: an authorization server, an API, and workers that are there for all tests. */
import { Context, Effect, Layer, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import * as AuthorizationServer from "../../../../../examples/servers/authorizationServer.ts"
import { listen } from "../../support/listen.ts"
import * as FaultProxy from "./faultProxy.ts"
import type { Settings, StoreSettings } from "./protocol.ts"
import * as Workers from "./workers.ts"

/** Four processes that run until the last test has ended. */
export class Fleet extends Context.Tag("Fleet")<Fleet, ReadonlyArray<Workers.Worker>>() {}

export const FleetLive: Layer.Layer<Fleet> = Layer.scoped(Fleet, Effect.replicateEffect(Workers.start, 4))

export const clientSecret = "s3cret-of-the-client"

export interface Site {
  readonly server: AuthorizationServer.AuthorizationServer
  /** On the way to the server. */
  readonly way: FaultProxy.FaultProxy
  /** Answers 401 to a token that is none or is not active any more. */
  readonly api: string
  readonly settings: (store: StoreSettings, more?: Partial<Settings>) => Settings
}

export const site: Effect.Effect<Site, never, Scope.Scope> = Effect.gen(function*() {
  const server = yield* AuthorizationServer.start({
    clients: [{ client_id: "worker", client_secret: clientSecret }]
  })
  const way = yield* FaultProxy.start(server.port)
  const revoked = new Set<string>()
  const api = yield* listen((request, response) => {
    const token = request.headers.authorization?.replace("Bearer ", "") ?? ""
    if (request.method === "DELETE") revoked.add(token)
    const isGood = token !== "" && !revoked.has(token)
    response.writeHead(isGood ? 200 : 401, isGood ? {} : { "www-authenticate": `Bearer error="invalid_token"` }).end()
  })
  return {
    server,
    way,
    api,
    settings: (store, more) => ({
      store,
      tokenEndpoint: `http://127.0.0.1:${way.port}/token`,
      clientId: "worker",
      clientSecret,
      ...more
    })
  }
})

/** The API refuses this token from now on. */
export const revoke = ({ api }: Site, token: string): Effect.Effect<void> =>
  Effect.promise(async () => {
    await (await fetch(api, { method: "DELETE", headers: { authorization: `Bearer ${token}` } })).text()
  })

export const newName = (): string => `t${randomUUID().replaceAll("-", "")}`
