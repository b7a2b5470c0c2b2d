/** Two partners in one program, each of which wants a certificate of its own: each is shown its own, however Layers are put together. */
import {
  AccessTokenHttpClient,
  Backchannel,
  ClientAuthentication,
  ClientCertificate,
  ClientCredentialsTokenManager,
  OAuth,
  TokenCache,
  TokenClients
} from "@effect-oauth/core"
import { NodeBackchannel, NodeOAuth } from "@effect-oauth/platform-node"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer } from "effect"
import * as Certificates from "../../../examples/servers/certificates.ts"
import { listenTls, shownBy } from "./support/tls.ts"

type Name = "one" | "two"

const names: ReadonlyArray<Name> = ["one", "two"]

/** A part of a program that gets tokens of one partner. */
class One extends Context.Tag("One")<One, Effect.Effect<void, unknown>>() {}
class Two extends Context.Tag("Two")<Two, Effect.Effect<void, unknown>>() {}

const tags = { one: One, two: Two }

const partLayer = (name: Name) =>
  Layer.effect(
    tags[name] as typeof One,
    Effect.gen(function*() {
      const withToken = yield* AccessTokenHttpClient.clientCredentials(name)
      const api = HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null))))
      return Effect.asVoid(withToken(api).get("https://api.test/"))
    })
  ) as Layer.Layer<One | Two, never, ClientCredentialsTokenManager.ClientCredentialsTokenManager>

/** A token endpoint that wants a certificate of its own authority, and what is needed to call it. */
const partner = Effect.gen(function*() {
  const authority = yield* Certificates.makeAuthority()
  const { certificate, key } = yield* authority.server({ ip: ["127.0.0.1"] })
  const issued = yield* authority.client()
  const shown: Array<string | undefined> = []
  const server = yield* listenTls({ cert: certificate, key, ca: authority.certificate }, (request, response) => {
    shown.push(shownBy(request))
    response.end(JSON.stringify({ access_token: "t", token_type: "Bearer", expires_in: 60 }))
  })
  const backchannel = Layer.orDie(NodeBackchannel.layer({
    certificate: { certificate: { pem: issued.certificate }, key: { pem: issued.key } },
    ca: { pem: authority.certificate },
    proxy: false
  }))
  return { backchannel, endpoint: `${server.url}/token`, thumbprint: issued.thumbprint, shown }
})

const world = Effect.gen(function*() {
  const one = yield* partner
  const two = yield* partner
  const client = (tokenEndpoint: string) =>
    ({ tokenEndpoint, clientId: "c", authentication: "tls_client_auth", timeout: "5 seconds" }) as const
  const clients = Layer.orDie(TokenClients.layer({ one: client(one.endpoint), two: client(two.endpoint) }))
  return { one, two, clients }
})

type World = Effect.Effect.Success<typeof world>
type Bundle = Layer.Layer<
  OAuth.Services | HttpClient.HttpClient,
  never,
  TokenClients.TokenClients
>

const bundles = {
  NodeOAuth: [NodeOAuth.layer, Layer.empty],
  OAuth: [OAuth.layer as Bundle, FetchHttpClient.layer]
} as const

type Parts = Layer.Layer<One | Two>

/** Ways of putting it together, in each of which it is clear which part is to show which certificate. */
const ways: Readonly<Record<string, (world: World, bundle: Bundle) => Parts>> = {
  "each part is provided with both, merged": ({ clients, ...partners }, bundle) =>
    Layer.merge(
      partLayer("one").pipe(Layer.provide(bundle), Layer.provide(partners.one.backchannel)),
      partLayer("two").pipe(Layer.provide(bundle), Layer.provide(partners.two.backchannel))
    ).pipe(Layer.provide(clients)),
  "each part is provided with a bundle that is provided with a Backchannel": ({ clients, ...partners }, bundle) =>
    Layer.mergeAll(
      ...names.map((name) =>
        partLayer(name).pipe(Layer.provide(bundle.pipe(Layer.provide(partners[name].backchannel))))
      ) as [Layer.Layer<One | Two, never, TokenClients.TokenClients>]
    ).pipe(Layer.provide(clients)),
  "each part is provided with clients, too": ({ clients, ...partners }, bundle) =>
    Layer.mergeAll(...names.map((name) =>
      partLayer(name).pipe(
        Layer.provide(bundle),
        Layer.provide(Layer.merge(clients, partners[name].backchannel))
      )
    ) as [Parts]),
  "one in the surroundings of the other": ({ clients, one, two }, bundle) =>
    partLayer("two").pipe(
      Layer.provide(bundle),
      Layer.provide(two.backchannel),
      Layer.merge(partLayer("one")),
      Layer.provideMerge(bundle),
      Layer.provide(one.backchannel),
      Layer.provide(clients)
    ),
  "both in the surroundings of a third": ({ clients, ...partners }, bundle) =>
    Layer.mergeAll(
      ...names.map((name) =>
        partLayer(name).pipe(Layer.provide(bundle), Layer.provide(partners[name].backchannel))
      ) as [Layer.Layer<One | Two, never, TokenClients.TokenClients>]
    ).pipe(
      Layer.provide(bundle),
      Layer.provide(clients)
    )
}

