/**
 * Which registrations at OpenID providers a program has: named ones, defined in code or by `Config`, or resolved when they
 * are asked for. Each is a client of `@effect-oauth/core` too, for calls of the program's own authority.
 *
 * @since 0.1.0
 */
import type { AccessToken } from "@effect-oauth/core/AccessToken"
import { ClientCredentialsTokenManager } from "@effect-oauth/core/ClientCredentialsTokenManager"
import {
  type AccessTokenError,
  type ClientProblem,
  TokenClientInvalid,
  TokenClientNotFound,
  TokenClientUnavailable
} from "@effect-oauth/core/OAuthError"
import * as SingleFlight from "@effect-oauth/core/SingleFlight"
import * as TokenClients from "@effect-oauth/core/TokenClients"
import type { TokenRequestParameters } from "@effect-oauth/core/TokenRequestParameters"
import * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Cause from "effect/Cause"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as CallbackPath from "./internal/browser/callbackPath.ts"
import { customized } from "./internal/incoming.ts"
import { causeOf, nameOf } from "./internal/nameOf.ts"
import * as Client from "./OidcClient.ts"
import { OidcClientNotFound } from "./OidcError.ts"

/**
 * @since 0.1.0
 * @category models
 */
export type LookupError = OidcClientNotFound | TokenClientInvalid | TokenClientUnavailable

/**
 * @since 0.1.0
 * @category tags
 */
export class OidcClients extends Context.Tag("@effect-oauth/oidc/OidcClients")<OidcClients, {
  /** The client of this name; without a name, the default one, else the only one. */
  readonly get: (name?: string) => Effect.Effect<Client.OidcClient, LookupError>
  /** Those that are defined, and of resolvers those that are kept at the moment. */
  readonly all: Effect.Effect<ReadonlyArray<Client.OidcClient>>
  /** Where logins may come back to: those of the clients that are defined, and of resolvers. */
  readonly callbackPaths: Effect.Effect<ReadonlyArray<string>>
}>() {}

/**
 * The name of the client of `@effect-oauth/core` that is derived from a registration, for
 * `AccessTokenHttpClient.clientCredentials`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const tokenClientName: (name: string) => string = Client.tokenClientName

interface Resolver {
  readonly get: (name: string) => Effect.Effect<Client.OidcClient, LookupError>
  readonly kept: Effect.Effect<ReadonlyArray<Client.OidcClient>>
  readonly callbackPaths: ReadonlyArray<string>
}
/**
 * A token of the program's own authority, by the registration of this name, else the default one. Inside a web request,
 * `TokenRequestCustomizer` is asked with the incoming request. Needs nobody to be signed in.
 *
 * @since 0.1.0
 * @category accessors
 */
export const clientCredentialsToken = (
  name?: string,
  parameters?: TokenRequestParameters
): Effect.Effect<AccessToken, LookupError | AccessTokenError, OidcClients | ClientCredentialsTokenManager> =>
  Effect.gen(function*() {
    const clients = yield* OidcClients
    const manager = yield* ClientCredentialsTokenManager
    const client = yield* clients.get(name)
    return yield* manager.get(tokenClientName(client.name), yield* customized(manager, parameters))
  })

interface Definitions {
  readonly defined: Map<string, Client.OidcClient>
  readonly resolvers: Set<Resolver>
  /** Whether a Layer has been closed since one was built: then the program ends, and its clients count as registered still. */
  hasClosed: boolean
}

class Registry extends Context.Tag("@effect-oauth/oidc/OidcClients/Registry")<
  Registry,
  Definitions & { readonly view: OidcClients["Type"] }
>() {
  // A constant, so that all Layers of one build share it.
  static readonly layer = Layer.sync(Registry, () => {
    const definitions: Definitions = { defined: new Map(), resolvers: new Set(), hasClosed: false }
    return Object.assign(definitions, { view: viewOver(definitions) })
  })
}

