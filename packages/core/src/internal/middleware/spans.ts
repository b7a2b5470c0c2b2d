/**
 * The spans of a request with a token, which their tracer is told of without the token.
 */
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Predicate from "effect/Predicate"
import * as Tracer from "effect/Tracer"
import { builtIn, withholding } from "../tracing.ts"
import { bare, bareFailure, type Call } from "./call.ts"
import * as OwnToken from "./ownToken.ts"

const isResponse = (value: unknown): value is HttpClientResponse.HttpClientResponse =>
  Predicate.hasProperty(value, HttpClientResponse.TypeId)

const bareExit = (exit: Exit.Exit<unknown, unknown>, call: Call): Exit.Exit<unknown, unknown> =>
  Exit.match(exit, {
    onSuccess: (value) => isResponse(value) ? Exit.succeed(bare(value, call)) : exit,
    onFailure: (cause) => Exit.failCause(Cause.map(cause, (error) => bareFailure(error, call)))
  })

/** Whose token the tracers that were made here leave out. */
const calls = new WeakMap<Tracer.Tracer, Call>()

const tracerFor = (tracer: Tracer.Tracer, call: Call): Tracer.Tracer => {
  const made = withholding(tracer, {
    attribute: (_, value) => typeof value === "string" ? OwnToken.redact(value, call.token) : value,
    exit: (exit) => bareExit(exit, call)
  })
  calls.set(made, call)
  return made
}

/** @internal Whether somebody may listen to the spans of this fiber. */
export const isTraced = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  fiber.getFiberRef(FiberRef.currentTracerEnabled) &&
  Context.get(fiber.getFiberRef(DefaultServices.currentServices), Tracer.Tracer) !== builtIn

/** @internal The fiber that sends this call traces without its token, until `restore`. */
export const guard = (call: Call): Effect.Effect<void> =>
  Effect.withFiberRuntime((fiber) => {
    const services = fiber.getFiberRef(DefaultServices.currentServices)
    const tracer = Context.get(services, Tracer.Tracer)
    if (calls.get(tracer) === call) return Effect.void
    call.services ??= services
    return FiberRef.set(
      DefaultServices.currentServices,
      Context.add(services, Tracer.Tracer, tracerFor(tracer, call))
    )
  })

/** @internal */
export const restore = (call: Call): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { services } = call
    call.services = undefined
    return services === undefined ? Effect.void : FiberRef.set(DefaultServices.currentServices, services)
  })