const run = (parts: Parts) =>
  Effect.gen(function*() {
    const both = yield* Layer.build(parts)
    for (const name of names) yield* Context.get(both, tags[name] as typeof One)
  }).pipe(Effect.scoped)

const assertOwn = ({ one, two }: World) => {
  assert.deepStrictEqual(one.shown, [one.thumbprint])
  assert.deepStrictEqual(two.shown, [two.thumbprint])
}

describe("two partners", () => {
  for (const [bundle, [layer, below]] of Object.entries(bundles)) {
    for (const [way, make] of Object.entries(ways)) {
      it.scopedLive(`${bundle}.layer, ${way}: each is shown its own certificate`, () =>
        Effect.gen(function*() {
          const all = yield* world
          yield* run(make(all, layer).pipe(Layer.provide(below)))
          assertOwn(all)
        }))
    }

    for (const order of [[0, 1], [1, 0]] as const) {
      it.scopedLive(`${bundle}.layer, two bundles that were merged (${order.join()}): refused, with what to do`, () =>
        Effect.gen(function*() {
          const all = yield* world
          const two = names.map((name) => layer.pipe(Layer.provide(all[name].backchannel)))
          const merged = Layer.merge(two[order[0]]!, two[order[1]]!)
          const parts = Layer.merge(partLayer("one"), partLayer("two")).pipe(
            Layer.provide(merged),
            Layer.provide(all.clients),
            Layer.provide(below)
          )
          const exit = yield* Effect.exit(run(parts))
          assert.isTrue(Exit.isFailure(exit), JSON.stringify([all.one.shown, all.two.shown]))
          const message = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
          assert.include(message, "Backchannel")
          assert.include(message, "ClientCredentialsTokenManager")
          assert.include(message, "httpClient")
          assert.deepStrictEqual([...all.one.shown, ...all.two.shown], [])
        }))
    }
  }

  it.scopedLive("a bundle that is bound to a constant and provided with two: refused, with what to do", () =>
    Effect.gen(function*() {
      const all = yield* world
      const bundle = NodeOAuth.layer.pipe(Layer.provideMerge(all.clients))
      const parts = Layer.merge(
        partLayer("one").pipe(Layer.provide(bundle), Layer.provide(all.one.backchannel)),
        partLayer("two").pipe(Layer.provide(bundle), Layer.provide(all.two.backchannel))
      )
      const exit = yield* Effect.exit(run(parts))
      const message = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
      assert.include(
        message,
        "ClientCredentialsTokenManager: the Layer that it comes from was built with another service"
      )
      assert.include(message, "Backchannel")
      assert.deepStrictEqual([...all.one.shown, ...all.two.shown], [])
    }))

  it.scopedLive("a part that is provided with another Backchannel than its bundle: refused, with what to do", () =>
    Effect.gen(function*() {
      const all = yield* world
      const parts = partLayer("two").pipe(
        Layer.provide(NodeOAuth.layer.pipe(Layer.provide(all.two.backchannel))),
        Layer.provide(all.one.backchannel),
        Layer.provide(all.clients)
      )
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(parts)))
      assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "than the one that is provided here")
    }))

  it.scopedLive("clients with an httpClient and a certificate of their own, whatever the bundle is provided with", () =>
    Effect.gen(function*() {
      const all = yield* world
      const [one, two] = yield* Effect.forEach(
        names,
        (name) =>
          Effect.map(Layer.build(all[name].backchannel), (context) => ({
            tokenEndpoint: all[name].endpoint,
            clientId: "c",
            httpClient: Context.get(context, Backchannel.Backchannel),
            authentication: ClientAuthentication.tlsClientAuth({
              certificate: Context.get(context, ClientCertificate.ClientCertificate)
            })
          }))
      )
      const clients = Layer.orDie(TokenClients.layer({ one: one!, two: two! }))
      yield* run(
        Layer.merge(partLayer("one"), partLayer("two")).pipe(
          Layer.provide(NodeOAuth.layer),
          Layer.provide(all.two.backchannel),
          Layer.provide(clients)
        )
      )
      assertOwn(all)
    }))

  it.scopedLive("NodeBackchannel.layerHttpClient is the one of its Backchannel, in each part", () =>
    Effect.gen(function*() {
      const all = yield* world
      class Api extends Context.Tag("Api")<Api, HttpClient.HttpClient>() {}
      const clients = yield* Effect.forEach(names, (name) =>
        Effect.succeed(
          Layer.effect(Api, HttpClient.HttpClient).pipe(
            Layer.provide(NodeBackchannel.layerHttpClient),
            Layer.provide(all[name].backchannel)
          )
        ))
      const built = Layer.mergeAll(
        Layer.effect(One, Effect.map(Api, (api) => Effect.asVoid(api.get(all.one.endpoint)))).pipe(
          Layer.provide(clients[0]!)
        ),
        Layer.effect(Two, Effect.map(Api, (api) => Effect.asVoid(api.get(all.two.endpoint)))).pipe(
          Layer.provide(clients[1]!)
        )
      )
      yield* run(built)
      assertOwn(all)
    }))
})

