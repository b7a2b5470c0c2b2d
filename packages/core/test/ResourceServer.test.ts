/** An API's answers to whoever calls it. */
import { AccessTokenVerifier, type DPoPVerifier, ProtectedResource, Refusal, ResourceServer } from "@effect-oauth/core"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerResponse
} from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, FastCheck, Layer, Redacted, Schema, TestClock } from "effect"
import { inspect } from "node:util"
import {
  audience,
  authorizationServer,
  challengeOf,
  dpop,
  dpopKey,
  hello,
  jwt,
  layerJwt,
  now,
  otherPair,
  proof,
  type Served,
  servicesOf,
  serving
} from "./support/protectedApi.ts"
import { type Stub, stub } from "./support/StubServer.ts"

const at = TestClock.setTime(now * 1000)

interface Setting {
  readonly requirements?: ResourceServer.Requirements | undefined
  readonly options?: ResourceServer.Options | undefined
  readonly dpop?: Partial<DPoPVerifier.Options> | false | undefined
  readonly server?: Stub | undefined
}

/** An app behind the middleware. */
const api = ({ dpop: proofs = {}, options, requirements, server = authorizationServer() }: Setting = {}) =>
  Effect.gen(function*() {
    yield* at
    const verifier = layerJwt.pipe(Layer.provide(servicesOf(server)))
    const layer = ResourceServer.layer(options).pipe(
      Layer.provide(proofs === false ? verifier : Layer.merge(verifier, dpop(proofs)))
    )
    const context = yield* Layer.build(layer)
    return yield* Effect.provide(serving(ResourceServer.middleware(requirements)(hello)), context)
  })

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

const sent = (setting: Setting, headers: Record<string, string> = {}) =>
  Effect.flatMap(api(setting), (send) => send(headers))

const refused = (served: Served, status: number) => {
  assert.strictEqual(served.status, status)
  assert.strictEqual(served.headers.get("cache-control"), "no-store")
}

