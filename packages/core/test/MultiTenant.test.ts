/**
 * Many tenants in one program: clients resolved by name, the name and what is asked for taken from each request.
 */
import {
  AccessTokenHttpClient,
  type ClientCredentialsTokenManager,
  OAuth,
  OAuthError,
  TokenClients,
  TokenRetriever
} from "@effect-oauth/core"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { assert, describe, it } from "@effect/vitest"
import { Array as Arr, Effect, Either, Fiber, Layer, Option, Redacted, TestClock, TestContext } from "effect"
import * as FastCheck from "effect/FastCheck"
import { field, json, type Seen, stub } from "./support/StubServer.ts"

type Mode = "works" | "fails" | "hangs" | "dies"
type Path = "invoices" | "customers"

const issuers = ["https://one.test", "https://two.test"] as const
const tenants = Array.from({ length: 12 }, (_, index) => `tenant-${index}`)
const issuerOf = (tenant: string) => issuers[tenants.indexOf(tenant) % 2]!
const slowness = (number: number) => Effect.sleep((number * 7) % 40)

class DatabaseDown {
  readonly _tag = "DatabaseDown"
}

/** Two authorization servers and an API, which write down everything that is not as it should be. */
const makeWorld = () => {
  const secrets = new Map(tenants.map((tenant) => [tenant, 0]))
  const modes = new Map<string, Mode>()
  const revoked = new Set<string>()
  const live = new Map<string, string>()
  const wrong: Array<string> = []
  const given = { number: 0 }
  const secretOf = (tenant: string) => `secret-of-${tenant}-${secrets.get(tenant)}`

  const tokenEndpoint = (seen: Seen): Response => {
    const basic = atob(seen.headers.authorization!.replace("Basic ", ""))
    const [tenant = "", secret = ""] = basic.split(":").map(decodeURIComponent)
    const issuer = new URL(seen.url).origin
    const asked = `${field(seen, "scope")} ${field(seen, "resource")}`
    if (issuer !== issuerOf(tenant)) wrong.push(`${tenant} asked ${issuer}`)
    if (!secret.startsWith(`secret-of-${tenant}-`)) wrong.push(`${tenant} came with the secret of another`)
    if (secret !== secretOf(tenant)) return json({ error: "invalid_client" }, { status: 401 })
    const token = `${++given.number}|${tenant}|${issuer}|${encodeURIComponent(asked)}`
    live.set(token, tenant)
    return json({ access_token: token, token_type: "Bearer", expires_in: 300 })
  }

  const api = (seen: Seen): Response => {
    const token = (seen.headers.authorization ?? "").replace("Bearer ", "")
    const [, tenant, issuer, asked] = token.split("|").map(decodeURIComponent)
    const path = new URL(seen.url).pathname.slice(1)
    const wanted = seen.headers["x-tenant"]!
    if (tenant !== wanted) wrong.push(`${wanted} was sent with the token of ${tenant}`)
    if (issuer !== issuerOf(wanted)) wrong.push(`${wanted} was sent with a token of ${issuer}`)
    if (asked !== `${path} https://api.test/`) wrong.push(`${wanted}/${path} had a token for ${asked}`)
    return revoked.has(token) ? new Response(null, { status: 401 }) : json({ tenant })
  }

  const network = stub((seen, number) =>
    Effect.as(slowness(number), 0).pipe(
      Effect.map(() => seen.url.startsWith("https://api.test/") ? api(seen) : tokenEndpoint(seen))
    )
  )

  const resolve = (name: string) =>
    Effect.gen(function*() {
      yield* slowness(name.length + given.number)
      switch (modes.get(name) ?? "works") {
        case "fails":
          return yield* Effect.fail(new DatabaseDown())
        case "hangs":
          return yield* Effect.never
        case "dies":
          return yield* Effect.die(new Error(secretOf(name)))
        case "works":
          return {
            tokenEndpoint: `${issuerOf(name)}/token`,
            clientId: name,
            clientSecret: Redacted.make(secretOf(name))
          }
      }
    })

  const Customizer = Layer.succeed(TokenRetriever.TokenRequestCustomizer, (request, parameters) => {
    const path = new URL(request.url).pathname.slice(1)
    return Effect.succeed({ ...parameters, scope: path, resource: "https://api.test/" })
  })
  const Services = Layer.merge(OAuth.layer, Customizer).pipe(
    Layer.provide(TokenClients.layerResolver(resolve, { timeToLive: "1 minute" })),
    Layer.provideMerge(network.layer)
  )

  return {
    Services,
    wrong,
    given,
    modeOf: (tenant: string) => modes.get(tenant) ?? "works",
    set: (tenant: string, mode: Mode) => void modes.set(tenant, mode),
    rotate: (tenant: string) => void secrets.set(tenant, secrets.get(tenant)! + 1),
    revoke: (tenant: string) => {
      for (const [token, owner] of live) {
        if (owner === tenant) revoked.add(token)
      }
    }
  }
}

