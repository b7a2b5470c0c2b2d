/**
 * Optional services: where they are looked for. For packages that build on this one.
 *
 * A Layer of several services, such as `OAuth.layer`, uses the optional services that it is built with, and hands them on to
 * the Layers that are built on it: a `TokenStore` that is provided to `NodeOAuth.layer` is used by `Oidc.layer` too.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

/** The optional services that the Layers below were built with. */
class HandedOn extends Context.Tag("@effect-oauth/core/OptionalServices/HandedOn")<
  HandedOn,
  Context.Context<never>
>() {}

/**
 * Services that are taken from one place: a `ClientCertificate` is that of the `Backchannel` beside it, never of another.
 *
 * @since 0.1.0
 * @category models
 */
export type Group = ReadonlyArray<Context.Tag<any, any>>

const handedOn = (context: Context.Context<never>): Context.Context<never> =>
  Option.getOrElse(Context.getOption(context, HandedOn), Context.empty)

const isProvided = (context: Context.Context<never>, { key }: { readonly key: string }): boolean =>
  context.unsafeMap.has(key)

/** Where the services of a group come from. */
const sourceOf = (context: Context.Context<never>, group: Group): Context.Context<never> =>
  group.some((tag) => isProvided(context, tag)) ? context : handedOn(context)

/**
 * The optional service that is provided where this is run, else the one that a Layer below was built with. `beside`: the other
 * services of its group. Run it when a Layer is built.
 *
 * @since 0.1.0
 * @category accessors
 */
export const get = <I, S>(tag: Context.Tag<I, S>, ...beside: Group): Effect.Effect<Option.Option<S>> =>
  Effect.contextWith((context: Context.Context<never>) => Context.getOption(sourceOf(context, [tag, ...beside]), tag))

/** What is handed on to the Layers above: what came from below, with what is provided here in its place. */
const gathered = (context: Context.Context<never>, groups: ReadonlyArray<Group>): Context.Context<never> => {
  const services = new Map(handedOn(context).unsafeMap)
  for (const group of groups) {
    const source = sourceOf(context, group)
    for (const { key } of group) {
      if (source.unsafeMap.has(key)) services.set(key, source.unsafeMap.get(key))
      else services.delete(key)
    }
  }
  return Context.unsafeMake(services)
}

/**
 * A Layer of several services that looks for optional ones: it finds those that Layers below were built with, and hands on all
 * of them.
 *
 * @since 0.1.0
 * @category combinators
 */
export const handingOn = <A, E, R>(layer: Layer.Layer<A, E, R>, groups: ReadonlyArray<Group>): Layer.Layer<A, E, R> =>
  Layer.unwrapEffect(Effect.contextWith((context: Context.Context<never>) => {
    const services = gathered(context, groups)
    return Layer.merge(
      Layer.provide(layer, Layer.succeedContext(services)),
      Layer.succeed(HandedOn, services)
    )
  }))

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