describe("ResourceServer", () => {
  it.scoped("lets a good token through and says who calls", () =>
    Effect.gen(function*() {
      const send = yield* api({ requirements: { scope: "invoices:read" } })
      const token = yield* jwt()
      for (const scheme of ["Bearer", "bearer", "BEARER"]) {
        const served = yield* send({ authorization: `${scheme} ${token}` })
        assert.deepStrictEqual([served.status, served.body], [200, `{"sub":"alice"}`])
        assert.isNull(served.headers.get("www-authenticate"))
      }
    }))

  it.scoped("without a token it names what it takes, and no error", () =>
    Effect.gen(function*() {
      const served = yield* sent({ options: { realm: "the api" } })
      refused(served, 401)
      assert.deepStrictEqual(served.challenges.map(({ scheme }) => scheme), ["bearer", "dpop"])
      assert.deepStrictEqual(challengeOf(served, "bearer"), { realm: "the api" })
      assert.isTrue(challengeOf(served, "dpop")?.algs?.split(" ").includes("ES256"))
    }))

  it.scoped("without a token it names the scope that is wanted, in each scheme (RFC 6750 section 3)", () =>
    Effect.gen(function*() {
      const requirements = { scope: ["invoices:read", "invoices:write"] }
      const served = yield* sent({ requirements, options: { realm: "the api" } })
      refused(served, 401)
      const scope = "invoices:read invoices:write"
      assert.deepStrictEqual(challengeOf(served, "bearer"), { realm: "the api", scope })
      assert.deepInclude(challengeOf(served, "dpop"), { realm: "the api", scope })
      const basic = yield* sent({ requirements }, { authorization: "Basic YTpi" })
      assert.deepStrictEqual(challengeOf(basic, "bearer"), { scope })
      const bad = yield* sent({ requirements }, bearer(yield* jwt({ exp: now - 60 })))
      assert.deepStrictEqual(challengeOf(bad, "bearer"), { error: "invalid_token", scope })
    }))

  it.scoped("without a DPoPVerifier only Bearer is named", () =>
    Effect.gen(function*() {
      const served = yield* sent({ dpop: false })
      assert.strictEqual(served.headers.get("www-authenticate"), "Bearer")
    }))

  it.scoped("another scheme is no token; a Bearer that is none is invalid_token", () =>
    Effect.gen(function*() {
      const send = yield* api()
      const other = yield* send({ authorization: "Basic YTpi" })
      refused(other, 401)
      assert.deepStrictEqual(challengeOf(other, "bearer"), {})
      for (const authorization of ["Bearer", "Bearer a b", "Bearer a, Bearer b", "Bearer \u00e4"]) {
        const served = yield* send({ authorization })
        refused(served, 401)
        assert.deepStrictEqual(challengeOf(served, "bearer"), { error: "invalid_token" })
      }
    }))

  it.scoped("tokens in the query or the body are not looked at", () =>
    Effect.gen(function*() {
      const send = yield* api()
      const token = yield* jwt()
      const query = yield* send({}, `/?access_token=${token}`)
      const body = yield* send(
        { "content-type": "application/x-www-form-urlencoded" },
        "/",
        { method: "POST", body: `access_token=${token}` }
      )
      for (const served of [query, body]) {
        refused(served, 401)
        assert.deepStrictEqual(challengeOf(served, "bearer"), {})
      }
    }))

  it.scoped("a token that is no good is invalid_token", () =>
    Effect.gen(function*() {
      const served = yield* sent({}, bearer(yield* jwt({ exp: now - 60 })))
      refused(served, 401)
      assert.deepStrictEqual(served.challenges.map(({ scheme }) => scheme), ["bearer"])
      assert.deepStrictEqual(challengeOf(served, "bearer"), { error: "invalid_token" })
    }))

  it.scoped("a scope that is missing is a 403 with the scope that is wanted", () =>
    Effect.gen(function*() {
      const requirements = { scope: ["invoices:read", "invoices:write"] }
      const served = yield* sent({ requirements }, bearer(yield* jwt()))
      refused(served, 403)
      assert.deepStrictEqual(challengeOf(served, "bearer"), {
        error: "insufficient_scope",
        scope: "invoices:read invoices:write"
      })
      const none = yield* sent({ requirements }, bearer(yield* jwt({ scope: undefined })))
      refused(none, 403)
    }))

  it.scoped("a sign-in that is too weak or too old is insufficient_user_authentication", () =>
    Effect.gen(function*() {
      const requirements = { acrValues: ["mfa", "hardware"], maxAge: "1 minute" } as const
      const wanted = { error: "insufficient_user_authentication", acr_values: "mfa hardware", max_age: "60" }
      const send = yield* api({ requirements })
      const weak: ReadonlyArray<Readonly<Record<string, unknown>>> = [
        { acr: "pwd", auth_time: now },
        { acr: undefined, auth_time: now },
        { acr: "mfa", auth_time: now - 62 },
        { acr: "mfa", auth_time: undefined },
        { acr: "mfa", auth_time: `${now}` },
        { acr: ["mfa"], auth_time: now }
      ]
      for (const more of weak) {
        const served = yield* send(bearer(yield* jwt(more)))
        refused(served, 401)
        assert.deepStrictEqual(challengeOf(served, "bearer"), wanted)
      }
      const strong = yield* send(bearer(yield* jwt({ acr: "hardware", auth_time: now - 60 })))
      assert.strictEqual(strong.status, 200)
    }))

  it.scoped("max_age 0 and acr_values alone are said as they are", () =>
    Effect.gen(function*() {
      const recent = yield* sent({ requirements: { maxAge: 0 } }, bearer(yield* jwt()))
      assert.deepStrictEqual(challengeOf(recent, "bearer"), {
        error: "insufficient_user_authentication",
        max_age: "0"
      })
      const strong = yield* sent({ requirements: { acrValues: "mfa" } }, bearer(yield* jwt()))
      assert.deepStrictEqual(challengeOf(strong, "bearer"), {
        error: "insufficient_user_authentication",
        acr_values: "mfa"
      })
    }))

  it.scoped("challenges name the metadata of the resource, which can be had there", () =>
    Effect.gen(function*() {
      const resourceMetadata = ProtectedResource.address(audience)
      const send = yield* api({ options: { resourceMetadata } })
      const expected = "https://api.test/.well-known/oauth-protected-resource"
      for (const headers of [{}, bearer("x"), bearer(yield* jwt({ exp: 1 }))]) {
        assert.strictEqual(challengeOf(yield* send(headers), "bearer")?.resource_metadata, expected)
      }
      const app = ProtectedResource.app({ resource: audience, authorizationServers: ["https://as.test"] })
      const served = yield* Effect.provide(
        Effect.flatMap(serving(app), (get) => get()),
        ResourceServer.layer().pipe(Layer.provide(layerJwt), Layer.provide(servicesOf(authorizationServer())))
      )
      assert.deepStrictEqual(JSON.parse(served.body), {
        resource: audience,
        authorization_servers: ["https://as.test"],
        bearer_methods_supported: ["header"]
      })
    }))

  it.scoped("keys that cannot be had are a 503, not a 401", () =>
    Effect.gen(function*() {
      const server = stub(() => new Response("", { status: 500 }))
      const served = yield* sent({ server }, bearer(yield* jwt()))
      refused(served, 503)
      assert.match(served.headers.get("retry-after") ?? "", /^\d+$/)
      assert.deepStrictEqual(served.challenges, [])
    }))
})

