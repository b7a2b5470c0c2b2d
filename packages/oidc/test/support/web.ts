/** One process of a web app without a network: requests go to its services, cookies to a `Browser`. */
import { type ClientCredentialsTokenManager, OAuth, TokenEncryption, TokenStore } from "@effect-oauth/core"
import {
  CurrentUser,
  IdToken,
  Oidc,
  OidcClients,
  OidcError,
  Principal,
  Session,
  Sessions,
  SessionStore,
  UserTokenManager,
  UserTokens,
  UserTokenStore
} from "@effect-oauth/oidc"
import type { OidcClient } from "@effect-oauth/oidc"
import { NodeSigner } from "@effect-oauth/platform-node"
import type { HttpClientRequest } from "@effect/platform"
import { HttpApp, HttpClient, HttpClientResponse, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import type { Scope } from "effect"
import { Clock, Context, Effect, Exit, Fiber, Layer, Logger, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import type { Browser } from "./browser.ts"
import * as TokenServer from "./tokenServer.ts"

export const newKey = (id: string): TokenEncryption.EncryptionKey => ({
  id,
  key: Redacted.make(randomBytes(32).toString("base64url"))
})

const key = newKey("1")

export const encryption = (ring: ReadonlyArray<TokenEncryption.EncryptionKey> = [key]) =>
  Layer.orDie(Layer.provide(TokenEncryption.layer(ring), NodeSigner.layer))

export const client: OidcClient.OidcClientOptions = {
  issuer: "https://as.test",
  clientId: "web",
  clientSecret: Redacted.make("the-secret-of-the-app")
}

export const principal = (sub = "alice", more: Partial<Principal.Principal> = {}): Principal.Principal =>
  new Principal.Principal({
    clientName: "web",
    issuer: "https://as.test",
    sub,
    claims: { sub },
    name: sub,
    roles: [],
    ...more
  })

export type Services =
  | Oidc.Services
  | OidcClients.OidcClients
  | ClientCredentialsTokenManager.ClientCredentialsTokenManager

/** What an ID token such as `id:alice` says. */
export const idTokens: IdToken.IdTokenVerifier["Type"] = {
  verify: ({ issuer, name: clientName }, idToken, { previous }) => {
    const sub = Redacted.value(idToken).split(":")[1] ?? ""
    return previous !== undefined && previous.sub !== sub
      ? new OidcError.IdTokenInvalid({ clientName, reason: "sub", problem: "it is about another user" })
      : Effect.succeed({ issuer, sub, claims: { sub, name: Redacted.value(idToken).split(":")[2] ?? sub } })
  }
}

const metadata = {
  issuer: "https://as.test",
  authorization_endpoint: "https://as.test/auth",
  token_endpoint: "https://as.test/token",
  revocation_endpoint: "https://as.test/revoke",
  end_session_endpoint: "https://as.test/end",
  jwks_uri: "https://as.test/jwks"
}

/** Knows the server's metadata, and nothing else. */
const http = (token: Options["token"]) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      const answer = request.url.includes("/.well-known/")
        ? Response.json(metadata)
        : token === undefined
        ? new Response(null, { status: 404 })
        : token(request)
      return Effect.succeed(HttpClientResponse.fromWeb(request, answer))
    })
  )

export interface Options {
  readonly server?: TokenServer.TokenServer | undefined
  /** The answers of a token endpoint to the library's own requests, in place of `server`. */
  readonly token?: ((request: HttpClientRequest.HttpClientRequest) => Response) | undefined
  readonly clients?: Readonly<Record<string, OidcClient.OidcClientOptions>> | undefined
  readonly client?: Partial<OidcClient.OidcClientOptions> | undefined
  readonly sessions?: Partial<Sessions.Options> | undefined
  readonly idTokens?: IdToken.IdTokenVerifier["Type"] | undefined
  readonly ring?: ReadonlyArray<TokenEncryption.EncryptionKey> | undefined
  /** Services in place of the built-in ones, such as a `SessionStore`. */
  readonly provide?: Layer.Layer<never> | undefined
}

/** For `provide`: a Layer of optional services, which no type asks for. */
export const given = <A>(layer: Layer.Layer<A>): Layer.Layer<never> => layer as Layer.Layer<never>

export const memory: Layer.Layer<never> = given(SessionStore.layerMemory)

/** Of processes that share a store: sessions on the server, sealed. */
export const stored = (store: TokenStore.TokenStore["Type"], ring?: ReadonlyArray<TokenEncryption.EncryptionKey>) =>
  given(
    SessionStore.layer.pipe(
      Layer.provideMerge(Layer.succeed(TokenStore.TokenStore, store)),
      Layer.provide(encryption(ring)),
      Layer.provide(NodeSigner.layer)
    )
  )

/** Sessions in cookies, whose processes tell each other. */
export const sharing = (store: TokenStore.TokenStore["Type"]) => given(Layer.succeed(TokenStore.TokenStore, store))

export const layer = (options: Options = {}) => {
  const { clients = { web: { ...client, ...options.client } }, provide = Layer.empty } = options
  const server = options.server ?? TokenServer.make()
  return Oidc.layer({ publicUrl: "https://app.test", ...options.sessions }).pipe(
    Layer.provideMerge(OAuth.layer),
    Layer.provideMerge(Layer.mergeAll(
      OidcClients.layer(clients),
      options.token === undefined ? server.layer : Layer.empty,
      Layer.succeed(IdToken.IdTokenVerifier, options.idTokens ?? idTokens),
      http(options.token)
    )),
    Layer.provideMerge(encryption(options.ring)),
    Layer.provideMerge(provide),
    // Hashes and seals at once: nothing but the clock takes time.
    Layer.provideMerge(NodeSigner.layer),
    // What is logged is for whoever captures it.
    Layer.provide(Logger.remove(Logger.defaultLogger))
  )
}

