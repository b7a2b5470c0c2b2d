/**
 * Which registrations at OpenID providers a program has: named ones, defined in code or by `Config`, or resolved when they
 * are asked for. Each is a client of `@effect-oauth/core` too, for calls of the program's own authority.
 *
 * @since 0.1.0
 */
import { type ClientProblem, TokenClientInvalid } from "@effect-oauth/core/OAuthError"
import * as TokenClients from "@effect-oauth/core/TokenClients"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Client from "./OidcClient.ts"
import { OidcClientNotFound } from "./OidcError.ts"

/**
 * @since 0.1.0
 * @category models
 */
export type LookupError = OidcClientNotFound | TokenClientInvalid

/**
 * @since 0.1.0
 * @category tags
 */
export class OidcClients extends Context.Tag("@effect-oauth/oidc/OidcClients")<OidcClients, {
  /** The client of this name; without a name, the default one, else the only one. */
  readonly get: (name?: string) => Effect.Effect<Client.OidcClient, LookupError>
  /** Those that are defined, the ones of resolvers not among them. */
  readonly all: Effect.Effect<ReadonlyArray<Client.OidcClient>>
}>() {}

/**
 * The name of the client of `@effect-oauth/core` that is derived from a registration, for
 * `AccessTokenHttpClient.clientCredentials`.
 *
 * @since 0.1.0
 * @category accessors
 */
export const tokenClientName: (name: string) => string = Client.tokenClientName

type Resolve = (name: string) => Effect.Effect<Client.OidcClient, LookupError>

class Registry extends Context.Tag("@effect-oauth/oidc/OidcClients/Registry")<Registry, {
  readonly defined: Map<string, Client.OidcClient>
  readonly resolvers: Set<Resolve>
}>() {
  // A constant, so that all Layers of one build share it.
  static readonly layer = Layer.sync(Registry, () => Registry.of({ defined: new Map(), resolvers: new Set() }))
}

/** Read at call time, so that every Layer knows the clients of the others. */
const viewOver = ({ defined, resolvers }: Registry["Type"]): OidcClients["Type"] => {
  const notFound = (clientName: string) =>
    Effect.fail(new OidcClientNotFound({ clientName, known: [...defined.keys()] }))
  const defaultClient = (): Effect.Effect<Client.OidcClient, LookupError> => {
    const clients = [...defined.values()]
    const chosen = clients.find(({ isDefault }) => isDefault) ?? (clients.length === 1 ? clients[0] : undefined)
    return chosen === undefined ? notFound("") : Effect.succeed(chosen)
  }
  const resolved = (name: string): Effect.Effect<Client.OidcClient, LookupError> =>
    [...resolvers].reduceRight<Effect.Effect<Client.OidcClient, LookupError>>(
      (next, resolve) => Effect.catchTag(resolve(name), "OidcClientNotFound", () => next),
      notFound(name)
    )
  return {
    get: (name) =>
      Effect.suspend(() => {
        if (name === undefined) return defaultClient()
        const client = defined.get(name)
        return client === undefined ? resolved(name) : Effect.succeed(client)
      }),
    all: Effect.sync(() => [...defined.values()])
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
    const defaults = [...registry.defined.values(), ...clients].filter(({ isDefault }) => isDefault)
    for (const { name } of defaults.slice(1)) {
      problems.push({ client: name, field: "default", problem: `"${defaults[0]?.name}" is the default already` })
    }
    if (problems.length > 0) return yield* invalid(problems)
    for (const client of clients) registry.defined.set(client.name, client)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const { name } of clients) registry.defined.delete(name)
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
        Layer.effect(OidcClients, Effect.map(Registry, viewOver)),
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