describe("tokens that are bound", () => {
  const boundTo = { cnf: { jkt: dpopKey.thumbprint } }
  const withProof = (token: string, proof: string) => ({ authorization: `DPoP ${token}`, dpop: proof })

  it.scoped("to a key pass with a proof, once", () =>
    Effect.gen(function*() {
      const send = yield* api()
      const token = yield* jwt(boundTo)
      const headers = withProof(token, yield* proof(token))
      assert.strictEqual((yield* send(headers)).status, 200)
      const again = yield* send(headers)
      refused(again, 401)
      assert.strictEqual(challengeOf(again, "dpop")?.error, "invalid_dpop_proof")
    }))

  it.scoped("to a key are refused as Bearer, and others as DPoP", () =>
    Effect.gen(function*() {
      const send = yield* api()
      const token = yield* jwt(boundTo)
      const downgraded = yield* send(bearer(token))
      refused(downgraded, 401)
      assert.deepStrictEqual(challengeOf(downgraded, "bearer"), { error: "invalid_token" })
      assert.isUndefined(challengeOf(downgraded, "dpop")?.error)
      assert.isDefined(challengeOf(downgraded, "dpop")?.algs)
      const plain = yield* jwt()
      const upgraded = yield* send(withProof(plain, yield* proof(plain)))
      refused(upgraded, 401)
      assert.strictEqual(challengeOf(upgraded, "dpop")?.error, "invalid_token")
      assert.deepStrictEqual(challengeOf(upgraded, "bearer"), {})
    }))

  it.scoped("to a key need a proof of that key, for this request and this token", () =>
    Effect.gen(function*() {
      const send = yield* api()
      const token = yield* jwt(boundTo)
      const errorWith = (headers: Record<string, string>) =>
        Effect.map(send(headers), (served) => {
          refused(served, 401)
          assert.deepStrictEqual(served.challenges.map(({ scheme }) => scheme), ["dpop"])
          return challengeOf(served, "dpop")?.error
        })
      assert.strictEqual(yield* errorWith({ authorization: `DPoP ${token}` }), "invalid_dpop_proof")
      const foreign = yield* proof(token, {}, otherPair)
      assert.strictEqual(yield* errorWith(withProof(token, foreign)), "invalid_token")
      for (const more of [{ htm: "POST" }, { htu: "https://evil.test/" }, { iat: now - 600 }, { ath: "x" }]) {
        assert.strictEqual(yield* errorWith(withProof(token, yield* proof(token, more))), "invalid_dpop_proof")
      }
    }))

  it.scoped("to a key get a nonce where they have to bring one", () =>
    Effect.gen(function*() {
      const send = yield* api({ dpop: { nonces: true } })
      const token = yield* jwt(boundTo)
      const challenged = yield* send(withProof(token, yield* proof(token)))
      refused(challenged, 401)
      assert.strictEqual(challengeOf(challenged, "dpop")?.error, "use_dpop_nonce")
      const nonce = challenged.headers.get("dpop-nonce") ?? ""
      const served = yield* send(withProof(token, yield* proof(token, { nonce })))
      assert.strictEqual(served.status, 200)
      assert.strictEqual(served.headers.get("dpop-nonce"), nonce)
    }))

  it.scoped("are the only ones that requireDPoP takes", () =>
    Effect.gen(function*() {
      const send = yield* api({ options: { requireDPoP: true } })
      const nothing = yield* send()
      assert.deepStrictEqual(nothing.challenges.map(({ scheme }) => scheme), ["dpop"])
      const plain = yield* send(bearer(yield* jwt()))
      refused(plain, 401)
      assert.strictEqual(challengeOf(plain, "dpop")?.error, "invalid_token")
    }))

  it.scoped("to a key are refused where there is no DPoPVerifier", () =>
    Effect.gen(function*() {
      const token = yield* jwt(boundTo)
      const served = yield* sent({ dpop: false }, withProof(token, yield* proof(token)))
      refused(served, 401)
      assert.deepStrictEqual(challengeOf(served, "bearer"), { error: "invalid_token" })
    }))

  it.scoped("to a certificate need that certificate", () =>
    Effect.gen(function*() {
      const headers = bearer(yield* jwt({ cnf: { "x5t#S256": "thumbprint" } }))
      const unknown = yield* sent({}, headers)
      refused(unknown, 401)
      const other = yield* sent({ options: { certificate: () => Effect.succeed("another") } }, headers)
      refused(other, 401)
      assert.deepStrictEqual(challengeOf(other, "bearer"), { error: "invalid_token" })
      const same = yield* sent({ options: { certificate: () => Effect.succeed("thumbprint") } }, headers)
      assert.strictEqual(same.status, 200)
    }))

  it.scoped("to anything else are refused", () =>
    Effect.gen(function*() {
      for (const cnf of [{ kid: "1" }, { jkt: 1 }, "x", null]) {
        refused(yield* sent({}, bearer(yield* jwt({ cnf }))), 401)
      }
    }))

  it.scoped("tell of a missing scope in their own scheme", () =>
    Effect.gen(function*() {
      const token = yield* jwt(boundTo)
      const served = yield* sent({ requirements: { scope: "admin" } }, withProof(token, yield* proof(token)))
      refused(served, 403)
      const { algs, ...said } = challengeOf(served, "dpop") ?? {}
      assert.deepStrictEqual(said, { error: "insufficient_scope", scope: "admin" })
      assert.isDefined(algs)
    }))
})

