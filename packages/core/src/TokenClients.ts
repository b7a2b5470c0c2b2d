/**
 * Which clients a program has: named ones, defined in code or by `Config`, or resolved when they are asked for.
 *
 * Every Layer of this module adds to one registry for each build of Layers, so that modules of a program can define their
 * own clients and `Layer.merge` adds them up.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as ClientAuthentication from "./ClientAuthentication.ts"
import * as Remembered from "./internal/cache/remembered.ts"
import { nameOf } from "./internal/problem.ts"
import {
  type ClientProblem,
  type TokenClientInvalid,
  TokenClientNotFound,
  TokenClientUnavailable
} from "./OAuthError.ts"
import * as OptionalServices from "./OptionalServices.ts"
import * as TokenClient from "./TokenClient.ts"

/**
 * @since 0.1.0
 * @category models
 */
export type LookupError = TokenClientNotFound | TokenClientInvalid | TokenClientUnavailable

/**
 * @since 0.1.0
 * @category tags
 */
export class TokenClients extends Context.Tag("@effect-oauth/core/TokenClients")<TokenClients, {
  /**
   * The client of this name; without a name, the only one. Of a client that is known already it is an `Exit`, so that the
   * hot path has nothing to run.
   */
  readonly get: (name?: string) => Effect.Effect<TokenClient.TokenClient, LookupError>
  /** Fails for a name that no Layer defines and no resolver could know. */
  readonly check: (name?: string) => Effect.Effect<void, TokenClientNotFound>
  /** Resolves a client anew, after its server refused it: `Some` if its definition has changed meanwhile. */
  readonly changed: (client: TokenClient.TokenClient) => Effect.Effect<Option.Option<TokenClient.TokenClient>>
  /** The names of the clients that are defined, those of resolvers not among them. */
  readonly names: Effect.Effect<ReadonlyArray<string>>
  /**
   * Optional: changes whenever what `get` gives as an `Exit` may have changed. As long as it does not, such an answer can
   * be kept.
   */
  readonly revision?: number
}>() {}

interface Resolver {
  readonly get: (name: string) => Effect.Effect<TokenClient.TokenClient, LookupError>
  readonly renew: (name: string) => Effect.Effect<TokenClient.TokenClient, LookupError>
}

interface Definitions {
  readonly defined: Map<string, Exit.Exit<TokenClient.TokenClient>>
  readonly resolvers: Set<Resolver>
  revision: number
}

class Registry extends Context.Tag("@effect-oauth/core/TokenClients/Registry")<
  Registry,
  Definitions & { readonly view: TokenClients["Type"] }
>() {
  // A constant, so that all Layers of one build share it.
  static readonly layer = Layer.sync(Registry, () => {
    const definitions: Definitions = { defined: new Map(), resolvers: new Set(), revision: 0 }
    return Object.assign(definitions, { view: viewOver(definitions) })
  })
}

/** In the registry, and with what the bundles over it share. */
const registered = <E, R>(layer: Layer.Layer<TokenClients, E, R>): Layer.Layer<TokenClients, E, Exclude<R, Registry>> =>
  Layer.merge(Layer.provide(layer, Registry.layer), OptionalServices.layerShared)

/** The view that every Layer of this module gives: read at call time, so it knows the clients of the others. */
const viewOver = (registry: Definitions): TokenClients["Type"] => {
  const { defined, resolvers } = registry
  const notFound = (name: string | undefined) =>
    new TokenClientNotFound({ clientName: name ?? "", known: [...defined.keys()] })

  const resolve = (
    name: string,
    how: "get" | "renew"
  ): Effect.Effect<TokenClient.TokenClient, LookupError> =>
    [...resolvers].reduceRight<Effect.Effect<TokenClient.TokenClient, LookupError>>(
      (next, resolver) => Effect.catchTag(resolver[how](name), "TokenClientNotFound", () => next),
      Effect.suspend(() => Effect.fail(notFound(name)))
    )

  const only = (): Effect.Effect<TokenClient.TokenClient, LookupError> => {
    const [first, second] = defined.values()
    return first !== undefined && second === undefined ? first : Effect.fail(notFound(undefined))
  }

  return {
    get: (name) => name === undefined ? only() : defined.get(name) ?? resolve(name, "get"),
    check: (name) =>
      Effect.suspend(() => {
        const possible = name === undefined ? defined.size === 1 : defined.has(name) || resolvers.size > 0
        return possible ? Effect.void : Effect.fail(notFound(name))
      }),
    changed: (client) =>
      Effect.suspend(() => {
        if (defined.has(client.name) || resolvers.size === 0) return Effect.succeedNone
        return Effect.match(resolve(client.name, "renew"), {
          onFailure: Option.none,
          onSuccess: (now) => TokenClient.isSame(now, client) ? Option.none() : Option.some(now)
        })
      }),
    names: Effect.sync(() => [...defined.keys()]),
    get revision() {
      return registry.revision
    }
  }
}