/** Read at call time, so that every Layer knows the clients of the others. */
const viewOver = (definitions: Definitions): OidcClients["Type"] => {
  const { defined, resolvers } = definitions
  const notFound = (clientName: string) =>
    definitions.hasClosed
      ? Effect.fail(new TokenClientUnavailable({ clientName, cause: "LayerClosed" }))
      : Effect.fail(new OidcClientNotFound({ clientName, known: [...defined.keys()] }))
  const defaultClient = (): Effect.Effect<Client.OidcClient, LookupError> => {
    const clients = [...defined.values()]
    const chosen = clients.find(({ isDefault }) => isDefault) ?? (clients.length === 1 ? clients[0] : undefined)
    return chosen === undefined ? notFound("") : Effect.succeed(chosen)
  }
  const resolved = (name: string): Effect.Effect<Client.OidcClient, LookupError> =>
    [...resolvers].reduceRight<Effect.Effect<Client.OidcClient, LookupError>>(
      (next, resolver) => Effect.catchTag(resolver.get(name), "OidcClientNotFound", () => next),
      notFound(name)
    )
  return {
    get: (name) =>
      Effect.suspend(() => {
        if (name === undefined) return defaultClient()
        const client = defined.get(name)
        return client === undefined ? resolved(name) : Effect.succeed(client)
      }),
    all: Effect.suspend(() =>
      Effect.map(
        Effect.forEach(resolvers, ({ kept }) => kept),
        (kept) => [...defined.values(), ...kept.flat()]
      )
    ),
    callbackPaths: Effect.sync(() => {
      const own = [...defined.values()].map(({ callbackPath }) => callbackPath)
      return [...new Set([...own, ...[...resolvers].flatMap(({ callbackPaths }) => callbackPaths)])]
    })
  }
}

const invalid = ([first, ...rest]: ReadonlyArray<ClientProblem>) =>
  new TokenClientInvalid({ problems: [first ?? { client: "", field: "", problem: "not usable" }, ...rest] })

type Parsed = Either.Either<Client.OidcClient, ReadonlyArray<ClientProblem>>

const register = (parsed: ReadonlyArray<readonly [name: string, client: Parsed]>) =>
  Effect.gen(function*() {
    const registry = yield* Registry
    const problems: Array<ClientProblem> = []
    const clients: Array<Client.OidcClient> = []
    for (const [name, client] of parsed) {
      if (registry.defined.has(name)) {
        problems.push({ client: name, field: "name", problem: "is defined twice: give one of the two another name" })
      }
      if (Either.isRight(client)) clients.push(client.right)
      else problems.push(...client.left)
    }
    const callbackPaths = new Map<string, Client.OidcClient>()
    for (const client of [...registry.defined.values(), ...clients]) {
      const route = CallbackPath.plainPath(client.callbackPath)
      const first = callbackPaths.get(route) ?? client
      callbackPaths.set(route, first)
      if (client.callbackPath !== first.callbackPath) {
        const problem =
          `is the route of "${first.callbackPath}", which client "${first.name}" has: write both alike, or ` +
          "take another path"
        problems.push({ client: client.name, field: "callbackPath", problem })
      }
    }
    const defaults = [...registry.defined.values(), ...clients].filter(({ isDefault }) => isDefault)
    for (const { name } of defaults.slice(1)) {
      problems.push({ client: name, field: "default", problem: `"${defaults[0]?.name}" is the default already` })
    }
    if (problems.length > 0) return yield* invalid(problems)
    for (const client of clients) registry.defined.set(client.name, client)
    registry.hasClosed = false
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const { name } of clients) registry.defined.delete(name)
        registry.hasClosed = true
      })
    )
    return clients
  })