describe("HttpApi", () => {
  class Reader extends HttpApiMiddleware.Tag<Reader>()("Reader", {
    provides: ResourceServer.Caller,
    failure: Refusal.Refusal
  }) {}
  class Strong extends HttpApiMiddleware.Tag<Strong>()("Strong", {
    provides: ResourceServer.Caller,
    failure: Refusal.Refusal
  }) {}
  const Api = HttpApi.make("api").add(
    HttpApiGroup.make("root", { topLevel: true })
      .add(HttpApiEndpoint.get("list", "/").addSuccess(Schema.String))
      .add(HttpApiEndpoint.get("write", "/write").addSuccess(Schema.String))
      .add(HttpApiEndpoint.get("strong", "/strong").addSuccess(Schema.String).middleware(Strong))
      .middleware(Reader)
  )
  const who = Effect.map(ResourceServer.Caller, ({ token }) => token.sub ?? "")
  const Handlers = HttpApiBuilder.group(Api, "root", (handlers) =>
    handlers
      .handle("list", () => who)
      .handle("write", () => Effect.zipRight(ResourceServer.require({ scope: "invoices:write" }), who))
      .handle("strong", () => who))

  const sending = Effect.gen(function*() {
    yield* at
    const server = ResourceServer.layer().pipe(
      Layer.provide(Layer.merge(layerJwt, dpop({ nonces: true }))),
      Layer.provide(servicesOf(authorizationServer()))
    )
    const live = HttpApiBuilder.api(Api).pipe(
      Layer.provide(Handlers),
      Layer.provide([
        ResourceServer.layerHttpApi(Reader, { scope: "invoices:read" }),
        ResourceServer.layerHttpApi(Strong, { acrValues: "mfa" })
      ]),
      Layer.provideMerge(server)
    )
    const context = yield* Layer.build(
      Layer.mergeAll(live, HttpApiBuilder.Router.Live, HttpApiBuilder.Middleware.layer, HttpServer.layerContext)
    )
    return yield* Effect.provide(Effect.flatMap(HttpApiBuilder.httpApp, (app) => serving(app)), context)
  })

  it.scoped("refusals are typed bodies, with the challenge on the answer", () =>
    Effect.gen(function*() {
      const send = yield* sending
      const good = yield* send(bearer(yield* jwt()))
      assert.deepStrictEqual([good.status, good.body], [200, `"alice"`])

      const nobody = yield* send()
      refused(nobody, 401)
      assert.deepStrictEqual(challengeOf(nobody, "bearer"), { scope: "invoices:read" })
      assert.strictEqual(JSON.parse(nobody.body)._tag, "Unauthorized")

      const lacking = yield* send(bearer(yield* jwt({ scope: "x" })))
      refused(lacking, 403)
      assert.deepStrictEqual(challengeOf(lacking, "bearer"), { error: "insufficient_scope", scope: "invoices:read" })
      assert.deepStrictEqual(JSON.parse(lacking.body), {
        _tag: "Forbidden",
        error: "insufficient_scope",
        scope: ["invoices:read"]
      })
    }))

  it.scoped("a handler can require more", () =>
    Effect.gen(function*() {
      const send = yield* sending
      const served = yield* send(bearer(yield* jwt()), "/write")
      refused(served, 403)
      assert.deepStrictEqual(challengeOf(served, "bearer"), { error: "insufficient_scope", scope: "invoices:write" })
      const allowed = yield* send(bearer(yield* jwt({ scope: "invoices:read invoices:write" })), "/write")
      assert.strictEqual(allowed.status, 200)
    }))

  it.scoped("two guards of one request use its proof once", () =>
    Effect.gen(function*() {
      const send = yield* sending
      const token = yield* jwt({ acr: "mfa", cnf: { jkt: dpopKey.thumbprint } })
      const asked = yield* send(
        { authorization: `DPoP ${token}`, dpop: yield* proof(token, { htu: `${audience}/strong` }) },
        "/strong"
      )
      const nonce = asked.headers.get("dpop-nonce") ?? ""
      const served = yield* send({
        authorization: `DPoP ${token}`,
        dpop: yield* proof(token, { htu: `${audience}/strong`, nonce })
      }, "/strong")
      assert.deepStrictEqual([served.status, served.body], [200, `"alice"`])
      const weak = yield* send(bearer(yield* jwt()), "/strong")
      refused(weak, 401)
      assert.deepStrictEqual(challengeOf(weak, "bearer"), {
        error: "insufficient_user_authentication",
        acr_values: "mfa"
      })
    }))
})

