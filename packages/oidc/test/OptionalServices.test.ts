/** Every optional service of machines' tokens, in every place where it can be provided: it is used. */
import {
  AccessTokenHttpClient,
  Backchannel,
  ClientAssertions,
  ClientCertificate,
  type ClientCredentialsTokenManager,
  DPoPKeyStore,
  DPoPNonceStore,
  DPoPProofs,
  OAuth,
  Signer,
  TokenCacheKey,
  TokenClients,
  TokenEncryption,
  TokenStore
} from "@effect-oauth/core"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import {
  api,
  customized,
  encryption,
  expectUsed,
  optional,
  type Row,
  spied,
  store,
  type Used
} from "./support/optionalServices.ts"

/** A server that notes what it was sent; answers with a token, bound to a key where a proof came. */
const server = (used: Used, name: string) =>
  HttpClient.make((request, url) =>
    Effect.sync(() => {
      const form = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
      used.add(`${name} ${url.pathname} ${form}`)
      const token = { access_token: "t", token_type: request.headers.dpop === undefined ? "Bearer" : "DPoP" }
      return HttpClientResponse.fromWeb(request, Response.json({ ...token, expires_in: 100, scope: "x" }))
    })
  )

const certificate = (used: Used) =>
  Layer.succeed(ClientCertificate.ClientCertificate, {
    thumbprint: () => {
      used.add("ClientCertificate.thumbprint")
      return "thumbprint"
    }
  })

interface MachineRow extends Row {
  /** Which client calls. */
  readonly client?: "partner"
}

const machineRows: Readonly<Record<string, MachineRow>> = {
  TokenRequestCustomizer: {
    provide: () => optional(customized("customized")),
    expected: /^server \/token .*scope=customized/
  },
  TokenStore: { provide: (used) => optional(store(used)), expected: /^TokenStore.set$/ },
  TokenEncryption: {
    provide: (used) =>
      optional(Layer.merge(spied(used, TokenEncryption.TokenEncryption, encryption), TokenStore.layerMemory)),
    expected: /^TokenEncryption.seal$/
  },
  "Signer for a TokenEncryption that was built without one": {
    provide: (used) =>
      optional(Layer.mergeAll(encryption, TokenStore.layerMemory, spied(used, Signer.Signer, Signer.layer))),
    expected: /^Signer.sealing$/
  },
  Signer: { provide: (used) => optional(spied(used, Signer.Signer, Signer.layer)), expected: /^Signer.signing$/ },
  Backchannel: {
    provide: (used) => optional(Layer.succeed(Backchannel.Backchannel, server(used, "backchannel"))),
    expected: /^backchannel \/token/,
    client: "partner"
  },
  ClientCertificate: {
    provide: (used) =>
      optional(Layer.merge(
        Layer.succeed(Backchannel.Backchannel, server(used, "backchannel")),
        certificate(used)
      )),
    expected: /^ClientCertificate.thumbprint$/,
    client: "partner"
  },
  ClientAssertions: {
    provide: () => optional(ClientAssertions.layer(() => Effect.succeedSome({ value: Redacted.make("asserted") }))),
    expected: /^server \/token .*client_assertion=asserted/
  },
  TokenCacheKey: {
    provide: (used) =>
      optional(TokenCacheKey.layer(({ name }) => {
        used.add("TokenCacheKey")
        return name
      })),
    expected: /^TokenCacheKey$/
  },
  DPoPKeyStore: {
    provide: (used) =>
      optional(Layer.provide(spied(used, DPoPKeyStore.DPoPKeyStore, DPoPKeyStore.layerGenerated()), Signer.layer)),
    expected: /^DPoPKeyStore.get$/
  },
  DPoPNonceStore: {
    provide: (used) => optional(spied(used, DPoPNonceStore.DPoPNonceStore, DPoPNonceStore.layer())),
    expected: /^DPoPNonceStore.get$/
  },
  DPoPProofs: {
    provide: (used) =>
      optional(
        Layer.provide(spied(used, DPoPProofs.DPoPProofs, DPoPProofs.layer), [Signer.layer, DPoPNonceStore.layer()])
      ),
    expected: /^DPoPProofs.proof$/
  }
}

type Machines = ClientCredentialsTokenManager.ClientCredentialsTokenManager | TokenClients.TokenClients

/** A bundle with an optional service, provided as documented. */
const places: Readonly<
  Record<
    string,
    <A, B>(
      bundle: Layer.Layer<A, never, B>,
      below: Layer.Layer<B>,
      service: Layer.Layer<never>
    ) => Layer.Layer<A | B>
  >
> = {
  "to the bundle": (bundle, below, service) => bundle.pipe(Layer.provide(service), Layer.provideMerge(below)),
  "below the clients": (bundle, below, service) => bundle.pipe(Layer.provideMerge(below), Layer.provide(service)),
  "beside the clients": (bundle, below, service) => bundle.pipe(Layer.provideMerge(Layer.merge(below, service))),
  "beside the clients, first": (bundle, below, service) => bundle.pipe(Layer.provideMerge(Layer.merge(service, below)))
}

/** Whatever else is merged with it, before or after. */
const merges: Readonly<Record<string, <A>(layer: Layer.Layer<A>) => Layer.Layer<A>>> = {
  "": (layer) => layer,
  ", handed on": (layer) => Layer.provideMerge(Layer.succeed(Unrelated, 1), layer) as typeof layer,
  ", merged": (layer) => Layer.merge(Layer.succeed(Unrelated, 1), layer) as typeof layer
}

class Unrelated extends Context.Tag("Unrelated")<Unrelated, number>() {}

describe("OAuth.layer and NodeOAuth.layer", () => {
  const clients = (seen: Used) =>
    Layer.orDie(TokenClients.layer({
      worker: {
        tokenEndpoint: "https://as.test/token",
        clientId: "worker",
        clientSecret: Redacted.make("secret"),
        dpop: true,
        httpClient: server(seen, "server")
      },
      partner: { tokenEndpoint: "https://as.test/token", clientId: "partner", clientSecret: Redacted.make("secret") }
    }))
  const base = (seen: Used) => Layer.succeed(HttpClient.HttpClient, server(seen, "plain"))
  const bundles: Readonly<
    Record<string, (seen: Used) => readonly [Layer.Layer<OAuth.Services, never, any>, Layer.Layer<any>]>
  > = {
    OAuth: (seen) => [OAuth.layer, Layer.merge(clients(seen), base(seen))],
    NodeOAuth: (seen) => [NodeOAuth.layer, clients(seen)]
  }

  /** A call to an API: by the client that has its own way to the server, or by the other one. */
  const call = (name: string) =>
    Effect.flatMap(
      AccessTokenHttpClient.clientCredentials(name),
      (withToken) => withToken(api).get("https://api.test/")
    )

  for (const [bundle, parts] of Object.entries(bundles)) {
    for (const [name, { client = "worker", expected, provide }] of Object.entries(machineRows)) {
      for (const [where, place] of Object.entries(places)) {
        for (const [how, merge] of Object.entries(merges)) {
          it.live(`${bundle}.layer uses ${name}, provided ${where}${how}`, () => {
            const seen: Used = new Set()
            const [layer, below] = parts(seen)
            const services: Layer.Layer<Machines> = merge(place(layer, below, provide(seen)))
            return call(client).pipe(Effect.provide(services), Effect.map(() => expectUsed(seen, expected)))
          })
        }
      }
    }
  }
})