/** The registrations, and the clients that are derived from them. */
const layerOf = <E>(
  parse: Effect.Effect<ReadonlyArray<readonly [name: string, client: Parsed]>, E>
): Layer.Layer<OidcClients | TokenClients.TokenClients, E | TokenClientInvalid> =>
  Layer.unwrapScoped(
    Effect.gen(function*() {
      const clients = yield* Effect.flatMap(parse, register)
      const machines = clients.map(({ machine, name }) => [tokenClientName(name), machine] as const)
      return Layer.merge(
        Layer.effect(OidcClients, Effect.map(Registry, ({ view }) => view)),
        TokenClients.layer(Object.fromEntries(machines))
      )
    })
  ).pipe(Layer.provide(Registry.layer))

/**
 * Registrations defined in code.
 *
 * @example
 * ```ts
 * import { OidcClients } from "@effect-oauth/oidc"
 * import { Redacted } from "effect"
 *
 * export const Clients = OidcClients.layer({
 *   company: {
 *     issuer: "https://login.example.com",
 *     clientId: "web",
 *     clientSecret: Redacted.make("secret"),
 *     scope: "openid profile offline_access invoices"
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  clients: Readonly<Record<string, Client.OidcClientOptions>>
): Layer.Layer<OidcClients | TokenClients.TokenClients, TokenClientInvalid> =>
  layerOf(
    Effect.forEach(
      Object.entries(clients),
      ([name, options]) => Effect.map(Client.parse(name, options), (client) => [name, client] as const)
    )
  )

/**
 * A registration of which every field, or the whole, may come from `Config`.
 *
 * @since 0.1.0
 * @category models
 */
export type OidcClientConfig =
  | { readonly [K in keyof Client.OidcClientOptions]: TokenClients.ConfigOf<Client.OidcClientOptions, K> }
  | Config.Config<Client.OidcClientOptions>

/**
 * Registrations from configuration: every field is a value or a `Config` of it, or a whole registration is a `Config`. Use
 * `Config.redacted` for secrets. A `Config.option` that is absent counts as a field that is left out.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  clients: Readonly<Record<string, OidcClientConfig>>
): Layer.Layer<OidcClients | TokenClients.TokenClients, TokenClientInvalid> =>
  layerOf(
    Effect.forEach(
      Object.entries(clients),
      ([name, config]) =>
        Effect.map(
          TokenClients.readConfig(name, config, (options: Client.OidcClientOptions) => Client.parse(name, options)),
          (client) => [name, client] as const
        )
    )
  )

/**
 * - `timeToLive`: how long a resolved client is kept. Default 5 minutes.
 * - `capacity`: how many are kept. Default 1,000.
 * - `timeout`: how long resolving one client may take; after that it has failed. Default 10 seconds.
 * - `callbackPaths`: where their logins come back to; each client's `callbackPath` is one of them, the first one where it says
 *   none. A segment `:client` stands for the client's name, as in `/auth/callback/:client`: clients of different servers that
 *   do not name themselves in their answers (RFC 9207) need a path each. Default `/auth/callback`.
 *
 * @since 0.1.0
 * @category models
 */
export interface ResolverOptions {
  readonly timeToLive?: Duration.DurationInput | undefined
  readonly capacity?: number | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly callbackPaths?: ReadonlyArray<string> | undefined
}

type Found = Effect.Effect<Client.OidcClient, LookupError>

/** What a resolver gives, as this module checks and names it. */
const lookup = <E>(
  resolve: (name: string) => Effect.Effect<Client.OidcClientOptions, E>,
  { callbackPaths = ["/auth/callback"], timeout = "10 seconds" }: ResolverOptions
) =>
(name: string): Found => {
  const unavailable = (error: string) => new TokenClientUnavailable({ clientName: name, cause: error })
  const possible = callbackPaths.map((path) => CallbackPath.ofClient(path, name))
  return Effect.suspend(() => resolve(name)).pipe(
    Effect.mapError((error) => error instanceof OidcClientNotFound ? error : unavailable(nameOf(error))),
    // One that cannot be interrupted does not hold up a session either.
    Effect.disconnect,
    Effect.timeoutFail({ duration: timeout, onTimeout: () => unavailable("a timeout") }),
    Effect.flatMap((options) => Client.parse(name, { ...options, callbackPath: options.callbackPath ?? possible[0] })),
    Effect.flatMap(Either.mapLeft(invalid)),
    Effect.filterOrFail(
      ({ callbackPath }) => possible.includes(callbackPath),
      () => invalid([{ client: name, field: "callbackPath", problem: "is none of the resolver's callbackPaths" }])
    ),
    Effect.catchAllCause((cause) =>
      Effect.fail(Option.getOrElse(Cause.failureOption(cause), () => unavailable(causeOf(cause))))
    )
  )
}