describe("one bundle", () => {
  /** Two parts that want the same token. */
  const requests = (
    wire: (bundle: Bundle, part: typeof partLayer) => Layer.Layer<One | Two, never, TokenClients.TokenClients>
  ) =>
    Effect.gen(function*() {
      let asked = 0
      const httpClient = HttpClient.make((request) =>
        Effect.sync(() => {
          asked++
          return HttpClientResponse.fromWeb(
            request,
            Response.json({ access_token: "t", token_type: "Bearer", expires_in: 60 })
          )
        })
      )
      const options = { tokenEndpoint: "https://as.test/token", clientId: "c", httpClient }
      const part = (name: Name) =>
        Layer.effect(
          tags[name] as typeof One,
          Effect.map(
            ClientCredentialsTokenManager.ClientCredentialsTokenManager,
            (manager) => Effect.asVoid(manager.get("client"))
          )
        ) as ReturnType<typeof partLayer>
      yield* run(wire(NodeOAuth.layer, part).pipe(Layer.provide(Layer.orDie(TokenClients.layer({ client: options })))))
      return asked
    })

  const shared: Readonly<Record<string, Parameters<typeof requests>[0]>> = {
    "that both parts are provided with": (bundle, part) =>
      Layer.merge(part("one").pipe(Layer.provide(bundle)), part("two").pipe(Layer.provide(bundle))),
    "that both parts are provided with by one constant": (bundle, part) => {
      const all = bundle.pipe(Layer.provideMerge(Layer.empty))
      return Layer.merge(part("one").pipe(Layer.provide(all)), part("two").pipe(Layer.provide(all)))
    },
    "that is provided to all": (bundle, part) => Layer.merge(part("one"), part("two")).pipe(Layer.provide(bundle)),
    "that is provided to one, and to all": (bundle, part) =>
      Layer.merge(part("one").pipe(Layer.provide(bundle)), part("two")).pipe(Layer.provide(bundle))
  }
  for (const [what, wire] of Object.entries(shared)) {
    it.live(`${what} is one: one token for all`, () =>
      Effect.map(requests(wire), (asked) => assert.strictEqual(asked, 1)))
  }

  it.live("with another service of its own is another one", () =>
    Effect.map(
      requests((bundle, part) =>
        Layer.merge(
          part("one").pipe(Layer.provide(bundle), Layer.provide(TokenCache.layer())),
          part("two").pipe(Layer.provide(bundle))
        )
      ),
      (asked) => assert.strictEqual(asked, 2)
    ))
})
