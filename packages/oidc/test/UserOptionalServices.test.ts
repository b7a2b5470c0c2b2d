/** Every optional service of users' tokens, in every place where it can be provided: it is used. */
import { Backchannel, OAuthLogging, Signer, TokenEncryption } from "@effect-oauth/core"
import {
  CurrentUser,
  IdToken,
  LoginStateStore,
  Oidc,
  OidcClients,
  OidcHooks,
  OidcLogin,
  SessionStore,
  StoredSession,
  TokenConcurrency,
  UserAccessTokenHttpClient,
  UserTokenManager,
  UserTokenStore
} from "@effect-oauth/oidc"
import { NodeOAuth } from "@effect-oauth/platform-node"
import { HttpClient, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, LogLevel, Redacted } from "effect"
import { Browser } from "./support/browser.ts"
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
import * as TokenServer from "./support/tokenServer.ts"
import * as Web from "./support/web.ts"

/** The sessions' own way of sealing, where the row has none. */
const sealed = optional(encryption)

const silent = Logger.remove(Logger.defaultLogger)

interface UserRow extends Row {
  /** Whether `NodeOAuth.layer` may be given it, and hands it on. */
  readonly isHandedOn?: boolean
  readonly withoutEncryption?: boolean
  /** `NodeOAuth.layer` has this service too, so that it is found only below of that. */
  readonly isOfBundle?: boolean
}

const userRows: Readonly<Record<string, UserRow>> = {
  TokenRequestCustomizer: {
    provide: () => optional(customized("customized")),
    expected: /^asked for customized$/,
    isHandedOn: true
  },
  TokenStore: {
    provide: (used) => optional(store(used)),
    expected: /^TokenStore.withLock$/,
    isHandedOn: true
  },
  TokenEncryption: {
    provide: (used) => optional(spied(used, TokenEncryption.TokenEncryption, encryption)),
    expected: /^TokenEncryption.seal$/,
    isHandedOn: true,
    withoutEncryption: true
  },
  "Signer for a TokenEncryption that was built without one": {
    provide: (used) => optional(Layer.merge(encryption, spied(used, Signer.Signer, Signer.layer))),
    expected: /^Signer.sealing$/,
    isHandedOn: true,
    isOfBundle: true,
    withoutEncryption: true
  },
  SessionStore: {
    provide: (used) => optional(spied(used, SessionStore.SessionStore, SessionStore.layerMemory)),
    expected: /^SessionStore.set$/
  },
  OidcHooks: {
    provide: (used) =>
      Web.given(Layer.succeed(OidcHooks.OidcHooks, {
        transformPrincipal: (principal) => Effect.sync(() => (used.add("transformPrincipal"), principal))
      })),
    expected: /^transformPrincipal$/
  },
  TokenConcurrency: {
    provide: (used) => optional(spied(used, TokenConcurrency.TokenConcurrency, TokenConcurrency.layerLocal)),
    expected: /^TokenConcurrency.serialised$/
  },
  UserTokenStore: {
    provide: (used) => optional(spied(used, UserTokenStore.UserTokenStore, UserTokenStore.layer)),
    expected: /^UserTokenStore.get$/
  },
  LoginStateStore: {
    provide: (used) =>
      optional(Layer.provide(
        spied(used, LoginStateStore.LoginStateStore, LoginStateStore.layer),
        Signer.layer
      )),
    expected: /^LoginStateStore.save$/
  },
  IdTokenVerifier: {
    provide: (used) =>
      Web.given(spied(used, IdToken.IdTokenVerifier, Layer.succeed(IdToken.IdTokenVerifier, Web.idTokens))),
    expected: /^IdTokenVerifier.verify$/
  }
}

/** Where the documentation provides optional services of a web app. */
const userPlaces = (row: UserRow, seen: Used) => {
  const service = row.provide(seen)
  const oidc = Oidc.layer({ publicUrl: "https://app.test" })
  const server = TokenServer.make()
  server.answer = ({ parameters }) =>
    Effect.sync(() => {
      seen.add(`asked for ${parameters.scope}`)
      return { access: "access-1", refresh: "refresh-1", idToken: "id:alice", lifetime: 100 }
    })
  const web = Layer.mergeAll(
    OidcClients.layer({ web: Web.client }),
    server.layer,
    Layer.succeed(Backchannel.Backchannel, provider)
  )
  const bottom = row.withoutEncryption === true ? web : Layer.merge(web, sealed)
  const idTokens = Layer.succeed(IdToken.IdTokenVerifier, Web.idTokens)
  // Beside `Oidc.layer`, a verifier of ID tokens that stands for the provider's keys.
  const below = row.expected.test("IdTokenVerifier.verify") ? bottom : Layer.merge(bottom, idTokens)
  return {
    "below Oidc.layer and NodeOAuth.layer": oidc.pipe(
      Layer.provideMerge(NodeOAuth.layer),
      Layer.provideMerge(below),
      Layer.provide(service)
    ),
    ...(row.isOfBundle === true ? {} : {
      "to Oidc.layer": oidc.pipe(
        Layer.provide(service),
        Layer.provideMerge(NodeOAuth.layer),
        Layer.provideMerge(below)
      ),
      "beside NodeOAuth.layer": oidc.pipe(
        Layer.provideMerge(Layer.merge(NodeOAuth.layer, service)),
        Layer.provideMerge(below)
      ),
      "beside NodeOAuth.layer, first": oidc.pipe(
        Layer.provideMerge(Layer.merge(service, NodeOAuth.layer)),
        Layer.provideMerge(below)
      )
    }),
    ...(row.isHandedOn === true
      ? {
        "to NodeOAuth.layer": oidc.pipe(
          Layer.provideMerge(NodeOAuth.layer.pipe(Layer.provide(service))),
          Layer.provideMerge(below)
        )
      }
      : {})
  }
}

