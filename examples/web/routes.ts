/** The app's own routes. Those of signing in and out are `OidcRoutes`. */
import {
  CurrentUser,
  OidcError,
  OidcRoutes,
  OidcSession,
  type Principal,
  UserTokenManager,
  UserTokens,
  UserTokenStore
} from "@effect-oauth/oidc"
import { HttpLayerRouter, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Layer, Option, Schema } from "effect"
import * as Assets from "./assets.ts"
import * as Calls from "./calls.ts"
import { Journal } from "./journal.ts"
import * as Pages from "./pages.ts"
import { type CallFailure, sentence } from "./sentences.ts"
import { type Api, type Provider, Site } from "./site.ts"

const respond = (page: Parameters<typeof Pages.respond>[0], status?: number) =>
  Effect.map(Site, ({ providers }) => Pages.respond(page, providers, status))

const tokensOf = (tokens: UserTokens.UserTokens) =>
  Effect.map(Site, ({ invoices, reports }) => {
    const purposes: ReadonlyArray<readonly [string, UserTokens.Address]> = [
      ["Sign-in", {}],
      [invoices.title, { resource: invoices.url }],
      [reports.title, { resource: reports.url }]
    ]
    return purposes.flatMap(([purpose, address]): ReadonlyArray<Pages.TokenFacts> =>
      Option.match(UserTokens.get(tokens, address), {
        onNone: () => [],
        onSome: ({ accessToken: { expiresAt, keyThumbprint, scope, type } }) => [
          { purpose, type, scope, endsAt: expiresAt?.epochMillis, thumbprint: keyThumbprint }
        ]
      })
    )
  })

const userOf = (provider: Provider, principal: Principal.Principal) =>
  Effect.gen(function*() {
    const { session } = yield* CurrentUser.CurrentUser
    const store = yield* UserTokenStore.UserTokenStore
    const kept = yield* store.get(session, provider.client)
    const tokens = Option.match(kept, { onNone: () => UserTokens.empty, onSome: ({ tokens }) => tokens })
    return { provider, principal, tokens: yield* tokensOf(tokens), canRenew: tokens.refreshToken !== undefined }
  })

const home = (outcome?: Pages.Outcome) =>
  Effect.gen(function*() {
    const { session } = yield* CurrentUser.CurrentUser
    const { notes, providers } = yield* Site
    const journal = yield* Journal
    const signIns = session.known?.signIns ?? {}
    const users = yield* Effect.forEach(
      providers.flatMap((provider) => {
        const principal = signIns[provider.client]?.principal
        return principal === undefined ? [] : [{ provider, principal }]
      }),
      ({ principal, provider }) => userOf(provider, principal)
    )
    const others = providers.filter(({ client }) => signIns[client] === undefined)
    return yield* respond(
      Pages.home({ users, others, outcome, notes, entries: journal.entries(), counts: journal.counts() })
    )
  }).pipe(Effect.catchAll((error) => failed(error)))

const failed = (error: CallFailure, client?: string) => {
  const told = sentence(error)
  return respond(Pages.message(told, client), told.status)
}

/** Who has to sign in again is told so; anybody else can press the next button. */
const told = (client: string) => (error: CallFailure) => {
  const { next, text, title } = sentence(error)
  return next === "sign-in" ? failed(error, client) : home({ isGood: false, title, text })
}

const Form = Schema.Struct({ client: Schema.String })

const clientOfForm = HttpServerRequest.schemaBodyUrlParams(Form).pipe(
  Effect.map(({ client }) => client),
  Effect.orElseSucceed(() => "")
)

/** Whether the user of this request is signed in with the client that the form names. */
const checked = (client: string) =>
  Effect.flatMap(
    CurrentUser.CurrentUser,
    ({ session }) =>
      session.known?.signIns[client] === undefined
        ? new OidcError.NoActiveUser({ clientName: client })
        : Effect.void
  )

/** A button: what it does for the client of its form, and how that is told. */
const button = <R>(
  path: `/${string}`,
  action: (client: string) => Effect.Effect<Pages.Outcome, CallFailure, R>
) => {
  const pressed = Effect.flatMap(clientOfForm, (client) =>
    Effect.zipRight(checked(client), action(client)).pipe(
      Effect.tapError(({ _tag }) => Effect.logInfo(`${path}: ${_tag}`)),
      Effect.matchEffect({ onFailure: told(client), onSuccess: home })
    ))
  return [
    HttpLayerRouter.route("POST", path, OidcSession.sameOrigin(pressed)),
    // who comes here by the address bar has pressed nothing
    HttpLayerRouter.route("GET", path, HttpServerResponse.redirect("/", { status: 303 }))
  ]
}

const answered = (api: Api, answer: Calls.Answer): Pages.Outcome => ({
  isGood: true,
  title: `${api.title}: it has answered, and says who called`,
  answer
})

const buttons = [
  ...button(
    "/call-as-me",
    (client) =>
      Effect.flatMap(
        Site,
        ({ invoices }) => Effect.map(Calls.asUser(client, invoices), (answer) => answered(invoices, answer))
      )
  ),
  ...button(
    "/call-as-app",
    (client) =>
      Effect.flatMap(
        Site,
        ({ invoices }) => Effect.map(Calls.asApp(client, invoices), (answer) => answered(invoices, answer))
      )
  ),
  ...button(
    "/call-other",
    (client) =>
      Effect.flatMap(
        Site,
        ({ reports }) => Effect.map(Calls.asUser(client, reports), (answer) => answered(reports, answer))
      )
  ),
  ...button("/renew", (client) =>
    Effect.gen(function*() {
      const { invoices } = yield* Site
      yield* UserTokenManager.get({ client, resource: invoices.url, forceRenewal: true })
      return { isGood: true, title: `${invoices.title}: there is a new token` }
    })),
  ...button("/revoke", (client) =>
    Effect.as(UserTokenManager.revoke({ client }), {
      isGood: true,
      title: "The refresh token is revoked",
      text: "The provider takes it no more, and it is forgotten here. When the access tokens end, you sign in again."
    }))
]

const asset = (contentType: string, text: string) =>
  HttpServerResponse.text(text, { contentType, headers: { "x-content-type-options": "nosniff" } })

const pages = HttpLayerRouter.addAll([
  HttpLayerRouter.route("GET", "/", home()),
  ...buttons,
  HttpLayerRouter.route(
    "GET",
    "/signed-out",
    respond(Pages.message({ title: "You are signed out", text: "Here, and at the provider.", next: "sign-in" }))
  ),
  HttpLayerRouter.route(
    "*",
    "*",
    respond(Pages.message({ title: "There is no such page", text: "It may have been here once.", next: "home" }), 404)
  )
]).pipe(Layer.provide(OidcSession.layer))

const assets = HttpLayerRouter.addAll([
  HttpLayerRouter.route("GET", "/style.css", asset("text/css; charset=utf-8", Assets.style)),
  HttpLayerRouter.route("GET", "/countdown.js", asset("text/javascript; charset=utf-8", Assets.countdown))
])

/** With our own pages in place of the plain ones. */
const signingInAndOut = Layer.unwrapEffect(Effect.map(Site, ({ providers }) =>
  OidcRoutes.layer({
    pages: {
      error: (error) => {
        const told = sentence(error)
        const client = error._tag === "LoginRefused" ? error.clientName : undefined
        return Pages.respond(Pages.message(told, client), providers, told.status)
      },
      signOut: (action) => Pages.respond(Pages.askToSignOut(action), providers)
    }
  })))

export const layer = Layer.mergeAll(pages, assets, signingInAndOut)