type Parsed = Either.Either<TokenClient.TokenClient, ReadonlyArray<ClientProblem>>

/** All clients or none: one error names every problem of every client. */
const register = (parsed: ReadonlyArray<readonly [name: string, client: Parsed]>) =>
  Effect.gen(function*() {
    const registry = yield* Registry
    const problems: Array<ClientProblem> = []
    const clients: Array<TokenClient.TokenClient> = []
    for (const [name, client] of parsed) {
      if (registry.defined.has(name)) {
        problems.push({ client: name, field: "name", problem: "is defined twice: give one of the two another name" })
      }
      if (Either.isRight(client)) clients.push(client.right)
      else problems.push(...client.left)
    }
    if (problems.length > 0) return yield* TokenClient.invalid(problems)
    for (const client of clients) registry.defined.set(client.name, Exit.succeed(client))
    registry.revision++
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const client of clients) registry.defined.delete(client.name)
        registry.revision++
      })
    )
    return registry.view
  })

/**
 * Clients defined in code.
 *
 * @example
 * ```ts
 * import { TokenClients } from "@effect-oauth/core"
 * import { Redacted } from "effect"
 *
 * export const Clients = TokenClients.layer({
 *   "invoice.client": {
 *     tokenEndpoint: "https://as.example.com/token",
 *     clientId: "invoice",
 *     clientSecret: Redacted.make("secret"),
 *     scope: "invoice customers"
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (
  clients: Readonly<Record<string, TokenClient.TokenClientOptions>>
): Layer.Layer<TokenClients, TokenClientInvalid> =>
  Layer.scoped(
    TokenClients,
    Effect.flatMap(
      Effect.forEach(Object.entries(clients), ([name, options]) =>
        Effect.map(TokenClient.parse(name, options), (client) => [name, client] as const)),
      register
    )
  ).pipe(registered)

/**
 * A field that is a value, or a `Config` that yields it or what `Config` usually yields.
 *
 * @since 0.1.0
 * @category models
 */
export type ConfigOf<Options, K extends keyof Options> = Options[K] | Config.Config<Options[K]> | FromConfig<K>

/** Fields whose `Config` may yield what `Config` usually yields. */
type FromConfig<K> = K extends "authentication" ?
  Config.Config<string> | Config.Config<Option.Option<ClientAuthentication.Method>>
  : K extends "clientSecret" ? Config.Config<Option.Option<Redacted.Redacted<string>>>
  : K extends "dpop" | "privateKey" | "signedRequest" ?
    Config.Config<Redacted.Redacted<string>> | Config.Config<Option.Option<Redacted.Redacted<string>>>
  : K extends "scope" | "issuer" | "resource" ? Config.Config<Option.Option<string>>
  : never

/**
 * A client of which every field, or the whole, may come from `Config`.
 *
 * @since 0.1.0
 * @category models
 */
export type TokenClientConfig =
  | { readonly [K in keyof TokenClient.TokenClientOptions]: ConfigOf<TokenClient.TokenClientOptions, K> }
  | Config.Config<TokenClient.TokenClientOptions>

/** The paths of a `ConfigError` are names of variables; its texts may quote values, and stay out. */
const configProblem = (error: ConfigError.ConfigError): string => {
  const variable = (path: ReadonlyArray<string>) => `"${path.join("_")}"`
  switch (error._op) {
    case "And":
    case "Or":
      return [configProblem(error.left), configProblem(error.right)].join(error._op === "And" ? " and " : " or ")
    case "MissingData":
      return `${variable(error.path)} is not set`
    case "InvalidData":
      return `${variable(error.path)} has a value of the wrong form`
    default:
      return `${variable(error.path)} cannot be read`
  }
}

const readField = (value: unknown): Effect.Effect<unknown, string> =>
  Config.isConfig(value)
    ? Effect.mapBoth(value, {
      onFailure: configProblem,
      onSuccess: (read) => Option.isOption(read) ? Option.getOrUndefined(read) : read
    })
    : Effect.succeed(value)

/**
 * Reads the definition of a client field by field, for packages that define clients of their own. `parse` is given what
 * could be read. A field that could not be read is told of once, by the name of its variable and without its value.
 *
 * @since 0.1.0
 * @category configuration
 */
