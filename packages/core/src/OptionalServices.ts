/**
 * Optional services: where they are looked for, and how a Layer of several services is built with them. For packages that build
 * on this one.
 *
 * A bundle, such as `OAuth.layer`, uses the optional services that it is built with, and hands them on to the Layers that are
 * built on it: a `TokenStore` that is provided to `NodeOAuth.layer` is used by `Oidc.layer` too. It is built once for each set of
 * services that it finds, not once for each reference, as Effect builds Layers: with another `Backchannel` it is another one.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

/**
 * Services that are taken from one place: a `ClientCertificate` is that of the `Backchannel` beside it, never of another.
 *
 * @since 0.1.0
 * @category models
 */
export type Group = ReadonlyArray<Context.Tag<any, any>>

/** What one build of a bundle leaves in the context of what is built on it. */
interface Build {
  readonly name: string
  /** The optional services that it was built with. */
  readonly given: Context.Context<never>
  /** The services that it brings. */
  readonly brought: Context.Context<never>
  /** Those of `given` that nobody may take for others. */
  readonly identity: ReadonlyArray<Group>
  /** The builds that it was built on. */
  readonly below: ReadonlySet<string>
}

// A name of its own for each, so that none is lost where Layers are merged.
const prefix = "@effect-oauth/core/OptionalServices/Build/"
let builds = 0

const buildsIn = (context: Context.Context<never>): ReadonlyArray<Build> => {
  const found: Array<Build> = []
  for (const [key, value] of context.unsafeMap) {
    if (key.startsWith(prefix)) found.push(value as Build)
  }
  return found
}

/** Those that no other one was built on: several, where Layers were merged. */
const topmost = (context: Context.Context<never>): ReadonlyArray<Build> => {
  const all = buildsIn(context)
  return all.filter(({ name }) => all.every(({ below }) => !below.has(name)))
}

const keysOf = (group: Group): ReadonlyArray<string> => group.map(({ key }) => key)

const nameOf = (key: string): string => key.split("/").at(-1) ?? key

const isSame = (one: Context.Context<never>, other: Context.Context<never>, keys: ReadonlyArray<string>): boolean =>
  keys.every((key) => one.unsafeMap.get(key) === other.unsafeMap.get(key))

/** A mistake in the wiring of a program, so a defect. */
const conflict = (problem: string, remedy: string): Error =>
  new Error(`${problem}: ${remedy}, or give the clients of TokenClients an httpClient of their own`)

const merged = (what: string, key: string): Error =>
  conflict(
    `${what}: two Layers that were merged were built with different services ${nameOf(key)}`,
    "provide each of the two to what is built on it, and merge that instead"
  )

/** Where the services of a group come from: this place, or a build below it. */
const sourceOf = (context: Context.Context<never>, group: Group): Context.Context<never> => {
  const keys = keysOf(group)
  if (keys.some((key) => context.unsafeMap.has(key))) return context
  const [first, ...others] = topmost(context)
  if (first === undefined) return Context.empty()
  if (others.some(({ given }) => !isSame(given, first.given, keys))) throw merged(nameOf(keys[0]!), keys[0]!)
  return first.given
}

/**
 * The optional service that is provided where this is run, else the one that a bundle below was built with. `beside`: the other
 * services of its group. Run it when a Layer is built.
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = <I, S>(tag: Context.Tag<I, S>, ...beside: Group): Effect.Effect<Option.Option<S>> =>
  Effect.contextWith((context: Context.Context<never>) => Context.getOption(sourceOf(context, [tag, ...beside]), tag))

/** Effect builds a Layer that is bound to a constant once, with what it finds first. */
const assertIdentity = (context: Context.Context<never>, { given, identity, name }: Build, what: string): void => {
  const own = new Map([...context.unsafeMap].filter(([key]) => key !== name))
  for (const group of identity) {
    const keys = keysOf(group).filter((key) => own.has(key))
    if (keys.length === 0 || isSame(Context.unsafeMake(own), given, keys)) continue
    throw conflict(
      `${what}: the Layer that it comes from was built with another service ${
        nameOf(keys[0]!)
      } than the one that is provided here`,
      "provide this one to both, part.pipe(Layer.provide(layer), Layer.provide(backchannel)); a Layer that is bound to a constant is " +
        "built once, with the first that it finds"
    )
  }
}

/**
 * A service that bundles bring. Where two bundles were merged that were built with different optional services, or where another
 * `Backchannel` is provided than the one that the bundle was built with, there is no saying which of them is meant: it dies, and
 * the message says what to do. Run it when a Layer is built.
 *
 * @since 0.1.0
 * @category accessors
 */