const placeOf = (row: UserRow, seen: Used, where: string) =>
  Object.entries(userPlaces(row, seen)).find(([place]) => place === where)![1]

/** The provider's metadata, and nothing else. */
const provider = HttpClient.make((request) =>
  Effect.succeed(HttpClientResponse.fromWeb(
    request,
    Response.json({
      issuer: "https://as.test",
      authorization_endpoint: "https://as.test/auth",
      token_endpoint: "https://as.test/token"
    })
  ))
)

/** A login is begun, a user who is signed in asks for a new token. */
const useAll = (context: Context.Context<Web.Services>) =>
  Effect.gen(function*() {
    const web = Web.make(context)
    const browser = new Browser()
    yield* web.signIn(browser)
    yield* web.get(browser, { forceRenewal: true })
    yield* web.visit(browser, () => Effect.flatMap(OidcLogin.OidcLogin, ({ start }) => start()))
  })

describe("Oidc.layer", () => {
  for (const [name, row] of Object.entries(userRows)) {
    const wheres = Object.keys(userPlaces(row, new Set()))
    for (const where of wheres) {
      it.live(`uses ${name}, provided ${where}`, () => {
        const seen: Used = new Set()
        const layer = placeOf(row, seen, where)
        return Effect.scoped(Effect.flatMap(Layer.build(layer), useAll)).pipe(
          Effect.provide(silent),
          Effect.map(() => expectUsed(seen, row.expected))
        )
      })
    }
  }

  it.live("calls of a user ask the customizer that it was built with, wherever they are made", () => {
    const seen: Used = new Set()
    const layer = placeOf(userRows.TokenRequestCustomizer!, seen, "to Oidc.layer")
    return Effect.gen(function*() {
      const context = yield* Layer.build(layer)
      const web = Web.make(context)
      const browser = new Browser()
      yield* web.signIn(browser)
      yield* web.visit(browser, () =>
        Effect.gen(function*() {
          const client = api.pipe(yield* UserAccessTokenHttpClient.make())
          yield* client.get("https://api.test/")
        }).pipe(
          // Nothing but the services that the types ask for.
          Effect.mapInputContext((all: Context.Context<Web.Services | CurrentUser.CurrentUser>) =>
            Context.pick(UserTokenManager.UserTokenManager, OidcClients.OidcClients, CurrentUser.CurrentUser)(all)
          )
        ))
      expectUsed(seen, /^asked for customized$/)
    }).pipe(Effect.scoped, Effect.provide(silent))
  })
})

describe("OAuthLogging", () => {
  const warned = <E>(seen: Used, layer: Layer.Layer<Web.Services, E>) =>
    Effect.scoped(Layer.build(layer)).pipe(
      Effect.provide(
        Logger.replace(Logger.defaultLogger, Logger.make(({ logLevel }) => void seen.add(logLevel.label)))
      ),
      Effect.map(() => [...seen])
    )
  const row = (level: LogLevel.LogLevel): UserRow => ({
    provide: () => optional(OAuthLogging.layer(level)),
    expected: /./,
    isHandedOn: true
  })

  it.live("lets warnings through unless it says otherwise", () =>
    Effect.map(
      warned(new Set(), placeOf(row(LogLevel.Warning), new Set(), "to Oidc.layer")),
      (levels) => assert.deepStrictEqual(levels, ["WARN"])
    ))
  for (const where of Object.keys(userPlaces(row(LogLevel.None), new Set()))) {
    it.live(`holds for Oidc.layer, provided ${where}`, () =>
      Effect.map(
        warned(
          new Set(),
          placeOf(row(LogLevel.None), new Set(), where)
        ),
        (levels) => assert.deepStrictEqual(levels, [])
      ))
  }
})

describe("StoredSession", () => {
  it.live("asks the OidcHooks that Oidc.layerStored was built with", () => {
    const seen: Used = new Set()
    const services = Oidc.layerStored().pipe(
      Layer.provide(Layer.succeed(OidcHooks.OidcHooks, {
        onSignedIn: ({ sub }) => Effect.sync(() => void seen.add(`signed in ${sub}`))
      })),
      Layer.provideMerge(NodeOAuth.layer),
      Layer.provideMerge(Layer.mergeAll(
        OidcClients.layer({ web: Web.client }),
        SessionStore.layerMemory,
        Layer.succeed(IdToken.IdTokenVerifier, Web.idTokens)
      ))
    )
    return Effect.gen(function*() {
      const accessToken = TokenServer.accessToken({ access: "a" }, 0)
      yield* StoredSession.keep("me", {
        accessToken,
        idToken: Redacted.make("id:alice"),
        refreshToken: undefined,
        issuedTokenType: undefined,
        raw: Redacted.make({})
      })
      assert.deepStrictEqual([...seen], ["signed in alice"])
    }).pipe(Effect.provide(services))
  })
})