type World = ReturnType<typeof makeWorld>

/** The token of the client that a request names. */
const byTenant: TokenRetriever.TokenRetriever<
  OAuthError.AccessTokenError,
  ClientCredentialsTokenManager.ClientCredentialsTokenManager
> = (request) =>
  Effect.flatMap(TokenRetriever.clientCredentials(request.headers["x-tenant"]), (retriever) => retriever(request))

const call = (tenant: string, path: Path) =>
  Effect.gen(function*() {
    const client = AccessTokenHttpClient.make(byTenant)(yield* HttpClient.HttpClient)
    const request = HttpClientRequest.get(`https://api.test/${path}`).pipe(
      HttpClientRequest.setHeader("x-tenant", tenant)
    )
    const response = yield* client.execute(request)
    return { status: response.status, tenant: response.status === 200 ? (yield* response.json) : undefined }
  })

type Outcome = Effect.Effect.Success<ReturnType<typeof call>>

type Result = "hangs" | Either.Either<Outcome, unknown>

/** All at once; nothing may be left hanging after half a minute. */
const together = (calls: ReadonlyArray<readonly [tenant: string, path: Path]>) =>
  Effect.gen(function*() {
    const fibers = yield* Effect.forEach(calls, ([tenant, path]) => Effect.fork(Effect.either(call(tenant, path))))
    for (let step = 0; step < 10; step++) yield* TestClock.adjust("50 millis")
    for (let step = 0; step < 3; step++) yield* TestClock.adjust("10 seconds")
    return yield* Effect.forEach(fibers, (fiber) =>
      Effect.flatMap(Fiber.poll(fiber), (exit): Effect.Effect<Result> =>
        Option.isNone(exit) ? Effect.succeed("hangs") : exit.value))
  })

const judge = (world: World, tenant: string, result: Result): void => {
  if (result === "hangs") return assert.fail(`a call of ${tenant} hangs`)
  if (Either.isRight(result)) {
    assert.deepStrictEqual(result.right, { status: 200, tenant: { tenant } })
    return
  }
  assert.notStrictEqual(world.modeOf(tenant), "works", `${tenant}: ${String(result.left)}`)
  assert.isTrue(OAuthError.isAccessTokenError(result.left), String(result.left))
  assert.notInclude(`${String(result.left)} ${JSON.stringify(result.left)}`, "secret-of")
}

const anyTenant = FastCheck.constantFrom(...tenants)
const anyPath = FastCheck.constantFrom<Path>("invoices", "customers")
const anyCalls = FastCheck.array(FastCheck.tuple(anyTenant, anyPath), { minLength: 1, maxLength: 40 })

type Step =
  | { readonly kind: "calls"; readonly calls: ReadonlyArray<readonly [string, Path]> }
  | { readonly kind: "rotate" | "revoke"; readonly tenant: string }
  | { readonly kind: "mode"; readonly tenant: string; readonly mode: Mode }
  | { readonly kind: "time"; readonly seconds: number }