describe("whatever comes", () => {
  it.scoped("as Authorization is answered, and never by a 5xx", () =>
    Effect.gen(function*() {
      const send = yield* api()
      const token = yield* jwt()
      const text = FastCheck.string({ unit: FastCheck.constantFrom(..."aZ09._~+/-= ,;\"\\\t\u00e9".split("")) })
      const header = FastCheck.oneof(
        text,
        FastCheck.tuple(FastCheck.constantFrom("Bearer", "DPoP", "bearer", "Basic"), text).map((parts) =>
          parts.join(" ")
        ),
        FastCheck.tuple(FastCheck.nat(token.length - 1), FastCheck.constantFrom("A", ".", "=")).map(([at, other]) =>
          `Bearer ${token.slice(0, at)}${other}${token.slice(at + 1)}`
        )
      )
      yield* Effect.promise(() =>
        FastCheck.assert(
          FastCheck.asyncProperty(header, text, async (authorization, dpop) => {
            const served = await Effect.runPromise(send({ authorization, dpop }))
            if (served.status === 200) assert.strictEqual(authorization.trim(), `Bearer ${token}`)
            else assert.strictEqual(served.status, 401)
            if (served.status === 401) assert.isNotEmpty(served.challenges)
          }),
          { numRuns: 300 }
        )
      )
    }))
})

it.scoped("nothing of a token shows, in values, errors and answers", () =>
  Effect.gen(function*() {
    const secret = "5ecr3t"
    const token = yield* jwt({ secret })
    const verifier = yield* Layer.build(layerJwt.pipe(Layer.provide(servicesOf(authorizationServer()))))
    yield* at
    const verify = (text: string) =>
      Effect.provide(
        Effect.flatMap(AccessTokenVerifier.AccessTokenVerifier, ({ verify }) => verify(Redacted.make(text))),
        verifier
      )
    const good = yield* verify(token)
    const bad = yield* Effect.exit(verify(yield* jwt({ aud: secret, secret })))
    const shown = [good, bad].flatMap((value) => [
      String(value),
      JSON.stringify(value),
      inspect(value, { depth: 20, showHidden: true })
    ]).join("\n")
    assert.isTrue(Exit.isFailure(bad))
    assert.notInclude(shown, secret)
    assert.notInclude(shown, token)
    const send = yield* api()
    const served = yield* send(bearer(`${token}${secret}`))
    assert.notInclude(`${served.body}${[...served.headers]}`, secret)
  }))

it.scoped("an HttpRouter answers what its handlers require", () =>
  Effect.gen(function*() {
    yield* at
    const routes = HttpRouter.empty.pipe(
      HttpRouter.get(
        "/",
        Effect.as(ResourceServer.require({ scope: "admin" }), HttpServerResponse.empty({ status: 204 }))
      ),
      HttpRouter.use(ResourceServer.middleware({ scope: "invoices:read" })),
      Effect.catchTag("RouteNotFound", () => HttpServerResponse.empty({ status: 404 }))
    )
    const context = yield* Layer.build(
      ResourceServer.layer().pipe(Layer.provide(layerJwt), Layer.provide(servicesOf(authorizationServer())))
    )
    const send = yield* Effect.provide(serving(routes), context)
    const served = yield* send(bearer(yield* jwt()))
    refused(served, 403)
    assert.deepStrictEqual(challengeOf(served, "bearer"), { error: "insufficient_scope", scope: "admin" })
    assert.strictEqual((yield* send(bearer(yield* jwt({ scope: "invoices:read admin" })))).status, 204)
  }))
