/** The servers that the program has to do with, and what is to be seen of it. */
import { ConfigProvider, Effect, Either, Redacted, Schema } from "effect"
import * as AuthorizationServer from "../servers/authorizationServer.ts"
import * as CallerApi from "../servers/callerApi.ts"
import * as Telling from "../servers/telling.ts"
import * as Tenants from "./tenants.ts"

export type Call = (tenant: string, path: "invoices" | "customers") => Effect.Effect<unknown, unknown>

const Answer = Schema.Struct({ client: Schema.String, issuer: Schema.String, scope: Schema.String })

const clientIdOf = (tenant: string) => `client-of-${tenant}`
const secretOf = (tenant: string) => `the-secret-of-${tenant}`
const indexOf = (tenant: string) => Tenants.names.indexOf(tenant)

const serverOf = (which: number) =>
  AuthorizationServer.start({
    clients: Tenants.names.filter((tenant) => indexOf(tenant) % 2 === which).map((tenant) => ({
      client_id: clientIdOf(tenant),
      client_secret: secretOf(tenant),
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      scope: "invoices customers"
    }))
  })

const setUp = Effect.gen(function*() {
  const servers = [yield* serverOf(0), yield* serverOf(1)] as const
  const issuerOf = (tenant: string) => servers[indexOf(tenant) % 2 === 0 ? 0 : 1].issuer
  const api = yield* CallerApi.start({ name: "api", issuers: servers })
  const tenants = Tenants.make((name, reading) => ({
    issuer: issuerOf(name),
    clientId: clientIdOf(name),
    clientSecret: Redacted.make(name === Tenants.rotated && reading === 1 ? "an-old-secret" : secretOf(name)),
    resource: api.url
  }))
  return { api, issuerOf, servers, telling: yield* Telling.make, tenants }
})

type Scene = Effect.Effect.Success<typeof setUp>

const paths = ["invoices", "customers"] as const

/** Calls of many tenants at once, both kinds of each. */
const callAll = (scene: Scene, call: Call, tenants: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const { issuerOf, servers } = scene
    const asked = () => servers[0].tokenRequests() + servers[1].tokenRequests()
    const before = asked()
    const results = yield* Effect.forEach(
      tenants.flatMap((tenant) => paths.map((path) => ({ path, tenant }))),
      ({ path, tenant }) => Effect.map(Effect.either(call(tenant, path)), (answer) => ({ answer, path, tenant })),
      { concurrency: "unbounded" }
    )
    const answered = results.flatMap(({ answer, ...rest }) => Either.isRight(answer) ? [{ ...rest, ...answer }] : [])
    const own = answered.filter(({ path, right, tenant }) => {
      const answer = Either.getOrUndefined(Schema.decodeUnknownEither(Answer)(right))
      return answer?.client === clientIdOf(tenant) && answer.issuer === issuerOf(tenant) && answer.scope === path
    })
    const failures = results.flatMap(({ answer, tenant }) =>
      Either.isLeft(answer) ? [{ tenant, error: answer.left }] : []
    )
    return { answered: answered.length, own: own.length, failures, tokenRequests: asked() - before }
  })

const told = (scene: Scene, call: Call) =>
  Effect.gen(function*() {
    const { servers, telling: { end, line, step, title } } = scene
    const tell = (calls: Effect.Effect.Success<ReturnType<typeof callAll>>) =>
      Effect.gen(function*() {
        yield* line("answered", calls.answered)
        yield* line("with the token of its own tenant", calls.own)
        yield* line("requests for tokens", calls.tokenRequests)
      })

    yield* title("A program works for 100 tenants of two authorization servers. This takes a few seconds.")
    yield* step(`Two calls of each of ${Tenants.sound.length} tenants at once, by two scopes.`)
    const first = yield* callAll(scene, call, Tenants.sound)
    yield* tell(first)

    yield* step("The same calls again.")
    const second = yield* callAll(scene, call, Tenants.sound)
    yield* tell(second)

    yield* step(`The secret of ${Tenants.rotated} is rotated when it has just been read.`)
    const rotated = yield* callAll(scene, call, [Tenants.rotated])
    yield* tell(rotated)
    const answers = servers[1].requests().filter(({ path }) => path === "/token").slice(-rotated.tokenRequests)
    yield* line("what the server answered", answers.map(({ status }) => status).join(", "))

    yield* step("All of them, with three whose row in the table is broken.")
    const all = yield* callAll(scene, call, Tenants.names)
    yield* tell(all)
    for (const { error, tenant } of all.failures.filter((_, index) => index % 2 === 0)) {
      yield* line(tenant, error instanceof Error ? error.message : "an error")
    }

    const sound = Tenants.sound.length * 2
    const broken = new Set(all.failures.map(({ tenant }) => tenant))
    yield* end([
      [first.own === sound && first.tokenRequests === sound, "one token for each tenant and scope"],
      [second.own === sound && second.tokenRequests === 0, "the second round needs no token"],
      [rotated.own === 2 && answers.some(({ status }) => status === 401), "a rotated secret is picked up at once"],
      [all.own === sound + 2 && all.answered === sound + 2, "every sound tenant is served, with tokens of its own"],
      [
        broken.size === 3 && Object.values(Tenants.broken).every((tenant) => broken.has(tenant)),
        "only the broken ones fail"
      ]
    ])
  })

/** Runs the story; fails if something did not happen as it should. */
export const run = <E>(
  working: (story: (call: Call) => Effect.Effect<void, Telling.NotAsTold>) => Effect.Effect<void, E, Tenants.Tenants>
) =>
  Effect.gen(function*() {
    const scene = yield* setUp
    yield* working((call) => told(scene, call)).pipe(
      Effect.provideService(Tenants.Tenants, scene.tenants),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["API_URL", scene.api.url]])))
    )
  }).pipe(Effect.scoped, Telling.reported)