const anyStep: FastCheck.Arbitrary<Step> = FastCheck.oneof(
  { weight: 4, arbitrary: FastCheck.record({ kind: FastCheck.constant("calls" as const), calls: anyCalls }) },
  {
    weight: 2,
    arbitrary: FastCheck.record({
      kind: FastCheck.constantFrom("rotate" as const, "revoke" as const),
      tenant: anyTenant
    })
  },
  {
    weight: 2,
    arbitrary: FastCheck.record({
      kind: FastCheck.constant("mode" as const),
      tenant: anyTenant,
      mode: FastCheck.constantFrom<Mode>("works", "fails", "hangs", "dies")
    })
  },
  {
    weight: 1,
    arbitrary: FastCheck.record({
      kind: FastCheck.constant("time" as const),
      seconds: FastCheck.integer({ min: 1, max: 400 })
    })
  }
)

const live = (world: World, steps: ReadonlyArray<Step>) =>
  Effect.gen(function*() {
    for (const step of steps) {
      switch (step.kind) {
        case "rotate":
          world.rotate(step.tenant)
          break
        case "revoke":
          world.revoke(step.tenant)
          break
        case "mode":
          world.set(step.tenant, step.mode)
          // What failed before is left alone for a while.
          if (step.mode === "works") yield* TestClock.adjust("2 minutes")
          break
        case "time":
          yield* TestClock.adjust(`${step.seconds} seconds`)
          break
        case "calls": {
          const results = yield* together(step.calls)
          for (const [[tenant], result] of Arr.zip(step.calls, results)) judge(world, tenant, result)
        }
      }
      assert.deepStrictEqual(world.wrong, [])
    }
  }).pipe(Effect.provide(world.Services), Effect.provide(TestContext.TestContext))

describe("many tenants", () => {
  it("no tenant ever sees the token of another, whatever is rotated, revoked or broken", async () => {
    await FastCheck.assert(
      FastCheck.asyncProperty(
        FastCheck.array(anyStep, { minLength: 4, maxLength: 14 }),
        (steps) => Effect.runPromise(live(makeWorld(), steps))
      ),
      { numRuns: 20 }
    )
  }, 60_000)

  const everybody = tenants.map((tenant) => [tenant, "invoices"] as const)

  for (const mode of ["fails", "hangs", "dies"] as const) {
    it.effect(`a resolver that ${mode} for one tenant hurts no other, and is over when it works again`, () => {
      const world = makeWorld()
      const [hurt] = tenants
      world.set(hurt!, mode)
      return Effect.gen(function*() {
        const [first, ...others] = yield* together([...everybody, ...everybody])
        assert.isTrue(
          first !== "hangs" && Either.isLeft(first!) && first.left instanceof OAuthError.TokenClientUnavailable
        )
        others.slice(0, tenants.length - 1).forEach((result, index) => judge(world, tenants[index + 1]!, result))
        world.set(hurt!, "works")
        yield* TestClock.adjust("1 minute")
        const [again] = yield* together([[hurt!, "invoices"]])
        judge(world, hurt!, again!)
        assert.deepStrictEqual(world.wrong, [])
      }).pipe(Effect.provide(world.Services))
    })
  }

  it.effect("a rotated secret is picked up at the next token, and asks for no other tenant's", () => {
    const world = makeWorld()
    const [rotated] = tenants
    return Effect.gen(function*() {
      yield* together(everybody)
      assert.strictEqual(world.given.number, tenants.length)
      world.rotate(rotated!)
      world.revoke(rotated!)
      const results = yield* together(everybody)
      results.forEach((result, index) => judge(world, tenants[index]!, result))
      assert.strictEqual(world.given.number, tenants.length + 1)
      assert.deepStrictEqual(world.wrong, [])
    }).pipe(Effect.provide(world.Services))
  })
})