export const readConfig = <Options, A>(
  name: string,
  config: { readonly [K in keyof Options]: ConfigOf<Options, K> } | Config.Config<Options>,
  parse: (options: Options) => Effect.Effect<Either.Either<A, ReadonlyArray<ClientProblem>>>
): Effect.Effect<Either.Either<A, ReadonlyArray<ClientProblem>>> =>
  Effect.gen(function*() {
    if (Config.isConfig(config)) {
      const options = yield* Effect.either(config as Config.Config<Options>)
      return Either.isRight(options)
        ? yield* parse(options.right)
        : Either.left([{ client: name, field: "configuration", problem: configProblem(options.left) }])
    }
    const problems: Array<ClientProblem> = []
    const options: Record<string, unknown> = {}
    for (const [field, value] of Object.entries(config)) {
      const read = yield* Effect.either(readField(value))
      if (Either.isRight(read)) options[field] = read.right
      else problems.push({ client: name, field, problem: read.left })
    }
    // Unknown until `parse` has checked them.
    const parsed = yield* parse(options as Options)
    if (problems.length === 0) return parsed
    const unread = new Set(problems.map(({ field }) => field))
    const others = Either.isLeft(parsed) ? parsed.left.filter(({ field }) => !unread.has(field)) : []
    return Either.left([...problems, ...others])
  })

/**
 * Clients from configuration: every field is a value or a `Config` of it, or a whole client is a `Config`. Use
 * `Config.redacted` for secrets. A `Config.option` that is absent counts as a field that is left out.
 *
 * @example
 * ```ts
 * import { TokenClients } from "@effect-oauth/core"
 * import { Config } from "effect"
 *
 * export const Clients = TokenClients.layerConfig({
 *   "invoice.client": {
 *     tokenEndpoint: Config.url("TOKEN_ENDPOINT"),
 *     clientId: Config.string("CLIENT_ID"),
 *     clientSecret: Config.redacted("CLIENT_SECRET"),
 *     scope: "invoice customers"
 *   }
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  clients: Readonly<Record<string, TokenClientConfig>>
): Layer.Layer<TokenClients, TokenClientInvalid> =>
  Layer.scoped(
    TokenClients,
    Effect.flatMap(
      Effect.forEach(Object.entries(clients), ([name, config]) =>
        Effect.map(
          readConfig(name, config, (options: TokenClient.TokenClientOptions) => TokenClient.parse(name, options)),
          (client) => [name, client] as const
        )),
      register
    )
  ).pipe(registered)

/**
 * @since 0.1.0
 * @category models
 */
export interface ResolverOptions {
  /** How long a resolved client counts as fresh; after that it is resolved anew in the background. Default 5 minutes. */
  readonly timeToLive?: Duration.DurationInput | undefined
  /** How many resolved clients are kept. Default 1,000. */
  readonly capacity?: number | undefined
  /** How long resolving one client may take; after that it has failed. Default 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

/**
 * Clients that are resolved when they are asked for, from a database of tenants for instance. A client that its server
 * refuses as `invalid_client` is resolved anew, and if it has changed the request is tried with the new one at once, so a
 * rotated secret needs no restart.
 *
 * A resolver that does not know a name fails with `TokenClientNotFound`; any other failure of it, also that it takes too long,
 * becomes `TokenClientUnavailable`, which carries the tag of its error only.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerResolver = <E, R>(
  resolve: (name: string) => Effect.Effect<TokenClient.TokenClientOptions, E, R>,
  options: ResolverOptions = {}
): Layer.Layer<TokenClients, never, R> =>
  Layer.scoped(
    TokenClients,
    Effect.gen(function*() {
      const registry = yield* Registry
      const context = yield* Effect.context<R>()
      const remembered = yield* Remembered.make<TokenClient.TokenClient, LookupError>({
        timeToLive: options.timeToLive ?? "5 minutes",
        capacity: options.capacity ?? 1000,
        mayPass: (error) => error.retryable
      })
      const timeout = options.timeout ?? "10 seconds"
      const unavailable = (clientName: string, cause: string) => new TokenClientUnavailable({ clientName, cause })
      const lookup = (name: string): Remembered.Lookup<TokenClient.TokenClient, LookupError> => ({
        key: name,
        find: Effect.suspend(() => resolve(name)).pipe(
          Effect.provide(context),
          Effect.mapError((error) => error instanceof TokenClientNotFound ? error : unavailable(name, nameOf(error))),
          Effect.catchAllDefect((defect) => Effect.fail(unavailable(name, nameOf(defect)))),
          // Also one that cannot be interrupted keeps nobody waiting.
          Effect.disconnect,
          Effect.timeoutFail({
            duration: timeout,
            onTimeout: () => unavailable(name, "a timeout")
          }),
          Effect.flatMap((found) => TokenClient.parse(name, found)),
          Effect.flatMap(Either.mapLeft(TokenClient.invalid))
        ),
        limit: timeout,
        interrupted: () => unavailable(name, "an interruption")
      })
      const resolver: Resolver = {
        get: (name) => remembered.get(lookup(name)),
        renew: (name) => remembered.renew(lookup(name))
      }
      registry.resolvers.add(resolver)
      yield* Effect.addFinalizer(() => Effect.sync(() => registry.resolvers.delete(resolver)))
      return registry.view
    })
  ).pipe(registered)