export const only = <I, S>(tag: Context.Tag<I, S>): Effect.Effect<S, never, I> =>
  Effect.contextWith((context: Context.Context<I>) => {
    const service = Context.get(context, tag)
    const [first, ...others] = topmost(context).filter(({ brought }) => brought.unsafeMap.has(tag.key))
    if (first === undefined) return service
    for (const { brought, given } of others) {
      if (isSame(first.brought, brought, [tag.key])) continue
      const differing = [...first.given.unsafeMap.keys(), ...given.unsafeMap.keys()].find((key) =>
        !isSame(first.given, given, [key])
      )
      if (differing !== undefined) throw merged(nameOf(tag.key), differing)
    }
    if (first.brought.unsafeMap.get(tag.key) === service) assertIdentity(context, first, nameOf(tag.key))
    return service
  })

/** What is built already, for those who want the same. */
interface Shared {
  readonly key: ReadonlyArray<unknown>
  readonly memoMap: Layer.MemoMap
  users: number
}

class SharedBuilds extends Context.Tag("@effect-oauth/core/OptionalServices/SharedBuilds")<
  SharedBuilds,
  Array<Shared>
>() {}

/** @internal Below the bundles of one program: what lets those that find the same services be the same. */
export const layerShared: Layer.Layer<never> = Layer.sync(SharedBuilds, () => [])

const join = (shared: Array<Shared>, key: ReadonlyArray<unknown>) =>
  Effect.acquireRelease(
    Effect.gen(function*() {
      const same = shared.find((one) => one.key.every((part, index) => part === key[index]))
      const joined = same ?? { key, memoMap: yield* Layer.makeMemoMap, users: 0 }
      if (same === undefined) shared.push(joined)
      joined.users++
      return joined
    }),
    (joined) =>
      Effect.sync(() => {
        joined.users--
        if (joined.users === 0) shared.splice(shared.indexOf(joined), 1)
      })
  )

/**
 * - `required`: the services that the bundle is built on.
 * - `replaceable`: those that it brings, unless they are provided to it.
 * - `optional`: those that it uses if they are provided to it. `identity`: those of them that say who it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface BundleOptions {
  readonly required: Group
  readonly replaceable: Group
  readonly optional: ReadonlyArray<Group>
  readonly identity?: ReadonlyArray<Group> | undefined
}

/** What a bundle is built with: of what other bundles brought only what it requires, and what they were given. */
const surroundings = (context: Context.Context<never>, { optional, replaceable }: BundleOptions) => {
  const services = new Map(context.unsafeMap)
  const below = buildsIn(context)
  for (const { name } of below) services.delete(name)
  for (const { key } of replaceable) {
    if (below.some(({ brought }) => brought.unsafeMap.has(key) && brought.unsafeMap.get(key) === services.get(key))) {
      services.delete(key)
    }
  }
  const given = new Map(topmost(context).flatMap(({ given }) => [...given.unsafeMap]))
  for (const group of optional) {
    const source = sourceOf(context, group)
    for (const key of keysOf(group)) {
      for (const map of [services, given]) {
        if (source.unsafeMap.has(key)) map.set(key, source.unsafeMap.get(key))
        else map.delete(key)
      }
    }
  }
  return { services: Context.unsafeMake<never>(services), given: Context.unsafeMake<never>(given), below }
}

/**
 * A Layer of several services that looks for optional ones: it finds those that bundles below were built with, and hands on all
 * of them. It is built once for each set of services that it finds, in all places of a program where its `TokenClients` are the
 * same.
 *
 * @since 0.1.0
 * @category combinators
 */
export const bundle = <A, E, R>(self: Layer.Layer<A, E, R>, options: BundleOptions): Layer.Layer<A, E, R> => {
  const keys = keysOf([...options.required, ...options.replaceable, ...options.optional.flat()])
  return Layer.fresh(Layer.scopedContext(Effect.gen(function*() {
    const context = yield* Effect.context<R>()
    const { below, given, services } = surroundings(context, options)
    const shared = Option.getOrElse(Context.getOption(context, SharedBuilds), (): Array<Shared> => [])
    const { memoMap } = yield* join(shared, [self, ...keys.map((key) => services.unsafeMap.get(key))])
    const brought = yield* Layer.buildWithMemoMap(self, memoMap, yield* Effect.scope).pipe(
      Effect.mapInputContext((_: Context.Context<R>) => services as Context.Context<R>)
    )
    const build: Build = {
      name: `${prefix}${++builds}`,
      given,
      brought,
      identity: options.identity ?? [],
      below: new Set([...below, ...buildsIn(brought)].flatMap((one) => [one.name, ...one.below]))
    }
    return Context.add(brought, Context.GenericTag<never, Build>(build.name), build)
  })))
}

/**
 * The service that is provided to a Layer, or else the built-in one.
 *
 * @since 0.1.0
 * @category combinators
 */
export const unlessProvided = <I, S, E, R>(
  tag: Context.Tag<I, S>,
  builtIn: Layer.Layer<I, E, R>
): Layer.Layer<I, E, R> =>
  Layer.unwrapEffect(
    Effect.map(
      Effect.serviceOption(tag),
      Option.match({ onNone: () => builtIn, onSome: (service) => Layer.succeed(tag, service) })
    )
  )