type User = CurrentUser.CurrentUser["Type"]

export interface RequestOptions {
  readonly url?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What is done while the body is on its way, after the headers. */
  readonly streaming?: ((user: User) => Effect.Effect<void>) | undefined
}

const ok = HttpServerResponse.empty()

const requestOf = (browser: Browser, { headers, url = "https://app.test/" }: RequestOptions) =>
  HttpServerRequest.fromWeb(
    new Request(url, {
      headers: {
        host: new URL(url).host,
        "x-forwarded-proto": "https",
        ...(browser.header === "" ? {} : { cookie: browser.header }),
        ...headers
      }
    })
  )

/** Its services, and requests to them. */
export const make = (context: Context.Context<Services>) => {
  const { open } = Context.get(context, Sessions.Sessions)

  /** One request, by a handler that has its user. The browser keeps what the response sets. */
  const visit = <A, E>(
    browser: Browser,
    handler: (
      user: User
    ) => Effect.Effect<A, E, Services | CurrentUser.CurrentUser | HttpServerRequest.HttpServerRequest>,
    options: RequestOptions = {}
  ): Effect.Effect<A, E | OidcError.SessionStoreError> => {
    let exit: Exit.Exit<A, E | OidcError.SessionStoreError> = Exit.die("no response")
    let user: User | undefined
    const app = Effect.flatMap(open, (session) => {
      user = CurrentUser.ofSession(session)
      return Effect.provideService(Effect.interruptible(handler(user)), CurrentUser.CurrentUser, user)
    }).pipe(
      Effect.onExit((result) =>
        Effect.sync(() => {
          exit = result
        })
      ),
      Effect.exit,
      Effect.as(ok)
    )
    const answered = (response: HttpServerResponse.HttpServerResponse) =>
      Effect.suspend(() => {
        browser.keep(response)
        return options.streaming === undefined || user === undefined ? Effect.void : options.streaming(user)
      })
    return HttpApp.toHandled(app, (_, response) => answered(response)).pipe(
      Effect.provide(context),
      Effect.provideService(HttpServerRequest.HttpServerRequest, requestOf(browser, options)),
      // A fiber of its own, since the handlers of a request stay with its fiber.
      Effect.forkDaemon,
      Effect.flatMap((fiber) => Effect.onInterrupt(Fiber.await(fiber), () => Fiber.interrupt(fiber))),
      Effect.flatten,
      Effect.flatMap(() => exit)
    )
  }

  /** As a login does. */
  const signIn = (browser: Browser, options: SignInOptions = {}) =>
    visit(browser, ({ session }) =>
      Effect.gen(function*() {
        const now = yield* Clock.currentTimeMillis
        const user = options.principal ?? principal()
        const store = yield* UserTokenStore.UserTokenStore
        const isInSession = store === UserTokenStore.inSession
        const tokens = tokensOf(options, now)
        const content = new Session.SessionContent({
          signIns: {
            ...session.known?.signIns,
            [user.clientName]: new Session.SignIn({ principal: user, tokens: isInSession ? tokens : undefined })
          },
          primary: user.clientName,
          startedAt: now,
          seenAt: now
        })
        const others = yield* Effect.forEach(Object.keys(isInSession ? {} : session.known?.signIns ?? {}), (name) =>
          Effect.map(store.get(session, name), (kept) => ({ name, kept })))
        yield* session.start(content)
        for (const { kept, name } of others) {
          if (kept._tag === "Some") {
            yield* store.set(session, name, kept.value.tokens, null)
          }
        }
        if (!isInSession) {
          yield* store.set(session, user.clientName, tokens, null)
        }
      }))

  const get = (browser: Browser, parameters?: UserTokenManager.UserTokenRequestParameters, options?: RequestOptions) =>
    visit(browser, () => UserTokenManager.get(parameters), options)

  /** Who the app takes this browser for. */
  const whoIs = (browser: Browser) =>
    visit(browser, ({ principal }) => Effect.succeed(principal._tag === "Some" ? principal.value.sub : undefined))

  return { context, visit, signIn, get, whoIs, sessions: Context.get(context, Sessions.Sessions) }
}

export type Web = ReturnType<typeof make>

export interface SignInOptions extends Partial<TokenServer.Given> {
  readonly principal?: Principal.Principal | undefined
  readonly key?: Redacted.Redacted<string> | undefined
  readonly withoutRefreshToken?: boolean | undefined
  readonly keyThumbprint?: string | undefined
}

/** Of a login at this time: `access-0`, for 100 seconds unless told otherwise, and `refresh-0`. */
export const tokensOf = (options: SignInOptions, now: number): UserTokens.UserTokens =>
  new UserTokens.UserTokens({
    accessTokens: {
      "": TokenServer.accessToken({ access: "access-0", lifetime: 100, ...options }, now, options.keyThumbprint)
    },
    refreshToken: options.withoutRefreshToken === true ? undefined : Redacted.make(options.refresh ?? "refresh-0"),
    idToken: Redacted.make(options.idToken ?? "id:alice"),
    key: options.key
  })

/** Starts one, until the end of the scope. */
export const start = (options: Options = {}): Effect.Effect<Web, never, Scope.Scope> =>
  Effect.map(Effect.orDie(Layer.build(layer(options))), (context) => make(context))
