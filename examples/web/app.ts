/** The app as one Layer: routes, sessions, registrations, and a server that listens. */
import { type OAuthError, TokenEncryption } from "@effect-oauth/core"
import { Oidc, type OidcClient, OidcClients, SessionStore } from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import * as RedisTokenStore from "@effect-oauth/platform-node/RedisTokenStore"
import { HttpLayerRouter } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Layer } from "effect"
import { ImpatientServer } from "../servers/listening.ts"
import * as Routes from "./routes.ts"
import { Site } from "./site.ts"

/** Where sessions are kept. The ring seals what leaves this process: the newest key first, older ones still open. */
export type SessionPlace =
  | { readonly _tag: "Cookies"; readonly ring: ReadonlyArray<TokenEncryption.EncryptionKey> }
  | { readonly _tag: "Memory" }
  | { readonly _tag: "Redis"; readonly url: string; readonly ring: ReadonlyArray<TokenEncryption.EncryptionKey> }

export interface Settings {
  readonly port: number
  /** Where browsers find it. */
  readonly publicUrl: string
  readonly clients: Readonly<Record<string, OidcClient.OidcClientOptions>>
  readonly sessions: SessionPlace
  readonly site: Site["Type"]
}

/** Services that `Oidc.layer` uses where they are there, so its type does not ask for them. */
const sessionsIn = (
  place: SessionPlace
): Layer.Layer<never, OAuthError.EncryptionKeysInvalid | OAuthError.TokenStoreError> => {
  switch (place._tag) {
    case "Cookies":
      return TokenEncryption.layer(place.ring)
    case "Memory":
      return SessionStore.layerMemory
    case "Redis":
      return SessionStore.layer.pipe(
        Layer.provideMerge(RedisTokenStore.layer({ url: place.url })),
        Layer.provideMerge(TokenEncryption.layer(place.ring))
      )
  }
}

export const layer = ({ clients, port, publicUrl, sessions, site }: Settings) =>
  HttpLayerRouter.serve(Routes.layer, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provide(NodeHttpServer.layer(() => new ImpatientServer(), { host: "127.0.0.1", port })),
    Layer.provide(Oidc.layer({ publicUrl })),
    Layer.provide(NodeOAuth.layer),
    Layer.provide(OidcClients.layer(clients)),
    Layer.provide(sessionsIn(sessions)),
    Layer.provide(Layer.succeed(Site, site))
  )