/** One lookup at a time for each name, which goes on for the others if the caller that started it leaves. */
const remember = (
  find: (name: string) => Found,
  { capacity = 1000, timeout = "10 seconds", timeToLive = "5 minutes" }: ResolverOptions
) =>
  Effect.gen(function*() {
    const flights = yield* SingleFlight.make()
    const unavailable = (name: string, cause: string) => new TokenClientUnavailable({ clientName: name, cause })
    const cache = yield* Cache.make({
      capacity,
      timeToLive,
      lookup: (name: string) =>
        Effect.sync(() =>
          flights.run({
            work: find(name),
            background: true,
            limit: timeout,
            ended: () => {},
            interrupted: () => unavailable(name, "an interruption")
          })
        )
    })
    return {
      get: (name: string): Found =>
        Effect.flatMap(cache.get(name), (lookup) =>
          Effect.tapErrorCause(
            lookup.join(Effect.fail(unavailable(name, "a timeout"))),
            () => cache.invalidateWhen(name, (other) => other === lookup)
          )),
      kept: Effect.flatMap(cache.values, (lookups) =>
        Effect.map(
          Effect.forEach(
            lookups.filter((lookup) => !lookup.isUnderWay()),
            (lookup) => Effect.option(lookup.join(Effect.fail("a timeout")))
          ),
          Arr.getSomes
        ))
    }
  })

/**
 * Registrations that are resolved when they are asked for, from a database of tenants for instance: by name, as in
 * `/auth/login?client=tenant`. Their clients for calls of the program's own authority are resolved by the same function, anew
 * after the server has refused one as `invalid_client`.
 *
 * A resolver that does not know a name fails with `OidcClientNotFound`; any other failure of it becomes
 * `TokenClientUnavailable`, which carries the tag of its error only. None of its clients is the default one. A provider's
 * logout reaches those that are kept at that moment in the process that it comes to.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerResolver = <E, R>(
  resolve: (name: string) => Effect.Effect<Client.OidcClientOptions, E, R>,
  options: ResolverOptions = {}
): Layer.Layer<OidcClients | TokenClients.TokenClients, never, R> => {
  const { callbackPaths = ["/auth/callback"] } = options
  const clients = Layer.scoped(
    OidcClients,
    Effect.gen(function*() {
      const registry = yield* Registry
      const context = yield* Effect.context<R>()
      const find = lookup((name) => Effect.provide(resolve(name), context), options)
      const cache = yield* remember(find, options)
      const resolver: Resolver = { ...cache, callbackPaths }
      registry.resolvers.add(resolver)
      registry.hasClosed = false
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          registry.resolvers.delete(resolver)
          registry.hasClosed = true
        })
      )
      return registry.view
    })
  ).pipe(Layer.provide(Registry.layer))
  const machines = TokenClients.layerResolver((clientName) =>
    Effect.gen(function*() {
      const unknown = new TokenClientNotFound({ clientName, known: [] })
      const name = Client.registrationName(clientName)
      if (name === undefined) return yield* unknown
      const context = yield* Effect.context<R>()
      const find = lookup((name) => Effect.provide(resolve(name), context), options)
      const { machine } = yield* Effect.catchTag(find(name), "OidcClientNotFound", () => unknown)
      return machine
    }), options)
  return Layer.merge(clients, machines)
}
