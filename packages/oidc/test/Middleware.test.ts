import { Authentication, CurrentUser, OidcSession, SessionStore } from "@effect-oauth/oidc"
import type { Sessions } from "@effect-oauth/oidc"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApp,
  HttpServer,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schema } from "effect"
import { Browser } from "./support/browser.ts"
import * as Web from "./support/web.ts"

const who = Effect.map(
  CurrentUser.principal,
  (principal) => Option.match(principal, { onNone: () => "nobody", onSome: ({ sub }) => sub })
)

class Users extends HttpApiGroup.make("users")
  .add(HttpApiEndpoint.get("open", "/open").addSuccess(Schema.String).middleware(Authentication.Authentication))
  .add(
    HttpApiEndpoint.get("closed", "/closed").addSuccess(Schema.String).middleware(Authentication.RequiredAuthentication)
  )
{}

const api = HttpApi.make("api").add(Users)

const groups = HttpApiBuilder.group(
  api,
  "users",
  (handlers) =>
    handlers.handle("open", () => who).handle(
      "closed",
      () => Effect.map(Effect.orDie(CurrentUser.required), ({ sub }) => sub)
    )
)

/** Sessions of which the store can be taken away. */
const breakable = Effect.map(Effect.provide(SessionStore.SessionStore, SessionStore.layerMemory), (store) => {
  const state = { isBroken: false }
  const get: typeof store.get = (key) => state.isBroken ? Effect.dieMessage("down") : store.get(key)
  return { state, provide: Web.given(Layer.succeed(SessionStore.SessionStore, { ...store, get })) }
})

const request = (browser: Browser, path: string, headers: Record<string, string> = {}) =>
  new Request(`https://app.test${path}`, {
    headers: { ...(browser.header === "" ? {} : { cookie: browser.header }), ...headers }
  })

describe("an HttpApi", () => {
  it.scopedLive("has its user, and refuses anonymous requests where one is required; without the store it is a 503", () =>
    Effect.gen(function*() {
      const { provide, state } = yield* breakable
      const web = yield* Web.start({ provide })
      const browser = new Browser()
      yield* web.signIn(browser)
      const services = Layer.succeedContext(
        Context.pick(Authentication.Authentication, Authentication.RequiredAuthentication)(web.context)
      )
      const app = HttpApiBuilder.api(api).pipe(
        Layer.provide(groups),
        Layer.provide(services),
        Layer.provideMerge(HttpServer.layerContext)
      )
      const { dispose, handler } = HttpApiBuilder.toWebHandler(app)
      yield* Effect.addFinalizer(() => Effect.promise(dispose))
      const send = (browser: Browser, path: string) =>
        Effect.promise(async () => {
          const response = await handler(request(browser, path))
          return [response.status, await response.text()] as const
        })
      assert.deepStrictEqual(yield* send(browser, "/open"), [200, "\"alice\""])
      assert.deepStrictEqual(yield* send(browser, "/closed"), [200, "\"alice\""])
      assert.deepStrictEqual(yield* send(new Browser(), "/open"), [200, "\"nobody\""])
      const [refused, body] = yield* send(new Browser(), "/closed")
      assert.strictEqual(refused, 401)
      assert.include(body, "NotSignedIn")
      state.isBroken = true
      const [unavailable] = yield* send(browser, "/open")
      assert.strictEqual(unavailable, 503)
      assert.strictEqual((yield* send(browser, "/closed"))[0], 503)
    }))
})

describe("the session middleware", () => {
  const handle = (web: Web.Web, app: HttpApp.Default<never, CurrentUser.CurrentUser>) => {
    const handler = HttpApp.toWebHandlerRuntime(
      Effect.runSync(Effect.provide(Effect.runtime<Sessions.Sessions>(), web.context))
    )(OidcSession.middleware(app))
    return (request: Request) => Effect.promise(() => handler(request))
  }

  const page = Effect.map(who, HttpServerResponse.text)

  it.scopedLive("gives the user, and sets what changes on the response, whatever that is", () =>
    Effect.gen(function*() {
      const web = yield* Web.start()
      const browser = new Browser()
      yield* web.signIn(browser)
      const send = handle(web, page)
      assert.strictEqual(
        yield* Effect.flatMap(send(request(browser, "/")), (response) => Effect.promise(() => response.text())),
        "alice"
      )
      const ending = (then: Effect.Effect<HttpServerResponse.HttpServerResponse>) =>
        handle(
          web,
          Effect.zipRight(
            Effect.flatMap(CurrentUser.CurrentUser, ({ session }) => Effect.orDie(session.end("SignedOut"))),
            then
          )
        )
      for (const then of [HttpServerResponse.redirect("/x"), Effect.dieMessage("broken")]) {
        const fresh = new Browser()
        yield* web.signIn(fresh, { refresh: String(Math.abs(then.toString().length)) })
        const response = yield* ending(
          Effect.flatten(Effect.succeed(then)) as Effect.Effect<HttpServerResponse.HttpServerResponse>
        )(request(fresh, "/"))
        assert.match(response.headers.getSetCookie().join("\n"), /__Host-session=; Max-Age=0/)
        assert.strictEqual(response.headers.get("cache-control"), "no-store")
      }
    }))

  it.scopedLive("answers 503 while the store does not", () =>
    Effect.gen(function*() {
      const { provide, state } = yield* breakable
      const web = yield* Web.start({ provide })
      const browser = new Browser()
      yield* web.signIn(browser)
      state.isBroken = true
      const response = yield* handle(web, page)(request(browser, "/"))
      assert.strictEqual(response.status, 503)
      assert.strictEqual(response.headers.get("cache-control"), "no-store")
      assert.deepStrictEqual(response.headers.getSetCookie(), [])
    }))

  it.scopedLive("required sends pages to the login and back, and refuses everything else", () =>
    Effect.gen(function*() {
      const web = yield* Web.start()
      const browser = new Browser()
      yield* web.signIn(browser)
      const send = handle(web, OidcSession.required()(page))
      const nobody = new Browser()
      assert.strictEqual((yield* send(request(browser, "/a"))).status, 200)
      const asked = yield* send(request(nobody, "/a?b=c&d", { accept: "text/html" }))
      assert.strictEqual(asked.status, 303)
      assert.strictEqual(asked.headers.get("location"), `/auth/login?returnTo=${encodeURIComponent("/a?b=c&d")}`)
      assert.strictEqual((yield* send(request(nobody, "/a"))).status, 401)
      const script = yield* send(request(nobody, "/a", { accept: "text/html", "sec-fetch-mode": "cors" }))
      assert.strictEqual(script.status, 401)
      const own = handle(web, OidcSession.required({ loginPath: "/in" })(page))
      const navigation = yield* own(request(nobody, "/a", { "sec-fetch-mode": "navigate" }))
      assert.strictEqual(navigation.headers.get("location"), "/in?returnTo=%2Fa")
    }))
})
